"""Densities of any kind: sampled, and projected on spherical harmonics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checks import called, finite_array, integer, real_array
from .errors import InputError
from .sphere import (
    PointTransform,
    SphereGrid,
    VoronoiMesh,
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
    "generator",
    "is_resolved",
    "log_density_of",
    "mass_of",
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
        keep = rng.random(len(trial)) * bound < density(trial)
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
    """Coefficients of a density as it is, from the first grid that resolves it."""
    lmax = 63
    while True:
        grid = SphereGrid(lmax)
        values = np.exp(log_density_of(density, grid.points))
        coefficients = grid.analysis(values)
        power = np.sqrt(power_by_degree(coefficients))
        finest = 2 * lmax + 1 > FINEST_PROJECTION
        mass = grid.integrate(values)
        if not np.isfinite(mass) or (finest and not mass > 0):
            raise InputError(
                f"a density must have a positive finite integral, got {mass} on a grid of degree "
                f"{lmax}; check its scale, or widen it if it is narrower than that"
            )
        # A density narrower than the grid leaves the spectrum flat, or is missed altogether.
        decayed = power[-8:].max() <= 1e-13 * np.sqrt(np.sum(power**2))
        if finest or (decayed and mass > 0):
            return coefficients
        lmax = 2 * lmax + 1


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


def cell_means(density: Callable[[Any], Any], mesh: VoronoiMesh) -> Real:
    """Means over the cells of a mesh, scaled to unit mass.

    Raises
    ------
    InputError
        If the density is negative, not finite, or missed by the mesh.
    """
    if hasattr(density, "means_on"):
        known = density.means_on(mesh)
        if known is not None:
            return known
    means = mesh.averages(lambda points: np.exp(log_density_of(density, points)))
    mass = float(mesh.areas @ means)
    if not (np.isfinite(mass) and mass > 0):
        raise InputError(
            f"a density must have a positive finite integral, got {mass} on a mesh of "
            f"{mesh.cells} cells; widen it or raise level"
        )
    return means / mass
