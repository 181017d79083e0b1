"""Sums of the Laplace transform over the nodes of a measure, accurate for any argument."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..machine.interruption import listen

__all__ = ["direct_sums"]

Real = NDArray[np.float64]

DIRECT_CHUNK = 200_000  # exponentials held at a time: they stay in the cache
LOWEST_EXPONENT = -690.0  # of a sum: beyond, it is near the end of the range of a double
SMALLEST_EXPONENT = -200.0  # smaller terms do not count, and denormal numbers are slow


def direct_sums(
    z: Real, nodes: Real, log_weights: Real, functions: Real, scale: Real
) -> tuple[Real, Real]:
    """Σ_j w_j e^{⟨z,y_j⟩ − s} f(y_j) by log-sum-exp, and s.

    z has shape (3, n), nodes (k, 3), functions (f, k), the sums (f, n). s is `scale`, but for
    sums that would be lost to underflow.
    """
    scale = scale.copy()
    sums = np.empty((len(functions), z.shape[1]))
    step = max(1, DIRECT_CHUNK // max(1, len(nodes)))
    for low in range(0, z.shape[1], step):
        listen()
        part = slice(low, low + step)
        exponents = z[:, part].T @ nodes.T
        exponents += log_weights
        shift = exponents.max(axis=1)
        exponents -= shift[:, None]
        np.maximum(exponents, SMALLEST_EXPONENT, out=exponents)
        totals = np.exp(exponents, out=exponents) @ functions.T
        lost = shift - scale[part] < LOWEST_EXPONENT
        scale[part][lost] = shift[lost]
        sums[:, part] = totals.T * np.exp(shift - scale[part])
    return sums, scale
