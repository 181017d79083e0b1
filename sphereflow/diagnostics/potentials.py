"""The transform ψᶜ(x) = min_j d(x, y_j)^p − ψ_j of potentials at many points, over all y_j.

A tree of balls about the y_j, each with its largest ψ, leaves out what cannot be the least: the
result is that of all pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["PotentialSearch", "curve_order"]

Real = NDArray[np.float64]
Index = NDArray[np.int64]

LEAF = 8
ROUND_OFF = 1e-12  # of radii of balls


class PotentialSearch:
    """Points y_j of potentials ψ_j, ready for searches.

    Parameters
    ----------
    points : ndarray, shape (n, 3)
        Unit vectors.
    order : int
        p, 1 or 2.
    """

    def __init__(self, points: Real, order: int) -> None:
        from .potential_kernels import build

        n = len(points)
        self.order = order
        self.original = np.ascontiguousarray(points)
        self.levels = max(0, int(np.ceil(np.log2(max(n / LEAF, 1.0)))))
        self.permutation: Index = np.empty(n, np.int64)
        build(self.original, self.levels, self.permutation)
        self.points: Real = np.ascontiguousarray(points[self.permutation])
        self.place: Index = np.empty(n, np.int64)
        self.place[self.permutation] = np.arange(n)
        self._nodes: Real = np.empty((2 ** (self.levels + 1) - 1, 5))
        self._psi: Real = np.zeros(n)
        for level in range(self.levels, -1, -1):
            first, starts = self._ranges(level)
            part = np.repeat(np.arange(starts.size - 1), np.diff(starts))
            sums = np.add.reduceat(self.points, starts[:-1], axis=0)
            centre = sums / np.diff(starts)[:, None]
            away = np.linalg.norm(self.points - centre[part], axis=1)
            self._nodes[first : first + len(centre), :3] = centre
            radius = np.maximum.reduceat(away, starts[:-1]) + ROUND_OFF
            self._nodes[first : first + len(centre), 3] = radius

    def _ranges(self, level: int) -> tuple[int, Index]:
        """The first node of a level, and where the points of each begin and the last end."""
        parts = 2**level
        return parts - 1, len(self.points) * np.arange(parts + 1) // parts

    def set(self, psi: Real) -> None:
        """Give the points these potentials."""
        self._psi = np.ascontiguousarray(psi[self.permutation])
        for level in range(self.levels, -1, -1):
            first, starts = self._ranges(level)
            largest = np.maximum.reduceat(self._psi, starts[:-1])
            self._nodes[first : first + largest.size, 4] = largest

    def least(self, x: Real, guess: Index, blocks: Index | None = None) -> tuple[Real, Index]:
        """ψᶜ at each x, shape (m,), and which point has it.

        It is the faster, the better the guess is of that. `blocks` are the starts of rows of x
        that lie together, and their number.
        """
        from .potential_kernels import least

        values, winner = np.empty(len(x)), self.place[guess]
        if blocks is None:
            blocks = np.arange(len(x) + 1)
        least(
            x, blocks, self.points, self._psi, self._nodes, self.levels, self.order, values, winner
        )
        return values, self.permutation[winner]

    def below(self, x: Real, limit: Real) -> tuple[Index, Index, Real]:
        """All points of values below a limit at each x: where rows start, points, values."""
        from .potential_kernels import collect

        starts: Index = np.empty(len(x) + 1, np.int64)
        size = 8 * len(x)
        while True:
            found, values = np.empty(size, np.int64), np.empty(size)
            count = collect(
                x, self.points, self._psi, self._nodes, self.levels, self.order, limit, starts,
                found, values,
            )  # fmt: skip
            if count >= 0:
                return starts, self.permutation[found[:count]], values[:count]
            size *= 2


def curve_order(points: Real) -> Index:
    """Order of points along Morton's curve through a cube of 1024³ boxes."""
    boxes = np.clip((points + 1.0) * 512, 0, 1023).astype(np.int64)
    key = np.zeros(len(points), np.int64)
    for bit in range(10):
        for axis in range(3):
            key |= ((boxes[:, axis] >> bit) & 1) << (3 * bit + axis)
    return np.argsort(key, kind="stable")
