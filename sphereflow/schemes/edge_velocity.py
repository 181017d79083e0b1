"""The normal velocity at the edges of a mesh over one macro step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ..problem import TransformerPDE
from ..sphere import VoronoiMesh
from .inputs_in_time import SHARES, TimeInputs, longest_step
from .interpolation import lagrange_weights
from .velocity_history import VelocityHistory

__all__ = ["EdgeVelocity", "PreparedStep", "mean_normal"]

Real = NDArray[np.float64]

JUMP = 1e3  # by so much smaller an error is that of a step short enough to hold a jump
DRIFT_SHARE = 0.1  # of the tolerance, for the interpolation
PARTS = 16  # of an interpolated step, at least as many as the transport takes
SHORT = 1e-6  # length of a step that is prepared for one time only


def mean_normal(mesh: VoronoiMesh, velocity: Real) -> Real:
    """Mean over each edge of the normal component; velocities (2·edges, 3) at `edge_points`."""
    mean = velocity.reshape(-1, 2, 3).mean(axis=1)
    normal: Real = np.einsum("ei,ei->e", mean, mesh.edge_normals)
    return normal


@dataclass
class PreparedStep:
    """The drift at some times of a step, from which it is interpolated.

    values : mean normal components along the edges
    longest : step of the transport within which the drift changes little
    """

    times: Annotated[Real, "time"] | None = None
    values: Annotated[Real, "time edge"] | None = None
    longest: float = np.inf


class EdgeVelocity:
    """s·v̄ + u, of which v̄ is extrapolated by its history and u interpolated in time.

    Parameters
    ----------
    problem : TransformerPDE
    mesh : VoronoiMesh
    state : PreparedStep
        Goes on from it, and changes it.
    """

    def __init__(self, problem: TransformerPDE, mesh: VoronoiMesh, state: PreparedStep) -> None:
        self.problem = problem
        self.mesh = mesh
        self._inputs = TimeInputs(problem)
        self.now = state
        self._steady: Real | None = None
        if problem.drift is not None and not problem.drift_depends_on_time:
            self._steady = self._normal(0.0)

    def _normal(self, t: float) -> Real:
        """Mean normal component of the drift along each edge."""
        velocity = self.problem.prescribed_velocity(self.mesh.edge_points.reshape(-1, 3), t)
        return mean_normal(self.mesh, velocity)

    def prepare(self, t: float, length: float, tolerance: float) -> float:
        """Length of a step from t over which the interpolated drift moves points by less than
        the tolerance too far; at most the one asked for."""
        if self.problem.drift is None or not self.problem.drift_depends_on_time:
            return length
        asked = length
        if np.isfinite(tolerance):
            length = longest_step(self._inputs.drift, t, length, tolerance)
        while True:
            times = t + length * SHARES
            values = np.stack([self._normal(float(time)) for time in times])
            self.now.times, self.now.values = times, values
            between = float(0.5 * (times[0] + times[1]))
            exact = self._normal(between)
            difference = lagrange_weights(times, between) @ values - exact
            # The errors of steps add up: what counts is that of a unit of time, but at jumps.
            error = min(max(1.0, length), JUMP * length) * float(np.abs(difference).max())
            if error <= DRIFT_SHARE * tolerance or length < 1e-12 * max(1.0, abs(t)):
                if np.isfinite(tolerance) and (length < asked or length > PARTS * self.now.longest):
                    self.now.longest = length / PARTS
                return length
            length *= max(0.2, 0.8 * (DRIFT_SHARE * tolerance / error) ** (1 / len(SHARES)))

    def cover(self, t: float) -> None:
        """Prepare the drift at t unless a prepared step contains it."""
        times = self.now.times
        if times is None or not times[0] <= t <= times[-1]:
            self.prepare(t, SHORT, np.inf)

    def at(self, t: float, history: VelocityHistory | None, order: int, out: Real) -> Real:
        """Normal velocity at a time of the prepared step, into `out` of shape (edges,)."""
        if history is None:
            out[:] = 0.0
        else:
            history.at(t, order, out)
            if self.problem.sign < 0:
                np.negative(out, out=out)
        if self._steady is not None:
            out += self._steady
        elif self.now.times is not None and self.now.values is not None:
            out += lagrange_weights(self.now.times, t) @ self.now.values
        return out
