"""The velocity field in time: evaluated rarely, extrapolated by polynomials in between.

v̄ changes on the time scale of the heads and of the low moments of μ, which is longer than the
stability limit of the transport. So it is evaluated once for a macro step, extrapolated over
the step by the polynomial through the last p evaluations (as in the methods of Adams), and
the difference at the end of the step gives both a correction of μ and the error estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..attention import BUDGET_RATES, FieldSample
from ..sphere import degrees_and_orders, lmax_of, resize
from .inputs_in_time import TimeInputs, longest_step
from .interpolation import lagrange_weights

__all__ = ["Evaluation", "MacroState", "MacroSteps", "VelocityHistory"]

Real = NDArray[np.float64]

LARGEST_ORDER = 8
SHORTEST_STEP_RATIO = 1e-3
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(LARGEST_ORDER)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A sample of v̄, and the row of the array that holds its values."""

    sample: FieldSample
    row: int


@dataclass
class MacroState:
    """Order of the extrapolation, and length of the next step."""

    order: int = 1
    length: float = 1e-3


class VelocityHistory:
    """The last evaluations of v̄, with their values where the transport wants them in one array.

    Parameters
    ----------
    shape : tuple of int
        Of the values: (2, nlat, nlon) on a grid, (edges,) on a mesh.
    values : callable
        ``values(sample)``, an array of this shape.
    evaluations : list
        Goes on from these, and changes the list.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        values: Callable[[FieldSample], Real],
        evaluations: list[Evaluation],
    ) -> None:
        self._grid = np.zeros((LARGEST_ORDER, *shape))
        self._entries = evaluations
        for one in evaluations:
            self._grid[one.row] = values(one.sample)

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
        """Add an evaluation with its values, an array of this shape.

        It replaces the last one if the step between them is tiny beside the step before, as
        two close output times make it: polynomials through such a pair are ill-conditioned.
        """
        if len(self._entries) > 1:
            before, last = self._entries[-2].sample.t, self._entries[-1].sample.t
            if sample.t - last < SHORTEST_STEP_RATIO * (last - before):
                self._entries.pop()
        used = {entry.row for entry in self._entries}
        if len(self._entries) == LARGEST_ORDER:
            row = self._entries.pop(0).row
        else:
            row = next(r for r in range(LARGEST_ORDER) if r not in used)
        self._entries.append(Evaluation(sample, row))
        self._grid[row] = velocity

    def begin_with(self, sample: FieldSample, velocity: Real) -> None:
        """Forget the evaluations before this one."""
        self._entries.clear()
        self._grid[:] = 0.0
        self.append(sample, velocity)

    def times(self, order: int) -> Real:
        """Times of the last `order` evaluations."""
        return np.array([entry.sample.t for entry in self._entries[-order:]])

    def at(self, t: float, order: int, out: Real) -> Real:
        """Extrapolated values, into `out` of their shape."""
        weights = np.zeros(LARGEST_ORDER)
        entries = self._entries[-order:]
        for entry, weight in zip(entries, lagrange_weights(self.times(order), t), strict=True):
            weights[entry.row] = weight
        rows = [entry.row for entry in entries]
        low, high = min(rows), max(rows) + 1
        flat = self._grid.reshape(LARGEST_ORDER, -1)[low:high]
        np.dot(weights[low:high], flat, out=out.reshape(-1))
        return out

    def misfit(self, new: FieldSample, order: int) -> float:
        """Root mean square of v̄ − its extrapolation of this order, at the time of `new`."""
        entries = self._entries[-order:]
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

    def budget_misfit(self, new: FieldSample, order: int) -> float:
        """Largest difference of a budget rate from its extrapolation, at the time of `new`."""
        entries = self._entries[-order:]
        weights = lagrange_weights(self.times(order), new.t)
        rates = np.array([[getattr(e.sample, name) for name in BUDGET_RATES] for e in entries])
        actual = np.array([getattr(new, name) for name in BUDGET_RATES])
        return float(np.abs(actual - weights @ rates).max())

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
        entries = self._entries[-order:]
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


class MacroSteps:
    """Length of the steps between evaluations of v̄, and order of the extrapolation over them.

    Parameters
    ----------
    inputs : TimeInputs
        Whose head law a step has to interpolate.
    budget_tolerance : float
        Of the integrals of the budget over a step, relative to the energy.
    state : MacroState
        Goes on from it, and changes it.
    """

    def __init__(self, inputs: TimeInputs, budget_tolerance: float, state: MacroState) -> None:
        self.now = state
        self._inputs = inputs
        self._budget_tolerance = budget_tolerance

    def end(self, t: float, target: float) -> float:
        """End of the next step, such that equal ones hit the target."""
        remaining = target - t
        count = max(1, int(np.ceil(remaining / self.now.length * (1 - 1e-12))))
        return target if count == 1 else t + remaining / count

    def resolved_end(self, history: VelocityHistory, target: float) -> float:
        """End of the next step, through which the heads are interpolated as the velocity is."""
        t = history.latest.t
        end = self.end(t, target)
        known = history.times(self.now.order)
        resolved = longest_step(self._inputs.heads, t, end - t, self._budget_tolerance, known)
        if resolved == end - t:
            return end
        self.now.length = resolved
        return self.end(t, target)

    def reject(self, taken: float, error: float) -> None:
        """Shorten the step after an error above 1, in units of the tolerance."""
        factor = 0.8 * error ** (-1.0 / (self.now.order + 1)) if np.isfinite(error) else 0.1
        self.now.length = taken * max(0.1, factor)

    def budget_error(self, history: VelocityHistory, new: FieldSample, t: float) -> float:
        """Error of the budget over a step from t to `new`, in units of its tolerance."""
        acted = history.correction_time(t, new.t, self.now.order)
        return self._in_units(history, new, self.now.order) * abs(acted)

    def _in_units(self, history: VelocityHistory, new: FieldSample, order: int) -> float:
        scale = self._budget_tolerance * max(abs(new.energy), 1e-300)
        return history.budget_misfit(new, order) / scale

    def accept(self, history: VelocityHistory, new: FieldSample, error: float, t: float) -> None:
        """Choose the next step after one from t to `new`, which is not in the history yet.

        `error` is that of the velocity, in units of its tolerance.
        """
        taken = new.t - t
        # A step cut very short by the target says nothing about the next one.
        if taken <= 0.1 * self.now.length:
            return
        proposal = self._next_length(history, new, error, t)
        if taken > 0.5 * self.now.length or proposal < self.now.length:
            growth = 2.0 if len(history) > 3 else 5.0
            self.now.length = min(growth * taken, proposal)

    def start_anew(self) -> None:
        """After a kink of the head law, from where the history begins again."""
        self.now.order, self.now.length = 1, 0.01 * self.now.length

    def _next_length(
        self, history: VelocityHistory, new: FieldSample, error: float, t: float
    ) -> float:
        """Choose the order that allows the largest next step, from what each would have erred."""
        taken = new.t - t
        acted = history.correction_time(t, new.t, self.now.order)
        scale = error / max(history.misfit(new, self.now.order) * abs(acted), 1e-300)
        best, best_length = self.now.order, 0.0
        available = min(len(history), LARGEST_ORDER - 1)
        for order in range(max(1, self.now.order - 1), min(self.now.order + 1, available) + 1):
            time = history.correction_time(t, new.t, order)
            by_velocity = scale * history.misfit(new, order)
            expected = max(by_velocity, self._in_units(history, new, order)) * abs(time)
            length = taken * (0.3 / max(expected, 1e-12)) ** (1.0 / (order + 1))
            if length > 1.02 * best_length:
                best, best_length = order, length
        if len(history) == self.now.order and best == self.now.order:
            best = min(self.now.order + 1, LARGEST_ORDER - 1)
        self.now.order = best
        return max(0.2 * taken, best_length)
