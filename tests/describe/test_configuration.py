"""Dataclasses to dictionaries and back, and the words of the errors."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from typing import Any, Literal

import numpy as np
import pytest

from sphereflow.describe import experiment_config, kind_of, to_config
from sphereflow.describe.building import build_object, import_callable
from sphereflow.describe.fields import types_of_fields
from sphereflow.describe.registry import Registry
from sphereflow.errors import ConfigurationError, InputError
from sphereflow.experiments.run_options import RunOptions
from sphereflow.solving.solve import solve


@dataclasses.dataclass(frozen=True)
class Shape:
    centre: Any
    width: float = 0.5
    degree: int = 3
    kind_of_edge: Literal["sharp", "smooth"] = "sharp"
    inner: Any = None
    derived: float = dataclasses.field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if self.width <= 0:
            raise InputError(f"width must be above 0, got {self.width}")
        object.__setattr__(self, "centre", np.asarray(self.centre, dtype=float))


REGISTRY = Registry(Shape)


def shape(**fields: Any) -> Any:
    return build_object({"kind": "shape", "centre": [0, 0, 1], **fields}, REGISTRY, "density")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("VonMisesFisher", "von_mises_fisher"),
        ("Spectral", "spectral"),
        ("FokkerPlanckLaw", "fokker_planck_law"),
        ("SDELaw", "sde_law"),
    ],
)
def test_kind_is_the_class_name_in_snake_case(name: str, expected: str) -> None:
    assert kind_of(type(name, (), {})) == expected


def test_round_trip_through_json_keeps_every_field() -> None:
    original = Shape(np.array([0.0, 0.6, 0.8]), width=1.0 / 3.0, inner=Shape([1, 0, 0]))
    config = json.loads(json.dumps(to_config(original)))
    rebuilt = build_object(config, REGISTRY, "density")
    assert "derived" not in config
    np.testing.assert_array_equal(rebuilt.centre, original.centre)
    assert rebuilt.width == original.width
    np.testing.assert_array_equal(rebuilt.inner.centre, [1.0, 0.0, 0.0])


def test_complex_arrays_survive_json() -> None:
    config = json.loads(json.dumps(to_config(Shape([0, 0, 1], inner=np.array([1.0 + 2.0j])))))
    np.testing.assert_array_equal(
        build_object(config, REGISTRY, "density").inner, np.array([1.0 + 2.0j])
    )


def test_callables_become_references_that_can_be_imported() -> None:
    assert to_config(math.hypot) == "math:hypot"
    assert import_callable("math:hypot", "drift") is math.hypot
    assert shape(inner="math:hypot").inner is math.hypot


def test_numpy_scalars_and_tuples_become_json_types() -> None:
    value = to_config({"a": np.float64(0.5), "b": (np.int64(2), None, True)})
    assert json.dumps(value) == '{"a": 0.5, "b": [2, null, true]}'


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"widht": 1.0}, ["'widht'", "nearest: 'width'", "'degree'"]),
        ({"kind": "shap"}, ["'shap'", "nearest: 'shape'"]),
        ({"width": "wide"}, ["density.width", "'wide'", "float"]),
        ({"degree": 2.5}, ["density.degree", "2.5", "int"]),
        ({"degree": True}, ["density.degree", "True", "int"]),
        ({"kind_of_edge": "round"}, ["'round'", "'sharp'", "'smooth'"]),
        ({"width": -1.0}, ["[density]", "width must be above 0", "-1.0"]),
        ({"centre": [[1, 2], [3]]}, ["[density]", "Shape", "inhomogeneous"]),
        ({"inner": "no_such_module:f"}, ["density.inner", "no_such_module", "cannot be imported"]),
        ({"inner": "math:pi"}, ["density.inner", "float", "name a function"]),
        ({"inner": {"width": 1.0}}, ["density.inner", "'kind'", "'shape'"]),
    ],
)
def test_errors_name_the_place_the_value_and_what_is_allowed(
    fields: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        shape(**fields)
    for word in words:
        assert word in str(caught.value)


def test_missing_field_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"\[density\] lacks 'centre'"):
        build_object({"kind": "shape"}, REGISTRY, "density")


def test_functions_without_a_name_are_recorded_but_not_rebuilt() -> None:
    config = to_config(Shape([0, 0, 1], inner=lambda x: x))
    assert "<lambda>" in config["inner"]
    with pytest.raises(ConfigurationError, match="<lambda>"):
        build_object(config, REGISTRY, "density")


def test_experiment_config_has_the_sections_of_a_file() -> None:
    @dataclasses.dataclass(frozen=True)
    class Problem:
        heads: Any
        density: Any
        flow: str = "ascent"

    config = experiment_config(Problem(None, Shape([0, 0, 1])), Shape([1, 0, 0]), {"t_end": 1.0})
    assert list(config) == ["density", "heads", "problem", "scheme", "run"]
    assert config["problem"] == {"flow": "ascent"}
    assert config["heads"] is None
    assert config["density"]["kind"] == config["scheme"]["kind"] == "shape"


def test_every_run_option_of_the_api_has_its_key() -> None:
    parameters = inspect.signature(solve).parameters.values()
    named = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
    elsewhere = {"scheme", "progress", "resume", "texts"}  # a section, or of no use in a file
    assert set(types_of_fields(RunOptions)) == named - elsewhere
    defaults = {one.name: one.default for one in parameters}
    for field in dataclasses.fields(RunOptions):
        if field.default is not dataclasses.MISSING:
            assert field.default == defaults[field.name]
