"""v̄ and its divergence at points that carry the measure, for the method of characteristics."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ..heads import HeadNodes, Heads, largest_argument
from ..sphere import PointTransform, degrees_and_orders, lmax_of, tangent_basis
from .average import Averages, average_at_points, average_of_heads
from .energy import EnergyTerms, energy_terms, require_energies
from .field import velocity_of
from .grid_field import GridField, GridFieldState
from .measure import (
    KeptMoments,
    Source,
    WeightedPoints,
    accuracy_of_transform,
    transform_of_points,
)
from .point_series import averages_and_divergence
from .specification import FieldSpecification
from .token_costs import cost_of_grid, cost_of_series
from .token_series import LARGEST_SHARE, SERIES_TOLERANCE, LostSeries, TokenSeries
from .transform import LaplaceTransform

__all__ = ["PointField", "PointFieldState", "PointSample"]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

COMPARED_DEGREE = 8  # to which μ is compared with the uniform density
LARGEST_DEGREE = 191  # of v̄ as vector harmonics
RETRY_AFTER = 25  # evaluations after which harmonics are tried again
DIFFERENCE = 4e-3  # step of the differences that give a divergence, for logits of order 1
TERMS = [one.name for one in fields(EnergyTerms) if one.name != "drift_rate"]
_STENCIL = ((1.0, 2.0 / 3.0), (2.0, -1.0 / 12.0))  # of the first derivative, of fourth order


@dataclass(frozen=True, eq=False, kw_only=True)
class PointSample(EnergyTerms[float]):
    """Velocity (n, 3) and divergence (n,) of v̄ at n points, and the energy terms."""

    t: float
    velocity: Annotated[Real, "point 3"]
    divergence: Annotated[Real, "point"]


@dataclass
class PointFieldState:
    """What a `PointField` remembers of the evaluations before.

    series_evaluations : by series at the points
    left, lost : evaluations before vector harmonics, or series, are tried again
    spread : of the grids of heads, see `TokenSeries`
    """

    direct_evaluations: int = 0
    series_evaluations: int = 0
    left: int = 0
    lost: int = 0
    spread: float = 1.0
    grid_field: GridFieldState = field(default_factory=GridFieldState)


class PointField:
    """Evaluates v̄ and div v̄ of weighted points.

    Both come from vector harmonics, or from series of L, ∇L and ∇∇L at the points for each head,
    whichever is cheaper; the latter stay short where v̄ is steep. Where neither serves, sums over
    all points take their place, and the divergence is that of differences of fourth order.

    Parameters
    ----------
    specification : FieldSpecification
    tolerance : float
        Relative accuracy asked of v̄.
    threads : int
    state : PointFieldState, optional
        Goes on from it, and changes it.
    """

    def __init__(
        self,
        specification: FieldSpecification,
        tolerance: float,
        threads: int,
        state: PointFieldState | None = None,
    ) -> None:
        self.specification = specification
        self.tolerance = max(tolerance, 1e-13)
        self.threads = threads
        self.now = state or PointFieldState()
        self.grid_field = GridField(specification, self.tolerance, self.now.grid_field)

    def __call__(self, t: float, source: WeightedPoints, targets: Real) -> PointSample:
        """Field of the source at targets (m, 3), which begin with its positions or are others."""
        nodes = self.specification.heads.nodes(t)
        require_energies(largest_argument(nodes), t)
        at = PointTransform(targets, self.threads)
        same = targets is source.positions
        own = at if same else PointTransform(source.positions, self.threads)
        moments = KeptMoments(
            partial(own.moments, source.weights), max(self.now.grid_field.degree + 8, 40)
        )
        transform = transform_of_points(
            *source,
            accuracy_of_transform(self.tolerance, moments(COMPARED_DEGREE)),
            radius=largest_argument(nodes),
            moments=moments,
        )
        now, radius = self.now, largest_argument(nodes)
        by_series = self._cost_of_series(nodes, radius, len(targets))
        tried = by_series < cost_of_grid(len(targets), nodes, radius, now.grid_field.degree)
        if tried:
            found = self._series(t, at, own, moments, nodes, source)
            if found is not None:
                return found
        if now.left > 0:
            now.left -= 1
            sample = None
        else:
            sample = self.grid_field.evaluate(t, nodes, Source(transform, moments), LARGEST_DEGREE)
            if sample.unresolved > max(1e3 * self.tolerance, 1e-9):
                now.left, sample = RETRY_AFTER, None
        if sample is None:
            found = None
            if not tried and np.isfinite(by_series):
                found = self._series(t, at, own, moments, nodes, source)
            return found or self._direct(t, transform, nodes, source, targets)
        degrees, _ = degrees_and_orders(lmax_of(sample.spheroidal))
        drift_rate = 0.0
        if self.specification.drift is not None:
            still = np.zeros_like(sample.interaction)
            gradient = own.vector_synthesis(sample.interaction, still)
            drift_rate = self._power_of_drift(t, source, gradient)
        return PointSample(
            t=t,
            velocity=at.vector_synthesis(sample.spheroidal, sample.toroidal),
            divergence=at.synthesis(-degrees * (degrees + 1.0) * sample.spheroidal),
            **{name: getattr(sample, name) for name in TERMS},
            drift_rate=drift_rate,
        )

    def _cost_of_series(self, nodes: HeadNodes, radius: float, count: int) -> float:
        """Infinite where series do not serve, or were lost shortly before."""
        if not isinstance(nodes, Heads) or self.specification.velocity != "attention":
            return np.inf
        if self.now.lost > 0:
            self.now.lost -= 1
            return np.inf
        return cost_of_series(count, nodes, radius, second=True)

    def _series(
        self,
        t: float,
        at: PointTransform,
        own: PointTransform,
        moments: KeptMoments,
        nodes: HeadNodes,
        source: WeightedPoints,
    ) -> PointSample | None:
        """By series of each head, or None where they are lost."""
        assert isinstance(nodes, Heads)
        now, count = self.now, len(source.weights)
        softmax = self.specification.softmax

        def series(places: PointTransform) -> TokenSeries:
            return TokenSeries(
                places,
                source,
                moments,
                SERIES_TOLERANCE,
                spread=now.spread,
                allowed_pairs=LARGEST_SHARE * nodes.weights.size * len(places.points) * count,
                threads=self.threads,
            )

        try:
            here = series(at)
            averages, divergence = averages_and_divergence(here, nodes, softmax=softmax)
            carried = averages.at(slice(count))
            if not np.array_equal(at.points[:count], own.points):
                carried = average_of_heads(series(own), nodes, source.positions.T, softmax=softmax)
        except LostSeries:
            now.lost = RETRY_AFTER
            return None
        now.series_evaluations += 1
        now.spread = here.spread
        return self._sample(t, source, averages.attention, divergence, carried)

    def _power_of_drift(self, t: float, source: WeightedPoints, gradient: Real) -> float:
        """Σ_i w_i ⟨∇∫K dΘ, u⟩ over the source, with the gradient there, (n, 3)."""
        assert self.specification.drift is not None
        drift = self.specification.drift(source.positions, t)
        return float(source.weights @ np.einsum("ni,ni->n", gradient, drift))

    def _averages(self, transform: LaplaceTransform, nodes: HeadNodes, x: Real) -> Averages:
        softmax = self.specification.softmax
        return average_at_points(transform, nodes, np.ascontiguousarray(x), softmax=softmax)

    def _direct(
        self,
        t: float,
        transform: LaplaceTransform,
        nodes: HeadNodes,
        source: WeightedPoints,
        targets: Real,
    ) -> PointSample:
        """Sums over all points; for the divergence Σ_e ⟨e, ∂_e v⟩ over two tangent directions."""
        self.now.direct_evaluations += 1
        x = targets.T
        averages = self._averages(transform, nodes, x)
        velocity = velocity_of(averages, self.specification.velocity)
        divergence = np.zeros(len(targets))
        step = DIFFERENCE / (1.0 + largest_argument(nodes))
        for direction in np.moveaxis(tangent_basis(targets), 0, 2):
            for multiple, factor in _STENCIL:
                for sign in (1.0, -1.0):
                    angle = sign * multiple * step
                    moved = np.cos(angle) * x + np.sin(angle) * direction
                    along = np.cos(angle) * direction - np.sin(angle) * x
                    v = velocity_of(
                        self._averages(transform, nodes, moved), self.specification.velocity
                    )
                    divergence += sign * factor / step * np.einsum("in,in->n", v, along)

        count = len(source.weights)
        if np.array_equal(targets[:count], source.positions):
            own = averages.at(slice(count))
        else:
            own = self._averages(transform, nodes, source.positions.T)
        return self._sample(t, source, velocity, divergence, own)

    def _sample(
        self, t: float, source: WeightedPoints, velocity: Real, divergence: Real, own: Averages
    ) -> PointSample:
        """Of velocities (3, n), and the averages at the points that carry μ."""
        drift_rate = 0.0
        if self.specification.drift is not None:
            drift_rate = self._power_of_drift(t, source, own.interaction_gradient.T)

        def total(values: Real) -> float:
            return float(source.weights @ values)

        return PointSample(
            t=t,
            velocity=velocity.T,
            divergence=divergence,
            **energy_terms(
                total,
                own.interaction,
                own.interaction_gradient,
                velocity_of(own, self.specification.velocity),
                inverse_mobility=own.inverse_mobility,
            ),
            energy_rate_heads=0.5 * total(own.interaction_rate),
            drift_rate=drift_rate,
            diffusion_rate=0.0,
        )
