"""The surface divergence of a prescribed velocity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ResolutionError
from ..problem import TransformerPDE
from ..sphere import PointTransform, SphereGrid, power_by_degree

__all__ = ["DriftDivergence"]

Real = NDArray[np.float64]

FINEST_DEGREE = 511
TOLERANCE = 1e-12  # of the last degrees of the divergence, relative to the largest


class DriftDivergence:
    """div u at points: in closed form for a matrix, by vector harmonics for a function.

    Parameters
    ----------
    problem : TransformerPDE
    """

    def __init__(self, problem: TransformerPDE) -> None:
        self.problem = problem
        self.degree = 15

    def __call__(self, points: Real, t: float) -> Real:
        """Divergence at points (n, 3), shape (n,).

        Raises
        ------
        ResolutionError
            If a function is not smooth enough for degree 511.
        """
        if not self.problem.drift_depends_on_time:
            m = self.problem.drift
            return np.trace(m) - 3.0 * np.einsum("ni,ij,nj->n", points, m, points)
        while True:
            grid = SphereGrid(self.degree)
            velocity = self.problem.prescribed_velocity(grid.points.reshape(-1, 3), t)
            vector = grid.from_cartesian(velocity.reshape(*grid.shape, 3))
            divergence = grid.divergence(vector)
            amplitude = np.sqrt(power_by_degree(divergence))
            speed = float(np.sqrt(np.mean(vector**2)))
            small = amplitude <= TOLERANCE * max(float(amplitude.max()), speed)
            if small[-3:].all():
                return PointTransform(points).synthesis(divergence)
            if self.degree >= FINEST_DEGREE:
                raise ResolutionError(
                    f"the divergence of drift is not resolved by degree {FINEST_DEGREE} at "
                    f"t = {t:g}; smooth the drift, or use FiniteVolume"
                )
            self.degree = 2 * self.degree + 1
