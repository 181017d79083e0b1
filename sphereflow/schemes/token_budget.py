"""The energy balance (148) of token runs, term by term, for several paths at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..attention import TokenSample
from ..heads import Heads, HeadStep
from ..machine.plain_state import set_attributes

__all__ = ["TokenBudget", "diffusion_rate", "head_increments", "transport_terms"]

Real = NDArray[np.float64]

TERMS = (
    "energy_heads_integral",
    "energy_ito_integral",
    "energy_martingale",
    "energy_transport_integral",
    "energy_drift_integral",
    "energy_diffusion_integral",
)


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
        return 0.5 * terms.reshape(paths, -1).sum(axis=1)

    turned = np.swapaxes(curvatures, 3, 4)  # T_acbd beside Cov(ΔD_ac, ΔD_bd)
    terms = weights[:, None, None, None, None] * step.covariance * turned
    ito = 0.25 * terms.reshape(paths, -1).sum(axis=1)
    return {
        "energy_heads_integral": along(step.drift),
        "energy_ito_integral": ito,
        "energy_martingale": along(step.noise),
    }


def diffusion_rate(
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


def transport_terms(sample: TokenSample) -> Real:
    """R, G², the power of the drift and ∂_tE of each path, shape (4, P)."""
    return np.stack([sample.dissipation, sample.slope_squared, sample.drift_rate, sample.rate])


class TokenBudget:
    """Time integrals of the rates of E, one number for each path."""

    def __init__(self, sign: float, start: TokenSample) -> None:
        self.sign = sign
        self.start_energy = start.energy.copy()
        count = start.energy.size
        self.integrals = {name: np.zeros(count) for name in (*TERMS, "energy_slope_integral")}

    def kept(self) -> dict[str, Any]:
        """The state as plain data."""
        integrals = {name: value.copy() for name, value in self.integrals.items()}
        return {"start_energy": self.start_energy, "integrals": integrals}

    def take_over(self, kept: Mapping[str, Any]) -> None:
        """Go on from a state that was kept."""
        set_attributes(self, ("start_energy",), kept)
        self.integrals = {name: kept["integrals"][name] for name in self.integrals}

    def add_integrals(self, integrals: Real) -> None:
        """Add the integrals over a step of R, G², the power of the drift and ∂_tE, (4, P)."""
        self.integrals["energy_transport_integral"] += self.sign * integrals[0]
        self.integrals["energy_slope_integral"] += self.sign * integrals[1]
        self.integrals["energy_drift_integral"] += integrals[2]
        self.integrals["energy_heads_integral"] += integrals[3]

    def add_increments(self, increments: dict[str, Real]) -> None:
        """Add increments that are integrals already."""
        for name, value in increments.items():
            self.integrals[name] += value

    def record(self, sample: TokenSample, rate: Real) -> dict[str, Real]:
        """Variables of the dataset; `rate` is ∂_tE."""
        explained = sum(self.integrals[name] for name in TERMS)
        residual = sample.energy - self.start_energy - explained
        by_slope = (
            self.integrals["energy_transport_integral"] - self.integrals["energy_slope_integral"]
        )
        return {
            "energy": sample.energy,
            "energy_rate_heads": rate,
            "dissipation": sample.dissipation,
            "slope_squared": sample.slope_squared,
            "metric_slope_squared": sample.metric_slope_squared,
            **{name: value.copy() for name, value in self.integrals.items()},
            "energy_residual": residual,
            "energy_residual_slope": residual + by_slope,
        }
