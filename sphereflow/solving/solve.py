"""`solve`: its arguments, checked before anything is computed."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import boolean, finite_array, positive_number, shown
from ..errors import InputError
from ..machine.files import check_writable, locked
from ..machine.memory import check_disk, check_memory
from ..output.ends import is_good
from ..output.provenance import experiment_attribute
from ..output.reading import open_run
from ..problem import TransformerPDE
from ..schemes import Auto, Relay, Scheme, as_scheme
from .checkpoints import Checkpoint, CheckpointFile
from .diagnostics_asked import BUILT_IN, AskedDiagnostics, Wanted
from .loop import Plan
from .progress import Progress
from .recording import COPIES
from .relay import end_of, ended_run, run_plan
from .stopping import as_rule

if TYPE_CHECKING:
    import xarray

__all__ = ["solve"]

logger = logging.getLogger(__name__)

TEXTS = ("title", "description", "references")
DEFAULT_OUTPUTS = 100
MOST_OUTPUTS = 1_000_000
SAME_TIME = 1e-9  # of t_end: times as near as this differ by the rounding of decimal fractions only


def solve(
    problem: TransformerPDE,
    *,
    t_end: float,
    scheme: Scheme | Relay | str,
    save_every: float | None = None,
    save_at: ArrayLike | None = None,
    rtol: float = 1e-6,
    max_step: float | None = None,
    initial: xarray.Dataset | str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    checkpoint: float | Checkpoint | None = None,
    resume: bool = False,
    progress: bool | Progress = False,
    stop: Sequence[Callable[[float, dict[str, object]], str | None]] = (),
    record: Mapping[str, Wanted] | Sequence[str] = (),
    texts: Mapping[str, str] | None = None,
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
    max_step : float, optional
        Longest step in time. Adaptive steps sample heads and drifts that are functions of time a
        dozen times before they are accepted; what is shorter than that needs this bound.
    initial : xarray.Dataset or path, optional
        A run of any scheme from whose last time and density this one goes on, in place of t = 0
        and the density of the problem. Its energy integrals and residuals go on as well.
    output : path, optional
        netCDF file, to which saved times are written on the way, and which is replaced by a
        compressed one at the end, also when the run stops early. It is returned opened lazily.
    checkpoint : float or Checkpoint, optional
        Minutes between checkpoints of the whole state, in a file beside `output`.
    resume : bool
        Go on from that file if it is there, with the same results to the last bit as without the
        break; it is removed when the run has ended by itself. A run ended by Ctrl-C or by
        `WallTime` can be resumed; of one that has ended by itself the output is read and returned.
    progress : bool or callable
        True shows a progress bar; a callable is called as ``progress(t, t_end, information)``.
    stop : sequence of callables
        `SteadyState`, `Clustered`, `WallTime`, or functions that are called as
        ``rule(t, record)`` at the output times and return a reason to stop or None.
    record : mapping or sequence, optional
        Diagnostics to record beside those of the scheme: name → function, which is called with
        the state at each output time, a dataset without time, and returns a number or a
        DataArray; a pair of a function and a unit; or one of the names "order_parameter", the
        length of ∫x dμ, and "cluster_count", of which a sequence will do.
    texts : mapping, optional
        "title", "description" and "references" of the run, for its record.

    Returns
    -------
    xarray.Dataset
        The attribute `status` is "completed" or says why the run ended early, and
        `status_reason` when, why and what to do.

    Raises
    ------
    InputError
        On options out of range, or if the memory cannot hold the run, before anything is computed.
    OutputError
        If `output` cannot be written: before anything is computed where that is known, else when
        a time cannot be added; the file then holds those before. With `resume` also if it holds a
        run of another configuration that has ended.

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
    if not isinstance(scheme, Relay):
        scheme = as_scheme(scheme)
    t_end = positive_number(t_end, "t_end")
    rtol = positive_number(rtol, "rtol")
    if not 1e-14 <= rtol <= 0.1:
        raise InputError(f"rtol must lie between 1e-14 and 0.1, got {rtol:g}; 1e-6 is usual")
    earlier = None if initial is None else open_run(initial)
    max_step = np.inf if max_step is None else positive_number(max_step, "max_step")
    begin = end_of(earlier)
    if t_end <= begin * (1 + SAME_TIME):
        raise InputError(
            f"t_end must lie after {begin:g}, the end of the initial run, got {t_end:g}; raise it"
        )
    times = _output_times(begin, t_end, save_every, save_at)
    first, last = (0.0, np.inf) if problem.heads is None else problem.heads.time_range
    if first > begin + SAME_TIME * t_end or last < t_end * (1 - SAME_TIME):
        raise InputError(
            f"the heads are tabulated from {first:g} to {last:g}, which does not cover {begin:g} "
            f"to {t_end:g}; shorten the run or extend the table"
        )
    if not isinstance(stop, list | tuple) or not all(callable(rule) for rule in stop):
        raise InputError(
            f"stop must be a list of callables, got {shown(stop)}; pass for example [SteadyState()]"
        )
    if not isinstance(progress, bool) and not callable(progress):
        raise InputError(
            f"progress must be True, False or a callable, got {shown(progress)}; pass one of them"
        )
    resume = boolean(resume, "resume")
    names = AskedDiagnostics(record).names
    if texts is not None and not (
        isinstance(texts, Mapping) and all(isinstance(one, str) for one in texts.values())
    ):
        raise InputError(
            f"texts must be a mapping from names to strings, got {shown(texts)}; pass for example "
            "{'title': 'A run'}"
        )
    path = None if output is None else check_writable(output)
    options = {"t_end": t_end, "save_at": times.tolist(), "rtol": rtol}
    if np.isfinite(max_step):
        options["max_step"] = max_step
    if initial is not None:
        options["initial"] = _source_of(initial)
    if set(names) & set(BUILT_IN):
        options["record"] = [name for name in names if name in BUILT_IN]
    rules = [rule for rule in stop if dataclasses.is_dataclass(rule)]
    if rules:
        options["stop"] = rules
    known = {name: (texts or {}).get(name, "") for name in TEXTS}
    attributes = {name: known[name] for name in ("title", "description") if known[name]}
    about = {name: text for name, text in known.items() if text}
    experiment, arrays = experiment_attribute(problem, scheme, options, about)
    attributes["experiment"] = experiment
    if path is not None and initial is not None:
        _check_other_file(path, options["initial"])
    plan = Plan(
        problem,
        times,
        t_end,
        rtol,
        [as_rule(rule) for rule in stop],
        attributes,
        path,
        _checkpoint_file(path, checkpoint, resume, experiment),
        progress,
        max_step,
        arrays,
        record,
    )
    with nullcontext() if path is None else locked(path, "output"):
        if resume and path is not None:
            ended = ended_run(path, experiment)
            if ended is not None:
                return ended
        _check_size(plan, scheme)
        dataset = run_plan(plan, scheme, earlier, resume=resume)
    if not is_good(dataset.attrs["status"]):
        logger.warning("run ended early: %s", dataset.attrs["status_reason"])
    return dataset


def _check_size(plan: Plan, scheme: Scheme | Relay) -> None:
    """Refuse a run that the memory cannot hold, as far as its scheme tells what it takes."""
    one = scheme.legs(plan.rtol)[0] if isinstance(scheme, Relay) else scheme
    work, record = one.memory(plan.problem)
    outputs = {f"{plan.times.size} outputs": COPIES * record * plan.times.size}
    advice = "save fewer times or coarser outputs"
    if plan.path is not None:
        check_disk(plan.path.resolve().parent, outputs, advice)
        outputs = {}
    advice += ", or lower the degree, level or count of the scheme"
    check_memory({**outputs, f"the work of {one.name}": work}, advice)


def _checkpoint_file(
    path: Path | None, checkpoint: float | Checkpoint | None, resume: bool, experiment: str
) -> CheckpointFile | None:
    if checkpoint is None and not resume:
        return None
    if path is None:
        raise InputError(
            "checkpoint and resume need an output, beside which the state is kept; name one"
        )
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = Checkpoint() if checkpoint is None else Checkpoint(checkpoint)
    return CheckpointFile(path, checkpoint, experiment)


def _check_other_file(path: Path, source: str) -> None:
    """Refuse to write over the run from which this one goes on."""
    try:
        same = os.path.samefile(path, source)
    except OSError:  # one of them is not there
        return
    if same:
        raise InputError(
            f"output must not be the file of the initial run, got '{path}' for both, which would "
            "lose the times before; name another output"
        )


def _source_of(initial: xarray.Dataset | str | os.PathLike[str]) -> str:
    """The file of an initial run, for the record."""
    if isinstance(initial, str | os.PathLike):
        return str(Path(initial).resolve())
    return str(initial.encoding.get("source", "a dataset that was not saved"))


def _output_times(
    begin: float, t_end: float, save_every: float | None, save_at: ArrayLike | None
) -> NDArray[np.float64]:
    """Increasing output times; with an interval, `begin` and t_end are among them."""
    if save_at is not None:
        if save_every is not None:
            raise InputError("give save_every or save_at, not both; drop one of them")
        times = np.unique(np.atleast_1d(finite_array(save_at, "save_at")))
        near = SAME_TIME * t_end
        if times.size == 0 or times[0] < begin - near or times[-1] > t_end + near:
            shown = "none" if times.size == 0 else f"{times[0]:g} to {times[-1]:g}"
            raise InputError(
                f"save_at must lie between {begin:g} and t_end = {t_end:g}, got {shown}; remove "
                "the times outside or raise t_end"
            )
        gaps = np.diff(times, prepend=begin)
        if ((gaps > 0) & (gaps < 1e-18 * t_end)).any():
            raise InputError(
                f"save_at must be times apart by at least {1e-18 * t_end:g}, got "
                f"{gaps[gaps > 0].min():g}; remove one of them"
            )
        return np.unique(np.clip(times, begin, t_end))
    length = t_end - begin
    every = length / DEFAULT_OUTPUTS if save_every is None else save_every
    every = positive_number(every, "save_every")
    if every * (1 - SAME_TIME) > length:
        raise InputError(f"save_every must be at most {length:g}, got {every:g}; lower it")
    if length / every > MOST_OUTPUTS * (1 + SAME_TIME):
        raise InputError(
            f"save_every must leave at most {MOST_OUTPUTS} outputs, got {every:g} for a time of "
            f"{length:g}; raise it"
        )
    count = max(1, int(np.floor(length / every * (1 + SAME_TIME))))
    times = np.asarray(begin + every * np.arange(count + 1), dtype=np.float64)
    if t_end - times[-1] > SAME_TIME * t_end:
        return np.append(times, t_end)
    times[-1] = t_end
    return times
