"""Polynomials in each Voronoi cell, by least squares through the means of cells around it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..machine.kept_arrays import kept_arrays
from ..sphere import VoronoiMesh, tangent_basis

__all__ = ["HIGHEST_DEGREE", "edge_coefficients", "stencils"]

Real = NDArray[np.float64]
Index = NDArray[np.int64]

HIGHEST_DEGREE = 4
CHUNK = 4000  # cells handled at a time
KEPT_FROM = 6  # level of the mesh
LAYOUT = 1  # of the files on disk


def stencils(mesh: VoronoiMesh, degree: int) -> Index:
    """Cells that determine the polynomial of each cell, shape (cells, 6) or (cells, 18).

    One ring of neighbours for degrees 1 and 2, two for 3 and 4; near the cells of five sides
    the last entries repeat the cell itself.
    """
    first = mesh.neighbours
    if degree <= 2:
        return first
    own = np.arange(mesh.cells)[:, None]
    around = np.sort(first[first].reshape(mesh.cells, 36), axis=1)
    new = np.ones_like(around, dtype=bool)
    new[:, 1:] = around[:, 1:] != around[:, :-1]
    new &= (around != own) & ~(around[:, :, None] == first[:, None, :]).any(axis=2)
    second = np.where(new, around, mesh.cells)
    second = np.sort(second, axis=1)[:, :12]
    return np.concatenate([first, np.where(second == mesh.cells, own, second)], axis=1)


@lru_cache(maxsize=2)
def edge_coefficients(mesh: VoronoiMesh, degree: int) -> Real:
    """Coefficients B of the mean of a polynomial over side k: μ_i + Σ_j B_jk (μ_j − μ_i).

    Parameters
    ----------
    mesh : VoronoiMesh
    degree : int
        From 1 to 4. The mean over the cell is μ_i, and the means over the cells j of the stencil
        are those μ_j as nearly as possible. Plane coordinates are those of the equal-area
        projection about the centre of the cell.

    Returns
    -------
    ndarray, shape (cells, stencil, 6)
        Kept on disk from level 6 on.
    """
    if mesh.level < KEPT_FROM:
        return _fitted(mesh, degree)
    name = f"edge_coefficients_{LAYOUT}_{mesh.level}_{degree}"
    kept = kept_arrays(name, ("coefficients",), lambda: {"coefficients": _fitted(mesh, degree)})
    return np.ascontiguousarray(kept["coefficients"], dtype=np.float64)


def _fitted(mesh: VoronoiMesh, degree: int) -> Real:
    scale = mesh.spacing
    cells_around = stencils(mesh, degree)
    points, weights = mesh.quadrature
    edge_points = mesh.edge_points
    result = np.zeros((mesh.cells, cells_around.shape[1], 6))
    for low in range(0, mesh.cells, CHUNK):
        part = np.arange(low, min(low + CHUNK, mesh.cells))
        around = cells_around[part]
        inside = around != part[:, None]
        frame = mesh.centres[part], tangent_basis(mesh.centres[part])
        own = _means(frame, points[part], weights[part], scale, degree)
        rows = _means(frame, points[around], weights[around], scale, degree) - own[:, None]
        distance = np.sum(rows[..., :2] ** 2, axis=-1)
        weight = np.where(inside, 1.0 / np.maximum(distance, 1e-12), 0.0)
        weighted = np.swapaxes(rows * weight[..., None], 1, 2)
        fit = np.linalg.solve(weighted @ rows, weighted)
        sides = edge_points[mesh.cell_edges[part]]
        at_sides = _monomials(_plane(*frame, sides) / scale, degree).mean(axis=2) - own[:, None]
        by_side = np.where(mesh.inside[part, :, None], at_sides @ fit, 0.0)
        result[part] = np.swapaxes(by_side, 1, 2)
    return result


def _means(
    frame: tuple[Real, Real], points: Real, weights: Real, scale: float, degree: int
) -> Real:
    """Means of the monomials over cells with these quadratures, (n, ..., monomials)."""
    monomials = _monomials(_plane(*frame, points) / scale, degree)
    means: Real = np.einsum("c...q,c...qp->c...p", weights, monomials)
    return means


def _plane(centre: Real, basis: Real, points: Real) -> Real:
    """Equal-area coordinates (n, ..., 2) of points (n, ..., 3) about each centre."""
    flat = points.reshape(len(centre), -1, 3)
    plane = flat @ np.swapaxes(basis, 1, 2)
    cosine = flat @ centre[:, :, None]
    return (plane * np.sqrt(2.0 / (1.0 + cosine))).reshape(*points.shape[:-1], 2)


def _monomials(plane: Real, degree: int) -> Real:
    """ξ^a η^b with 1 ≤ a + b ≤ degree, the first two ξ and η, on a last axis."""
    x, y = plane[..., 0], plane[..., 1]
    result = np.empty((*x.shape, (degree + 1) * (degree + 2) // 2 - 1))
    last = [np.ones_like(x)]
    column = 0
    for _ in range(degree):
        last = [x * last[0], *(y * one for one in last)]
        for one in last:
            result[..., column] = one
            column += 1
    return result
