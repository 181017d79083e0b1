"""The law Θ_t of the heads: what every law can be asked, each with a default."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ..checks import shown
from ..describe import Given
from ..errors import InputError
from .nodes import GivenNodes, HeadNodes

__all__ = ["GivenLaw", "HeadLaw", "as_law"]

Real = NDArray[np.float64]


class HeadLaw(ABC):
    """A law Θ_t of the heads over time; a subclass needs `nodes` only."""

    infinitely_many: ClassVar[bool] = False  # heads, in place of a number of them

    gaussian: ClassVar[bool] = False  # whether mean and covariance of D at one time say all

    @abstractmethod
    def nodes(self, t: float) -> HeadNodes:
        """Quadrature of Θ_t."""

    @property
    def noisy(self) -> bool:
        """Whether `nodes` gives one random path, which a token run moves step by step."""
        return False

    @property
    def automatic(self) -> bool:
        """Whether the number of nodes was left open, so that `refined` may be taken instead."""
        return False

    @property
    def remedy(self) -> str:
        """What makes the law itself more accurate."""
        return ""

    @property
    def more_nodes(self) -> str:
        """What makes averages by its nodes more accurate."""
        return "raise nodes="

    @property
    def recorded_numbers(self) -> int:
        """Numbers that a dataset holds of the law at one time, as far as that is known before."""
        return 0

    @property
    def linear_between_breakpoints(self) -> bool:
        """Whether there is nothing to see of the law between two breakpoints."""
        return False

    @property
    def time_range(self) -> tuple[float, float]:
        """First and last time at which the law is defined."""
        return 0.0, np.inf

    def breakpoint_after(self, t: float) -> float:
        """The next time at which the law has a kink; infinity if there is none."""
        return np.inf

    def times_between(self, start: float, stop: float) -> Real | None:
        """All times inside an interval at which the law has to be looked at; None: anywhere."""
        return None

    def driven_by(self, t: float) -> Real:
        """A vector that changes in time as fast as the nodes do, for steps to look at."""
        return self.nodes(t).summary()

    def refined(self, t: float) -> HeadLaw | None:
        """The same law by more nodes than at time t; None if its nodes are exact."""
        return None

    def error(self, t: float) -> float:
        """Relative error of averages over Θ_t that the law itself estimates."""
        return 0.0

    def boundary(self, t: float) -> float | None:
        """Largest density at the walls of a domain until t over the maximum; None without one."""
        return None

    def notices(self, t: float) -> list[str]:
        """What a user has to know of the law at time t."""
        return []

    def solution_around(self, t: float) -> Sequence[object] | None:
        """What of the law is solved about time t as plain data; None if there is nothing."""
        return None

    def resume(self, solution: Sequence[object]) -> None:
        """Go on from a solution that was kept."""
        raise NotImplementedError


class WithNodes(Protocol):
    """What a user may bring for a law."""

    def nodes(self, t: float) -> HeadNodes: ...


class GivenLaw(Given[WithNodes], HeadLaw):
    """An object with a method `nodes` that a user brings, and what else of a law it has."""

    HOOKS = (
        *("noisy", "automatic", "remedy", "more_nodes", "recorded_numbers"),
        "linear_between_breakpoints",
        *("time_range", "breakpoint_after", "times_between", "driven_by", "refined", "error"),
        *("boundary", "notices", "solution_around", "resume"),
    )

    def nodes(self, t: float) -> HeadNodes:
        """Quadrature of Θ_t."""
        nodes = self.given.nodes(t)
        return nodes if hasattr(nodes, "summary") else GivenNodes(nodes)


def as_law(heads: object) -> HeadLaw:
    """The head law, or one that wraps an object with a method `nodes`.

    Raises
    ------
    InputError
        If it is no law.
    """
    if isinstance(heads, HeadLaw):
        return heads
    if isinstance(heads, type) or not hasattr(heads, "nodes"):
        raise InputError(
            f"heads must be a head law or None, got {shown(heads)}; wrap an array of matrices in "
            "FixedHeads"
        )
    return GivenLaw(heads)
