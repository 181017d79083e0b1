"""Harmonic synthesis at scattered points, and its adjoint: moments of weighted points."""

from __future__ import annotations

import ducc0
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import present, real_array
from ..errors import InputError
from .indexing import degrees_and_orders, lmax_of

__all__ = [
    "PointTransform",
    "angles",
    "from_degrees",
    "spread_points",
    "tangent_basis",
    "unit",
    "unit_vectors",
]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

# The requested accuracy of the nonuniform transforms, relative in the L2 norm.
EPSILON = 1e-13


def unit(vectors: Real) -> Real:
    """Vectors (..., 3) divided by their lengths."""
    units: Real = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return units


def angles(first: Real, second: Real) -> Real:
    """Angles between unit vectors (..., 3), accurate for small ones."""
    between: Real = 2.0 * np.arcsin(np.minimum(1.0, 0.5 * np.linalg.norm(first - second, axis=-1)))
    return between


def from_degrees(longitude: ArrayLike, latitude: ArrayLike) -> Real:
    """Unit vectors (..., 3) of longitudes and latitudes in degrees."""
    lon, lat = np.radians(longitude), np.radians(latitude)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def spread_points(count: int) -> Real:
    """Points spread evenly over the sphere, shape (count, 3)."""
    z = 1.0 - (2.0 * np.arange(count) + 1.0) / count
    turn = np.pi * (3.0 - np.sqrt(5.0)) * np.arange(count)
    radius = np.sqrt(1.0 - z**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)


def tangent_basis(points: Real) -> Real:
    """Two orthonormal tangent vectors at unit vectors (n, 3), shape (n, 2, 3)."""
    axis = np.eye(3)[np.argmin(np.abs(points), axis=1)]
    first = unit(np.cross(points, axis))
    return np.stack([first, np.cross(points, first)], axis=1)


def unit_vectors(points: ArrayLike, name: str = "points") -> Real:
    """`points` as a float64 array of shape (n, 3), checked to be unit vectors.

    Raises
    ------
    InputError
        If the shape is not (n, 3), an entry is not finite, or a length differs from 1 by
        more than 1e-6.
    """
    array = np.atleast_2d(real_array(points, name))
    if array.ndim != 2 or array.shape[-1] != 3:
        raise InputError(f"{name} must have shape (n, 3), got {array.shape}; pass unit vectors")
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise InputError(f"{name} must be finite, row {row} is {array[row]}; remove that row")
    x, y, z = array.T
    length = np.sqrt(x * x + y * y + z * z)
    worst = int(np.argmax(np.abs(length - 1.0))) if length.size else 0
    if length.size and abs(length[worst] - 1.0) > 1e-6:
        raise InputError(
            f"{name} must be unit vectors, row {worst} has length {length[worst]:.6g}; "
            "divide each row by its norm"
        )
    return np.ascontiguousarray(array / length[:, None])


class PointTransform:
    """Synthesis of a spectrum at fixed scattered points, O(lmax² log lmax + n).

    Parameters
    ----------
    points : array_like, shape (n, 3)
        Unit vectors.
    threads : int
        Threads of ducc0; the results do not depend on it beyond round-off.

    Examples
    --------
    >>> import numpy as np
    >>> from sphereflow import SphereGrid
    >>> grid = SphereGrid(7)
    >>> z = grid.analysis(grid.points[..., 2])
    >>> at = grid.at([[0, 0, 1.0], [1.0, 0, 0]])
    >>> np.round(at.synthesis(z), 12) + 0.0
    array([1., 0.])
    """

    def __init__(self, points: ArrayLike, threads: int = 1) -> None:
        self.points = unit_vectors(points)
        x, y, z = np.ascontiguousarray(self.points.T)
        sine = np.hypot(x, y)
        away = sine > 0.0
        # At the poles φ is 0, as it is for the frame; arctan2 of negative zeros is ±π.
        places = np.empty((len(x), 2))
        places[:, 0] = np.arctan2(sine, z)
        places[:, 1] = np.where(away, np.arctan2(y, x) % (2 * np.pi), 0.0)
        self._options: dict[str, object] = {
            "loc": places,
            "epsilon": EPSILON,
            "nthreads": threads,
        }
        cos_phi = np.divide(x, sine, out=np.ones_like(x), where=away)
        sin_phi = np.divide(y, sine, out=np.zeros_like(y), where=away)
        # Southward and eastward unit vectors.
        self._frame = np.empty((2, 3, len(x)))
        np.multiply(z, cos_phi, out=self._frame[0, 0])
        np.multiply(z, sin_phi, out=self._frame[0, 1])
        np.negative(sine, out=self._frame[0, 2])
        np.negative(sin_phi, out=self._frame[1, 0])
        self._frame[1, 1], self._frame[1, 2] = cos_phi, 0.0

    def _evaluate(self, coefficients: Complex, spin: int) -> Real:
        lmax = lmax_of(coefficients)
        values: Real = ducc0.sht.synthesis_general(
            alm=np.ascontiguousarray(coefficients),
            spin=spin,
            lmax=lmax,
            mmax=lmax,
            **self._options,
        )
        return values

    def synthesis(self, coefficients: Complex) -> Real:
        """Values of a scalar field at the points, shape (n,)."""
        values: Real = self._evaluate(coefficients[None], spin=0)[0]
        return values

    def vector_synthesis(self, spheroidal: Complex, toroidal: Complex) -> Real:
        """Cartesian vectors ∇S + ∇T × x at the points, shape (n, 3)."""
        lmax = lmax_of(spheroidal)
        degrees, _ = degrees_and_orders(lmax)
        root = np.sqrt(degrees * (degrees + 1.0))
        pair = np.stack([spheroidal * root, -toroidal * root])
        components = self._evaluate(pair, spin=1)
        vectors: Real = np.einsum("cn,cin->ni", components, self._frame)
        return vectors

    def eastward_northward(self, vectors: Real) -> tuple[Real, Real]:
        """Components of tangent vectors (n, 3) at the points."""
        south, east = np.einsum("ni,cin->cn", vectors, self._frame)
        return east, -south

    def gradient(self, coefficients: Complex) -> Real:
        """Surface gradient of a scalar field at the points, Cartesian, shape (n, 3)."""
        return self.vector_synthesis(coefficients, np.zeros_like(coefficients))

    def moments(self, weights: ArrayLike, lmax: int) -> Complex:
        """Coefficients Σ_i w_i Y*_lm(x_i) of the point measure: the adjoint of `synthesis`.

        On one thread, since the order of additions on several is not fixed.

        Parameters
        ----------
        weights : array_like, shape (n,) or (k, n)
            One or several sets of weights.
        lmax : int
            Degree of the result.

        Returns
        -------
        ndarray, shape (count,) or (k, count)
        """
        present(weights, "weights")
        array = np.asarray(weights, dtype=np.float64)
        maps = np.ascontiguousarray(np.atleast_2d(array)[:, None, :])
        if maps.shape[-1] != len(self.points):
            raise InputError(
                f"weights must have length {len(self.points)} as the points have, got shape "
                f"{array.shape}; pass one weight for each point"
            )
        single = self._options | {"nthreads": 1}
        moments = np.stack(
            [
                ducc0.sht.adjoint_synthesis_general(
                    map=one, spin=0, lmax=lmax, mmax=lmax, **single
                )[0]
                for one in maps
            ]
        )
        return moments[0] if array.ndim == 1 else moments
