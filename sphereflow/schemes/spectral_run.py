"""A run of the pseudo-spectral scheme: μ as harmonic coefficients, and its steps in time."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..attention import KEPT_FIELD, FieldSample, GridField
from ..diagnostics import density_diagnostics, required_degree, tail_ratio
from ..machine.interruption import listen
from ..machine.plain_state import attributes_of, set_attributes
from ..problem import TransformerPDE
from ..sphere import (
    SphereGrid,
    complex_to_real,
    power_by_degree,
    real_degrees_and_orders,
    resize,
)
from .budgets import EnergyBudget
from .doubts import doubts_of_resolution, doubts_of_start
from .history import KEPT_STEPS, MacroSteps, VelocityHistory
from .inputs_in_time import TimeInputs
from .protocol import Stop
from .transport import Transport, error_scale, norm

if TYPE_CHECKING:
    from .spectral import Spectral

__all__ = ["SpectralRun"]

logger = logging.getLogger(__name__)

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

FIELD_SHARE = 0.01  # accuracy of v̄ relative to rtol
COARSE = 1e-3  # error of the mass on the output grid that is worth a warning
BEFORE_KINK = 1e-9  # of the time since the last kink: the rates before a kink are taken here
KEPT = (
    *("t", "_last_kink", "_next_kink", "start_error", "_warned", "step", "_earlier_evaluations"),
    "mu",
)
STEP_SHARE = 0.1  # error of a transport step and of a correction, relative to rtol


class SpectralRun:
    """State of one spectral run."""

    def __init__(self, options: Spectral, problem: TransformerPDE, rtol: float, t: float) -> None:
        self.options = options
        self.problem = problem
        self.rtol = rtol
        self.t = t
        self._last_kink, self._next_kink = t, problem.kink_after(t)
        self.raise_above = max(rtol, 1e-13)
        full = problem.density.resolved_spectrum()
        self.start_error = min(1.0, problem.density.series_error)
        needed = required_degree(full, self.raise_above)
        lmax = min(options.lmax_max, max(options.lmax, needed))
        self.mu = resize(full, lmax)
        output_lmax = options.output_lmax or min(options.lmax, 63)
        self.output_grid = SphereGrid(output_lmax, engine=options.engine)
        self._output_points = self.output_grid.at(self.output_grid.points.reshape(-1, 3))
        self._warned = False
        self.field: GridField | None = None
        if problem.heads is not None:
            self.field = GridField.of_problem(problem, FIELD_SHARE * rtol)
        self.step = 0.0
        self._inputs = TimeInputs(problem)
        self.macro = MacroSteps(self._inputs, rtol)
        self._earlier_evaluations = 0
        self._resolve(lmax)
        self.budget = EnergyBudget(problem.sign, self.history.latest if self.field else None)

    # Resolution

    def _resolve(self, lmax: int) -> None:
        """Work at degree `lmax` from now on; the history is evaluated on the new grid."""
        old = getattr(self, "history", None)
        if old is not None:
            self._earlier_evaluations += self.transport.evaluations
        self.transport: Transport = Transport(
            lmax, self.problem.diffusion, self.options.engine, self.options.threads
        )
        self.mu = resize(self.mu, lmax)
        grid = self.transport.grid
        self._points = grid.points.reshape(-1, 3)
        self._buffer = np.empty((2, *grid.shape))
        self._drift_at: dict[float, Real] = {}
        self._velocity_at: dict[float, Real] = {}
        self.history: VelocityHistory = VelocityHistory((2, *grid.shape))
        if self.field is None:
            return
        samples = old.samples if old is not None else [self._sample(self.t, self.mu)]
        for sample in samples:
            self.history.append(sample, self._on_grid(sample))

    def check(self) -> Stop | None:
        """Raise the degree if the density has outgrown it; stop where that is not possible."""
        if not np.isfinite(norm(self.mu)):
            return Stop("not-finite", f"the density stopped being finite at t = {self.t:.6g}")
        tail = self.tail
        if tail <= self.raise_above:
            return None
        lmax, highest = self.transport.lmax, self.options.lmax_max
        if lmax < highest:
            self._resolve(min(highest, int(1.5 * (lmax + 1)) - 1))
            return None
        if tail <= self.options.resolution_limit:
            return None
        return Stop(
            "under-resolved",
            f"at t = {self.t:.6g} the density is narrower than degree {lmax} resolves (the last "
            f"degrees reach {tail:.1e} of the largest); raise lmax_max, add diffusion, or use "
            "scheme='auto' or Characteristics",
        )

    @property
    def resolution(self) -> float:
        """The tail of the spectra, or the error with which the density was taken over."""
        return max(self.tail, self.start_error)

    @property
    def tail(self) -> float:
        """Largest amplitude among the last tenth of the degrees over the largest of all."""
        tail = tail_ratio(self.mu)
        if self.field is not None and len(self.history):
            tail = max(tail, self.history.latest.unresolved)
        return min(1.0, tail)

    # Velocity

    def _sample(self, t: float, mu: Complex, *, arriving: bool = False) -> FieldSample:
        """The field at time t; arriving at a kink of the head law, with the rates before it."""
        assert self.field is not None
        if arriving and t == self._next_kink:
            t -= BEFORE_KINK * (t - self._last_kink)
        sample = self.field(t, mu, self.transport.lmax)
        if self.problem.drift is None:
            return sample
        return dataclasses.replace(sample, drift_rate=self._power_of_drift(t, mu, sample))

    def _power_of_drift(self, t: float, mu: Complex, sample: FieldSample) -> float:
        """∫⟨∫∇K dΘ, u⟩ dμ on the grid of the transport, which resolves μ u."""
        grid = self.transport.grid
        still = np.zeros_like(sample.interaction)
        slope = self.transport.velocity(sample.interaction, still, np.empty_like(self._buffer))
        along = np.sum(slope * self._drift(t), axis=0)
        return float(grid.integrate(grid.synthesis(mu) * along))

    def _on_grid(self, sample: FieldSample) -> Real:
        return self.transport.velocity(sample.spheroidal, sample.toroidal, self._buffer)

    def _drift(self, t: float) -> Real:
        """Prescribed velocity (southward, eastward) on the transport grid."""
        key = t if self.problem.drift_depends_on_time else 0.0
        if key not in self._drift_at:
            if len(self._drift_at) > 3:
                self._drift_at.pop(next(iter(self._drift_at)))
            values = self.problem.prescribed_velocity(self._points, t)
            shape = self.transport.grid.shape
            theta, phi = self.transport.grid.southward_eastward(values.reshape(*shape, 3))
            self._drift_at[key] = np.stack([theta, phi])
        return self._drift_at[key]

    def _velocity(self, t: float) -> Real:
        """s·v̄ extrapolated to t, plus the drift; kept for the few times of a step."""
        if self.field is None:
            if self.problem.drift is None:
                return np.zeros_like(self._buffer)
            return self._drift(t)
        if t not in self._velocity_at:
            recycled = np.empty_like(self._buffer)
            if len(self._velocity_at) > 2:
                recycled = self._velocity_at.pop(next(iter(self._velocity_at)))
            self.history.at(t, self.macro.order, recycled)
            if self.problem.sign < 0:
                np.negative(recycled, out=recycled)
            if self.problem.drift is not None:
                recycled += self._drift(t)
            self._velocity_at[t] = recycled
        return self._velocity_at[t]

    # Time

    def advance(self, target: float) -> None:
        """One macro step, or fixed step, towards `target`, which is hit exactly."""
        target = self._before_breakpoint(target)
        if self.options.dt is not None:
            self._fixed_step(min(target, self._inputs.row_within(self.t, self.options.dt)))
        elif self.field is None:
            self.mu, self.t, self.step = self._transport(target, self.step or 1e-2)
        else:
            self._macro_step(target)

    def _transport(self, target: float, guess: float) -> tuple[Complex, float, float]:
        """Transport towards `target`, at most until the density outgrows this degree."""
        last = self.transport.lmax >= self.options.lmax_max
        return self.transport.integrate(
            self.mu,
            self.t,
            target,
            self._velocity,
            STEP_SHARE * self.rtol,
            guess,
            self.options.resolution_limit if last else self.raise_above,
            self._inputs.drift,
        )

    def _before_breakpoint(self, target: float) -> float:
        """The target, or an earlier kink of the head law; there the extrapolation starts anew."""
        if self.t == self._next_kink:
            self._last_kink, self._next_kink = self.t, self.problem.kink_after(self.t)
            latest = self._sample(self.t, self.mu)
            self.history = VelocityHistory(self._buffer.shape)
            self.history.append(latest, self._on_grid(latest))
            self.macro.start_anew()
        return min(target, self._next_kink)

    def _macro_step(self, target: float) -> None:
        """Extrapolate v̄, transport, evaluate v̄, correct; repeat with a smaller step if wrong."""
        history, tolerance = self.history, STEP_SHARE * self.rtol
        order = self.macro.order
        while True:
            new_time = self.macro.resolved_end(history, target)
            listen(self.t)
            self._velocity_at.clear()
            mu, new_time, step = self._transport(new_time, self.step or new_time - self.t)
            taken = new_time - self.t
            sample = self._sample(new_time, mu, arriving=True)
            acted = history.correction_time(self.t, new_time, order)
            extrapolated = history.at(new_time, order, np.empty_like(self._buffer))
            actual = self._on_grid(sample)
            shift = (self.problem.sign * acted) * (actual - extrapolated)
            correction = self.transport.tendency(mu, shift)
            scale = error_scale(tolerance, self.mu, mu)
            error = norm(correction) / scale
            worst = max(error, self.macro.budget_error(history, sample, self.t))
            if worst <= 1.0 or taken < 1e-10 * max(1.0, abs(target)):
                break
            self.macro.reject(taken, worst)
        self.budget.add(history.budget_increments(self.t, sample, order), sample)
        self.macro.accept(history, sample, error, self.t)
        history.append(sample, actual)
        self.mu, self.step, self.t = mu + correction, step, new_time

    def _fixed_step(self, target: float) -> None:
        """Classical Runge–Kutta of fourth order for μ, heads and budgets together."""
        assert self.options.dt is not None
        count = max(1, round((target - self.t) / self.options.dt))
        step = (target - self.t) / count
        new_time = target if count == 1 else self.t + step
        decay = self.transport.half_factor(step)
        half = 1.0 if decay is None else decay

        def slope(
            t: float, mu: Complex, arriving: bool = False
        ) -> tuple[Complex, FieldSample | None]:
            sample = None
            velocity = np.zeros_like(self._buffer)
            listen()
            if self.field is not None:
                known = t == self.t and self.history.latest.t == t
                sample = self.history.latest if known else self._sample(t, mu, arriving=arriving)
                velocity = self.problem.sign * self._on_grid(sample)
            if self.problem.drift is not None:
                velocity = velocity + self._drift(t)
            return self.transport.tendency(mu, velocity), sample

        middle = self.t + 0.5 * step
        k1, first = slope(self.t, self.mu)
        start, k1 = half * self.mu, half * k1
        k2, second = slope(middle, start + 0.5 * step * k1)
        k3, third = slope(middle, start + 0.5 * step * k2)
        k4, fourth = slope(new_time, half * (start + step * k3), arriving=True)
        self.mu = half * (start + step / 6 * (k1 + 2 * (k2 + k3))) + step / 6 * k4
        self.t = new_time
        if first is None or second is None or third is None or fourth is None:
            return
        end = self._sample(new_time, self.mu, arriving=True)
        self.budget.add_stages(step, (first, second, third, fourth), end)
        self.history = VelocityHistory(self._buffer.shape)
        self.history.append(end, self._on_grid(end))

    # Output

    def coordinates(self) -> dict[str, Any]:
        """Output grid, degrees and orders of the spectrum."""
        grid = self.output_grid
        degrees, orders = real_degrees_and_orders(self.options.spectrum_degree)
        return {
            "lat": ("lat", grid.latitude),
            "lon": ("lon", grid.longitude),
            "cell_area": (("lat", "lon"), np.broadcast_to(grid.weights, grid.shape)),
            "degree": ("harmonic", degrees),
            "order": ("harmonic", orders),
        }

    def _on_output_grid(self, coefficients: Complex) -> Real:
        grid = self.output_grid
        if coefficients.size <= grid.size:
            return grid.synthesis(grid.resized(coefficients))
        return self._output_points.synthesis(coefficients).reshape(grid.shape)

    def record(self) -> dict[str, Any]:
        """Variables at the current time."""
        grid = self.transport.grid
        record: dict[str, Any] = {
            "density": self._on_output_grid(self.mu),
            "spectrum": complex_to_real(resize(self.mu, self.options.spectrum_degree)),
            "resolution": self.resolution,
            "speed": self._token_speed(),
            "density_rate": self._density_rate(),
            "lmax": float(self.transport.lmax),
            **density_diagnostics(grid, grid.synthesis(self.mu)),
        }
        self._warn_of_coarse_output(self.output_grid.integrate(record["density"]) - record["mass"])
        if self.field is None:
            return record
        sample = self.history.latest
        inverse = self._on_output_grid(sample.inverse_mobility)
        vector = self._output_points.vector_synthesis(sample.spheroidal, sample.toroidal)
        east, north = self.output_grid.from_cartesian(vector.reshape(*self.output_grid.shape, 3))
        record |= {
            "effective_mobility": 1.0 / inverse,
            "velocity_eastward": east,
            "velocity_northward": north,
            **self.budget.record(),
        }
        return record | self.problem.law.nodes(self.t).record()

    def _warn_of_coarse_output(self, error: float) -> None:
        """Say once that the density has become too narrow for the grid of the output."""
        if abs(error) > COARSE and not self._warned:
            self._warned = True
            logger.warning(
                "at t = %.6g the mass of the density on the output grid is off by %.1e, though not "
                "that of the run; a larger output_lmax makes the grid finer",
                self.t,
                error,
            )

    def _token_speed(self) -> float:
        """√∫|v − ε∇log μ|² dμ, over what is positive of the density."""
        transport, grid = self.transport, self.transport.grid
        self._velocity_at.clear()
        values = grid.synthesis(self.mu)
        velocity = self._velocity(self.t)
        if self.problem.diffusion > 0:
            floor = np.maximum(values, 1e-12 * values.max())
            slope = transport.velocity(self.mu, np.zeros_like(self.mu), np.empty_like(velocity))
            velocity = velocity - self.problem.diffusion * slope / floor
        return float(np.sqrt(grid.integrate(np.maximum(values, 0.0) * np.sum(velocity**2, axis=0))))

    def state(self) -> dict[str, Any]:
        """The coefficients at the end, to their full degree."""
        return {"final_spectrum": complex_to_real(self.mu)}

    def kept(self) -> dict[str, Any]:
        """The state as plain data."""
        kept: dict[str, Any] = attributes_of(self, KEPT)
        kept["transport"] = attributes_of(self.transport, ("lmax", "evaluations"))
        kept |= {"macro": attributes_of(self.macro, KEPT_STEPS), "budget": self.budget.kept()}
        if self.field is not None:
            kept["field"] = attributes_of(self.field, KEPT_FIELD)
            kept["history"] = self.history.kept()
        return kept

    @classmethod
    def resumed(
        cls, options: Spectral, problem: TransformerPDE, rtol: float, kept: Mapping[str, Any]
    ) -> SpectralRun:
        """The run with the state that it was kept with."""
        run = cls(options, problem, rtol, kept["t"])
        run._resolve(kept["transport"]["lmax"])
        set_attributes(run, KEPT, kept)
        set_attributes(run.transport, ("evaluations",), kept["transport"])
        set_attributes(run.macro, KEPT_STEPS, kept["macro"])
        run.budget.take_over(kept["budget"], FieldSample)
        if run.field is not None:
            set_attributes(run.field, KEPT_FIELD, kept["field"])
            run.history.take_over(kept["history"], run._on_grid)
        return run

    def _density_rate(self) -> float:
        """L2 norm of ∂_tμ."""
        diffusive = self.problem.diffusion * self.transport.grid.laplacian(self.mu)
        rate = self.transport.tendency(self.mu, self._velocity(self.t)) + diffusive
        return float(np.sqrt(power_by_degree(rate).sum()))

    def doubts(self) -> list[str]:
        """That a density taken over from another scheme, or the last degrees, lost something."""
        return [
            *doubts_of_start(self.start_error, self.rtol),
            *doubts_of_resolution("the last degrees", self.tail, self.rtol, "lmax_max"),
        ]

    def information(self) -> dict[str, Any]:
        """Numbers for progress reports and attributes."""
        information: dict[str, Any] = {
            "step": self.macro.length if self.field is not None else self.step,
            "lmax": self.transport.lmax,
            "engine": self.transport.grid.engine.name,
            "transport_evaluations": self._earlier_evaluations + self.transport.evaluations,
        }
        if self.field is not None:
            information["order"] = self.macro.order
            information["field_evaluations"] = self.field.evaluations
            information["field_degree"] = self.field.degree
            information["direct_fraction"] = self.field.direct_fraction
        return information
