"""A finite number of head paths of a process: the law that token runs move along with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray

from ..checks import LARGEST_SEED, boolean, integer, positive_number, seed_number, shown
from ..describe.fields import Bounds, Kinds, Words
from ..describe.registry import DYNAMICS, INITIAL_LAWS, LAWS
from ..errors import InputError
from ..machine.threads import in_turn
from ..seeds import Purpose, stream
from .dense import DenseSolution
from .initial_laws import InitialLaw, Normal
from .law import HeadLaw
from .nodes import NUMBERS_OF_A_HEAD, Heads
from .parametrisations import Parametrisation, derivatives

__all__ = ["HeadDynamics", "HeadPaths", "HeadPathsState", "HeadStep", "Process", "SampledHeads"]

Real = NDArray[np.float64]

Covariance = Callable[[Real, float, float], Real]

MOST_HEADS = 10**7
METHODS = ("euler", "exact")
CHUNK = 64  # steps of noise that are drawn at a time
SAME_TIME = 1e-10  # of a step: earlier by this much still counts as the time of a step


class Process(Protocol):
    """dθ = f dt + g dW with a map θ ↦ (D, V), as paths of heads need it."""

    @property
    def dimension(self) -> int: ...
    @property
    def noisy(self) -> bool: ...
    @property
    def constant_noise(self) -> bool: ...
    @property
    def parametrisation(self) -> Parametrisation: ...
    def drift_at(self, theta: Real, t: float) -> Real: ...
    def covariance(self, theta: Real, t: float, step: float) -> Real: ...
    def transition(self, theta: Real, t: float, step: float, noise: Real) -> tuple[Real, Real]: ...


class HeadDynamics(ABC):
    """What paths of heads are drawn from: a process, and what else is known of its law."""

    exact: bool = False  # whether the transition over any step is known

    @property
    @abstractmethod
    def process(self) -> Process:
        """The process of the parameters of one head."""

    @property
    def initial_law(self) -> InitialLaw:
        """Law of θ at t = 0."""
        return Normal()

    def exact_transition(self, theta: Real, step: float, noise: Real) -> tuple[Real, Real]:
        """Mean and random part of θ(t + step) − θ(t) without error in the step."""
        raise NotImplementedError

    def exact_covariance(self, count: int, step: float) -> Real:
        """Covariance of that random part, shape (count, p, p)."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class HeadStep:
    """What one step does to D of every head (P paths, H heads), for the energy balance (148).

    drift : (P, H, 3, 3)  mean increment of D
    noise : (P, H, 3, 3)  random increment
    covariance : (P, H, 3, 3, 3, 3)  of the random increments of D_ab and D_cd; one entry in place
        of P and H where it is the same for all
    """

    drift: Real
    noise: Real
    covariance: Real


@dataclass
class HeadPathsState:
    """Where the heads of some paths are; their noise is drawn again.

    index : steps taken
    theta : parameters
    """

    t: float
    index: int
    theta: Annotated[Real, "path head parameter"]


class HeadPaths:
    """The heads of some paths, moved step by step.

    The random numbers of a head depend on the seed of the law, its path, its number and the
    number of the step, and on nothing else.
    """

    def __init__(
        self, law: SampledHeads, paths: range, state: HeadPathsState | None = None
    ) -> None:
        self.law = law
        self.paths = paths
        dimension = law.process.dimension

        def draw(path: int, head: int) -> Real:
            rng = law.generator(Purpose.HEADS, 0 if law.share_initial else path, head)
            return law.initial_law.sample(rng, dimension)

        if state is None:
            drawn = [[draw(path, head) for head in range(law.count)] for path in paths]
            state = HeadPathsState(0.0, 0, np.array(drawn))
        self.now = state
        self._noise = np.empty((0, *state.theta.shape))

    @property
    def t(self) -> float:
        """The current time."""
        return self.now.t

    @property
    def theta(self) -> Real:
        """The parameters at the current time, shape (P, H, p)."""
        return self.now.theta

    def nodes(self, t: float) -> list[Heads]:
        """The heads of each path at the current time, whatever `t`; without their rates."""
        logits, values = matrices_of(self.law.process, self.now.theta)
        return [Heads(d, v, self.law.weights) for d, v in zip(logits, values, strict=True)]

    def _next_noise(self) -> Real:
        chunk, position = divmod(self.now.index, CHUNK)
        if position == 0 or not len(self._noise):
            law = self.law
            self._noise = np.empty((CHUNK, *self.now.theta.shape))
            for row, path in enumerate(self.paths):
                for head in range(law.count):
                    rng = law.generator(Purpose.HEAD_NOISE, path, head, chunk)
                    self._noise[:, row, head] = rng.standard_normal((CHUNK, law.process.dimension))
        noise: Real = self._noise[position]
        return noise

    def rates(self) -> HeadStep:
        """Mean increments and covariances per unit time at the current time."""
        law, shape = self.law, self.now.theta.shape
        flat = self.now.theta.reshape(-1, shape[-1])
        mean = law.process.drift_at(flat, self.now.t)
        return self._step_of(flat, 1.0, mean, np.zeros_like(flat), law.process.covariance)

    def advance(self, new_time: float) -> HeadStep:
        """Take one step, and say what it did to D."""
        law, step = self.law, new_time - self.now.t
        shape = self.now.theta.shape
        flat = self.now.theta.reshape(-1, shape[-1])
        noise = self._next_noise().reshape(flat.shape)
        mean, random = law.transition(flat, self.now.t, step, noise)
        result = self._step_of(flat, step, mean, random, law.covariance)
        self.now.theta = self.now.theta + (mean + random).reshape(shape)
        self.now.t = new_time
        self.now.index += 1
        return result

    def _step_of(
        self, flat: Real, step: float, mean: Real, random: Real, covariance_of: Covariance
    ) -> HeadStep:
        """Increments of D from those of θ, by Itô's formula."""
        shape = (*self.now.theta.shape[:2], 3, 3)
        parametrisation = self.law.process.parametrisation
        first, second = derivatives(parametrisation, flat)
        # Linear maps and constant noise have one covariance for all heads.
        common = second is None and self.law.constant_noise
        of_theta = covariance_of(flat[:1] if common else flat, self.now.t, step)
        drift = np.einsum("na,naij->nij", mean, first)
        if second is not None:
            drift = drift + 0.5 * np.einsum("nab,nabij->nij", of_theta, second)
        maps = first[: len(of_theta)]
        covariance = np.einsum("naij,nab,nbkl->nijkl", maps, of_theta, maps, optimize=True)
        many = (1, 1, 3, 3) if common else shape
        moved = np.einsum("na,naij->nij", random, first)
        return HeadStep(drift.reshape(shape), moved.reshape(shape), covariance.reshape(*many, 3, 3))


class SmoothPaths:
    """The heads of some paths of a process without noise, by an accurate solution in time."""

    def __init__(self, law: SampledHeads, paths: range) -> None:
        self.law = law
        start = HeadPaths(law, paths).now.theta
        self._shape = start.shape
        self._solution = DenseSolution(self._rate, start.ravel(), 1e-12)

    def _rate(self, t: float, state: Real) -> Real:
        return self.law.process.drift_at(state.reshape(-1, self.law.process.dimension), t).ravel()

    def nodes(self, t: float) -> list[Heads]:
        """The heads of each path at time t, with their rates."""
        process = self.law.process
        theta = self._solution(t).reshape(self._shape)
        logits, values = matrices_of(process, theta)
        flat = theta.reshape(-1, process.dimension)
        first, _ = derivatives(process.parametrisation, flat)
        rates = np.einsum("na,naij->nij", process.drift_at(flat, t), first).reshape(logits.shape)
        weights = self.law.weights
        return [Heads(d, v, weights, r) for d, v, r in zip(logits, values, rates, strict=True)]


def matrices_of(process: Process, theta: Real) -> tuple[Real, Real]:
    """D and V, shapes (P, H, 3, 3), of parameters (P, H, p)."""
    shape = (*theta.shape[:2], 3, 3)
    logits, values = process.parametrisation(theta.reshape(-1, theta.shape[-1]))
    return (
        np.asarray(logits, dtype=np.float64).reshape(shape),
        np.asarray(values, dtype=np.float64).reshape(shape),
    )


@LAWS.row()
@dataclass(frozen=True, eq=False)
class SampledHeads(HeadLaw):
    """Independent paths of a head process: Θ_t = (1/H) Σ_h δ_{θ_h(t)}.

    Parameters
    ----------
    law : HeadProcess or OrnsteinUhlenbeck
    count : int
        H, at least 1. The first heads do not depend on it.
    seed : int, optional
        Drawn from the operating system if left out, and then kept.
    initial : Normal, Point or object with ``sample(rng, dimension)``, optional
        Law of θ at t = 0; that of an `OrnsteinUhlenbeck`, else `Normal()`, if left out.
    dt : float
        Step of the paths that `nodes` gives, which are linear between the steps.
    method : {"euler", "exact"}
        Euler–Maruyama, or for `OrnsteinUhlenbeck` the exact transition.
    share_initial : bool
        All paths of an ensemble start from the same heads.

    Raises
    ------
    InputError
        On arguments out of range or of the wrong kind.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> heads = sf.OrnsteinUhlenbeck(np.eye(3), 1.0).sample(count=5, seed=1)
    >>> more = sf.OrnsteinUhlenbeck(np.eye(3), 1.0).sample(count=7, seed=1)
    >>> bool(np.array_equal(heads.nodes(0.3).logits, more.nodes(0.3).logits[:5]))
    True
    """

    law: Annotated[HeadDynamics, Kinds(DYNAMICS)]
    count: Annotated[int, Bounds(1, MOST_HEADS)]
    seed: Annotated[int, Bounds(0, LARGEST_SEED)] | None = None
    initial: Annotated[InitialLaw, Kinds(INITIAL_LAWS)] | None = None
    dt: Annotated[float, Bounds(above=0)] = 1e-2
    method: Annotated[str, Words(METHODS)] = "euler"
    share_initial: bool = False
    _table: list[Real] = field(init=False, repr=False, default_factory=list)
    _kept: list[HeadPaths | SmoothPaths] = field(init=False, repr=False, default_factory=list)

    def __post_init__(self) -> None:
        if not isinstance(self.law, HeadDynamics):
            raise InputError(
                f"law must be a HeadProcess or an OrnsteinUhlenbeck, got {shown(self.law)}; make "
                "a HeadProcess of the drift and the noise"
            )
        object.__setattr__(self, "count", integer(self.count, "count", 1, MOST_HEADS))
        object.__setattr__(self, "seed", seed_number(self.seed))
        object.__setattr__(self, "dt", positive_number(self.dt, "dt"))
        boolean(self.share_initial, "share_initial")
        if (
            not isinstance(self.method, str)
            or self.method not in METHODS
            or (self.method == "exact" and not self.law.exact)
        ):
            raise InputError(
                "method must be 'euler', or 'exact' for an OrnsteinUhlenbeck, got "
                f"{shown(self.method)}; choose one of them"
            )
        if not hasattr(self.initial_law, "sample"):
            raise InputError(
                f"initial must be a law of θ, got {shown(self.initial_law)}; use Normal(mean, "
                "std), Point(theta) or an object with sample(rng, dimension)"
            )

    @property
    def process(self) -> Process:
        """The process of the parameters."""
        return self.law.process

    @property
    def initial_law(self) -> InitialLaw:
        """Law of θ at t = 0."""
        return self.law.initial_law if self.initial is None else self.initial

    @property
    def weights(self) -> Real:
        """Weights of the heads, shape (H,)."""
        return np.full(self.count, 1.0 / self.count)

    @property
    def noisy(self) -> bool:
        """Whether the paths are random after t = 0."""
        return self.process.noisy

    def generator(self, purpose: Purpose, *key: int) -> np.random.Generator:
        """The random numbers of one purpose, path, head and chunk."""
        return stream(self.seed, purpose, *key)

    @property
    def constant_noise(self) -> bool:
        """Whether g depends neither on θ nor on t."""
        return self.process.constant_noise

    def transition(self, theta: Real, t: float, step: float, noise: Real) -> tuple[Real, Real]:
        """Mean and random part of the increment of θ over one step."""
        if self.method == "exact":
            return self.law.exact_transition(theta, step, noise)
        return self.process.transition(theta, t, step, noise)

    def covariance(self, theta: Real, t: float, step: float) -> Real:
        """Covariance of the random part, shape (H, p, p)."""
        if self.method == "exact":
            return self.law.exact_covariance(len(theta), step)
        return self.process.covariance(theta, t, step)

    def paths(
        self, paths: range = range(1), state: HeadPathsState | None = None
    ) -> HeadPaths | SmoothPaths:
        """The heads of these paths of an ensemble, from t = 0 or from a state of noisy ones."""
        return HeadPaths(self, paths, state) if self.noisy else SmoothPaths(self, paths)

    @property
    def recorded_numbers(self) -> int:
        """Two matrices and a weight of each head."""
        return NUMBERS_OF_A_HEAD * self.count

    @property
    def linear_between_breakpoints(self) -> bool:
        """Whether there is nothing to see between two kinks."""
        return self.noisy

    def driven_by(self, t: float) -> Real:
        """The drift at the initial heads: what makes the heads change with time."""
        rng = self.generator(Purpose.HEADS, 0, 0)
        theta = self.initial_law.sample(rng, self.process.dimension)[None]
        return self.process.drift_at(theta, t).ravel()

    def breakpoint_after(self, t: float) -> float:
        """The next time at which the heads of `nodes` have a kink."""
        if not self.noisy:
            return np.inf
        return float((np.floor(t / self.dt + SAME_TIME) + 1) * self.dt)

    @in_turn
    def nodes(self, t: float) -> Heads:
        """The heads of path 0 at time t ≥ 0; noisy ones are linear between the steps."""
        if not t >= 0:
            raise InputError(f"time must be at least 0, got {t:g}")
        if not self._kept:
            self._kept.append(self.paths())
        paths = self._kept[0]
        if isinstance(paths, SmoothPaths):
            return paths.nodes(t)[0]
        index = int(np.floor(t / self.dt + SAME_TIME))
        share = min(max(t / self.dt - index, 0.0), 1.0)
        start, start_values = self._matrices_after(paths, index)
        end, end_values = self._matrices_after(paths, index + 1)
        return Heads(
            start + share * (end - start),
            start_values + share * (end_values - start_values),
            self.weights,
            (end - start) / self.dt,
        )

    def _matrices_after(self, paths: HeadPaths, index: int) -> tuple[Real, Real]:
        """D and V after `index` steps of `dt`; the parameters are kept for later."""
        if not self._table:
            self._table.append(paths.now.theta)
        while len(self._table) <= index:
            paths.advance((paths.now.index + 1) * self.dt)
            self._table.append(paths.now.theta)
        logits, values = matrices_of(self.process, self._table[index])
        return logits[0], values[0]
