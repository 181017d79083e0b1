"""What a dataset holds of the heads at one time."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..heads import GaussianNodes, Heads

__all__ = ["head_numbers", "head_variables"]


def head_variables(nodes: Heads | GaussianNodes) -> dict[str, Any]:
    """Matrices and weights of a finite number of heads, or mean and covariance of a law."""
    if isinstance(nodes, Heads):
        return {
            "head_logits": nodes.logits,
            "head_values": nodes.values,
            "head_weight": nodes.weights,
        }
    return {
        "head_mean": nodes.mean[0],
        "head_covariance": nodes.covariance[0].reshape(9, 9),
    }


def head_numbers(law: Any) -> int:
    """Numbers that a dataset holds of the heads at one time, if that is known of the law."""
    weights = getattr(law, "weights", None)
    count = getattr(law, "count", 0 if weights is None else np.size(weights))
    return 19 * int(count) if isinstance(count, int | np.integer) else 0
