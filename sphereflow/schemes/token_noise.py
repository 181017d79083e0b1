"""What the noise of heads and tokens does to the energy, for several paths at once, eq. (148)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..attention import TokenSample, tangential
from ..heads import HeadNodes, Heads, HeadStep
from ..problem import TransformerPDE
from ..seeds import Purpose, stream

__all__ = ["diffusion_increments", "head_increments", "tangent_noise"]

Real = NDArray[np.float64]


def tangent_noise(
    problem: TransformerPDE, seed: int | None, paths: range, steps: int, positions: Real, dt: float
) -> Real:
    """√(2ε dt) times tangent normal vectors of each path, as positions (P, 3, n)."""
    noise = np.stack(
        [
            stream(seed, Purpose.TOKEN_NOISE, path, steps).standard_normal(positions.shape[1:])
            for path in paths
        ]
    )
    return tangential(positions, np.sqrt(2.0 * problem.diffusion * dt) * noise)


def head_increments(sample: TokenSample, step: HeadStep, weights: Real) -> dict[str, Real]:
    """Drift, Itô and martingale part of the change of E by one step of the heads, each (P,).

    With S = ∫ x ∇Lᵀ dμ and T = ∫ x xᵀ ⊗ ∇∇L dμ of each head they are ½ S : (mean of ΔD),
    ¼ T : Cov(ΔD) and ½ S : (noise in ΔD), averaged over the heads. For the symmetrised noise
    g (Z + Zᵀ)/2 the Itô part is ¼ g² dt · ½∬ e^{⟨x,Dy⟩} (1 + ⟨x,y⟩²) dμ dμ.
    """
    slopes, curvatures = sample.slopes, sample.curvatures
    assert slopes is not None and curvatures is not None

    paths = len(slopes)

    def along(increment: Real) -> Real:
        # One row for each path: the order of additions does not depend on their number.
        terms = weights[:, None, None] * slopes * increment
        sums: Real = terms.reshape(paths, -1).sum(axis=1)
        return 0.5 * sums

    turned = np.swapaxes(curvatures, 3, 4)  # T_acbd beside Cov(ΔD_ac, ΔD_bd)
    terms = weights[:, None, None, None, None] * step.covariance * turned
    ito = 0.25 * terms.reshape(paths, -1).sum(axis=1)
    return {
        "energy_heads_integral": along(step.drift),
        "energy_ito_integral": ito,
        "energy_martingale": along(step.noise),
    }


def _diffusion_rate(
    nodes: Heads, slopes: Real, curvatures: Real, positions: Real, weights: Real
) -> float:
    """Rate of E per unit ε by Brownian motion of the tokens of one path, positions (3, n).

    Σ_i w_i Δ∫K dΘ(x_i) plus the term of a token with itself, Σ_i w_i² ∫∇₁·∇₂k(x_i, x_i) dΘ with
    k = e^{⟨x,Dy⟩} for a symmetric D.
    """
    total = 0.0
    for weight, d, slope, bend in zip(nodes.weights, nodes.logits, slopes, curvatures, strict=True):
        flat = np.einsum("ac,ad,bbcd->", d, d, bend)
        along = np.einsum("ac,bd,abcd->", d, d, bend)
        image = d @ positions
        inward = np.einsum("in,in->n", positions, image)
        tangent = np.einsum("in,in->n", image, image) - inward**2
        own = np.exp(inward) * (np.trace(d) - inward + tangent)
        total += weight * (flat - along - 2.0 * np.sum(d * slope) + weights**2 @ own)
    return float(total)


def diffusion_increments(
    sample: TokenSample,
    nodes: Sequence[HeadNodes],
    moved: Real,
    positions: Real,
    weights: Real,
    variance: float,
) -> dict[str, Real]:
    """Itô part, for ε dt = `variance`, and martingale of a step that tokens move by noise.

    They are known for a finite number of symmetric heads; elsewhere the balance stays open.
    """
    rates = np.full(len(positions), np.nan)
    for row, one in enumerate(nodes):
        if sample.slopes is None or sample.curvatures is None or not one.symmetric:
            continue
        assert isinstance(one, Heads)
        slopes, curvatures = sample.slopes[row], sample.curvatures[row]
        rates[row] = _diffusion_rate(one, slopes, curvatures, positions[row], weights)
    return {
        "energy_diffusion_integral": variance * rates,
        "energy_martingale": np.einsum("pin,pin,n->p", sample.gradient, moved, weights),
    }
