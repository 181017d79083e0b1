"""Experiment files: what is shipped, what is built from them, and what is refused."""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from sphereflow.densities.closed_forms import Mixture, OctahedralClusters, Uniform, VonMisesFisher
from sphereflow.densities.series import HarmonicDensity
from sphereflow.describe import to_config
from sphereflow.describe.building import build_object
from sphereflow.describe.fields import Bounds, Words, marks_of, types_of_fields
from sphereflow.describe.registry import DENSITIES, LAWS, SCHEMES, STOP_RULES, Registry
from sphereflow.errors import ConfigurationError, InputError
from sphereflow.experiments.experiment import (
    experiment_from_config,
    find_experiment,
    list_experiments,
    load_experiment,
)
from sphereflow.experiments.random_matrices import draw_matrices
from sphereflow.experiments.schema import experiment_schema, schema_text
from sphereflow.experiments.shipped import shipped_directory
from sphereflow.heads import (
    FixedHeads,
    GaussianHeads,
    OrnsteinUhlenbeck,
    OscillatingHeads,
    TabulatedHeads,
)
from sphereflow.problem import TransformerPDE
from sphereflow.schemes import Particles, Spectral
from sphereflow.solving.solve import solve

MINIMAL: dict[str, Any] = {
    "density": {"kind": "von_mises_fisher", "mean": [0, 0, 1], "concentration": 2.0},
    "heads": {"kind": "fixed_heads", "logits": [[[1, 0, 0], [0, 1, 0], [0, 0, 1]]]},
    "scheme": {"kind": "spectral", "lmax": 15},
    "run": {"t_end": 0.05, "save_at": [0.0, 0.05]},
}
TOML = """
title = "A test"

[density]
kind = "uniform"

[scheme]
kind = "spectral"
lmax = 15

[run]
t_end = 0.05
"""


def changed(**sections: Any) -> dict[str, Any]:
    return {**MINIMAL, **sections}


@pytest.mark.parametrize("shipped", list_experiments(), ids=lambda shipped: shipped.name)
def test_shipped_experiments_load_and_have_titles(shipped: Any) -> None:
    experiment = load_experiment(find_experiment(shipped.name))
    assert shipped.title == experiment.title != ""
    assert experiment.references != ""
    assert experiment.run["t_end"] > 0


def test_paper_experiments_have_the_parameters_of_the_paper() -> None:
    text = load_experiment(find_experiment("paper_ou"))
    script = load_experiment(find_experiment("paper_ou_script"))
    assert text.problem.flow == script.problem.flow == "descent"
    # Section 6: F = I, sigma = 1, T = 20; D_0 = Z + Z^T has variance 4 on the diagonal.
    np.testing.assert_array_equal(text.problem.heads.target, np.eye(3))
    assert text.problem.heads.sigma == script.problem.heads.sigma == 1.0
    assert (text.problem.heads.initial_std, script.problem.heads.initial_std) == (1.0, 2.0)
    assert text.run["t_end"] == 20.0


@pytest.mark.parametrize(
    ("name", "diagonal", "off_diagonal", "phase"),
    [
        ("paper_oscillating", 1.0, 1.0, "spread"),
        ("paper_oscillating_script", 4.0, 2.0, "spread"),
        ("paper_oscillating_common", 1.0, 1.0, "common"),
    ],
)
def test_oscillating_heads_start_with_the_stated_variances(
    name: str, diagonal: float, off_diagonal: float, phase: str
) -> None:
    heads = load_experiment(find_experiment(name)).problem.heads
    assert heads.initial.shape == (100, 3, 3)
    assert heads.phase == phase
    # Five standard errors of a variance estimated from 300 independent entries.
    margin = 5.0 * np.sqrt(2.0 / 300.0)
    upper = heads.initial[:, *np.triu_indices(3, k=1)]
    assert np.mean(heads.initial[:, *np.diag_indices(3)] ** 2) / diagonal == pytest.approx(
        1.0, abs=margin
    )
    assert np.mean(upper**2) / off_diagonal == pytest.approx(1.0, abs=margin)


def test_rotation_experiment_turns_once_in_unit_time() -> None:
    from scipy.linalg import expm

    experiment = load_experiment(find_experiment("rotation"))
    matrix = np.asarray(experiment.problem.drift)
    np.testing.assert_allclose(expm(experiment.run["t_end"] * matrix), np.eye(3), atol=1e-13)


@pytest.mark.parametrize(
    "density",
    [
        Uniform(),
        VonMisesFisher([0.0, 0.6, 0.8], 3.0),
        Mixture([Uniform(), VonMisesFisher([1, 0, 0], 5.0)], [0.25, 0.75]),
        OctahedralClusters(0.1),
        HarmonicDensity([np.sqrt(0.25 / np.pi), 0.0, 0.1, 0.0]),
    ],
    ids=lambda density: type(density).__name__,
)
def test_densities_survive_json(density: Any) -> None:
    config = json.loads(json.dumps(to_config(density)))
    rebuilt = build_object(config, DENSITIES, "density")
    points = VonMisesFisher([0, 0, 1], 1.0).sample(20, seed=1)
    np.testing.assert_allclose(rebuilt(points), density(points), rtol=1e-15)


@pytest.mark.parametrize(
    "heads",
    [
        FixedHeads([np.eye(3), -2 * np.eye(3)], weights=[0.3, 0.7]),
        OscillatingHeads([np.eye(3)], phase="common"),
        TabulatedHeads([0.0, 1.0, 3.0], np.arange(27.0).reshape(3, 1, 3, 3)),
        OrnsteinUhlenbeck(np.eye(3), 0.5, initial_std=2.0),
        GaussianHeads(np.eye(3), 0.1 * np.eye(9)),
    ],
    ids=lambda heads: type(heads).__name__,
)
def test_heads_survive_json(heads: Any) -> None:
    config = json.loads(json.dumps(to_config(heads)))
    rebuilt = build_object(config, LAWS, "heads")
    assert to_config(rebuilt) == to_config(heads)
    np.testing.assert_allclose(
        rebuilt.nodes(0.7).weights, heads.nodes(0.7).weights, rtol=1e-15, atol=0
    )


def test_scheme_survives_json() -> None:
    scheme = Spectral(lmax=31, lmax_max=95)
    assert build_object(json.loads(json.dumps(to_config(scheme))), SCHEMES, "scheme") == scheme


def test_file_changes_and_defaults(tmp_path: Path) -> None:
    file = tmp_path / "test.toml"
    file.write_text(TOML)
    experiment = load_experiment(
        file, ["scheme.lmax=31", "problem.flow=descent", "problem.diffusion = 0.1"]
    )
    assert experiment.title == "A test"
    assert experiment.problem.heads is None
    assert experiment.scheme == Spectral(lmax=31)
    assert (experiment.problem.flow, experiment.problem.diffusion) == ("descent", 0.1)


@pytest.mark.parametrize("heads", [None, {"kind": "none"}])
def test_heads_can_be_left_out(heads: Any) -> None:
    assert experiment_from_config(changed(heads=heads)).problem.heads is None


def test_functions_beside_the_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "wind_of_test.py").write_text("def wind(x, t):\n    return 0 * x\n")
    file = tmp_path / "test.toml"
    file.write_text(TOML + '[problem]\ndrift = "wind_of_test:wind"\n')
    assert load_experiment(file, allow_code=True).problem.drift.__name__ == "wind"


def test_code_of_a_file_is_not_run_unless_allowed(tmp_path: Path) -> None:
    (tmp_path / "harm_of_test.py").write_text("raise AssertionError('imported')\n")
    file = tmp_path / "test.toml"
    file.write_text(TOML + '[problem]\ndrift = "harm_of_test:wind"\n')
    with pytest.raises(ConfigurationError, match=r"allow it with --allow-code"):
        load_experiment(file)


def test_a_run_can_be_repeated_from_its_dataset(tmp_path: Path) -> None:
    experiment = experiment_from_config(changed(title="Repeat me"))
    first = experiment.solve(output=tmp_path / "run.nc")
    again = load_experiment(tmp_path / "run.nc")
    assert first.attrs["title"] == again.title == "Repeat me"
    second = again.solve()
    np.testing.assert_array_equal(first["spectrum"].values, second["spectrum"].values)
    np.testing.assert_array_equal(first["time"].values, second["time"].values)


BAD: list[tuple[dict[str, Any], list[str]]] = [
    (changed(densty={}), ["'densty'", "nearest: 'density'"]),
    ({"density": {"kind": "uniform"}, "run": {"t_end": 1.0}}, ["[scheme]"]),
    (changed(run={"save_every": 0.1}), ["[run]", "'t_end'"]),
    (changed(run={"t_end": 1.0, "t_and": 2.0}), ["'t_and'", "nearest: 't_end'"]),
    (changed(run={"t_end": "long"}), ["run.t_end", "'long'"]),
    (changed(run=3), ["[run]", "table"]),
    (changed(problem={"flow": "up"}), ["flow", "'up'", "'descent'"]),
    (changed(problem={"heads": 1}), ["'heads'", "'flow'"]),
    (changed(problem={"drift": [1, 2]}), ["[problem]", "3 by 3"]),
    (changed(problem={"diffusion": "much"}), ["problem.diffusion", "'much'", "float"]),
    (changed(density={"kind": "gaussian"}), ["'gaussian'", "'von_mises_fisher'"]),
    (changed(density={"kind": "von_mises_fisher", "mean": [0, 0, 1]}), ["'concentration'"]),
    (changed(scheme={"kind": "spectral", "lmx": 3}), ["'lmx'", "nearest: 'lmax'"]),
    (changed(title=3), ["title", "3", "str"]),
    (
        changed(heads={"kind": "oscillating_heads", "initial": {"random": "normal", "n": 3}}),
        ["heads.initial", "'n'", "'count'"],
    ),
    (
        changed(heads={"kind": "oscillating_heads", "initial": {"random": "cauchy"}}),
        ["'cauchy'", "'symmetrised'"],
    ),
    (
        changed(heads={"kind": "fixed_heads", "logits": {"random": "normal", "count": 0}}),
        ["heads.logits", "count", "got 0", "from 1"],
    ),
    (
        changed(heads={"kind": "fixed_heads", "logits": {"random": "normal", "count": 10**12}}),
        ["heads.logits", "count", "1000000"],
    ),
    (changed(heads={"kind": "fixed_heads", "logits": {"random": []}}), ["random = []"]),
    (changed(heads={"kind": np.zeros(2)}), ["heads", "unknown kind"]),
    (
        changed(density={"kind": "harmonic_density", "coefficients": {"real": 1, "imag": "x"}}),
        ["density.coefficients.imag", "real numbers"],
    ),
    (changed(run={"t_end": 1.0, "output": 3}), ["run.output", "path", "3"]),
    (changed(run={"t_end": 1.0, "initial": ["x"]}), ["run.initial", "['x']"]),
    (changed(run={"t_end": 1.0, "stop": None}), ["run.stop", "list"]),
    (changed(density=functools.reduce(lambda inner, _: [inner], range(3000), 1)), ["density"]),
]


@pytest.mark.parametrize(("config", "words"), BAD)
def test_errors_say_where_what_and_what_is_allowed(
    config: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        experiment_from_config(config)
    for word in words:
        assert word in str(caught.value)


def depth(value: Any, most: int = 100) -> int:
    """How deeply tables and lists are nested, up to a bound."""
    inner = list(value.values()) if isinstance(value, dict) else value
    if most == 0 or not isinstance(inner, list):
        return 0
    return 1 + max((depth(one, most - 1) for one in inner), default=0)


class TestSchema:
    validator = jsonschema.Draft202012Validator(experiment_schema())

    @classmethod
    def places(cls, config: Any) -> set[str]:
        """The keys at which a validator that is not ours refuses a configuration."""
        return {
            ".".join(map(str, error.absolute_path))
            for found in cls.validator.iter_errors(config)
            for error in of_its_kind(found)
        }

    def test_it_is_a_schema(self) -> None:
        jsonschema.Draft202012Validator.check_schema(self.validator.schema)

    @pytest.mark.parametrize("shipped", list_experiments(), ids=lambda shipped: shipped.name)
    def test_shipped_experiments_are_valid(self, shipped: Any) -> None:
        assert self.places(tomllib.loads(shipped.path.read_text(encoding="utf-8"))) == set()

    @pytest.mark.parametrize("shipped", list_experiments(), ids=lambda shipped: shipped.name)
    def test_shipped_experiments_name_the_schema(self, shipped: Any) -> None:
        first, second = shipped.path.read_text(encoding="utf-8").splitlines()[:2]
        assert first == "#:schema ./schema.json"
        assert second.startswith("# ")

    def test_the_shipped_schema_is_the_present_one(self) -> None:
        shipped = shipped_directory() / "schema.json"
        assert shipped.read_text(encoding="utf-8") == schema_text(), "write it by `make schema`"

    @pytest.mark.parametrize("config", [config for config, _ in BAD if depth(config) < 100])
    def test_what_is_bad_is_refused_at_the_same_key(self, config: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError) as caught:
            experiment_from_config(config)
        named = re.match(r"\[([\w.]+)\]", str(caught.value))
        key = "" if named is None or named[1] in ("experiment", "title") else named[1]
        # A class that refuses a value names its table first; the schema knows the field.
        found = self.places(to_config(config))
        assert any(one == key or one.startswith(f"{key}.") or not key for one in found), found

    @pytest.mark.parametrize(
        "config",
        [
            changed(scheme={"kind": "auto"}),
            changed(heads=None),
            changed(heads={"kind": "none"}),
            changed(density="module:function"),
            changed(problem={"drift": "package.module:function"}),
            changed(run={"t_end": 1, "checkpoint": {"minutes": 5}, "stop": []}),
        ],
    )
    def test_what_is_left_open_is_valid(self, config: dict[str, Any]) -> None:
        assert self.places(config) == set()

    @pytest.mark.parametrize(
        ("registry", "kind", "fields"),
        [
            (SCHEMES, "spectral", {}),
            (SCHEMES, "finite_volume", {}),
            (SCHEMES, "characteristics", {}),
            (SCHEMES, "particles", {}),
            (SCHEMES, "auto", {}),
            (DENSITIES, "von_mises_fisher", {"mean": [0, 0, 1], "concentration": 1.0}),
            (DENSITIES, "octahedral_clusters", {}),
            (LAWS, "ornstein_uhlenbeck", {"target": 1.0, "sigma": 1.0}),
            (LAWS, "oscillating_heads", {"initial": np.eye(3)}),
            (STOP_RULES, "steady_state", {}),
            (STOP_RULES, "clustered", {}),
            (STOP_RULES, "wall_time", {"seconds": 1.0}),
        ],
    )
    def test_bounds_are_those_of_the_class(
        self, registry: Registry, kind: str, fields: dict[str, Any]
    ) -> None:
        cls = registry[kind]
        cls(**fields)
        tried = 0
        for name, hint in types_of_fields(cls).items():
            for mark in marks_of(hint):
                for value in beyond(mark):
                    tried += 1
                    with pytest.raises(InputError, match=name):
                        cls(**{**fields, name: value})
        assert tried > 0


def of_its_kind(error: Any) -> Iterator[Any]:
    """An error, or those within the alternative of a table that has its kind."""
    if error.validator not in ("oneOf", "anyOf"):
        yield error
        return
    branches: dict[int, list[Any]] = {}
    for one in error.context:
        branches.setdefault(one.schema_path[0], []).append(one)
    found = [
        inner
        for branch in branches.values()
        if not any(list(one.path) in ([], ["kind"]) and one.validator in FOREIGN for one in branch)
        for one in branch
        for inner in of_its_kind(one)
    ]
    yield from found or [error]


FOREIGN = ("type", "const", "enum", "pattern")  # keywords by which a table is of another kind


def beyond(mark: Any) -> list[Any]:
    """Values just outside what a mark allows."""
    if isinstance(mark, Words):
        return ["another"]
    if isinstance(mark, Bounds):
        least = [] if mark.least is None else [mark.least - 1]
        most = [] if mark.most is None else [mark.most + 1]
        return least + most + ([] if mark.above is None else [mark.above])
    return []


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, ["cannot be read"]), ("title = ", ["not valid TOML"]), (b"\xff\xfe", ["TOML"])],
)
def test_unreadable_files_are_refused(tmp_path: Path, content: Any, words: list[str]) -> None:
    file = tmp_path / "broken.toml"
    if isinstance(content, str):
        file.write_text(content)
    elif content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_experiment(file)
    for word in [*words, "broken.toml"]:
        assert word in str(caught.value)


def test_a_netcdf_file_without_experiment_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.nc").write_text("nothing")
    with pytest.raises(ConfigurationError, match=r"other\.nc"):
        load_experiment(tmp_path / "other.nc")


@pytest.mark.parametrize("change", ["lmax", "=3", "scheme..lmax=3", "title.x=3"])
def test_malformed_changes_are_refused(tmp_path: Path, change: str) -> None:
    file = tmp_path / "test.toml"
    file.write_text(TOML)
    with pytest.raises(ConfigurationError, match="The change"):
        load_experiment(file, [change])


def test_unknown_experiment_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="nearest: 'paper_ou'"):
        find_experiment("papr_ou")


class TestRandomMatrices:
    def test_first_matrices_do_not_depend_on_the_count(self) -> None:
        few = draw_matrices({"random": "normal", "count": 3, "seed": 5}, "heads")
        many = draw_matrices({"random": "normal", "count": 50, "seed": 5}, "heads")
        np.testing.assert_array_equal(few, many[:3])

    @pytest.mark.parametrize("law", ["normal", "symmetrised"])
    def test_matrices_are_symmetric(self, law: str) -> None:
        drawn = draw_matrices({"random": law, "count": 4}, "heads")
        np.testing.assert_array_equal(drawn, drawn.transpose(0, 2, 1))

    def test_symmetry_can_be_left_out(self) -> None:
        options = {"random": "normal", "count": 2000, "std": 2.0, "symmetric": False}
        drawn = draw_matrices(options, "heads").reshape(2000, 9)
        # Nine independent entries of variance 4, to five standard errors.
        np.testing.assert_allclose(
            np.cov(drawn.T), 4.0 * np.eye(9), atol=5.0 * 4.0 * np.sqrt(2.0 / 2000.0)
        )

    def test_identity(self) -> None:
        drawn = draw_matrices({"random": "identity", "scale": 1.5, "count": 2}, "heads")
        np.testing.assert_array_equal(drawn, 1.5 * np.stack([np.eye(3), np.eye(3)]))


SAMPLED_TOML = """
[density]
kind = "octahedral_clusters"
spread = 0.05

[heads]
kind = "sampled_heads"
count = 4
seed = 3
method = "{method}"

[heads.law]
kind = "ornstein_uhlenbeck"
target = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
sigma = 1.0
initial_std = 2.0

[problem]
flow = "descent"

[scheme]
kind = "particles"
count = 20
dt = 0.05
paths = 2
threads = 1
{more}

[run]
t_end = 0.1
save_at = [0.0, 0.05, 0.1]
"""


class TestSampledHeads:
    @pytest.mark.parametrize("method", ["euler", "exact"])
    def test_the_file_is_the_same_as_the_objects(self, tmp_path: Path, method: str) -> None:
        file = tmp_path / "test.toml"
        file.write_text(SAMPLED_TOML.format(method=method, more="seed = 5"))
        run = load_experiment(file).solve()
        law = OrnsteinUhlenbeck(np.eye(3), 1.0, initial_std=2.0)
        heads = law.sample(count=4, seed=3, method=method)
        problem = TransformerPDE(heads, OctahedralClusters(0.05), flow="descent")
        scheme = Particles(count=20, dt=0.05, paths=2, seed=5, threads=1)
        expected = solve(problem, t_end=0.1, scheme=scheme, save_at=[0.0, 0.05, 0.1])
        for name, values in expected.data_vars.items():
            np.testing.assert_array_equal(run[name].values, values.values, err_msg=str(name))
        for name in ("seed", "experiment", "final_steps"):
            assert run.attrs[name] == expected.attrs[name]

    @pytest.mark.parametrize("store", ["tokens", "statistics"])
    def test_a_run_can_be_repeated_to_the_last_bit(self, tmp_path: Path, store: str) -> None:
        # Also with a seed that was not given: the one that was drawn is in the file.
        file = tmp_path / "test.toml"
        file.write_text(SAMPLED_TOML.format(method="euler", more=f'store = "{store}"'))
        first = load_experiment(file).solve(output=tmp_path / "run.nc")
        second = load_experiment(tmp_path / "run.nc").solve()
        assert first.attrs["seed"] == second.attrs["seed"]
        assert first.attrs["experiment"] == second.attrs["experiment"]
        assert set(first.variables) == set(second.variables)
        for name, values in first.variables.items():
            np.testing.assert_array_equal(second[name].values, values.values, err_msg=str(name))

    def test_a_head_process_of_named_functions(self, tmp_path: Path) -> None:
        # drift and diffusion from a module beside the file; a table for the initial law.
        (tmp_path / "well_of_test.py").write_text(
            "def drift(theta, t):\n    return theta - theta**3\n\n\n"
            "def noise(theta, t):\n    return 0.5 + 0 * theta\n"
        )
        file = tmp_path / "test.toml"
        file.write_text(
            TOML.replace('kind = "spectral"\nlmax = 15', 'kind = "particles"\ncount = 8\nseed = 1')
            + """
[heads]
kind = "sampled_heads"
count = 3
seed = 2

[heads.law]
kind = "head_process"
drift = "well_of_test:drift"
diffusion = "well_of_test:noise"
parametrisation = {kind = "isotropic"}

[heads.initial]
kind = "point"
theta = 0.5
"""
        )
        experiment = load_experiment(file, allow_code=True)
        first = experiment.solve(output=tmp_path / "run.nc")
        # Isotropic heads that start from θ = ½.
        np.testing.assert_array_equal(first.head_logits[0], 0.5 * np.stack([np.eye(3)] * 3))
        second = load_experiment(tmp_path / "run.nc", allow_code=True).solve()
        np.testing.assert_array_equal(first.position.values, second.position.values)
        np.testing.assert_array_equal(first.head_logits.values, second.head_logits.values)

    @pytest.mark.parametrize(
        ("heads", "words"),
        [
            ({"kind": "sampled_heads", "count": 3}, ["'law'"]),
            (
                {"kind": "sampled_heads", "count": 3, "law": {"kind": "uniform"}},
                ["heads.law", "'uniform'", "'ornstein_uhlenbeck'"],
            ),
            (
                {
                    "kind": "sampled_heads",
                    "count": 0,
                    "law": {"kind": "ornstein_uhlenbeck", "target": 1.0, "sigma": 1.0},
                },
                ["[heads]", "count", "0"],
            ),
            (
                {"kind": "sampled_heads", "count": 3, "law": {"kind": "isotropic"}},
                ["[heads.law]", "'isotropic'", "'head_process'", "'ornstein_uhlenbeck'"],
            ),
        ],
    )
    def test_errors_name_the_table(self, heads: dict[str, Any], words: list[str]) -> None:
        with pytest.raises(ConfigurationError) as caught:
            experiment_from_config(changed(heads=heads))
        for word in words:
            assert word in str(caught.value)

    def test_particles_survive_json(self) -> None:
        scheme = Particles(count=30, dt=None, seed=7, paths=3, stepper="rk4", store="statistics")
        assert build_object(json.loads(json.dumps(to_config(scheme))), SCHEMES, "scheme") == scheme
