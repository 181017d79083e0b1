"""Steps of ordinary differential equations: fixed Runge–Kutta steps and adaptive ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ResolutionError
from ..machine.interruption import listen
from .inputs_in_time import SHORTEST, TimeInput, longest_step, missed_along

if TYPE_CHECKING:
    from scipy.integrate import DOP853

__all__ = ["ERROR_NORMS", "Resolved", "dormand_prince", "runge_kutta"]

Real = NDArray[np.float64]

# Butcher tableaux: share of the step of each later stage; weights of all stages.
TABLEAUX: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "heun": ((1.0,), (0.5, 0.5)),
    "rk4": ((0.5, 0.5, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}
FINEST_TOLERANCE = 1e-13
MOST_STEPS_LEFT = 1e13  # to the next output: more are hopeless, fewer may follow on a jump
ERROR_NORMS = ("largest", "mean")


def runge_kutta(
    rates: Callable[[float, Real], tuple[Real, Real]],
    shares_of: Callable[[float], float],
    start: Real,
    step: float,
    stepper: str,
) -> tuple[Real, Real]:
    """State after one step, and the integrals over it.

    Parameters
    ----------
    rates : callable
        ``rates(t, state)``: rates of the state and of the integrals.
    shares_of : callable
        ``shares_of(s)``: the time at which the rates after a share s of the step are taken.
    start : ndarray
    step : float
    stepper : {"heun", "rk4"}
    """
    shares, weights = TABLEAUX[stepper]
    slope, terms = rates(shares_of(0.0), start)
    change, integrals = weights[0] * slope, weights[0] * terms
    for share, weight in zip(shares, weights[1:], strict=True):
        slope, terms = rates(shares_of(share), start + share * step * slope)
        change = change + weight * slope
        integrals = integrals + weight * terms
    return start + step * change, step * integrals


class Resolved(NamedTuple):
    """Functions of time, see `longest_step`, at a state; the tolerance to which a step has them.

    A drift that is a function is given of a state as well, along whose path it is looked at.
    """

    at: Callable[[Real], list[TimeInput]]
    tolerance: float
    drift: Callable[[float, Real], Real] | None = None

    def missed(self, solver: DOP853) -> bool:
        """Whether the last step of a solver saw too little of the drift on its way."""
        start, end = float(solver.t_old), float(solver.t)
        if self.drift is None or end - start <= SHORTEST * max(1.0, abs(start)):
            return False
        return missed_along(self.drift, solver.dense_output(), start, end, self.tolerance)


def dormand_prince(
    rate: Callable[[float, Real], Real],
    t: float,
    start: Real,
    target: float,
    tolerance: Callable[[Real], Real],
    length: float | None,
    parts: Callable[[Real], Real] | None,
    inputs: Resolved,
) -> tuple[Real, float]:
    """State at `target` by adaptive steps of order 8, and a length for the next step.

    Parameters
    ----------
    rate : callable
        ``rate(t, state)``.
    t, start, target : float, ndarray, float
    tolerance : callable
        ``tolerance(state)`` of the step that starts from a state, relative and absolute, for each
        of its entries.
    length : float or None
        Of the first step.
    parts : callable or None
        Means of squares (m,) over the parts of a state, the worst of which counts; None is the
        mean over all.
    inputs : Resolved
        Functions of time that every step has to resolve, and to what.

    Raises
    ------
    ResolutionError
        If the step size vanishes.
    """
    first = None if length is None else min(length, target - t)
    bound = np.maximum(tolerance(start), FINEST_TOLERANCE)

    def heard(t: float, state: Real) -> Real:
        listen(t)
        return rate(t, state)

    begin = partial(_solver(parts), heard, t_bound=target, rtol=bound, atol=bound)
    solver = begin(t, start, first_step=first)
    while solver.status == "running":
        solver.rtol = solver.atol = np.maximum(tolerance(solver.y), FINEST_TOLERANCE)
        proposed = min(solver.h_abs, target - solver.t)
        if target - solver.t > MOST_STEPS_LEFT * proposed:
            raise ResolutionError(
                f"at t = {solver.t:.6g} adaptive steps of {proposed:.1e} leave more than "
                f"{MOST_STEPS_LEFT:.0e} to the next output; check the heads and the drift there, "
                "raise rtol, or shorten the run"
            )
        solver.h_abs = longest_step(inputs.at(solver.y), solver.t, proposed, inputs.tolerance)
        message = solver.step()
        if solver.status == "failed":
            raise ResolutionError(
                f"the adaptive steps became too small at t = {solver.t:.6g} ({message}); check the "
                "heads and the drift there, or give a fixed dt"
            )
        if inputs.missed(solver):
            solver = begin(solver.t_old, solver.y_old, first_step=0.5 * (solver.t - solver.t_old))
            continue
        # A step cut short by the target says nothing about the next one.
        if solver.t < target or length is None:
            length = float(solver.h_abs)
    assert length is not None
    return solver.y, length


def _solver(parts: Callable[[Real], Real] | None) -> Callable[..., DOP853]:
    """The solver of SciPy, with the error of the worst part in place of the mean error."""
    from scipy.integrate import DOP853

    if parts is None:
        plain: Callable[..., DOP853] = DOP853
        return plain
    means = parts

    class Worst(DOP853):  # type: ignore[misc]  # SciPy has no types
        def _estimate_error_norm(self, K: Real, h: float, scale: Real) -> float:
            fifth = means((K.T @ self.E5 / scale) ** 2)
            third = means((K.T @ self.E3 / scale) ** 2)
            errors = fifth / np.sqrt(np.maximum(fifth + 0.01 * third, 1e-300))
            return float(abs(h) * errors.max())

    return Worst
