"""Quadrature of a mixture of Gaussian laws of (D, V)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .gaussian import GaussianNodes
from .nodes import Matrix

__all__ = ["MixtureNodes"]

Real = NDArray[np.float64]


class MixtureNodes:
    """Σ_k p_k times the quadratures of Gaussian laws, node after node.

    Parameters
    ----------
    parts : sequence of GaussianNodes
    shares : ndarray, shape (K,)
        p_k of sum 1.
    """

    weight_rates = None
    isotropic = None
    only_tangential = False
    mirrored = None

    def __init__(self, parts: Sequence[GaussianNodes], shares: Real) -> None:
        self.parts = list(parts)
        self.shares = shares
        self._ends = np.cumsum([part.weights.size for part in self.parts])

    @property
    def weights(self) -> Real:
        return np.concatenate(
            [share * part.weights for share, part in zip(self.shares, self.parts, strict=True)]
        )

    @property
    def symmetric(self) -> bool:
        return all(part.symmetric for part in self.parts)

    @property
    def mean(self) -> Real:
        """Means of D and V, shape (2, 3, 3)."""
        mean: Real = np.einsum(
            "k,kmij->mij", self.shares, np.stack([part.mean for part in self.parts])
        )
        return mean

    @property
    def covariance(self) -> Real:
        """Cov(D_ab, D_cd) and Cov(V_ab, D_cd), shape (2, 3, 3, 3, 3)."""
        mean = self.mean
        total = np.zeros((2, 3, 3, 3, 3))
        for share, part in zip(self.shares, self.parts, strict=True):
            apart = part.mean - mean
            total += share * (part.covariance + np.einsum("mab,cd->mabcd", apart, apart[0]))
        return total

    def _pieces(self, nodes: slice) -> list[tuple[int, slice, slice]]:
        """Part, its nodes, and their place in the slice."""
        start, stop, _ = nodes.indices(int(self._ends[-1]))
        pieces, begin = [], 0
        for index, end in enumerate(self._ends):
            low, high = max(start, begin), min(stop, int(end))
            if low < high:
                pieces.append(
                    (index, slice(low - begin, high - begin), slice(low - start, high - start))
                )
            begin = int(end)
        return pieces

    def arguments(self, x: Real, nodes: slice) -> Real:
        return np.concatenate(
            [self.parts[k].arguments(x, own) for k, own, _ in self._pieces(nodes)], axis=1
        )

    def gather(self, matrix: Matrix, vectors: Real, nodes: slice) -> Real:
        sums = np.zeros((len(self.parts), 3, 4, vectors.shape[-1]))
        for k, own, place in self._pieces(nodes):
            sums[k] = self.parts[k].gather(matrix, vectors[:, place], own)
        return sums

    def finish(self, matrix: Matrix, x: Real, sums: Real) -> Real:
        total = np.zeros_like(x)
        for share, part, own in zip(self.shares, self.parts, sums, strict=True):
            total += share * part.finish(matrix, x, own)
        return total

    def transposed(self) -> MixtureNodes:
        return MixtureNodes([part.transposed() for part in self.parts], self.shares)

    def record(self) -> dict[str, Real]:
        return {
            "head_mean": self.mean[0],
            "head_covariance": self.covariance[0].reshape(9, 9),
        }

    def summary(self) -> Real:
        return np.concatenate([self.mean.ravel(), self.covariance.ravel()])
