"""Where the harmonic series of the Laplace transform may end."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ive

__all__ = [
    "BINS_PER_UNIT",
    "LARGEST_HARMONIC_DEGREE",
    "LARGEST_HARMONIC_RADIUS",
    "LARGEST_SERIES",
    "bessel_and_ratio",
    "bessel_table",
    "bound_of_point",
    "kernel_degree",
    "scaled_bessel",
    "series_degree",
    "truncation",
]

Real = NDArray[np.float64]

LARGEST_HARMONIC_RADIUS = 60.0
LARGEST_HARMONIC_DEGREE = 160
LARGEST_SERIES = LARGEST_HARMONIC_DEGREE + 1  # of the moments: ∇L takes one degree more
BINS_PER_UNIT = 4.0
NEGLIGIBLE = 3e-16  # part of the mean of a kernel that may be cut off


def scaled_bessel(degrees: NDArray[np.int64], radius: float | Real) -> Real:
    """e^{−r} i_l(r), the scaled modified spherical Bessel function of the first kind."""
    radius = np.maximum(np.asarray(radius, dtype=np.float64), 1e-300)
    bessel: Real = np.sqrt(np.pi / (2.0 * radius)) * ive(degrees + 0.5, radius)
    return bessel


def bessel_and_ratio(degrees: NDArray[np.int64], radius: float) -> tuple[Real, Real]:
    """e^{−r} i_l(r) and e^{−r} i_l(r) / r at one length, which may be 0."""
    if radius > 0:
        bessel = scaled_bessel(degrees, radius)
        return bessel, bessel / radius
    # Only i_0 = 1 is left there, and of the ratios that of l = 1.
    return np.where(degrees == 0, 1.0, 0.0), np.where(degrees == 1, 1.0 / 3.0, 0.0)


@lru_cache(maxsize=1)
def bessel_table() -> Real:
    """e^{−r} i_l(r) for the radius bins (rows) and degrees 0 … LARGEST_HARMONIC_DEGREE + 40."""
    radii = np.arange(int(LARGEST_HARMONIC_RADIUS * BINS_PER_UNIT) + 1) / BINS_PER_UNIT
    degrees = np.arange(LARGEST_HARMONIC_DEGREE + 41)
    table = scaled_bessel(degrees[None, :], radii[:, None])
    table[0] = degrees == 0
    return np.nan_to_num(table)


def bound_of_point() -> Real:
    """Largest amplitude per degree of a measure of unit mass, that of a point mass."""
    return np.sqrt((2 * np.arange(bessel_table().shape[1]) + 1) / (4 * np.pi))


def truncation(power: Real, smallest: Real, tolerance: float) -> NDArray[np.int64]:
    """Degree for each radius bin beyond which the series is below tolerance · smallest; or −1.

    `power` bounds the amplitude per degree of the measure, `smallest` is a lower bound of
    e^{−r} L for each bin.
    """
    table = bessel_table()
    terms = 4 * np.pi * table * (np.minimum(power, bound_of_point()) * bound_of_point())[None, :]
    tails = np.cumsum(terms[:, ::-1], axis=1)[:, ::-1]
    allowed = np.maximum(0.3 * tolerance * smallest, 1e-17)
    below = tails <= allowed[:, None]
    degree = np.where(below.any(axis=1), below.argmax(axis=1) - 1, -1)
    return np.where((degree < 1) & below.any(axis=1), 1, degree)


def series_degree(radius: float, tolerance: float) -> int:
    """Degree of the moments that serve |z| ≤ radius for any measure, at most 161."""
    radii = np.arange(len(bessel_table())) / BINS_PER_UNIT
    degrees = truncation(bound_of_point(), np.exp(-2 * radii), tolerance)
    index = int(np.ceil(radius * BINS_PER_UNIT))
    if index >= len(degrees) or not 0 < degrees[index] <= LARGEST_HARMONIC_DEGREE:
        return LARGEST_SERIES
    return min(int(degrees[index]) + 2, LARGEST_SERIES)


@lru_cache(maxsize=64)
def kernel_degree(radius: float) -> int:
    """Degree beyond which e^{⟨z,y⟩} is negligible for |z| ≤ radius, against its mean."""
    degrees = np.arange(40 + int(11.0 * np.sqrt(radius) + 0.02 * radius))
    terms = (2 * degrees + 1) * scaled_bessel(degrees, radius)
    tails = np.cumsum(terms[::-1])[::-1]
    return max(2, int(np.argmax(tails <= NEGLIGIBLE * terms[0])))
