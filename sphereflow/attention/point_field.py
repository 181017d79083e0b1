"""v̄ and its divergence at points that carry the measure, for the method of characteristics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from ..heads import HeadNodes, largest_argument
from ..sphere import PointTransform, degrees_and_orders, lmax_of, resize, tangent_basis
from .average import Averages, average_at_points
from .energy import EnergyTerms, energy_terms
from .field import velocity_of
from .grid_field import GridField, GridFieldState
from .measure import accuracy_of_transform, transform_of_points
from .transform import LaplaceTransform

__all__ = ["KeptMoments", "PointField", "PointFieldState", "PointSample"]

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

    left : evaluations before harmonics are tried again
    """

    direct_evaluations: int = 0
    left: int = 0
    grid_field: GridFieldState = field(default_factory=GridFieldState)


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


class PointField:
    """Evaluates v̄ and div v̄ of weighted points.

    Both come from vector harmonics, at a cost that is linear in the number of points. Where v̄
    needs more degrees than that, as logits far above 10 make it, sums over all points take their
    place, and the divergence is that of differences of fourth order.

    Parameters
    ----------
    problem : TransformerPDE
    tolerance : float
        Relative accuracy asked of v̄.
    threads : int
    state : PointFieldState, optional
        Goes on from it, and changes it.
    """

    def __init__(
        self, problem: Any, tolerance: float, threads: int, state: PointFieldState | None = None
    ) -> None:
        self.problem = problem
        self.tolerance = max(tolerance, 1e-13)
        self.threads = threads
        self.now = state or PointFieldState()
        self.grid_field = GridField.of_problem(problem, self.tolerance, self.now.grid_field)

    def __call__(self, t: float, points: Real, weights: Real) -> PointSample:
        """Sample at points (n, 3), of which the first ones carry the weights."""
        nodes = self.problem.heads.nodes(t)
        at = PointTransform(points, self.threads)
        carrying = points[: len(weights)]
        own = at if len(weights) == len(points) else PointTransform(carrying, self.threads)
        moments = KeptMoments(
            partial(own.moments, weights), max(self.now.grid_field.degree + 8, 40)
        )
        transform = transform_of_points(
            carrying,
            weights,
            accuracy_of_transform(self.tolerance, moments(COMPARED_DEGREE)),
            radius=largest_argument(nodes),
            moments=moments,
        )
        if self.now.left > 0:
            self.now.left -= 1
            return self._direct(t, transform, nodes, points, weights)
        sample = self.grid_field.evaluate(t, nodes, transform, moments, LARGEST_DEGREE)
        if sample.unresolved > max(1e3 * self.tolerance, 1e-9):
            self.now.left = RETRY_AFTER
            return self._direct(t, transform, nodes, points, weights)
        degrees, _ = degrees_and_orders(lmax_of(sample.spheroidal))
        drift_rate = 0.0
        if self.problem.drift is not None:
            still = np.zeros_like(sample.interaction)
            drift_rate = self._power_of_drift(
                t, carrying, weights, own.vector_synthesis(sample.interaction, still)
            )
        return PointSample(
            t=t,
            velocity=at.vector_synthesis(sample.spheroidal, sample.toroidal),
            divergence=at.synthesis(-degrees * (degrees + 1.0) * sample.spheroidal),
            **{name: getattr(sample, name) for name in TERMS},
            drift_rate=drift_rate,
        )

    def _power_of_drift(self, t: float, points: Real, weights: Real, gradient: Real) -> float:
        """Σ_i w_i ⟨∇∫K dΘ, u⟩ over the points that carry μ, (n, 3)."""
        drift = self.problem.prescribed_velocity(points, t)
        return float(weights @ np.einsum("ni,ni->n", gradient, drift))

    def _averages(self, transform: LaplaceTransform, nodes: HeadNodes, x: Real) -> Averages:
        softmax = self.problem.attention == "softmax"
        return average_at_points(transform, nodes, np.ascontiguousarray(x), softmax=softmax)

    def _direct(
        self, t: float, transform: LaplaceTransform, nodes: HeadNodes, points: Real, weights: Real
    ) -> PointSample:
        """Sums over all points; for the divergence Σ_e ⟨e, ∂_e v⟩ over two tangent directions."""
        self.now.direct_evaluations += 1
        x = points.T
        averages = self._averages(transform, nodes, x)
        velocity = velocity_of(averages, self.problem.velocity)
        divergence = np.zeros(len(points))
        step = DIFFERENCE / (1.0 + largest_argument(nodes))
        for direction in np.moveaxis(tangent_basis(points), 0, 2):
            for multiple, factor in _STENCIL:
                for sign in (1.0, -1.0):
                    angle = sign * multiple * step
                    moved = np.cos(angle) * x + np.sin(angle) * direction
                    along = np.cos(angle) * direction - np.sin(angle) * x
                    v = velocity_of(self._averages(transform, nodes, moved), self.problem.velocity)
                    divergence += sign * factor / step * np.einsum("in,in->n", v, along)

        count = len(weights)
        gradient, interaction = averages.interaction_gradient, averages.interaction
        inverse = averages.inverse_mobility
        drift_rate = 0.0
        if self.problem.drift is not None:
            drift_rate = self._power_of_drift(t, points[:count], weights, gradient[:, :count].T)

        def total(values: Real) -> float:
            return float(weights @ values[:count])

        return PointSample(
            t=t,
            velocity=velocity.T,
            divergence=divergence,
            **energy_terms(total, interaction, gradient, velocity, inverse_mobility=inverse),
            energy_rate_heads=0.5 * total(averages.interaction_rate),
            drift_rate=drift_rate,
            diffusion_rate=0.0,
        )
