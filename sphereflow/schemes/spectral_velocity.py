"""The velocity on the grid of a spectral transport: v̄ from its history, and the drift."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..attention import FieldSample
from ..problem import TransformerPDE
from .spectral_transport import Transport
from .velocity_history import Evaluation, VelocityHistory

__all__ = ["GridVelocity"]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

MOST_DRIFTS = 4  # times at which the drift is kept
MOST_VELOCITIES = 3  # times of a step at which the velocity is kept


class GridVelocity:
    """s·v̄ + u as (southward, eastward) components, shape (2, nlat, nlon).

    Parameters
    ----------
    problem : TransformerPDE
    transport : Transport
    evaluations : list
        Of a `VelocityHistory`, which changes the list.
    """

    def __init__(
        self, problem: TransformerPDE, transport: Transport, evaluations: list[Evaluation]
    ) -> None:
        self.problem = problem
        self.transport = transport
        grid = transport.grid
        self._points = grid.points.reshape(-1, 3)
        self._buffer = np.empty((2, *grid.shape))
        self._drift_at: dict[float, Real] = {}
        self._velocity_at: dict[float, Real] = {}
        self.history = VelocityHistory(self._buffer.shape, self.of_field, evaluations)

    def still(self) -> Real:
        """A velocity of 0."""
        return np.zeros_like(self._buffer)

    def of_field(self, sample: FieldSample) -> Real:
        """v̄ of a sample, in an array that the next call uses again."""
        return self.transport.velocity(sample.spheroidal, sample.toroidal, self._buffer)

    def extrapolated(self, t: float, order: int) -> Real:
        """v̄ at a time from its history."""
        return self.history.at(t, order, np.empty_like(self._buffer))

    def gradient(self, coefficients: Complex) -> Real:
        """Surface gradient of a series."""
        none = np.zeros_like(coefficients)
        return self.transport.velocity(coefficients, none, np.empty_like(self._buffer))

    def drift(self, t: float) -> Real:
        """The prescribed velocity."""
        key = t if self.problem.drift_depends_on_time else 0.0
        if key not in self._drift_at:
            if len(self._drift_at) >= MOST_DRIFTS:
                self._drift_at.pop(next(iter(self._drift_at)))
            values = self.problem.prescribed_velocity(self._points, t)
            grid = self.transport.grid
            theta, phi = grid.southward_eastward(values.reshape(*grid.shape, 3))
            self._drift_at[key] = np.stack([theta, phi])
        return self._drift_at[key]

    def power_of_drift(self, t: float, mu: Complex, interaction: Complex) -> float:
        """∫⟨∫∇K dΘ, u⟩ dμ on this grid, which resolves μ u."""
        grid = self.transport.grid
        along = np.sum(self.gradient(interaction) * self.drift(t), axis=0)
        return float(grid.integrate(grid.synthesis(mu) * along))

    def at(self, t: float, order: int) -> Real:
        """Velocity at a time of the step, kept for the few times of it."""
        if not len(self.history):
            return self.still() if self.problem.drift is None else self.drift(t)
        if t not in self._velocity_at:
            recycled = np.empty_like(self._buffer)
            if len(self._velocity_at) >= MOST_VELOCITIES:
                recycled = self._velocity_at.pop(next(iter(self._velocity_at)))
            self.history.at(t, order, recycled)
            if self.problem.sign < 0:
                np.negative(recycled, out=recycled)
            if self.problem.drift is not None:
                recycled += self.drift(t)
            self._velocity_at[t] = recycled
        return self._velocity_at[t]

    def forget(self) -> None:
        """Drop the velocities of the step before."""
        self._velocity_at.clear()
