"""Integrals over the cells of a mesh of functions that change within a cell.

The triangles of generator and side are divided in four until they are no larger than the length
over which the function changes, only where it lives, and a product of Gauss rules integrates it
over each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .indexing import degrees_and_orders
from .mesh import VoronoiMesh, voronoi_mesh
from .points import PointTransform, unit

__all__ = ["Extent", "cell_integrals", "moments_of_means"]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]
Index = NDArray[np.int64]

PER_AXIS = 6  # Gauss points along each axis of a triangle
CHUNK = 20_000  # triangles at a time
DEEPEST = 40  # divisions
WAVE = 3.0  # degree times the width of a cell up to which values at centres give all moments
LONG_WAVE = 2.5  # up to which they are more accurate than constant cells


class Extent(NamedTuple):
    """How narrow a density is, and where.

    scale : length in radians over which it changes, as the standard deviation of a peak
    centres : (K, 3) its peaks, or None if it fills the sphere
    angle : around the peaks, beyond which there is nothing of it
    """

    scale: float
    centres: Real | None = None
    angle: float = np.pi


def cell_integrals(mesh: VoronoiMesh, function: Callable[[Real], Real], extent: Extent) -> Real:
    """∫ f dσ over each cell, shape (cells,), of a function of points (n, 3).

    To about 1e-9 of the largest for a function that is smooth over `extent.scale`.
    """
    cells, sides = np.nonzero(mesh.inside)
    corners, following = mesh.corners
    a, b, c = mesh.generators[cells], corners[cells, sides], following[cells, sides]
    integrals = np.zeros(mesh.cells)
    tree = None
    if extent.centres is not None and extent.angle < np.pi:
        from scipy.spatial import cKDTree

        tree = cKDTree(extent.centres)
    for _ in range(DEEPEST):
        middle = unit(a + b + c)
        radius = np.max([np.linalg.norm(corner - middle, axis=1) for corner in (a, b, c)], axis=0)
        if tree is not None:
            reach = 2.0 * np.sin(0.5 * extent.angle)
            near = tree.query(middle)[0] <= reach + radius
            a, b, c, cells, radius = a[near], b[near], c[near], cells[near], radius[near]
        small = radius <= extent.scale
        _add(integrals, cells[small], function, a[small], b[small], c[small])
        large = ~small
        if not large.any():
            return integrals
        a, b, c, cells = _divided(a[large], b[large], c[large], cells[large])
    _add(integrals, cells, function, a, b, c)
    return integrals


def moments_of_means(mesh: VoronoiMesh, means: Real, degree: int) -> Complex:
    """Complex coefficients to this degree of a function given by its means, shape (cells,).

    Degrees whose waves are short beside a cell are those of the function that is constant over
    each cell: values at the centres would give them at random.
    """
    moments = mesh.moments(means, degree)
    if degree * mesh.spacing <= WAVE:
        return moments
    points, areas, cells = _inner_points(mesh.level)
    fine = PointTransform(points).moments(areas * means[cells], degree)
    degrees, _ = degrees_and_orders(degree)
    # Of a constant the cells have no moments but the first.
    constant = mesh.moments(np.full(mesh.cells, float(mesh.areas @ means) / (4 * np.pi)), degree)
    moments[1:] -= constant[1:]
    return np.where(degrees * mesh.spacing <= LONG_WAVE, moments, fine)


@lru_cache(maxsize=4)
def _inner_points(level: int) -> tuple[Real, Real, Index]:
    """Points of a rule over all cells, their areas and their cells."""
    mesh = voronoi_mesh(level)
    cells, sides = np.nonzero(mesh.inside)
    corners, following = mesh.corners
    a, b, c = mesh.generators[cells], corners[cells, sides], following[cells, sides]
    points, areas = _triangle_rule(a, b, c)
    return points.reshape(-1, 3), areas.ravel(), np.repeat(cells, areas.shape[1])


def _divided(a: Real, b: Real, c: Real, cells: Index) -> tuple[Real, Real, Real, Index]:
    ab, bc, ca = unit(a + b), unit(b + c), unit(c + a)
    return (
        np.concatenate([a, ab, ca, ab]),
        np.concatenate([ab, b, bc, bc]),
        np.concatenate([ca, bc, c, ca]),
        np.tile(cells, 4),
    )


def _add(
    integrals: Real, cells: Index, function: Callable[[Real], Real], a: Real, b: Real, c: Real
) -> None:
    """Add the integrals over spherical triangles to those of their cells."""
    for low in range(0, len(cells), CHUNK):
        part = slice(low, low + CHUNK)
        points, areas = _triangle_rule(a[part], b[part], c[part])
        values = function(points.reshape(-1, 3)).reshape(areas.shape)
        sums = np.einsum("tq,tq->t", values, areas)
        integrals += np.bincount(cells[part], sums, len(integrals))


def _triangle_rule(a: Real, b: Real, c: Real) -> tuple[Real, Real]:
    """Points (n, q, 3) and areas (n, q) of a product rule over n spherical triangles."""
    nodes, weights = np.polynomial.legendre.leggauss(PER_AXIS)
    nodes, weights = 0.5 * (nodes + 1.0), 0.5 * weights
    # A square on the triangle: the second axis shrinks towards the corner a.
    u, v = np.repeat(nodes, PER_AXIS), np.tile(nodes, PER_AXIS)
    first, second = (u * (1.0 - v))[:, None], (u * v)[:, None]
    flat = np.repeat(weights * nodes, PER_AXIS) * np.tile(weights, PER_AXIS)
    one, two = b - a, c - a
    points = a[:, None] + first * one[:, None] + second * two[:, None]
    length = np.linalg.norm(points, axis=-1)
    # Area on the sphere of an area of the plane triangle.
    volume = np.abs(np.einsum("ti,ti->t", a, np.cross(one, two)))
    return points / length[..., None], volume[:, None] * flat / length**3
