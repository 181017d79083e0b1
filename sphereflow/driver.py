"""The one loop that drives every scheme: output times, checkpoints, stop rules, status."""

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

from .carried import density_at_end, open_run
from .checkpoints import RESUMABLE, CheckpointFile, ended_attributes
from .checks import called
from .dataset import earlier_integrals, joined, write_netcdf
from .errors import InputError, OutputError, ResolutionError, SphereflowError
from .interruption import Asked, Unfinished, asked_to_stop, listening
from .law_checks import law_conclusion, law_variables
from .problem import TransformerPDE
from .progress import Progress, progress_report
from .recording import Recording, records_of
from .schemes import Auto, Restart, Run, Scheme, Stop, TimeInputs, doubts_about_earlier

if TYPE_CHECKING:
    import xarray

__all__ = ["Plan", "Progress", "StopRule", "end_of", "ended_run", "run_plan"]

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
    started: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def first_stage(self) -> Path:
        """File that keeps the first of two stages until the second has ended."""
        assert self.path is not None
        return self.path.with_name(self.path.name + ".first")


def end_of(run: xarray.Dataset | None) -> float:
    """The last time of a run; 0 without one."""
    return 0.0 if run is None else float(np.atleast_1d(run["time"].values)[-1])


def ended_run(path: Path, experiment: str) -> xarray.Dataset | None:
    """The run in this file if it has ended by itself, so that nothing of it is left to resume.

    Raises
    ------
    OutputError
        If that run is of another configuration.
    """
    found = ended_attributes(path)
    if found is None:
        return None
    if found.get("experiment") != experiment:
        raise OutputError(
            f"output '{path}' holds a run of another configuration that has ended "
            f"({found['status']}); remove it, or name another output"
        )
    logger.info("nothing to resume: %s has ended (%s)", path, found["status"])
    return open_run(path)


def run_plan(
    plan: Plan, scheme: Scheme | Auto, earlier: xarray.Dataset | None, *, resume: bool
) -> xarray.Dataset:
    """Solve, write the dataset, and remove what was kept to resume a run that has ended."""
    resumed = plan.checkpoint.read() if resume and plan.checkpoint is not None else None
    with asked_to_stop():
        if isinstance(scheme, Auto):
            dataset = _solve_in_stages(plan, scheme, earlier, resumed)
        else:
            dataset = _solve_with(plan, scheme, plan.times, earlier, resumed)
    if plan.path is None:
        return dataset
    write_netcdf(dataset, plan.path)
    if dataset.attrs["status"] not in RESUMABLE:
        plan.first_stage.unlink(missing_ok=True)
        if plan.checkpoint is not None:
            plan.checkpoint.remove()
    return dataset


def _solve_in_stages(
    plan: Plan, scheme: Auto, earlier: xarray.Dataset | None, resumed: Resumed | None
) -> xarray.Dataset:
    """A spectral run, and characteristics from where it was not resolved any more."""
    times = plan.times
    if resumed is not None and resumed.get("stage") == 1:
        first = open_run(plan.first_stage) if resumed.get("after") else None
        return _second_stage(plan, scheme, first, earlier, resumed)
    try:
        first = _solve_with(plan, scheme.spectral(plan.rtol), times, earlier, resumed)
    except ResolutionError:
        if earlier is None:
            raise
        # Nodes of an earlier run that no series resolves go on as nodes.
        return _second_stage(plan, scheme, None, earlier)
    if first.attrs["status"] != "under-resolved" or plan.problem.diffusion > 0:
        return joined([(first, 0)])
    if end_of(first) == end_of(earlier):
        # Too narrow from the start: go on from the density itself, not from its harmonics.
        return _second_stage(plan, scheme, None, earlier)
    if plan.checkpoint is not None:
        write_netcdf(first, plan.first_stage, through_links=False)
    return _second_stage(plan, scheme, first, earlier)


def _second_stage(
    plan: Plan,
    scheme: Auto,
    first: xarray.Dataset | None,
    earlier: xarray.Dataset | None,
    resumed: Resumed | None = None,
) -> xarray.Dataset:
    """Characteristics, after a spectral run or from the start."""

    def whole(second: xarray.Dataset) -> xarray.Dataset:
        return joined([(second, 1)] if first is None else [(first, 0), (second, 1)])

    times = plan.times
    if first is not None:
        times = times[times > end_of(first)]
        if not times.size:
            times = np.array([plan.t_end])
    before = earlier if first is None else first
    stage = _Stage(1, first is not None, 0 if first is None else first.sizes["time"], whole)
    return whole(_solve_with(plan, scheme.characteristics(), times, before, resumed, stage))


@dataclasses.dataclass(frozen=True)
class _Stage:
    """Where one of several schemes stands in the file of the whole run."""

    number: int = 0
    after: bool = False
    rows_before: int = 0
    whole: Callable[[xarray.Dataset], xarray.Dataset] = lambda dataset: dataset


def _solve_with(
    plan: Plan,
    scheme: Scheme,
    times: NDArray[np.float64],
    earlier: xarray.Dataset | None,
    resumed: Resumed | None = None,
    stage: _Stage | None = None,
) -> xarray.Dataset:
    """The run of one scheme."""
    stage = stage or _Stage()
    problem = plan.problem
    if earlier is not None:
        problem = dataclasses.replace(problem, density=density_at_end(earlier))
    offsets = {} if earlier is None else earlier_integrals(earlier)
    recording = Recording(plan.path, plan.attributes, offsets, stage.whole)
    report, close = progress_report(plan.progress)
    try:
        with asked_to_stop() as asked:
            begin = end_of(earlier)
            loop = _Loop(plan, problem, scheme, times, recording, stage, report, asked, begin)
            ended = loop.start(resumed)
            while isinstance(ended, Restart):
                ended = loop.start_again(ended)
    except KeyboardInterrupt:
        if not hasattr(loop, "run"):
            raise
        ended = Stop("interrupted", f"interrupted by the user at t = {loop.run.t:.6g}")
    finally:
        close()
        recording.close()
    if not recording.times:
        loop.save(loop.run.t)
        recording.close()
    attributes = {f"final_{name}": value for name, value in loop.run.information().items()}
    if hasattr(scheme, "seed"):
        attributes["seed"] = scheme.seed
    said = [ended.reason, *loop.run.doubts()]
    if earlier is None:
        said += problem.density.doubts()
    elif not stage.after:
        said += doubts_about_earlier(earlier, plan.rtol)
    said += law_conclusion(problem, plan.rtol, recording.records, loop.run.t)
    attributes |= {"status": ended.status, "status_reason": "; ".join(said)}
    return recording.dataset(loop.state, attributes)


@dataclasses.dataclass
class _Loop:
    """One run of a scheme on its way through the output times."""

    plan: Plan
    problem: TransformerPDE
    scheme: Scheme
    times: NDArray[np.float64]
    recording: Recording
    stage: _Stage
    report: Progress
    asked: Asked
    begin: float
    state: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # at the last saved time

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
            raise KeyboardInterrupt from None

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
        saved = self.recording.times
        coordinates = run.coordinates().items()
        fixed = {name: value if name == "mesh" else value[1] for name, value in coordinates}
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
                record = self.save(float(target))
                known = {**fixed, **record, "wall_time": self._elapsed}
                by_rule = _ended_by(plan.stop, run.t, known) or self._interrupted(run.t)
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
            return unfinished.reason
        return None

    def _ended_by_time(self, t: float) -> Stop | None:
        rules = [rule for rule in self.plan.stop if getattr(rule, "each_step", False)]
        return _ended_by(rules, t, {"wall_time": self._elapsed})

    def _targets(self) -> list[float]:
        """Output times that are not saved yet, and the end."""
        last = self.recording.times[-1] if self.recording.times else -np.inf
        left = [float(time) for time in self.times if time > last]
        return left if self.times[-1] == self.plan.t_end else [*left, self.plan.t_end]

    def _next_time(self, target: float) -> float:
        """The target, or the end of the first of equal parts that are no longer than max_step."""
        longest, fixed = self.plan.max_step, getattr(self.scheme, "dt", None)
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
        if not self.asked.is_set():
            return None
        if self.asked.name != "SIGINT":
            return Stop("terminated", f"ended by {self.asked.name} at t = {t:.6g}")
        return Stop("interrupted", f"interrupted by the user at t = {t:.6g}")

    def _end(self, ended: Stop) -> Stop:
        """Keep a state to resume from, and save the last time."""
        if ended.status in RESUMABLE:
            self._keep()
        saved = self.recording.times
        if not saved or self.run.t > saved[-1]:
            self.save(self.run.t)
        return ended

    def save(self, t: float) -> Mapping[str, Any]:
        """Record the run and the accuracy of its heads, with the state to go on from."""
        record = dict(self.run.record())
        record |= law_variables(self.problem, self.run.t, record)
        self.recording.append(t, record)
        self.state = self.run.state()
        return record

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self.plan.started


def _ended_by(rules: Sequence[StopRule], t: float, record: dict[str, Any]) -> Stop | None:
    """The first rule that asks for an end."""
    for rule in rules:
        reason = called(rule, "a rule of stop", t, record)
        if reason is not None:
            return Stop(getattr(rule, "status", "stopped"), f"{reason} at t = {t:.6g}")
    return None
