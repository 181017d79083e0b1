"""Runs as `solve` asks for them: of one scheme or in stages, with their status and their file."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..densities.continued import density_at_end
from ..errors import OutputError, ResolutionError
from ..machine.interruption import EndedBySignal, asked_to_stop
from ..output.dataset import earlier_integrals, joined, write_netcdf
from ..output.reading import open_run
from ..schemes import Auto, Restart, Scheme, Stop, doubts_about_earlier
from .checkpoints import RESUMABLE, ended_attributes
from .law_checks import law_conclusion
from .loop import Loop, Plan, Resumed, Stage, StopRule
from .progress import Progress, progress_report
from .recording import Recording

if TYPE_CHECKING:
    import xarray

__all__ = ["Plan", "Progress", "StopRule", "end_of", "ended_run", "run_plan"]

logger = logging.getLogger(__name__)


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
    stage = Stage(1, first is not None, 0 if first is None else first.sizes["time"], whole)
    return whole(_solve_with(plan, scheme.characteristics(), times, before, resumed, stage))


def _solve_with(
    plan: Plan,
    scheme: Scheme,
    times: NDArray[np.float64],
    earlier: xarray.Dataset | None,
    resumed: Resumed | None = None,
    stage: Stage | None = None,
) -> xarray.Dataset:
    """The run of one scheme."""
    stage = stage or Stage()
    problem = plan.problem
    if earlier is not None:
        problem = dataclasses.replace(problem, density=density_at_end(earlier))
    offsets = {} if earlier is None else earlier_integrals(earlier)
    recording = Recording(plan.path, plan.attributes, offsets, stage.whole, plan.arrays)
    report, close = progress_report(plan.progress)
    try:
        with asked_to_stop() as asked:
            begin = end_of(earlier)
            loop = Loop(plan, problem, scheme, times, recording, stage, report, asked, begin)
            ended = loop.start(resumed)
            while isinstance(ended, Restart):
                ended = loop.start_again(ended)
    except EndedBySignal:
        raise
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
    if scheme.seed is not None:
        attributes["seed"] = scheme.seed
    said = [ended.reason, *loop.run.doubts()]
    if earlier is None:
        said += problem.density.doubts()
    elif not stage.after:
        said += doubts_about_earlier(earlier, plan.rtol)
    said += law_conclusion(problem, plan.rtol, recording.records, loop.run.t)
    attributes |= {"status": ended.status, "status_reason": "; ".join(said)}
    return recording.dataset(loop.state, attributes)
