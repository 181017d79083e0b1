"""The options of the finite-volume scheme."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from ..checks import integer, one_of, positive_number
from ..describe.fields import Bounds, Words
from ..describe.registry import SCHEMES
from ..machine.threads import MOST_THREADS
from ..problem import TransformerPDE
from ..sphere import FINEST_LEVEL
from .finite_volume_run import FiniteVolumeRun
from .reconstruction import HIGHEST_DEGREE

__all__ = ["FiniteVolume"]

LIMITERS = ("positive", "monotone")


@SCHEMES.row(references=("du1999", "ketcheson2008", "zhang2010"), shows=("steps", "cells"))
@dataclass(frozen=True)
class FiniteVolume:
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
        return FiniteVolumeRun(self, problem, rtol, t)

    def resume(
        self, problem: TransformerPDE, rtol: float, kept: Mapping[str, Any]
    ) -> FiniteVolumeRun:
        """The run that `kept` is the state of."""
        return FiniteVolumeRun.resumed(self, problem, rtol, kept)
