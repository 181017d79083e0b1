"""What the routes of a token field cost, in seconds, measured for the choice between them alone."""

from __future__ import annotations

import numpy as np

from ..heads import HeadNodes
from .series_degrees import LARGEST_HARMONIC_DEGREE, kernel_degree
from .token_series import SPREAD

__all__ = ["cost_of_grid", "cost_of_pairs", "cost_of_series"]

PAIR = 1.2e-9
# Of vector harmonics: per evaluation, per token, per head with logits up to 4; what is more for
# many degrees of v̄; per head for each degree, squared, of v̄ and of the kernel.
START, TOKEN, HEAD, DEGREES, SUMS = 6e-3, 4e-7, 8e-4, 1.2e-6, 6e-10
USUAL_DEGREE = 31
# Of series at the tokens: per evaluation, per token, per head, per token and head.
SERIES_START, SERIES_TOKEN, SERIES_HEAD, SERIES = 2e-3, 3.5e-7, 2e-3, 2.5e-7


def cost_of_pairs(count: int, nodes: HeadNodes) -> float:
    """Of direct sums over all pairs of `count` tokens."""
    return PAIR * nodes.weights.size * count**2


def cost_of_grid(count: int, nodes: HeadNodes, radius: float, degree: int) -> float:
    """Of vector harmonics to `degree`, for logits up to `radius`."""
    kernel = kernel_degree(float(np.ceil(radius)))
    sums = SUMS * (degree * kernel) ** 2 * (1 if nodes.symmetric else 2)
    more = DEGREES * max(0, degree**2 - USUAL_DEGREE**2)
    return START + TOKEN * count + more + nodes.weights.size * max(HEAD, sums)


def cost_of_series(count: int, nodes: HeadNodes, radius: float, second: bool = False) -> float:
    """Of series at the tokens, with ∇∇L if `second`; infinite where they do not serve."""
    each = SERIES_HEAD + SERIES * count
    if nodes.isotropic is None:
        kernel = kernel_degree(float(np.ceil(radius)))
        if kernel >= LARGEST_HARMONIC_DEGREE:
            return np.inf
        each += SUMS * (SPREAD[1] * kernel**2) ** 2
        each *= 1 if nodes.symmetric else 2
    each *= 2.25 if second else 1.0
    return SERIES_START + SERIES_TOKEN * count + nodes.weights.size * each
