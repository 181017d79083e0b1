"""Runs as `solve` asks for them: of one scheme or of a relay, with their status and their file."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..densities.continued import density_at_end
from ..describe import kind_of
from ..errors import OutputError, ResolutionError
from ..machine.interruption import EndedBySignal, asked_to_stop
from ..output.assembly import earlier_integrals, with_leg
from ..output.ends import End, is_resumable
from ..output.netcdf import write_netcdf
from ..output.reading import open_run
from ..schemes import Relay, Restart, Scheme, Stop, doubts_about_earlier
from .checkpoints import Kept, ended_attributes
from .law_checks import law_conclusion
from .loop import Leg, Loop, Plan
from .progress import progress_report
from .recording import Recording

if TYPE_CHECKING:
    import xarray

__all__ = ["end_of", "ended_run", "run_plan"]

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
    plan: Plan, scheme: Scheme | Relay, earlier: xarray.Dataset | None, *, resume: bool
) -> xarray.Dataset:
    """Solve into the dataset, and remove what was kept to resume a run that has ended."""
    kept = plan.checkpoint.read() if resume and plan.checkpoint is not None else None
    with asked_to_stop():
        if isinstance(scheme, Relay):
            dataset = _run_relay(plan, scheme, earlier, kept)
        else:
            dataset = _run_leg(plan, scheme, plan.times, earlier, kept)
    if plan.path is None:
        return dataset
    if not is_resumable(dataset.attrs["status"]):
        plan.earlier_legs.unlink(missing_ok=True)
        if plan.checkpoint is not None:
            plan.checkpoint.remove()
    return dataset


def _run_relay(
    plan: Plan, relay: Relay, earlier: xarray.Dataset | None, kept: Kept | None
) -> xarray.Dataset:
    """One leg after the other, each from where the one before it handed over."""
    legs = relay.legs(plan.rtol)
    names = [kind_of(type(one)) for one in legs]
    first, whole, times = 0, None, plan.times
    if kept is not None:
        first = kept["leg"]
        whole = open_run(plan.earlier_legs) if kept["rows_before"] else None
    for number in range(first, len(legs)):
        is_last = number == len(legs) - 1
        if whole is not None:
            times = plan.times[plan.times > end_of(whole)]
            times = times if times.size else np.array([plan.t_end])
        before = earlier if whole is None else whole
        leg = Leg(number, 0 if whole is None else whole.sizes["time"])

        def joined(
            own: xarray.Dataset, so_far: xarray.Dataset | None = whole, flag: int = number
        ) -> xarray.Dataset:
            return with_leg(so_far, own, flag, names)

        try:
            own = _run_leg(plan, legs[number], times, before, kept, leg, joined)
        except ResolutionError:
            if earlier is None or is_last:
                raise
            continue  # nodes of an earlier run that no series resolves go on as nodes
        kept = None
        if is_last or not relay.hands_over(plan.problem, own.attrs["status"]):
            return own
        if end_of(own) == end_of(before):
            continue  # too narrow from the start: go on from the density itself
        whole = own.load()
        if plan.checkpoint is not None:
            write_netcdf(whole, plan.earlier_legs, through_links=False)
    raise AssertionError("a relay has a last leg")


def _run_leg(
    plan: Plan,
    scheme: Scheme,
    times: NDArray[np.float64],
    earlier: xarray.Dataset | None,
    kept: Kept | None = None,
    leg: Leg | None = None,
    joined: Callable[[xarray.Dataset], xarray.Dataset] = lambda dataset: dataset,
) -> xarray.Dataset:
    """The run of one scheme."""
    leg = leg or Leg()
    problem = plan.problem
    if earlier is not None:
        problem = dataclasses.replace(problem, density=density_at_end(earlier))
    offsets = {} if earlier is None else earlier_integrals(earlier)
    recording = Recording(plan.path, plan.attributes, offsets, joined, plan.arrays)
    report, close = progress_report(plan.progress)
    try:
        with asked_to_stop() as asked:
            begin = end_of(earlier)
            loop = Loop(plan, problem, scheme, times, recording, leg, report, asked, begin)
            ended = loop.start(kept)
            while isinstance(ended, Restart):
                ended = loop.start_again(ended)
    except EndedBySignal:
        raise
    except KeyboardInterrupt:
        if loop.run is None:
            raise
        ended = Stop(End.INTERRUPTED, f"interrupted by the user at t = {loop.run.t:.6g}")
    finally:
        close()
        recording.close()
    run = loop.run
    assert run is not None
    if not recording.times:
        loop.output.save(run)
        recording.close()
    attributes = {f"final_{name}": value for name, value in run.information().items()}
    if scheme.seed is not None:
        attributes["seed"] = scheme.seed
    said = [ended.reason, *run.doubts()]
    if earlier is None:
        said += problem.density.doubts()
    elif not leg.rows_before:
        said += doubts_about_earlier(earlier, plan.rtol)
    said += law_conclusion(problem, plan.rtol, recording.law_error, run.t)
    attributes |= {"status": str(ended.status), "status_reason": "; ".join(said)}
    return recording.dataset(loop.output.state, attributes)
