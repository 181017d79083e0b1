"""The scheme that changes itself when the density outgrows a grid."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

from ..describe.fields import Bounds
from ..describe.registry import SCHEMES
from ..machine.threads import MOST_THREADS
from ..output.ends import End
from ..problem import TransformerPDE
from ..sphere.grid import LARGEST_DEGREE
from .characteristics import Characteristics
from .protocol import Scheme
from .spectral import Spectral

__all__ = ["Auto", "Relay"]


class Relay(ABC):
    """Schemes that follow one another in one run, each from where the one before handed over."""

    @abstractmethod
    def legs(self, rtol: float) -> list[Scheme]:
        """The schemes in their order."""

    @abstractmethod
    def hands_over(self, problem: TransformerPDE, status: str) -> bool:
        """Whether a leg that ended with this status is followed by the next one."""


@SCHEMES.row(references=("hairer1993",), shows=("step", "lmax", "nodes"))
@dataclass(frozen=True)
class Auto(Relay):
    """Spherical harmonics as long as they resolve μ to `rtol`, then characteristics.

    With diffusion there is no change: the run then ends as a `Spectral` one does. The dataset
    holds what both schemes write, NaN where one of them is not at work, and `stage` says which
    one wrote a time. ``scheme="auto"`` in `sphereflow.solve` is ``Auto()``.

    Parameters
    ----------
    lmax, lmax_max : int
        Of `Spectral`.
    degree, degree_max : int
        Of `Characteristics`.
    spectrum_degree : int
        Degree to which `spectrum` is saved.
    threads : int
        Threads of the transforms.

    Raises
    ------
    InputError
        On values out of range.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> density = sf.VonMisesFisher([0, 0, 1], 4.0)
    >>> problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), density)
    >>> scheme = sf.Auto(lmax=31, lmax_max=31, degree=31, degree_max=31)
    >>> run = sf.solve(problem, t_end=3.0, scheme=scheme, save_every=1.0, rtol=1e-4)
    >>> run.stage.values[[0, -1]], run.attrs["status"]
    (array([0, 1], dtype=int8), 'completed')
    """

    lmax: Annotated[int, Bounds(1, LARGEST_DEGREE)] = 127
    lmax_max: Annotated[int, Bounds(1, LARGEST_DEGREE)] = 255
    degree: Annotated[int, Bounds(4, 1023)] = 47
    degree_max: Annotated[int, Bounds(4, 1023)] = 127
    spectrum_degree: Annotated[int, Bounds(1, 1023)] = 32
    threads: Annotated[int, Bounds(1, MOST_THREADS)] = 1

    def __post_init__(self) -> None:
        for part in (self.spectral(1e-6), self.characteristics()):  # they check the values
            for name in ("lmax", "lmax_max", "degree", "degree_max", "spectrum_degree", "threads"):
                if hasattr(part, name):
                    object.__setattr__(self, name, getattr(part, name))

    def legs(self, rtol: float) -> list[Scheme]:
        """Harmonics, which stop while μ is still resolved to `rtol`, and characteristics."""
        return [self.spectral(rtol), self.characteristics()]

    def hands_over(self, problem: TransformerPDE, status: str) -> bool:
        """Where harmonics resolve μ no more, unless diffusion keeps it from being followed."""
        return status == End.UNDER_RESOLVED and problem.diffusion == 0

    def spectral(self, rtol: float) -> Spectral:
        """The first scheme, which stops while μ is still resolved to `rtol`."""
        return Spectral(
            lmax=self.lmax,
            lmax_max=self.lmax_max,
            resolution_limit=max(rtol, 1e-13),
            spectrum_degree=self.spectrum_degree,
            threads=self.threads,
        )

    def characteristics(self) -> Characteristics:
        """The second scheme."""
        return Characteristics(
            degree=self.degree,
            degree_max=self.degree_max,
            spectrum_degree=self.spectrum_degree,
            threads=self.threads,
        )
