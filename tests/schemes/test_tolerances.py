"""What `rtol` means: for one token of many, near the uniform density, over long times."""

import numpy as np
import pytest
from scipy.special import spherical_in

import sphereflow as sf

OUTPUTS = {"end": [1.0], "few": [0.0, 0.37, 1.0], "many": np.linspace(0.0, 1.0, 21)}
RNG = np.random.default_rng(1)
HEADS = sf.FixedHeads(RNG.standard_normal((3, 3)), 0.4 * RNG.standard_normal((3, 3)))
DENSITY = sf.VonMisesFisher([0, 0.6, 0.8], 2.0)
TOKENS = sf.EmpiricalDensity(DENSITY.sample(25, seed=3))
SCHEMES = {
    "spectral": sf.Spectral(23),
    "spectral, fixed": sf.Spectral(23, dt=0.02),
    "characteristics": sf.Characteristics(degree=19),
    "cells": sf.FiniteVolume(2),
    "auto": sf.Auto(lmax=23, degree=19),
    "tokens": sf.Particles(dt=None, threads=1),
    "tokens, rk4": sf.Particles(dt=0.02, stepper="rk4", threads=1),
}


@pytest.mark.parametrize("kind", ["heads", "drift", "table"])
@pytest.mark.parametrize("name", SCHEMES)
def test_outputs_change_nothing_beyond_the_tolerance(name, kind):
    times = np.linspace(0.0, 1.0, 5)
    stack = np.stack([(1 + 0.5 * np.sin(3 * t)) * HEADS.logits for t in times])
    law = sf.TabulatedHeads(times, stack, np.stack([HEADS.values] * 5))

    def drift(x, t):
        return np.cos(2 * t) * np.cross([0.3, 0.0, 1.0], x) + 0.2 * np.array([np.sin(5 * t), 0, 0])

    problem = sf.TransformerPDE(
        {"heads": HEADS, "drift": None, "table": law}[kind],
        TOKENS if name.startswith("tokens") else DENSITY,
        drift=drift if kind == "drift" else None,
    )
    ends = [
        sf.solve(problem, t_end=1.0, scheme=SCHEMES[name], save_at=times, rtol=1e-7)
        for times in OUTPUTS.values()
    ]
    for run in ends:
        assert run.status == "completed"
    # Cells take what the macro steps may err, far below the error of the mesh.
    tolerance = 2e-6 if name != "cells" else 1e-3
    for run in ends[1:]:
        found = run.spectrum.values[-1] - ends[0].spectrum.values[-1]
        assert np.abs(found).max() < tolerance
        if kind != "drift":
            relative = float(run.energy[-1] / ends[0].energy[-1]) - 1
            assert abs(relative) < tolerance


@pytest.mark.parametrize("scheme", [sf.Particles(dt=None), sf.Characteristics()])
@pytest.mark.parametrize("count", [2, 301])
def test_rotation_over_many_turns(scheme, count):
    omega = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]])
    problem = sf.TransformerPDE(None, sf.EmpiricalDensity(np.eye(3)), drift=omega)
    times = np.linspace(0.0, 300.0, count)
    run = sf.solve(problem, t_end=300.0, scheme=scheme, save_at=times, rtol=1e-6)
    right = [np.cos(300.0), np.sin(300.0), 0.0]
    # At most rtol a step, of which there are 130 to 300.
    assert np.abs(run.position.values[-1, 0] - right).max() < 1e-4
    assert np.abs(np.linalg.norm(run.position.values[-1], axis=1) - 1).max() < 1e-15


@pytest.mark.parametrize("count", [1, 3000])
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_one_token_among_many_keeps_its_tolerance(rtol, count):
    # It turns by ∫ 20 sin(40 t) dt about e_z; the others rest beyond the jump of the drift.
    def drift(x, t):
        factor = (20 * np.sin(40 * t) * (x[:, 0] > 0))[:, None]
        return factor * np.stack([-x[:, 1], x[:, 0], 0 * x[:, 0]], 1)

    points = sf.Uniform().sample(count, seed=4)
    points[:, 0] = -np.abs(points[:, 0])
    points[0] = [1, 0, 0]
    problem = sf.TransformerPDE(None, sf.EmpiricalDensity(points), drift=drift)
    run = sf.solve(problem, t_end=2.0, scheme=sf.Particles(dt=None), save_at=[0, 2.0], rtol=rtol)
    angle = 0.5 * (1 - np.cos(80.0))
    right = [np.cos(angle), np.sin(angle), 0.0]
    # Some 80 steps of that tolerance each.
    assert np.abs(run.position.values[-1, 0] - right).max() < 30 * rtol


def test_the_norm_of_the_error_can_be_chosen():
    points = sf.Uniform().sample(500, seed=4)
    problem = sf.TransformerPDE(HEADS, sf.EmpiricalDensity(points))
    worst, mean = (
        sf.solve(
            problem,
            t_end=4.0,
            scheme=sf.Particles(dt=None, error_norm=norm),
            save_at=[0, 4.0],
            rtol=1e-12,
        )
        for norm in ("largest", "mean")
    )
    assert 0 < float(np.abs(worst.position - mean.position).max()) < 1e-9


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
@pytest.mark.parametrize("scheme", [sf.Spectral(31), sf.Characteristics(degree=31)])
@pytest.mark.parametrize("degree", [1, 2])
def test_growth_out_of_a_nearly_uniform_state(scheme, degree, rtol):
    # MODEL: rate l(l+1) i_l(β)/(β i_0(β)); the quadratic terms are of the size of the amplitude.
    beta, amplitude, t_end = 3.0, 1e-6, 2.0
    coefficients = np.zeros((degree + 1) ** 2)
    coefficients[0] = 1 / np.sqrt(4 * np.pi)
    coefficients[degree**2 + degree] = amplitude
    rate = degree * (degree + 1) * spherical_in(degree, beta) / (beta * spherical_in(0, beta))
    problem = sf.TransformerPDE(
        sf.FixedHeads(beta * np.eye(3), np.eye(3)), sf.HarmonicDensity(coefficients)
    )
    run = sf.solve(problem, t_end=t_end, scheme=scheme, save_at=[0, t_end], rtol=rtol)
    found = float(run.spectrum[-1, degree**2 + degree]) / (amplitude * np.exp(rate * t_end))
    assert found == pytest.approx(1.0, abs=10 * rtol + 2 * amplitude * np.exp(rate * t_end))
