"""Logits whose kernel is narrow beside cells, nodes and degrees: right, or said not to be."""

import numpy as np
import pytest

import sphereflow as sf

BETA = 500.0
D = np.array([1.0, 0.7, 0.4])
START = sf.VonMisesFisher([0, 0.6, 0.8], 2.0)


def energy_by_laplace():
    """log E to leading order in 1/β: from x = y = ±e₁, where μ is 2 / (4π sinh 2)."""
    value = 2.0 / (4.0 * np.pi * np.sinh(2.0))
    bends = np.sqrt((1 - D[1] ** 2) * (1 - D[2] ** 2))
    return BETA + np.log(value**2 * (2 * np.pi / BETA) ** 2 / bends)


def solved(scheme):
    problem = sf.TransformerPDE(sf.FixedHeads(BETA * np.diag(D), 1.0), START)
    return sf.solve(problem, t_end=1e-3, scheme=scheme, save_at=[0.0, 1e-3], rtol=1e-4)


@pytest.mark.parametrize(
    "scheme", [sf.Spectral(95), sf.FiniteVolume(5), sf.Characteristics()], ids=lambda s: s.name
)
def test_resolved_energies_are_right(scheme):
    """The correction of the next order is 11 / β here, that of the resolved Spectral(127)."""
    run = solved(scheme)
    assert abs(np.log(run.energy.values[0]) - energy_by_laplace() - np.log(1.02165)) < 3e-4
    assert "uncertain" not in run.attrs["status_reason"]
    assert "beyond rtol" not in run.attrs["status_reason"]


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        (sf.Spectral(31, lmax_max=31, resolution_limit=1.0), "the last degrees are at"),
        (sf.FiniteVolume(3), "raise level"),
        (sf.Characteristics(15, 15, None), "raise degree"),
    ],
    ids=lambda s: getattr(s, "name", ""),
)
def test_energies_that_are_not_are_said_to_be_uncertain(scheme, said):
    run = solved(scheme)
    assert abs(np.log(run.energy.values[0]) - energy_by_laplace() - np.log(1.02165)) > 1e-2
    assert said in run.attrs["status_reason"]


def test_isotropic_energy_of_the_uniform_law():
    """E = sinh β / 2β."""
    beta = 600.0
    problem = sf.TransformerPDE(sf.FixedHeads(beta, 1.0), sf.Uniform())
    exact = beta - np.log(4 * beta)
    run = sf.solve(problem, t_end=1e-3, scheme=sf.Spectral(31), save_at=[0.0, 1e-3])
    assert abs(np.log(run.energy.values[0]) - exact) < 1e-6
