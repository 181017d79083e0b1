"""The options of the method of characteristics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from ..checks import integer, one_of, positive_number
from ..describe.fields import Bounds, Words
from ..describe.registry import SCHEMES
from ..errors import InputError
from ..machine.threads import MOST_THREADS
from ..problem import TransformerPDE
from .characteristics_run import CharacteristicsRun
from .token_steps import ERROR_NORMS

__all__ = ["Characteristics"]


@SCHEMES.row(references=("hairer1993",), shows=("nodes",))
@dataclass(frozen=True)
class Characteristics:
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
        return CharacteristicsRun(self, problem, rtol, t, self.degree)

    def resume(
        self, problem: TransformerPDE, rtol: float, kept: Mapping[str, Any]
    ) -> CharacteristicsRun:
        """The run that `kept` is the state of."""
        return CharacteristicsRun.resumed(self, problem, rtol, kept)
