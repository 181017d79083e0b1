"""What users and neighbours add from outside: a law, a density and a rule of their own."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

import sphereflow as sf
from sphereflow.densities.base import Density
from sphereflow.describe.registry import LAWS
from sphereflow.experiments.experiment import experiment_from_config
from sphereflow.heads import HeadLaw, Heads
from sphereflow.output.reading import experiment_of
from sphereflow.solving.stopping import StopRule

START = sf.VonMisesFisher([0, 0, 1], 2.0)


@dataclass(frozen=True, eq=False)
class Growing(HeadLaw):
    """One isotropic head β(t) = rate · t."""

    rate: float = 1.0

    def nodes(self, t):
        logits = self.rate * t * np.eye(3)[None]
        return Heads(logits, logits, np.ones(1), self.rate * np.eye(3)[None])


@pytest.fixture(scope="module", autouse=True)
def registered():
    """The row of the law, while the tests of this file run."""
    LAWS.row()(Growing)
    yield
    del LAWS._rows["growing"]


def table_of(rate):
    return sf.TabulatedHeads([0.0, 1.0], rate * np.stack([0 * np.eye(3)[None], np.eye(3)[None]]))


@pytest.mark.parametrize(
    "scheme", [sf.Spectral(31), sf.Characteristics(31), sf.Particles(20, dt=None, seed=1)]
)
def test_a_law_of_a_user_is_as_good_as_a_table(scheme):
    # Both are β = 2t exactly.
    runs = [
        sf.solve(sf.TransformerPDE(law, START), t_end=1.0, scheme=scheme, save_at=[0.0, 1.0])
        for law in (Growing(2.0), table_of(2.0))
    ]
    np.testing.assert_allclose(runs[0].energy, runs[1].energy, rtol=2e-6)
    assert float(np.abs(runs[0].energy_residual).max()) < 2e-6


def test_a_law_of_a_user_is_rebuilt_from_its_run():
    run = sf.solve(
        sf.TransformerPDE(Growing(2.0), START), t_end=0.2, scheme=sf.Spectral(15), save_every=0.1
    )
    config = experiment_of(run.attrs)
    assert config["heads"] == {"kind": "growing", "rate": 2.0}
    again = experiment_from_config(json.loads(json.dumps(config))).solve()
    assert np.array_equal(again.energy, run.energy)


class Band(Density):
    """(1 + ½ P₂(z)) / 4π by its three methods."""

    def log_density(self, points):
        z = np.asarray(points)[..., 2]
        return np.log((1 + 0.25 * (3 * z**2 - 1)) / (4 * np.pi))

    def resolved_spectrum(self):
        coefficients = np.zeros(6, dtype=np.complex128)  # m = 0, 1, 2 one after another
        coefficients[0] = 1 / np.sqrt(4 * np.pi)
        coefficients[2] = 0.5 / np.sqrt(4 * np.pi * 5)
        return coefficients

    def sample(self, n, seed=None):
        return sf.Uniform().sample(n, seed)


def test_a_density_of_a_user_needs_three_methods():
    # ε Δ lets degree 2 decay by e^{−6 ε t}.
    problem = sf.TransformerPDE(None, Band(), diffusion=0.1)
    for scheme in (sf.Spectral(15), sf.FiniteVolume(3)):
        run = sf.solve(problem, t_end=1.0, scheme=scheme, save_at=[0.0, 1.0])
        moment = run.second_moment.values[:, 2, 2] - 1 / 3
        assert moment[0] == pytest.approx(0.5 * 2 / 15, rel=2e-2)
        assert moment[1] / moment[0] == pytest.approx(np.exp(-0.6), rel=1e-2)


class Later(StopRule):
    status = "late"

    def __call__(self, t, record):
        return "it is late" if t > 0.25 else None


def test_a_rule_of_a_user_has_its_own_status():
    problem = sf.TransformerPDE(None, START, diffusion=0.1)
    run = sf.solve(problem, t_end=1.0, scheme=sf.Spectral(15), save_every=0.1, stop=[Later()])
    assert run.attrs["status"] == "late" and float(run.time[-1]) == pytest.approx(0.3)
