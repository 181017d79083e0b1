"""Interpolation in time by polynomials."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["lagrange_matrix", "lagrange_weights"]

Real = NDArray[np.float64]


def lagrange_matrix(nodes: Real, times: Real) -> Real:
    """Weights of the values at `nodes` in their interpolating polynomial, shape (times, nodes)."""
    own = np.eye(len(nodes), dtype=bool)
    numerator = np.where(own, 1.0, (times[:, None] - nodes)[:, None, :])
    weights: Real = np.prod(numerator / np.where(own, 1.0, nodes[:, None] - nodes), axis=2)
    return weights


def lagrange_weights(times: Real, t: float) -> Real:
    """Weights of the values at `times` in their interpolating polynomial at t."""
    weights: Real = lagrange_matrix(times, np.array([t]))[0]
    return weights
