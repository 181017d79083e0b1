"""One run on its way through its output times, under the eyes of its observers."""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OutputError, ResolutionError, SphereflowError
from ..machine.interruption import Asked, EndedBySignal, Unfinished, listening
from ..output.ends import End
from ..output.reading import open_run
from ..output.variables import Record
from ..problem import TransformerPDE
from ..schemes import Restart, Run, Scheme, Stop, TimeInputs
from .checkpoints import CheckpointFile, Kept
from .observers import (
    Checks,
    Keeping,
    Moment,
    Observer,
    Output,
    Reports,
    Rules,
    Seen,
    Signals,
    TimeLimits,
)
from .progress import Progress
from .recording import Recording, records_of
from .stopping import StopRule

__all__ = ["Leg", "Loop", "Plan"]

logger = logging.getLogger(__name__)

FEWEST_STEPS = 16  # of a run whose heads or drift change in time: each looks at many times


@dataclasses.dataclass(frozen=True)
class Plan:
    """What all schemes of one call of `solve` have in common."""

    problem: TransformerPDE
    times: NDArray[np.float64]
    t_end: float
    rtol: float
    stop: Sequence[StopRule]
    attributes: Mapping[str, object]
    path: Path | None
    checkpoint: CheckpointFile | None
    progress: bool | Progress
    max_step: float = np.inf
    arrays: Mapping[str, NDArray[np.float64]] = dataclasses.field(default_factory=dict)
    started: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def earlier_legs(self) -> Path:
        """File that keeps the legs of a relay that have ended until the last one has."""
        assert self.path is not None
        return self.path.with_name(self.path.name + ".first")


@dataclasses.dataclass(frozen=True)
class Leg:
    """One scheme of a relay: its number, and the outputs of the legs before it."""

    number: int = 0
    rows_before: int = 0


class Loop:
    """One run of a scheme on its way through the output times.

    Parameters
    ----------
    plan : Plan
    problem : TransformerPDE
        That of the plan, with the density from which this run starts.
    scheme : Scheme
    times : ndarray
        Output times of this run.
    recording : Recording
    leg : Leg
    report : callable
        For progress.
    asked : Asked
        Set by a signal.
    begin : float
        Time at which the run starts.
    """

    def __init__(
        self,
        plan: Plan,
        problem: TransformerPDE,
        scheme: Scheme,
        times: NDArray[np.float64],
        recording: Recording,
        leg: Leg,
        report: Progress,
        asked: Asked,
        begin: float,
    ) -> None:
        self.run: Run | None = None
        self._plan, self._problem, self._scheme, self._times = plan, problem, scheme, times
        self._recording, self._leg, self._begin, self._asked = recording, leg, begin, asked
        self._entered = np.nan  # time at which this process took over
        signals = Signals(asked)
        self.output = Output(recording, problem, times.size, signals)
        self._rules = Rules(plan.stop, plan.started, self.output)
        keeping = [] if plan.checkpoint is None else [Keeping(plan.checkpoint, self._state_of)]
        # A state is kept before the time of an early end is saved, which no other run has.
        self._observers: list[Observer] = [
            Reports(report, plan.t_end),
            Checks(),
            *keeping,
            self.output,
            self._rules,
            TimeLimits(plan.stop, plan.started),
            signals,
        ]

    def start(self, kept: Kept | None) -> Stop | Restart:
        """Start, or go on from a checkpoint, and drive to the end."""
        if kept is not None:
            return self._drive(self._taken_over(kept))
        with self._until_asked():
            run = self._scheme.start(self._problem, self._plan.rtol, self._begin)
        return self._from_the_start(run)

    def start_again(self, restart: Restart) -> Stop | Restart:
        """Drop what was saved, and drive a run with more of what it lacked."""
        with self._until_asked():
            run = restart.start()
        return self._from_the_start(run)

    @contextmanager
    def _until_asked(self) -> Iterator[None]:
        """What is made in here is left where an end is asked for, as there is no state to keep."""
        try:
            with listening(lambda t: self._asked.name or None):
                yield
        except Unfinished:
            raise EndedBySignal(self._asked.name) from None

    def _from_the_start(self, run: Run) -> Stop | Restart:
        self.run = run
        self._recording.begin(run.coordinates())
        ended = run.check()
        if isinstance(ended, Restart):
            return ended
        # Before the first time is saved, so that a file never lacks what a checkpoint counts on.
        self._ask(Moment.START)
        return self._drive(run) if ended is None else self._end(ended)

    # The loop

    def _drive(self, run: Run) -> Stop | Restart:
        """Advance to every output time that is left; returns how the run ended."""
        self.run, self._entered = run, run.t
        self._rules.begin(run)
        for target in self._targets():
            ended = self._walk_to(target) or self._arrive(target)
            if isinstance(ended, Restart):
                return ended
            if ended is not None:
                return self._end(ended)
        return Stop(End.COMPLETED, f"reached t_end = {self._plan.t_end:g}")

    def _walk_to(self, target: float) -> Stop | Restart | None:
        """Steps to a time, with pauses between them."""
        while self._t < target:
            ended = self._advance(self._next_time(target))
            if ended is None and self._t < target:
                ended = self._ask(Moment.PAUSE)
            if ended is not None:
                return ended
        return None

    def _arrive(self, target: float) -> Stop | Restart | None:
        """Save an output time, and pause; t_end need not be one."""
        if target not in self._times:
            return None
        return self._ask(Moment.OUTPUT) or self._ask(Moment.PAUSE)

    def _advance(self, target: float) -> Stop | Restart | None:
        """One step; an error after which the times that are saved hold ends the run."""
        try:
            return self._step(target) or self._ask(Moment.STEP)
        except OutputError:
            raise
        except SphereflowError as error:
            if len(self._recording.times) < 2 and not isinstance(error, ResolutionError):
                raise
            return Stop(End.FAILED, str(error))

    def _step(self, target: float) -> Stop | None:
        """Let the run advance; a step that is left unfinished is as if it had not begun."""
        assert self.run is not None
        before, begun = self.run.kept(), self.run.t

        def heard(inner: float | None) -> Stop | Restart | None:
            return self._ask(Moment.WITHIN, begun, inner)

        try:
            with listening(heard):
                self.run.advance(target)
        except Unfinished as unfinished:
            self.run = self._scheme.resume(self._problem, self._plan.rtol, before)
            stop = unfinished.reason
            assert isinstance(stop, Stop)
            if begun > self._entered or self._asked.is_set():
                return stop
            hopeless = "no step was finished until then, nor would one be by going on: raise it"
            logger.warning("%s; %s", stop.reason, hopeless)
            return Stop(stop.status, f"{stop.reason}; {hopeless}")
        return None

    def _ask(
        self,
        moment: Moment,
        t: float | None = None,
        inner: float | None = None,
        end: Stop | None = None,
    ) -> Stop | Restart | None:
        """The first reason to end that an observer of this moment gives."""
        assert self.run is not None
        seen = Seen(self.run, moment, self.run.t if t is None else t, inner, end)
        for observer in self._observers:
            if moment in observer.moments:
                ended = observer.look(seen)
                if ended is not None:
                    return ended
        return None

    def _end(self, ended: Stop) -> Stop:
        """Keep a state to resume from, and save the last time if that does not take long."""
        self._ask(Moment.END, end=ended)
        return ended

    # Times

    @property
    def _t(self) -> float:
        assert self.run is not None
        return self.run.t

    def _targets(self) -> list[float]:
        """Output times that are not saved yet, and the end."""
        saved, t_end = self._recording.times, self._plan.t_end
        left = [float(time) for time in self._times if not saved or time > saved[-1]]
        return left if self._times[-1] == t_end else [*left, t_end]

    def _next_time(self, target: float) -> float:
        """The target, or the end of the first of equal parts that are no longer than max_step."""
        longest, fixed = self._plan.max_step, self._scheme.dt
        if fixed is None and self._inputs_change:
            longest = min(longest, (self._plan.t_end - self._begin) / FEWEST_STEPS)
        elif fixed is not None and fixed <= longest:
            return float(target)
        left = target - self._t
        parts = np.ceil(left / longest * (1 - 1e-12))
        return float(target) if parts <= 1 else float(self._t + left / parts)

    @functools.cached_property
    def _inputs_change(self) -> bool:
        """Whether heads or drift change in the time of the run."""
        return TimeInputs(self._problem).change(self._begin, self._plan.t_end)

    # The checkpoint

    def _state_of(self, run: Run) -> Kept:
        heads, recording = self._problem.heads, self._recording
        recording.write()
        return {
            "saved": len(recording.times),
            "names": recording.names,
            "leg": self._leg.number,
            "rows_before": self._leg.rows_before,
            "run": run.kept(),
            "heads": None if heads is None else heads.solution_around(run.t),
            "last": dict(self.output.state),
        }

    def _taken_over(self, kept: Kept) -> Run:
        """The run of a checkpoint, with the records that it counts on."""
        checkpoint, path, problem = self._plan.checkpoint, self._plan.path, self._problem
        assert checkpoint is not None and path is not None
        with checkpoint.restoring():
            run = self._scheme.resume(problem, self._plan.rtol, kept["run"])
            if kept["heads"] is not None and problem.heads is not None:
                problem.heads.resume(kept["heads"])
            self.output.state = kept["last"]
            count, names = int(kept["saved"]), list(kept["names"])
        times: list[float] = []
        records: list[Record] = []
        if count:
            saved = open_run(path, "output")
            own = saved.isel(time=slice(self._leg.rows_before, None))
            if own.sizes["time"] < count or not set(names) <= set(own.data_vars):
                raise InputError(
                    f"output '{path}' lacks times that its checkpoint counts on; remove "
                    f"'{checkpoint.path}' to start anew"
                )
            times = own["time"].values[:count].tolist()
            records = records_of(own, names, count)
        self._recording.begin(run.coordinates(), times, records)
        logger.info("resumed at t = %g", run.t)
        return run
