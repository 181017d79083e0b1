"""The one loop that drives every scheme: output times, progress, stop rules, status."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checks import finite_array, positive_number
from .dataset import assemble, check_writable, experiment_attribute, write_netcdf
from .errors import InputError, ResolutionError, SphereflowError
from .problem import TransformerPDE
from .schemes import Restart, Run, Scheme, Stop

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
    scheme: Scheme,
    save_every: float | None = None,
    save_at: ArrayLike | None = None,
    rtol: float = 1e-6,
    output: str | os.PathLike[str] | None = None,
    progress: bool | Progress = False,
    stop: Sequence[StopRule] = (),
) -> xarray.Dataset:
    """Solve the Transformer PDE from t = 0 to `t_end`.

    Parameters
    ----------
    problem : TransformerPDE
    t_end : float
        Above 0.
    scheme : scheme
        For example ``Spectral(lmax=127)``.
    save_every : float, optional
        Interval of the outputs; 0 and `t_end` are always saved. A hundredth of `t_end` if
        neither this nor `save_at` is given.
    save_at : array_like, optional
        Output times in place of `save_every`; hit exactly.
    rtol : float
        Relative tolerance of the time integration, between 1e-14 and 0.1.
    output : path, optional
        netCDF file that is written at the end, also when the run stops early.
    progress : bool or callable
        True shows a progress bar; a callable is called as ``progress(t, t_end, information)``.
    stop : sequence of callables
        Each is called as ``rule(t, record)`` at the output times and returns a reason to stop
        or None.

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
    if isinstance(scheme, type) or not hasattr(scheme, "start"):
        raise InputError(
            f"scheme must be a scheme, got {scheme!r:.100}; pass for example Spectral(lmax=127)"
        )
    t_end = positive_number(t_end, "t_end")
    rtol = positive_number(rtol, "rtol")
    if not 1e-14 <= rtol <= 0.1:
        raise InputError(f"rtol must lie between 1e-14 and 0.1, got {rtol:g}; 1e-6 is usual")
    times = _output_times(t_end, save_every, save_at)
    first, last = getattr(problem.heads, "time_range", (0.0, np.inf))
    if first > 0.0 or last < t_end:
        raise InputError(
            f"the heads are tabulated from {first:g} to {last:g}, which does not cover 0 to "
            f"{t_end:g}; shorten the run or extend the table"
        )
    if not isinstance(stop, list | tuple) or not all(callable(rule) for rule in stop):
        raise InputError(f"stop must be a list of callables, got {stop!r:.100}")
    path = None if output is None else check_writable(output)
    options = {"t_end": t_end, "save_at": times.tolist(), "rtol": rtol}
    attributes = {"experiment": experiment_attribute(problem, scheme, options)}
    if hasattr(scheme, "seed"):
        attributes["seed"] = scheme.seed

    run = scheme.start(problem, rtol)
    report, close = _progress_report(progress)
    records: list[Any] = []
    saved: list[float] = []
    try:
        while True:
            ended = _drive(run, times, t_end, records, saved, report, stop)
            if isinstance(ended, Stop):
                break
            run = ended.start()
            records.clear()
            saved.clear()
    except KeyboardInterrupt:
        ended = Stop("interrupted", f"interrupted by the user at t = {run.t:.6g}")
    finally:
        close()
    if ended.status != "completed":
        logger.warning("run ended early: %s", ended.reason)
    if not saved:
        records.append(run.record())
        saved.append(run.t)
    for name, value in run.information().items():
        attributes[f"final_{name}"] = value
    attributes |= {"status": ended.status, "status_reason": ended.reason}
    dataset = assemble(records, saved, run.coordinates(), attributes)
    if path is not None:
        write_netcdf(dataset, path)
    return dataset


def _output_times(
    t_end: float, save_every: float | None, save_at: ArrayLike | None
) -> NDArray[np.float64]:
    """Increasing output times; with an interval, 0 and t_end are among them."""
    if save_at is not None:
        if save_every is not None:
            raise InputError("give save_every or save_at, not both; drop one of them")
        times = np.unique(np.atleast_1d(finite_array(save_at, "save_at")))
        if times.size == 0 or times[0] < 0 or times[-1] > t_end * (1 + 1e-12):
            shown = "none" if times.size == 0 else f"{times[0]:g} to {times[-1]:g}"
            raise InputError(
                f"save_at must lie between 0 and t_end = {t_end:g}, got {shown}; remove the times "
                "outside or raise t_end"
            )
        return np.minimum(times, t_end)
    every = t_end / DEFAULT_OUTPUTS if save_every is None else save_every
    every = positive_number(every, "save_every")
    if every > t_end:
        raise InputError(f"save_every must be at most t_end = {t_end:g}, got {every:g}; lower it")
    if t_end / every > MOST_OUTPUTS:
        raise InputError(
            f"save_every must leave at most {MOST_OUTPUTS} outputs, got {every:g} for "
            f"t_end = {t_end:g}; raise it"
        )
    count = int(np.floor(t_end / every * (1 + 1e-12)))
    times = np.asarray(every * np.arange(count + 1), dtype=np.float64)
    if t_end - times[-1] > 1e-9 * t_end:
        return np.append(times, t_end)
    times[-1] = t_end
    return times


def _drive(
    run: Run,
    times: NDArray[np.float64],
    t_end: float,
    records: list[Any],
    saved: list[float],
    report: Progress,
    rules: Sequence[StopRule],
) -> Stop | Restart:
    """Advance to every output time and record; returns how the run ended."""
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
        for rule in rules:
            reason = rule(run.t, dict(record))
            if reason is not None:
                return Stop("stopped", f"{reason} at t = {run.t:.6g}")
    return Stop("completed", f"reached t_end = {t_end:g}")


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
