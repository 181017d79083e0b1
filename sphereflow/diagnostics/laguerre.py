"""Cells of weighted points on the sphere for the cost −2 log⟨x, y⟩, and the masses in them.

The cost is d² + d⁴/6 + …. The cell of y_i is where ⟨x, a_i y_i⟩ is the largest, with a multiplier
a_i = e^{ψ_i/2} for the potential ψ_i: the normal fan of the convex hull of the a_i y_i, spherical
polygons whose vertices are the normals of its faces. Multipliers that give all cells their mass are
found by damped Newton steps: J. Kitagawa, Q. Mérigot and B. Thibert, J. Eur. Math. Soc. 21 (2019)
2603.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ResolutionError
from ..sphere import PointTransform, SphereGrid, lmax_of, power_by_degree, unit

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

__all__ = [
    "Cells",
    "Nodes",
    "SeriesDensity",
    "Solved",
    "Laplacian",
    "cells_of",
    "nodes_of",
    "solved_cells",
]

Real = NDArray[np.float64]
Index = NDArray[np.int64]
Complex = NDArray[np.complex128]

GHOST = 0.02  # multiplier of points without mass, which take what is far from all others
SMALL, LARGE = 1.0, 4.0  # edges by the length 1/l: for one node a triangle; at most
MOST_NODES = 12_000_000
SEEN = 1e-4  # of the amplitude of degree 0, of degrees that count for the size of triangles
EMPTY = 1e-9  # of the mass, in places where triangles need no nodes
ENOUGH = 2e-3, 2e-4  # mean residual of a mass by few nodes, and by more
LARGEST = 0.05  # residual of a mass, relative to the least one
MOST_STEPS = 60
SMALLEST_STEP = 1e-3
POOR = 1e-3  # share of its mass, below which a cell needs a mixture at first
MIXTURES = (0.5, 0.1, 0.02, 4e-3, 8e-4, 1e-4, 0.0)
GROUND = 1e-9  # of the conductance at a place
GAUSS = 0.5 + np.sqrt(15) / 10 * np.array([-1.0, 0.0, 1.0]), np.array([5.0, 8.0, 5.0]) / 18


def _radon() -> tuple[Real, Real]:
    """Seven points on a triangle by barycentric coordinates, exact to degree 5."""
    root = np.sqrt(15.0)
    rows, weights = [[1 / 3, 1 / 3]], [9 / 40]
    for a, weight in (
        ((6 - root) / 21, (155 - root) / 1200),
        ((6 + root) / 21, (155 + root) / 1200),
    ):
        rows += [[a, a], [1 - 2 * a, a], [a, 1 - 2 * a]]
        weights += [weight] * 3
    return np.array(rows), np.array(weights)


RULES = (  # by barycentric coordinates; exact to degree 1, 2 and 5
    (np.full((1, 2), 1 / 3), np.ones(1)),
    (np.array([[1, 1], [4, 1], [1, 4]]) / 6.0, np.full(3, 1 / 3)),
    _radon(),
)


class SeriesDensity:
    """A density by its coefficients, where they are positive.

    Parameters
    ----------
    coefficients : ndarray, shape ((degree+1)(degree+2)/2,)
        Complex.
    """

    def __init__(self, coefficients: Complex) -> None:
        self.coefficients = coefficients
        amplitude = np.sqrt(power_by_degree(coefficients))
        self.degree = max(4, int(np.nonzero(amplitude > SEEN * amplitude[0])[0].max()))
        self._grid = SphereGrid(max(4, lmax_of(coefficients)), dealias=1.5, engine="ducc0")

    def __call__(self, points: Real) -> Real:
        """Values at points of shape (n, 3)."""
        return np.maximum(PointTransform(points).synthesis(self.coefficients), 0.0)

    def mixed(self, share: float) -> SeriesDensity:
        """With so much of the uniform density instead."""
        if share == 0.0:
            return self
        coefficients = (1.0 - share) * self.coefficients
        coefficients[0] = self.coefficients[0]
        return SeriesDensity(coefficients)

    @cached_property
    def _values(self) -> Real:
        grid = self._grid
        return grid.synthesis(grid.resized(self.coefficients))

    @cached_property
    def negative(self) -> float:
        """Mass by which the series is below zero."""
        return float(self._grid.integrate(np.maximum(-self._values, 0.0)))

    @cached_property
    def _inhabited(self) -> tuple[cKDTree, float]:
        """Points of a grid with all but `EMPTY` of the mass, and how near to one any other is."""
        from scipy.spatial import cKDTree

        mass = np.maximum(self._values * self._grid.weights, 0.0).ravel()
        order = np.argsort(mass)
        seen = np.cumsum(mass[order]) > EMPTY
        points = self._grid.points.reshape(-1, 3)
        return cKDTree(points[order[seen]]), 2 * np.pi / self._grid.nlat

    def somewhere(self, centres: Real, radii: Real) -> NDArray[np.bool_]:
        """Whether there is any mass to speak of in balls."""
        tree, spacing = self._inhabited
        found: NDArray[np.bool_] = tree.query(centres)[0] <= radii + spacing
        return found


class Cells(NamedTuple):
    """The cells of n points, and of the ghosts that come after them, by their edges."""

    centres: Real  # (n + 12, 3) unit vectors in the cells; zero where a cell is empty
    pairs: Index  # (edges, 2) cells on both sides
    ends: Real  # (2, edges, 3) unit vectors


class Nodes(NamedTuple):
    """Nodes of a quadrature over all cells."""

    points: Real  # (nodes, 3)
    mass: Real  # (nodes,) of sum 1
    cell: Index  # (nodes,) ascending

    @property
    def blocks(self) -> Index:
        """Where the nodes of each cell start that has any, and their number."""
        starts = np.nonzero(np.diff(self.cell, prepend=-1, append=-1))[0]
        return starts.astype(np.int64)

    def masses(self, count: int) -> Real:
        """Of the cells."""
        return np.bincount(self.cell, weights=self.mass, minlength=count).astype(np.float64)


class Solved(NamedTuple):
    """Cells of nearly the masses that they should have."""

    cells: Cells
    psi: Real  # (n,) potentials
    edges: Real  # (edges,) derivatives of the masses in the potentials


def _ghosts() -> Real:
    """The corners of an icosahedron, shape (12, 3)."""
    golden = 0.5 * (1 + np.sqrt(5.0))
    rows = [
        np.roll([0.0, one, other * golden], k)
        for k in range(3)
        for one in (1, -1)
        for other in (1, -1)
    ]
    return unit(np.array(rows))


def cells_of(points: Real, psi: Real) -> Cells | None:
    """The cells of points with potentials; None if their hull cannot be computed."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        hull = ConvexHull(np.concatenate([np.exp(0.5 * psi)[:, None] * points, GHOST * _ghosts()]))
    except QhullError:
        return None
    normals: Real = hull.equations[:, :3]
    corners = hull.simplices.astype(np.int64)
    count = len(points) + len(_ghosts())
    sums = [np.bincount(corners.ravel(), np.repeat(part, 3), count) for part in normals.T]
    centres: Real = np.stack(sums, axis=1).astype(np.float64)
    centres = centres / np.maximum(np.linalg.norm(centres, axis=1), 1e-300)[:, None]
    here, there = np.repeat(np.arange(len(normals)), 3), hull.neighbors.ravel()
    ends = np.stack([normals[here], normals[there]])
    # Faces in one plane have one normal, and no edge between their cells.
    kept = (here < there) & np.any(ends[0] != ends[1], axis=-1)
    pairs = np.stack([np.roll(corners, -1, 1).ravel(), np.roll(corners, -2, 1).ravel()], axis=1)
    return Cells(centres, pairs[kept], ends[:, kept])


def nodes_of(cells: Cells, density: SeriesDensity, level: int = 0) -> Nodes:
    """Nodes and masses in the cells, the more, the higher the level.

    Each cell is cut into the triangles of its centre and its edges, and these into smaller ones
    where the density could change by much within them.

    Raises
    ------
    ResolutionError
        If that takes too many nodes.
    """
    corners = np.concatenate(
        [np.stack([cells.centres[side], *cells.ends], axis=1) for side in cells.pairs.T]
    )
    owner = np.concatenate(list(cells.pairs.T))
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    pieces = np.ceil(sides * density.degree / LARGE).astype(np.int64)
    wide = pieces > 1
    if wide.any():
        wide[wide] = density.somewhere(unit(corners[wide].sum(axis=1)), sides[wide])
    pieces[~wide] = 1
    # Of the highest level twice as many, so that the difference shows the error at distances of 0.
    pieces[wide] = (pieces[wide] + min(level, 1)) * max(level, 1)
    rule = np.where(sides * density.degree < SMALL, level, np.where(wide, 2, 1 + level))
    pieces[rule > 2] += 1
    rule = np.minimum(rule, 2)
    if np.sum(np.array([1, 3, 7])[rule] * pieces**2) > MOST_NODES:
        raise ResolutionError("the cells of the tokens are too narrow for a quadrature over them")
    kinds = 4 * pieces + rule
    parts = [
        _composite(corners[kinds == kind], owner[kinds == kind], RULES[kind % 4], int(kind // 4))
        for kind in np.unique(kinds)
    ]
    points, weights, cell = (np.concatenate(one) for one in zip(*parts, strict=True))
    order = np.argsort(cell, kind="stable")
    points, cell = points[order], cell[order]
    mass = weights[order] * density(points)
    return Nodes(points, mass / mass.sum(), cell)


def _composite(
    corners: Real, owner: Index, rule: tuple[Real, Real], pieces: int
) -> tuple[Real, Real, Index]:
    """Nodes on flat triangles, carried to the sphere from its centre; `pieces` on each edge."""
    barycentric, weights = rule
    if pieces > 1:
        rows = []
        for i in range(pieces):
            for j in range(pieces - i):
                rows.append(np.array([i, j]) + barycentric)
                if i + j < pieces - 1:
                    rows.append(np.array([i + 1, j + 1]) - barycentric)
        barycentric = np.concatenate(rows) / pieces
        weights = np.tile(weights, pieces**2) / pieces**2
    full = np.column_stack([1 - barycentric.sum(axis=1), barycentric])
    flat = full @ corners
    length = np.sqrt(np.sum(flat**2, axis=2))
    first, second, third = np.moveaxis(corners, 1, 0)
    volume = np.abs(np.sum(np.cross(first, second) * third, axis=1))
    area = 0.5 * volume[:, None] * weights / length**3
    points = (flat / length[..., None]).reshape(-1, 3)
    return points, area.ravel(), np.repeat(owner, len(full))


def _derivatives(cells: Cells, points: Real, density: SeriesDensity) -> Real:
    """−∂m_i/∂ψ_j = ½ ∫ρ / |y_i/⟨x, y_i⟩ − y_j/⟨x, y_j⟩| along each edge."""
    share, weights = GAUSS
    first, second = cells.ends
    flat = (1 - share)[:, None, None] * first + share[:, None, None] * second
    length = np.sqrt(np.sum(flat**2, axis=-1))
    x = flat / length[..., None]
    speed = np.linalg.norm(np.cross(first, second), axis=-1) / length**2
    one, other = points[cells.pairs[:, 0]], points[cells.pairs[:, 1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = one / np.sum(x * one, axis=-1)[..., None]
        slope -= other / np.sum(x * other, axis=-1)[..., None]
        apart = np.sqrt(np.sum(slope**2, axis=-1))
        values = density(x.reshape(-1, 3)).reshape(apart.shape) * speed / (2.0 * apart)
    values[~np.isfinite(values)] = 0.0
    integrals: Real = weights @ values
    return integrals


class Laplacian:
    """Σ_j c_ij (u_i − u_j) over the edges of a graph, for solving with it.

    Parameters
    ----------
    pairs : ndarray, shape (edges, 2)
        Ends of the edges.
    conductance : ndarray, shape (edges,)
        c_ij.
    count : int
        Of the places.
    """

    def __init__(self, pairs: Index, conductance: Real, count: int) -> None:
        from scipy.sparse import coo_matrix
        from scipy.sparse.linalg import splu

        inside = (pairs < count).all(axis=1)
        self.pairs, self.conductance = pairs[inside], conductance[inside]
        i, j = self.pairs.T
        degree = np.bincount(self.pairs.ravel(), np.repeat(self.conductance, 2), count)
        every = np.arange(count)
        rows, columns = np.concatenate([i, j, every]), np.concatenate([j, i, every])
        # A little more on the diagonal grounds parts of the graph that nothing connects.
        diagonal = degree * (1 + GROUND) + GROUND**2 * (degree.max() + 1e-300)
        values = np.concatenate([-self.conductance, -self.conductance, diagonal])
        matrix = coo_matrix((values, (rows, columns)), (count, count)).tocsc()
        self._factors = splu(
            matrix,
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )

    def potentials(self, right: Real) -> Real:
        """u, of mean 0, for a right-hand side of sum 0, shape (count,)."""
        u: Real = self._factors.solve(right)
        # The ground conducts a little; once more makes up for it.
        i, j = self.pairs.T
        flux = self.conductance * (u[i] - u[j])
        flow = np.bincount(i, flux, u.size) - np.bincount(j, flux, u.size)
        u = u + self._factors.solve(right - flow)
        u = u - u.mean()
        return u


def solved_cells(points: Real, weights: Real, density: SeriesDensity) -> Solved | None:
    """Cells of the masses of the points, as far as Newton steps lead.

    Where some cells have next to no mass at first, the density is mixed with the uniform one, by
    less and less.

    Parameters
    ----------
    points : ndarray, shape (n, 3)
        Unit vectors, all different.
    weights : ndarray, shape (n,)
        Positive, of sum 1.
    density : SeriesDensity

    Returns
    -------
    Solved
        Or None if the hull cannot be computed.
    """
    psi = np.zeros(len(points))
    state = _State.of(points, psi, density, 0)
    if state is None:
        return None
    direct = (state.mass > POOR * weights).all()
    for share in (0.0,) if direct else MIXTURES:
        mixed = density.mixed(share)
        for level in (0, 1) if share == 0.0 else (0,):
            psi, state = _newton(points, weights, psi, mixed, level)
    if state is None:
        return None
    everything = np.concatenate([points, _ghosts()])
    return Solved(state.cells, psi, _derivatives(state.cells, everything, density))


class _State(NamedTuple):
    cells: Cells
    mass: Real  # (n,) of the cells without the ghosts'

    @classmethod
    def of(cls, points: Real, psi: Real, density: SeriesDensity, level: int) -> _State | None:
        cells = cells_of(points, psi)
        if cells is None:
            return None
        return cls(cells, nodes_of(cells, density, level).masses(len(cells.centres))[: len(points)])


def _newton(
    points: Real, weights: Real, psi: Real, density: SeriesDensity, level: int
) -> tuple[Real, _State | None]:
    """Potentials whose cells have more nearly their masses, by damped steps."""
    state = _State.of(points, psi, density, level)
    everything = np.concatenate([points, _ghosts()])
    for _ in range(MOST_STEPS):
        if state is None:
            break
        residual = weights * state.mass.sum() - state.mass
        size = np.abs(residual).sum()
        if size < ENOUGH[level] and np.abs(residual / weights).max() < LARGEST:
            break
        edges = _derivatives(state.cells, everything, density)
        step = Laplacian(state.cells.pairs, edges, len(points)).potentials(residual)
        least = 0.3 * np.minimum(state.mass, weights)
        length = 1.0
        while length > SMALLEST_STEP:
            trial = _State.of(points, psi + length * step, density, level)
            if trial is not None and (trial.mass > least).all():
                left = np.abs(weights * trial.mass.sum() - trial.mass).sum()
                if left < (1 - 0.5 * length) * size:
                    break
            length *= 0.5
        else:
            break
        psi, state = psi + length * step, trial
    return psi, state
