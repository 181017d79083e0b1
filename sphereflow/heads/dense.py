"""Solutions of ordinary differential equations at any time from 0 on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..machine.interruption import listen
from ..machine.threads import in_turn

__all__ = ["LONGEST_STEP", "DenseSolution"]

Real = NDArray[np.float64]

RTOL = 1e-12
LONGEST_STEP = 1.0
LOOKS = 32  # times inside a step at which the rate is looked at
SHORTEST = 1e-10  # step below which a jump of the rate is stepped over
DEFECT = 1e-9  # of the scale of the solution: a rate that a step does not explain, times the step

# The golden ratio keeps these times off those of any regular change.
_LOOKS = np.sort((np.arange(1, LOOKS + 1) * 0.6180339887498949) % 1.0)


class DenseSolution:
    """y' = rate(t, y) from y(0), solved to a relative 1e-12 as far as it is asked for.

    A step is tried before it is taken: the derivative of its polynomial must be the rate at many
    times inside it, so that a rate that acts between two evaluations is not missed.

    Parameters
    ----------
    rate : callable
    start : ndarray, shape (k,)
    atol : float
        Absolute tolerance.
    max_step : float
        Longest step; what is shorter than a thirtieth of it may be missed.
    """

    def __init__(
        self,
        rate: Callable[[float, Real], Real],
        start: Real,
        atol: float,
        max_step: float = LONGEST_STEP,
    ) -> None:
        self._rate, self._atol, self._max_step = rate, atol, max_step
        self._length: float | None = None
        self._ends = [0.0]
        self._state = np.asarray(start, dtype=np.float64)
        self._pieces: list[Callable[[float | Real], Real]] = []

    @in_turn
    def __call__(self, t: float) -> Real:
        """y(t) for t ≥ 0.

        Raises
        ------
        InputError
            If the solution does not reach t.
        """
        while t > self._ends[-1] or not self._pieces:
            listen()
            self._step()
        index = max(0, int(np.searchsorted(self._ends, t)) - 1)
        return np.asarray(self._pieces[index](t), dtype=np.float64)

    def _step(self) -> None:
        """Take one step, the longest that its own polynomial explains."""
        from scipy.integrate import DOP853

        begin, longest = self._ends[-1], self._max_step
        if self._length is not None:
            longest = min(longest, 5.0 * self._length)
        while True:
            solver = DOP853(
                self._rate,
                begin,
                self._state,
                t_bound=begin + 2.0 * longest,
                rtol=RTOL,
                atol=self._atol,
                max_step=longest,
                first_step=None if self._length is None else longest,
            )
            message = solver.step()
            if solver.status == "failed" or not np.isfinite(solver.y).all():
                raise InputError(f"the heads cannot be followed beyond t = {begin:g}: {message}")
            length = solver.t - begin
            piece = solver.dense_output()
            if length <= SHORTEST * max(1.0, begin) or not self._misses(piece, begin, length):
                break
            longest = 0.5 * length
        self._ends.append(solver.t)
        self._pieces.append(piece)
        self._state, self._length = solver.y, length

    def _misses(self, piece: Callable[[float | Real], Real], begin: float, length: float) -> bool:
        """Whether the rate differs from the derivative of the step somewhere inside it."""
        times, width = begin + length * (0.01 + 0.98 * _LOOKS), 1e-3 * length
        states = piece(times)
        near = piece(times + 0.5 * width) - piece(times - 0.5 * width)
        derivatives = (8.0 * near - (piece(times + width) - piece(times - width))) / (6.0 * width)
        allowed = DEFECT * (self._atol / RTOL + np.abs(self._state)) / length
        # The times themselves are rounded.
        allowed = allowed + 8.0 * np.spacing(begin) / width * np.abs(derivatives).max(axis=1)
        return any(
            not np.all(np.abs(derivative - self._rate(float(time), state)) <= allowed)
            for time, state, derivative in zip(times, states.T, derivatives.T, strict=True)
        )
