"""The rooms of the package: their arrows, their sizes, and what may stand at the top."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sphereflow"
MOST_LINES = 450
MOST_AT_THE_TOP = 12
MOST_ROWS = 13
MOST_UNTYPED = 20


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("sphereflow", cache_dir=None)


def test_no_modules_import_each_other_in_a_circle(graph):
    seen: dict[str, int] = {}
    found: list[list[str]] = []

    def walk(module: str, path: list[str]) -> None:
        seen[module] = 1
        for target in graph.find_modules_directly_imported_by(module):
            if seen.get(target) == 1:
                found.append([*path[path.index(target) :], target] if target in path else [target])
            elif target not in seen:
                walk(target, [*path, target])
        seen[module] = 2

    for module in sorted(graph.modules):
        if module not in seen:
            walk(module, [module])
    assert found == []


def test_no_file_is_long():
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text("utf-8").splitlines())
        for folder in ("sphereflow", "tests", "validation")
        for file in (ROOT / folder).rglob("*.py")
    }
    package = {name: n for name, n in lengths.items() if name.startswith("sphereflow")}
    assert max(package.values()) <= MOST_LINES, max(package, key=package.get)


def test_few_annotations_say_nothing():
    counts = {
        str(file.relative_to(ROOT)): sum(
            isinstance(node, ast.Name) and node.id == "Any"
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
        )
        for file in PACKAGE.rglob("*.py")
    }
    named = {name: count for name, count in counts.items() if count}
    assert sum(named.values()) <= MOST_UNTYPED, named


def test_few_modules_stand_at_the_top():
    top = [file.stem for file in PACKAGE.glob("*.py")]
    assert len(top) <= MOST_AT_THE_TOP, sorted(top)


def test_every_room_has_its_row():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (layers,) = contract["tool"]["importlinter"]["contracts"]
    rows = [row.replace(":", "|").split("|") for row in layers["layers"]]
    named = {room.strip() for row in rows for room in row}
    assert len(rows) <= MOST_ROWS
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py"}
    rooms |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert named == rooms - {"__init__", "__main__"}


def test_figures_and_schemes_do_not_know_each_other_nor_the_loop(graph):
    for room in ("figures", "schemes"):
        for other in ({"figures", "schemes"} - {room}) | {"solving", "experiments", "cli"}:
            chains = graph.find_shortest_chains(f"sphereflow.{room}", f"sphereflow.{other}")
            assert not chains, chains


def test_each_room_has_its_tests():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders == rooms
