"""The method of characteristics: nodes of μ_0 with the log-density along them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ..attention import (
    BUDGET_RATES,
    PointField,
    PointFieldState,
    PointSample,
    WeightedPoints,
    tangential,
)
from ..checks import integer, one_of, positive_number
from ..densities.node_rules import node_rule
from ..describe.fields import Bounds, Words
from ..describe.registry import SCHEMES
from ..errors import InputError
from ..heads import largest_argument
from ..machine.plain_state import from_plain
from ..machine.threads import MOST_THREADS
from ..problem import TransformerPDE
from ..sphere import (
    PointTransform,
    complex_to_real,
    deviation_from_uniform,
    power_by_degree,
    unit,
)
from .doubts import doubts_of_kernel, doubts_of_resolution
from .drift_divergence import DivergenceState, DriftDivergence
from .energy_budget import BudgetState, EnergyBudget, scalar_budget
from .inputs_in_time import TimeInput, TimeInputs, thinned
from .protocol import Coordinates, Information, Record, Restart, Run, Scheme, Stop
from .recorded import spectrum_coordinates
from .steppers import ERROR_NORMS, Resolved, dormand_prince

__all__ = ["Characteristics"]

Real = NDArray[np.float64]

CHECK_SHARE = 0.7  # degree of the quadrature that is carried along for comparison
COMPARED_DEGREE = 8  # of the moments that are compared
GROWTH = 1.4  # of the degree when a run starts again
LARGEST_EXPONENT = 709.0  # of a number that a dataset can hold; log_density goes on
FIELD_SHARE = 0.01  # accuracy of v̄ relative to rtol


@SCHEMES.row(references=("hairer1993",), shows=("nodes",))
@dataclass(frozen=True)
class Characteristics(Scheme):
    """μ_t as the push-forward of μ_0: quadrature nodes of μ_0 that move with the flow.

    The weights of the nodes stay, and log μ along them follows from d/dt log μ = −div(s v̄ + u).
    There is no grid, no condition on the step and, as ε = 0 is asked for, no resolution limit:
    clusters contract to points. Steps are those of Dormand and Prince of order 8 at the `rtol`
    of `solve`.

    A coarser quadrature that is carried along shows by its moments whether there are nodes
    enough (`resolution`). Where it errs by more than `rtol` the run starts again with more.

    Parameters
    ----------
    degree : int
        Polynomials of this degree are integrated exactly against μ_0 at the start.
    degree_max : int
        Highest degree to which the run may raise it; the number of nodes grows with its square.
    resolution_limit : float, optional
        Value of `resolution` at which a run at `degree_max` stops with the status
        "under-resolved"; it goes on if left out.
    spectrum_degree : int
        Degree to which `spectrum` is saved.
    threads : int
        Of the harmonic transforms.
    error_norm : {"largest", "mean"}
        The error of a step is that of the position of the worst node, or the root mean square over
        all; that of the log-density is a mean in both.

    Raises
    ------
    InputError
        On values out of range.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> density = sf.VonMisesFisher([0, 0, 1], 4.0)
    >>> problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), density)
    >>> run = sf.solve(problem, t_end=1.0, scheme=sf.Characteristics(degree=31), save_every=0.5)
    >>> run.position.dims, run.log_density.dims
    (('time', 'token', 'axis'), ('time', 'token'))
    """

    degree: Annotated[int, Bounds(4, 1023)] = 47
    degree_max: Annotated[int, Bounds(4, 1023)] = 127
    resolution_limit: Annotated[float, Bounds(above=0)] | None = None
    spectrum_degree: Annotated[int, Bounds(1, 1023)] = 32
    threads: Annotated[int, Bounds(1, MOST_THREADS)] = 1
    error_norm: Annotated[str, Words(ERROR_NORMS)] = "largest"

    def __post_init__(self) -> None:
        object.__setattr__(self, "degree", integer(self.degree, "degree", 4, 1023))
        object.__setattr__(self, "degree_max", integer(self.degree_max, "degree_max", 4, 1023))
        if self.degree_max < self.degree:
            raise InputError(
                f"degree_max must be at least degree = {self.degree}, got {self.degree_max}; "
                "raise it"
            )
        if self.resolution_limit is not None:
            limit = positive_number(self.resolution_limit, "resolution_limit")
            object.__setattr__(self, "resolution_limit", limit)
        degree = integer(self.spectrum_degree, "spectrum_degree", 1, 1023)
        object.__setattr__(self, "spectrum_degree", degree)
        object.__setattr__(self, "threads", integer(self.threads, "threads", 1, MOST_THREADS))
        one_of(self.error_norm, ERROR_NORMS, "error_norm")

    def memory(self, problem: TransformerPDE) -> tuple[float, float]:
        """Bytes of the work of a run, as measured, and of each of its outputs."""
        nodes = 2.6 * (self.degree + 1) ** 2
        numbers = 4 * nodes + (self.spectrum_degree + 1) ** 2
        return 1150.0 * nodes, 8.0 * (numbers + problem.head_numbers)

    def start(self, problem: TransformerPDE, rtol: float, t: float = 0.0) -> CharacteristicsRun:
        """A run of the problem from time t on.

        Raises
        ------
        InputError
            If the problem has diffusion.
        """
        if problem.diffusion > 0:
            raise InputError(
                f"diffusion must be 0 for Characteristics, got {problem.diffusion:g}: a diffusing "
                "density is not carried along curves; use Spectral or FiniteVolume"
            )
        return _begun(self, problem, rtol, t, self.degree)

    def resume(
        self, problem: TransformerPDE, rtol: float, kept: Mapping[str, object]
    ) -> CharacteristicsRun:
        """The run that `kept` is the state of."""
        return CharacteristicsRun(self, problem, rtol, from_plain(CharacteristicsState, kept))


@dataclass
class CharacteristicsState:
    """Where a run stands: n nodes that carry μ, and passive ones behind them for the check.

    start, degree : time and degree of the quadrature with which it began
    log_density : log μ at the nodes
    check_weights : of the passive nodes; None where the nodes are given by the density
    length : of the next step
    resolution : at the end of the last step
    latest : the field at this time, once it is known
    field, budget : None without heads
    """

    t: float
    start: float
    degree: int
    positions: Annotated[Real, "point 3"]
    weights: Annotated[Real, "node"]
    log_density: Annotated[Real, "node"]
    check_weights: Annotated[Real, "check"] | None = None
    length: float | None = None
    resolution: float | None = None
    evaluations: int = 0
    divergence: DivergenceState = dataclasses.field(default_factory=DivergenceState)
    latest: PointSample | None = None
    field: PointFieldState | None = None
    budget: BudgetState[float] | None = None


def _begun(
    options: Characteristics, problem: TransformerPDE, rtol: float, t: float, degree: int
) -> CharacteristicsRun:
    """A run from nodes that integrate polynomials of this degree against μ_0."""
    rule = node_rule(problem.density, degree)
    positions, check_weights = rule.positions, None
    if problem.density.nodes() is None:
        coarser = int(CHECK_SHARE * degree)
        check = node_rule(problem.density, coarser)
        while len(check.weights) >= len(rule.weights) and coarser > 0:
            coarser -= 1
            check = node_rule(problem.density, coarser)
        check_weights = check.weights
        positions = np.concatenate([rule.positions, check.positions])
    state = CharacteristicsState(
        t, t, degree, positions, rule.weights, rule.log_density, check_weights
    )
    run = CharacteristicsRun(options, problem, rtol, state)
    if problem.heads is not None:
        state.budget = scalar_budget(run.sample.energy)
        run.budget = EnergyBudget(problem.sign, state.budget)
    return run


class CharacteristicsRun(Run):
    """One run of the method of characteristics."""

    now: CharacteristicsState

    def __init__(
        self,
        options: Characteristics,
        problem: TransformerPDE,
        rtol: float,
        state: CharacteristicsState,
    ) -> None:
        self.options = options
        self.problem = problem
        self.rtol = rtol
        self.now = state
        self._drift_divergence = DriftDivergence(problem, state.divergence)
        self._inputs = TimeInputs(problem)
        self.field: PointField | None = None
        self.budget: EnergyBudget[float] | None = None
        if problem.heads is not None:
            state.field = state.field or PointFieldState()
            how = FIELD_SHARE * rtol, options.threads
            self.field = PointField(problem.field_specification, *how, state.field)
        if state.budget is not None:
            self.budget = EnergyBudget(problem.sign, state.budget)

    # Velocity

    @property
    def sample(self) -> PointSample:
        """The field at the current time, evaluated once."""
        if self.now.latest is None:
            self.now.latest = self._field_at(self.t, self.now.positions)
        return self.now.latest

    def _field_at(self, t: float, positions: Real) -> PointSample:
        """The field of the nodes that carry μ, at these and the passive ones."""
        assert self.field is not None
        weights = self.now.weights
        carrying = positions if len(weights) == len(positions) else positions[: len(weights)]
        return self.field(t, WeightedPoints(carrying, weights), positions)

    def _rates(self, t: float, positions: Real) -> tuple[Real, Real, Real]:
        """Velocity and divergence of s·v̄ + u at unit vectors, and the rates of the budget."""
        velocity, divergence = np.zeros_like(positions), np.zeros(len(positions))
        terms = np.zeros(len(BUDGET_RATES))
        if self.field is not None:
            sample = self._field_at(t, positions)
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
        shape, count = self.now.positions.shape, len(self.now.weights)
        places = self.now.positions.size

        # Integrals of the budget count in units of the energy.
        energy = 1.0 if self.field is None else self.sample.energy

        def rate(t: float, state: Real) -> Real:
            y = state[:places].reshape(shape)
            length = np.linalg.norm(y, axis=1, keepdims=True)
            t = self.problem.time_within(self.t, target, t)
            velocity, divergence, terms = self._rates(t, y / length)
            self.now.evaluations += 1
            # A rate in proportion to the length moves the direction with v whatever the length.
            return np.concatenate(
                [(length * velocity).ravel(), -divergence[:count], terms / energy]
            )

        def parts(squares: Real) -> Real:
            by_node = squares[:places].reshape(shape).mean(axis=1)
            rest = squares[places + count :]
            return np.concatenate([by_node, [squares[places : places + count].mean()], rest])

        def inputs(state: Real) -> list[TimeInput]:
            return self._inputs.all_at(unit(state[: 3 * count].reshape(-1, 3)))

        def drift(t: float, state: Real) -> Real:
            points = thinned(unit(state[: 3 * count].reshape(-1, 3)))
            return self.problem.prescribed_velocity(points, t)

        def tolerance(state: Real) -> Real:
            bounds = np.full(state.size, self.rtol)
            bounds[: places + count] = self._tolerance(state)
            return bounds

        start = np.concatenate(
            [self.now.positions.ravel(), np.zeros(count), np.zeros(len(BUDGET_RATES))]
        )
        end, self.now.length = dormand_prince(
            rate,
            self.t,
            start,
            target,
            tolerance,
            self.now.length,
            parts if self.options.error_norm == "largest" else None,
            Resolved(inputs, self.rtol, drift if self.problem.drift_depends_on_time else None),
        )
        positions = end[:places].reshape(shape)
        self.now.positions = positions / np.linalg.norm(positions, axis=1, keepdims=True)
        self.now.log_density = self.now.log_density + end[places : places + count]
        self.now.t = target
        self.now.latest = self.now.resolution = None
        if self.budget is not None:
            integrals = energy * end[places + count :]
            self.budget.add_rates(dict(zip(BUDGET_RATES, integrals.tolist(), strict=True)))

    def _tolerance(self, state: Real) -> float:
        """Of the next step: `rtol`, in units of the deviation where μ is nearly uniform."""
        carrying = state[: 3 * len(self.now.weights)].reshape(-1, 3)
        moments = PointTransform(unit(carrying)).moments(self.now.weights, COMPARED_DEGREE)
        return self.rtol * deviation_from_uniform(moments)

    def check(self) -> Stop | Restart | None:
        """Start again with more nodes if the moments need them; stop if that is not possible."""
        if not np.isfinite(self.now.positions).all():
            return Stop("not-finite", f"a node stopped being finite at t = {self.t:.6g}")
        error, limit = self.resolution, self.options.resolution_limit
        if error <= max(self._tolerance(self.now.positions.ravel()), 1e-13):
            return None
        if self.now.degree < self.options.degree_max and self.problem.density.nodes() is None:
            degree = min(self.options.degree_max, int(GROWTH * self.now.degree) + 1)
            again = (self.options, self.problem, self.rtol, self.now.start, degree)
            return Restart(lambda: _begun(*again))
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
        if self.now.resolution is None:
            self.now.resolution = self._compare_moments()
        return self.now.resolution

    def _compare_moments(self) -> float:
        now = self.now
        if now.check_weights is None:
            return 0.0
        carrying, passive = np.split(now.positions, [len(now.weights)])
        moments = PointTransform(carrying).moments(now.weights, COMPARED_DEGREE)
        check = PointTransform(passive).moments(now.check_weights, COMPARED_DEGREE)
        scale = 4 * np.pi / (2 * np.arange(COMPARED_DEGREE + 1) + 1)
        return min(1.0, float(np.sqrt((scale * power_by_degree(moments - check)).max())))

    def coordinates(self) -> Coordinates:
        """Degrees and orders of the spectrum, and weights of the nodes."""
        return {
            **spectrum_coordinates(self.options.spectrum_degree),
            "token_weight": ("token", self.now.weights),
        }

    def record(self) -> Record:
        """Variables at the current time."""
        count, w = len(self.now.weights), self.now.weights
        x = self.now.positions[:count]
        moments = PointTransform(x).moments(w, self.options.spectrum_degree)
        velocity = self._velocity_at_nodes()
        record: dict[str, Real | float] = {
            "position": x.copy(),
            "log_density": self.now.log_density.copy(),
            "spectrum": complex_to_real(moments),
            "mass": float(w.sum()),
            "minimum": float(np.exp(min(self.now.log_density.min(), LARGEST_EXPONENT))),
            "entropy": -float(w @ self.now.log_density),
            "first_moment": w @ x,
            "second_moment": np.einsum("n,ni,nj->ij", w, x, x),
            "resolution": self.resolution,
            "speed": float(np.sqrt(w @ np.einsum("ni,ni->n", velocity, velocity))),
        }
        if self.budget is None:
            return record
        return record | self.budget.record(self.sample) | self.problem.law.nodes(self.t).record()

    def _velocity_at_nodes(self) -> Real:
        """s·v̄ + u at the nodes that carry μ, from the field that is known there."""
        x = self.now.positions[: len(self.now.weights)]
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

    def doubts(self) -> list[str]:
        """That the moments are not known to the tolerance, if they are not."""
        said = doubts_of_resolution("errors of moments", self.resolution, self.rtol, "degree_max")
        if self.field is None:
            return said
        longest, spacing = largest_argument(self.problem.law.nodes(self.t)), np.pi / self.now.degree
        return said + doubts_of_kernel("the nodes", longest, spacing, "degree")

    def information(self) -> Information:
        """Numbers for progress reports and attributes."""
        now = self.now
        own = {
            "nodes": len(now.weights),
            "node_degree": now.degree,
            "evaluations": now.evaluations,
        }
        if now.field is None:
            return own
        field = {
            "field_degree": now.field.grid_field.degree,
            "direct_evaluations": now.field.direct_evaluations,
            "series_evaluations": now.field.series_evaluations,
        }
        return own | field
