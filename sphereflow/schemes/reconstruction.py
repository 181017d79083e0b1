"""Polynomials in each Voronoi cell, by least squares through the means of its neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..sphere import VoronoiMesh

__all__ = ["edge_coefficients"]

Real = NDArray[np.float64]

CHUNK = 20_000  # cells handled at a time


def edge_coefficients(mesh: VoronoiMesh, degree: int) -> Real:
    """Coefficients B of the value at the midpoint of side k: μ_i + Σ_j B_kj (μ_j − μ_i).

    Parameters
    ----------
    mesh : VoronoiMesh
    degree : {1, 2}
        Of the polynomial, whose mean over the cell is μ_i and whose means over the neighbours
        are those μ_j as nearly as possible. Plane coordinates are those of the equal-area
        projection about the centre of the cell.

    Returns
    -------
    ndarray, shape (cells, 6, 6)
    """
    scale = mesh.spacing
    spread = 0.5 * mesh.second_moments / scale**2  # ∫ ξ_a² over the cell, nearly isotropic
    edge_points = mesh.edge_points
    result = np.zeros((mesh.cells, 6, 6))
    for low in range(0, mesh.cells, CHUNK):
        part = slice(low, min(low + CHUNK, mesh.cells))
        centre, around = mesh.centres[part], mesh.neighbours[part]
        inside = np.arange(6) < mesh.sides[part, None]
        basis = _tangent_basis(centre)
        neighbours = _plane(centre, basis, mesh.centres[around]) / scale
        edges = _plane(centre, basis, edge_points[mesh.cell_edges[part]]) / scale
        own = spread[part, None]
        rows = _monomials(neighbours, spread[around], own, degree)
        weight = np.where(inside, 1.0 / np.maximum(np.sum(neighbours**2, axis=-1), 1e-12), 0.0)
        weighted = np.swapaxes(rows * weight[..., None], 1, 2)
        fit = np.linalg.solve(weighted @ rows, weighted)
        at_edges = _monomials(edges, np.zeros_like(own), own, degree)
        result[part] = np.where(inside[..., None], at_edges @ fit, 0.0)
    return result


def _tangent_basis(centre: Real) -> Real:
    """Two orthonormal tangent vectors at each centre, shape (n, 2, 3)."""
    axis = np.eye(3)[np.argmin(np.abs(centre), axis=1)]
    first = np.cross(centre, axis)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(centre, first)], axis=1)


def _plane(centre: Real, basis: Real, points: Real) -> Real:
    """Equal-area coordinates (n, 6, 2) of points (n, 6, 3) about each centre."""
    plane = np.einsum("cai,cki->cka", basis, points)
    cosine = np.einsum("ci,cki->ck", centre, points)
    return plane * np.sqrt(2.0 / (1.0 + cosine))[..., None]


def _monomials(plane: Real, spread: Real, own: Real, degree: int) -> Real:
    """Means of ξ, and for degree 2 of the products of ξ less their means over the own cell."""
    if degree == 1:
        return plane
    x, y = plane[..., 0], plane[..., 1]
    more = spread - own
    return np.stack([x, y, 0.5 * (x**2 + more), x * y, 0.5 * (y**2 + more)], axis=-1)
