"""A run of the finite-volume scheme: μ as cell means, and their steps in time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from ..attention import (
    KEPT_FIELD,
    FieldSample,
    GridField,
    KeptMoments,
    transform_of_points,
    vector_power,
)
from ..densities.cell_means import cell_means
from ..errors import ResolutionError
from ..heads import largest_argument
from ..machine.interruption import listen
from ..machine.plain_state import attributes_of, set_attributes
from ..problem import TransformerPDE
from ..sphere import (
    PointTransform,
    VoronoiMesh,
    complex_to_real,
    moments_of_means,
    real_degrees_and_orders,
    voronoi_mesh,
)
from .budgets import EnergyBudget
from .doubts import doubts_of_start
from .edge_velocity import EdgeVelocity, mean_normal
from .history import KEPT_STEPS, MacroSteps, VelocityHistory
from .inputs_in_time import TimeInputs
from .protocol import Stop
from .reconstruction import edge_coefficients, stencils

if TYPE_CHECKING:
    from .finite_volume import FiniteVolume

__all__ = ["FiniteVolumeRun"]

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
KEPT = ("t", "mu", "start_error", "steps", "stages", "_drift_step")


class FiniteVolumeRun:
    """State of one finite-volume run."""

    def __init__(
        self, options: FiniteVolume, problem: TransformerPDE, rtol: float, t: float
    ) -> None:
        self.options = options
        self.problem = problem
        self.t = t
        mesh = self.mesh = voronoi_mesh(options.level)
        # Displacements below this share of a cell do not matter beside the error of the mesh.
        self.tolerance = max(0.1 * rtol, 0.01 * mesh.spacing**2)
        self.mu = cell_means(problem.density, mesh)
        self.rtol = rtol
        self.start_error = problem.density.error_on(mesh)
        self.steps = 0
        self.stages = 0
        self._velocity = EdgeVelocity(problem, mesh)
        self._loops = CellLoops(mesh, options, problem.diffusion)
        self._edge_points = PointTransform(mesh.edge_points.reshape(-1, 3))
        self._drift_step = 1.0
        self._target = t
        self.macro = MacroSteps(TimeInputs(problem), max(rtol, self.tolerance))
        self.field: GridField | None = None
        self.history: VelocityHistory | None = None
        self.budget: EnergyBudget | None = None
        if problem.heads is not None:
            self.field = GridField.of_problem(problem, FIELD_TOLERANCE)
            self.budget = EnergyBudget(problem.sign, self._begin_history())

    # The field

    def _begin_history(self) -> FieldSample:
        """The field at this time, from which extrapolation starts."""
        sample = self._sample(self.t)
        self.history = VelocityHistory((len(self.mesh.edges),))
        self.history.append(sample, self._at_edges(sample))
        return sample

    def _sample(self, t: float) -> FieldSample:
        """The field of the current μ, with the heads of time t."""
        assert self.field is not None
        nodes = self.problem.law.nodes(t)
        mesh, mu = self.mesh, self.mu
        moments = KeptMoments(partial(mesh.moments, mu), max(40, self.field.degree + 8))
        transform = transform_of_points(
            mesh.centres,
            mesh.areas * mu,
            FIELD_TOLERANCE,
            radius=largest_argument(nodes),
            moments=moments,
        )
        sample = self.field.evaluate(t, nodes, transform, moments, LARGEST_FIELD_DEGREE)
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
        length = min(self._drift_step, target - self.t)
        taken = self._velocity.prepare(self.t, length, self.tolerance)
        if length == self._drift_step or taken < length:
            self._drift_step = 1.5 * taken
        end = target if taken == target - self.t else self.t + taken
        self._transport(end, most=MOST_STEPS)

    def _macro_step(self, target: float) -> bool:
        """Extrapolate v̄, transport, evaluate v̄; or restore μ and shorten the step."""
        history = self.history
        assert history is not None and self.budget is not None
        start, before, order = self.t, self.mu, self.macro.order
        end = self.macro.resolved_end(history, target)
        if self._velocity.prepare(start, end - start, self.tolerance) < end - start:
            self.macro.length = 0.5 * (end - start)
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
            self.mu, self.t = before, start
            self.macro.reject(end - start, worst)
            return False
        self.budget.add(history.budget_increments(start, sample, order), sample)
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
            length = min(remaining, stable, self._velocity.longest)
            accepted = False
            while not accepted:
                count = int(np.ceil(remaining / length * (1 - 1e-12)))
                step = remaining / count
                root = 2
                while _forward_steps(root) < MARGIN * step * rate * (1 - 1e-9):
                    root += 1
                accepted = self._step(step, root)
                length *= 0.7
            self.t = end if count == 1 else self.t + step
            taken += 1
            self.steps += 1

    def _step(self, step: float, root: int) -> bool:
        """One step of third order in root² stages; False if a forward step in it was too long."""
        part = step / _forward_steps(root)
        mu, time = self.mu, 0.0
        kept, kept_time = mu, 0.0
        for stage in range(1, root**2 + 1):
            mixed = stage == root * (root + 1) // 2
            share = (root - 1.0) / (2.0 * root - 1.0) if mixed else 1.0
            self._set_flow(self.t + time)
            mu, largest = self._loops.forward(mu, part, share, kept)
            time = (1.0 - share) * kept_time + share * (time + part)
            self.stages += 1
            if largest >= 1.0:
                return False
            if stage == (root - 1) * (root - 2) // 2:
                kept, kept_time = mu, time
        self.mu = mu
        return True

    def _set_flow(self, t: float) -> None:
        """Velocity times length of the edges at a time of the prepared step."""
        flow = self._velocity.at(t, self.history, self.macro.order, self._loops.flow)
        flow *= self.mesh.edge_lengths

    def check(self) -> Stop | None:
        """A reason to end the run: values that are not finite, or resolution lost."""
        if not np.isfinite(self.mu).all():
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
        mesh, mu = self.mesh, self.mu
        around = np.where(mesh.inside, mu[mesh.neighbours], 0.0).sum(axis=1) / mesh.sides
        return min(1.0, 0.5 * float(mesh.areas @ np.abs(mu - around)))

    def coordinates(self) -> dict[str, Any]:
        """The mesh, and degrees and orders of the spectrum."""
        degrees, orders = real_degrees_and_orders(self.options.spectrum_degree)
        return {
            "mesh": self.mesh,
            "degree": ("harmonic", degrees),
            "order": ("harmonic", orders),
        }

    def record(self) -> dict[str, Any]:
        """Variables at the current time."""
        mesh, mu = self.mesh, self.mu
        mass = mesh.areas * mu
        spread = mass * mesh.second_moments
        x = mesh.centres
        # The speed and the rate of the density are those of the flow at this time.
        self._velocity.cover(self.t)
        self._set_flow(self.t)
        second = np.einsum("c,ci,cj->ij", mass + 1.5 * spread, x, x)
        record: dict[str, Any] = {
            "density": mu,
            "spectrum": complex_to_real(moments_of_means(mesh, mu, self.options.spectrum_degree)),
            "mass": float(mass.sum()),
            "minimum": float(mu.min()),
            "entropy": -float(mesh.areas @ xlogy(mu, mu)),
            "first_moment": (mass + 0.5 * spread) @ x,
            "second_moment": second - 0.5 * spread.sum() * np.eye(3),
            "resolution": self.resolution,
            "speed": self._token_speed(),
            "density_rate": self._density_rate(),
        }
        if self.field is None:
            return record
        assert self.history is not None and self.budget is not None
        sample = self.history.latest
        vector = mesh.vector_synthesis(sample.spheroidal, sample.toroidal)
        east, north = mesh.eastward_northward(vector)
        inverse = mesh.synthesis(sample.inverse_mobility)
        record |= {
            "effective_mobility": 1.0 / inverse,
            "velocity_eastward": east,
            "velocity_northward": north,
            **self.budget.record(),
        }
        return record | self.problem.law.nodes(self.t).record()

    def _token_speed(self) -> float:
        """√∫|v − ε∇log μ|² dμ from the fluxes through the edges."""
        mesh, diffusion = self.mesh, self.problem.diffusion
        first, second = self.mu[mesh.edges].T
        mean = np.maximum(0.5 * (first + second), 1e-300)
        flux = self._loops.flow * mean / mesh.edge_lengths
        flux -= diffusion * (second - first) / mesh.edge_distances
        areas = mesh.edge_lengths * mesh.edge_distances
        return float(np.sqrt(np.sum(areas * flux**2 / mean)))

    def _density_rate(self) -> float:
        """L2 norm of ∂_tμ, from a forward step that is short enough for the limiter."""
        step = 0.5 / max(self._loops.rates()[1], 1e-300)
        new, _ = self._loops.forward(self.mu, step, 1.0, self.mu)
        return float(np.sqrt(self.mesh.areas @ ((new - self.mu) / step) ** 2))

    def state(self) -> dict[str, Any]:
        """Nothing: the records hold all of it."""
        return {}

    def kept(self) -> dict[str, Any]:
        """The state as plain data, without what the mesh gives again."""
        kept: dict[str, Any] = attributes_of(self, KEPT)
        kept |= {"velocity": self._velocity.kept(), "macro": attributes_of(self.macro, KEPT_STEPS)}
        if self.field is not None:
            assert self.history is not None and self.budget is not None
            kept |= {"history": self.history.kept(), "budget": self.budget.kept()}
            kept["field"] = attributes_of(self.field, KEPT_FIELD)
        return kept

    @classmethod
    def resumed(
        cls, options: FiniteVolume, problem: TransformerPDE, rtol: float, kept: Mapping[str, Any]
    ) -> FiniteVolumeRun:
        """The run with the state that it was kept with."""
        run = cls(options, problem, rtol, kept["t"])
        set_attributes(run, KEPT, kept)
        set_attributes(run.macro, KEPT_STEPS, kept["macro"])
        run._velocity.take_over(kept["velocity"])
        if run.field is not None:
            assert run.history is not None and run.budget is not None
            set_attributes(run.field, KEPT_FIELD, kept["field"])
            run.history.take_over(kept["history"], run._at_edges)
            run.budget.take_over(kept["budget"], FieldSample)
        return run

    def doubts(self) -> list[str]:
        """That a density taken over from another scheme lost something, if it did."""
        return doubts_of_start(self.start_error, self.rtol)

    def information(self) -> dict[str, Any]:
        """Numbers for progress reports and attributes."""
        information: dict[str, Any] = {
            "cells": self.mesh.cells,
            "steps": self.steps,
            "stages": self.stages,
        }
        if self.field is not None:
            information["field_evaluations"] = self.field.evaluations
            information["field_degree"] = self.field.degree
            information["direct_fraction"] = self.field.direct_fraction
        return information


def _forward_steps(root: int) -> int:
    """Forward steps that are as long as one step of root² stages, each of them positive."""
    return root**2 - root


class CellLoops:
    """The compiled loops with their arrays for one mesh."""

    def __init__(self, mesh: VoronoiMesh, options: FiniteVolume, diffusion: float) -> None:
        self.areas = mesh.areas
        self.threads = options.threads
        self.monotone = options.limiter == "monotone"
        self.neighbours = mesh.neighbours.astype(np.int32)
        self.cell_edges = mesh.cell_edges.astype(np.int32)
        beyond = mesh.cell_edges[mesh.neighbours] == mesh.cell_edges[..., None]
        self.opposite = (6 * mesh.neighbours + beyond.argmax(axis=2)).astype(np.int32)
        exchange = diffusion * mesh.edge_lengths / mesh.edge_distances
        self.exchange = exchange if diffusion > 0.0 else np.empty(0)
        self.stencils = stencils(mesh, options.degree).astype(np.int32)
        self.coefficients = edge_coefficients(mesh, options.degree)
        self.values = np.empty((mesh.cells, 6))
        self.leaving = np.empty(mesh.cells)
        self.flow = np.empty(len(mesh.edges))

    def rates(self) -> tuple[float, float]:
        """Inverse of the longest positive forward step, by transport alone and altogether."""
        from .upwind import largest_rate

        mesh = (self.areas, self.neighbours, self.cell_edges)
        altogether = largest_rate(self.flow, *mesh, self.exchange)
        if not self.exchange.size:
            return altogether, altogether
        return largest_rate(self.flow, *mesh, np.empty(0)), altogether

    def forward(self, mu: Real, step: float, share: float, base: Real) -> tuple[Real, float]:
        """(1 − share)·base + share·(μ + step·dμ/dt), and the largest share that leaves a cell."""
        from ..machine.compiled import numba_threads
        from .upwind import edge_values, forward_step

        new = np.empty_like(mu)
        with numba_threads(self.threads):
            edge_values(
                mu,
                self.neighbours,
                self.cell_edges,
                self.stencils,
                self.coefficients,
                self.flow,
                self.exchange,
                step,
                self.areas,
                self.monotone,
                self.values,
            )
            forward_step(
                mu,
                self.values,
                self.flow,
                step,
                self.areas,
                self.cell_edges,
                self.neighbours,
                self.opposite,
                self.exchange,
                share,
                base,
                new,
                self.leaving,
            )
        return new, float(self.leaving.max())
