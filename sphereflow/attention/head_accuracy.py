"""How far the quadrature of a head law can be trusted, by a finer one at a few points."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..heads import HeadLaw, HeadNodes
from ..sphere import SphereGrid
from .average import Averages, average_at_points, average_on_grid
from .transform import LaplaceTransform

__all__ = ["few_of", "quadrature_error", "remedy", "settled_law"]

Real = NDArray[np.float64]

AIM = 1e-6  # of a field by itself, where the number of nodes is left open
MOST_NODES = 60_000  # of a rule that is tried
POINTS = 8  # at which rules are compared
SAFETY = 2.0
ROUND_OFF = 1e-7  # of the largest logits: a slower velocity has a millionth of round-off in it


def remedy(law: HeadLaw, t: float) -> str:
    """What makes averages over Θ_t more accurate."""
    return law.remedy if law.error(t) > AIM else law.more_nodes


def few_of(x: Real) -> Real:
    """At most `POINTS` of the columns of x, shape (3, n)."""
    return np.ascontiguousarray(x[:, :: -(-x.shape[1] // POINTS)])


@lru_cache(maxsize=1)
def _grid() -> SphereGrid:
    return SphereGrid(31, nlat=32, engine="ducc0")


def quadrature_error(
    transform: LaplaceTransform,
    nodes: HeadNodes,
    finer: HeadNodes,
    x: Real,
    *,
    softmax: bool = True,
) -> float:
    """Relative difference of v̄, ∫∇K dΘ, 1/b and ∫K dΘ by two quadratures at x, twice the largest.

    Those of vectors are relative to the longest of them. Isotropic heads, which are cheap on a
    grid, are compared on one.
    """
    if nodes.isotropic is not None:
        first = average_on_grid(transform, nodes, _grid(), softmax=softmax)
        second = average_on_grid(transform, finer, _grid(), softmax=softmax)
    else:
        first = average_at_points(transform, nodes, x, softmax=softmax)
        second = average_at_points(transform, finer, x, softmax=softmax)
    reach = float(np.abs(nodes.arguments(x, slice(0, nodes.weights.size))).max())
    return SAFETY * max(_differences(first, second, reach))


def _differences(first: Averages, second: Averages, reach: float) -> list[float]:
    errors = []
    for name in ("attention", "interaction_gradient"):
        old, new = getattr(first, name), getattr(second, name)
        size = float(np.linalg.norm(new, axis=0).max())
        whole = 1.0 if name == "attention" else float(np.abs(second.interaction).max())
        least = ROUND_OFF * reach * whole
        errors.append(float(np.linalg.norm(new - old, axis=0).max()) / max(size, least, 1e-300))
    for name in ("inverse_mobility", "interaction"):
        old, new = getattr(first, name), getattr(second, name)
        errors.append(float(np.abs(old / new - 1.0).max()))
    return errors


def settled_law(
    transform: LaplaceTransform, law: HeadLaw, t: float, x: Real, *, softmax: bool = True
) -> tuple[HeadLaw, float]:
    """A law whose quadrature is right to 1e-6 at x if it may choose its nodes, and its error."""
    sample, automatic = few_of(x), law.automatic
    nodes, error = law.nodes(t), np.inf
    while True:
        finer = law.refined(t)
        if finer is None:
            return law, 0.0
        more = finer.nodes(t)
        if more.weights.size <= nodes.weights.size:
            return law, error
        error = quadrature_error(transform, nodes, more, sample, softmax=softmax)
        if error <= AIM or not automatic or more.weights.size > MOST_NODES:
            return law, error
        law, nodes = finer, more
