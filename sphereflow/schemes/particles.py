"""The options of the token scheme."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from ..checks import LARGEST_SEED, boolean, integer, one_of, positive_number, seed_number
from ..describe.fields import Bounds, Words
from ..describe.registry import SCHEMES
from ..errors import InputError
from ..machine.threads import MOST_THREADS, is_forked
from ..problem import TransformerPDE
from .particle_run import ParticleRun
from .token_steps import ERROR_NORMS

__all__ = ["Particles"]

STEPPERS = ("euler", "heun", "rk4")
SUMMATIONS = ("auto", "direct", "harmonic")
STORES = ("tokens", "statistics")


def _adaptive_steps(config: Mapping[str, object]) -> tuple[str, ...]:
    """What runs without a fixed step cite."""
    return ("hairer1993",) if config.get("dt") is None else ()


@SCHEMES.row(references=_adaptive_steps, shows=("steps", "summation"))
@dataclass(frozen=True)
class Particles:
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
        harmonic route goes over to direct sums where it would lose accuracy.
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
        return ParticleRun(self, problem, rtol, t)

    def resume(self, problem: TransformerPDE, rtol: float, kept: Mapping[str, Any]) -> ParticleRun:
        """The run that `kept` is the state of."""
        return ParticleRun.resumed(self, problem, rtol, kept)
