"""Finite volumes for the Fokker–Planck equation of head parameters on a tensor grid.

∂_tΘ = −div(Θ f) + div div(Θ G), G = ½ g gᵀ, is a Markov chain on the cells: along every edge e
between neighbours with the jump w = ∫_e G⁻¹(f − div G)·dx of the logarithm of the local
equilibrium, the flux is γ_e (B(−w) Θ_i − B(w) Θ_j) with B(w) = w/(eʷ − 1) (Scharfetter and
Gummel 1969, Chang and Cooper 1970). The rates are positive, so that Θ stays non-negative; columns
sum to zero, so that mass is kept; and where f comes from a potential Θ_j/Θ_i = eʷ makes the exact
stationary density stationary. A G with correlations adds edges along the diagonals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .processes import HeadProcess

__all__ = ["Generator", "Generators", "Grid", "SparseGenerator"]

Real = NDArray[np.float64]

EDGE_NODES, EDGE_WEIGHTS = np.polynomial.legendre.leggauss(4)
EDGE_NODES, EDGE_WEIGHTS = 0.5 * (EDGE_NODES + 1.0), 0.5 * EDGE_WEIGHTS
GROWTH = 0.3  # of the width, at a side that is too near
DIFFERENCE = 1e-4  # of a cell, for the divergence of G

Part = tuple[slice, ...]  # of a grid
Edges = tuple[Part, Part, Real, Real]  # tails and heads, and what there is of each edge


class SparseGenerator(Protocol):
    """A generator as a sparse matrix of SciPy."""

    data: Real

    def __matmul__(self, masses: Real, /) -> Real: ...
    def __add__(self, other: SparseGenerator, /) -> SparseGenerator: ...
    def __rmul__(self, factor: float, /) -> SparseGenerator: ...


Generator = list[Real] | SparseGenerator  # bands of each axis, or all in one


@dataclass(frozen=True, eq=False)
class Grid:
    """Cell centres origin + (first + k + ½) h on each axis; the origin stays when a grid grows."""

    origin: Annotated[Real, "axis"]
    widths: Annotated[Real, "axis"]
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


class Generators:
    """The generators L of the masses of the cells of one grid.

    Parameters
    ----------
    process : HeadProcess
    grid : Grid
    by_axis : bool
        Whether the parameters act apart: one tridiagonal matrix for each axis in place of a
        sparse one. A list holds the bands of the terms of a Kronecker sum, whose exponential is
        the product of the exponentials along the axes.
    """

    def __init__(self, process: HeadProcess, grid: Grid, by_axis: bool) -> None:
        self.process, self.grid, self.by_axis = process, grid, by_axis

    def at(self, t: float) -> Generator:
        """L at time t."""
        from scipy.sparse import csr_matrix

        grid = self.grid
        if self.by_axis:
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
        sparse: SparseGenerator = csr_matrix(entries, shape=(size, size))
        return sparse

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
        covariance = self.half_covariance(sample, t)
        off = covariance * (1.0 - np.eye(covariance.shape[1]))
        return bool(np.abs(off).max() > 1e-14 * max(np.abs(covariance).max(), 1e-300))

    def _edge_points(self, offset: tuple[int, ...], grid: Grid | None = None) -> Edges:
        """Slices of tails and heads, tail centres (n, d) and the vector of one kind of edge."""
        grid = grid or self.grid
        tail = tuple(slice(max(0, -o), n - max(0, o)) for o, n in zip(offset, grid.shape))
        head = tuple(slice(max(0, o), n - max(0, -o)) for o, n in zip(offset, grid.shape))
        axes = [axis[part] for axis, part in zip(grid.axes, tail, strict=True)]
        points = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
        return tail, head, points, np.array(offset) * self.grid.widths

    def _axis_edges(self, axis: int, t: float, grid: Grid | None = None) -> Edges:
        """Rates along one axis for a diagonal G: w = ∫ f/G dx − log of the ratio of G."""
        offset = tuple(int(k == axis) for k in range(len(self.grid.shape)))
        tail, head, points, edge = self._edge_points(offset, grid)
        h = self.grid.widths[axis]

        def half_variance(x: Real) -> Real:
            factor = self.process.factor_at(x, t)
            variance: Real = 0.5 * np.einsum("nb,nb->n", factor[:, axis], factor[:, axis])
            return variance

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

    def _all_edges(self, t: float) -> list[Edges]:
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
            half = self.half_covariance(points + 0.5 * edge, t)
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

    def half_covariance(self, x: Real, t: float) -> Real:
        factor = self.process.factor_at(x, t)
        covariance: Real = 0.5 * np.einsum("nab,ncb->nac", factor, factor)
        return covariance

    def _log_slope(self, x: Real, t: float) -> Real:
        """G⁻¹(f − div G), the gradient of the logarithm of the local equilibrium."""
        drift = self.process.drift_at(x, t)
        if callable(self.process.diffusion):
            for axis, h in enumerate(self.grid.widths):
                shift = DIFFERENCE * h * np.eye(len(self.grid.widths))[axis]
                change = self.half_covariance(x + shift, t) - self.half_covariance(x - shift, t)
                drift = drift - change[:, :, axis] / (2.0 * DIFFERENCE * h)
        slope = np.linalg.solve(self.half_covariance(x, t), drift[:, :, None])[:, :, 0]
        return np.asarray(slope, dtype=np.float64)
