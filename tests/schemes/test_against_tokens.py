"""The whole solver against an independent one: weighted tokens and SciPy's integrator.

Gauss nodes of μ_0, carried by the plain softmax sums with their quadrature weights, integrate
every smooth function of the solution to spectral accuracy while μ_t is smooth.
"""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import sphereflow as sf

START = sf.VonMisesFisher([0.3, -0.5, 0.8], 3.0)


def gauss_tokens(rings):
    cosine, weights = np.polynomial.legendre.leggauss(rings)
    phi = np.arange(2 * rings) * np.pi / rings
    sine = np.sqrt(1 - cosine**2)
    x = np.stack(
        [np.outer(sine, np.cos(phi)), np.outer(sine, np.sin(phi)), np.outer(cosine, 0 * phi + 1)],
        axis=-1,
    ).reshape(-1, 3)
    mass = np.repeat(weights, 2 * rings) * np.pi / rings * START(x)
    return x, mass / mass.sum()


def softmax_velocity(x, mass, logits, values):
    total = np.zeros_like(x)
    for matrix, value in zip(logits, values, strict=True):
        scores = np.exp(x @ matrix @ x.T) * mass
        total += (scores @ x) @ value.T / scores.sum(axis=1, keepdims=True)
    total /= len(logits)
    return total - x * np.sum(x * total, axis=1, keepdims=True)


@pytest.mark.parametrize(("flow", "sign"), [("ascent", 1.0), ("descent", -1.0)])
def test_moments_agree_with_weighted_tokens(flow, sign):
    rng = np.random.default_rng(3)
    logits, values = rng.standard_normal((2, 2, 3, 3))
    x, mass = gauss_tokens(18)

    def velocity(t, flat):
        tokens = flat.reshape(-1, 3)
        tokens = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
        return sign * softmax_velocity(tokens, mass, logits, values).ravel()

    end = solve_ivp(velocity, (0, 0.3), x.ravel(), method="DOP853", rtol=1e-10, atol=1e-11)
    tokens = end.y[:, -1].reshape(-1, 3)
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    first = mass @ tokens
    second = tokens.T @ (mass[:, None] * tokens)
    third = np.einsum("n,ni,nj,nk->ijk", mass, tokens, tokens, tokens)
    energy = 0.5 * np.mean([mass @ np.exp(tokens @ d @ tokens.T) @ mass for d in logits])

    run = sf.solve(
        sf.TransformerPDE(sf.FixedHeads(logits, values), START, flow=flow),
        t_end=0.3,
        scheme=sf.Spectral(lmax=47),
        save_at=[0.3],
        rtol=1e-9,
    )
    assert np.abs(run.first_moment.values[0] - first).max() < 1e-8
    assert np.abs(run.second_moment.values[0] - second).max() < 1e-8
    assert float(run.energy[0]) == pytest.approx(energy, abs=1e-8)
    grid = sf.SphereGrid(47)
    density = sf.HarmonicDensity(run.spectrum.values[0])(grid.points) * grid.weights
    cubic = np.einsum("ab,abi,abj,abk->ijk", density, *[grid.points] * 3)
    assert np.abs(cubic - third).max() < 1e-8
