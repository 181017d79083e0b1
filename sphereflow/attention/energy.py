"""The energy E and its rates, as sums over a measure or over a stack of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

__all__ = ["BUDGET_RATES", "EnergyTerms", "energy_terms", "require_energies"]

Real = NDArray[np.float64]

Values = TypeVar("Values", float, Annotated[Real, "path"])

LARGEST_SQUARED = 1e140
LARGEST_EXPONENT = 700.0  # of an energy, which must stay within the range of a double
BUDGET_RATES = (
    "energy_rate_heads",
    "dissipation",
    "slope_squared",
    "drift_rate",
    "diffusion_rate",
)


def require_energies(largest: float, t: float) -> None:
    """That energies of logits up to `largest` are numbers: they grow as e^{|Dᵀx|}.

    Raises
    ------
    InputError
        If logits are not finite or exceed 700.
    """
    if not largest <= LARGEST_EXPONENT:
        raise InputError(
            f"logits |Dᵀx| must be finite and at most {LARGEST_EXPONENT:g}, got {largest:g} at "
            f"t = {t:g}: the energy e^|Dᵀx| is beyond the range of a double; rescale the heads"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class EnergyTerms(Generic[Values]):
    """The energy terms of one measure, numbers, or of P measures, shape (P,).

    energy : E = ½ ∫∫ m dμ dΘ, eq. (21)
    energy_rate_heads : ∂_tE at fixed μ
    dissipation : R = ∫ ⟨∫∇K dΘ, v̄⟩ dμ
    slope_squared : G² = ∫ b |v̄|² dμ, eq. (113)
    metric_slope_squared : S² = ∫ b⁻¹ |∫∇K dΘ|² dμ
    drift_rate : ∫⟨∫∇K dΘ, u⟩ dμ of a prescribed drift u, as far as the field knows it
    diffusion_rate : ε ∫ (∫K dΘ) Δμ dσ, as far as the field knows it
    """

    energy: Values
    energy_rate_heads: Values
    dissipation: Values
    slope_squared: Values
    metric_slope_squared: Values
    drift_rate: Values
    diffusion_rate: Values

    def terms(self) -> EnergyTerms[Values]:
        """These terms alone, without what a subclass has besides."""
        return EnergyTerms(**{one.name: getattr(self, one.name) for one in fields(EnergyTerms)})


def energy_terms(
    total: Callable[[Real], Values],
    interaction: Real,
    gradient: Real,
    velocity: Real,
    *,
    mobility: Real | None = None,
    inverse_mobility: Real | None = None,
) -> dict[str, Values]:
    """E, R, G² and S², by the names of `EnergyTerms`.

    Parameters
    ----------
    total : callable
        Integral over μ of values (..., n) at the n points that carry it, shape (...).
    interaction : ndarray, shape (..., n)
        ∫K dΘ.
    gradient, velocity : ndarray, shape (..., 3, n)
        ∫∇K dΘ and v̄, tangent.
    mobility, inverse_mobility : ndarray, shape (..., n)
        b or 1/b, whichever is known.
    """
    square = np.einsum("...in,...in->...n", velocity, velocity)
    # Beyond this the square of ∫∇K dΘ leaves the range of a double, though S² does not.
    largest = np.abs(gradient).max(initial=0.0)
    scale = 1.0 if largest < LARGEST_SQUARED else 2.0 ** np.floor(np.log2(largest))
    steep = gradient / scale
    steepness = np.einsum("...in,...in->...n", steep, steep)
    if inverse_mobility is not None:
        by_mobility, over_mobility = square / inverse_mobility, inverse_mobility * steepness
    else:
        assert mobility is not None
        by_mobility, over_mobility = square * mobility, steepness / mobility
    over_mobility = over_mobility * scale * scale
    return {
        "energy": 0.5 * total(interaction),
        "dissipation": total(np.einsum("...in,...in->...n", gradient, velocity)),
        "slope_squared": total(by_mobility),
        "metric_slope_squared": total(over_mobility),
    }
