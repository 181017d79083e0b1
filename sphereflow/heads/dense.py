"""Solutions of smooth ordinary differential equations at any time from 0 on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..threads import in_turn

__all__ = ["DenseSolution"]

Real = NDArray[np.float64]


class DenseSolution:
    """y' = rate(t, y) from y(0), solved to a relative 1e-12 as far as it is asked for.

    Parameters
    ----------
    rate : callable
    start : ndarray, shape (k,)
    atol : float
        Absolute tolerance.
    """

    def __init__(self, rate: Callable[[float, Real], Real], start: Real, atol: float) -> None:
        self._rate, self._start, self._atol = rate, start, atol
        self._end = 0.0
        self._pieces: list[tuple[float, Any]] = []

    @in_turn
    def __call__(self, t: float) -> Real:
        """y(t) for t ≥ 0.

        Raises
        ------
        InputError
            If the solution does not reach t.
        """
        from scipy.integrate import solve_ivp

        while t > self._end or not self._pieces:
            state = self._pieces[-1][1](self._end) if self._pieces else self._start
            end = max(1.0, 2.0 * self._end)
            piece = solve_ivp(
                self._rate,
                (self._end, end),
                state,
                method="DOP853",
                rtol=1e-12,
                atol=self._atol,
                dense_output=True,
            )
            if not piece.success:
                raise InputError(
                    f"the heads cannot be followed beyond t = {self._end:g}: {piece.message}"
                )
            self._pieces.append((end, piece.sol))
            self._end = end
        return next(solution for end, solution in self._pieces if t <= end)(t)
