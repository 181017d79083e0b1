"""What the solve loop asks of a scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..problem import TransformerPDE

__all__ = ["Restart", "Run", "Scheme", "Stop"]


@dataclass(frozen=True)
class Stop:
    """Why a run ends early: a short status, and a sentence that says when, why and what to do."""

    status: str
    reason: str


@dataclass(frozen=True)
class Restart:
    """The run has to start anew, with more of what it lacked."""

    start: Callable[[], Run]


class Run(Protocol):
    """The state of one run of a scheme."""

    t: float

    def advance(self, target: float) -> None:
        """Go on towards `target`, at most by what a progress report should wait for."""

    def check(self) -> Stop | Restart | None:
        """A reason to end the run or to start it anew; may refine the resolution instead."""

    def record(self) -> Mapping[str, NDArray[np.float64] | float]:
        """Variables of the dataset at the current time, without the time axis."""

    def coordinates(self) -> Mapping[str, Any]:
        """Coordinates of the dataset: name → (dimension, values)."""

    def state(self) -> Mapping[str, Any]:
        """What another run needs to go on from the end and the records do not hold."""

    def kept(self) -> Mapping[str, Any]:
        """All that a checkpoint needs, as plain data: None, numbers, strings and arrays, and
        lists and mappings of them."""

    def doubts(self) -> list[str]:
        """What is not certain of the results, as sentences for the reason of the status."""

    def information(self) -> Mapping[str, Any]:
        """Numbers for progress reports and attributes: step, lmax, evaluations."""


class Scheme(Protocol):
    """Options of a scheme; `start` makes a run of it."""

    def start(self, problem: TransformerPDE, rtol: float, t: float = 0.0) -> Run:
        """A run of the problem from time t on."""

    def resume(self, problem: TransformerPDE, rtol: float, kept: Mapping[str, Any]) -> Run:
        """The run that `Run.kept` was asked of, which goes on as it would have."""
