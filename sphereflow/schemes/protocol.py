"""What a scheme is and what its runs can be asked, each hook with its default.

A scheme holds options and starts runs. A run holds a state `now`, a dataclass of numbers and arrays
(see `machine.plain_state`), and what is derived from it; it moves the state on and says what is to
be saved. A new scheme needs a state with a time `t`, a run with `advance` and `record`, and
options with `start`:

    @dataclass
    class State:
        t: float
        mu: Annotated[NDArray[np.float64], "cell"]

    class MyRun(Run):
        def __init__(self, problem): self.now = State(0.0, ...)
        def advance(self, target): ...
        def record(self): ...

    @dataclass(frozen=True)
    class MyScheme(Scheme):
        def start(self, problem, rtol, t=0.0): return MyRun(problem)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..checks import shown
from ..describe import Given
from ..errors import InputError
from ..machine.plain_state import from_plain, to_plain
from ..output.assembly import Coordinates
from ..output.variables import Record
from ..problem import TransformerPDE

__all__ = ["Coordinates", "Information", "Record", "Restart", "Run", "Scheme", "Stop", "as_scheme"]

Real = NDArray[np.float64]
Information = Mapping[str, float | str]


@dataclass(frozen=True)
class Stop:
    """Why a run ends early: a short status, and a sentence that says when, why and what to do."""

    status: str
    reason: str


@dataclass(frozen=True)
class Restart:
    """The run has to start anew, with more of what it lacked."""

    start: Callable[[], Run]


class State(Protocol):
    """A dataclass of plain data and arrays with the time it stands at."""

    t: float


class Run(ABC):
    """One run of a scheme: the state `now`, and what is derived from it."""

    now: State

    @property
    def t(self) -> float:
        """The time that the run has reached."""
        return self.now.t

    @abstractmethod
    def advance(self, target: float) -> None:
        """Go on towards `target`, at most by what a progress report should wait for."""

    @abstractmethod
    def record(self) -> Record:
        """Variables of the dataset at the current time, without the time axis."""

    def check(self) -> Stop | Restart | None:
        """A reason to end the run or to start it anew; may refine the resolution instead."""
        return None

    def coordinates(self) -> Coordinates:
        """Coordinates of the dataset: name → (dimension, values), latitudes from north to south."""
        return {}

    def state(self) -> Record:
        """What another run needs to go on from the end and the records do not hold."""
        return {}

    def kept(self) -> Mapping[str, object]:
        """All that a checkpoint needs, as plain data: None, numbers, strings and arrays, and
        lists and mappings of them."""
        return to_plain(self.now)

    def doubts(self) -> list[str]:
        """What is not certain of the results, as sentences for the reason of the status."""
        return []

    def information(self) -> Information:
        """Numbers for progress reports and attributes: step, lmax, evaluations."""
        return {}


class Scheme(ABC):
    """Options of a scheme; `start` makes a run of it."""

    dt: float | None = None  # fixed step, between whose ends no output time is wanted
    seed: int | None = None  # of the random numbers of the scheme, for the record

    @property
    def name(self) -> str:
        """The scheme in a word."""
        return type(self).__name__

    @abstractmethod
    def start(self, problem: TransformerPDE, rtol: float, t: float = 0.0) -> Run:
        """A run of the problem from time t on."""

    def resume(self, problem: TransformerPDE, rtol: float, kept: Mapping[str, object]) -> Run:
        """The run that `Run.kept` was asked of, which goes on as it would have.

        By default the state of a run that is started anew is replaced; a run that holds more than
        follows from its problem and options derives it in a method of its own.
        """
        run = self.start(problem, rtol)
        run.now = from_plain(type(run.now), kept)
        return run

    def memory(self, problem: TransformerPDE) -> tuple[float, float]:
        """Bytes of the work of a run, and of each of its outputs; 0 where that is not known."""
        return 0.0, 0.0


class WithStart(Protocol):
    """What a user may bring for a scheme."""

    def start(self, problem: TransformerPDE, rtol: float, t: float = 0.0, /) -> Run: ...


class GivenScheme(Given[WithStart], Scheme):
    """An object with a method `start` that a user brings, and what else of a scheme it has.

    Its runs have all methods of `Run`.
    """

    HOOKS = ("dt", "seed", "memory", "resume")

    @property
    def name(self) -> str:
        """The scheme in a word."""
        return type(self.given).__name__

    def start(self, problem: TransformerPDE, rtol: float, t: float = 0.0) -> Run:
        """A run of the problem from time t on."""
        return self.given.start(problem, rtol, t)


def as_scheme(scheme: object) -> Scheme:
    """The scheme, or one that wraps an object with a method `start`.

    Raises
    ------
    InputError
        If it is neither.
    """
    if isinstance(scheme, Scheme):
        return scheme
    if isinstance(scheme, str | type) or not hasattr(scheme, "start") or not callable(scheme.start):
        raise InputError(
            f"scheme must be a scheme, got {shown(scheme)}; pass for example Spectral(lmax=127) "
            "or 'auto'"
        )
    return GivenScheme(scheme)
