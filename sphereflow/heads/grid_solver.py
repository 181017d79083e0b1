"""Finite volumes for the Fokker–Planck equation of head parameters on a tensor grid.

∂_tΘ = −div(Θ f) + div div(Θ G), G = ½ g gᵀ, is a Markov chain on the cells: along every edge e
between neighbours with the jump w = ∫_e G⁻¹(f − div G)·dx of the logarithm of the local
equilibrium, the flux is γ_e (B(−w) Θ_i − B(w) Θ_j) with B(w) = w/(eʷ − 1) (Scharfetter and
Gummel 1969, Chang and Cooper 1970). The rates are positive, so that Θ stays non-negative; columns
sum to zero, so that mass is kept; and where f comes from a potential Θ_j/Θ_i = eʷ makes the exact
stationary density stationary. A G with correlations adds edges along the diagonals.

In time e^{hL} is taken with L frozen over a step where it does not change, and by the
commutator-free fourth-order product of two exponentials at the Gauss nodes where it does.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ResolutionError
from ..threads import in_turn
from .exponential import exponential_action
from .processes import HeadProcess, separable

__all__ = ["Grid", "GridSolver"]

Real = NDArray[np.float64]

EDGE_NODES, EDGE_WEIGHTS = np.polynomial.legendre.leggauss(4)
EDGE_NODES, EDGE_WEIGHTS = 0.5 * (EDGE_NODES + 1.0), 0.5 * EDGE_WEIGHTS
GAUSS_TIMES = 0.5 + np.array([-1.0, 1.0]) * np.sqrt(3.0) / 6.0
LEAD, LAG = 0.25 + np.sqrt(3.0) / 6.0, 0.25 - np.sqrt(3.0) / 6.0
BOUNDARY_DENSITY = 1e-12  # relative to the largest: above it the box is too small
GROWTH = 0.3  # of the width, at a side that is too near
MOST_CELLS = 4_000_000
LARGEST_STEP = 0.5
LARGEST_DRIFT = 15.0  # of f²τ/G in a step τ: the approximation fails beyond about 25
NEGATIVE = -1e-12  # relative to the maximum: below it a step is repeated with half the length
SMALLEST_STEP = 1e-6
TRUSTED_STEPS = 3  # with a generator that did not change, before it is compared less often
DIFFERENCE = 1e-4  # of a cell, for the divergence of G


@dataclass(frozen=True, eq=False)
class Grid:
    """Cell centres origin + (first + k + ½) h on each axis; the origin stays when a grid grows."""

    origin: Real
    widths: Real
    shape: tuple[int, ...]
    first: tuple[int, ...] | None = None

    @property
    def axes(self) -> list[Real]:
        """Centres along each axis."""
        return [
            low + h * (start + np.arange(n) + 0.5)
            for low, h, start, n in zip(
                self.origin, self.widths, self.offset, self.shape, strict=True
            )
        ]

    @property
    def offset(self) -> tuple[int, ...]:
        """Number of the first cell on each axis."""
        return self.first or (0,) * len(self.shape)

    @property
    def points(self) -> Real:
        """Centres of all cells, shape (cells, d)."""
        return np.stack([a.ravel() for a in np.meshgrid(*self.axes, indexing="ij")], axis=1)

    @property
    def volume(self) -> float:
        """Volume of a cell."""
        return float(np.prod(self.widths))

    def grown(self, sides: Real) -> tuple[Grid, tuple[slice, ...]]:
        """A larger grid with the same cells, and where the old ones are in it; sides (d, 2)."""
        extra = np.ceil(GROWTH * np.array(self.shape)[:, None] * sides).astype(int)
        shape = tuple(int(n + e.sum()) for n, e in zip(self.shape, extra, strict=True))
        inside = tuple(slice(e[0], e[0] + n) for e, n in zip(extra, self.shape, strict=True))
        first = tuple(int(o - e[0]) for o, e in zip(self.offset, extra, strict=True))
        return Grid(self.origin, self.widths, shape, first), inside


def _bernoulli(w: Real) -> Real:
    """w / (eʷ − 1), without overflow or cancellation."""
    small = np.abs(w) < 1e-8
    safe = np.where(small, 1.0, np.clip(w, -700.0, 700.0))
    return np.where(small, 1.0 - 0.5 * w, safe / np.expm1(safe))


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
    """

    def __init__(
        self, process: HeadProcess, grid: Grid, masses: Real, grows: bool, tolerance: float
    ) -> None:
        self.process = process
        self.grid = grid
        self.grows = grows
        self.tolerance = tolerance
        self.t = 0.0
        self.masses = masses
        self.boundary = 0.0  # largest density at a wall so far over the maximum; fixed boxes only
        self._near_boundary(masses)
        self._step = 0.1
        self._constant_steps = 0
        self._by_axis = len(grid.shape) == 1 or separable(process)
        self._kept: dict[float, Any] = {}

    def copy(self) -> GridSolver:
        """A solver at the same time that may be advanced by itself."""
        new = copy(self)
        new._kept = dict(self._kept)
        return new

    def __getstate__(self) -> dict[str, Any]:
        """All but the generators, which are assembled again."""
        return self.__dict__ | {"_kept": {}}

    # The generator

    @in_turn
    def generator(self, t: float) -> Any:
        """L at time t: one tridiagonal matrix for each axis where they act apart, else sparse.

        A list holds the bands of the terms of a Kronecker sum, whose exponential is the product
        of the exponentials along the axes.
        """
        if t not in self._kept:
            if len(self._kept) > 5:
                self._kept.pop(next(iter(self._kept)))
            self._kept[t] = self._assembled(t)
        return self._kept[t]

    def _assembled(self, t: float) -> Any:
        from scipy.sparse import csr_matrix

        grid = self.grid
        if self._by_axis:
            return [self._bands(axis, t) for axis in range(len(grid.shape))]
        number = np.arange(int(np.prod(grid.shape))).reshape(grid.shape)
        if self._correlated(t):
            edges = self._all_edges(t)
        else:
            edges = [self._axis_edges(axis, t) for axis in range(len(grid.shape))]
        rows, columns, rates = [], [], []
        for tail, head, ahead, back in edges:
            i, j = number[tail].ravel(), number[head].ravel()
            rows += [j, i, i, j]
            columns += [i, i, j, j]
            rates += [ahead, -ahead, back, -back]
        size = number.size
        entries = (np.concatenate(rates), (np.concatenate(rows), np.concatenate(columns)))
        return csr_matrix(entries, shape=(size, size))

    def _bands(self, axis: int, t: float) -> Real:
        """Bands of the generator along one axis, the same on every line of cells."""
        one = tuple(n if k == axis else 1 for k, n in enumerate(self.grid.shape))
        line = Grid(self.grid.origin, self.grid.widths, one, self.grid.offset)
        _, _, ahead, back = self._axis_edges(axis, t, line)
        bands = np.zeros((3, self.grid.shape[axis]))
        bands[0, 1:], bands[2, :-1] = back, ahead
        bands[1, :-1] -= ahead
        bands[1, 1:] -= back
        return bands

    def _correlated(self, t: float) -> bool:
        """Whether G has entries off its diagonal."""
        sample = self.grid.points[:: max(1, int(np.prod(self.grid.shape)) // 50)]
        covariance = self._half_covariance(sample, t)
        off = covariance * (1.0 - np.eye(covariance.shape[1]))
        return bool(np.abs(off).max() > 1e-14 * max(np.abs(covariance).max(), 1e-300))

    def _edge_points(
        self, offset: tuple[int, ...], grid: Grid | None = None
    ) -> tuple[Any, Any, Real, Real]:
        """Slices of tails and heads, tail centres (n, d) and the vector of one kind of edge."""
        grid = grid or self.grid
        tail = tuple(slice(max(0, -o), n - max(0, o)) for o, n in zip(offset, grid.shape))
        head = tuple(slice(max(0, o), n - max(0, -o)) for o, n in zip(offset, grid.shape))
        axes = [axis[part] for axis, part in zip(grid.axes, tail, strict=True)]
        points = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
        return tail, head, points, np.array(offset) * self.grid.widths

    def _axis_edges(
        self, axis: int, t: float, grid: Grid | None = None
    ) -> tuple[Any, Any, Real, Real]:
        """Rates along one axis for a diagonal G: w = ∫ f/G dx − log of the ratio of G."""
        offset = tuple(int(k == axis) for k in range(len(self.grid.shape)))
        tail, head, points, edge = self._edge_points(offset, grid)
        h = self.grid.widths[axis]

        def half_variance(x: Real) -> Real:
            factor = self.process.factor_at(x, t)
            return 0.5 * np.einsum("nb,nb->n", factor[:, axis], factor[:, axis])

        middle = half_variance(points + 0.5 * edge)
        w = np.zeros(len(points))
        drift = np.zeros(len(points))
        for node, weight in zip(EDGE_NODES, EDGE_WEIGHTS, strict=True):
            x = points + node * edge
            f = self.process.drift_at(x, t)[:, axis]
            g = half_variance(x)
            w += weight * h * np.divide(f, g, out=np.zeros_like(f), where=g > 0)
            drift += weight * f
        ends = half_variance(points), half_variance(points + edge)
        smooth = (middle > 0) & (ends[0] > 0) & (ends[1] > 0)
        w -= np.log(np.where(smooth, ends[1], 1.0) / np.where(smooth, ends[0], 1.0))
        ahead = np.where(smooth, middle / h**2 * _bernoulli(-w), np.maximum(drift, 0.0) / h)
        back = np.where(smooth, middle / h**2 * _bernoulli(w), np.maximum(-drift, 0.0) / h)
        return tail, head, ahead, back

    def _all_edges(self, t: float) -> list[tuple[Any, Any, Real, Real]]:
        """Rates along axes and diagonals for a full G, with w = ∫ G⁻¹(f − div G)·dx."""
        dimension = len(self.grid.shape)
        if dimension != 2:
            raise InputError(
                "correlated noise is solved on grids of dimension 2, got dimension "
                f"{dimension}; use .sample(count)"
            )
        edges = []
        h = self.grid.widths
        for offset in ((1, 0), (0, 1), (1, 1), (1, -1)):
            tail, head, points, edge = self._edge_points(offset)
            half = self._half_covariance(points + 0.5 * edge, t)
            mixed = half[:, 0, 1] / (h[0] * h[1])
            if offset in ((1, 0), (0, 1)):
                axis = offset.index(1)
                conductance = half[:, axis, axis] / h[axis] ** 2 - np.abs(mixed)
            else:
                conductance = np.maximum(mixed * offset[1], 0.0)
            if conductance.min() < -1e-12 * np.abs(half).max() / h.min() ** 2:
                raise InputError(
                    "correlated noise needs cells with |G₁₂| ≤ min(G₁₁ h₂/h₁, G₂₂ h₁/h₂) to keep "
                    "the law positive; choose the domain or the numbers of cells so that "
                    "h₁/h₂ = (G₁₁/G₂₂)^½"
                )
            w = np.zeros(len(points))
            for node, weight in zip(EDGE_NODES, EDGE_WEIGHTS, strict=True):
                w += weight * (self._log_slope(points + node * edge, t) @ edge)
            conductance = np.maximum(conductance, 0.0)
            edges.append((tail, head, conductance * _bernoulli(-w), conductance * _bernoulli(w)))
        return edges

    def _half_covariance(self, x: Real, t: float) -> Real:
        factor = self.process.factor_at(x, t)
        return 0.5 * np.einsum("nab,ncb->nac", factor, factor)

    def _log_slope(self, x: Real, t: float) -> Real:
        """G⁻¹(f − div G), the gradient of the logarithm of the local equilibrium."""
        drift = self.process.drift_at(x, t)
        if callable(self.process.diffusion):
            for axis, h in enumerate(self.grid.widths):
                shift = DIFFERENCE * h * np.eye(len(self.grid.widths))[axis]
                change = self._half_covariance(x + shift, t) - self._half_covariance(x - shift, t)
                drift = drift - change[:, :, axis] / (2.0 * DIFFERENCE * h)
        slope = np.linalg.solve(self._half_covariance(x, t), drift[:, :, None])[:, :, 0]
        return np.asarray(slope, dtype=np.float64)

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
            step = min(target - self.t, self._step, self._longest_step())
            if target - self.t - step < 1e-9 * step:
                step = target - self.t
            new, error = self._trial(step)
            if new.min() < 0.0 and step > SMALLEST_STEP:
                self._step = 0.5 * step
                continue
            if error > self.tolerance and step > SMALLEST_STEP:
                self._step = step * max(0.2, 0.9 * (self.tolerance / error) ** 0.2)
                continue
            sides = self._near_boundary(new)
            if self.grows and sides.any():
                self._grow(sides)
                continue
            reached = self.t + step
            self.t = target if abs(target - reached) < 1e-12 * max(1.0, target) else reached
            self.masses = new
            growth = 4.0 if error == 0 else min(4.0, 0.9 * (self.tolerance / error) ** 0.2)
            if step >= 0.99 * self._step or growth < 1.0:
                self._step = step * growth

    def _longest_step(self) -> float:
        """The rational approximation wants modes −Gk² + i f k near the negative axis."""
        generator = self.generator(self.t)
        if not isinstance(generator, list):
            return LARGEST_STEP
        longest = LARGEST_STEP
        for axis, bands in enumerate(generator):
            others = tuple(k for k in range(self.masses.ndim) if k != axis)
            marginal = self.masses.sum(axis=others)
            ahead, back = bands[2, :-1], bands[0, 1:]
            heavy = marginal[:-1] > 1e-4 * marginal.max()
            ratio = (ahead - back) ** 2 / np.maximum(0.5 * (ahead + back), 1e-300)
            strongest = max(float(ratio[heavy].max(initial=0.0)), 1e-300)
            longest = min(longest, LARGEST_DRIFT / strongest)
        return longest

    def _trial(self, step: float) -> tuple[Real, float]:
        """Masses after a step, and the error estimate by two half steps."""
        t = self.t
        first = self.generator(t)
        shares = (1.0,) if self._constant_steps > TRUSTED_STEPS else (*GAUSS_TIMES, 0.61803, 1.0)
        if all(_same(first, self.generator(t + share * step)) for share in shares):
            self._constant_steps += 1
            return self._exponential(first, step, self.masses), 0.0
        self._constant_steps = 0
        whole = self._product(t, step, self.masses)
        half = self._product(t, 0.5 * step, self.masses)
        both = self._product(t + 0.5 * step, 0.5 * step, half)
        return both, float(np.abs(both - whole).sum()) / 15.0

    def _product(self, t: float, step: float, masses: Real) -> Real:
        early, late = (self.generator(t + share * step) for share in GAUSS_TIMES)
        masses = self._exponential(_combined(LEAD, early, LAG, late), step, masses)
        return self._exponential(_combined(LAG, early, LEAD, late), step, masses)

    def _exponential(self, generator: Any, step: float, masses: Real) -> Real:
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
        """1 for each side of each axis where the density is not negligible, shape (d, 2)."""
        largest = masses.max()
        sides = np.zeros((masses.ndim, 2))
        for axis in range(masses.ndim):
            for side, index in enumerate((0, -1)):
                ratio = float(np.take(masses, index, axis=axis).max() / largest)
                self.boundary = max(self.boundary, ratio if not self.grows else 0.0)
                sides[axis, side] = ratio > BOUNDARY_DENSITY
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


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, list):
        return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    return bool(np.array_equal(first.data, second.data))


def _combined(a: float, first: Any, b: float, second: Any) -> Any:
    if isinstance(first, list):
        return [a * one + b * other for one, other in zip(first, second, strict=True)]
    return a * first + b * second
