"""What looks at a run on its way: one interface for progress, output, stop rules, checkpoints."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any

import numpy as np

from ..checks import called
from ..machine.interruption import Asked, EndedBySignal, Unfinished, listening
from ..machine.memory import check_disk, check_memory
from ..output.ends import End, is_resumable
from ..output.variables import Record
from ..problem import TransformerPDE
from ..schemes import Restart, Run, Stop
from .checkpoints import CheckpointFile, Kept
from .law_checks import law_variables
from .progress import Progress
from .recording import COPIES, Recording
from .stopping import StopRule

__all__ = [
    "Checks",
    "Keeping",
    "Moment",
    "Observer",
    "Output",
    "Reports",
    "Rules",
    "Seen",
    "Signals",
    "TimeLimits",
]


class Moment(Flag):
    """When an observer looks."""

    WITHIN = auto()  # a step that takes long, a few times a second
    STEP = auto()  # after a step
    OUTPUT = auto()  # at an output time
    PAUSE = auto()  # between two steps, when all is saved that has to be
    START = auto()  # before the first time is saved
    END = auto()


@dataclass(frozen=True)
class Seen:
    """A run at one moment: its time, and the time inside of a step that has not ended."""

    run: Run
    moment: Moment
    t: float
    inner: float | None = None
    end: Stop | None = None  # at the moment END


class Observer(ABC):
    """Looks at a run at its moments; what it returns ends the run, or starts it anew."""

    moments: Moment

    @abstractmethod
    def look(self, seen: Seen) -> Stop | Restart | None:
        """A reason to end, or None."""


class Reports(Observer):
    """Progress, to a bar or to a function of the user."""

    moments = Moment.WITHIN | Moment.STEP

    def __init__(self, report: Progress, t_end: float) -> None:
        self._report, self._t_end = report, t_end

    def look(self, seen: Seen) -> None:
        t = seen.t if seen.moment is Moment.STEP else seen.inner
        if t is not None:
            self._report(t, self._t_end, dict(seen.run.information()))


class Checks(Observer):
    """What the run says of itself: that it is finite, and resolved."""

    moments = Moment.STEP

    def look(self, seen: Seen) -> Stop | Restart | None:
        return seen.run.check()


class Output(Observer):
    """The records of the output times, in memory and in the file that grows."""

    moments = Moment.OUTPUT | Moment.END

    def __init__(
        self, recording: Recording, problem: TransformerPDE, count: int, signals: Signals
    ) -> None:
        self.recording = recording
        self.latest: Record = {}
        self.state: Record = {}  # to go on from, at the last saved time
        self._problem, self._count, self._signals = problem, count, signals

    def look(self, seen: Seen) -> Stop | None:
        saved = self.recording.times
        if seen.moment is Moment.END and saved and seen.t <= saved[-1]:
            return None
        try:
            with listening(lambda t: self._signals.name or None):
                self.save(seen.run)
        except Unfinished:
            if seen.moment is Moment.END and not saved:
                raise EndedBySignal(self._signals.name) from None
            return self._signals.end_at(seen.t)
        return None

    def save(self, run: Run) -> None:
        """Record the run and the accuracy of its heads, with the state to go on from."""
        record = dict(run.record())
        record |= law_variables(self._problem, run.t, record)
        if not self.recording.times:
            size = sum(np.asarray(value).nbytes for value in record.values())
            needs = {f"{self._count} outputs": COPIES * size * self._count}
            path, advice = self.recording.path, "save fewer times"
            if path is None:
                check_memory(needs, advice)
            else:
                check_disk(path.resolve().parent, needs, advice)
        self.recording.append(run.t, record)
        self.latest, self.state = record, run.state()


class _OfRules(Observer):
    """Asks rules of the user for a reason to end."""

    def __init__(self, rules: Sequence[StopRule], started: float) -> None:
        self._rules, self._started = rules, started

    def _asked(self, rules: Sequence[StopRule], t: float, record: Record) -> Stop | None:
        known = {**record, "wall_time": time.monotonic() - self._started}
        for rule in rules:
            reason = called(rule, "a rule of stop", t, known)
            if reason is not None:
                return Stop(rule.status, f"{reason} at t = {t:.6g}")
        return None


class Rules(_OfRules):
    """All rules of the user, at the output times."""

    moments = Moment.OUTPUT

    def __init__(self, rules: Sequence[StopRule], started: float, output: Output) -> None:
        super().__init__(rules, started)
        self._output = output
        self._entered: float | None = None
        self._fixed: Mapping[str, Any] = {}  # numbers, words or a mesh

    def begin(self, run: Run) -> None:
        """Take over at the time of this run."""
        coordinates = run.coordinates().items()
        self._fixed = {name: one[1] if isinstance(one, tuple) else one for name, one in coordinates}
        self._entered = run.t

    def look(self, seen: Seen) -> Stop | None:
        # Limits of time wait for a first step, so that going on again and again gets on.
        rules = [one for one in self._rules if seen.t != self._entered or not one.each_step]
        return self._asked(rules, seen.t, {**self._fixed, **self._output.latest})


class TimeLimits(_OfRules):
    """The rules that limit the time that has passed, also inside of a step."""

    moments = Moment.WITHIN | Moment.STEP

    def __init__(self, rules: Sequence[StopRule], started: float) -> None:
        super().__init__([one for one in rules if one.each_step], started)

    def look(self, seen: Seen) -> Stop | None:
        return self._asked(self._rules, seen.t, {})


class Signals(Observer):
    """Ctrl-C, and the signals by which batch systems end a process."""

    moments = Moment.WITHIN | Moment.PAUSE

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    @property
    def name(self) -> str:
        """The signal that has come; empty before."""
        return self._asked.name

    def look(self, seen: Seen) -> Stop | None:
        return self.end_at(seen.t) if self._asked.is_set() else None

    def end_at(self, t: float) -> Stop:
        """The end by the signal."""
        if self.name != "SIGINT":
            return Stop(End.TERMINATED, f"ended by {self.name} at t = {t:.6g}")
        return Stop(End.INTERRUPTED, f"interrupted by the user at t = {t:.6g}")


class Keeping(Observer):
    """The checkpoint: when it is due, before the first time, and at an end that can be resumed."""

    moments = Moment.START | Moment.PAUSE | Moment.END

    def __init__(self, file: CheckpointFile, state_of: Callable[[Run], Kept]) -> None:
        self._file, self._state_of = file, state_of

    def look(self, seen: Seen) -> None:
        if seen.moment is Moment.PAUSE and not self._file.is_due():
            return
        if seen.end is not None and not is_resumable(seen.end.status):
            return
        self._file.write(self._state_of(seen.run))
