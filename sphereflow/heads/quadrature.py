"""Gauss rules of discrete measures on the line, and of densities on tensor grids.

A Gauss rule with n nodes integrates polynomials of degree 2n − 1 exactly against the measure. It
comes from the recurrence of the polynomials orthogonal to it (Lanczos with full
reorthogonalisation) and the eigenvalues of their Jacobi matrix (Golub and Welsch).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal

__all__ = ["GaussRule", "gauss_rule", "nested_rule"]

Real = NDArray[np.float64]

NEGLIGIBLE = 1e-30  # mass below this share of the total cannot matter


@dataclass(frozen=True, eq=False)
class GaussRule:
    """Nodes (n,), weights (n,) and the orthonormal polynomials on the support, (n, k)."""

    nodes: Real
    weights: Real
    support: NDArray[np.int64]
    polynomials: Real
    at_nodes: Real

    def rates(self, mass_rates: Real) -> Real:
        """dw/dt of fixed nodes, exact for polynomials to degree n − 1, from those of the masses."""
        moments = self.polynomials @ mass_rates[self.support]
        return self.weights * (moments @ self.at_nodes)


def gauss_rule(points: Real, masses: Real, count: int) -> GaussRule:
    """Gauss rule with at most `count` nodes of the measure Σ_i masses_i δ_{points_i}."""
    support = np.flatnonzero(masses > NEGLIGIBLE * masses.max())
    x, w = points[support], masses[support]
    total = w.sum()
    centre = (w @ x) / total
    scale = np.sqrt((w @ (x - centre) ** 2) / total)
    if scale == 0.0 or len(x) == 1:
        one = np.ones((1, len(x))) / np.sqrt(total)
        return GaussRule(np.array([centre]), np.array([total]), support, one, one[:, :1])
    u = (x - centre) / scale
    root = np.sqrt(w)
    basis = np.empty((min(count, len(x)), len(x)))
    basis[0] = root / np.sqrt(total)
    diagonal, beside = [], []
    for k in range(len(basis)):
        image = u * basis[k]
        diagonal.append(float(basis[k] @ image))
        for _ in range(3):
            image -= (basis[: k + 1] @ image) @ basis[: k + 1]
        length = float(np.linalg.norm(image))
        if k + 1 == len(basis) or length < 1e-12:
            break
        beside.append(length)
        basis[k + 1] = image / length
    basis = basis[: len(diagonal)]
    nodes, vectors = eigh_tridiagonal(np.array(diagonal), np.array(beside))
    # vectors[k, q] = √w_q p_k(node q), and p_0 = 1/√total.
    weights = total * vectors[0] ** 2
    polynomials = basis / root
    with np.errstate(divide="ignore", invalid="ignore"):
        at_nodes = np.where(weights > 0, vectors / np.sqrt(weights), 0.0)
    signs = np.sign(at_nodes[0])
    return GaussRule(centre + scale * nodes, weights, support, polynomials, at_nodes * signs)


def nested_rule(axes: list[Real], masses: Real, count: int) -> tuple[Real, Real]:
    """Rule of a measure on a tensor grid: Gauss in the first parameter, then in the next given it.

    Parameters
    ----------
    axes : list of ndarray
        Equally spaced points of each axis.
    masses : ndarray, shape (k_1, ..., k_d)
        At least 0.
    count : int
        Nodes per axis.

    Returns
    -------
    nodes : ndarray, shape (count^d, d)
    weights : ndarray, shape (count^d,)
        Positive, or 0 for nodes that are repeated where there are fewer points with mass than
        nodes; their sum is that of the masses.
    """
    marginal = masses.reshape(len(masses), -1).sum(axis=1)
    outer = gauss_rule(axes[0], marginal, count)
    missing = (0, count - len(outer.nodes))
    along, shares = np.pad(outer.nodes, missing, mode="edge"), np.pad(outer.weights, missing)
    if masses.ndim == 1:
        return along[:, None], shares
    nodes, weights = [], []
    for node, weight in zip(along, shares, strict=True):
        slice_there = _at(axes[0], masses, float(node))
        inner_nodes, inner_weights = nested_rule(axes[1:], slice_there, count)
        first = np.full((len(inner_nodes), 1), node)
        nodes.append(np.concatenate([first, inner_nodes], axis=1))
        weights.append(weight * inner_weights / inner_weights.sum())
    return np.concatenate(nodes), np.concatenate(weights)


def _at(axis: Real, masses: Real, x: float) -> Real:
    """Masses of the slice at x, by six-point Lagrange interpolation; not below 0.

    Between cells that hold next to nothing, as those of a law narrower than a cell, it is the
    nearest slice with any mass.
    """
    step = axis[1] - axis[0]
    position = (x - axis[0]) / step
    first = int(np.clip(np.floor(position) - 2, 0, max(0, len(axis) - 6)))
    used = np.arange(first, min(first + 6, len(axis)))
    others = used[:, None] != used[None, :]
    factors = np.where(others, (position - used[None, :]), 1.0)
    gaps = np.where(others, used[:, None] - used[None, :], 1.0)
    weights = (factors / gaps).prod(axis=1)
    found = np.maximum(np.tensordot(weights, masses[used], axes=1), 0.0)
    if found.max() > 0.0:
        return found
    heavy = np.flatnonzero(masses.reshape(len(masses), -1).max(axis=1) > 0.0)
    mass: Real = masses[heavy[np.argmin(np.abs(axis[heavy] - x))]]
    return mass
