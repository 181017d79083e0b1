"""Layouts of spherical harmonic coefficients, and the maps between them.

Two layouts are used.

*Complex* (inside the package, and what the transforms of :class:`SphereGrid` take):
orders m = 0 … lmax, for each order the degrees l = m … lmax, orthonormal complex
harmonics with the Condon–Shortley phase. A real function needs no negative orders.

*Real* (the ``spectrum`` of every dataset): index l² + l + m for m = −l … l, real
orthonormal harmonics, cosine for positive and sine for negative order, no
Condon–Shortley phase, so that degree 1 is √(3/4π)·(y, z, x) for m = −1, 0, 1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

__all__ = [
    "complex_to_real",
    "coefficient_count",
    "degrees_and_orders",
    "deviation_from_uniform",
    "lmax_of",
    "power_by_degree",
    "real_degrees_and_orders",
    "real_to_complex",
    "resize",
]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]


def coefficient_count(lmax: int) -> int:
    """Number of complex coefficients of a real function of degree `lmax`."""
    return (lmax + 1) * (lmax + 2) // 2


def lmax_of(coefficients: Complex) -> int:
    """Degree that a complex coefficient vector belongs to, from its length.

    Raises
    ------
    InputError
        If the length belongs to no degree.
    """
    size = coefficients.shape[-1]
    lmax = round((np.sqrt(8 * size + 1) - 3) / 2)
    if lmax < 0 or coefficient_count(lmax) != size:
        raise InputError(
            f"coefficients must have length (lmax+1)(lmax+2)/2, got {size}; "
            "pass an array made by SphereGrid.analysis or real_to_complex"
        )
    return int(lmax)


@lru_cache(maxsize=64)
def degrees_and_orders(lmax: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Degree l and order m of each complex coefficient, each of shape (count,)."""
    degrees = np.concatenate([np.arange(m, lmax + 1) for m in range(lmax + 1)])
    orders = np.repeat(np.arange(lmax + 1), np.arange(lmax + 1, 0, -1))
    for array in (degrees, orders):
        array.setflags(write=False)
    return degrees, orders


@lru_cache(maxsize=64)
def real_degrees_and_orders(lmax: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Degree l and order m of each real coefficient, each of shape ((lmax+1)²,)."""
    degrees = np.repeat(np.arange(lmax + 1), 2 * np.arange(lmax + 1) + 1)
    orders = np.arange((lmax + 1) ** 2) - degrees * (degrees + 1)
    for array in (degrees, orders):
        array.setflags(write=False)
    return degrees, orders


def complex_to_real(coefficients: Complex) -> Real:
    """Real orthonormal coefficients, shape (..., (lmax+1)²), of complex ones.

    Examples
    --------
    >>> import numpy as np
    >>> from sphereflow.sphere import SphereGrid, complex_to_real
    >>> grid = SphereGrid(3)
    >>> x_times = grid.analysis(grid.points[..., 0]) * np.sqrt(3 / (4 * np.pi))
    >>> np.flatnonzero(np.abs(complex_to_real(x_times)) > 1e-14).tolist()
    [3]
    """
    lmax = lmax_of(coefficients)
    degrees, orders = degrees_and_orders(lmax)
    real = np.zeros((*coefficients.shape[:-1], (lmax + 1) ** 2))
    phase = np.where(orders % 2 == 0, 1.0, -1.0) * np.sqrt(2.0)
    centre = degrees * (degrees + 1)
    positive = orders > 0
    real[..., (centre - orders)[positive]] = -(phase * coefficients.imag)[..., positive]
    real[..., (centre + orders)[positive]] = (phase * coefficients.real)[..., positive]
    real[..., centre[~positive]] = coefficients.real[..., ~positive]
    return real


def real_to_complex(real: Real) -> Complex:
    """Inverse of :func:`complex_to_real`.

    Raises
    ------
    InputError
        If the last axis is not of length (lmax+1)².
    """
    real = np.asarray(real, dtype=np.float64)
    lmax = round(np.sqrt(real.shape[-1])) - 1
    if lmax < 0 or (lmax + 1) ** 2 != real.shape[-1]:
        raise InputError(
            f"real coefficients must have length (lmax+1)², got {real.shape[-1]}; "
            "pad the missing orders with zeros"
        )
    degrees, orders = degrees_and_orders(lmax)
    centre = degrees * (degrees + 1)
    scale = np.where(orders % 2 == 0, 1.0, -1.0) / np.sqrt(2.0)
    cosine, sine = real[..., centre + orders], real[..., centre - orders]
    zonal = orders == 0
    return np.where(zonal, cosine, scale * cosine) - 1j * np.where(zonal, 0.0, scale * sine)


def resize(coefficients: Complex, lmax: int) -> Complex:
    """Coefficients truncated or padded with zeros to degree `lmax`; always a copy."""
    old = lmax_of(coefficients)
    if old == lmax:
        return coefficients.copy()
    resized = np.zeros((*coefficients.shape[:-1], coefficient_count(lmax)), dtype=np.complex128)
    low = min(old, lmax)
    resized[..., _positions(low, lmax)] = coefficients[..., _positions(low, old)]
    return resized


@lru_cache(maxsize=64)
def _positions(low: int, lmax: int) -> NDArray[np.int64]:
    """Where the coefficients of degree ≤ low stand in the layout of degree lmax."""
    degrees, _ = degrees_and_orders(lmax)
    return np.flatnonzero(degrees <= low)


def deviation_from_uniform(coefficients: Complex) -> float:
    """Norm of the degrees beyond 0 over that of degree 0; at most 1.

    What errors of a density are weighed against, since its degree 0 is exact.
    """
    power = power_by_degree(coefficients)
    return min(1.0, float(np.sqrt(power[1:].sum() / max(float(power[0]), 1e-300))))


def power_by_degree(coefficients: Complex) -> Real:
    """Σ_m |c_lm|² over all orders −l … l for each degree, shape (..., lmax+1)."""
    lmax = lmax_of(coefficients)
    degrees, orders = degrees_and_orders(lmax)
    weights = np.where(orders == 0, 1.0, 2.0)
    power = weights * (coefficients.real**2 + coefficients.imag**2)

    def summed(row: Real) -> Real:
        return np.asarray(np.bincount(degrees, weights=row), dtype=np.float64)

    return summed(power) if power.ndim == 1 else np.apply_along_axis(summed, -1, power)
