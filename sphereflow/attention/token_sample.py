"""What a token field gives: velocity and energy terms of several paths of tokens at one time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from .energy import EnergyTerms, energy_terms
from .specification import FieldSpecification

__all__ = ["TokenSample", "row_of", "sample_of", "stacked"]

Real = NDArray[np.float64]
Vectors = Annotated[Real, "path 3 token"]


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenSample(EnergyTerms[Real]):
    """Velocity and energy terms of P paths of n tokens at one time.

    Of noisy heads `energy_rate_heads` is 0, and `diffusion_rate` is left to the scheme.

    step_direction : (P, 3, n)  a of the projected Euler step Π(x + s a dt): the attention average
        before projection, or the tangent velocity for velocity="gradient"
    velocity : (P, 3, n)  tangent
    slopes : (P, H, 3, 3)  ∫ x ∇L(D_hᵀx)ᵀ dμ, None for a Gaussian law
    curvatures : (P, H, 3, 3, 3, 3)  ∫ x_a x_b ∂_c∂_d L(D_hᵀx) dμ, if asked for
    gradient : (P, 3, n)  ∇∫K dΘ at the tokens
    """

    step_direction: Vectors
    velocity: Vectors
    slopes: Annotated[Real, "path head 3 3"] | None
    curvatures: Annotated[Real, "path head 3 3 3 3"] | None
    gradient: Vectors


def sample_of(
    specification: FieldSpecification,
    weights: Real,
    t: float,
    positions: Real,
    direction: Real,
    velocity: Real,
    interaction: Real,
    gradient: Real,
    mobility: Real,
    rates: Real,
    slopes: Real | None,
    curvatures: Real | None,
) -> TokenSample:
    """Energy terms as sums over the tokens, path by path in the same order of additions."""

    def total(values: Real) -> Real:
        sums: Real = np.einsum("pn,n->p", values, weights)
        return sums

    drift_rate = np.zeros(len(positions))
    if specification.drift is not None:
        for row, points in enumerate(positions):
            drift = specification.drift(np.ascontiguousarray(points.T), t).T
            drift_rate[row] = np.sum(weights * np.einsum("in,in->n", gradient[row], drift))
    return TokenSample(
        step_direction=direction,
        velocity=velocity,
        **energy_terms(total, interaction, gradient, velocity, mobility=mobility),
        energy_rate_heads=rates,
        drift_rate=drift_rate,
        diffusion_rate=np.zeros_like(drift_rate),
        slopes=slopes,
        curvatures=curvatures,
        gradient=gradient,
    )


def row_of(sample: TokenSample, row: int) -> TokenSample:
    """The sample of one of the paths."""
    known = {name: value for name, value in vars(sample).items() if value is not None}
    return replace(sample, **{name: value[row : row + 1] for name, value in known.items()})


def stacked(samples: Sequence[TokenSample]) -> TokenSample:
    """One sample of the paths of several."""
    first = samples[0]
    if len(samples) == 1:
        return first
    known = [name for name, value in vars(first).items() if value is not None]
    return replace(
        first, **{name: np.concatenate([getattr(one, name) for one in samples]) for name in known}
    )
