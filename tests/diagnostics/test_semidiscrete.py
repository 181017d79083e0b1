"""Distances of densities and tokens, and of clouds by neighbours: known answers, all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

import sphereflow as sf
from sphereflow.diagnostics.distances import wasserstein
from sphereflow.diagnostics.laguerre import SeriesDensity, cells_of, nodes_of, solved_cells
from sphereflow.diagnostics.potentials import PotentialSearch
from sphereflow.diagnostics.semidiscrete import merged, semidiscrete
from sphereflow.diagnostics.sparse_transport import sparse_bounds
from sphereflow.diagnostics.transport import Cloud, transport_bounds
from sphereflow.sphere import resize

NORTH = np.array([0.0, 0.0, 1.0])


def spectrum(concentration, degree=32):
    return resize(sf.VonMisesFisher(NORTH, concentration).resolved_spectrum(), degree)


def drawn(concentration, count, seed, tilt=0.0):
    mean = [np.sin(tilt), 0.0, np.cos(tilt)]
    return sf.VonMisesFisher(mean, concentration).sample(count, seed)


def turned(points, angle):
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T


def rings_of_equal_mass(concentration, rings, columns):
    """Points at the centres of boxes of one mass each."""
    k = concentration

    def colatitude(u):
        return np.arccos(1 + np.log1p(-u * (1 - np.exp(-2 * k))) / k)

    theta = colatitude((np.arange(rings) + 0.5) / rings)
    phi = 2 * np.pi * np.arange(columns) / columns
    points = np.stack(
        [
            np.outer(np.sin(theta), np.cos(phi)),
            np.outer(np.sin(theta), np.sin(phi)),
            np.outer(np.cos(theta), np.ones(columns)),
        ],
        axis=-1,
    )
    return points.reshape(-1, 3)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("count", [1, 7, 40, 900])
def test_search_finds_the_least_over_all_pairs(order, count):
    rng = np.random.default_rng(count)
    y, x, psi = drawn(5.0, count, 1), drawn(2.0, 500, 2), 0.05 * rng.standard_normal(count)
    values = np.arccos(np.clip(x @ y.T, -1, 1)) ** order - psi
    search = PotentialSearch(y, order)
    search.set(psi)
    guess = rng.integers(0, count, 500)
    for blocks in (None, np.array([0, 3, 200, 500])):
        found, winner = search.least(x, guess, blocks)
        np.testing.assert_allclose(found, values.min(axis=1), atol=1e-7)
        np.testing.assert_array_equal(winner, values.argmin(axis=1))
    starts, below, _ = search.below(x, found + 0.02)
    assert starts[-1] == below.size == np.sum(values < found[:, None] + 0.02)


def test_masses_of_cells_are_those_of_the_nearest_points():
    # Of equal potentials: then ⟨x, y⟩ is the largest for the nearest point.
    points = drawn(1.0, 60, 4)
    cells = cells_of(points, np.zeros(60))
    density = SeriesDensity(spectrum(2.0))
    mass = nodes_of(cells, density, 2).masses(72)
    grid = sf.SphereGrid(511, engine="ducc0")
    owner = cKDTree(points).query(grid.points.reshape(-1, 3))[1]
    values = sf.VonMisesFisher(NORTH, 2.0)(grid.points)
    expected = np.bincount(owner, (values * grid.weights).ravel(), 60)
    np.testing.assert_allclose(mass[:60], expected, atol=2e-4)
    assert mass.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("tokens", [2.0, 20.0])
def test_newton_steps_give_each_cell_its_mass(tokens):
    # Also when most tokens are where there is little of the density.
    points, weights = drawn(tokens, 300, 5), np.random.default_rng(6).uniform(0.5, 1.5, 300)
    weights /= weights.sum()
    density = SeriesDensity(spectrum(2.0))
    solved = solved_cells(points, weights, density)
    mass = nodes_of(solved.cells, density, 1).masses(312)
    far = mass[300:].sum()
    assert np.abs(mass[:300] - weights * (1 - far)).sum() < 2e-3


@pytest.mark.parametrize(("rings", "columns"), [(12, 24), (30, 40)])
def test_tokens_at_the_centres_of_boxes_are_near(rings, columns):
    # A plan: each box of the same mass to its centre. The means are of draws.
    k, points = 3.0, rings_of_equal_mass(3.0, rings, columns)
    x = drawn(k, 400_000, 5)
    row = np.minimum(
        (np.expm1(k * (x[:, 2] - 1)) / np.expm1(-2 * k) * rings).astype(int), rings - 1
    )
    turn = np.arctan2(x[:, 1], x[:, 0]) / (2 * np.pi)
    column = np.floor(turn * columns + 0.5).astype(int) % columns
    moved = np.arccos(np.clip(np.sum(x * points[row * columns + column], axis=1), -1, 1))
    w1, w2 = semidiscrete(spectrum(k), Cloud.of(points, np.ones(len(points))))
    assert w1.low <= moved.mean() * 1.005
    assert w2.low <= np.sqrt(np.mean(moved**2)) * 1.005
    # No plan is better than to the nearest token.
    nearest = cKDTree(points).query(drawn(3.0, 100_000, 3))[0]
    assert w1.high >= nearest.mean() * 0.995
    assert w2.high >= np.sqrt(np.mean(nearest**2)) * 0.995
    assert w2.error < 0.01 * w2.value and w1.error < 0.05 * w1.value


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2])
def test_one_token_gets_all(angle):
    # The only plan: mean angles to the token; on a grid whose pole it is the integrand is smooth
    # but at the pole, where rings of Gauss nodes in the polar angle take it as it is.
    k = 20.0
    nodes, weights = np.polynomial.legendre.leggauss(200)
    theta, phi = 0.5 * np.pi * (nodes + 1), 2 * np.pi * np.arange(200) / 200
    cosine = np.cos(theta) * np.cos(angle) + np.outer(np.cos(phi), np.sin(theta) * np.sin(angle))
    density = k / (2 * np.pi * -np.expm1(-2 * k)) * np.exp(k * (cosine - 1))
    mean = density.mean(axis=0) * 2 * np.pi * np.sin(theta) * weights * 0.5 * np.pi
    token = np.array([[np.sin(angle), 0.0, np.cos(angle)]])
    w1, w2 = semidiscrete(spectrum(k, 63), Cloud.of(token, np.ones(1)))
    assert w1.low <= mean @ theta <= w1.high
    assert w2.low <= np.sqrt(mean @ theta**2) <= w2.high


@pytest.mark.parametrize("concentration", [5.0, 50.0])
def test_bounds_agree_with_exact_transport_of_many_draws(concentration):
    # W2(μ, ν) is within W2(μ, μ_n) of W2(μ_n, ν), both bounded by this package's other route.
    tokens = Cloud.of(drawn(concentration, 500, 7, tilt=0.2), np.ones(500))
    draws = Cloud.of(drawn(concentration, 4000, 8), np.ones(4000))
    degree = 32 if concentration == 5.0 else 95
    bounds = semidiscrete(spectrum(concentration, degree), tokens)
    near = semidiscrete(spectrum(concentration, degree), draws)
    between = sparse_bounds(draws, tokens)
    for one, small, other in zip(bounds, near, between, strict=True):
        assert other.low - small.high <= one.high
        assert one.low <= other.high + small.high
        assert one.error < 0.05 * one.value


def test_the_order_of_tokens_does_not_matter():
    points = drawn(5.0, 400, 9)
    one, other = (
        semidiscrete(spectrum(5.0), Cloud.of(some, np.ones(400))) for some in (points, points[::-1])
    )
    for a, b in zip(one, other, strict=True):
        assert abs(a.value - b.value) < 0.02 * min(a.error, b.error) + 1e-3 * a.value
        assert a.low <= b.high and b.low <= a.high


def test_heaps_of_tokens_count_as_one():
    points = drawn(5.0, 200, 10)
    heap = np.repeat(points, 3, axis=0) + 1e-8 * np.random.default_rng(0).random((600, 3))
    cloud = merged(Cloud.of(heap / np.linalg.norm(heap, axis=1)[:, None], np.ones(600)), 3e-6)
    assert len(cloud.points) == 200
    one = semidiscrete(spectrum(5.0), cloud)
    other = semidiscrete(spectrum(5.0), Cloud.of(points, np.ones(200)))
    for a, b in zip(one, other, strict=True):
        assert a.value == pytest.approx(b.value, rel=1e-4)


@pytest.mark.parametrize("angle", [0.0, 0.3, 2.0])
def test_transport_between_neighbours_is_that_of_all_pairs(angle):
    rng = np.random.default_rng(11)
    one = Cloud.of(drawn(5.0, 350, 1), rng.random(350))
    other = Cloud.of(drawn(8.0, 420, 2, tilt=angle), rng.random(420))
    for found, exact in zip(
        sparse_bounds(one, other), transport_bounds(one, other, one, other), strict=True
    ):
        assert found.value == pytest.approx(exact.value, rel=1e-6)
        assert found.low * (1 - 1e-9) <= exact.value <= found.high * (1 + 1e-9)
    for found, back in zip(sparse_bounds(one, other), sparse_bounds(other, one), strict=True):
        assert found.value == pytest.approx(back.value, rel=1e-6)


@pytest.mark.parametrize("angle", [1e-7, 1e-4, 0.02])
def test_a_cloud_moved_a_little_is_as_far_as_each_of_its_points(angle):
    # While no two points are as near as what they move by, it is best that each goes to itself.
    points = rings_of_equal_mass(2.0, 40, 50)
    weights = np.random.default_rng(1).random(len(points))
    other = turned(points, angle)
    moved = 2 * np.arcsin(0.5 * np.linalg.norm(points - other, axis=1))
    share = weights / weights.sum()
    found = wasserstein((points, weights), (other[::-1], weights[::-1]))
    assert found.w2 <= np.sqrt(share @ moved**2) * (1 + 1e-6)
    assert found.w1 <= share @ moved * (1 + 1e-6)
    if angle < 1e-3:
        assert found.w2 == pytest.approx(np.sqrt(share @ moved**2), rel=1e-6)
        assert found.w1 == pytest.approx(share @ moved, rel=1e-6)
    assert found.w2_error < 1e-6 * found.w2


def test_a_cloud_in_another_order_is_the_same():
    points, weights = drawn(5.0, 1500, 12), np.random.default_rng(2).random(1500)
    found = wasserstein((points, weights), (points[::-1], weights[::-1]))
    assert found.w1 < 1e-9 and found.w2 < 1e-6
