"""The one loop that drives every scheme: output times, progress, stop rules, status."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .carried import density_at_end, open_run
from .checks import finite_array, positive_number
from .dataset import (
    assemble,
    check_writable,
    experiment_attribute,
    joined,
    with_earlier_integrals,
    write_netcdf,
)
from .errors import InputError, ResolutionError, SphereflowError
from .problem import TransformerPDE
from .schemes import Auto, Restart, Run, Scheme, Stop

if TYPE_CHECKING:
    import xarray

__all__ = ["solve"]

logger = logging.getLogger(__name__)

Progress = Callable[[float, float, dict[str, Any]], None]
StopRule = Callable[[float, dict[str, Any]], str | None]

DEFAULT_OUTPUTS = 100
MOST_OUTPUTS = 1_000_000


def solve(
    problem: TransformerPDE,
    *,
    t_end: float,
    scheme: Scheme | Auto | str,
    save_every: float | None = None,
    save_at: ArrayLike | None = None,
    rtol: float = 1e-6,
    initial: xarray.Dataset | str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    progress: bool | Progress = False,
    stop: Sequence[StopRule] = (),
) -> xarray.Dataset:
    """Solve the Transformer PDE from t = 0, or from the end of another run, to `t_end`.

    Parameters
    ----------
    problem : TransformerPDE
    t_end : float
        Above 0.
    scheme : scheme or "auto"
        For example ``Spectral(lmax=127)``; "auto" is `Auto`.
    save_every : float, optional
        Interval of the outputs; the start and `t_end` are always saved. A hundredth of the time
        between them if neither this nor `save_at` is given.
    save_at : array_like, optional
        Output times in place of `save_every`; hit exactly.
    rtol : float
        Relative tolerance of the time integration, between 1e-14 and 0.1.
    initial : xarray.Dataset or path, optional
        A run of any scheme from whose last time and density this one goes on, in place of t = 0
        and the density of the problem. Its energy integrals and residuals go on as well.
    output : path, optional
        netCDF file that is written at the end, also when the run stops early.
    progress : bool or callable
        True shows a progress bar; a callable is called as ``progress(t, t_end, information)``.
    stop : sequence of callables
        `SteadyState`, `Clustered`, `WallTime`, or functions that are called as
        ``rule(t, record)`` at the output times and return a reason to stop or None.

    Returns
    -------
    xarray.Dataset
        The attribute `status` is "completed" or says why the run ended early, and
        `status_reason` when, why and what to do.

    Raises
    ------
    InputError
        On options out of range, before anything is computed.
    OutputError
        If `output` cannot be written, also before.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> problem = sf.TransformerPDE(None, sf.VonMisesFisher([0, 0, 1], 2.0), diffusion=0.5)
    >>> run = sf.solve(problem, t_end=1.0, scheme=sf.Spectral(lmax=31), save_every=0.5)
    >>> decay = run.first_moment.sel(axis="z")
    >>> round(float(decay[-1] / decay[0] / np.exp(-2 * 0.5)), 6)
    1.0
    """
    if not isinstance(problem, TransformerPDE):
        raise InputError(f"problem must be a TransformerPDE, got {type(problem).__name__}")
    if isinstance(scheme, str) and scheme == "auto":
        scheme = Auto()
    if isinstance(scheme, type) or not (isinstance(scheme, Auto) or hasattr(scheme, "start")):
        raise InputError(
            f"scheme must be a scheme, got {scheme!r:.100}; pass for example Spectral(lmax=127) "
            "or 'auto'"
        )
    t_end = positive_number(t_end, "t_end")
    rtol = positive_number(rtol, "rtol")
    if not 1e-14 <= rtol <= 0.1:
        raise InputError(f"rtol must lie between 1e-14 and 0.1, got {rtol:g}; 1e-6 is usual")
    earlier = None if initial is None else open_run(initial)
    begin = _end_of(earlier)
    if t_end <= begin:
        raise InputError(
            f"t_end must lie after {begin:g}, the end of the initial run, got {t_end:g}; raise it"
        )
    times = _output_times(begin, t_end, save_every, save_at)
    first, last = getattr(problem.heads, "time_range", (0.0, np.inf))
    if first > begin or last < t_end:
        raise InputError(
            f"the heads are tabulated from {first:g} to {last:g}, which does not cover {begin:g} "
            f"to {t_end:g}; shorten the run or extend the table"
        )
    if not isinstance(stop, list | tuple) or not all(callable(rule) for rule in stop):
        raise InputError(f"stop must be a list of callables, got {stop!r:.100}")
    path = None if output is None else check_writable(output)
    options = {"t_end": t_end, "save_at": times.tolist(), "rtol": rtol}
    if initial is not None:
        options["initial"] = _source_of(initial)
    rules = [rule for rule in stop if dataclasses.is_dataclass(rule)]
    if rules:
        options["stop"] = rules
    attributes = {"experiment": experiment_attribute(problem, scheme, options)}
    plan = _Plan(problem, times, t_end, rtol, progress, stop)
    if isinstance(scheme, Auto):
        dataset = _solve_in_stages(plan, scheme, earlier)
    else:
        dataset = _solve_with(plan, scheme, times, earlier)
    dataset.attrs |= attributes
    if dataset.attrs["status"] in ("under-resolved", "not-finite", "failed", "interrupted"):
        logger.warning("run ended early: %s", dataset.attrs["status_reason"])
    if path is not None:
        write_netcdf(dataset, path)
    return dataset


def _source_of(initial: Any) -> str:
    """The file of an initial run, for the record."""
    if not hasattr(initial, "data_vars"):
        return str(Path(initial).resolve())
    return str(initial.encoding.get("source", "a dataset that was not saved"))


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What all schemes of one call of `solve` have in common."""

    problem: TransformerPDE
    times: NDArray[np.float64]
    t_end: float
    rtol: float
    progress: bool | Progress
    stop: Sequence[StopRule]
    started: float = dataclasses.field(default_factory=time.monotonic)


def _end_of(run: xarray.Dataset | None) -> float:
    """The last time of a run; 0 without one."""
    return 0.0 if run is None else float(np.atleast_1d(run["time"].values)[-1])


def _solve_in_stages(plan: _Plan, scheme: Auto, earlier: xarray.Dataset | None) -> xarray.Dataset:
    """A spectral run, and characteristics from where it was not resolved any more."""
    times = plan.times
    try:
        first = _solve_with(plan, scheme.spectral(plan.rtol), times, earlier)
    except ResolutionError:
        if earlier is None:
            raise
        # Nodes of an earlier run that no series resolves go on as nodes.
        return joined([(_solve_with(plan, scheme.characteristics(), times, earlier), 1)])
    if first.attrs["status"] != "under-resolved" or plan.problem.diffusion > 0:
        return joined([(first, 0)])
    if _end_of(first) == _end_of(earlier):
        # Too narrow from the start: go on from the density itself, not from its harmonics.
        return joined([(_solve_with(plan, scheme.characteristics(), times, earlier), 1)])
    left = times[times > _end_of(first)]
    if not left.size:
        left = np.array([plan.t_end])
    second = _solve_with(plan, scheme.characteristics(), left, first)
    return joined([(first, 0), (second, 1)])


def _solve_with(
    plan: _Plan, scheme: Scheme, times: NDArray[np.float64], earlier: xarray.Dataset | None
) -> xarray.Dataset:
    """The run of one scheme."""
    problem = plan.problem
    if earlier is not None:
        problem = dataclasses.replace(problem, density=density_at_end(earlier))
    run = scheme.start(problem, plan.rtol, _end_of(earlier))
    report, close = _progress_report(plan.progress)
    records: list[Any] = []
    saved: list[float] = []
    try:
        while True:
            ended = _drive(plan, run, times, records, saved, report)
            if isinstance(ended, Stop):
                break
            run = ended.start()
            records.clear()
            saved.clear()
    except KeyboardInterrupt:
        ended = Stop("interrupted", f"interrupted by the user at t = {run.t:.6g}")
    finally:
        close()
    if not saved:
        records.append(run.record())
        saved.append(run.t)
    attributes = {f"final_{name}": value for name, value in run.information().items()}
    if hasattr(scheme, "seed"):
        attributes["seed"] = scheme.seed
    attributes |= {"status": ended.status, "status_reason": ended.reason}
    dataset = assemble(records, saved, run.coordinates(), attributes, run.state())
    return dataset if earlier is None else with_earlier_integrals(dataset, earlier)


def _output_times(
    begin: float, t_end: float, save_every: float | None, save_at: ArrayLike | None
) -> NDArray[np.float64]:
    """Increasing output times; with an interval, `begin` and t_end are among them."""
    if save_at is not None:
        if save_every is not None:
            raise InputError("give save_every or save_at, not both; drop one of them")
        times = np.unique(np.atleast_1d(finite_array(save_at, "save_at")))
        if times.size == 0 or times[0] < begin or times[-1] > t_end * (1 + 1e-12):
            shown = "none" if times.size == 0 else f"{times[0]:g} to {times[-1]:g}"
            raise InputError(
                f"save_at must lie between {begin:g} and t_end = {t_end:g}, got {shown}; remove "
                "the times outside or raise t_end"
            )
        return np.minimum(times, t_end)
    length = t_end - begin
    every = length / DEFAULT_OUTPUTS if save_every is None else save_every
    every = positive_number(every, "save_every")
    if every > length:
        raise InputError(f"save_every must be at most {length:g}, got {every:g}; lower it")
    if length / every > MOST_OUTPUTS:
        raise InputError(
            f"save_every must leave at most {MOST_OUTPUTS} outputs, got {every:g} for a time of "
            f"{length:g}; raise it"
        )
    count = int(np.floor(length / every * (1 + 1e-12)))
    times = np.asarray(begin + every * np.arange(count + 1), dtype=np.float64)
    if t_end - times[-1] > 1e-9 * t_end:
        return np.append(times, t_end)
    times[-1] = t_end
    return times


def _drive(
    plan: _Plan,
    run: Run,
    times: NDArray[np.float64],
    records: list[Any],
    saved: list[float],
    report: Progress,
) -> Stop | Restart:
    """Advance to every output time and record; returns how the run ended."""
    t_end, rules = plan.t_end, plan.stop
    each_step = [rule for rule in rules if getattr(rule, "each_step", False)]
    coordinates = run.coordinates().items()
    fixed = {name: value if name == "mesh" else value[1] for name, value in coordinates}
    ended: Stop | Restart | None = run.check()
    targets = [*times] if times[-1] == t_end else [*times, t_end]
    for target in targets:
        while ended is None and run.t < target:
            try:
                run.advance(float(target))
                ended = run.check()
            except SphereflowError as error:
                if len(saved) < 2 and not isinstance(error, ResolutionError):
                    raise
                ended = Stop("failed", str(error))
            report(run.t, t_end, dict(run.information()))
            elapsed = {"wall_time": time.monotonic() - plan.started}
            ended = ended or _ended_by(each_step, run.t, elapsed)
        if isinstance(ended, Restart):
            return ended
        if ended is not None:
            if not saved or run.t > saved[-1]:
                records.append(run.record())
                saved.append(run.t)
            return ended
        if target not in times:
            continue
        record = run.record()
        records.append(record)
        saved.append(float(target))
        known = {**fixed, **record, "wall_time": time.monotonic() - plan.started}
        by_rule = _ended_by(rules, run.t, known)
        if by_rule is not None:
            return by_rule
    return Stop("completed", f"reached t_end = {t_end:g}")


def _ended_by(rules: Sequence[StopRule], t: float, record: dict[str, Any]) -> Stop | None:
    """The first rule that asks for an end."""
    for rule in rules:
        reason = rule(t, record)
        if reason is not None:
            return Stop(getattr(rule, "status", "stopped"), f"{reason} at t = {t:.6g}")
    return None


def _progress_report(progress: bool | Progress) -> tuple[Progress, Callable[[], None]]:
    """A function to report progress to, and one that ends it."""
    if callable(progress):
        return progress, lambda: None
    if not progress:
        return (lambda t, t_end, information: None), (lambda: None)
    from rich.progress import Progress as Bar

    bar = Bar(transient=True)
    task = bar.add_task("t = 0", total=1.0)
    bar.start()

    def report(t: float, t_end: float, information: dict[str, Any]) -> None:
        bar.update(task, completed=t / t_end, description=f"t = {t:.3g}")

    return report, bar.stop
