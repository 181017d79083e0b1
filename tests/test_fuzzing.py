"""Nothing but a `SphereflowError` of one line escapes, whatever the arguments, files and options.

``FUZZ_SCALE=20`` draws so many times more examples, with other seeds.
"""

from __future__ import annotations

import functools
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import sphereflow as sf
from sphereflow.cli import app
from sphereflow.diagnostics import clusters, head_norm_integral
from sphereflow.experiments.experiment import experiment_from_config, list_experiments

SCALE = int(os.environ.get("FUZZ_SCALE", "1"))


def budget(examples: int) -> Any:
    """Settings of a test with so many examples."""
    return settings(
        max_examples=examples * SCALE,
        derandomize=SCALE == 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


class Hostile:
    """An object that raises whatever is done to it."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equality")

    __hash__ = None  # type: ignore[assignment]

    def __float__(self) -> float:
        raise RuntimeError("no number")


def repr_of(value: Any) -> str:
    """A short name of an example."""
    return type(value).__name__ if not isinstance(value, str) else ascii(value[:9])


def raising(*arguments: Any) -> Any:
    raise ZeroDivisionError("a fault of the user")


NASTY: list[Any] = [
    None,
    np.nan,
    np.inf,
    -np.inf,
    -1,
    -0.5,
    0,
    0.3,
    1,
    2,
    1e308,
    1e-308,
    10**30,
    10**400,
    16**5000,
    True,
    1j,
    "",
    "x",
    "auto",
    "a:b",
    "os:system",
    "x\x00y",
    "\ud800",
    "x" * 5000,
    "two\nlines",
    b"bytes",
    [],
    (),
    {},
    {"real": 1, "imag": "x"},
    {"kind": []},
    set(),
    {1, 2},
    [[1, 2], [3]],
    [[[]]],
    [None, 1.0],
    ["a", "b"],
    [1.0, np.nan, 0.0],
    [10**400] * 3,
    [0, 0, 1],
    [1e308, 1e308, 1e308],
    [1e-320, 0, 0],
    np.zeros(3),
    np.zeros((0, 3)),
    np.zeros((2, 3)),
    np.eye(3),
    1e308 * np.eye(3),
    -np.eye(9),
    np.ones((2, 3, 3)),
    np.array([object(), None]),
    np.array(["a", "b"]),
    np.array(["2001-01-01"], dtype="datetime64[D]"),
    np.array(1.0),
    np.array([1j, 2]),
    np.ma.masked_array([1.0, 2.0, 3.0], [True, False, False]),
    np.broadcast_to(0.5, (10**9, 3)),
    np.broadcast_to(0.5, (10**10,)),
    np.broadcast_to(0.5, (1_500_000,)),
    np.broadcast_to(np.eye(3), (10**8, 3, 3)),
    np.float32(0.5),
    np.int64(3),
    range(3),
    iter([1, 2, 3]),
    lambda: None,
    lambda *arguments: None,
    lambda *arguments: "text",
    lambda *arguments: np.nan,
    lambda *arguments: np.zeros((7, 7)),
    raising,
    len,
    int,
    object(),
    Hostile(),
    Hostile,
    sf,
    sf.Uniform,
    sf.Uniform(),
    sf.Spectral,
    sf.Spectral(15),
    sf.FixedHeads(np.eye(3)),
    sf.Isotropic(),
    sf.Normal(),
]
# By index, as Hypothesis writes the values of other strategies, which some of these forbid.
nasty = st.integers(0, len(NASTY) - 1).map(lambda index: NASTY[index])


def check(call: Any) -> Any:
    """The result of a call, None if it was refused as it should be."""
    try:
        return call()
    except sf.SphereflowError as error:
        message = str(error)
        assert len(message) > 15 and "\n" not in message, message
        assert len(message) < 2000, len(message)
    return None


VMF = sf.VonMisesFisher([0, 0, 1], 2.0)
HEADS = sf.FixedHeads(np.eye(3))
OU = sf.OrnsteinUhlenbeck(np.eye(3), 0.5, quadrature=2)
LINE = sf.HeadProcess(lambda theta, t: -theta, 0.5, sf.Isotropic())
TABLE = np.stack([np.eye(3), -np.eye(3)])[:, None]

# Arguments that are right, by public name.
RIGHT: dict[str, dict[str, Any]] = {
    "Uniform": {},
    "VonMisesFisher": {"mean": [0, 0, 1], "concentration": 2.0},
    "Mixture": {"components": [VMF, VMF], "weights": [1, 2]},
    "OctahedralClusters": {"spread": 0.3},
    "HarmonicDensity": {"coefficients": [1.0, 0.0, 0.1, 0.0]},
    "EmpiricalDensity": {"positions": np.eye(3), "weights": [1, 1, 1], "bandwidth": 0.3},
    "FixedHeads": {"logits": np.eye(3), "values": np.eye(3), "weights": [1.0]},
    "OscillatingHeads": {"initial": np.eye(3), "phase": "common"},
    "TabulatedHeads": {
        "times": [0.0, 1.0],
        "logits": TABLE,
        "values": TABLE,
        "weights": [1],
        "interpolation": "linear",
    },
    "OrnsteinUhlenbeck": {
        "target": np.eye(3),
        "sigma": 1.0,
        "initial_mean": 0.0,
        "initial_std": 1.0,
        "quadrature": 2,
    },
    "GaussianHeads": {"mean": np.eye(3), "covariance": np.eye(9), "quadrature": 2},
    "SampledHeads": {
        "law": OU,
        "count": 2,
        "seed": 1,
        "initial": sf.Normal(),
        "dt": 0.1,
        "method": "euler",
        "share_initial": False,
    },
    "FokkerPlanckLaw": {
        "process": LINE,
        "initial": sf.Normal(),
        "domain": [-5, 5],
        "cells": [40],
        "nodes": 3,
        "rtol": 1e-6,
        "method": "auto",
    },
    "HeadProcess": {
        "drift": lambda theta, t: -theta,
        "diffusion": 0.5,
        "parametrisation": sf.Isotropic(),
    },
    "Isotropic": {},
    "Diagonal": {},
    "Symmetric": {},
    "Normal": {"mean": 0.0, "std": 1.0},
    "NormalMixture": {"means": [0.0, 1.0], "stds": [1.0, 1.0], "weights": [1, 1]},
    "Point": {"theta": 1.0},
    "TransformerPDE": {
        "heads": HEADS,
        "density": VMF,
        "flow": "descent",
        "velocity": "attention",
        "attention": "softmax",
        "diffusion": 0.1,
        "drift": np.eye(3),
    },
    "Spectral": {
        "lmax": 15,
        "lmax_max": 15,
        "dt": 0.01,
        "resolution_limit": 1.0,
        "output_lmax": 15,
        "spectrum_degree": 8,
        "engine": "auto",
        "threads": 1,
    },
    "FiniteVolume": {
        "level": 2,
        "degree": 2,
        "limiter": "positive",
        "resolution_limit": 1.0,
        "spectrum_degree": 8,
        "threads": 1,
    },
    "Characteristics": {
        "degree": 8,
        "degree_max": 8,
        "resolution_limit": 1.0,
        "spectrum_degree": 8,
        "threads": 1,
    },
    "Particles": {
        "count": 5,
        "dt": 0.01,
        "seed": 1,
        "paths": 1,
        "stepper": "euler",
        "summation": "auto",
        "store": "tokens",
        "share_tokens": False,
        "first_path": 0,
        "spectrum_degree": 8,
        "threads": 1,
    },
    "Auto": {
        "lmax": 15,
        "lmax_max": 15,
        "degree": 8,
        "degree_max": 8,
        "spectrum_degree": 8,
        "threads": 1,
    },
    "SteadyState": {"speed": 1e-3},
    "Clustered": {"radius": 0.1, "bandwidth": 0.2},
    "WallTime": {"seconds": 10.0},
    "Checkpoint": {"minutes": 1.0, "steps": 2},
    "SphereGrid": {"lmax": 15, "dealias": 1.5, "engine": "auto", "threads": 1, "nlat": 32},
}
NO_CONSTRUCTORS = {
    "SphereflowError",
    "__version__",
    "attention_field",
    "compare",
    "load_experiment",
    "plot",
    "solve",
    "sweep",
}


@st.composite
def arguments_of(draw: Any, right: dict[str, Any], fewest: int = 1) -> dict[str, Any]:
    """Right keyword arguments with some replaced by nasty values, and some left out."""
    names = list(right)
    wrong = draw(st.lists(st.sampled_from(names), unique=True, min_size=fewest, max_size=3))
    return {**right, **{name: draw(nasty) for name in wrong}}


def test_every_public_constructor_is_fuzzed() -> None:
    classes = {name for name in sf.__all__ if isinstance(getattr(sf, name), type)}
    assert classes - NO_CONSTRUCTORS == set(RIGHT)


@pytest.mark.parametrize("name", [name for name, right in RIGHT.items() if right])
def test_constructors_refuse_with_a_sentence(name: str) -> None:
    @budget(30)
    @given(arguments_of(RIGHT[name]))
    def fuzz(arguments: dict[str, Any]) -> None:
        check(lambda: getattr(sf, name)(**arguments))

    getattr(sf, name)(**RIGHT[name])
    fuzz()


# Experiment files

SHIPPED = {one.name: one.path.read_text(encoding="utf-8") for one in list_experiments()}
CANARY = "canary_of_fuzzing"
REFERENCES = [
    f"{CANARY}:run",
    f"{CANARY}:Nested.run",
    f"{CANARY}.sub:run",
    f" {CANARY}:run ",
    "os:system",
    "builtins:exec",
    "subprocess:call",
    "os.path:join",
]
IN_FILES = [*NASTY, *REFERENCES, [{"kind": "uniform"}, 3], {"random": []}, {"random": "normal"}]
IN_FILES += [
    {"kind": "normal", "mean": {"kind": "uniform"}},
    {"random": "identity", "count": 10**12},
]
SNIPPETS = [
    "nan",
    "-inf",
    "1e400",
    "10000000000000000000000000000",
    "9" * 5000,
    "0x" + "f" * 5000,
    "[" * 3000,
    "[" * 300 + "]" * 300,
    "{a=" * 200 + "1" + "}" * 200,
    "true",
    '""',
    '"\\u0000"',
    "'os:system'",
    "1979-05-27T07:32:00Z",
    "[]",
    "{}",
    "{ random = [] }",
    "{ real = 1, imag = 'x' }",
    "[[1, 2], [3]]",
    "",
    "\n[density]\n",
    "# no value",
]


def copied(value: Any) -> Any:
    """A copy of the tables and lists, the same values."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def places(value: Any) -> list[tuple[Any, Any]]:
    """All pairs of a table or list in a configuration and a key in it."""
    if isinstance(value, dict):
        keys: list[Any] = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    else:
        return []
    return [(value, key) for key in keys] + [one for key in keys for one in places(value[key])]


FAULTS = ["delete", "rename", "replace", "replace", "swap", "nest", "list", "add"]
KEYS = ["kind", "random", "x", "", "mean", "lmaxx", "values", "stop", "sample"]
faults = st.lists(
    st.tuples(
        st.sampled_from(FAULTS),
        st.integers(0, 999),
        st.integers(0, 999),
        st.sampled_from(KEYS),
        st.integers(0, len(IN_FILES) - 1),
    ),
    min_size=1,
    max_size=4,
)


def mutated(text: str, wrong: list[tuple[str, int, int, str, int]]) -> Any:
    """The content of a shipped file with some faults."""
    config = tomllib.loads(text)
    for fault, first, second, name, value in wrong:
        known = places(config)
        if not known:
            break
        table, key = known[first % len(known)]
        other, place = known[second % len(known)]
        match fault:
            case "delete":
                del table[key]
            case "rename" if isinstance(table, dict):
                table[name] = table.pop(key)
            case "swap":
                table[key] = copied(other[place])
            case "nest":
                table[key] = {name: table[key]}
            case "list":
                table[key] = [table[key]]
            case "add" if isinstance(table, dict):
                table[name] = copied(IN_FILES[value])
            case _:
                table[key] = copied(IN_FILES[value])
    return config


@st.composite
def mangled(draw: Any) -> bytes:
    """The text of a shipped file with faults, as bytes."""
    text = SHIPPED[draw(st.sampled_from(sorted(SHIPPED)))]
    lines = text.splitlines()
    for _ in range(draw(st.integers(0, 3))):
        row = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["value", "drop", "double", "move", "cut"])):
            case "value":
                lines[row] = lines[row].partition("=")[0] + "= " + draw(st.sampled_from(SNIPPETS))
            case "double":
                lines.insert(row, lines[draw(st.integers(0, len(lines) - 1))])
            case "move":
                lines.append(lines.pop(row))
            case "cut":
                lines[row] = lines[row][: draw(st.integers(0, len(lines[row])))]
            case _ if len(lines) > 1:
                del lines[row]
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "utf-8-sig", "cp037"]))
    data = "\n".join(lines).encode(encoding, "replace")
    match draw(st.sampled_from(["whole", "whole", "truncated", "spliced"])):
        case "truncated":
            return data[: draw(st.integers(0, len(data)))]
        case "spliced":
            at = draw(st.integers(0, len(data)))
            return data[:at] + draw(st.binary(min_size=1, max_size=20)) + data[at:]
        case _:
            return data


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with a module that leaves a trace when it is imported."""
    trace = tmp_path / "trace"
    code = f"open({str(trace)!r}, 'w')\ndef run(*a): return 1\nclass Nested: run = run\n"
    (tmp_path / f"{CANARY}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not trace.exists() and CANARY not in sys.modules


def test_configurations_are_refused_with_a_sentence(canary: Path) -> None:
    @budget(200)
    @given(st.sampled_from(sorted(SHIPPED)), faults)
    def fuzz(name: str, wrong: Any) -> None:
        config = mutated(SHIPPED[name], wrong)
        check(lambda: experiment_from_config(config))

    fuzz()


@pytest.mark.parametrize(
    "config", [None, 3, "x", [], [("density", 1)], Hostile(), {3: 4}, {None: 1}]
)
def test_what_is_no_configuration_is_refused(config: Any) -> None:
    with pytest.raises(sf.SphereflowError):
        experiment_from_config(config)


def test_files_are_refused_with_a_sentence(canary: Path) -> None:
    file = canary / "experiment.toml"

    @budget(200)
    @given(mangled())
    def fuzz(data: bytes) -> None:
        file.write_bytes(data)
        check(lambda: sf.load_experiment(file))

    fuzz()


def test_changes_are_refused_with_a_sentence(canary: Path) -> None:
    file = canary / "experiment.toml"
    sections = ["density", "heads", "problem", "scheme", "run", "stop", "", "x", "title"]
    keys = [
        "",
        "kind",
        "mean",
        "lmax",
        "t_end",
        "output",
        "initial",
        "drift",
        "law",
        "initial.kind",
    ]
    named = st.builds(
        "{}.{}={}".format,
        st.sampled_from(sections),
        st.sampled_from(keys),
        st.sampled_from(SNIPPETS) | st.sampled_from(REFERENCES) | st.text(max_size=20),
    )
    changes = st.lists(named | st.text(max_size=20) | nasty, max_size=3) | nasty

    @budget(150)
    @given(st.sampled_from(sorted(SHIPPED)), changes)
    def fuzz(name: str, overrides: Any) -> None:
        file.write_text(SHIPPED[name], encoding="utf-8")
        check(lambda: sf.load_experiment(file, overrides))

    fuzz()


def test_every_place_of_every_file_imports_nothing_without_leave(canary: Path) -> None:
    before = set(sys.modules)
    for text in SHIPPED.values():
        for number in range(len(places(tomllib.loads(text)))):
            for reference in REFERENCES[:2]:
                config = tomllib.loads(text)
                table, key = places(config)[number]
                table[key] = reference
                check(lambda config=config: experiment_from_config(config))
    assert not {name for name in set(sys.modules) - before if CANARY in name}


def test_modules_beside_a_file_are_out_of_reach_without_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        "sphereflow.experiments.experiment.experiment_from_config",
        lambda config, allow_code: seen.append(str(tmp_path.resolve()) in sys.path),
    )
    file = tmp_path / "experiment.toml"
    file.write_text(SHIPPED["rotation"], encoding="utf-8")
    sf.load_experiment(file)
    sf.load_experiment(file, allow_code=True)
    assert seen == [False, True]


@pytest.mark.parametrize(
    "path",
    [one for one in NASTY if not isinstance(one, str)]
    + ["", ".", "/dev/zero", "/dev/null", "x" * 5000, "\0", "\ud800"],
    ids=repr_of,
)
@pytest.mark.parametrize("ending", ["", ".toml", ".nc"])
def test_what_is_no_file_is_refused(path: Any, ending: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"pipe{ending}")
    (tmp_path / f"folder{ending}").mkdir()
    with pytest.raises(sf.SphereflowError):
        sf.load_experiment(path + ending if isinstance(path, str) else path)
    for name in ("pipe", "folder", "missing"):
        with pytest.raises(sf.SphereflowError):
            sf.load_experiment(tmp_path / f"{name}{ending}")


@pytest.mark.parametrize("text", ["3", '"x"', "[1]", "null", "{", "[" * 5000, '{"density": {}}'])
def test_attributes_that_hold_no_experiment_are_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "run.nc"
    xr.Dataset(attrs={"experiment": text}).to_netcdf(file)
    with pytest.raises(sf.SphereflowError) as caught:
        sf.load_experiment(file, ["scheme.lmax=3"])
    assert "\n" not in str(caught.value)


# Calls on a tiny problem

PROBLEM = sf.TransformerPDE(HEADS, VMF)
TINY = sf.Spectral(lmax=15, lmax_max=15, resolution_limit=1.0)


@functools.cache
def tiny_run() -> xr.Dataset:
    return sf.solve(PROBLEM, t_end=0.02, scheme=TINY, save_every=0.01)


@functools.cache
def tiny_tokens() -> xr.Dataset:
    return sf.solve(PROBLEM, t_end=0.02, scheme=sf.Particles(5, 0.01, seed=1), save_every=0.01)


def damaged() -> list[Any]:
    """Runs that lack something, or hold what is no number."""
    run = tiny_run()
    return [
        run.drop_vars("spectrum"),
        run.isel(time=slice(0, 0)),
        run.isel(time=0),
        run.drop_vars("time"),
        run.assign(spectrum=run["spectrum"] * np.nan),
        run.isel(harmonic=slice(0, 7)),
        run.assign_coords(time=["a", "b", "c"]),
        run.assign_coords(time=[np.nan] * 3),
        run.assign_coords(time=run["time"].values[::-1]),
        run.assign_attrs(experiment="{"),
        run.assign_attrs(experiment="[1]"),
        run.assign_attrs(experiment=3),
        run.drop_vars([name for name in run.data_vars if name != "spectrum"]),
        tiny_tokens(),
        tiny_tokens().assign(position=tiny_tokens()["position"] * np.nan),
        tiny_tokens().drop_vars("token_weight"),
        xr.Dataset(),
        xr.Dataset({"density": ("time", [1.0])}, {"time": [0.0]}),
        xr.Dataset({"position": ("time", [1.0])}, {"time": [0.0]}),
        xr.Dataset({"spectrum": ("time", ["x"])}, {"time": [0.0]}),
    ]


def runs() -> Any:
    return st.deferred(lambda: st.sampled_from(damaged())) | nasty


@st.composite
def call_of(draw: Any, right: Mapping[str, Any], **wrong: Any) -> dict[str, Any]:
    """Right arguments with one to three replaced by nasty values, or those of a strategy."""
    names = draw(st.lists(st.sampled_from(sorted(right)), unique=True, min_size=1, max_size=3))
    return {**right, **{name: draw(wrong.get(name, nasty)) for name in names}}


SHORT = nasty.filter(lambda t: not isinstance(t, int | float | np.number) or not t > 0.3)


def test_solve_refuses_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    precious = tmp_path / "precious.nc"
    right = {
        "problem": PROBLEM,
        "t_end": 0.02,
        "scheme": TINY,
        "save_every": None,
        "save_at": [0.0, 0.02],
        "rtol": 1e-3,
        "initial": None,
        "output": None,
        "checkpoint": None,
        "resume": False,
        "progress": False,
        "stop": (),
        "texts": None,
    }

    @budget(150)
    @given(
        call_of(
            right,
            t_end=SHORT,
            initial=runs(),
            scheme=nasty.filter(lambda one: one not in ("auto",) if isinstance(one, str) else True),
            output=nasty | st.sampled_from([tmp_path, tmp_path / "no" / "x.nc", "/dev/full"]),
            stop=nasty.map(lambda one: [one]) | nasty,
            progress=nasty.filter(lambda one: one is not True and not callable(one)),
        )
    )
    def fuzz(arguments: dict[str, Any]) -> None:
        check(
            lambda: sf.solve(
                arguments["problem"], **{k: v for k, v in arguments.items() if k != "problem"}
            )
        )

    fuzz()
    assert not precious.exists()


def test_problems_with_odd_functions_are_refused_with_a_sentence() -> None:
    functions = [one for one in NASTY if callable(one)]
    right = {"heads": HEADS, "density": VMF, "drift": None, "flow": "ascent", "diffusion": 0.0}
    heads = [None, HEADS, OU, HEADS.nodes(0.0), slice(3), sf.Point(1.0), OU.sample(2, seed=1)]

    @budget(60)
    @given(
        call_of(
            right,
            density=st.sampled_from(functions),
            drift=st.sampled_from(functions),
            heads=st.sampled_from(heads),
        ),
        st.sampled_from([TINY, sf.Particles(4, 0.01, seed=1), sf.FiniteVolume(level=1)]),
    )
    def fuzz(arguments: dict[str, Any], scheme: Any) -> None:
        def run() -> Any:
            problem = sf.TransformerPDE(**arguments)
            return sf.solve(problem, t_end=0.01, scheme=scheme, save_at=[0.01], rtol=1e-3)

        check(run)

    fuzz()


def test_attention_field_refuses_with_a_sentence() -> None:
    right = {
        "source": np.eye(3),
        "heads": HEADS,
        "t": 0.0,
        "weights": None,
        "velocity": "attention",
        "attention": "softmax",
        "tolerance": 1e-6,
        "points": np.eye(3),
    }

    @budget(150)
    @given(call_of(right, source=runs()))
    def fuzz(arguments: dict[str, Any]) -> None:
        rest = {k: v for k, v in arguments.items() if k != "points"}
        field = check(lambda: sf.attention_field(**rest))
        if field is not None:
            check(lambda: field.velocity(arguments["points"]))
            check(lambda: field.effective_mobility(arguments["points"]))
            check(field.energy)

    fuzz()


def test_compare_refuses_with_a_sentence() -> None:
    right = {
        "a": tiny_run(),
        "b": tiny_run(),
        "interpolate": False,
        "transport": False,
        "mobility": False,
        "most_points": 100,
        "seed": 0,
    }

    @budget(80)
    @given(call_of(right, a=runs(), b=runs(), transport=st.just(False), mobility=st.booleans()))
    def fuzz(arguments: dict[str, Any]) -> None:
        check(lambda: sf.compare(**arguments))

    fuzz()


def test_head_norm_integral_refuses_with_a_sentence() -> None:
    laws = st.sampled_from([HEADS, OU, OU.sample(2, seed=1), HEADS.nodes(0.0), slice(3)])
    right = {"source": HEADS, "times": [0.0, 0.1], "norm": "frobenius"}

    @budget(100)
    @given(call_of(right, source=runs() | laws))
    def fuzz(arguments: dict[str, Any]) -> None:
        check(lambda: head_norm_integral(**arguments))

    fuzz()


def test_clusters_refuse_with_a_sentence() -> None:
    right = {"dataset": tiny_tokens(), "bandwidth": 0.3, "prominence": 1.0}

    @budget(60)
    @given(call_of(right, dataset=runs()))
    def fuzz(arguments: dict[str, Any]) -> None:
        check(lambda: clusters(**arguments))

    fuzz()


# The command line


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def check_command(*arguments: str) -> None:
    """It ends well, early, or with exit code 2 and one line; usage errors are Typer's own."""
    done = invoke(*arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code in (0, 1, 2), done.output
    assert "Traceback" not in done.output
    if done.exit_code == 2 and "Usage:" not in done.stderr:
        lines = [line for line in done.stderr.splitlines() if line]
        assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files that are right, damaged, or none."""
    monkeypatch.chdir(tmp_path)
    tiny_run().to_netcdf(tmp_path / "run.nc")
    whole = (tmp_path / "run.nc").read_bytes()
    (tmp_path / "truncated.nc").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "start.nc").write_bytes(whole[:300])
    (tmp_path / "spliced.nc").write_bytes(whole[:9000] + b"\xff" * 4000 + whole[13000:])
    (tmp_path / "text.nc").write_text("no netCDF")
    (tmp_path / "empty.nc").write_bytes(b"")
    xr.Dataset({"x": 3}, attrs={"experiment": "[1]"}).to_netcdf(tmp_path / "other.nc")
    tiny_run().drop_vars("spectrum").to_netcdf(tmp_path / "lacking.nc")
    (tmp_path / "small.toml").write_text(
        '[density]\nkind = "uniform"\n[scheme]\nkind = "spectral"\nlmax = 15\n'
        "[run]\nt_end = 0.02\nsave_every = 0.02\n"
    )
    (tmp_path / "bad.toml").write_text("[density\n")
    (tmp_path / "bytes.toml").write_bytes(bytes(range(256)))
    (tmp_path / "utf16.toml").write_text('title = "x"', encoding="utf-16")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "folder.nc").mkdir()
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    os.mkfifo(tmp_path / "pipe.toml")
    os.mkfifo(tmp_path / "pipe.nc")
    return tmp_path


INPUTS = ["run.nc", "truncated.nc", "start.nc", "spliced.nc", "text.nc", "empty.nc", "other.nc"]
INPUTS += ["lacking.nc", "small.toml", "bad.toml", "bytes.toml", "utf16.toml", "folder.toml"]
INPUTS += ["folder.nc", "loop.toml", "pipe.toml", "pipe.nc", "missing.nc", "missing.toml", "", "."]
INPUTS += ["/dev/null", "/dev/zero", "no_such_name", "\udcff.toml", "x" * 300, "x" * 300 + ".toml"]
OUTPUTS = ["out.nc", "run.nc", "folder.nc", "no/folder/out.nc", "pipe.nc", "/dev/full", "", "."]
OUTPUTS += ["x" * 300 + ".nc", "/proc/out.nc", "out.png", "out.xyz", "out", "small.toml/out.nc"]
VALUES = ["scheme.lmax=x", "scheme.lmax=-1", "run.t_end=nan", "run.t_end=-1", "x", "=", "a.b=1"]
VALUES += ["density.kind=x", "run.output=3", "run.initial=text.nc", "run.initial='pipe.nc'"]
VALUES += ["scheme.lmax=" + "9" * 5000, "density.mean=" + "[" * 3000, "run.stop=3", "\ud800=1"]
VALUES += ["density=os:system", "problem.drift=os:getpid", "run.rtol=1e-400", "title=3", "run=3"]


def test_commands_refuse_with_one_line_and_replace_nothing(folder: Path) -> None:
    kept = {file: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    inputs, outputs = st.sampled_from(INPUTS), st.sampled_from(OUTPUTS)
    numbers = st.sampled_from(["nan", "-1", "0", "x", "1e-9", "1e400", "inf", ""])

    def option(name: str, value: Any) -> Any:
        return st.just([]) | value.map(lambda text: [name, text])

    changes = option("--set", st.sampled_from(VALUES))
    run = st.tuples(
        st.just(["run"]),
        inputs.map(lambda text: [text]),
        option("-o", outputs),
        changes,
        option("--plot", outputs.filter(lambda name: name != "out.png")),
        option("--checkpoint", numbers),
        st.sampled_from([[], ["--resume"], ["--quiet"]]),
    )
    compare = st.tuples(
        st.just(["compare", "--no-transport"]),
        inputs.map(lambda text: [text]),
        inputs.map(lambda text: [text]),
        option("-o", outputs),
        st.sampled_from([[], ["--interpolate"]]),
    )
    sweep = st.tuples(
        st.just(["sweep"]),
        inputs.filter(lambda name: name != "small.toml").map(lambda text: [text]),
        outputs.map(lambda text: ["-o", text]),
        changes,
        option("--vary", st.sampled_from(VALUES)),
    )
    other = st.sampled_from(
        [["--log-level", "loud", "experiments"], ["experiments"], ["run"], [""], ["--version"]]
    ).map(lambda words: [words])

    @budget(40)
    @given(run | run | compare | sweep | other)
    def fuzz(words: Any) -> None:
        check_command(*[word for part in words for word in part])
        for name in ("out.nc", "out.nc.checkpoint", "out.nc.first"):
            (folder / name).unlink(missing_ok=True)

    fuzz()
    assert {file: file.read_bytes() for file in kept} == kept


@pytest.mark.parametrize("name", INPUTS)
def test_no_file_ends_a_command_with_a_traceback(name: str, folder: Path) -> None:
    check_command("run", name, "-o", "out.nc", "--quiet")
    check_command("compare", name, "run.nc", "--no-transport")


@pytest.mark.parametrize("change", VALUES)
def test_no_change_ends_a_command_with_a_traceback(change: str, folder: Path) -> None:
    check_command("run", "small.toml", "-o", "out.nc", "--quiet", "--set", change)
