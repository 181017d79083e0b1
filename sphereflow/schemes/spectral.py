"""The pseudo-spectral scheme: μ as harmonic coefficients, its options and its steps in time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ..attention import FieldSample, GridField, GridFieldState
from ..checks import integer, one_of, positive_number
from ..describe.fields import Bounds, Words
from ..describe.registry import SCHEMES
from ..diagnostics import density_diagnostics, required_degree, tail_ratio
from ..errors import InputError
from ..machine.interruption import listen
from ..machine.plain_state import from_plain
from ..machine.threads import MOST_THREADS
from ..problem import TransformerPDE
from ..sphere import complex_to_real, lmax_of, power_by_degree, resize
from ..sphere.grid import LARGEST_DEGREE
from .doubts import doubts_of_resolution, doubts_of_start
from .energy_budget import BudgetState, EnergyBudget, integrals_of_stages, scalar_budget
from .inputs_in_time import TimeInputs
from .protocol import Coordinates, Information, Record, Run, Scheme, Stop
from .recorded import GridOutput, information_of_field, spectrum_coordinates
from .spectral_transport import Transport, Work, error_scale, norm
from .spectral_velocity import GridVelocity
from .velocity_history import Evaluation, MacroState, MacroSteps

__all__ = ["Spectral"]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

FIELD_SHARE = 0.01  # accuracy of v̄ relative to rtol
BEFORE_KINK = 1e-9  # of the time since the last kink: the rates before a kink are taken here
STEP_SHARE = 0.1  # error of a transport step and of a correction, relative to rtol

ENGINES = ("auto", "shtns", "ducc0")


@SCHEMES.row(shows=("step", "lmax"))
@dataclass(frozen=True)
class Spectral(Scheme):
    """Spherical harmonics for μ, exact diffusion, adaptive steps, a field that is multirate.

    Parameters
    ----------
    lmax : int
        Degree at the start; raised at once if μ_0 needs more.
    lmax_max : int
        Highest degree to which the run may raise it when μ outgrows it.
    dt : float, optional
        Fixed step: classical fourth-order Runge–Kutta with the field evaluated at every
        stage. Left out, steps are adaptive.
    resolution_limit : float
        Value of `resolution` (last degrees over the largest) at which a run that may not
        raise its degree any more stops with the status "under-resolved".
    output_lmax : int, optional
        The output grid is the Gauss grid of this degree; min(lmax, 63) if left out.
    spectrum_degree : int
        Degree to which `spectrum` is saved.
    engine : {"auto", "shtns", "ducc0"}
    threads : int
        Threads of the transforms.

    Raises
    ------
    InputError
        On values out of range.

    Examples
    --------
    >>> import sphereflow as sf
    >>> sf.Spectral(lmax=63).lmax_max
    511
    """

    lmax: Annotated[int, Bounds(1, LARGEST_DEGREE)] = 127
    lmax_max: Annotated[int, Bounds(1, LARGEST_DEGREE)] = 511
    dt: Annotated[float, Bounds(above=0)] | None = None
    resolution_limit: Annotated[float, Bounds(above=0)] = 1e-3
    output_lmax: Annotated[int, Bounds(1, LARGEST_DEGREE)] | None = None
    spectrum_degree: Annotated[int, Bounds(1, LARGEST_DEGREE)] = 32
    engine: Annotated[str, Words(ENGINES)] = "auto"
    threads: Annotated[int, Bounds(1, MOST_THREADS)] = 1

    def __post_init__(self) -> None:
        for name in ("lmax", "lmax_max", "spectrum_degree", "output_lmax"):
            value = getattr(self, name)
            if value is not None or name != "output_lmax":
                object.__setattr__(self, name, integer(value, name, 1, LARGEST_DEGREE))
        object.__setattr__(self, "threads", integer(self.threads, "threads", 1, MOST_THREADS))
        if self.lmax_max < self.lmax:
            raise InputError(
                f"lmax_max must be at least lmax = {self.lmax}, got {self.lmax_max}; raise it"
            )
        if self.dt is not None:
            object.__setattr__(self, "dt", positive_number(self.dt, "dt"))
        limit = positive_number(self.resolution_limit, "resolution_limit")
        object.__setattr__(self, "resolution_limit", limit)
        one_of(self.engine, ENGINES, "engine")

    def memory(self, problem: TransformerPDE) -> tuple[float, float]:
        """Bytes of the work of a run, as measured, and of each of its outputs."""
        rings = 1.5 * (self.lmax + 1)
        fields = 28 if problem.heads is None or self.dt is not None else 43
        grid = 2 * ((self.output_lmax or min(self.lmax, 63)) + 1) ** 2
        numbers = grid * (1 if problem.heads is None else 4) + (self.spectrum_degree + 1) ** 2
        work = 8.0 * fields * 2 * rings**2
        return work, 8.0 * (numbers + problem.head_numbers)

    def start(self, problem: TransformerPDE, rtol: float, t: float = 0.0) -> SpectralRun:
        """A run of the problem from time t on."""
        density, above = problem.density, _raise_above(rtol)
        full = density.resolved_spectrum()
        lmax = min(self.lmax_max, max(self.lmax, required_degree(full, above)))
        error = min(1.0, density.series_error)
        state = SpectralState(t, resize(full, lmax), t, problem.kink_after(t), error)
        run = SpectralRun(self, problem, rtol, state)
        run.begin()
        return run

    def resume(
        self, problem: TransformerPDE, rtol: float, kept: Mapping[str, object]
    ) -> SpectralRun:
        """The run that `kept` is the state of."""
        return SpectralRun(self, problem, rtol, from_plain(SpectralState, kept))


@dataclass
class SpectralState:
    """Where a spectral run stands.

    mu : complex coefficients of μ, to the degree at which it is carried
    last_kink, next_kink : of the head law
    start_error : with which the density was taken over, relative to its largest value
    step : of the transport; 0 before the first one
    warned : that the output grid is too coarse
    field, budget : None without heads
    """

    t: float
    mu: Annotated[Complex, "coefficient"]
    last_kink: float
    next_kink: float
    start_error: float
    step: float = 0.0
    warned: bool = False
    work: Work = dataclasses.field(default_factory=Work)
    macro: MacroState = dataclasses.field(default_factory=MacroState)
    history: list[Evaluation] = dataclasses.field(default_factory=list)
    field: GridFieldState | None = None
    budget: BudgetState[float] | None = None


def _raise_above(rtol: float) -> float:
    """Tail of the spectra above which the degree is raised."""
    return max(rtol, 1e-13)


class SpectralRun(Run):
    """State of one spectral run."""

    now: SpectralState

    def __init__(
        self, options: Spectral, problem: TransformerPDE, rtol: float, state: SpectralState
    ) -> None:
        self.options = options
        self.problem = problem
        self.rtol = rtol
        self.now = state
        self.raise_above = _raise_above(rtol)
        self.output = GridOutput(options.output_lmax or min(options.lmax, 63), options.engine)
        self.field: GridField | None = None
        self.budget: EnergyBudget[float] | None = None
        if problem.heads is not None:
            state.field = state.field or GridFieldState()
            self.field = GridField(problem.field_specification, FIELD_SHARE * rtol, state.field)
        if state.budget is not None:
            self.budget = EnergyBudget(problem.sign, state.budget)
        self._inputs = TimeInputs(problem)
        self.macro = MacroSteps(self._inputs, rtol, state.macro)
        self._work_at(lmax_of(state.mu))

    def begin(self) -> None:
        """Evaluate the field at the start."""
        if self.field is not None:
            sample = self._sample(self.t, self.now.mu)
            self.history.append(sample, self.velocity.of_field(sample))
            self.now.budget = scalar_budget(sample.energy)
            self.budget = EnergyBudget(self.problem.sign, self.now.budget)

    # Resolution

    def _work_at(self, lmax: int) -> None:
        """Set up the transport at this degree, and the velocities that are known on its grid."""
        options = self.options
        self.transport = Transport(
            lmax, self.problem.diffusion, options.engine, options.threads, self.now.work
        )
        self.velocity = GridVelocity(self.problem, self.transport, self.now.history)
        self.history = self.velocity.history

    def _raise_degree(self, lmax: int) -> None:
        """Work at degree `lmax` from now on."""
        self.now.mu = resize(self.now.mu, lmax)
        samples = self.history.samples
        self.now.history.clear()
        self._work_at(lmax)
        for sample in samples:
            self.history.append(sample, self.velocity.of_field(sample))

    def check(self) -> Stop | None:
        """Raise the degree if the density has outgrown it; stop where that is not possible."""
        if not np.isfinite(norm(self.now.mu)):
            return Stop("not-finite", f"the density stopped being finite at t = {self.t:.6g}")
        tail = self.tail
        if tail <= self.raise_above:
            return None
        lmax, highest = self.transport.lmax, self.options.lmax_max
        if lmax < highest:
            self._raise_degree(min(highest, int(1.5 * (lmax + 1)) - 1))
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
        return max(self.tail, self.now.start_error)

    @property
    def tail(self) -> float:
        """Largest amplitude among the last tenth of the degrees over the largest of all."""
        tail = tail_ratio(self.now.mu)
        if self.field is not None and len(self.history):
            tail = max(tail, self.history.latest.unresolved)
        return min(1.0, tail)

    # Velocity

    def _sample(self, t: float, mu: Complex, *, arriving: bool = False) -> FieldSample:
        """The field at time t; arriving at a kink of the head law, with the rates before it."""
        assert self.field is not None
        if arriving and t == self.now.next_kink:
            t -= BEFORE_KINK * (t - self.now.last_kink)
        sample = self.field(t, mu, self.transport.lmax)
        if self.problem.drift is None:
            return sample
        power = self.velocity.power_of_drift(t, mu, sample.interaction)
        return dataclasses.replace(sample, drift_rate=power)

    def _velocity(self, t: float) -> Real:
        """s·v̄ extrapolated to t, plus the drift."""
        return self.velocity.at(t, self.now.macro.order)

    # Time

    def advance(self, target: float) -> None:
        """One macro step, or fixed step, towards `target`, which is hit exactly."""
        target = self._before_breakpoint(target)
        if self.options.dt is not None:
            self._fixed_step(min(target, self._inputs.row_within(self.t, self.options.dt)))
        elif self.field is None:
            now = self.now
            now.mu, now.t, now.step = self._transport(target, now.step or 1e-2)
        else:
            self._macro_step(target)

    def _transport(self, target: float, guess: float) -> tuple[Complex, float, float]:
        """Transport towards `target`, at most until the density outgrows this degree."""
        last = self.transport.lmax >= self.options.lmax_max
        return self.transport.integrate(
            self.now.mu,
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
        if self.t == self.now.next_kink:
            self.now.last_kink, self.now.next_kink = self.t, self.problem.kink_after(self.t)
            latest = self._sample(self.t, self.now.mu)
            self.history.begin_with(latest, self.velocity.of_field(latest))
            self.macro.start_anew()
        return min(target, self.now.next_kink)

    def _macro_step(self, target: float) -> None:
        """Extrapolate v̄, transport, evaluate v̄, correct; repeat with a smaller step if wrong."""
        history, tolerance = self.history, STEP_SHARE * self.rtol
        order = self.now.macro.order
        while True:
            new_time = self.macro.resolved_end(history, target)
            listen(self.t)
            self.velocity.forget()
            mu, new_time, step = self._transport(new_time, self.now.step or new_time - self.t)
            taken = new_time - self.t
            sample = self._sample(new_time, mu, arriving=True)
            acted = history.correction_time(self.t, new_time, order)
            extrapolated = self.velocity.extrapolated(new_time, order)
            actual = self.velocity.of_field(sample)
            shift = (self.problem.sign * acted) * (actual - extrapolated)
            correction = self.transport.tendency(mu, shift)
            scale = error_scale(tolerance, self.now.mu, mu)
            error = norm(correction) / scale
            worst = max(error, self.macro.budget_error(history, sample, self.t))
            if worst <= 1.0 or taken < 1e-10 * max(1.0, abs(target)):
                break
            self.macro.reject(taken, worst)
        assert self.budget is not None
        self.budget.add_rates(history.budget_increments(self.t, sample, order))
        self.macro.accept(history, sample, error, self.t)
        history.append(sample, actual)
        self.now.mu, self.now.step, self.now.t = mu + correction, step, new_time

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
            velocity = self.velocity.still()
            listen()
            if self.field is not None:
                known = t == self.t and self.history.latest.t == t
                sample = self.history.latest if known else self._sample(t, mu, arriving=arriving)
                velocity = self.problem.sign * self.velocity.of_field(sample)
            if self.problem.drift is not None:
                velocity = velocity + self.velocity.drift(t)
            return self.transport.tendency(mu, velocity), sample

        middle = self.t + 0.5 * step
        k1, first = slope(self.t, self.now.mu)
        start, k1 = half * self.now.mu, half * k1
        k2, second = slope(middle, start + 0.5 * step * k1)
        k3, third = slope(middle, start + 0.5 * step * k2)
        k4, fourth = slope(new_time, half * (start + step * k3), arriving=True)
        self.now.mu = half * (start + step / 6 * (k1 + 2 * (k2 + k3))) + step / 6 * k4
        self.now.t = new_time
        if first is None or second is None or third is None or fourth is None:
            return
        assert self.budget is not None
        end = self._sample(new_time, self.now.mu, arriving=True)
        self.budget.add_rates(integrals_of_stages(step, (first, second, third, fourth)))
        self.history.begin_with(end, self.velocity.of_field(end))

    # Output

    def coordinates(self) -> Coordinates:
        """Output grid, degrees and orders of the spectrum."""
        return {
            **self.output.coordinates(),
            **spectrum_coordinates(self.options.spectrum_degree),
        }

    def record(self) -> Record:
        """Variables at the current time."""
        grid, mu = self.transport.grid, self.now.mu
        density = self.output.values(mu)
        diagnostics = density_diagnostics(grid, grid.synthesis(mu))
        record: dict[str, Real | float] = {
            "density": density,
            "spectrum": complex_to_real(resize(mu, self.options.spectrum_degree)),
            "resolution": self.resolution,
            "speed": self._token_speed(),
            "density_rate": self._density_rate(),
            "lmax": float(self.transport.lmax),
            **diagnostics,
        }
        if not self.now.warned:
            self.now.warned = self.output.lacks(density, float(diagnostics["mass"]), self.t)
        if self.budget is None:
            return record
        sample = self.history.latest
        record |= self.output.field(sample)
        record |= self.budget.record(sample)
        return record | self.problem.law.nodes(self.t).record()

    def _token_speed(self) -> float:
        """√∫|v − ε∇log μ|² dμ, over what is positive of the density."""
        grid = self.transport.grid
        self.velocity.forget()
        values = grid.synthesis(self.now.mu)
        velocity = self._velocity(self.t)
        if self.problem.diffusion > 0:
            floor = np.maximum(values, 1e-12 * values.max())
            slope = self.velocity.gradient(self.now.mu)
            velocity = velocity - self.problem.diffusion * slope / floor
        return float(np.sqrt(grid.integrate(np.maximum(values, 0.0) * np.sum(velocity**2, axis=0))))

    def state(self) -> Record:
        """The coefficients at the end, to their full degree."""
        return {"final_spectrum": complex_to_real(self.now.mu)}

    def _density_rate(self) -> float:
        """L2 norm of ∂_tμ."""
        diffusive = self.problem.diffusion * self.transport.grid.laplacian(self.now.mu)
        rate = self.transport.tendency(self.now.mu, self._velocity(self.t)) + diffusive
        return float(np.sqrt(power_by_degree(rate).sum()))

    def doubts(self) -> list[str]:
        """That a density taken over from another scheme, or the last degrees, lost something."""
        return [
            *doubts_of_start(self.now.start_error, self.rtol),
            *doubts_of_resolution("the last degrees", self.tail, self.rtol, "lmax_max"),
        ]

    def information(self) -> Information:
        """Numbers for progress reports and attributes."""
        information: dict[str, float | str] = {
            "step": self.now.macro.length if self.field is not None else self.now.step,
            "lmax": self.transport.lmax,
            "engine": self.transport.grid.engine.name,
            "transport_evaluations": self.now.work.evaluations,
        }
        if self.field is not None:
            information["order"] = self.now.macro.order
            information |= information_of_field(self.field)
        return information
