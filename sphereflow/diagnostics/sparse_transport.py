"""W1 and W2 of two clouds of points by transport between neighbours, checked over all pairs.

Mass goes along few pairs: those of neighbours, when a plan between groups has brought the clouds
near each other, and some that make a plan possible at all. The plan found is an upper bound. Its
potentials, by a search over all pairs, give a lower bound, and the pairs that are missing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..sphere import angles as angles_between
from ..sphere import unit
from .potentials import PotentialSearch, curve_order
from .transport import MOST_ITERATIONS, Bounds, Cloud, angles, grouped, optimal_plan

__all__ = ["DENSE_PAIRS", "sparse_bounds"]

Real = NDArray[np.float64]
Index = NDArray[np.int64]

DENSE_PAIRS = 1_000_000  # up to which all pairs together are less work
GROUPS = 700
NEIGHBOURS = 12
MOST_ROUNDS = 16
MOST_PAIRS = 3_000_000
ROUND_OFF = 1e-13  # of sums of distances
ENOUGH = 1e-7  # gap of a cost, relative to it
MORE = 2e-2  # of the mean cost, by which more pairs are taken than those that are missing


def sparse_bounds(one: Cloud, other: Cloud, orders: tuple[int, ...] = (1, 2)) -> list[Bounds]:
    """Bounds of W1 and W2 between points that stand for themselves.

    Parameters
    ----------
    one, other : Cloud
        Without spread.
    orders : tuple of int
    """
    pairs = _first_pairs(one, other)
    return [_refined(one, other, pairs, order) for order in orders]


def _refined(one: Cloud, other: Cloud, pairs: Index, order: int) -> Bounds:
    """Bounds by rounds of plans over pairs, given as i·n + j."""
    import ot
    from scipy.sparse import coo_matrix

    x, y = one.points, other.points
    count = len(y)
    search, back = PotentialSearch(y, order), PotentialSearch(x, order)
    low, high = 0.0, np.inf
    winner = np.zeros(len(x), np.int64)
    i, j = np.divmod(pairs, count)
    # Costs of small numbers would be zero to the solver.
    scale = max(float(np.mean(angles_between(x[i], y[j]) ** order)), 1e-300)
    for _ in range(MOST_ROUNDS):
        i, j = np.divmod(pairs, count)
        costs = angles_between(x[i], y[j]) ** order / scale
        cost = coo_matrix((costs, (i, j)), (len(x), count))
        _, log = ot.lp.emd(one.weights, other.weights, cost, numItermax=MOST_ITERATIONS, log=True)
        if log["warning"]:
            break
        u, v = scale * np.asarray(log["u"]), scale * np.asarray(log["v"])
        high = min(high, scale * float(log["cost"]))
        search.set(v)
        values, winner = search.least(x, winner)
        back.set(values)
        # The transform of the transform is no less than v.
        better, _ = back.least(y, np.zeros(count, np.int64))
        low = max(low, float(one.weights @ values + other.weights @ np.maximum(better, v)))
        if high - low <= ENOUGH * high:
            break
        missing = values < u - 1e-3 * ENOUGH * high
        limit = np.where(missing, np.minimum(values + MORE * high, u), -np.inf)
        starts, found, _ = search.below(x, limit)
        rows = np.repeat(np.arange(len(x)), np.diff(starts))
        size = pairs.size
        pairs = np.union1d(pairs, rows * count + found)
        if pairs.size == size or pairs.size > MOST_PAIRS:
            break
    root = 1 / order
    high = min(high, np.pi**order)
    return Bounds.between(low**root * (1 - ROUND_OFF), high**root * (1 + ROUND_OFF))


def _first_pairs(one: Cloud, other: Cloud) -> Index:
    """Pairs of neighbours after a plan between groups, and of a plan along a curve."""
    from scipy.spatial import cKDTree

    groups = [grouped(cloud, GROUPS) for cloud in (one, other)]
    plan = optimal_plan(groups[0], groups[1], angles(groups[0].points, groups[1].points) ** 2)
    row, column = plan.pairs
    count = len(other.points)
    parts = [np.ravel_multi_index(_along_curve(one, other), (len(one.points), count))]
    sides = (
        (one, other, groups[0], groups[1], row, column),
        (other, one, groups[1], groups[0], column, row),
    )
    for cloud, partner, group, targets, here, there in sides:
        target = np.zeros_like(group.points)
        for axis in range(3):
            moved = plan.moved * targets.points[there, axis]
            target[:, axis] = np.bincount(here, moved, len(group.points)) / group.weights
        nearest = cKDTree(group.points).query(cloud.points)[1]
        known = min(NEIGHBOURS, len(partner.points))
        for places in (cloud.points, unit(cloud.points + target[nearest] - group.points[nearest])):
            found = cKDTree(partner.points).query(places, known)[1].reshape(len(places), known)
            source = np.repeat(np.arange(len(places)), known)
            if cloud is one:
                parts.append(source * count + found.ravel())
            else:
                parts.append(found.ravel() * count + source)
    return np.unique(np.concatenate(parts)).astype(np.int64)


def _along_curve(one: Cloud, other: Cloud) -> tuple[Index, Index]:
    """Pairs of a plan that keeps the order along a curve through space."""
    orders = [curve_order(cloud.points) for cloud in (one, other)]
    ends = [
        np.cumsum(cloud.weights[order]) for cloud, order in zip((one, other), orders, strict=True)
    ]
    cuts = np.sort(np.concatenate([[0.0], *ends]))
    middle = 0.5 * (cuts[1:] + cuts[:-1])
    first, second = (
        order[np.minimum(np.searchsorted(end, middle), order.size - 1)]
        for order, end in zip(orders, ends, strict=True)
    )
    return first, second
