"""Steps of token runs without noise: fixed Runge–Kutta steps and adaptive ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ResolutionError

if TYPE_CHECKING:
    from .particle_run import ParticleRun

__all__ = ["AdaptiveSteps", "dormand_prince", "runge_kutta"]

Real = NDArray[np.float64]

# Butcher tableaux: share of the step of each later stage; weights of all stages.
TABLEAUX: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "heun": ((1.0,), (0.5, 0.5)),
    "rk4": ((0.5, 0.5, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}
FINEST_TOLERANCE = 1e-13


def runge_kutta(run: ParticleRun, new_time: float, stepper: str) -> None:
    """One step in space R³ with the velocity taken at the directions, then projected."""
    shares, weights = TABLEAUX[stepper]
    start, step = run.t, new_time - run.t
    rows = range(len(run.paths))
    slope, terms = run.slope(start, run.positions, rows)
    change, integrals = weights[0] * slope, weights[0] * terms
    for share, weight in zip(shares, weights[1:], strict=True):
        stage = run.positions + share * step * slope
        slope, terms = run.slope(start + share * step, stage, rows)
        change = change + weight * slope
        integrals = integrals + weight * terms
    if run.budget is not None:
        run.budget.add_integrals(step * integrals)
    run.moved_to(run.positions + step * change, new_time)


class AdaptiveSteps:
    """Dormand–Prince steps of order 8 of each path by itself, with its budget integrals."""

    def __init__(self, run: ParticleRun) -> None:
        self.run = run
        self._lengths: list[float | None] = [None] * len(run.paths)

    def advance(self, target: float) -> None:
        """Take all paths to `target`."""
        run = self.run
        positions = np.empty_like(run.positions)
        integrals = np.empty((4, len(run.paths)))
        for row in range(len(run.paths)):
            positions[row], integrals[:, row] = self._advance_path(row, target)
        if run.budget is not None:
            run.budget.add_integrals(integrals)
        run.moved_to(positions, target)

    def _advance_path(self, row: int, target: float) -> tuple[Real, Real]:
        run = self.run
        shape = run.positions.shape[1:]

        def rate(t: float, state: Real) -> Real:
            slope, terms = run.slope(t, state[:-4].reshape(1, *shape), range(row, row + 1))
            return np.concatenate([slope.ravel(), terms.ravel()])

        start = np.concatenate([run.positions[row].ravel(), np.zeros(4)])
        end, self._lengths[row] = dormand_prince(
            rate, run.t, start, target, run.rtol, self._lengths[row]
        )
        return end[:-4].reshape(shape), end[-4:]


def dormand_prince(
    rate: Callable[[float, Real], Real],
    t: float,
    start: Real,
    target: float,
    tolerance: float,
    length: float | None,
) -> tuple[Real, float]:
    """State at `target` by adaptive steps of order 8, and a length for the next step.

    Raises
    ------
    ResolutionError
        If the step size vanishes.
    """
    from scipy.integrate import DOP853

    tolerance = max(tolerance, FINEST_TOLERANCE)
    first = None if length is None else min(length, target - t)
    solver = DOP853(rate, t, start, target, rtol=tolerance, atol=tolerance, first_step=first)
    while solver.status == "running":
        message = solver.step()
        if solver.status == "failed":
            raise ResolutionError(
                f"the adaptive steps became too small at t = {solver.t:.6g} ({message}); check the "
                "heads and the drift there, or give a fixed dt"
            )
        # A step cut short by the target says nothing about the next one.
        if solver.t < target or length is None:
            length = float(solver.h_abs)
    assert length is not None
    return solver.y, length
