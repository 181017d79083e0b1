"""One run on its way through its output times: steps, checkpoints, stop rules, interruption."""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..checks import called
from ..errors import InputError, OutputError, ResolutionError, SphereflowError
from ..machine.interruption import Asked, EndedBySignal, Unfinished, listening
from ..machine.memory import check_memory
from ..output.reading import open_run
from ..problem import TransformerPDE
from ..schemes import Restart, Run, Scheme, Stop, TimeInputs
from .checkpoints import RESUMABLE, CheckpointFile
from .law_checks import law_variables
from .progress import Progress
from .recording import COPIES, Recording, records_of

if TYPE_CHECKING:
    import xarray

__all__ = ["Loop", "Plan", "Resumed", "Stage", "StopRule"]

logger = logging.getLogger(__name__)

FEWEST_STEPS = 16  # of a run whose heads or drift change in time: each looks at many times
StopRule = Callable[[float, dict[str, Any]], str | None]
Resumed = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What all schemes of one call of `solve` have in common."""

    problem: TransformerPDE
    times: NDArray[np.float64]
    t_end: float
    rtol: float
    stop: Sequence[StopRule]
    attributes: Mapping[str, Any]
    path: Path | None
    checkpoint: CheckpointFile | None
    progress: bool | Progress
    max_step: float = np.inf
    arrays: Mapping[str, NDArray[np.float64]] = dataclasses.field(default_factory=dict)
    started: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def first_stage(self) -> Path:
        """File that keeps the first of two stages until the second has ended."""
        assert self.path is not None
        return self.path.with_name(self.path.name + ".first")


@dataclasses.dataclass(frozen=True)
class Stage:
    """Where one of several schemes stands in the file of the whole run."""

    number: int = 0
    after: bool = False
    rows_before: int = 0
    whole: Callable[[xarray.Dataset], xarray.Dataset] = lambda dataset: dataset


@dataclasses.dataclass
class Loop:
    """One run of a scheme on its way through the output times."""

    plan: Plan
    problem: TransformerPDE
    scheme: Scheme
    times: NDArray[np.float64]
    recording: Recording
    stage: Stage
    report: Progress
    asked: Asked
    begin: float
    state: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # at the last saved time
    entered: float = np.nan  # time at which this process took over

    def start(self, resumed: Resumed | None) -> Stop | Restart:
        """Start, or go on from a checkpoint, and drive to the end."""
        if resumed is not None:
            self._take_over(resumed)
            return self._drive()
        with self._until_asked():
            self.run: Run = self.scheme.start(self.problem, self.plan.rtol, self.begin)
        return self._from_the_start()

    def start_again(self, restart: Restart) -> Stop | Restart:
        """Drop what was saved, and drive a run with more of what it lacked."""
        with self._until_asked():
            self.run = restart.start()
        return self._from_the_start()

    @contextmanager
    def _until_asked(self) -> Iterator[None]:
        """What is made in here is left where an end is asked for, as there is no state to keep."""
        try:
            with listening(lambda t: self.asked.name or None):
                yield
        except Unfinished:
            raise EndedBySignal(self.asked.name) from None

    def _from_the_start(self) -> Stop | Restart:
        self.recording.begin(self.run.coordinates())
        ended = self.run.check()
        if isinstance(ended, Restart):
            return ended
        # Before the first time is saved, so that a file never lacks what a checkpoint counts on.
        self._keep()
        if ended is not None:
            return self._end(ended)
        return self._drive()

    # The checkpoint

    def _keep(self) -> None:
        if self.plan.checkpoint is None:
            return
        heads, recording = self.problem.heads, self.recording
        solution = None if heads is None else heads.solution_around(self.run.t)
        state = {
            "saved": len(recording.times),
            "names": list(recording.records[0]) if recording.records else [],
            "stage": self.stage.number,
            "after": self.stage.after,
            "run": self.run.kept(),
            "heads": solution,
            "last": dict(self.state),
        }
        self.plan.checkpoint.write(state)

    def _take_over(self, kept: Mapping[str, Any]) -> None:
        checkpoint, path, problem = self.plan.checkpoint, self.plan.path, self.problem
        assert checkpoint is not None and path is not None
        with checkpoint.restoring():
            self.run = self.scheme.resume(problem, self.plan.rtol, kept["run"])
            if kept["heads"] is not None and problem.heads is not None:
                problem.heads.resume(kept["heads"])
            self.state = kept["last"]
            count, names = int(kept["saved"]), list(kept["names"])
        times: list[float] = []
        records: list[dict[str, Any]] = []
        if count:
            saved = open_run(path, "output")
            own = saved.isel(time=slice(self.stage.rows_before, None))
            if own.sizes["time"] < count or not set(names) <= set(own.data_vars):
                raise InputError(
                    f"output '{path}' lacks times that its checkpoint counts on; remove "
                    f"'{checkpoint.path}' to start anew"
                )
            times = own["time"].values[:count].tolist()
            records = records_of(own, names, count)
        self.recording.begin(self.run.coordinates(), times, records)
        logger.info("resumed at t = %g", self.run.t)

    # The loop

    def _drive(self) -> Stop | Restart:
        """Advance to every output time that is left and save it; returns how the run ended."""
        plan, run = self.plan, self.run
        self.entered = run.t
        saved = self.recording.times
        coordinates = run.coordinates().items()
        fixed = {name: one[1] if isinstance(one, tuple) else one for name, one in coordinates}
        for target in self._targets():
            ended: Stop | Restart | None = None
            while ended is None and run.t < target:
                try:
                    ended = self._advance(self._next_time(target)) or run.check()
                except OutputError:
                    raise
                except SphereflowError as error:
                    if len(saved) < 2 and not isinstance(error, ResolutionError):
                        raise
                    ended = Stop("failed", str(error))
                run = self.run
                self.report(run.t, plan.t_end, dict(run.information()))
                ended = ended or self._ended_by_time(run.t)
                if ended is None and run.t < target:
                    self._between_steps()
                    ended = self._interrupted(run.t)
            if isinstance(ended, Restart):
                return ended
            if ended is not None:
                return self._end(ended)
            if target in self.times:
                record = self._saved(float(target))
                if record is None:
                    return self._end(self._ended_by_signal(run.t))
                known = {**fixed, **record, "wall_time": self._elapsed}
                # Limits of time wait for a first step, so that going on again and again gets on.
                rules = [rule for rule in plan.stop if run.t > self.entered or not _is_limit(rule)]
                by_rule = _ended_by(rules, run.t, known) or self._interrupted(run.t)
                if by_rule is not None:
                    return self._end(by_rule)
            self._between_steps()
        return Stop("completed", f"reached t_end = {plan.t_end:g}")

    def _advance(self, target: float) -> Stop | None:
        """Let the run advance; a step that is left unfinished is as if it had not begun."""
        before, begun = self.run.kept(), self.run.t

        def heard(t: float | None) -> Stop | None:
            if t is not None:
                self.report(t, self.plan.t_end, dict(self.run.information()))
            return self._interrupted(begun) or self._ended_by_time(begun)

        try:
            with listening(heard):
                self.run.advance(target)
        except Unfinished as unfinished:
            self.run = self.scheme.resume(self.problem, self.plan.rtol, before)
            stop: Stop = unfinished.reason
            if begun > self.entered or self.asked.is_set():
                return stop
            hopeless = "no step was finished until then, nor would one be by going on: raise it"
            logger.warning("%s; %s", stop.reason, hopeless)
            return Stop(stop.status, f"{stop.reason}; {hopeless}")
        return None

    def _ended_by_time(self, t: float) -> Stop | None:
        rules = [rule for rule in self.plan.stop if _is_limit(rule)]
        return _ended_by(rules, t, {"wall_time": self._elapsed})

    def _targets(self) -> list[float]:
        """Output times that are not saved yet, and the end."""
        last = self.recording.times[-1] if self.recording.times else -np.inf
        left = [float(time) for time in self.times if time > last]
        return left if self.times[-1] == self.plan.t_end else [*left, self.plan.t_end]

    def _next_time(self, target: float) -> float:
        """The target, or the end of the first of equal parts that are no longer than max_step."""
        longest, fixed = self.plan.max_step, self.scheme.dt
        if fixed is None and self._inputs_change:
            longest = min(longest, (self.plan.t_end - self.begin) / FEWEST_STEPS)
        elif fixed is not None and fixed <= longest:
            return float(target)
        left = target - self.run.t
        parts = np.ceil(left / longest * (1 - 1e-12))
        return float(target) if parts <= 1 else self.run.t + left / parts

    @functools.cached_property
    def _inputs_change(self) -> bool:
        """Whether heads or drift change in the time of the run."""
        return TimeInputs(self.problem).change(self.begin, self.plan.t_end)

    def _between_steps(self) -> None:
        if self.plan.checkpoint is not None and self.plan.checkpoint.is_due():
            self._keep()

    def _interrupted(self, t: float) -> Stop | None:
        return self._ended_by_signal(t) if self.asked.is_set() else None

    def _ended_by_signal(self, t: float) -> Stop:
        if self.asked.name != "SIGINT":
            return Stop("terminated", f"ended by {self.asked.name} at t = {t:.6g}")
        return Stop("interrupted", f"interrupted by the user at t = {t:.6g}")

    def _end(self, ended: Stop) -> Stop:
        """Keep a state to resume from, and save the last time if that does not take long."""
        if ended.status in RESUMABLE:
            self._keep()
        saved = self.recording.times
        if (not saved or self.run.t > saved[-1]) and self._saved(self.run.t) is None and not saved:
            raise EndedBySignal(self.asked.name)
        return ended

    def _saved(self, t: float) -> Mapping[str, Any] | None:
        """The record of this time, saved, or None if a signal asks for an end meanwhile."""
        try:
            with listening(lambda t: self.asked.name or None):
                return self.save(t)
        except Unfinished:
            return None

    def save(self, t: float) -> Mapping[str, Any]:
        """Record the run and the accuracy of its heads, with the state to go on from."""
        record = dict(self.run.record())
        record |= law_variables(self.problem, self.run.t, record)
        if not self.recording.times:
            size = sum(np.asarray(value).nbytes for value in record.values())
            count = self.times.size
            check_memory({f"{count} outputs": COPIES * size * count}, "save fewer times")
        self.recording.append(t, record)
        self.state = self.run.state()
        return record

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self.plan.started


def _is_limit(rule: StopRule) -> bool:
    return bool(getattr(rule, "each_step", False))


def _ended_by(rules: Sequence[StopRule], t: float, record: dict[str, Any]) -> Stop | None:
    """The first rule that asks for an end."""
    for rule in rules:
        reason = called(rule, "a rule of stop", t, record)
        if reason is not None:
            return Stop(getattr(rule, "status", "stopped"), f"{reason} at t = {t:.6g}")
    return None
