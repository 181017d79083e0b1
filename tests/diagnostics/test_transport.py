"""Wasserstein distances: closed forms lie within the bounds, and the bounds are near."""

from __future__ import annotations

import numpy as np
import pytest

import sphereflow as sf
from sphereflow.diagnostics.density_transport import first_order, second_order
from sphereflow.diagnostics.distances import wasserstein
from sphereflow.diagnostics.transport import Cloud, grouped
from sphereflow.sphere import resize

QUANTILES = (np.arange(200_000) + 0.5) / 200_000


def spectrum(concentration, tilt=0.0, degree=32):
    density = sf.VonMisesFisher([np.sin(tilt), 0, np.cos(tilt)], concentration)
    return resize(density.resolved_spectrum(), degree)


def colatitudes(concentration):
    """Quantiles of the colatitude of a von Mises–Fisher law."""
    k = concentration
    return np.arccos(1 + np.log1p(-QUANTILES * (1 - np.exp(-2 * k))) / k)


def holds(bounds, truth):
    assert bounds.low <= truth <= bounds.high
    assert abs(bounds.value - truth) <= bounds.error * (1 + 1e-9)


@pytest.mark.parametrize(
    ("one", "other", "degree", "share"),
    [
        (5.0, 5.05, 32, 0.003),
        (2.0, 2.0001, 32, 0.003),
        (5.0, 6.0, 32, 0.03),
        (50.0, 60.0, 95, 0.03),
        (1.0, 8.0, 32, 0.1),
    ],
)
def test_coaxial_densities_move_along_meridians(one, other, degree, share):
    # The monotone map of the colatitude is optimal, for W₁ and W₂ alike.
    moved = colatitudes(one) - colatitudes(other)
    first, second = spectrum(one, degree=degree), spectrum(other, degree=degree)
    truth = np.sqrt(np.mean(moved**2))
    found = second_order(first, second)
    holds(found, truth)
    assert found.error < share * truth
    truth = np.mean(np.abs(moved))
    found = first_order(first, second)
    holds(found, truth)
    assert found.error < 0.1 * truth


@pytest.mark.parametrize(
    ("concentration", "degree", "share"), [(5.0, 32, 0.05), (50.0, 95, 0.15), (200.0, 127, 0.25)]
)
@pytest.mark.parametrize("tilt", [0.003, 0.03])
def test_a_rotation_is_a_plan(concentration, degree, share, tilt):
    # It moves nothing by more than its angle, and W₁ is at least the distance of the means.
    first, second = (spectrum(concentration, angle, degree) for angle in (0.0, tilt))
    mean = 1 / np.tanh(concentration) - 1 / concentration
    lowest = mean * 2 * np.sin(tilt / 2)
    w1, w2 = first_order(first, second), second_order(first, second)
    assert lowest * (1 - 1e-3) <= w2.value <= tilt * 1.005  # the path costs a little more
    assert w2.low <= tilt and min(w1.high, w2.high) >= lowest
    assert w2.error < share * tilt
    assert w1.error < 0.15 * tilt


def test_far_densities_are_bounded_by_points():
    # Between opposite narrow densities every plan moves nearly π.
    first, second = (spectrum(50.0, angle, 95) for angle in (0.0, 2.5))
    for found in (first_order(first, second), second_order(first, second)):
        assert found.low < 2.5 and found.high > 2.4 and found.error < 0.05


def test_two_points_are_at_their_angle():
    x, y = np.array([[0.0, 0.0, 1.0]]), np.array([[np.sin(0.3), 0.0, np.cos(0.3)]])
    found = wasserstein((x, np.ones(1)), (y, np.ones(1)))
    assert found.w1 == pytest.approx(0.3, rel=1e-12)
    assert found.w2 == pytest.approx(0.3, rel=1e-12)
    near = np.array([[np.sin(1e-9), 0.0, np.cos(1e-9)]])
    assert wasserstein((x, np.ones(1)), (near, np.ones(1))).w1 == pytest.approx(1e-9, rel=1e-6)


def test_rings_move_along_meridians():
    # Rings at colatitudes θ_i of one measure and 0.1 further of the other, with the same masses.
    theta = np.linspace(0.3, 2.0, 12)
    phi = 2 * np.pi * np.arange(24) / 24

    def rings(angles):
        sine, cosine = np.sin(angles)[:, None], np.cos(angles)[:, None] + 0 * phi
        return np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=-1).reshape(-1, 3)

    weights = np.full(12 * 24, 1.0)
    found = wasserstein((rings(theta), weights), (rings(theta + 0.1), weights))
    assert found.method == "exact"
    assert found.w1 == pytest.approx(0.1, rel=1e-9)
    assert found.w1_error < 1e-9


@pytest.mark.parametrize("most", [100, 300, 500])
def test_beyond_the_limit_of_points_errors_bound_the_exact_distance(most):
    density = sf.VonMisesFisher([0.0, 0.0, 1.0], 2.0)
    x, y = density.sample(600, 1), density.sample(600, 2)
    weights = np.full(600, 1 / 600)
    exact = wasserstein((x, weights), (y, weights))
    found = wasserstein((x, weights), (y, weights), most=most)
    assert (exact.method, found.method) == ("exact", "grouped")
    assert abs(found.w1 - exact.w1) <= found.w1_error
    assert abs(found.w2 - exact.w2) <= found.w2_error
    assert max(exact.w1_error, exact.w2_error) < 1e-9


def test_two_heaps_beyond_the_limit_keep_their_angle():
    x, y = np.repeat([[1.0, 0, 0]], 500, 0), np.repeat([[0, 1.0, 0]], 500, 0)
    weights = np.full(500, 1 / 500)
    found = wasserstein((x, weights), (y, weights), most=100)
    assert found.w1 == pytest.approx(np.pi / 2, abs=1e-9) and found.w1_error < 1e-9


def test_groups_keep_mass_and_say_how_far_their_points_are():
    points = sf.VonMisesFisher([0.6, 0.0, 0.8], 30.0).sample(3000, 4)
    weights = np.random.default_rng(1).random(3000)
    cloud = Cloud.of(points, weights)
    small = grouped(cloud, 200)
    assert len(small.points) <= 200
    assert small.weights.sum() == pytest.approx(1.0, abs=1e-12)
    # To first order the barycentre of all is that of the groups.
    mean = [one.weights @ one.points for one in (cloud, small)]
    assert np.linalg.norm(mean[0] - mean[1]) < small.weights @ small.spread
    found = wasserstein((points, weights), (small.points, small.weights))
    assert found.w2 <= small.distance(2) * (1 + 1e-9)
    assert found.w1 <= small.distance(1) * (1 + 1e-9)
