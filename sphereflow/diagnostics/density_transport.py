"""Wasserstein distances of two smooth densities, between bounds that meet where they are near.

W2 is at most the cost of the path (1 − t)μ + tν moved by the flux ρ∇φ with −div(ρ∇φ) = μ − ν:
J.-D. Benamou and Y. Brenier, Numer. Math. 84 (2000) 375. The least flux has the logarithmic mean
ρ of μ and ν as its weight, and costs ∫ρ|∇φ|². From below, φ is a potential after Kantorovich.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..sphere import SphereGrid, lmax_of
from .transport import Bounds, Cloud, grouped, transport_bounds

__all__ = ["cloud_of_series", "first_order", "second_order"]

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

EXTRA_DEGREES = 15  # for √ρ, beyond those of the densities
LARGEST_DEGREE = 255
FLOOR = 1e-11  # in sr⁻¹, of a density where its series is only round-off
ROUND_OFF = 1e-10  # of the largest value: a smaller one needs the floor
POTENTIAL_FLOORS = (1e-4, 1e-2, 0.1, 1.0)  # of the largest density, for potentials that bend little
MOST_STEPS = 200
TOLERANCE = 1e-10
BEND = 1.1  # of the largest second derivative on the grid, for what lies between its points
UNIFORM_SQUARE = 0.5 * np.pi**2 - 2.0  # mean square angle between a point and the uniform law
CLOSE = 0.03  # a gap of W2 so small against it needs no transport of points
RINGS = 80  # at least, of a grid whose points stand for a density
GROUPS = 1400


@lru_cache(maxsize=2)
def _grid(lmax: int) -> SphereGrid:
    return SphereGrid(lmax, dealias=1.5)


@lru_cache(maxsize=2)
def _cloud_grid(lmax: int, rings: int = RINGS) -> tuple[SphereGrid, Real]:
    """Grid whose points stand for their cells, and the mean square size of each, (nlat·nlon,)."""
    grid = SphereGrid(lmax, nlat=max(rings, lmax + 1), engine="ducc0")
    edges = np.concatenate(
        [[0.0], np.arccos(np.clip(1 - np.cumsum(grid.engine.ring_weights), -1, 1))]
    )
    colatitude = np.pi / 2 - np.radians(grid.latitude)
    # Of a rectangle about the point, which is not quite in its middle.
    north, south = colatitude - edges[:-1], edges[1:] - colatitude
    height = (north**3 + south**3) / (3 * (north + south))
    width = (2 * np.pi / grid.nlon * np.sin(colatitude)) ** 2 / 12
    return grid, np.repeat(1.1 * (height + width), grid.nlon)


def first_order(first: Complex, second: Complex) -> Bounds:
    """W1 of two densities by their coefficients: that of the parts in which they differ.

    Mass that both have stays where it is, so that points for densities of any nearness need not
    be nearer to each other than these.
    """
    grid, spread = _cloud_grid(max(lmax_of(first), lmax_of(second), 1))
    points = grid.points.reshape(-1, 3)
    values = grid.synthesis(grid.resized(first)) - grid.synthesis(grid.resized(second))
    mass = (values * grid.weights).ravel()
    parts = [np.maximum(mass, 0.0), np.maximum(-mass, 0.0)]
    moved = max(part.sum() for part in parts)
    if not min(part.sum() for part in parts) > 0:
        return Bounds(0.0, 0.0, np.pi * moved)
    clouds = [Cloud.of(points, part, spread) for part in parts]
    coarse = [grouped(cloud, GROUPS // 2) for cloud in clouds]
    found = transport_bounds(clouds[0], clouds[1], coarse[0], coarse[1], (1,))[0]
    left = np.pi * abs(parts[0].sum() - parts[1].sum())
    low, value, high = (moved * one for one in found)
    return Bounds(max(0.0, low - left), value, high + left)


def second_order(first: Complex, second: Complex, least: float = 0.0) -> Bounds:
    """W2 of two densities by their coefficients; `least` is known to be a lower bound, as W1 is."""
    grid = _grid(min(LARGEST_DEGREE, max(lmax_of(first), lmax_of(second)) + EXTRA_DEGREES))
    values = [grid.synthesis(grid.resized(one)) for one in (first, second)]
    clipped = sum(grid.integrate(np.maximum(-one, 0.0)) for one in values)
    left = np.pi * np.sqrt(clipped) * np.sqrt(2.0)
    mu, nu = (np.maximum(one, 0.0) for one in values)
    mu, nu = mu / grid.integrate(mu), nu / grid.integrate(nu)
    path, high, potential = _by_flux(grid, mu, nu)
    potentials = [potential] + [
        _by_flux(grid, mu, nu, floor * max(mu.max(), nu.max()))[2] for floor in POTENTIAL_FLOORS
    ]
    low = max(least - left, *(_by_potential(grid, one, mu, nu) for one in potentials))
    if high - low > CLOSE * high:
        points = _by_points(first, second)
        low, high, path = max(low, points.low), min(high, points.high), min(path, points.value)
    high = max(low, high)
    value = float(np.clip(path, low, high))
    return Bounds(max(0.0, low - left), value, high + left)


def cloud_of_series(coefficients: Complex, degree: int = 1, rings: int = RINGS) -> Cloud:
    """A density by the points of a grid of at least so many degrees and rings."""
    grid, spread = _cloud_grid(max(lmax_of(coefficients), degree), rings)
    mass = np.maximum(grid.synthesis(grid.resized(coefficients)) * grid.weights, 0.0).ravel()
    return Cloud.of(grid.points.reshape(-1, 3), mass, spread)


def _by_points(first: Complex, second: Complex) -> Bounds:
    degree = max(lmax_of(first), lmax_of(second))
    clouds = [cloud_of_series(one, degree) for one in (first, second)]
    coarse = [grouped(cloud, GROUPS) for cloud in clouds]
    return transport_bounds(coarse[0], coarse[1], coarse[0], coarse[1], (2,))[0]


def _by_flux(
    grid: SphereGrid, mu: Real, nu: Real, floor: float | None = None
) -> tuple[float, float, Complex]:
    """The cost of a path as a distance, an upper bound of W2 by it, and the potential φ.

    In ψ = √ρ φ the equation is −Δψ + (Δ√ρ/√ρ) ψ = (μ − ν)/√ρ, well conditioned however little
    there is of ρ anywhere.
    """
    bound = floor is None
    if floor is None:
        least = min(mu.min() / mu.max(), nu.min() / nu.max())
        floor = 0.0 if least > ROUND_OFF else FLOOR
    total = 1.0 + 4 * np.pi * floor
    more, less = (mu + floor) / total, (nu + floor) / total
    rho = _logarithmic_mean(more, less)
    root = grid.analysis(np.sqrt(rho))
    values = np.maximum(grid.synthesis(root), 0.5 * np.sqrt(rho.min()))
    difference = more - less
    curved = grid.synthesis(grid.laplacian(root)) / values
    psi = _solved(grid, curved, grid.analysis(difference / values))
    on_grid = grid.synthesis(psi)
    phi = grid.analysis(on_grid / values)
    if not bound:
        return np.inf, np.inf, phi
    flux = values * grid.gradient(psi) - on_grid * grid.gradient(root)
    cost = grid.integrate(np.sum(flux**2, axis=0) / rho)
    # What the flux leaves where it should not be is moved at most to the antipode.
    wrong = 0.5 * grid.integrate(np.abs(difference + grid.synthesis(grid.divergence(flux))))
    floors = 2.0 * np.sqrt(UNIFORM_SQUARE * 4 * np.pi * floor)
    path = float(np.sqrt(cost))
    return path, path + float(np.pi * np.sqrt(wrong)) + floors, phi


def _solved(grid: SphereGrid, curved: Real, right: Complex) -> Complex:
    """Solution of −Δψ + Vψ = f by conjugate gradients."""
    eigenvalues = -grid.laplacian_eigenvalues
    counted = np.where(grid.orders == 0, 1.0, 2.0)

    def product(one: Complex, other: Complex) -> float:
        return float(counted @ (one.real * other.real + one.imag * other.imag))

    solution = np.zeros_like(right)
    residual = right.copy()
    goal = TOLERANCE**2 * product(right, right)
    smooth = residual / (eigenvalues + 1.0)
    step, energy = smooth.copy(), product(residual, smooth)
    for _ in range(MOST_STEPS):
        if product(residual, residual) <= goal:
            break
        applied = eigenvalues * step + grid.analysis(curved * grid.synthesis(step))
        bend = product(step, applied)
        if not bend > 0:
            break
        solution += energy / bend * step
        residual -= energy / bend * applied
        smooth = residual / (eigenvalues + 1.0)
        before, energy = energy, product(residual, smooth)
        step = smooth + energy / before * step
    return solution


def _by_potential(grid: SphereGrid, phi: Complex, mu: Real, nu: Real) -> float:
    """Lower bound of W2 by multiples of a smooth potential φ.

    If no second derivative of sφ exceeds sH < 1, then min_x d(x, y)²/2 − sφ(x) is at least
    −sφ(y) − s²|∇φ(y)|²/(2(1 − sH)), whose mean over ν and that of sφ over μ bound W2²/2. The
    same with −φ and μ, ν exchanged.
    """
    phi = phi.copy()
    phi[grid.degrees == grid.lmax] = 0.0  # second derivatives are of one degree more
    slope = grid.gradient(phi)
    gain = grid.integrate(grid.synthesis(phi) * (mu - nu))
    if not gain > 0:
        return 0.0
    square = np.sum(slope**2, axis=0)
    smallest, largest = _second_derivatives(grid, phi)
    best = 0.0
    for bend, density in ((largest, nu), (-smallest, mu)):
        cost = grid.integrate(square * density)
        bend = BEND * max(bend, 1e-300)
        share = np.linspace(0.0, 1.0, 401)[1:-1] * min(1.0 / bend, 2.0 * gain / cost)
        best = max(best, float(np.max(2 * share * gain - share**2 * cost / (1 - share * bend))))
    return float(np.sqrt(best))


def _second_derivatives(grid: SphereGrid, phi: Complex) -> tuple[float, float]:
    """Smallest and largest eigenvalue of the Hessian on the grid."""
    slope = np.moveaxis(grid.to_cartesian(grid.gradient(phi)), -1, 0)
    turned = [grid.gradient(grid.analysis(one)) for one in slope]
    east = grid.from_cartesian(np.stack([one[0] for one in turned], axis=-1))
    north = grid.from_cartesian(np.stack([one[1] for one in turned], axis=-1))
    mean = 0.5 * (east[0] + north[1])
    away = np.hypot(0.5 * (east[0] - north[1]), 0.5 * (east[1] + north[0]))
    return float((mean - away).min()), float((mean + away).max())


def _logarithmic_mean(a: Real, b: Real) -> Real:
    """(a − b) / log(a/b), the inverse of the mean of 1/((1 − t)a + tb) over t."""
    mean, difference = 0.5 * (a + b), a - b
    near = np.abs(difference) < 1e-3 * mean
    with np.errstate(divide="ignore", invalid="ignore"):
        far = difference / np.log(a / b)
    return np.where(near, mean * (1 - (difference / mean) ** 2 / 12), far)
