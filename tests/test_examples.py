"""The example scripts of the documentation run as they stand, and show what they say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
NUMBER = r"(\d\.\d+e[+-]\d+)"


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_example_is_short_enough_to_copy(script):
    assert len(script.read_text().splitlines()) <= 40


def output_of(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"))
    return capsys.readouterr().out


def test_distance_of_tokens_falls_with_their_number(capsys, tmp_path, monkeypatch):
    text = output_of("particles_against_pde", capsys, tmp_path, monkeypatch)
    rows = [tuple(map(float, row)) for row in re.findall(f"distance {NUMBER}.*{NUMBER}", text)]
    assert len(rows) == 3
    for distance, expected in rows:
        assert 0.4 < distance / expected < 2.5  # four draws
    # The expected distance halves with four times the tokens.
    assert rows[0][1] / rows[2][1] == pytest.approx(4.0, rel=0.05)
    assert rows[2][0] < 0.6 * rows[0][0]


def test_distance_of_heads_falls_with_their_number(capsys, tmp_path, monkeypatch):
    text = output_of("heads_against_their_law", capsys, tmp_path, monkeypatch)
    distances = [float(value) for value in re.findall(f"distance {NUMBER}", text)]
    assert len(distances) == 3
    assert distances[2] < 0.6 * distances[0]  # 16 times the heads: a quarter is expected


def test_tokens_from_a_file_and_their_smoothing_stay_close(capsys, tmp_path, monkeypatch):
    text = output_of("own_tokens", capsys, tmp_path, monkeypatch)
    w2 = [float(value) for value in re.findall(r"\d\.\d+", text.split("W2")[1])]
    assert len(w2) == 3
    # A bandwidth of 0.2 moves a token by 0.2·√2 in the mean square.
    assert w2[0] < 0.29
    assert w2[2] < 0.5 * w2[0]  # both contract to a cluster


@pytest.mark.parametrize("name", ["output.md", "experiment-file.md"])
def test_pages_have_the_tables_of_the_package(name):
    docs = EXAMPLES.parent
    made = runpy.run_path(str(docs / "tables.py"))["page"](name)
    assert (docs / name).read_text("utf-8") == made, "run python docs/tables.py"
