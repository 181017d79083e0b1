"""Rules that end a run early, each with the status that the run then has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ..checks import positive_number
from ..describe.fields import Bounds
from ..describe.registry import STOP_RULES
from ..diagnostics import weighted_points
from ..output.ends import End
from ..output.variables import Record

__all__ = ["Clustered", "SteadyState", "StopRule", "WallTime", "as_rule"]


class StopRule(ABC):
    """A rule that may end a run."""

    status: ClassVar[str] = End.STOPPED  # of a run that it ends
    each_step: ClassVar[bool] = False  # whether it is asked after and inside of each step

    @abstractmethod
    def __call__(self, t: float, record: Record) -> str | None:
        """The reason to stop, or None."""


class FunctionRule(StopRule):
    """A function of a user as a rule, with the attributes of a rule that it has."""

    def __init__(self, function: Callable[[float, Record], str | None]) -> None:
        self._function = function
        self.status = getattr(function, "status", StopRule.status)  # type: ignore[misc]
        self.each_step = bool(getattr(function, "each_step", False))  # type: ignore[misc]

    def __call__(self, t: float, record: Record) -> str | None:
        return self._function(t, record)


def as_rule(rule: StopRule | Callable[[float, Record], str | None]) -> StopRule:
    """The rule, or one that asks a function."""
    return rule if isinstance(rule, StopRule) else FunctionRule(rule)


@STOP_RULES.row()
@dataclass(frozen=True)
class SteadyState(StopRule):
    """Ends a run with the status "steady" when the tokens or their density hardly move any more.

    Parameters
    ----------
    speed : float
        Bound of `speed`, (∫|s v̄ + u − ε∇log μ|² dμ)^½: with diffusion the mean velocity of the
        current of tokens, which vanishes at a steady state although v̄ does not. Where a current
        goes on in a steady density, as from the errors of a mesh, it is the bound of
        `density_rate`, the L2 norm of ∂_tμ, which schemes on grids record.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> problem = sf.TransformerPDE(None, sf.VonMisesFisher([0, 0, 1], 2.0), diffusion=1.0)
    >>> run = sf.solve(problem, t_end=50, scheme=sf.Spectral(31), stop=[sf.SteadyState(1e-6)])
    >>> run.attrs["status"], bool(run.time[-1] < 10)
    ('steady', True)
    """

    speed: Annotated[float, Bounds(above=0)] = 1e-6
    status: ClassVar[str] = End.STEADY

    def __post_init__(self) -> None:
        object.__setattr__(self, "speed", positive_number(self.speed, "speed"))

    def __call__(self, t: float, record: Record) -> str | None:
        """The reason to stop, or None."""
        rates = {
            "speed": float(np.max(record.get("speed", np.inf))),
            "rate of the density": float(np.max(record.get("density_rate", np.inf))),
        }
        for name, rate in rates.items():
            if rate < self.speed:
                return f"the {name}, {rate:.2e}, fell below {self.speed:g}"
        return None


@STOP_RULES.row()
@dataclass(frozen=True)
class Clustered(StopRule):
    """Ends a run with the status "clustered" when all clusters are narrow.

    Parameters
    ----------
    radius : float
        Bound in radians of the angle that holds half of the mass of each cluster; clusters of
        less than a hundredth of the mass do not count.
    bandwidth : float
        As in `sphereflow.diagnostics.clusters`.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 4.0))
    >>> rules = [sf.Clustered(0.05)]
    >>> run = sf.solve(problem, t_end=20, scheme=sf.Characteristics(31, 31), rtol=1e-4, stop=rules)
    >>> run.attrs["status"]
    'clustered'
    """

    radius: Annotated[float, Bounds(above=0)] = 1e-2
    bandwidth: Annotated[float, Bounds(above=0)] = 0.15
    status: ClassVar[str] = End.CLUSTERED

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", positive_number(self.radius, "radius"))
        object.__setattr__(self, "bandwidth", positive_number(self.bandwidth, "bandwidth"))

    def __call__(self, t: float, record: Record) -> str | None:
        """The reason to stop, or None."""
        records = [record]
        positions = np.asarray(record.get("position", 0.0))
        if positions.ndim == 3:
            records = [{**record, "position": one} for one in positions]
        widest, number = 0.0, 0
        for one in records:
            measure = weighted_points(one)
            if measure is None:
                return None
            found = measure.clusters(bandwidth=self.bandwidth)
            heavy = found.mass > 0.01
            if not heavy.any():
                return None
            widest = max(widest, float(found.half_mass_radius[heavy].max()))
            number = max(number, int(heavy.sum()))
        if widest >= self.radius:
            return None
        return f"{number} clusters narrower than {self.radius:g}, the widest {widest:.2e},"


@STOP_RULES.row()
@dataclass(frozen=True)
class WallTime(StopRule):
    """Ends a run with the status "wall-time" after so many seconds, at the end of a step.

    Parameters
    ----------
    seconds : float
    """

    seconds: Annotated[float, Bounds(above=0)]
    status: ClassVar[str] = End.WALL_TIME
    each_step: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", positive_number(self.seconds, "seconds"))

    def __call__(self, t: float, record: Record) -> str | None:
        """The reason to stop, or None."""
        elapsed = float(record["wall_time"])
        return f"{self.seconds:g} s have passed" if elapsed > self.seconds else None
