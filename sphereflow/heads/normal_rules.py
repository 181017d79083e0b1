"""Gauss–Hermite rules of normal laws of few parameters, and how many nodes they need."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SMALLEST_VARIANCE",
    "hermite_rule",
    "more_nodes",
    "nodes_for",
    "normal_rule",
]

Real = NDArray[np.float64]

MOST_NODES = 64
MOST_JUDGED = 128  # beyond, Hermite polynomials come near the largest numbers
RULE_TOLERANCE = 1e-6  # of averages of e^{as}, the growth of E and of 1/b for one token
# Smallest variance along an axis while the covariance changes: where a law starts from a point
# mass, dE/dt needs nodes off the mean. The bias of this spread is of its own size.
SMALLEST_VARIANCE = 1e-9


@lru_cache(maxsize=128)
def hermite_rule(count: int) -> tuple[Real, Real]:
    """Nodes and weights of the standard normal law."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return nodes, weights / weights.sum()


@lru_cache(maxsize=1)
def _widest() -> Real:
    """For 1, 2, … nodes the largest a for which they average e^{as} to `RULE_TOLERANCE`."""
    trial = np.arange(0.0, 14.0, 0.02)
    found = []
    for count in range(1, MOST_NODES + 1):
        nodes, weights = hermite_rule(count)
        missed = np.abs(np.exp(np.outer(trial, nodes) - 0.5 * trial[:, None] ** 2) @ weights - 1.0)
        bad = np.flatnonzero(missed > RULE_TOLERANCE)
        found.append(trial[max(0, bad[0] - 1)] if bad.size else trial[-1])
    return np.array(found)


def nodes_for(spread: float, least: int) -> int:
    """Nodes that average e^{as} to 1e-6 where a is `spread`; from `least` to 64."""
    return max(least, min(MOST_NODES, int(np.searchsorted(_widest(), spread)) + 1))


def more_nodes(count: int) -> int:
    """Nodes of a rule by which one of `count` nodes is judged; not beyond 128."""
    return max(count, min(MOST_JUDGED, max(count + 3, -(-5 * count // 4))))


def normal_rule(
    mean: Real, covariance: Real, mean_rate: Real, covariance_rate: Real, counts: list[int]
) -> tuple[Real, Real, Real]:
    """Nodes (q, p) and weights of N(mean, covariance), and the rates of the weights.

    Parameters
    ----------
    mean, mean_rate : ndarray, shape (p,)
    covariance, covariance_rate : ndarray, shape (p, p)
    counts : list of int
        Nodes along each axis of the covariance, in the order of its eigenvalues.
    """
    values, vectors = np.linalg.eigh(covariance)
    changes = bool(covariance_rate.any() or mean_rate.any())
    roots = np.sqrt(np.maximum(values, SMALLEST_VARIANCE if changes else 0.0))
    rules = [hermite_rule(count) for count in counts]
    mesh = np.meshgrid(*[rule[0] for rule in rules], indexing="ij")
    standard = np.stack([axis.ravel() for axis in mesh], axis=1)
    weights = np.ones(1)
    for rule in rules:
        weights = np.multiply.outer(weights, rule[1]).ravel()
    nodes = mean + (standard * roots) @ vectors.T
    if not changes:
        return nodes, weights, np.zeros_like(weights)
    # d/dt E[φ] = ⟨m', E∇φ⟩ + ½ C' : E∇∇φ, by parts on the standard normal density.
    shift = (vectors.T @ mean_rate) / roots
    growth = (vectors.T @ covariance_rate @ vectors) / np.multiply.outer(roots, roots)
    along = np.einsum("qa,ab,qb->q", standard, growth, standard) - np.trace(growth)
    return nodes, weights, weights * (standard @ shift + 0.5 * along)
