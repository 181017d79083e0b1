"""The field as vector harmonics, against the pointwise field of the same density."""

import numpy as np
import pytest

import sphereflow as sf
from sphereflow.attention import FieldSpecification, GridField
from sphereflow.sphere import PointTransform, SphereGrid, resize

DENSITY = sf.Mixture(
    [sf.VonMisesFisher([0, 0, 1], 6.0), sf.VonMisesFisher([3, -4, 0], 2.0)], [0.6, 0.4]
)
SPECTRUM = DENSITY.resolved_spectrum()


def random_points(n):
    points = np.random.default_rng(0).standard_normal((n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


POINTS = random_points(40)
RNG = np.random.default_rng(1)
GENERAL = RNG.standard_normal((2, 3, 3, 3))
LAWS = {
    "general": sf.FixedHeads(GENERAL[0], GENERAL[1], [1, 2, 3]),
    "symmetric": sf.FixedHeads(GENERAL[0] + np.swapaxes(GENERAL[0], 1, 2)),
    "isotropic": sf.FixedHeads([3 * np.eye(3), -np.eye(3)]),
    "moving": sf.OscillatingHeads(np.zeros((3, 3, 3))),
    "Gaussian": sf.OrnsteinUhlenbeck(np.eye(3), 0.7, 0.5, 0.4, quadrature=4),
}


def sample_of(law, t=0.4, velocity="attention", attention="softmax", **options):
    specification = FieldSpecification(law, velocity, attention, **options)
    return GridField(specification, 1e-12)(t, SPECTRUM, 127)


@pytest.mark.parametrize(
    ("velocity", "attention"),
    [("attention", "softmax"), ("gradient", "softmax"), ("attention", "unnormalised")],
)
@pytest.mark.parametrize("name", LAWS)
def test_equals_the_pointwise_field(name, velocity, attention):
    law = LAWS[name]
    sample = sample_of(law, velocity=velocity, attention=attention)
    field = sf.attention_field(DENSITY, law, 0.4, velocity=velocity, attention=attention)
    expected = field.velocity(POINTS)
    got = PointTransform(POINTS).vector_synthesis(sample.spheroidal, sample.toroidal)
    assert np.abs(got - expected).max() < 1e-10 * np.abs(expected).max()
    assert sample.unresolved == 0.0
    scale = field.slope_squared()
    assert sample.energy == pytest.approx(field.energy(), rel=1e-11)
    assert sample.energy_rate_heads == pytest.approx(field.energy_rate(), abs=1e-11)
    assert sample.slope_squared == pytest.approx(scale, rel=1e-10)
    assert sample.dissipation == pytest.approx(field.dissipation(), abs=1e-10 * scale)
    # Cauchy–Schwarz: R² ≤ G² S².
    assert sample.dissipation**2 <= scale * sample.metric_slope_squared * (1 + 1e-10)


def test_velocity_of_one_symmetric_head_is_a_gradient():
    # v̄ = ∇ log m: no toroidal part, and S = log m.
    law = sf.FixedHeads(np.diag([2.0, -1.0, 0.5]))
    sample = sample_of(law)
    assert np.abs(sample.toroidal).max() < 1e-13 * np.abs(sample.spheroidal).max()
    log_m = np.log(sf.attention_field(DENSITY, law).mobility(POINTS)[:, 0])
    potential = PointTransform(POINTS).synthesis(sample.spheroidal)
    np.testing.assert_allclose(
        potential - potential.mean(), log_m - log_m.mean(), atol=1e-11 * np.abs(log_m).max()
    )


def test_diffusion_budget():
    # ε ∫ (∫K dΘ) Δμ against a quadrature of pointwise fields.
    law = LAWS["symmetric"]
    sample = sample_of(law, diffusion=0.3)
    grid = SphereGrid(127)
    x = grid.points.reshape(-1, 3)
    spectrum = resize(SPECTRUM, 127)
    interaction = sf.attention_field(DENSITY, law).mobility(x).mean(axis=1)
    laplacian = (grid.synthesis(grid.laplacian(spectrum)) * grid.weights).ravel()
    assert sample.diffusion_rate == pytest.approx(0.3 * laplacian @ interaction, rel=1e-10)


def test_round_off_of_a_field_that_vanishes_needs_no_degrees():
    uniform = np.zeros(3, dtype=complex)
    uniform[0] = 1 / np.sqrt(4 * np.pi)
    field = GridField(FieldSpecification(sf.FixedHeads(1.3 * np.eye(3))), 1e-8)
    sample = field(0.0, uniform, 31)
    assert sample.unresolved == 0.0
    assert field.now.degree == 15


def test_cap_on_the_degree_is_reported():
    # vMF κ = 100 under D = 40 I needs more than degree 31.
    spectrum = sf.VonMisesFisher([0, 0, 1], 100.0).resolved_spectrum()
    law = sf.FixedHeads(40 * np.diag([1.0, 0.5, -1.0]))
    field = GridField(FieldSpecification(law), 1e-10)
    assert field(0.0, spectrum, 31).unresolved > 1e-10
