"""Heads and drifts as functions of time, looked at between the times that a step evaluates.

A step that sees a function of time at a few instants is blind to what happens in between. The
functions are cheap beside the attention field, so a step is tried on them before it is taken: a
polynomial through the times that it evaluates must give what they are at many others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..machine.interruption import listen
from ..problem import TransformerPDE
from ..sphere import spread_points
from .interpolation import lagrange_matrix

__all__ = [
    "SHARES",
    "SHORTEST",
    "TimeInput",
    "TimeInputs",
    "longest_step",
    "missed_along",
    "thinned",
]

Real = NDArray[np.float64]

NODES = 8  # of the polynomial over a step, at Chebyshev–Lobatto times
PROBES = 64  # points all over the sphere at which a drift is looked at
MOST_POINTS = 1024  # that move, at which it is looked at besides
LOOKS = 24  # times within a step at which a function is looked at that does not name them
MOST_SCANNED = 400  # times of a run at which is looked whether a function changes at all
MOST_LOOKS = 4000  # within one step at a table
SHORTEST = 1e-10  # of the time that has passed; steps are not halved below it
SAME_TIME = 1e-9  # of a step: nearer times are the same
SHARES = 0.5 - 0.5 * np.cos(np.pi * np.arange(NODES) / (NODES - 1))
# The golden ratio keeps these times off those of any regular change.
_LOOKS = np.sort((np.arange(1, LOOKS + 1) * 0.6180339887498949) % 1.0)
_ROWS = lagrange_matrix(SHARES, _LOOKS)
_POINTS = spread_points(PROBES)


class TimeInput(NamedTuple):
    """A function of time as a vector, and the times within a step at which it may change."""

    value: Callable[[float], Real]
    times_between: Callable[[float, float], Real | None] = lambda start, stop: None


class TimeInputs:
    """What a problem is given as functions of time: the head law and the drift.

    Parameters
    ----------
    problem : TransformerPDE
    """

    def __init__(self, problem: TransformerPDE) -> None:
        self._problem = problem

    @cached_property
    def _places(self) -> Real:
        """Points all over the sphere, and some where the density is at the start."""
        density = self._problem.density
        if not density.is_quick_to_sample:
            return _POINTS
        return np.concatenate([_POINTS, density.sample(PROBES, seed=0)])

    @property
    def heads(self) -> list[TimeInput]:
        """The head law, unless it is linear between its breakpoints."""
        law = self._problem.heads
        if law is None or law.linear_between_breakpoints:
            return []
        return [TimeInput(law.driven_by, law.times_between)]

    @property
    def drift(self) -> list[TimeInput]:
        """The drift, unless it is a matrix."""
        return self._drift_at(self._places) if self._problem.drift_depends_on_time else []

    def all_at(self, points: Real) -> list[TimeInput]:
        """Both of them, the drift at the points that move, (n, 3), thinned if they are many."""
        if not self._problem.drift_depends_on_time:
            return self.heads
        return [*self.heads, *self._drift_at(np.concatenate([_POINTS, thinned(points)]))]

    @property
    def all(self) -> list[TimeInput]:
        """Both of them."""
        return [*self.heads, *self.drift]

    def change(self, start: float, stop: float) -> bool:
        """Whether one of them is seen to change between two times."""
        times = np.linspace(start, stop, MOST_SCANNED)
        for one in self.all:
            if one.times_between(start, stop) is not None:
                return True
            first = one.value(float(start))
            if any(not np.array_equal(one.value(float(t)), first) for t in times[1:]):
                return True
        return False

    def row_within(self, t: float, step: float) -> float:
        """The next row of a table of heads inside a step from t; infinity if there is none."""
        law = self._problem.heads
        if law is None:
            return np.inf
        inside = law.times_between(t + SAME_TIME * step, t + (1.0 - SAME_TIME) * step)
        return float(inside[0]) if inside is not None and inside.size else np.inf

    def _drift_at(self, points: Real) -> list[TimeInput]:
        return [TimeInput(lambda t: self._problem.prescribed_velocity(points, t).ravel())]


def longest_step(
    inputs: list[TimeInput], t: float, length: float, tolerance: float, known: Real | None = None
) -> float:
    """The longest of length, length/2, … over which all inputs are polynomials in time.

    The error of the polynomial times the length is below the tolerance.

    Parameters
    ----------
    inputs : list
        Of a `TimeInputs`.
    t, length : float
        Start of the step, and what is asked for.
    tolerance : float
    known : ndarray, optional
        The polynomial goes through these times, of which the last is t, and the end of the step;
        through eight times of the step if left out.
    """
    for one in inputs:
        value = one.value
        before = None if known is None else np.stack([value(float(time)) for time in known])

        def misses(step: float, of: TimeInput = one, before: Real | None = before) -> bool:
            listen(t)
            if before is None or known is None:
                nodes = t + step * SHARES
                values = np.stack([of.value(float(time)) for time in nodes])
            else:
                nodes = np.append(known, t + step)
                values = np.concatenate([before, of.value(t + step)[None]])
            looks = _looks(of, t, t + step)
            seen = np.stack([of.value(float(time)) for time in looks])
            standard = before is None and of.times_between(t, t + step) is None
            rows = _ROWS if standard else lagrange_matrix(nodes, looks)
            return not np.abs(seen - rows @ values).max() * step <= tolerance

        while length > SHORTEST * max(1.0, abs(t)) and misses(length):
            length *= 0.5
    return length


def thinned(points: Real) -> Real:
    """At most `MOST_POINTS` of points (n, 3)."""
    return points[:: max(1, -(-len(points) // MOST_POINTS))]


def missed_along(
    drift: Callable[[float, Real], Real],
    path: Callable[[float], Real],
    t: float,
    end: float,
    tolerance: float,
) -> bool:
    """Whether a step saw too little of a drift on the way of its tokens.

    The drift along the path is compared with its polynomial through eight times of the step.
    """

    def along(times: Real) -> Real:
        return np.stack([drift(float(time), path(float(time))).ravel() for time in times])

    step = end - t
    # A drift may jump at the end of the step.
    guessed = _ROWS @ along(np.minimum(t + step * SHARES, np.nextafter(end, -np.inf)))
    return not np.abs(along(t + step * _LOOKS) - guessed).max() * step <= tolerance


def _looks(one: TimeInput, start: float, stop: float) -> Real:
    """Times within a step at which its polynomial is compared."""
    between = one.times_between(start, stop)
    if between is None:
        return start + (stop - start) * _LOOKS
    edges = np.concatenate([[start], between, [stop]])
    middles = 0.5 * (edges[1:] + edges[:-1])
    times = np.concatenate([edges[1:-1], middles])
    return times[:: max(1, -(-len(times) // MOST_LOOKS))]
