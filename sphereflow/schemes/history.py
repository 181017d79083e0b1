"""The velocity field in time: evaluated rarely, extrapolated by polynomials in between.

v̄ changes on the time scale of the heads and of the low moments of μ, which is longer than the
stability limit of the transport. So it is evaluated once for a macro step, extrapolated over
the step by the polynomial through the last p evaluations (as in the methods of Adams), and
the difference at the end of the step gives both a correction of μ and the error estimate.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..attention import BUDGET_RATES, FieldSample
from ..sphere import degrees_and_orders, lmax_of, resize

__all__ = ["LARGEST_ORDER", "VelocityHistory", "lagrange_weights"]

Real = NDArray[np.float64]

LARGEST_ORDER = 8
SHORTEST_STEP_RATIO = 1e-3
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(LARGEST_ORDER)


def lagrange_weights(times: Real, t: float) -> Real:
    """Weights of the values at `times` in their interpolating polynomial at t."""
    difference = t - times
    weights = np.empty(len(times))
    for j in range(len(times)):
        others = np.delete(times, j)
        weights[j] = np.prod(np.delete(difference, j) / (times[j] - others))
    return weights


@dataclass
class _Entry:
    sample: FieldSample
    row: int


class VelocityHistory:
    """The last evaluations of v̄, on the transport grid in one array.

    Parameters
    ----------
    shape : tuple of int
        Of the transport grid.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._grid = np.empty((LARGEST_ORDER, 2, *shape))
        self._entries: deque[_Entry] = deque(maxlen=LARGEST_ORDER)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def samples(self) -> list[FieldSample]:
        """From the oldest to the newest."""
        return [entry.sample for entry in self._entries]

    @property
    def latest(self) -> FieldSample:
        return self._entries[-1].sample

    def append(self, sample: FieldSample, velocity: Real) -> None:
        """Add an evaluation with its values (2, nlat, nlon) on the transport grid.

        It replaces the last one if the step between them is tiny beside the step before, as
        two close output times make it: polynomials through such a pair are ill-conditioned.
        """
        if len(self._entries) > 1:
            before, last = self._entries[-2].sample.t, self._entries[-1].sample.t
            if sample.t - last < SHORTEST_STEP_RATIO * (last - before):
                self._entries.pop()
        used = {entry.row for entry in self._entries}
        if len(self._entries) == LARGEST_ORDER:
            row = self._entries[0].row
        else:
            row = next(r for r in range(LARGEST_ORDER) if r not in used)
        self._entries.append(_Entry(sample, row))
        self._grid[row] = velocity

    def times(self, order: int) -> Real:
        """Times of the last `order` evaluations."""
        return np.array([entry.sample.t for entry in list(self._entries)[-order:]])

    def at(self, t: float, order: int, out: Real) -> Real:
        """Extrapolated velocity on the grid, into `out` of shape (2, nlat, nlon)."""
        weights = np.zeros(LARGEST_ORDER)
        entries = list(self._entries)[-order:]
        for entry, weight in zip(entries, lagrange_weights(self.times(order), t), strict=True):
            weights[entry.row] = weight
        rows = [entry.row for entry in entries]
        low, high = min(rows), max(rows) + 1
        flat = self._grid.reshape(LARGEST_ORDER, -1)[low:high]
        np.dot(weights[low:high], flat, out=out.reshape(-1))
        return out

    def misfit(self, new: FieldSample, order: int) -> float:
        """Root mean square of v̄ − its extrapolation of this order, at the time of `new`."""
        entries = list(self._entries)[-order:]
        weights = lagrange_weights(self.times(order), new.t)
        degree = max(lmax_of(s.spheroidal) for s in [new, *(e.sample for e in entries)])
        total = 0.0
        degrees, orders = degrees_and_orders(degree)
        metric = degrees * (degrees + 1.0) * np.where(orders == 0, 1.0, 2.0)
        for name in ("spheroidal", "toroidal"):
            rest = resize(getattr(new, name), degree)
            for weight, entry in zip(weights, entries, strict=True):
                rest = rest - weight * resize(getattr(entry.sample, name), degree)
            total += float(metric @ (rest.real**2 + rest.imag**2))
        return float(np.sqrt(total / (4 * np.pi)))

    def correction_time(self, t: float, target: float, order: int) -> float:
        """∫ ω(τ)/ω(target) dτ over the step, ω = Π (τ − t_j): how long the misfit acted."""
        times = self.times(order)
        middle, half = 0.5 * (t + target), 0.5 * (target - t)
        nodes = middle + half * _NODES
        ratios = np.prod((nodes[:, None] - times) / (target - times), axis=1)
        return float(half * (_WEIGHTS @ ratios))

    def budget_increments(self, t: float, new: FieldSample, order: int) -> dict[str, float]:
        """∫ over the step of each budget rate, by the polynomial that includes the new value."""
        target = new.t
        entries = list(self._entries)[-order:]
        times = np.append(self.times(order), target)
        middle, half = 0.5 * (t + target), 0.5 * (target - t)
        weights = np.zeros(len(times))
        for node, weight in zip(_NODES, _WEIGHTS, strict=True):
            weights += half * weight * lagrange_weights(times, middle + half * node)
        samples = [*(entry.sample for entry in entries), new]
        return {
            name: float(weights @ np.array([getattr(s, name) for s in samples]))
            for name in BUDGET_RATES
        }
