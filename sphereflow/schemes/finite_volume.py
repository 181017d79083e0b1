"""The finite-volume scheme: μ as cell means, its options and its steps in time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from ..attention import (
    EnergyTerms,
    FieldSample,
    GridField,
    GridFieldState,
    KeptMoments,
    Source,
    transform_of_points,
    vector_power,
)
from ..checks import integer, one_of, positive_number
from ..densities.cell_means import cell_means
from ..describe.fields import Bounds, Words
from ..describe.registry import SCHEMES
from ..errors import ResolutionError
from ..heads import largest_argument
from ..machine.interruption import listen
from ..machine.plain_state import from_plain
from ..machine.threads import MOST_THREADS
from ..problem import TransformerPDE
from ..sphere import (
    FINEST_LEVEL,
    PointTransform,
    complex_to_real,
    moments_of_means,
    voronoi_mesh,
)
from .cell_loops import CellLoops, speed_of_current
from .doubts import doubts_of_kernel, doubts_of_start
from .edge_velocity import EdgeVelocity, PreparedStep, mean_normal
from .energy_budget import BudgetState, EnergyBudget, scalar_budget
from .inputs_in_time import TimeInputs
from .protocol import Coordinates, Information, Record, Run, Scheme, Stop
from .reconstruction import HIGHEST_DEGREE
from .recorded import information_of_field, spectrum_coordinates
from .velocity_history import Evaluation, MacroState, MacroSteps, VelocityHistory

__all__ = ["FiniteVolume"]

Real = NDArray[np.float64]

ROOT = 2  # of the number of stages of a step that is limited by transport
LARGEST_ROOT = 6  # of one that is limited by diffusion
COURANT = 0.67  # of the longest positive forward step: longer ones are positive, but less accurate
MARGIN = 1.02  # for velocities that grow within a step
SLOWEST = 1e-8  # mean velocity that still counts
MOST_STEPS_LEFT = 1e6  # to the next output: more are hopeless
MOST_STEPS = 200  # between two progress reports
FIELD_TOLERANCE = 1e-8  # of v̄, far below the error of the mesh
LARGEST_FIELD_DEGREE = 127

LIMITERS = ("positive", "monotone")


@SCHEMES.row(references=("du1999", "ketcheson2008", "zhang2010"), shows=("steps", "cells"))
@dataclass(frozen=True)
class FiniteVolume(Scheme):
    """Cell means on an icosahedral Voronoi mesh: conservative, never negative.

    Upwind fluxes with a limited polynomial in each cell, and explicit strong-stability-preserving
    Runge–Kutta steps of third order with as many stages as diffusion asks for (D. I. Ketcheson,
    SIAM J. Sci. Comput. 30 (2008) 2113), each of whose forward Euler steps is short enough to
    keep every mean positive. It goes on where clusters are narrower than a cell; what it then
    loses is told by `resolution`.

    Parameters
    ----------
    level : int
        From 0 to 8: 10·4^level + 2 cells; a cell of level 6 is 1.1° wide.
    degree : int
        Of the polynomial in each cell, from 1 (linear) to 4; one flux is taken through each side,
        so that the order is 2 for all of them, but higher degrees err less.
    limiter : {"positive", "monotone"}
        Keep the values at the sides at or above 0, which does not touch smooth maxima; or also
        between the means of the cells around, which takes the overshoots at jumps down to a few
        per cent, and with degree 1 away.
    resolution_limit : float, optional
        Value of `resolution` at which the run stops with the status "under-resolved"; it goes
        on if left out.
    spectrum_degree : int
        Degree to which `spectrum` is saved.
    threads : int
        Of the loops over cells. The results do not depend on it.

    Raises
    ------
    InputError
        On values out of range.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> density = sf.VonMisesFisher([0, 0, 1], 4.0)
    >>> problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), density)
    >>> run = sf.solve(problem, t_end=1.0, scheme=sf.FiniteVolume(level=3), save_every=0.5)
    >>> run.density.dims, bool(run.minimum.min() > 0), bool(abs(run.mass - 1).max() < 1e-13)
    (('time', 'face'), True, True)
    """

    level: Annotated[int, Bounds(0, FINEST_LEVEL)] = 6
    degree: Annotated[int, Bounds(1, HIGHEST_DEGREE)] = 4
    limiter: Annotated[str, Words(LIMITERS)] = "positive"
    resolution_limit: Annotated[float, Bounds(above=0)] | None = None
    spectrum_degree: Annotated[int, Bounds(1, 1023)] = 32
    threads: Annotated[int, Bounds(1, MOST_THREADS)] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", integer(self.level, "level", 0, FINEST_LEVEL))
        object.__setattr__(self, "degree", integer(self.degree, "degree", 1, HIGHEST_DEGREE))
        one_of(self.limiter, LIMITERS, "limiter")
        if self.resolution_limit is not None:
            limit = positive_number(self.resolution_limit, "resolution_limit")
            object.__setattr__(self, "resolution_limit", limit)
        degree = integer(self.spectrum_degree, "spectrum_degree", 1, 1023)
        object.__setattr__(self, "spectrum_degree", degree)
        object.__setattr__(self, "threads", integer(self.threads, "threads", 1, MOST_THREADS))

    def memory(self, problem: TransformerPDE) -> tuple[float, float]:
        """Bytes of the work of a run, as measured, and of each of its outputs."""
        cells = 10 * 4**self.level + 2
        numbers = cells * (1 if problem.heads is None else 4) + (self.spectrum_degree + 1) ** 2
        return 2.2e8 + 3000.0 * cells, 8.0 * (numbers + problem.head_numbers)

    def start(self, problem: TransformerPDE, rtol: float, t: float = 0.0) -> FiniteVolumeRun:
        """A run of the problem from time t on."""
        mesh, density = voronoi_mesh(self.level), problem.density
        state = FiniteVolumeState(t, cell_means(density, mesh), density.error_on(mesh))
        run = FiniteVolumeRun(self, problem, rtol, state)
        run.begin()
        return run

    def resume(
        self, problem: TransformerPDE, rtol: float, kept: Mapping[str, object]
    ) -> FiniteVolumeRun:
        """The run that `kept` is the state of."""
        return FiniteVolumeRun(self, problem, rtol, from_plain(FiniteVolumeState, kept))


@dataclass
class FiniteVolumeState:
    """Where a finite-volume run stands.

    mu : cell means of μ
    start_error : with which the density was taken over, relative to its largest value
    drift_step : over which a drift without heads was interpolated
    latest : energy terms at this time, of the heads before a kink
    field, budget : None without heads
    """

    t: float
    mu: Annotated[Real, "cell"]
    start_error: float
    steps: int = 0
    stages: int = 0
    drift_step: float = 1.0
    prepared: PreparedStep = dataclasses.field(default_factory=PreparedStep)
    macro: MacroState = dataclasses.field(default_factory=MacroState)
    history: list[Evaluation] = dataclasses.field(default_factory=list)
    field: GridFieldState | None = None
    budget: BudgetState[float] | None = None
    latest: EnergyTerms[float] | None = None


class FiniteVolumeRun(Run):
    """State of one finite-volume run."""

    now: FiniteVolumeState

    def __init__(
        self, options: FiniteVolume, problem: TransformerPDE, rtol: float, state: FiniteVolumeState
    ) -> None:
        self.options = options
        self.problem = problem
        self.rtol = rtol
        self.now = state
        mesh = self.mesh = voronoi_mesh(options.level)
        # Displacements below this share of a cell do not matter beside the error of the mesh.
        self.tolerance = max(0.1 * rtol, 0.01 * mesh.spacing**2)
        self._velocity = EdgeVelocity(problem, mesh, state.prepared)
        kind = options.degree, options.limiter
        self._loops = CellLoops(mesh, *kind, problem.diffusion, options.threads)
        self._edge_points = PointTransform(mesh.edge_points.reshape(-1, 3))
        self._target = state.t
        self.macro = MacroSteps(TimeInputs(problem), max(rtol, self.tolerance), state.macro)
        self.field: GridField | None = None
        self.history: VelocityHistory | None = None
        self.budget: EnergyBudget[float] | None = None
        if problem.heads is not None:
            state.field = state.field or GridFieldState()
            self.field = GridField(problem.field_specification, FIELD_TOLERANCE, state.field)
            self.history = VelocityHistory((len(mesh.edges),), self._at_edges, state.history)
        if state.budget is not None:
            self.budget = EnergyBudget(problem.sign, state.budget)

    def begin(self) -> None:
        """Evaluate the field at the start."""
        if self.field is not None:
            sample = self._begin_history()
            self.now.latest = sample.terms()
            self.now.budget = scalar_budget(sample.energy)
            self.budget = EnergyBudget(self.problem.sign, self.now.budget)

    # The field

    def _begin_history(self) -> FieldSample:
        """The field at this time, from which extrapolation starts."""
        assert self.history is not None
        sample = self._sample(self.t)
        self.history.begin_with(sample, self._at_edges(sample))
        return sample

    def _sample(self, t: float) -> FieldSample:
        """The field of the current μ, with the heads of time t."""
        assert self.field is not None
        nodes = self.problem.law.nodes(t)
        mesh, mu = self.mesh, self.now.mu
        moments = KeptMoments(partial(mesh.moments, mu), max(40, self.field.now.degree + 8))
        transform = transform_of_points(
            mesh.centres,
            mesh.areas * mu,
            FIELD_TOLERANCE,
            radius=largest_argument(nodes),
            moments=moments,
        )
        sample = self.field.evaluate(t, nodes, Source(transform, moments), LARGEST_FIELD_DEGREE)
        if self.problem.drift is None:
            return sample
        slope = mesh.vector_synthesis(sample.interaction, np.zeros_like(sample.interaction))
        along = np.einsum("ci,ci->c", slope, self.problem.prescribed_velocity(mesh.centres, t))
        return dataclasses.replace(sample, drift_rate=float(mesh.areas * mu @ along))

    def _at_edges(self, sample: FieldSample) -> Real:
        """Mean normal component of v̄ along each edge."""
        v = self._edge_points.vector_synthesis(sample.spheroidal, sample.toroidal)
        return mean_normal(self.mesh, v)

    # Time

    def advance(self, target: float) -> None:
        """One macro step towards `target`, which is hit exactly."""
        target = self._target = min(target, self.problem.kink_after(self.t))
        if self.field is None:
            self._drift_only(target)
            return
        while not self._macro_step(target):
            pass

    def _drift_only(self, target: float) -> None:
        length = min(self.now.drift_step, target - self.t)
        taken = self._velocity.prepare(self.t, length, self.tolerance)
        if length == self.now.drift_step or taken < length:
            self.now.drift_step = 1.5 * taken
        end = target if taken == target - self.t else self.t + taken
        self._transport(end, most=MOST_STEPS)

    def _macro_step(self, target: float) -> bool:
        """Extrapolate v̄, transport, evaluate v̄; or restore μ and shorten the step."""
        history = self.history
        assert history is not None and self.budget is not None
        start, before, order = self.t, self.now.mu, self.now.macro.order
        end = self.macro.resolved_end(history, target)
        if self._velocity.prepare(start, end - start, self.tolerance) < end - start:
            self.now.macro.length = 0.5 * (end - start)
            return False
        self._transport(end)
        at_kink = end == self.problem.kink_after(start)
        # The rates before a kink are those of the step that ends there.
        sample = self._sample(end - 1e-9 * (end - start) if at_kink else end)
        acted = history.correction_time(start, end, order)
        # Displacements count in units of how far the tokens move in a unit of time.
        power = vector_power(sample.spheroidal, sample.toroidal).sum()
        speed = min(1.0, max(float(np.sqrt(power / (4 * np.pi))), SLOWEST))
        error = abs(acted) * history.misfit(sample, order) / (self.tolerance * speed)
        worst = max(error, self.macro.budget_error(history, sample, start))
        if worst > 1.0 and end - start > 1e-10 * max(1.0, abs(target)):
            self.now.mu, self.now.t = before, start
            self.macro.reject(end - start, worst)
            return False
        self.budget.add_rates(history.budget_increments(start, sample, order))
        self.now.latest = sample.terms()
        self.macro.accept(history, sample, error, start)
        if at_kink:
            self._begin_history()
            self.macro.start_anew()
        else:
            history.append(sample, self._at_edges(sample))
        return True

    def _transport(self, end: float, most: int | None = None) -> None:
        """Steps to `end`, at most so many, with stages that all keep μ positive."""
        loops = self._loops
        taken = 0
        while self.t < end and (most is None or taken < most):
            listen(self.t)
            self._set_flow(self.t)
            by_transport, rate = loops.rates()
            remaining = end - self.t
            stable = min(
                _forward_steps(ROOT) * COURANT / max(by_transport, 1e-300),
                _forward_steps(LARGEST_ROOT) / max(MARGIN * rate, 1e-300),
            )
            left = (self._target - self.t) / stable
            if left > MOST_STEPS_LEFT:
                raise ResolutionError(
                    f"at t = {self.t:.6g} steps of {stable:.1e} leave {left:.1e} of them to the "
                    f"next output, more than {MOST_STEPS_LEFT:.0e}: diffusion or velocities "
                    "are too fast for this mesh; lower them or level, or use Spectral"
                )
            # Steps near a jump of the drift are short, but soon grow again.
            length = min(remaining, stable, self.now.prepared.longest)
            accepted = False
            while not accepted:
                count = int(np.ceil(remaining / length * (1 - 1e-12)))
                step = remaining / count
                root = 2
                while _forward_steps(root) < MARGIN * step * rate * (1 - 1e-9):
                    root += 1
                accepted = self._step(step, root)
                length *= 0.7
            self.now.t = end if count == 1 else self.t + step
            taken += 1
            self.now.steps += 1

    def _step(self, step: float, root: int) -> bool:
        """One step of third order in root² stages; False if a forward step in it was too long."""
        part = step / _forward_steps(root)
        mu, time = self.now.mu, 0.0
        kept, kept_time = mu, 0.0
        for stage in range(1, root**2 + 1):
            mixed = stage == root * (root + 1) // 2
            share = (root - 1.0) / (2.0 * root - 1.0) if mixed else 1.0
            self._set_flow(self.t + time)
            mu, largest = self._loops.forward(mu, part, share, kept)
            time = (1.0 - share) * kept_time + share * (time + part)
            self.now.stages += 1
            if largest >= 1.0:
                return False
            if stage == (root - 1) * (root - 2) // 2:
                kept, kept_time = mu, time
        self.now.mu = mu
        return True

    def _set_flow(self, t: float) -> None:
        """Velocity times length of the edges at a time of the prepared step."""
        flow = self._velocity.at(t, self.history, self.now.macro.order, self._loops.flow)
        flow *= self.mesh.edge_lengths

    def check(self) -> Stop | None:
        """A reason to end the run: values that are not finite, or resolution lost."""
        if not np.isfinite(self.now.mu).all():
            return Stop("not-finite", f"the density stopped being finite at t = {self.t:.6g}")
        limit = self.options.resolution_limit
        if limit is None or self.resolution <= limit:
            return None
        return Stop(
            "under-resolved",
            f"at t = {self.t:.6g} the cell means differ from those of their neighbours by a share "
            f"{self.resolution:.2g}; raise level, add diffusion, or use a scheme that follows "
            "points",
        )

    # Output

    @property
    def resolution(self) -> float:
        """Mean deviation of a cell from the mean of its neighbours, in units of the density."""
        mesh, mu = self.mesh, self.now.mu
        around = np.where(mesh.inside, mu[mesh.neighbours], 0.0).sum(axis=1) / mesh.sides
        return min(1.0, 0.5 * float(mesh.areas @ np.abs(mu - around)))

    def coordinates(self) -> Coordinates:
        """The mesh, and degrees and orders of the spectrum."""
        return {"mesh": self.mesh, **spectrum_coordinates(self.options.spectrum_degree)}

    def record(self) -> Record:
        """Variables at the current time."""
        mesh, mu = self.mesh, self.now.mu
        mass = mesh.areas * mu
        spread = mass * mesh.second_moments
        x = mesh.centres
        # The speed and the rate of the density are those of the flow at this time.
        self._velocity.cover(self.t)
        self._set_flow(self.t)
        second = np.einsum("c,ci,cj->ij", mass + 1.5 * spread, x, x)
        record: dict[str, Real | float] = {
            "density": mu,
            "spectrum": complex_to_real(moments_of_means(mesh, mu, self.options.spectrum_degree)),
            "mass": float(mass.sum()),
            "minimum": float(mu.min()),
            "entropy": -float(mesh.areas @ xlogy(mu, mu)),
            "first_moment": (mass + 0.5 * spread) @ x,
            "second_moment": second - 0.5 * spread.sum() * np.eye(3),
            "resolution": self.resolution,
            "speed": speed_of_current(mesh, mu, self._loops.flow, self.problem.diffusion),
            "density_rate": self._density_rate(),
        }
        if self.field is None:
            return record
        assert self.history is not None and self.now.latest is not None
        assert self.budget is not None
        sample = self.history.latest
        vector = mesh.vector_synthesis(sample.spheroidal, sample.toroidal)
        east, north = mesh.eastward_northward(vector)
        inverse = mesh.synthesis(sample.inverse_mobility)
        record |= {
            "effective_mobility": 1.0 / inverse,
            "velocity_eastward": east,
            "velocity_northward": north,
            **self.budget.record(self.now.latest),
        }
        return record | self.problem.law.nodes(self.t).record()

    def _density_rate(self) -> float:
        """L2 norm of ∂_tμ, from a forward step that is short enough for the limiter."""
        step = 0.5 / max(self._loops.rates()[1], 1e-300)
        new, _ = self._loops.forward(self.now.mu, step, 1.0, self.now.mu)
        return float(np.sqrt(self.mesh.areas @ ((new - self.now.mu) / step) ** 2))

    def doubts(self) -> list[str]:
        """That a density taken over from another scheme lost something, if it did."""
        said = doubts_of_start(self.now.start_error, self.rtol)
        if self.field is None:
            return said
        longest = largest_argument(self.problem.law.nodes(self.t))
        return said + doubts_of_kernel("the cells", longest, self.mesh.spacing, "level")

    def information(self) -> Information:
        """Numbers for progress reports and attributes."""
        own = {"cells": self.mesh.cells, "steps": self.now.steps, "stages": self.now.stages}
        return own if self.field is None else {**own, **information_of_field(self.field)}


def _forward_steps(root: int) -> int:
    """Forward steps that are as long as one step of root² stages, each of them positive."""
    return root**2 - root
