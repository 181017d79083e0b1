"""Cells that follow a law as it narrows, widens and moves.

Cell k of an axis has its centre at origin + (k + ½) h; cells are halved or joined in pairs, so that
the origin stays. Masses stand for h times the density at the centres, of which the sums over a
smooth density are its integrals to round-off.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["cells_per_width", "halved", "joined", "occupied"]

Real = NDArray[np.float64]

REACH = 3  # cells to each side that an interpolation uses
EMPTY = 1e-16  # of the largest density: cells beyond the last one above it may go


@lru_cache(maxsize=1)
def _weights() -> Real:
    """Lagrange weights of seven centres for the value a quarter of a cell to the left."""
    nodes, x = np.arange(-REACH, REACH + 1.0), -0.25
    others = ~np.eye(len(nodes), dtype=bool)
    factors = np.where(others, x - nodes, 1.0) / np.where(
        others, np.subtract.outer(nodes, nodes), 1
    )
    return np.asarray(factors.prod(axis=1), dtype=np.float64)


def cells_per_width(masses: Real, axis: int) -> float:
    """√(max Θ / max|Θ''|)/h along an axis: for a normal law its standard deviation over h."""
    lines = np.moveaxis(masses, axis, 0)
    bend = np.abs(lines[2:] - 2.0 * lines[1:-1] + lines[:-2]).max(initial=0.0)
    return float(np.sqrt(lines.max() / bend)) if bend > 0 else np.inf


def halved(masses: Real, axis: int) -> Real:
    """Masses on cells of half the width, of the same sum; not below 0."""
    lines = np.moveaxis(masses, axis, 0)
    padded = np.pad(lines, [(REACH, REACH)] + [(0, 0)] * (lines.ndim - 1), mode="symmetric")
    count, weights = len(lines), _weights()
    left = sum(w * padded[k : k + count] for k, w in enumerate(weights))
    right = sum(w * padded[k : k + count] for k, w in enumerate(weights[::-1]))
    fine = np.stack([left, right], axis=1).reshape(2 * count, *lines.shape[1:])
    fine = np.maximum(fine, 0.0)
    return np.moveaxis(fine * (masses.sum() / fine.sum()), 0, axis)


def joined(masses: Real, axis: int, first: int) -> tuple[Real, int]:
    """Masses on cells of twice the width, and the number of the first of them."""
    lines = np.moveaxis(masses, axis, 0)
    before = first % 2
    after = (before + len(lines)) % 2
    padded = np.pad(lines, [(before, after)] + [(0, 0)] * (lines.ndim - 1))
    pairs = padded.reshape(-1, 2, *lines.shape[1:]).sum(axis=1)
    return np.moveaxis(pairs, 0, axis), (first - before) // 2


def occupied(masses: Real, axis: int) -> slice:
    """The cells of an axis outside which there is next to nothing."""
    others = tuple(k for k in range(masses.ndim) if k != axis)
    along = masses.max(axis=others)
    heavy = np.flatnonzero(along > EMPTY * along.max())
    return slice(int(heavy[0]), int(heavy[-1]) + 1)
