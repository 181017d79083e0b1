"""A run of the method of characteristics: nodes of μ_0 and the log-density along them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..attention import BUDGET_RATES, PointField, PointSample, tangential
from ..densities.node_rules import node_rule
from ..machine.plain_state import attributes_of, set_attributes
from ..problem import TransformerPDE
from ..sphere import (
    PointTransform,
    complex_to_real,
    deviation_from_uniform,
    power_by_degree,
    real_degrees_and_orders,
    unit,
)
from .budgets import EnergyBudget
from .doubts import doubts_of_resolution
from .drift_divergence import DriftDivergence
from .inputs_in_time import TimeInputs, thinned
from .protocol import Restart, Stop
from .token_steps import Resolved, dormand_prince

if TYPE_CHECKING:
    from .characteristics import Characteristics

__all__ = ["CharacteristicsRun"]

Real = NDArray[np.float64]

CHECK_SHARE = 0.7  # degree of the quadrature that is carried along for comparison
COMPARED_DEGREE = 8  # of the moments that are compared
GROWTH = 1.4  # of the degree when a run starts again
LARGEST_EXPONENT = 709.0  # of a number that a dataset can hold; log_density goes on
KEPT = (
    *("t", "_start", "degree", "evaluations", "weights", "log_density", "positions"),
    *("_check_weights", "_length", "_resolution"),
)
FIELD_SHARE = 0.01  # accuracy of v̄ relative to rtol


class CharacteristicsRun:
    """State of one run: n nodes that carry μ, and passive ones behind them for the check."""

    def __init__(
        self,
        options: Characteristics,
        problem: TransformerPDE,
        rtol: float,
        t: float,
        degree: int,
    ) -> None:
        self.options = options
        self.problem = problem
        self.rtol = rtol
        self.degree = degree
        self.t = self._start = t
        self.evaluations = 0
        rule = node_rule(problem.density, degree)
        self.weights, self.log_density = rule.weights, rule.log_density
        self.positions = rule.positions
        self._check_weights: Real | None = None
        if problem.density.nodes() is None:
            coarser = int(CHECK_SHARE * degree)
            check = node_rule(problem.density, coarser)
            while len(check.weights) >= len(rule.weights) and coarser > 0:
                coarser -= 1
                check = node_rule(problem.density, coarser)
            self._check_weights = check.weights
            self.positions = np.concatenate([rule.positions, check.positions])
        self._length: float | None = None
        self._drift_divergence = DriftDivergence(problem)
        self._inputs = TimeInputs(problem)
        self.field: PointField | None = None
        self.budget: EnergyBudget | None = None
        self._latest: PointSample | None = None
        self._resolution: float | None = None
        if problem.heads is not None:
            self.field = PointField(problem, FIELD_SHARE * rtol, options.threads)
            self.budget = EnergyBudget(problem.sign, self.sample)

    # Velocity

    @property
    def sample(self) -> PointSample:
        """The field at the current time, evaluated once."""
        if self._latest is None:
            assert self.field is not None
            self._latest = self.field(self.t, self.positions, self.weights)
        return self._latest

    def _rates(self, t: float, positions: Real) -> tuple[Real, Real, Real]:
        """Velocity and divergence of s·v̄ + u at unit vectors, and the rates of the budget."""
        velocity, divergence = np.zeros_like(positions), np.zeros(len(positions))
        terms = np.zeros(len(BUDGET_RATES))
        if self.field is not None:
            sample = self.field(t, positions, self.weights)
            velocity += self.problem.sign * sample.velocity
            divergence += self.problem.sign * sample.divergence
            terms = np.array([getattr(sample, name) for name in BUDGET_RATES])
        if self.problem.drift is not None:
            velocity += self._drift(t, positions)
            divergence += self._drift_divergence(positions, t)
        return velocity, divergence, terms

    # Time

    def advance(self, target: float) -> None:
        """Adaptive steps to `target`, or to a kink of the head law before it."""
        target = min(target, self.problem.kink_after(self.t))
        shape, count = self.positions.shape, len(self.weights)
        places = self.positions.size

        # Integrals of the budget count in units of the energy.
        energy = 1.0 if self.field is None else self.sample.energy

        def rate(t: float, state: Real) -> Real:
            y = state[:places].reshape(shape)
            length = np.linalg.norm(y, axis=1, keepdims=True)
            t = self.problem.time_within(self.t, target, t)
            velocity, divergence, terms = self._rates(t, y / length)
            self.evaluations += 1
            # A rate in proportion to the length moves the direction with v whatever the length.
            return np.concatenate(
                [(length * velocity).ravel(), -divergence[:count], terms / energy]
            )

        def parts(squares: Real) -> Real:
            by_node = squares[:places].reshape(shape).mean(axis=1)
            rest = squares[places + count :]
            return np.concatenate([by_node, [squares[places : places + count].mean()], rest])

        def inputs(state: Real) -> list[Any]:
            return self._inputs.all_at(unit(state[: 3 * count].reshape(-1, 3)))

        def drift(t: float, state: Real) -> Real:
            points = thinned(unit(state[: 3 * count].reshape(-1, 3)))
            return self.problem.prescribed_velocity(points, t)

        def tolerance(state: Real) -> Real:
            bounds = np.full(state.size, self.rtol)
            bounds[: places + count] = self._tolerance(state)
            return bounds

        start = np.concatenate(
            [self.positions.ravel(), np.zeros(count), np.zeros(len(BUDGET_RATES))]
        )
        end, self._length = dormand_prince(
            rate,
            self.t,
            start,
            target,
            tolerance,
            self._length,
            parts if self.options.error_norm == "largest" else None,
            Resolved(inputs, self.rtol, drift if self.problem.drift_depends_on_time else None),
        )
        positions = end[:places].reshape(shape)
        self.positions = positions / np.linalg.norm(positions, axis=1, keepdims=True)
        self.log_density = self.log_density + end[places : places + count]
        self.t = target
        self._latest = self._resolution = None
        if self.budget is not None:
            integrals = energy * end[places + count :]
            self.budget.add(dict(zip(BUDGET_RATES, integrals.tolist(), strict=True)), self.sample)

    def _tolerance(self, state: Real) -> float:
        """Of the next step: `rtol`, in units of the deviation where μ is nearly uniform."""
        carrying = state[: 3 * len(self.weights)].reshape(-1, 3)
        moments = PointTransform(unit(carrying)).moments(self.weights, COMPARED_DEGREE)
        return self.rtol * deviation_from_uniform(moments)

    def check(self) -> Stop | Restart | None:
        """Start again with more nodes if the moments need them; stop if that is not possible."""
        if not np.isfinite(self.positions).all():
            return Stop("not-finite", f"a node stopped being finite at t = {self.t:.6g}")
        error, limit = self.resolution, self.options.resolution_limit
        if error <= max(self._tolerance(self.positions.ravel()), 1e-13):
            return None
        if self.degree < self.options.degree_max and self.problem.density.nodes() is None:
            degree = min(self.options.degree_max, int(GROWTH * self.degree) + 1)
            again = (self.options, self.problem, self.rtol, self._start, degree)
            return Restart(lambda: CharacteristicsRun(*again))
        if limit is None or error <= limit:
            return None
        return Stop(
            "under-resolved",
            f"at t = {self.t:.6g} the moments of the nodes are known to {error:.1e} only; raise "
            "degree_max",
        )

    # Output

    @property
    def resolution(self) -> float:
        """Largest difference of low moments between the two quadratures; 0 for fixed points.

        For each degree the norm over the orders, 1 for a point mass.
        """
        if self._resolution is None:
            self._resolution = self._compare_moments()
        return self._resolution

    def _compare_moments(self) -> float:
        if self._check_weights is None:
            return 0.0
        count = len(self.weights)
        moments = PointTransform(self.positions[:count]).moments(self.weights, COMPARED_DEGREE)
        check = PointTransform(self.positions[count:]).moments(self._check_weights, COMPARED_DEGREE)
        scale = 4 * np.pi / (2 * np.arange(COMPARED_DEGREE + 1) + 1)
        return min(1.0, float(np.sqrt((scale * power_by_degree(moments - check)).max())))

    def coordinates(self) -> dict[str, Any]:
        """Degrees and orders of the spectrum, and weights of the nodes."""
        degrees, orders = real_degrees_and_orders(self.options.spectrum_degree)
        return {
            "degree": ("harmonic", degrees),
            "order": ("harmonic", orders),
            "token_weight": ("token", self.weights),
        }

    def record(self) -> dict[str, Any]:
        """Variables at the current time."""
        count, w = len(self.weights), self.weights
        x = self.positions[:count]
        moments = PointTransform(x).moments(w, self.options.spectrum_degree)
        velocity = self._velocity_at_nodes()
        record: dict[str, Any] = {
            "position": x.copy(),
            "log_density": self.log_density.copy(),
            "spectrum": complex_to_real(moments),
            "mass": float(w.sum()),
            "minimum": float(np.exp(min(self.log_density.min(), LARGEST_EXPONENT))),
            "entropy": -float(w @ self.log_density),
            "first_moment": w @ x,
            "second_moment": np.einsum("n,ni,nj->ij", w, x, x),
            "resolution": self.resolution,
            "speed": float(np.sqrt(w @ np.einsum("ni,ni->n", velocity, velocity))),
        }
        if self.budget is None:
            return record
        return record | self.budget.record() | self.problem.law.nodes(self.t).record()

    def _velocity_at_nodes(self) -> Real:
        """s·v̄ + u at the nodes that carry μ, from the field that is known there."""
        x = self.positions[: len(self.weights)]
        velocity = np.zeros_like(x)
        if self.field is not None:
            velocity += self.problem.sign * self.sample.velocity[: len(x)]
        if self.problem.drift is not None:
            velocity += self._drift(self.t, x)
        return velocity

    def _drift(self, t: float, positions: Real) -> Real:
        """Prescribed velocity at unit vectors, tangent."""
        drift = self.problem.prescribed_velocity(positions, t)
        return tangential(positions.T, drift.T).T

    def state(self) -> dict[str, Any]:
        """Nothing: the records hold all of it."""
        return {}

    def kept(self) -> dict[str, Any]:
        """The state as plain data."""
        kept: dict[str, Any] = attributes_of(self, KEPT)
        kept["divergence_degree"] = self._drift_divergence.degree
        kept["latest"] = None if self._latest is None else dict(vars(self._latest))
        if self.field is not None:
            assert self.budget is not None
            kept |= {"field": self.field.kept(), "budget": self.budget.kept()}
        return kept

    @classmethod
    def resumed(
        cls, options: Characteristics, problem: TransformerPDE, rtol: float, kept: Mapping[str, Any]
    ) -> CharacteristicsRun:
        """The run with the state that it was kept with."""
        run = cls(options, problem, rtol, kept["_start"], kept["degree"])
        set_attributes(run, KEPT, kept)
        run._drift_divergence.degree = kept["divergence_degree"]
        latest = kept["latest"]
        run._latest = None if latest is None else PointSample(**latest)
        if run.field is not None:
            assert run.budget is not None
            run.field.take_over(kept["field"])
            run.budget.take_over(kept["budget"], PointSample)
        return run

    def doubts(self) -> list[str]:
        """That the moments are not known to the tolerance, if they are not."""
        return doubts_of_resolution("errors of moments", self.resolution, self.rtol, "degree_max")

    def information(self) -> dict[str, Any]:
        """Numbers for progress reports and attributes."""
        information: dict[str, Any] = {
            "nodes": len(self.weights),
            "node_degree": self.degree,
            "evaluations": self.evaluations,
        }
        if self.field is not None:
            information["field_degree"] = self.field.grid_field.degree
            information["direct_evaluations"] = self.field.direct_evaluations
        return information
