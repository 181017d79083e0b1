"""The energy budget along a run: the integrals over time of the rates of E."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..attention import BUDGET_RATES, EnergyTerms, FieldSample

__all__ = [
    "BudgetState",
    "EnergyBudget",
    "budget_of_paths",
    "integrals_of_stages",
    "scalar_budget",
]

Real = NDArray[np.float64]
Values = TypeVar("Values", float, Annotated[Real, "path"])

INTEGRALS = {
    "energy_rate_heads": "energy_heads_integral",
    "dissipation": "energy_transport_integral",
    "slope_squared": "energy_slope_integral",
    "drift_rate": "energy_drift_integral",
    "diffusion_rate": "energy_diffusion_integral",
}
# Of the balance (148), in the order in which they are added.
TERMS = (
    "energy_heads_integral",
    "energy_ito_integral",
    "energy_martingale",
    "energy_transport_integral",
    "energy_drift_integral",
    "energy_diffusion_integral",
)
WITH_SIGN = ("energy_transport_integral", "energy_slope_integral")


@dataclass
class BudgetState(Generic[Values]):
    """E at the start, and the integrals by the names of their variables, without the sign s."""

    start: Values
    integrals: dict[str, Values]


class EnergyBudget(Generic[Values]):
    """Accumulates ∫∂_tE, ∫R, ∫G², the drift part, the diffusion part, and those of noisy heads.

    dE/dt = ∂_tE + s·R + ∫⟨∫∇K dΘ, u⟩ dμ + ε ∫ (∫K dΘ) Δμ dσ holds exactly, so the residual
    measures the error of the time integration. Values are numbers, or arrays of one for each path.

    Parameters
    ----------
    sign : float
        s.
    state : BudgetState
        Goes on from it, and changes it.
    """

    def __init__(self, sign: float, state: BudgetState[Values]) -> None:
        self.sign = sign
        self.now: BudgetState[Values] = state

    def add(self, increments: Mapping[str, Values]) -> None:
        """Add to the integrals of these names."""
        known = self.now.integrals
        self.now.integrals = known | {
            name: known[name] + value for name, value in increments.items()
        }

    def add_rates(self, integrals: Mapping[str, Values]) -> None:
        """Add the integrals over one step of rates, by the names in `EnergyTerms`."""
        self.add({INTEGRALS[name]: value for name, value in integrals.items()})

    def record(self, terms: EnergyTerms[Values]) -> dict[str, Values]:
        """Variables of the dataset at a time with these energy terms."""
        integrals = {
            name: self.sign * value if name in WITH_SIGN else value
            for name, value in self.now.integrals.items()
        }
        explained = sum(integrals[name] for name in TERMS if name in integrals)
        residual = terms.energy - self.now.start - explained
        transported, by_slope = (integrals[name] for name in WITH_SIGN)
        return {
            "energy": terms.energy,
            "energy_rate_heads": terms.energy_rate_heads,
            "dissipation": terms.dissipation,
            "slope_squared": terms.slope_squared,
            "metric_slope_squared": terms.metric_slope_squared,
            **integrals,
            "energy_residual": residual,
            "energy_residual_slope": residual + transported - by_slope,
        }


def integrals_of_stages(step: float, stages: Sequence[FieldSample]) -> dict[str, float]:
    """Integrals of the budget over a classical Runge–Kutta step, from its four stages."""
    weights = step / 6.0 * np.array([1.0, 2.0, 2.0, 1.0])
    return {
        name: float(weights @ np.array([getattr(stage, name) for stage in stages]))
        for name in BUDGET_RATES
    }


def scalar_budget(energy: float) -> BudgetState[float]:
    """That of a run of one density, from E at its start."""
    return BudgetState(energy, dict.fromkeys(INTEGRALS.values(), 0.0))


def budget_of_paths(energy: Real) -> BudgetState[Real]:
    """That of P paths with noisy heads, from E at their start, shape (P,)."""
    names = (*TERMS, "energy_slope_integral")
    return BudgetState(energy, {name: np.zeros_like(energy) for name in names})
