"""From whatever represents μ to its Laplace transform: the neck of the hourglass."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..densities.base import Density
from ..densities.node_rules import node_rule
from ..densities.projection import is_nearly_resolved
from ..sphere import (
    PointTransform,
    SphereGrid,
    deviation_from_uniform,
    lmax_of,
    power_by_degree,
    resize,
)
from .series_degrees import LARGEST_SERIES, scaled_bessel, series_degree
from .transform import LaplaceTransform, Nodes

__all__ = [
    "KeptMoments",
    "Source",
    "WeightedPoints",
    "accuracy_of_transform",
    "transform_of_coefficients",
    "transform_of_density",
    "transform_of_points",
]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

FINEST_ACCURACY = 1e-13


class WeightedPoints(NamedTuple):
    """Σ_i w_i δ_{x_i}: positions (n, 3) and weights (n,) of sum 1."""

    positions: Real
    weights: Real


class Source(NamedTuple):
    """What a field is evaluated from: the transform of a measure, and its moments to any degree."""

    transform: LaplaceTransform
    moments: Callable[[int], Complex]


class KeptMoments:
    """Moments of a measure, kept to the highest degree asked for so far.

    Parameters
    ----------
    compute : callable
        ``compute(degree)`` returns the complex coefficients to that degree.
    degree : int
        To which they are computed at once.
    """

    def __init__(self, compute: Callable[[int], Complex], degree: int) -> None:
        self.compute = compute
        self.kept = compute(degree)

    def __call__(self, degree: int) -> Complex:
        if degree > lmax_of(self.kept):
            self.kept = self.compute(degree)
        return resize(self.kept, degree)


def accuracy_of_transform(tolerance: float, coefficients: Complex) -> float:
    """Relative accuracy of L that gives the velocity to this tolerance.

    The velocity comes from the deviation of μ from the uniform density, L from all of μ.
    """
    return max(tolerance * deviation_from_uniform(coefficients), FINEST_ACCURACY)


def _quadrature_rings(coefficients: Complex, radius: float) -> tuple[int, int]:
    """Degree of the density, and rings that integrate e^{⟨z,y⟩} μ for |z| ≤ radius.

    A Gauss grid of n rings is exact to degree 2n − 1, here the sum of both degrees.
    """
    power = np.sqrt(power_by_degree(coefficients))
    own = int(np.flatnonzero(power > 1e-13 * power.max()).max())
    return own, max(16, (own + _degree_of_exponential(radius)) // 2 + 2)


def _degree_of_exponential(radius: float) -> int:
    """Degree beyond which e^{⟨z,y⟩} is negligible for |z| ≤ radius."""
    degrees = np.arange(400 + int(0.06 * radius))
    series = (2 * degrees + 1) * scaled_bessel(degrees, radius)
    return int(np.flatnonzero(series > 1e-17).max())


def transform_of_coefficients(
    coefficients: Complex, tolerance: float, *, truncated: bool = False
) -> LaplaceTransform:
    """Transform of a density given by complex coefficients, all of them or the first ones.

    The direct route uses grid values of the density; the small negative values of a truncated
    series are set to 0 there, so that its weights stay positive.
    """

    return LaplaceTransform(
        partial(_first_moments, coefficients),
        partial(_nodes_of_coefficients, coefficients),
        tolerance,
        truncated,
        noisy=True,
    )


# Functions of the module, so that fields can be sent to other processes.


def _first_moments(coefficients: Complex, degree: int) -> Complex:
    return resize(coefficients, min(degree, lmax_of(coefficients)))


def _nodes_of_coefficients(coefficients: Complex, radius: float) -> Nodes:
    own, rings = _quadrature_rings(coefficients, radius)
    rings = max(rings, own + 1)
    grid = SphereGrid(rings - 1, nlat=rings, engine="ducc0")
    values = grid.synthesis(grid.resized(coefficients)) * grid.weights
    inside = values > 0
    return grid.points[inside], np.log(values[inside])


def _nodes_of_peaks(density: Density, radius: float) -> Nodes:
    rule = node_rule(density, 2 * _degree_of_exponential(radius))
    return rule.positions, np.log(rule.weights)


def _nodes_of_density(density: Density, coefficients: Complex, radius: float) -> Nodes:
    _, rings = _quadrature_rings(coefficients, radius)
    grid = SphereGrid(rings - 1, nlat=rings, engine="ducc0")
    logs = density.log_density(grid.points)
    with np.errstate(divide="ignore"):
        logs = logs + np.log(grid.weights)
    inside = np.isfinite(logs)
    logs = logs[inside]
    total = logs.max() + np.log(np.exp(logs - logs.max()).sum())
    return grid.points[inside], logs - total


def _nodes_of_points(points: Real, weights: Real, radius: float) -> Nodes:
    inside = weights > 0
    return points[inside], np.log(weights[inside])


def transform_of_density(density: Density, tolerance: float) -> LaplaceTransform:
    """Transform of a density, whose logarithm serves the direct route everywhere."""
    coefficients = density.resolved_spectrum()
    moments = partial(_first_moments, coefficients)
    if not is_nearly_resolved(coefficients) and density.knows_spectrum:
        # Its moments are known all the same, and its peaks have quadratures of their own.
        return LaplaceTransform(moments, partial(_nodes_of_peaks, density), tolerance)
    nodes = partial(_nodes_of_density, density, coefficients)
    return LaplaceTransform(moments, nodes, tolerance)


def transform_of_points(
    points: Real,
    weights: Real,
    tolerance: float,
    *,
    radius: float | None = None,
    moments: Callable[[int], Complex] | None = None,
) -> LaplaceTransform:
    """Transform of Σ_i w_i δ_{x_i}; points of shape (n, 3), weights of sum 1.

    With `radius`, the largest |z| that will be asked for, only the moments that it needs are
    computed; `moments` gives them where they are known already.
    """
    if moments is None:
        at = PointTransform(points)
        moments = partial(at.moments, weights)

    nodes = partial(_nodes_of_points, points, weights)
    degree = LARGEST_SERIES if radius is None else series_degree(radius, tolerance)
    return LaplaceTransform(moments, nodes, tolerance, degree=degree)
