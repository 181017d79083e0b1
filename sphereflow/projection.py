"""Densities of any kind: sampled, and projected on spherical harmonics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checks import called, finite_array, integer, real_array
from .errors import InputError
from .sphere import (
    Extent,
    PointTransform,
    SphereGrid,
    VoronoiMesh,
    cell_integrals,
    degrees_and_orders,
    lmax_of,
    power_by_degree,
    resize,
    unit,
)

__all__ = [
    "by_rejection",
    "cell_means",
    "density_coefficients",
    "directions",
    "doubts_about",
    "extent_of",
    "generator",
    "is_resolved",
    "log_density_of",
    "mass_of",
    "parts_of",
    "project",
    "resolved_spectrum",
    "sample_density",
    "seed_sequence",
    "zonal_spectrum",
]

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]
Seed = int | np.random.SeedSequence | None

FINEST_PROJECTION = 1023
CONFIRMING_DEGREE = 255  # of the grid on which a projection is tried
SEEN = 1e-9  # of the largest value: more than that a series does not miss
WIDE = 1.5  # cells, over which a density must change to be taken at a few points of each
NORMALISED = 1e-6  # deviation of an integral from 1
UNDERSHOOT = 1e-3  # of the largest value, in a series that does not resolve its density


def seed_sequence(seed: Seed) -> np.random.SeedSequence:
    """The seed sequence of a seed; a copy, since spawning from one changes it."""
    if isinstance(seed, np.random.SeedSequence):
        return np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key)
    return np.random.SeedSequence(None if seed is None else integer(seed, "seed", 0))


def generator(seed: Seed) -> np.random.Generator:
    return np.random.default_rng(seed_sequence(seed))


def directions(points: ArrayLike) -> Real:
    """Points as a float64 array of shape (..., 3)."""
    array = real_array(points, "points")
    if array.ndim < 1 or array.shape[-1] != 3:
        raise InputError(
            f"points must have shape (..., 3), got {array.shape}; pass unit vectors in rows"
        )
    return array


def by_rejection(
    density: Callable[[Any], Any], bound: float, n: int, rng: np.random.Generator
) -> Real:
    accepted = np.empty((0, 3))
    while len(accepted) < n:
        trial = unit(rng.standard_normal((max(64, 2 * n), 3)))
        values = np.asarray(density(trial))
        keep = rng.random(len(trial)) * bound < values
        if values.max() > bound:
            # There is a peak that the bound has missed: what was drawn so far lacks it.
            bound, accepted = 1.2 * float(values.max()), accepted[:0]
            continue
        accepted = np.concatenate([accepted, trial[keep]])
    return accepted[:n]


def sample_density(density: Callable[[Any], Any], n: int, seed: Seed = None) -> Real:
    """n independent points, shape (n, 3), of any density.

    A plain function is sampled by rejection from the uniform law under its largest value on a
    grid that resolves it.
    """
    if hasattr(density, "sample"):
        return np.array(finite_array(density.sample(n, seed), "points of sample(n, seed)"))
    grid = SphereGrid(max(1, lmax_of(resolved_spectrum(density))))
    bound = 1.2 * float(np.exp(log_density_of(density, grid.points)).max())
    return by_rejection(density, bound, integer(n, "n", 0), generator(seed))


def log_density_of(density: Callable[[Any], Any], points: ArrayLike) -> Real:
    """Logarithm of any density at points (..., 3); −inf where it is 0.

    Raises
    ------
    InputError
        If the callable returns a wrong shape, a non-finite or a negative value.
    """
    if hasattr(density, "log_density"):
        return np.asarray(density.log_density(points))
    values = finite_array(called(density, "a density", points), "density values")
    expected = np.shape(points)[:-1]
    if values.shape != expected:
        raise InputError(
            f"a density must return shape {expected} for points of shape {np.shape(points)}, got "
            f"{values.shape}; it is called on arrays of unit vectors (..., 3)"
        )
    if (values < 0).any():
        raise InputError(
            f"a density must not be negative, got {values.min():.4g} sr⁻¹; correct or clip it"
        )
    with np.errstate(divide="ignore"):
        return np.log(values)


def resolved_spectrum(density: Callable[[Any], Any]) -> Complex:
    """Complex coefficients at unit mass, to the degree that resolves the density.

    The densities of this package know their spectrum, and a mixture is the sum of those of its
    components, so that nothing is too narrow to be seen. Any other density is projected from
    grids of degree 63, 127, … until the last degrees fall below 1e-13 of the norm. The degree is
    1023 at most.

    Raises
    ------
    InputError
        If the density is negative, not finite, or cannot be normalised.
    """
    if hasattr(density, "resolved_spectrum"):
        return density.resolved_spectrum()
    coefficients = project(density)
    return coefficients / (np.sqrt(4 * np.pi) * coefficients[0].real)


def is_resolved(values: Real) -> bool:
    """Whether the grid values of a series are those of a density: without real undershoots."""
    return bool(values.min() >= -UNDERSHOOT * values.max())


def mass_of(density: Callable[[Any], Any]) -> float:
    """Integral of a density as it is; 1 for those of this package."""
    if hasattr(density, "resolved_spectrum"):
        return 1.0
    return float(np.sqrt(4 * np.pi) * project(density)[0].real)


def project(density: Callable[[Any], Any]) -> Complex:
    """Coefficients of a density as it is, from the first grid that resolves it.

    A grid resolves it if the spectrum decays and the series gives the values on a finer grid,
    among which a peak between the points of the coarser one is seen.
    """
    lmax = 63
    while True:
        grid = SphereGrid(lmax)
        values = np.exp(log_density_of(density, grid.points))
        coefficients = grid.analysis(values)
        finest = 2 * lmax + 1 > FINEST_PROJECTION
        mass = grid.integrate(values)
        if not np.isfinite(mass) or (finest and not mass > 0):
            raise InputError(
                f"a density must have a positive finite integral, got {mass} on a grid of degree "
                f"{lmax}; check its scale, or widen it if it is narrower than that"
            )
        # A density narrower than the grid leaves the spectrum flat, or is missed altogether.
        if finest or (mass > 0 and has_decayed(coefficients) and _confirmed(density, coefficients)):
            return coefficients
        lmax = 2 * lmax + 1


def has_decayed(coefficients: Complex) -> bool:
    """Whether the last degrees of a spectrum are round-off."""
    amplitude = np.sqrt(power_by_degree(coefficients))
    return bool(amplitude[-8:].max() <= 1e-13 * np.sqrt(np.sum(amplitude**2)))


def _confirmed(density: Callable[[Any], Any], coefficients: Complex) -> bool:
    """Whether a series gives the density on a grid that is finer than its own."""
    grid = SphereGrid(max(CONFIRMING_DEGREE, 2 * lmax_of(coefficients) + 1))
    values = np.exp(log_density_of(density, grid.points))
    misfit = np.abs(grid.synthesis(grid.resized(coefficients)) - values).max()
    return bool(misfit <= SEEN * values.max())


def extent_of(coefficients: Complex) -> Extent:
    """The length that a series resolves, everywhere on the sphere."""
    amplitude = np.sqrt(power_by_degree(coefficients))
    degree = int(np.flatnonzero(amplitude > 1e-13 * amplitude.max()).max())
    # The spectrum of a peak of standard deviation s falls below 1e-13 at the degree 7.7/s.
    return Extent(min(np.pi, 8.0 / max(degree, 1)))


def zonal_spectrum(centres: Real, factors: Real) -> Complex:
    """Mean over the centres of a zonal density whose Legendre factors are given, 1 at l = 0.

    Cut off at the first of the degrees 63, 127, …, 1023 beyond which the factors are negligible.
    """
    degrees = np.arange(factors.size)
    above = np.flatnonzero(np.abs(factors) * (2 * degrees + 1) > 1e-14)
    lmax = next((n for n in (63, 127, 255, 511) if n > above.max()), FINEST_PROJECTION)
    moments = PointTransform(centres).moments(np.full(len(centres), 1 / len(centres)), lmax)
    return moments * factors[degrees_and_orders(lmax)[0]]


def density_coefficients(density: Callable[[Any], Any], lmax: int) -> Complex:
    """Complex coefficients to degree `lmax` of :func:`resolved_spectrum`."""
    return resize(resolved_spectrum(density), lmax)


def doubts_about(density: Callable[[Any], Any]) -> list[str]:
    """What is not certain of a density at the start, as sentences; nothing for those known here."""
    doubts = []
    for _, _, part in parts_of(density):
        if hasattr(part, "resolved_spectrum"):
            continue
        coefficients = project(part)
        mass = float(np.sqrt(4 * np.pi) * coefficients[0].real)
        if not has_decayed(coefficients):
            amplitude = np.sqrt(power_by_degree(coefficients))
            doubts.append(
                f"the density is a function that degree {FINEST_PROJECTION} does not resolve (the "
                f"last degrees reach {amplitude[-8:].max() / amplitude.max():.1e} of the largest)"
            )
        if abs(mass - 1.0) > NORMALISED:
            doubts.append(
                f"the density is a function whose integral was found as {mass:.6g} and scaled to "
                "1; if it is normalised, a part of it is narrower than the grids that were tried"
            )
    return doubts


def parts_of(density: Callable[[Any], Any]) -> list[tuple[float, float, Any]]:
    """Share of the mass, factor and density of each part; one part for what is no mixture."""
    return density.parts() if hasattr(density, "parts") else [(1.0, 1.0, density)]


def cell_means(density: Callable[[Any], Any], mesh: VoronoiMesh) -> Real:
    """Means over the cells of a mesh, scaled to unit mass.

    Parts of the density that change within a cell are integrated over pieces of the cells.

    Raises
    ------
    InputError
        If the density is negative, not finite, or missed by the mesh.
    """
    if hasattr(density, "means_on"):
        known = density.means_on(mesh)
        if known is not None:
            return known
    parts = [(*part, _extent(part[2], mesh)) for part in parts_of(density)]
    narrow = [part for part in parts if part[3].scale < WIDE * mesh.spacing]
    if not narrow:
        means = mesh.averages(lambda points: np.exp(log_density_of(density, points)))
        return means / _positive(float(mesh.areas @ means), mesh)
    masses = np.zeros(mesh.cells)
    for share, _, part, extent in parts:

        def value(points: Real, part: Any = part) -> Real:
            return np.exp(log_density_of(part, points))

        if extent.scale < WIDE * mesh.spacing:
            own = cell_integrals(mesh, value, extent)
        else:
            own = mesh.areas * mesh.averages(value)
        masses += share / _positive(float(own.sum()), mesh) * own
    return masses / mesh.areas


def _extent(density: Callable[[Any], Any], mesh: VoronoiMesh) -> Extent:
    if hasattr(density, "extent"):
        return density.extent()
    coefficients = project(density)
    extent = extent_of(coefficients)
    if has_decayed(coefficients):
        return extent
    # Of a function with kinks no refinement of all cells is fine enough.
    return extent._replace(scale=max(extent.scale, 0.25 * mesh.spacing))


def _positive(mass: float, mesh: VoronoiMesh) -> float:
    if not (np.isfinite(mass) and mass > 0):
        raise InputError(
            f"a density must have a positive finite integral, got {mass} on a mesh of "
            f"{mesh.cells} cells; widen it or raise level"
        )
    return mass
