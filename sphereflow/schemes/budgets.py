"""The energy budget along a run: E and the time integrals of its rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..attention import BUDGET_RATES, FieldSample, PointSample

__all__ = ["EnergyBudget"]

Sample = FieldSample | PointSample


class EnergyBudget:
    """Accumulates ∫∂_tE, ∫R, ∫G², the drift part and the diffusion part of dE/dt.

    dE/dt = ∂_tE + s·R + ∫⟨∫∇K dΘ, u⟩ dμ + ε ∫ (∫K dΘ) Δμ dσ holds exactly, so the residual
    measures the error of the time integration.
    """

    def __init__(self, sign: float, start: Sample | None) -> None:
        self.sign = sign
        self.start = start
        self.latest = start
        self.integrals = dict.fromkeys(BUDGET_RATES, 0.0)

    def add(self, increments: Mapping[str, float], latest: Sample) -> None:
        """Add the integrals over one step that ends with the sample `latest`."""
        for name in BUDGET_RATES:
            self.integrals[name] += increments[name]
        self.latest = latest

    def add_stages(self, step: float, stages: Sequence[FieldSample], latest: FieldSample) -> None:
        """Add one classical Runge–Kutta step from the rates at its four stages."""
        weights = step / 6.0 * np.array([1.0, 2.0, 2.0, 1.0])
        self.add(
            {
                name: float(weights @ np.array([getattr(stage, name) for stage in stages]))
                for name in BUDGET_RATES
            },
            latest,
        )

    def kept(self) -> dict[str, Any]:
        """The state as plain data."""
        ends = {"start": self.start, "latest": self.latest}
        samples = {name: None if one is None else dict(vars(one)) for name, one in ends.items()}
        return {"integrals": dict(self.integrals), **samples}

    def take_over(self, kept: Mapping[str, Any], kind: type[Sample]) -> None:
        """Go on from a state that was kept, with samples of this kind."""
        self.integrals = {name: kept["integrals"][name] for name in BUDGET_RATES}
        if self.start is not None:
            self.start, self.latest = kind(**kept["start"]), kind(**kept["latest"])

    def record(self) -> dict[str, float]:
        """Variables of the dataset at the latest time."""
        assert self.start is not None and self.latest is not None
        now, integrals = self.latest, self.integrals
        transported = self.sign * integrals["dissipation"]
        explained = (
            integrals["energy_rate_heads"]
            + transported
            + integrals["drift_rate"]
            + integrals["diffusion_rate"]
        )
        by_slope = self.sign * integrals["slope_squared"]
        residual = now.energy - self.start.energy - explained
        return {
            "energy": now.energy,
            "energy_rate_heads": now.energy_rate_heads,
            "dissipation": now.dissipation,
            "slope_squared": now.slope_squared,
            "metric_slope_squared": now.metric_slope_squared,
            "energy_heads_integral": integrals["energy_rate_heads"],
            "energy_transport_integral": transported,
            "energy_slope_integral": by_slope,
            "energy_drift_integral": integrals["drift_rate"],
            "energy_diffusion_integral": integrals["diffusion_rate"],
            "energy_residual": residual,
            "energy_residual_slope": residual + transported - by_slope,
        }
