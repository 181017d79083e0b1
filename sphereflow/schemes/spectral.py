"""The options of the pseudo-spectral scheme."""

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
from ..sphere.grid import LARGEST_DEGREE
from .spectral_run import SpectralRun

__all__ = ["Spectral"]

ENGINES = ("auto", "shtns", "ducc0")


@SCHEMES.row(shows=("step", "lmax"))
@dataclass(frozen=True)
class Spectral:
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
        return SpectralRun(self, problem, rtol, t)

    def resume(self, problem: TransformerPDE, rtol: float, kept: Mapping[str, Any]) -> SpectralRun:
        """The run that `kept` is the state of."""
        return SpectralRun.resumed(self, problem, rtol, kept)
