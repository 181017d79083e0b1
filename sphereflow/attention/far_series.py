"""The harmonic series of the Laplace transform at long arguments, up to |z| = 10⁴.

e^{−r} L(z) = 4π Σ_l e^{−r} i_l(r) Σ_m μ_lm Y_lm(ẑ) holds at any length r. The series ends where μ
does, and its terms shrink as 1/r with L itself; only the factors e^{−r} i_l(r) need care, which
are smooth functions of 1/r and come from a Chebyshev series.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.special import gammaln

from ..sphere import lmax_of, power_by_degree
from .series_degrees import scaled_bessel

__all__ = ["FarSeries", "RadialTable", "radial_table"]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

SAMPLES = 96  # of the Chebyshev series
NEGLIGIBLE = 1e-17  # part that is cut off


class RadialTable(NamedTuple):
    """Radial factors for lengths within `lengths`, as `harmonic_sums_far` takes them.

    length : to which arguments are brought
    factors : (degree + 1, k) Chebyshev coefficients
    """

    lengths: tuple[float, float]
    length: float
    factors: Real

    def places(self, radius: Real) -> Real:
        """Where lengths lie in the table."""
        low, high = (1.0 / r for r in self.lengths)
        places: Real = np.clip((2.0 / radius - low - high) / (low - high), -1.0, 1.0)
        return places


@lru_cache(maxsize=32)
def radial_table(shortest: float, longest: float, degree: int) -> RadialTable:
    """Factors for shortest ≤ |z| ≤ longest, to one degree.

    Series of e^{−r} i_l(r) in 1/r, with the powers that harmonics of solid arguments of the length
    degree/4 have in them: neither they nor the factors leave the range of a double then.
    """
    longest = max(longest, shortest * (1.0 + 1e-9))
    angles = np.pi * (np.arange(SAMPLES) + 0.5) / SAMPLES
    low, high = 1.0 / shortest, 1.0 / longest
    radii = 1.0 / (0.5 * (low + high) + 0.5 * (low - high) * np.cos(angles))
    degrees = np.arange(degree + 1)[:, None]
    values = scaled_bessel(degrees, radii)
    series = dct(values, axis=1) / SAMPLES
    series[:, 0] *= 0.5
    large = np.abs(series).max(axis=0) > NEGLIGIBLE * np.abs(series[0, 0])
    kept = int(np.flatnonzero(large).max()) + 1
    length = max(1.0, 0.25 * degree)
    odd = gammaln(2 * degrees + 2) - gammaln(degrees + 1) - degrees * np.log(2.0)
    factors = series[:, :kept] * np.exp(odd - degrees * np.log(length))
    return RadialTable((shortest, longest), length, np.ascontiguousarray(factors))


class FarSeries:
    """Where the series serves long arguments, and how accurate it is there.

    Parameters
    ----------
    moments : ndarray
        Complex coefficients of μ.
    beyond : float
        Bound of the amplitude of each degree beyond them, which is at most that of a point mass.
    highest : int
        Degree to which a series may go.
    """

    def __init__(self, moments: Complex, *, beyond: float, highest: int) -> None:
        held = lmax_of(moments)
        self.highest = min(highest, held - 1 if beyond > 0.0 else held + 1)
        bound = np.sqrt((2 * np.arange(max(held, highest) + 200) + 1) / (4 * np.pi))
        power = np.minimum(bound, beyond)
        power[: held + 1] = np.sqrt(power_by_degree(moments))
        # ∇L takes the moments of y_k μ, which mix neighbouring degrees.
        spread = np.maximum(power, np.maximum(np.roll(power, 1), np.roll(power, -1)))
        spread[0], spread[-1] = max(power[:2]), max(power[-2:])
        self._amplitudes = 4 * np.pi * np.minimum(spread, bound) * bound

    def _terms(self, radius: float) -> Real:
        """Bounds of the terms of e^{−r} L at this length."""
        degrees = np.arange(self._amplitudes.size)
        terms: Real = self._amplitudes * scaled_bessel(degrees, radius)
        return terms

    def at(self, longest: float) -> tuple[int, float]:
        """Degree for |z| ≤ longest, −1 if none serves, and a bound of the sum times |z|.

        r e^{−r} i_l(r) grows with r: what is left out, and the bound, are largest there.
        """
        terms = self._terms(longest)
        tails = np.cumsum(terms[::-1])[::-1]
        degree = max(1, int(np.argmax(tails <= NEGLIGIBLE * tails[0])) - 1)
        if tails[-1] > NEGLIGIBLE * tails[0] or degree > self.highest:
            return -1, np.inf
        return degree, float(tails[0]) * longest
