"""Wasserstein distances of weighted points, with bounds where the points stand for more.

Transport problems of limited size are solved exactly. Larger clouds, and densities, are brought
to that size by grouping, and what this can change is bounded: from above by the plan that spreads
the mass of each group over that of its partners, from below by potentials and by the distance of
the groups from what they stand for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ResolutionError
from ..sphere import unit

__all__ = [
    "MOST_POINTS",
    "Bounds",
    "Cloud",
    "Transport",
    "angles",
    "grouped",
    "joined",
    "optimal_plan",
    "transport_bounds",
]

Real = NDArray[np.float64]
Index = NDArray[np.int64]

MOST_POINTS = 10_000  # of each measure in an exact transport problem
MOST_ITERATIONS = 20_000_000
MOST_PAIRS = 20_000_000  # distances from all points to the groups of the other measure
CHUNK = 2_000_000
ROUND_OFF = 3e-8  # of an angle by its cosine
GOLDEN = 0.5 * (1.0 + np.sqrt(5.0))


class Cloud(NamedTuple):
    """A measure on the sphere by weighted points."""

    points: Real  # (n, 3)
    weights: Real  # (n,), of sum 1
    spread: Real  # (n,) mean square angle to each point of the mass that it stands for, in rad²

    @classmethod
    def of(cls, points: Real, weights: Real, spread: Real | None = None) -> Cloud:
        """The points of positive weight, with weights of sum 1; by default for themselves."""
        kept = weights > 0
        share = np.asarray(weights[kept], dtype=np.float64)
        size = np.zeros(share.size) if spread is None else spread[kept]
        return cls(np.ascontiguousarray(points[kept]), share / share.sum(), size)

    def distance(self, order: int) -> float:
        """Bound of the Wasserstein distance between the points and what they stand for."""
        mean = self.weights @ self.spread ** (0.5 * order)
        return float(mean ** (1.0 / order))


class Bounds(NamedTuple):
    """A value between two bounds of the truth."""

    low: float
    value: float
    high: float

    @classmethod
    def between(cls, low: float, high: float) -> Bounds:
        """The middle of two bounds; of a lower one above the upper one, by rounding, both."""
        low = max(0.0, low)
        low, high = min(low, high), max(low, high)
        return cls(low, 0.5 * (low + high), high)

    @property
    def error(self) -> float:
        """Largest difference of the value from the truth."""
        return max(self.high - self.value, self.value - self.low)


class Transport(NamedTuple):
    """Wasserstein distances in radians, how they were computed, and bounds of their errors."""

    w1: float
    w2: float
    method: str
    w1_error: float
    w2_error: float


def grouped(cloud: Cloud, most: int) -> Cloud:
    """At most so many groups of the points of a cloud, each at its barycentre.

    Half of them are as fine as makes the groups smallest on average, where most of the mass is;
    the others share the rest.
    """
    if len(cloud.points) <= most:
        return cloud
    from scipy.spatial import cKDTree

    wide = cKDTree(_lattice(most)).query(cloud.points)[1]
    best = joined(cloud, wide)
    if most < 4:
        return best
    rest = cKDTree(_lattice(most // 2)).query(cloud.points)[1]
    for factor in (2, 4, 8, 16, 32, 64):
        near = cKDTree(_lattice(factor * most)).query(cloud.points)[1]
        mass = np.bincount(near, weights=cloud.weights)
        heavy = np.argsort(-mass)[: most // 2]
        inside = np.isin(near, heavy)
        found = joined(cloud, np.where(inside, near, -1 - rest))
        if found.distance(2) > best.distance(2):
            break
        best = found
    return best


def joined(cloud: Cloud, labels: Index) -> Cloud:
    """The points of each label as one, at their barycentre."""
    _, group = np.unique(labels, return_inverse=True)
    mass: Real = np.bincount(group, weights=cloud.weights).astype(np.float64)

    def means(vectors: Real) -> Real:
        columns = [np.bincount(group, weights=cloud.weights * one) for one in vectors.T]
        return np.stack(columns, axis=1) / mass[:, None]

    # Points that balance each other have no direction in common.
    middle = means(cloud.points) + 1e-9 * cloud.points[np.unique(group, return_index=True)[1]]
    centres = unit(middle)
    # Tangent vectors at the barycentre are 0 on average: first order terms vanish there.
    for _ in range(2):
        centres = unit(centres + means(_logarithms(centres[group], cloud.points)))
    angle = np.linalg.norm(_logarithms(centres[group], cloud.points), axis=1)
    return Cloud(centres, mass, means((angle**2 + cloud.spread)[:, None])[:, 0])


def transport_bounds(
    first: Cloud, second: Cloud, one: Cloud, other: Cloud, orders: tuple[int, ...] = (1, 2)
) -> list[Bounds]:
    """Bounds of W1 and W2, or one of them, between what two clouds stand for.

    Parameters
    ----------
    first, second : Cloud
        By as many points as are good for lower bounds.
    one, other : Cloud
        The same measures by fewer points, between which the transport problem is solved.

    Raises
    ------
    ResolutionError
        If the exact solver does not converge.
    """
    distance = angles(one.points, other.points)
    solved = [optimal_plan(one, other, distance**order) for order in orders]
    potentials = np.stack([found.u for found in solved]), np.stack([found.v for found in solved])
    lows = np.zeros(len(orders))
    for here, there, groups, potential in (
        (first, second, other, potentials[1]),
        (second, first, one, potentials[0]),
    ):
        if not there.spread.any():
            lows = np.maximum(lows, _nearest(here, there, orders))
            if groups is there and len(here.points) * len(there.points) <= MOST_PAIRS:
                dual = _transforms(here.points, groups.points, potential, orders) @ here.weights
                lows = np.maximum(lows, np.maximum(dual + potential @ there.weights, 0.0))
    pairs = (len(first.points) + len(second.points)) * len(other.points)
    if orders[0] == 1 and other is not second and pairs <= MOST_PAIRS:
        # φ(x) = min_j d(x, y_j) − v_j has the Lipschitz constant 1: W1 ≥ ∫φ dμ − ∫φ dν.
        gain, loss = (
            cloud.weights @ _transforms(cloud.points, other.points, potentials[1], (1,))[0]
            for cloud in (first, second)
        )
        lows[0] = max(lows[0], gain - loss)
    results = []
    for order, found, least in zip(orders, solved, lows, strict=True):
        root = 1 / order
        low = max(
            found.low**root - one.distance(order) - other.distance(order),
            least**root - first.distance(order) - second.distance(order),
            0.0,
        )
        # The mean of d² over a mass is at most that at its barycentre plus its spread: d²/2
        # bends no more than in the plane. By Jensen the mean of d is at most the root of that.
        row, column = found.pairs
        square = distance[row, column] ** 2 + one.spread[row] + other.spread[column]
        high = max(low, float(found.moved @ square ** (0.5 * order)) ** root)
        results.append(Bounds(low, float(np.clip(found.cost**root, low, high)), high))
    return results


class _Plan(NamedTuple):
    """An optimal plan and its potentials."""

    cost: float
    low: float  # what the potentials prove of the least cost
    pairs: tuple[Index, Index]
    moved: Real
    u: Real
    v: Real


def optimal_plan(one: Cloud, other: Cloud, cost: Real) -> _Plan:
    import ot

    plan, log = ot.lp.emd(one.weights, other.weights, cost, numItermax=MOST_ITERATIONS, log=True)
    if log["warning"]:
        raise ResolutionError(
            f"the optimal transport of {len(one.points)} and {len(other.points)} points did not "
            f"converge ({log['warning']}); use fewer points"
        )
    u, v = log["u"], log["v"]
    row, column = np.nonzero(plan)
    moved = plan[row, column]
    slack = min(0.0, float((cost - u[:, None] - v).min()))
    low = max(0.0, float(u @ one.weights + v @ other.weights) + slack)
    return _Plan(float(moved @ cost[row, column]), low, (row, column), moved, u, v)


def _transforms(points: Real, centres: Real, potentials: Real, orders: tuple[int, ...]) -> Real:
    """min_j d(x, y_j)^order − v_j at each point x for each order and its potential v."""
    result = np.empty((len(orders), len(points)))
    step = max(1, CHUNK // len(centres))
    for low in range(0, len(points), step):
        cosine = points[low : low + step] @ centres.T
        distance = np.arccos(np.clip(cosine, -1.0, 1.0, out=cosine), out=cosine)
        # Round-off of a cosine is worth so much of a small angle.
        distance -= ROUND_OFF
        np.maximum(distance, 0.0, out=distance)
        for row, order in enumerate(orders):
            result[row, low : low + step] = (distance**order - potentials[row]).min(axis=1)
    return result


def _nearest(first: Cloud, second: Cloud, orders: tuple[int, ...]) -> Real:
    """Means of the powers of the angle to the nearest point of the second cloud."""
    from scipy.spatial import cKDTree

    chord = cKDTree(second.points).query(first.points)[0]
    angle = 2.0 * np.arcsin(np.minimum(0.5 * chord, 1.0))
    return np.array([first.weights @ angle**order for order in orders])


def angles(x: Real, y: Real) -> Real:
    """Angles between all pairs; by chords, accurate for small distances where cosines are not."""
    square = np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1) - 2.0 * (x @ y.T)
    row, column = np.nonzero(square < 1e-4)
    square[row, column] = np.sum((x[row] - y[column]) ** 2, axis=1)
    np.maximum(square, 0.0, out=square)
    distances: Real = 2.0 * np.arcsin(np.minimum(1.0, 0.5 * np.sqrt(square)))
    return distances


def _logarithms(centres: Real, points: Real) -> Real:
    """Tangent vectors at the centres that lead to the points, of the length of the angle."""
    cosine = np.einsum("ni,ni->n", centres, points)
    flat = points - cosine[:, None] * centres
    sine = np.linalg.norm(flat, axis=1)
    angle = np.arctan2(sine, cosine)
    factor = np.divide(angle, sine, out=np.ones_like(sine), where=sine > 0)
    logarithms: Real = factor[:, None] * flat
    return logarithms


@lru_cache(maxsize=16)
def _lattice(count: int) -> Real:
    """So many points evenly over the sphere, on a Fibonacci spiral, shape (count, 3)."""
    index = np.arange(count) + 0.5
    z = 1.0 - 2.0 * index / count
    sine, phi = np.sqrt(1.0 - z**2), 2.0 * np.pi * index / GOLDEN
    return np.stack([sine * np.cos(phi), sine * np.sin(phi), z], axis=1)
