"""Fokker–Planck equations of head parameters on tensor grids: steps in time, and cells in space.

The generator L of the masses is that of `generators`. In time e^{hL} is taken with L frozen over a
step where it does not change, and by the commutator-free fourth-order product of two exponentials
at the Gauss nodes where it does. f and g are looked at between these too, so that what they do in
between makes a step shorter.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ..errors import ResolutionError
from ..machine.interruption import listen
from ..machine.plain_state import from_plain, to_plain
from ..machine.threads import in_turn
from .exponential import exponential_action
from .generators import Generator, Generators, Grid
from .processes import HeadProcess, separable
from .regrid import cells_per_width, halved, joined, occupied

__all__ = ["Grid", "GridSolver"]

Real = NDArray[np.float64]

GAUSS_TIMES = 0.5 + np.array([-1.0, 1.0]) * np.sqrt(3.0) / 6.0
LEAD, LAG = 0.25 + np.sqrt(3.0) / 6.0, 0.25 - np.sqrt(3.0) / 6.0
BOUNDARY_DENSITY = 1e-12  # relative to the largest: above it the box is too small
MOST_CELLS = 4_000_000
LARGEST_STEP = 0.5
LARGEST_DRIFT = 15.0  # of f²τ/G in a step τ: the approximation fails beyond about 25
NEGATIVE = -1e-12  # relative to the maximum: below it a step is repeated with half the length
SMALLEST_STEP = 1e-8
TRUSTED_STEPS = 3  # with a generator that did not change, before it is compared less often
LOOKS, LOOK_WEIGHTS = np.polynomial.legendre.leggauss(24)
LOOKS, LOOK_WEIGHTS = 0.5 * (LOOKS + 1.0), 0.5 * LOOK_WEIGHTS
EDGE = float(LOOKS[0])  # of a step, before the first and after the last look
LOOKED_AT = 24  # cells, of those with equal shares of the mass and of those in equal distances
SEEN = np.concatenate([0.5 * GAUSS_TIMES, 0.5 + 0.5 * GAUSS_TIMES])  # by two half steps
FAR_TOO_NARROW = 1e-3  # density at a wall, relative to the largest, of a step that is too long
WIDENS = 3.0  # of the variance: what the noise of a step may add where the cells follow
NARROWED, WIDENED = 0.6, 2.0  # of the wanted cells per width: where cells are halved, and joined
INTERPOLABLE = 2.5  # cells per width below which values between the cells are not known
MANY_CELLS = 4  # times those at the start: beyond, cells are joined; in a fixed box halved once


@dataclass(frozen=True, eq=False)
class _Solution:
    """Where a solver stands; the generators are assembled again."""

    t: float
    grid: Grid
    masses: Annotated[Real, "..."]
    boundary: float
    step: float
    constant_steps: int


class GridSolver:
    """Θ_t of one process on a grid, from masses at t = 0.

    Parameters
    ----------
    process : HeadProcess
        Of dimension 1, 2 or 3.
    grid : Grid
    masses : ndarray of the shape of the grid
    grows : bool
        Whether the box may grow by itself.
    tolerance : float
        Of the time integration where f or g depend on time.
    cells_wanted : float, optional
        Cells per width of the law that the grid is to keep; the cells stay as they are if left
        out.
    max_step : float
        Longest step in time.
    """

    def __init__(
        self,
        process: HeadProcess,
        grid: Grid,
        masses: Real,
        grows: bool,
        tolerance: float,
        cells_wanted: float | None = None,
        max_step: float = LARGEST_STEP,
    ) -> None:
        self.process = process
        self.grid = grid
        self.grows = grows
        self.tolerance = tolerance
        self.cells_wanted = cells_wanted
        self.max_step = min(max_step, LARGEST_STEP)
        self._many_cells = min(MANY_CELLS * masses.size, MOST_CELLS)
        self.t = 0.0
        self.masses = masses
        self.boundary = 0.0  # largest density at a wall so far over the maximum; fixed boxes only
        self._near_boundary(masses)
        self._step = 0.1
        self._constant_steps = 0
        self._by_axis = len(grid.shape) == 1 or separable(process)
        self._kept: dict[float, Generator] = {}

    def copy(self) -> GridSolver:
        """A solver at the same time that may be advanced by itself."""
        new = copy(self)
        new._kept = dict(self._kept)
        return new

    def kept(self) -> dict[str, object]:
        """The state as plain data."""
        state = self.t, self.grid, self.masses, self.boundary, self._step, self._constant_steps
        return to_plain(_Solution(*state))

    def resumed(self, kept: object) -> GridSolver:
        """A solver of the same law with the state that another one was kept with."""
        new = self.copy()
        new._kept = {}
        solution = from_plain(_Solution, kept)
        new.t, new.grid, new.masses = solution.t, solution.grid, solution.masses
        new.boundary = solution.boundary
        new._step, new._constant_steps = solution.step, solution.constant_steps
        return new

    # The generator

    @property
    def _generators(self) -> Generators:
        return Generators(self.process, self.grid, self._by_axis)

    @in_turn
    def generator(self, t: float) -> Generator:
        """L at time t: a list of bands for each axis where they act apart, else sparse."""
        t = 0.0 if self.process.autonomous else t
        if t not in self._kept:
            if len(self._kept) > 5:
                self._kept.pop(next(iter(self._kept)))
            self._kept[t] = self._generators.at(t)
        return self._kept[t]

    def mass_rates(self) -> Real:
        """d/dt of the masses at the current time, of the shape of the grid."""
        generator = self.generator(self.t)
        if not isinstance(generator, list):
            return (generator @ self.masses.ravel()).reshape(self.grid.shape)
        total = np.zeros(self.grid.shape)
        for axis, bands in enumerate(generator):
            v = np.moveaxis(self.masses, axis, -1)
            rates = bands[1] * v
            rates[..., :-1] += bands[0, 1:] * v[..., 1:]
            rates[..., 1:] += bands[2, :-1] * v[..., :-1]
            total += np.moveaxis(rates, -1, axis)
        return total

    # Time

    def advance(self, target: float) -> None:
        """Take Θ to a later time."""
        while self.t < target:
            listen()
            step = min(target - self.t, self._step, self._longest_step())
            if target - self.t - step < 1e-9 * step:
                step = target - self.t
            shortest = step <= SMALLEST_STEP
            unseen = self._unseen(step)
            if unseen is not None and unseen > self.tolerance and not shortest:
                self._step = step * max(0.2, 0.9 * (self.tolerance / unseen) ** 0.2)
                continue
            new, error = self._trial(step, unseen is None)
            if not new.min() >= 0.0 and not shortest:
                self._step = 0.5 * step
                continue
            if not np.isfinite(new).all():
                raise ResolutionError(
                    f"the law of the heads is not finite after t = {self.t:g}; give a domain, or "
                    "use .sample(count)"
                )
            if error > self.tolerance and not shortest:
                self._step = step * max(0.2, 0.9 * (self.tolerance / error) ** 0.2)
                continue
            sides = self._near_boundary(new)
            if self.grows and sides.any():
                if self.cells_wanted is not None and sides.max() > FAR_TOO_NARROW and not shortest:
                    self._step = 0.5 * step
                self._grow(np.sign(sides))
                continue
            reached = self.t + step
            self.t = target if abs(target - reached) < 1e-12 * max(1.0, target) else reached
            self.masses = new
            error = max(error, unseen or 0.0)
            growth = 4.0 if error == 0 else min(4.0, 0.9 * (self.tolerance / error) ** 0.2)
            if step >= 0.99 * self._step or growth < 1.0:
                self._step = step * growth
            if self.cells_wanted is not None:
                self._follow(self.cells_wanted)

    def _unseen(self, step: float) -> float | None:
        """Effect of what f and g do in a step beside what its stages see of it.

        It is relative to the width of the law; None if they are constant over the step at all
        the times and cells looked at.
        """
        if self.process.autonomous:
            return None
        shape = self.grid.shape
        share = np.cumsum(self.masses.ravel())
        levels = (np.arange(LOOKED_AT) + 0.5) / LOOKED_AT
        by_mass = np.searchsorted(share, levels * share[-1])
        by_place = (levels * share.size).astype(int)
        index = np.unravel_index(np.minimum(np.append(by_mass, by_place), share.size - 1), shape)
        points = np.stack([axis[k] for axis, k in zip(self.grid.axes, index, strict=True)], axis=1)
        if self._by_axis and len(shape) > 1:
            self._check_separation(points)

        def look(share: float) -> tuple[Real, Real]:
            t = self.t + share * step
            return self.process.drift_at(points, t), self._generators.half_covariance(points, t)

        first, last = look(0.0), look(1.0)
        looks = [look(share) for share in LOOKS]
        if all(
            np.array_equal(a, b) for one in (*looks, last) for a, b in zip(first, one, strict=True)
        ):
            return None
        seen = [look(share) for share in SEEN]
        width = np.sqrt(np.maximum(self._variances(), self.grid.widths**2))
        effects = []
        for part, scale in ((0, width), (1, np.multiply.outer(width, width))):
            values = np.stack([one[part] for one in looks])
            whole = np.tensordot(LOOK_WEIGHTS, values, axes=1)
            difference = np.abs(whole - np.mean([one[part] for one in seen], axis=0))
            for end, inner, then in ((first, 0, 1), (last, -1, -2)):
                # A jump between an end of the step and the look that is nearest to it.
                slope = EDGE / abs(LOOKS[then] - LOOKS[inner])
                line = values[inner] + slope * (values[inner] - values[then])
                difference = difference + EDGE * np.abs(end[part] - line)
            effects.append(float((difference / scale)[:LOOKED_AT].max()))
        return step * max(effects)

    @property
    def upwind(self) -> bool:
        """Whether the drift across a cell outweighs the noise where the law is."""
        generator = self.generator(self.t)
        if not isinstance(generator, list):
            points = self.grid.points[self.masses.ravel() > 1e-3 * self.masses.max()]
            drift = np.abs(self.process.drift_at(points, self.t)) * self.grid.widths
            noise = np.einsum("naa->na", self._generators.half_covariance(points, self.t))
            return bool((drift > 2.0 * noise).any())
        for axis, bands in enumerate(generator):
            others = tuple(k for k in range(self.masses.ndim) if k != axis)
            marginal = self.masses.sum(axis=others)
            heavy = marginal[:-1] > 1e-3 * marginal.max()
            ahead, back = bands[2, :-1][heavy], bands[0, 1:][heavy]
            if (np.abs(ahead - back) > np.tanh(1.0) * (ahead + back)).any():
                return True
        return False

    def _variances(self) -> Real:
        """Variance of the law along each axis, shape (d,)."""
        found = []
        for axis, centres in enumerate(self.grid.axes):
            others = tuple(k for k in range(self.masses.ndim) if k != axis)
            along = self.masses.sum(axis=others)
            mean = along @ centres
            found.append(along @ (centres - mean) ** 2)
        return np.array(found)

    def _check_separation(self, points: Real) -> None:
        """The parameters must still act apart, each as on the first line of cells."""
        corner = np.array([axis[0] for axis in self.grid.axes])
        drift, half = (
            self.process.drift_at(points, self.t),
            self._generators.half_covariance(points, self.t),
        )
        for axis in range(len(corner)):
            alone = np.tile(corner, (len(points), 1))
            alone[:, axis] = points[:, axis]
            same = np.allclose(
                self.process.drift_at(alone, self.t)[:, axis], drift[:, axis], 1e-10, 1e-10
            ) and np.allclose(
                self._generators.half_covariance(alone, self.t)[:, axis], half[:, axis], 1e-10
            )
            if not same:
                raise ResolutionError(
                    f"the parameters of the heads act on each other at t = {self.t:g} but did not "
                    "where this was tried before; use process.sample(count)"
                )

    def _follow(self, wanted: float) -> None:
        """Halve or join cells, and drop empty ones, as the law narrows, widens or moves."""
        for axis in range(self.masses.ndim):
            found = cells_per_width(self.masses, axis)
            if self.grows:
                inside = occupied(self.masses, axis)
                if inside.stop - inside.start < 0.6 * self.grid.shape[axis]:
                    self._take(axis, inside)
            if INTERPOLABLE < found < NARROWED * wanted:
                if self.masses.size <= self._many_cells // (2 if self.grows else MANY_CELLS):
                    first = 2 * self.grid.offset[axis]
                    self._replace(axis, halved(self.masses, axis), 0.5, first)
            elif found > WIDENED * wanted and self.grows and self.masses.size > self._many_cells:
                masses, first = joined(self.masses, axis, self.grid.offset[axis])
                self._replace(axis, masses, 2.0, first)

    def _take(self, axis: int, inside: slice) -> None:
        masses = np.take(self.masses, np.arange(inside.start, inside.stop), axis=axis)
        masses = masses * (self.masses.sum() / masses.sum())
        self._replace(axis, masses, 1.0, self.grid.offset[axis] + inside.start)

    def _replace(self, axis: int, masses: Real, factor: float, first: int) -> None:
        """New cells along one axis, of `factor` times the width."""
        widths, offset = self.grid.widths.copy(), list(self.grid.offset)
        widths[axis] *= factor
        offset[axis] = first
        self.grid = Grid(self.grid.origin, widths, masses.shape, tuple(offset))
        self.masses = masses
        self._kept.clear()
        self._constant_steps = 0

    def _longest_step(self) -> float:
        """The rational approximation wants modes −Gk² + i f k near the negative axis."""
        generator = self.generator(self.t)
        longest = self.max_step
        if not isinstance(generator, list):
            return longest
        for axis, bands in enumerate(generator):
            others = tuple(k for k in range(self.masses.ndim) if k != axis)
            marginal = self.masses.sum(axis=others)
            ahead, back = bands[2, :-1], bands[0, 1:]
            heavy = marginal[:-1] > 1e-4 * marginal.max()
            mean = np.maximum(0.5 * (ahead + back), 1e-300)
            ratio = (ahead - back) ** 2 / mean
            strongest = max(float(ratio[heavy].max(initial=0.0)), 1e-300)
            longest = min(longest, LARGEST_DRIFT / strongest)
            if self.cells_wanted is not None and self.grows:
                noise = self.grid.widths[axis] ** 2 * float(marginal[:-1] @ mean)
                longest = min(longest, WIDENS * self._variances()[axis] / max(noise, 1e-300))
        return longest

    def _trial(self, step: float, constant: bool) -> tuple[Real, float]:
        """Masses after a step, and the error estimate by two half steps."""
        t = self.t
        first = self.generator(t)
        if constant and self._stays(first, step):
            self._constant_steps += 1
            return self._exponential(first, step, self.masses), 0.0
        self._constant_steps = 0
        whole = self._product(t, step, self.masses)
        half = self._product(t, 0.5 * step, self.masses)
        both = self._product(t + 0.5 * step, 0.5 * step, half)
        return both, float(np.abs(both - whole).sum()) / 15.0

    def _stays(self, first: Generator, step: float) -> bool:
        """Whether the generator is that of the start of a step at some times inside it."""
        if self.process.autonomous:
            return True
        shares = (1.0,) if self._constant_steps > TRUSTED_STEPS else (*GAUSS_TIMES, 0.61803, 1.0)
        return all(_same(first, self.generator(self.t + share * step)) for share in shares)

    def _product(self, t: float, step: float, masses: Real) -> Real:
        early, late = (self.generator(t + share * step) for share in GAUSS_TIMES)
        masses = self._exponential(_combined(LEAD, early, LAG, late), step, masses)
        return self._exponential(_combined(LAG, early, LEAD, late), step, masses)

    def _exponential(self, generator: Generator, step: float, masses: Real) -> Real:
        """e^{hL} with the round-off of the mass, and of values that are 0, taken out."""
        total = float(masses.sum())
        if isinstance(generator, list):
            result = masses
            for axis, bands in enumerate(generator):
                lines = np.moveaxis(result, axis, 0)
                moved = exponential_action(bands, step, lines.reshape(len(lines), -1))
                result = np.moveaxis(moved.reshape(lines.shape), 0, axis)
        else:
            result = exponential_action(generator, step, masses.ravel()).reshape(masses.shape)
        noise = NEGATIVE * float(result.max())
        result = np.where((result < 0.0) & (result > noise), 0.0, result)
        return result * (total / float(result.sum()))

    def _near_boundary(self, masses: Real) -> Real:
        """Density at each side of each axis over the largest, 0 if negligible, shape (d, 2)."""
        largest = masses.max()
        sides = np.zeros((masses.ndim, 2))
        for axis in range(masses.ndim):
            for side, index in enumerate((0, -1)):
                ratio = float(np.take(masses, index, axis=axis).max() / largest)
                self.boundary = max(self.boundary, ratio if not self.grows else 0.0)
                sides[axis, side] = ratio if ratio > BOUNDARY_DENSITY else 0.0
        return sides

    def _grow(self, sides: Real) -> None:
        grid, inside = self.grid.grown(sides)
        if np.prod(grid.shape) > MOST_CELLS:
            raise ResolutionError(
                f"the law of the heads spreads beyond {MOST_CELLS} cells at t = {self.t:g}; give "
                "a domain, fewer cells, or use .sample(count)"
            )
        masses = np.zeros(grid.shape)
        masses[inside] = self.masses
        self.grid, self.masses = grid, masses
        self._kept.clear()


def _same(first: Generator, second: Generator) -> bool:
    if isinstance(first, list):
        assert isinstance(second, list)
        return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not isinstance(second, list)
    return bool(np.array_equal(first.data, second.data))


def _combined(a: float, first: Generator, b: float, second: Generator) -> Generator:
    if isinstance(first, list):
        assert isinstance(second, list)
        return [a * one + b * other for one, other in zip(first, second, strict=True)]
    assert not isinstance(second, list)
    return a * first + b * second
