"""The token scheme: P independent paths of n tokens and their heads."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ..attention import TokenField, TokenFieldState, TokenSample
from ..checks import LARGEST_SEED, boolean, integer, one_of, positive_number, seed_number
from ..densities.base import Density
from ..describe.fields import Bounds, Words
from ..describe.registry import SCHEMES
from ..errors import InputError
from ..heads import HeadPaths, HeadPathsState, SampledHeads, SmoothPaths
from ..machine.plain_state import from_plain
from ..machine.threads import MOST_THREADS, is_forked
from ..problem import TransformerPDE
from ..seeds import Purpose, seed_sequence
from ..sphere import PointTransform, complex_to_real
from .energy_budget import BudgetState, EnergyBudget, budget_of_paths
from .protocol import Coordinates, Information, Record, Run, Scheme, Stop
from .recorded import over_paths, spectrum_coordinates, without_single
from .steppers import ERROR_NORMS
from .token_noise import diffusion_increments, head_increments, tangent_noise
from .token_system import RATES, TokenSystem, transport_terms

__all__ = ["Particles"]

Real = NDArray[np.float64]

STEPPERS = ("euler", "heun", "rk4")
SUMMATIONS = ("auto", "direct", "harmonic")
STORES = ("tokens", "statistics")


def _adaptive_steps(config: Mapping[str, object]) -> tuple[str, ...]:
    """What runs without a fixed step cite."""
    return ("hairer1993",) if config.get("dt") is None else ()


@SCHEMES.row(references=_adaptive_steps, shows=("steps", "summation"))
@dataclass(frozen=True)
class Particles(Scheme):
    """The system of n tokens, eq. (10), whose mean-field limit is the PDE.

    Parameters
    ----------
    count : int, optional
        n, drawn from the density; left out for an `EmpiricalDensity`, whose points and weights
        are taken as they are.
    dt : float or None
        Fixed step. None stands for adaptive steps (Dormand–Prince of order 8) at the `rtol` of
        `solve`, for heads and tokens without noise.
    seed : int, optional
        Of the initial tokens and their noise; drawn from the operating system if left out, and
        then kept. Head paths have the seed of their law.
    paths : int
        P independent runs, each with its own head path.
    stepper : {"euler", "heun", "rk4"}
        "euler" is the projected explicit Euler scheme of Section 6 of the paper, with
        Euler–Maruyama steps of noisy heads; "heun" (order 2) and "rk4" (order 4) need heads and
        tokens without noise.
    summation : {"auto", "direct", "harmonic"}
        Sums over pairs, through harmonic moments at a cost linear in n, or what is quicker. The
        harmonic routes, by the harmonics of the velocity or by series at the tokens, go over to
        direct sums where they would lose accuracy.
    store : {"tokens", "statistics"}
        Keep all positions and heads, or only numbers for each path, and mean and standard
        deviation over the paths.
    share_tokens : bool
        All paths start from the same tokens.
    first_path : int
        Number of the first path: an ensemble may be computed in parts, with the same results.
    spectrum_degree : int
        Degree to which `spectrum` is saved.
    threads : int, optional
        As many as there are processors if left out. The results do not depend on it.
    error_norm : {"largest", "mean"}
        The error of an adaptive step is that of the worst token, or the root mean square over all.

    Raises
    ------
    InputError
        On values out of range.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> heads = sf.OrnsteinUhlenbeck(np.eye(3), 1.0).sample(count=10, seed=1)
    >>> problem = sf.TransformerPDE(heads, sf.OctahedralClusters(), flow="descent")
    >>> scheme = sf.Particles(count=50, dt=1e-2, seed=1, paths=2)
    >>> run = sf.solve(problem, t_end=0.1, scheme=scheme, save_every=0.05)
    >>> run.position.dims, run.position.shape
    (('path', 'time', 'token', 'axis'), (2, 3, 50, 3))
    """

    count: Annotated[int, Bounds(1, 10**8)] | None = None
    dt: Annotated[float, Bounds(above=0)] | None = 1e-2
    seed: Annotated[int, Bounds(0, LARGEST_SEED)] | None = None
    paths: Annotated[int, Bounds(1, 10**6)] = 1
    stepper: Annotated[str, Words(STEPPERS)] = "euler"
    summation: Annotated[str, Words(SUMMATIONS)] = "auto"
    store: Annotated[str, Words(STORES)] = "tokens"
    share_tokens: bool = False
    first_path: Annotated[int, Bounds(0, 10**9)] = 0
    spectrum_degree: Annotated[int, Bounds(1, 1023)] = 32
    threads: Annotated[int, Bounds(1, MOST_THREADS)] | None = None
    error_norm: Annotated[str, Words(ERROR_NORMS)] = "largest"

    def __post_init__(self) -> None:
        if self.count is not None:
            object.__setattr__(self, "count", integer(self.count, "count", 1, 10**8))
        if self.dt is not None:
            object.__setattr__(self, "dt", positive_number(self.dt, "dt"))
        object.__setattr__(self, "seed", seed_number(self.seed))
        object.__setattr__(self, "paths", integer(self.paths, "paths", 1, 10**6))
        object.__setattr__(self, "first_path", integer(self.first_path, "first_path", 0, 10**9))
        degree = integer(self.spectrum_degree, "spectrum_degree", 1, 1023)
        object.__setattr__(self, "spectrum_degree", degree)
        if self.threads is not None:
            object.__setattr__(self, "threads", integer(self.threads, "threads", 1, MOST_THREADS))
        one_of(self.stepper, STEPPERS, "stepper")
        one_of(self.summation, SUMMATIONS, "summation")
        one_of(self.store, STORES, "store")
        boolean(self.share_tokens, "share_tokens")
        one_of(self.error_norm, ERROR_NORMS, "error_norm")

    @property
    def processors(self) -> int:
        """Threads to use."""
        return self.threads or (1 if is_forked() else os.cpu_count()) or 1

    def memory(self, problem: TransformerPDE) -> tuple[float, float]:
        """Bytes of the work of a run, as measured, and of each of its outputs."""
        given = problem.density.tokens()
        count = (self.count or 0) if given is None else len(given[0])
        stored = self.store == "tokens" or self.share_tokens or given is not None
        positions = 3 * count if stored else 0
        numbers = positions + (self.spectrum_degree + 1) ** 2
        if self.store == "statistics":
            each = 2 * numbers
        else:
            each = self.paths * (numbers + problem.head_numbers)
        return self.paths * count * (360.0 if self.dt is not None else 880.0), 8.0 * each

    def start(self, problem: TransformerPDE, rtol: float, t: float = 0.0) -> ParticleRun:
        """A run of the problem from time t on.

        Raises
        ------
        InputError
            If noise meets a stepper that cannot take it, or the number of tokens is missing.
        """
        noisy = problem.heads is not None and problem.heads.noisy
        source = "noisy heads" if noisy else "diffusion"
        if (noisy or problem.diffusion > 0) and self.dt is None:
            raise InputError(
                f"dt must be a number with {source}, got None: adaptive steps would bias the "
                "noise; give a fixed step such as dt=1e-2"
            )
        if (noisy or problem.diffusion > 0) and self.stepper != "euler":
            raise InputError(
                f"stepper must be 'euler' with {source}, got {self.stepper!r}, whose order holds "
                "for smooth paths only"
            )
        given = problem.density.tokens()
        if self.count is None and given is None:
            raise InputError("count must be the number of tokens to draw, got None; give it")
        if given is not None and self.count not in (None, len(given[0])):
            raise InputError(
                f"count must be left out or {len(given[0])}, the number of "
                f"tokens in the EmpiricalDensity, got {self.count}"
            )
        positions, weights = self._initial_tokens(problem.density)
        run = ParticleRun(self, problem, rtol, ParticleState(t, positions, weights))
        run.begin()
        return run

    def resume(
        self, problem: TransformerPDE, rtol: float, kept: Mapping[str, object]
    ) -> ParticleRun:
        """The run that `kept` is the state of."""
        return ParticleRun(self, problem, rtol, from_plain(ParticleState, kept))

    @property
    def path_numbers(self) -> range:
        """Numbers of the paths."""
        return range(self.first_path, self.first_path + self.paths)

    def _initial_tokens(self, density: Density) -> tuple[Real, Real]:
        """Positions (P, 3, n) and weights (n,)."""
        given = density.tokens()
        if given is not None:
            positions, weights = given
            drawn = [positions] * self.paths
        else:
            assert self.count is not None
            draws = [0 if self.share_tokens else path for path in self.path_numbers]
            seeds = [seed_sequence(self.seed, Purpose.TOKENS, draw) for draw in draws]
            drawn = [density.sample(self.count, seed) for seed in seeds]
            weights = np.full(self.count, 1.0 / self.count)
        return np.ascontiguousarray(np.stack(drawn).transpose(0, 2, 1)), weights


@dataclass
class ParticleState:
    """Where P runs of n tokens stand.

    lengths : of the next adaptive step of each path
    latest : the field at this time, once it is known
    heads : of noisy heads
    field, budget : None without heads
    """

    t: float
    positions: Annotated[Real, "path 3 token"]
    weights: Annotated[Real, "token"]
    steps: int = 0
    lengths: list[float | None] = dataclasses.field(default_factory=list)
    latest: TokenSample | None = None
    heads: HeadPathsState | None = None
    field: TokenFieldState | None = None
    budget: BudgetState[Real] | None = None


class ParticleRun(Run):
    """P independent paths of n tokens and their heads."""

    now: ParticleState

    def __init__(
        self, options: Particles, problem: TransformerPDE, rtol: float, state: ParticleState
    ) -> None:
        self.options = options
        self.problem = problem
        self.rtol = rtol
        self.now = state
        self.paths = options.path_numbers
        state.lengths = state.lengths or [None] * len(self.paths)
        law = problem.heads
        self.noisy = law is not None and law.noisy
        self.head_paths: HeadPaths | SmoothPaths | None = None
        if isinstance(law, SampledHeads):
            self.head_paths = law.paths(self.paths, state.heads)
        if isinstance(self.head_paths, HeadPaths):
            state.heads = self.head_paths.now
        self.field: TokenField | None = None
        self.budget: EnergyBudget[Real] | None = None
        if law is not None:
            state.field = state.field or TokenFieldState()
            how = options.summation, options.processors
            self.field = TokenField(problem.field_specification, state.weights, *how, state.field)
        self.system = TokenSystem(problem, self.field, self.head_paths, len(self.paths))
        if state.budget is not None:
            self.budget = EnergyBudget(problem.sign, state.budget)

    def begin(self) -> None:
        """Move noisy heads to the start, and evaluate the field there."""
        now, dt = self.now, self.options.dt
        if now.t > 0.0 and dt is not None:
            # The numbers of the steps, and with them the noise, go on as if from time 0.
            now.steps = max(1, int(np.ceil(now.t / dt * (1 - 1e-9))))
            if isinstance(self.head_paths, HeadPaths):
                for step in range(now.steps):
                    self.head_paths.advance(now.t * (step + 1) / now.steps)
        if self.field is not None:
            now.budget = budget_of_paths(self.sample.energy)
            self.budget = EnergyBudget(self.problem.sign, now.budget)

    @property
    def sample(self) -> TokenSample:
        """The field at the current time, evaluated once."""
        now = self.now
        if now.latest is None:
            bends = self.noisy or self.problem.diffusion > 0
            now.latest = self.system.sample(now.t, now.positions, curvatures=bends)
        return now.latest

    def moved_to(self, positions: Real, t: float) -> None:
        """Take over new positions, of any length but 0, and a new time."""
        self.now.positions = positions / np.linalg.norm(positions, axis=1, keepdims=True)
        self.now.t = t
        self.now.steps += 1
        self.now.latest = None

    # Time

    def advance(self, target: float) -> None:
        """One step towards `target`, which is hit exactly."""
        if not self.noisy:
            target = min(target, self.problem.kink_after(self.t))
        if self.options.dt is None:
            self._adaptive_step(target)
            return
        if not self.noisy:
            target = min(target, self.system.inputs.row_within(self.t, self.options.dt))
        count = max(1, int(np.ceil((target - self.t) / self.options.dt * (1 - 1e-9))))
        new_time = target if count == 1 else self.t + (target - self.t) / count
        if self.options.stepper == "euler":
            self._euler_step(new_time)
        else:
            start, how = self.now.positions, self.options.stepper
            positions, integrals = self.system.runge_kutta(self.t, start, new_time, how)
            self._add_rates(integrals)
            self.moved_to(positions, new_time)

    def _adaptive_step(self, target: float) -> None:
        """Adaptive steps of each path by itself, with its budget integrals."""
        positions, lengths = np.empty_like(self.now.positions), list(self.now.lengths)
        integrals = np.empty((len(RATES), len(self.paths)))
        for row in range(len(self.paths)):
            positions[row], integrals[:, row], lengths[row] = self.system.advance_path(
                row,
                self.t,
                self.now.positions[row],
                target,
                rtol=self.rtol,
                energy=1.0 if self.field is None else float(self.sample.energy[row]),
                length=lengths[row],
                error_norm=self.options.error_norm,
            )
        self.now.lengths = lengths
        self._add_rates(integrals)
        self.moved_to(positions, target)

    def _add_rates(self, integrals: Real) -> None:
        """Add the integrals over a step of the rates of the budget, (4, P)."""
        if self.budget is not None:
            self.budget.add_rates(dict(zip(RATES, integrals, strict=True)))

    def _euler_step(self, new_time: float) -> None:
        """x ← Π(x + s a dt + u dt + noise), and the heads, with the terms of (148) before it."""
        step, now, problem = new_time - self.t, self.now, self.problem
        change = np.zeros_like(now.positions)
        moved = None
        if problem.diffusion > 0:
            seed, paths = self.options.seed, self.paths
            moved = tangent_noise(problem, seed, paths, now.steps, now.positions, step)
        if self.field is not None:
            sample = self.sample
            assert self.budget is not None
            self._add_rates(step * transport_terms(sample))
            if moved is not None:
                nodes, variance = self.system.nodes(self.t), problem.diffusion * step
                tokens = now.positions, now.weights
                self.budget.add(diffusion_increments(sample, nodes, moved, *tokens, variance))
            if isinstance(self.head_paths, HeadPaths):
                heads = self.head_paths.advance(new_time)
                self.budget.add(head_increments(sample, heads, self.head_paths.law.weights))
            change += problem.sign * step * sample.step_direction
        if problem.drift is not None:
            change += step * self.system.drift(self.t, now.positions)
        if moved is not None:
            change += moved
        self.moved_to(now.positions + change, new_time)

    def check(self) -> Stop | None:
        """A reason to end the run: positions that are not finite."""
        if np.isfinite(self.now.positions).all():
            return None
        return Stop("not-finite", f"a token stopped being finite at t = {self.t:.6g}; lower dt")

    # Output

    def coordinates(self) -> Coordinates:
        """Degrees and orders of the spectrum, weights of the tokens, numbers of the paths."""
        coordinates = dict(spectrum_coordinates(self.options.spectrum_degree))
        if len(self.paths) > 1:
            coordinates["path"] = ("path", np.array(self.paths))
        if self._stores_positions:
            coordinates["token_weight"] = ("token", self.now.weights)
        return coordinates

    @property
    def _stores_positions(self) -> bool:
        same_tokens = self.options.share_tokens or self.problem.density.tokens() is not None
        return self.options.store == "tokens" or same_tokens

    def _spectra(self) -> Real:
        degree = self.options.spectrum_degree
        return np.stack(
            [
                complex_to_real(PointTransform(one.T.copy()).moments(self.now.weights, degree))
                for one in self.now.positions
            ]
        )

    def record(self) -> Record:
        """Variables at the current time; for several paths with their axis first."""
        x, w = self.now.positions, self.now.weights
        record: dict[str, Real] = {
            "mass": np.full(len(self.paths), w.sum()),
            "first_moment": np.einsum("pin,n->pi", x, w),
            "second_moment": np.einsum("pin,pjn,n->pij", x, x, w),
            "resolution": np.full(len(self.paths), np.sqrt(np.sum(w**2))),
        }
        if self.field is not None:
            assert self.budget is not None
            terms = dataclasses.replace(self.sample, energy_rate_heads=self._head_rate())
            record |= self.budget.record(terms)
            by_slope = record["energy_transport_integral"] - record["energy_slope_integral"]
            record["energy_residual_slope"] = record["energy_residual"] + by_slope
        if self.problem.diffusion == 0:
            record["speed"] = self._token_speed()
        detailed = {"spectrum": self._spectra()}
        if self._stores_positions:
            detailed["position"] = x.transpose(0, 2, 1)
        if self.options.store == "statistics":
            return without_single(record, len(self.paths)) | over_paths(detailed)
        if self.field is not None:
            variables = [one.record() for one in self.system.nodes(self.t)]
            detailed |= {name: np.stack([one[name] for one in variables]) for name in variables[0]}
        return without_single(record | detailed, len(self.paths))

    def _head_rate(self) -> Real:
        """∂_tE: drift and Itô part for noisy heads."""
        if not isinstance(self.head_paths, HeadPaths):
            return self.sample.energy_rate_heads
        rates = head_increments(self.sample, self.head_paths.rates(), self.head_paths.law.weights)
        return rates["energy_heads_integral"] + rates["energy_ito_integral"]

    def _token_speed(self) -> Real:
        """√∫|s v̄ + u|² dμ of each path."""
        velocity = np.zeros_like(self.now.positions)
        if self.field is not None:
            velocity += self.problem.sign * self.sample.velocity
        if self.problem.drift is not None:
            velocity += self.system.drift(self.t, self.now.positions)
        square: Real = np.einsum("pin,pin,n->p", velocity, velocity, self.now.weights)
        return np.sqrt(square)

    def information(self) -> Information:
        """Numbers for progress reports and attributes."""
        own = {"steps": self.now.steps}
        if self.field is None:
            return own
        return own | {
            "summation": self.field.route,
            "direct_evaluations": self.field.now.direct_evaluations,
            "harmonic_evaluations": self.field.now.harmonic_evaluations,
            "series_evaluations": self.field.now.series_evaluations,
        }
