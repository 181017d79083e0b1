"""Head laws that are rebuilt from the configuration of a run, without running code."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import sphereflow as sf
from sphereflow.describe import to_config
from sphereflow.errors import ConfigurationError
from sphereflow.heads import law_class_of, law_of
from sphereflow.heads.drifts import DoubleWell, MeanReversion

OU = sf.OrnsteinUhlenbeck(np.eye(3), 1.0, initial_std=0.5)
WELL = sf.HeadProcess(DoubleWell(), 0.5, sf.Isotropic())
LAWS = [
    sf.FixedHeads([np.eye(3), 2 * np.eye(3)], weights=[0.3, 0.7]),
    sf.OscillatingHeads([np.eye(3)], phase="common"),
    sf.TabulatedHeads([0.0, 1.0], np.zeros((2, 1, 3, 3)), interpolation="linear"),
    OU,
    OU.sample(3, seed=1),
    sf.GaussianHeads(np.eye(3), 0.1 * np.eye(9), quadrature=5),
    sf.FokkerPlanckLaw(sf.HeadProcess(MeanReversion(), 1.0, sf.Diagonal()), sf.Normal(1.0, 0.5)),
    sf.FokkerPlanckLaw(WELL, sf.NormalMixture([1.0, 3.0], [0.1, 0.1]), domain=[-2, 5], cells=50),
    WELL.sample(2, seed=4, initial=sf.Point(0.5)),
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_the_law_is_that_of_the_configuration(law: Any) -> None:
    config = json.loads(json.dumps(to_config(law)))
    rebuilt = law_of(config)
    assert type(rebuilt) is type(law) is law_class_of(config)
    assert to_config(rebuilt) == to_config(law)
    expected, found = law.nodes(0.3), rebuilt.nodes(0.3)
    np.testing.assert_array_equal(found.weights, expected.weights)


@pytest.mark.parametrize("config", [None, {"kind": "none"}])
def test_a_run_without_heads_has_no_law(config: Any) -> None:
    assert law_of(config) is None


def test_functions_are_not_imported() -> None:
    config = {"kind": "gaussian_heads", "mean": "os:getcwd", "covariance": np.eye(9).tolist()}
    with pytest.raises(ConfigurationError, match=r"heads\.mean.*code that would be imported"):
        law_of(config)
    assert law_class_of(config) is sf.GaussianHeads


@pytest.mark.parametrize("config", [3, {}, {"kind": []}, {"kind": "another"}])
def test_what_is_no_law_is_refused(config: Any) -> None:
    assert law_class_of(config) is None
    with pytest.raises(ConfigurationError):
        law_of(config)
