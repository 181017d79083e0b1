"""The surface divergence of a prescribed velocity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..checks import held
from ..errors import ResolutionError
from ..problem import TransformerPDE
from ..sphere import PointTransform, SphereGrid, power_by_degree

__all__ = ["DivergenceState", "DriftDivergence"]

Real = NDArray[np.float64]

FINEST_DEGREE = 511
TOLERANCE = 1e-12  # of the last degrees of the divergence, relative to the largest


@dataclass
class DivergenceState:
    """The degree of the last divergence."""

    degree: int = 15


class DriftDivergence:
    """div u at points: in closed form for a matrix, by vector harmonics for a function.

    Parameters
    ----------
    problem : TransformerPDE
    state : DivergenceState, optional
        Goes on from it, and changes it.
    """

    def __init__(self, problem: TransformerPDE, state: DivergenceState | None = None) -> None:
        self.problem = problem
        self.now = state or DivergenceState()

    def __call__(self, points: Real, t: float) -> Real:
        """Divergence at points (n, 3), shape (n,).

        Raises
        ------
        ResolutionError
            If a function is not smooth enough for degree 511.
        """
        if not self.problem.drift_depends_on_time:
            m = held(self.problem.drift)
            along: Real = np.einsum("ni,ij,nj->n", points, m, points)
            return float(np.trace(m)) - 3.0 * along
        while True:
            grid = SphereGrid(self.now.degree)
            velocity = self.problem.prescribed_velocity(grid.points.reshape(-1, 3), t)
            vector = grid.from_cartesian(velocity.reshape(*grid.shape, 3))
            divergence = grid.divergence(vector)
            amplitude = np.sqrt(power_by_degree(divergence))
            speed = float(np.sqrt(np.mean(vector**2)))
            small = amplitude <= TOLERANCE * max(float(amplitude.max()), speed)
            if small[-3:].all():
                return PointTransform(points).synthesis(divergence)
            if self.now.degree >= FINEST_DEGREE:
                raise ResolutionError(
                    f"the divergence of drift is not resolved by degree {FINEST_DEGREE} at "
                    f"t = {t:g}; smooth the drift, or use FiniteVolume"
                )
            self.now.degree = 2 * self.now.degree + 1
