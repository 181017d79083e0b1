"""W1 and W2 of a density and weighted points, between bounds that a plan and potentials prove.

Each point takes the mass of a cell: that plan bounds both distances from above. Potentials ψ bound
them from below by ∫ψᶜ dμ + Σ w_j ψ_j with ψᶜ(x) = min_j d(x, y_j)^p − ψ_j, over all pairs. For W2
they are those of the cells of the cost −2 log⟨x, y⟩, for W1 they are sought by steepest ascent in
the metric of the Laplacian of the graph of these cells.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ResolutionError
from ..sphere import angles
from .laguerre import Laplacian, Nodes, SeriesDensity, Solved, nodes_of, solved_cells
from .potentials import PotentialSearch, curve_order
from .transport import Bounds, Cloud, joined

__all__ = ["merged", "semidiscrete"]

Real = NDArray[np.float64]
Index = NDArray[np.int64]
Complex = NDArray[np.complex128]

NEAR = 3e-6  # rad to which points count as one
FEWEST = 20_000  # nodes for the ascent, or those of the bounds
MANY = 100_000  # nodes, whose errors at the kinks of ψᶜ are small together
ASCENTS = 30
STEP, MEMORY = 0.3, 0.5
PATIENCE, RISE = 4, 3e-3  # steps without such a rise end the ascent
SETTLED = 0.2  # of the mass, wrong in its place, at the end of the ascent
SAFETY = 2.0  # of differences of two quadratures


def semidiscrete(coefficients: Complex, cloud: Cloud) -> tuple[Bounds, Bounds] | None:
    """W1 and W2 of a density by its coefficients and points that stand for themselves.

    None if there are no such cells: the points are too few or too wide apart for the density, or
    the cells too narrow.

    Parameters
    ----------
    coefficients : ndarray
        Complex, of unit mass.
    cloud : Cloud
        Without spread.
    """
    density = SeriesDensity(coefficients)
    cloud = merged(cloud, NEAR)
    # Neighbours near each other in memory are found faster.
    along = curve_order(cloud.points)
    points, weights = cloud.points[along], cloud.weights[along]
    try:
        solved = solved_cells(points, weights, density)
        if solved is None:
            return None
        few, nodes, check = (nodes_of(solved.cells, density, level) for level in range(3))
    except ResolutionError:
        return None
    plan, finer = (_Plan.of(one, points) for one in (nodes, check))
    flows = _flows(solved, plan, finer, points, weights)
    if flows is None:
        return None
    results = []
    for order, more in zip((1, 2), flows, strict=True):
        search = PotentialSearch(points, order)
        mistake = SAFETY * abs(finer.cost[order - 1] - plan.cost[order - 1])
        # Mass where the series is negative, or no cell is, may have to go anywhere.
        lost = np.pi**order * 2.0 * density.negative
        high = plan.cost[order - 1] + more + mistake + lost + np.pi**order * plan.far
        if order == 1:
            psi = _ascended(search, solved, plan, few if few.mass.size > FEWEST else nodes, weights)
            low = _dual(search, psi, nodes, weights)
            if nodes.mass.size < MANY:
                finest = _dual(search, psi, check, weights)
                low = finest - SAFETY * abs(finest - low)
        else:
            psi = max(
                (solved.psi, solved.psi - plan.bend),
                key=lambda one: _dual(search, one, few, weights),
            )
            low = _dual(search, psi, nodes, weights)
        low = max(0.0, low - mistake - lost)
        moved = cloud.distance(order)
        root = 1 / order
        results.append(Bounds.between(low**root - moved, high**root + moved))
    return results[0], results[1]


def merged(cloud: Cloud, near: float) -> Cloud:
    """A cloud whose points are no nearer than this to each other, but for few pairs."""
    count = len(cloud.points) + 1
    while len(cloud.points) < count:
        count = len(cloud.points)
        for shift in (0.0, 0.5):
            boxes = np.floor(cloud.points / near + shift).astype(np.int64)
            labels = np.unique(boxes, axis=0, return_inverse=True)[1].ravel()
            if labels.max() + 1 < len(labels):
                cloud = joined(cloud, labels)
    return cloud


class _Plan(NamedTuple):
    """The plan that gives each point its cell."""

    mass: Real  # (n,) of the cells
    cost: tuple[float, float]  # ∫d and ∫d²
    reach: Real  # (n,) mean of d over each cell
    bend: Real  # (n,) mean of −2 log cos d − d² over each cell
    far: float  # mass that has no cell

    @classmethod
    def of(cls, nodes: Nodes, points: Real) -> _Plan:
        count = len(points)
        near = nodes.cell < count
        cell, mass = nodes.cell[near], nodes.mass[near]
        chord = np.linalg.norm(nodes.points[near] - points[cell], axis=1)
        distance = 2.0 * np.arcsin(np.minimum(1.0, 0.5 * chord))

        def summed(values: Real) -> Real:
            return np.bincount(cell, weights=values, minlength=count).astype(np.float64)

        total = summed(mass)
        share = np.maximum(total, 1e-300)
        cosine = np.maximum(1.0 - 0.5 * chord**2, 1e-3)
        bend = -2.0 * np.log(cosine) - distance**2
        return cls(
            total,
            (float(mass @ distance), float(mass @ distance**2)),
            summed(mass * distance) / share,
            summed(mass * bend) / share,
            float(nodes.mass[~near].sum()),
        )


def _flows(
    solved: Solved, plan: _Plan, finer: _Plan, points: Real, weights: Real
) -> tuple[float, float] | None:
    """What ∫d and ∫d² rise by when mass goes to neighbours until each point has its weight.

    The mass that a quadrature may have put into a wrong cell is moved as well. None if a cell has
    not as much as it would have to give.
    """
    pairs, count = solved.cells.pairs, len(points)
    network = Laplacian(pairs, solved.edges, count)
    i, j = network.pairs.T
    length = angles(points[i], points[j])
    given, costs = np.zeros(count), np.zeros(2)
    for lack in (
        weights * plan.mass.sum() - plan.mass,
        finer.mass * (plan.mass.sum() / finer.mass.sum()) - plan.mass,
    ):
        u = network.potentials(lack)
        flow = network.conductance * (u[i] - u[j])
        left = lack - np.bincount(i, flow, count) + np.bincount(j, flow, count)
        source, size = np.where(flow > 0, j, i), np.abs(flow)
        given += np.bincount(source, size, count)
        costs[0] += size @ length + np.pi * np.abs(left).sum()
        costs[1] += size @ (length**2 + 2.0 * length * plan.reach[source])
        costs[1] += np.pi**2 * np.abs(left).sum()
    if not (given <= plan.mass).all():
        return None
    return float(costs[0]), float(costs[1])


def _ascended(
    search: PotentialSearch,
    solved: Solved,
    plan: _Plan,
    nodes: Nodes,
    weights: Real,
) -> Real:
    """Potentials for W1 of nearly the greatest value."""
    points, count = search.original, len(weights)
    i, j = np.minimum(solved.cells.pairs, count - 1).T
    length = np.linalg.norm(points[i] - points[j], axis=1)
    # |∇d_i − ∇d_j| ≤ 2 where |∇d_i² − ∇d_j²| is twice the distance of the points.
    network = Laplacian(solved.cells.pairs, 2.0 * length * solved.edges, count)
    # Where all mass goes equally far, d² − ψ is 2d̄ (d − ψ/(2d̄)) to first order.
    starts = (np.zeros(count), solved.psi / (2.0 * plan.cost[0]))
    psi = max(starts, key=lambda one: _dual(search, one, nodes, weights))
    momentum = np.zeros(count)
    winner = np.minimum(nodes.cell, count - 1)
    best, lack, length, gains = psi, np.zeros(count), STEP, [-np.inf]
    for _ in range(ASCENTS):
        search.set(psi)
        values, winner = search.least(nodes.points, winner, nodes.blocks)
        gain = float(nodes.mass @ values + weights @ psi)
        if gain > max(gains):
            best, lack = psi, weights - np.bincount(winner, nodes.mass, count)
            if np.abs(lack).sum() < SETTLED:
                break
        else:
            momentum[:], length = 0.0, 0.5 * length
        gains.append(gain)
        if len(gains) > PATIENCE and max(gains) < (1 + RISE) * max(gains[:-PATIENCE]):
            break
        momentum = MEMORY * momentum + length * network.potentials(lack)
        psi = best + momentum
    search.set(best)
    # ψ_j = −ψᶜ(y_j) is no less anywhere, and changes ψᶜ nowhere.
    return -search.least(points, np.arange(count))[0]


def _dual(search: PotentialSearch, psi: Real, nodes: Nodes, weights: Real) -> float:
    search.set(psi)
    values, _ = search.least(nodes.points, np.minimum(nodes.cell, weights.size - 1), nodes.blocks)
    return float(nodes.mass @ values + weights @ psi)
