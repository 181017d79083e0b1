"""The head averages at points, and the divergence of v̄, by series of each head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..heads import Heads
from .average import PACKED, Averages, average_of_heads
from .token_series import TokenSeries
from .transform import ScaledTransform

__all__ = ["averages_and_divergence"]

Real = NDArray[np.float64]


def averages_and_divergence(
    series: TokenSeries, nodes: Heads, *, softmax: bool
) -> tuple[Averages, Real]:
    """Averages at the points of the series, and the divergence of the attention velocity there.

    With a(x) = V g(Dᵀx), g = ∇log L or ∇L, its Jacobian is J = V ∇g Dᵀ, and the surface divergence
    of P a is tr J − ⟨x, Jx⟩ − 2⟨x, a⟩.

    Raises
    ------
    LostSeries
        If direct sums are the better choice.
    """
    x = series.x
    divergence = np.zeros(x.shape[1])

    def add(head: int, values: ScaledTransform, hessian: Real) -> None:
        d, v = nodes.logits[head], nodes.values[head]
        factor = 1.0 / values.value if softmax else np.exp(values.radius)
        g = factor * values.gradient
        slope = factor * hessian[PACKED]
        if softmax:
            slope -= g[:, None] * g[None]
        trace = np.einsum("lj,jln->n", d.T @ v, slope)
        along = np.einsum("jn,jln,ln->n", v.T @ x, slope, d.T @ x, optimize=True)
        radial = np.einsum("in,in->n", x, v @ g)
        divergence[:] += nodes.weights[head] * (trace - along - 2.0 * radial)

    return average_of_heads(series, nodes, x, softmax=softmax, also=add), divergence
