"""Densities of any kind: sampled, and projected on spherical harmonics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import real_array
from ..errors import InputError
from ..sphere import (
    Extent,
    PointTransform,
    SphereGrid,
    degrees_and_orders,
    lmax_of,
    power_by_degree,
    unit,
)

__all__ = [
    "by_rejection",
    "directions",
    "extent_of",
    "has_decayed",
    "is_nearly_resolved",
    "is_resolved",
    "project",
    "zonal_spectrum",
]

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

FINEST_PROJECTION = 1023
CONFIRMING_DEGREE = 255  # of the grid on which a projection is tried
SEEN = 1e-9  # of the largest value: more than that a series does not miss
RESOLVED = 1e-9  # of the largest amplitude, in the last degrees
UNDERSHOOT = 1e-3  # of the largest value, in a series that does not resolve its density


class LogDensity(Protocol):
    """A function on the sphere by its logarithm."""

    def log_density(self, points: ArrayLike) -> Real: ...


def directions(points: ArrayLike) -> Real:
    """Points as a float64 array of shape (..., 3)."""
    array = real_array(points, "points")
    if array.ndim < 1 or array.shape[-1] != 3:
        raise InputError(
            f"points must have shape (..., 3), got {array.shape}; pass unit vectors in rows"
        )
    return array


def by_rejection(
    density: Callable[[Real], Real], bound: float, n: int, rng: np.random.Generator
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


def is_resolved(values: Real) -> bool:
    """Whether the grid values of a series are those of a density: without real undershoots."""
    return bool(values.min() >= -UNDERSHOOT * values.max())


def project(density: LogDensity) -> Complex:
    """Coefficients of a density as it is, from the first grid that resolves it.

    A grid resolves it if the spectrum decays and the series gives the values on a finer grid,
    among which a peak between the points of the coarser one is seen.
    """
    lmax = 63
    while True:
        grid = SphereGrid(lmax)
        values = np.exp(density.log_density(grid.points))
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


def is_nearly_resolved(coefficients: Complex) -> bool:
    """Whether a spectrum ends below the finest degree, or is small there."""
    amplitude = np.sqrt(power_by_degree(coefficients))
    cut = lmax_of(coefficients) == FINEST_PROJECTION
    return not cut or bool(amplitude[-8:].max() <= RESOLVED * amplitude.max())


def has_decayed(coefficients: Complex) -> bool:
    """Whether the last degrees of a spectrum are round-off."""
    amplitude = np.sqrt(power_by_degree(coefficients))
    return bool(amplitude[-8:].max() <= 1e-13 * np.sqrt(np.sum(amplitude**2)))


def _confirmed(density: LogDensity, coefficients: Complex) -> bool:
    """Whether a series gives the density on a grid that is finer than its own."""
    grid = SphereGrid(max(CONFIRMING_DEGREE, 2 * lmax_of(coefficients) + 1))
    values = np.exp(density.log_density(grid.points))
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
