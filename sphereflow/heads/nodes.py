"""Quadratures of the head law Θ_t at one time: the protocol that every law serves.

The attention field averages functions of z = Dᵀx over Θ_t. A quadrature with Q nodes gives,
for points x, the arguments z_q(x) and weights w_q, and contracts vectors a_q(x) with the head
matrices: Σ_q w_q V_q(x) a_q(x), the same with D_q, and with dD_q/dt. For a finite number of
heads the matrices do not depend on x; for a Gaussian law they are conditional means given z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["HeadNodes", "GivenNodes", "Heads", "largest_argument"]

Real = NDArray[np.float64]
NUMBERS_OF_A_HEAD = 19  # two matrices and a weight
Matrix = Literal["values", "logits", "rates"]


class HeadNodes(Protocol):
    """A quadrature of Θ_t at one time; see the module for the meaning."""

    @property
    def weights(self) -> Real:
        """Weights w_q, shape (Q,), summing to 1."""

    @property
    def weight_rates(self) -> Real | None:
        """dw_q/dt, shape (Q,), or None if the weights are constant."""

    @property
    def symmetric(self) -> bool:
        """Whether every D is symmetric."""

    @property
    def isotropic(self) -> Real | None:
        """β_q, shape (Q,), if every D_q = β_q I, else None."""

    @property
    def only_tangential(self) -> bool:
        """Whether the radial part of ∇L never counts: D and V isotropic, D constant."""

    @property
    def mirrored(self) -> slice | None:
        """Order of the nodes at −x in which their arguments are −z_q(x); None if there is none."""

    def arguments(self, x: Real, nodes: slice) -> Real:
        """z_q(x) = D_qᵀ x for x of shape (3, n): shape (3, q, n)."""

    def gather(self, matrix: Matrix, vectors: Real, nodes: slice) -> Real:
        """Partial sums over `nodes` of vectors (3, q, n), to be added up."""

    def finish(self, matrix: Matrix, x: Real, sums: Real) -> Real:
        """Σ_q w_q M_q(x) a_q(x), shape (3, n), from the added partial sums."""

    def transposed(self) -> HeadNodes:
        """The same quadrature with D_q replaced by its transpose; V_q as it is."""

    def record(self) -> dict[str, Real]:
        """The variables of a dataset that say what the heads are."""

    def summary(self) -> Real:
        """A vector that changes in time as fast as the law does."""


@dataclass(frozen=True, eq=False)
class Heads:
    """A finite number of heads at one time, and how fast they change.

    Parameters
    ----------
    logits, values : ndarray, shape (H, 3, 3)
        D = QᵀK and V of each head.
    weights : ndarray, shape (H,)
        Non-negative, sum 1.
    logit_rates : ndarray, shape (H, 3, 3), optional
        dD/dt; None if constant.
    """

    logits: Real
    values: Real
    weights: Real
    logit_rates: Real | None = None
    weight_rates: Real | None = None

    @property
    def symmetric(self) -> bool:
        transposed = np.swapaxes(self.logits, 1, 2)
        return bool(np.allclose(self.logits, transposed, rtol=1e-14, atol=1e-14))

    @property
    def isotropic(self) -> Real | None:
        beta = self.logits[:, 0, 0]
        if np.array_equal(self.logits, beta[:, None, None] * np.eye(3)):
            return beta
        return None

    @property
    def only_tangential(self) -> bool:
        scale = self.values[:, 0, 0, None, None]
        constant = self.logit_rates is None
        return (
            constant
            and self.isotropic is not None
            and bool(np.array_equal(self.values, scale * np.eye(3)))
        )

    @property
    def mirrored(self) -> slice:
        return slice(None)

    def arguments(self, x: Real, nodes: slice) -> Real:
        part = self.logits[nodes]  # z_j = Σ_i D_ij x_i
        return (np.transpose(part, (2, 0, 1)).reshape(-1, 3) @ x).reshape(3, len(part), -1)

    def gather(self, matrix: Matrix, vectors: Real, nodes: slice) -> Real:
        stack = {"values": self.values, "logits": self.logits, "rates": self.logit_rates}[matrix]
        if stack is None:
            return np.zeros((3, vectors.shape[-1]))
        weighted = self.weights[nodes, None, None] * stack[nodes]
        flat = np.transpose(weighted, (1, 2, 0)).reshape(3, -1)
        return flat @ vectors.reshape(-1, vectors.shape[-1])

    def finish(self, matrix: Matrix, x: Real, sums: Real) -> Real:
        return sums

    def transposed(self) -> Heads:
        rates = None if self.logit_rates is None else np.swapaxes(self.logit_rates, 1, 2)
        return Heads(
            np.swapaxes(self.logits, 1, 2), self.values, self.weights, rates, self.weight_rates
        )

    def record(self) -> dict[str, Real]:
        return {
            "head_logits": self.logits,
            "head_values": self.values,
            "head_weight": self.weights,
        }

    def summary(self) -> Real:
        share = self.weights[:, None, None]
        return np.concatenate([(share * self.logits).ravel(), (share * self.values).ravel()])


class GivenNodes:
    """Nodes that a user brings, of which a dataset holds nothing."""

    def __init__(self, nodes: HeadNodes) -> None:
        self._nodes = nodes

    def __getattr__(self, name: str) -> Any:
        if name == "_nodes":  # while it is copied
            raise AttributeError(name)
        return getattr(self._nodes, name)

    def record(self) -> dict[str, Real]:
        return {}

    def summary(self) -> Real:
        """Means and mean products of the arguments at three tokens."""
        weights = self._nodes.weights
        arguments = self._nodes.arguments(np.eye(3), slice(0, weights.size))
        mean = np.einsum("aqn,q->an", arguments, weights)
        square = np.einsum("aqn,bqn,q->abn", arguments, arguments, weights)
        return np.concatenate([mean.ravel(), square.ravel()])


def largest_argument(nodes: HeadNodes) -> float:
    """An upper bound of |Dᵀx| over heads and unit vectors."""
    if isinstance(nodes, Heads):
        if not np.isfinite(nodes.logits).all():
            return np.nan
        return float(np.linalg.norm(nodes.logits, ord=2, axis=(1, 2)).max())
    axes = np.concatenate([np.eye(3), -np.eye(3)], axis=1)
    arguments = nodes.arguments(axes, slice(0, nodes.weights.size))
    return float(np.sqrt(3.0) * np.linalg.norm(arguments, axis=0).max())
