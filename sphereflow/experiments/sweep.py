"""Sweeps: one experiment for many values of its parameters, which goes on after an interruption."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..checks import integer, path_of
from ..errors import ConfigurationError, OutputError
from ..machine.files import check_writable, locked, replaced
from ..machine.threads import opened_dataset
from ..output.ends import End
from ..output.netcdf import write_netcdf
from .sweep_dataset import combine, write_zarr
from .sweep_plan import Member, Plan, plan_sweep
from .workers import MARK, Job, run_here, run_in_processes

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["sweep"]

logger = logging.getLogger(__name__)

INDEX = "sweep.json"
COMBINED = "sweep.nc"
_MEMBERS = "member_*.nc"


def sweep(
    source: str | os.PathLike[str] | Mapping[str, object],
    output: str | os.PathLike[str],
    *,
    vary: Mapping[str, object] | None = None,
    overrides: Iterable[str] = (),
    workers: int = 1,
    scheduler: str | None = None,
    overwrite: bool = False,
    allow_code: bool = False,
    report: Callable[[Member, int], None] | None = None,
) -> xr.Dataset:
    """Run an experiment for all values of its section ``[sweep]``, or go on with such a sweep.

    Members whose file is there and sound are kept. A member that raises an error is recorded, the
    others go on, and it is tried again when the sweep is.

    Parameters
    ----------
    source : path or mapping
        Experiment file with a section ``[sweep]``, or its content.
    output : path
        Directory for one netCDF file of each member, ``sweep.json`` and the combined
        ``sweep.nc``. With the ending ``.zarr`` it is the combined dataset, and the rest is in a
        directory beside it with the ending ``.members``.
    vary : mapping, optional
        Key with dots → list or range, besides those of the section.
    overrides : iterable of str, optional
        Changes as in `load_experiment`.
    workers : int
        Processes of one thread each; with 0 or 1 the members run in this process.
    scheduler : str, optional
        Address of a dask scheduler, whose workers see the same files, in place of `workers`.
    overwrite : bool
        Start anew where this or another sweep has been.
    allow_code : bool
        Whether functions that the file names are imported, as in `load_experiment`.
    report : callable, optional
        Called as ``report(member, count)`` with each member that was kept or has ended, and the
        number of all.

    Returns
    -------
    xarray.Dataset
        With the swept parameters as dimensions, and NaN where a member has no values; `status`
        says how each of them ended.

    Raises
    ------
    ConfigurationError
        If the section or the experiment of any member is not understood; nothing is run then.
    OutputError
        If `output` cannot be written or holds anything else.

    Examples
    --------
    >>> import tempfile
    >>> config = {
    ...     "density": {"kind": "von_mises_fisher", "mean": [0, 0, 1], "concentration": 2.0},
    ...     "scheme": {"kind": "spectral", "lmax": 31},
    ...     "run": {"t_end": 0.1, "save_every": 0.1},
    ...     "sweep": {"problem.diffusion": [0.0, 0.5, 1.0]},
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     runs = sweep(config, f"{folder}/diffusion")
    >>> runs.entropy.sizes
    Frozen({'diffusion': 3, 'time': 2})
    """
    workers = integer(workers, "workers", 0)
    plan = plan_sweep(source, vary, overrides, allow_code=allow_code)
    target, folder = _places(path_of(output, "output"))
    in_processes = workers > 1 or scheduler is not None
    if in_processes:
        _need("distributed", "to run in several processes")
    _prepare(plan, target, folder, overwrite)
    with locked(folder / INDEX, "sweep"):
        if overwrite:
            for path in [*folder.glob(_MEMBERS), folder / COMBINED]:
                path.unlink(missing_ok=True)
        return _filled(plan, target, folder, report, allow_code, workers, scheduler)


def _filled(
    plan: Plan,
    target: Path,
    folder: Path,
    report: Callable[[Member, int], object] | None,
    allow_code: bool,
    workers: int,
    scheduler: str | None,
) -> xr.Dataset:
    """Solve the members that are left, and write the dataset of all of them."""
    in_processes = workers > 1 or scheduler is not None
    members = plan.members
    left = [member for member in members if not _is_done(member, folder)]
    _write_index(plan, folder)
    if report is not None:
        for member in members:
            if member.status != End.PENDING:
                report(member, len(members))
    # Workers of a cluster may have another working directory.
    place = (plan.directory, folder.resolve())
    jobs = {m.number: Job(m.config, m.digest, m.file, *place, allow_code) for m in left}
    outcomes = run_in_processes(jobs, workers, scheduler) if in_processes else run_here(jobs)
    written = time.monotonic()
    try:
        for number, outcome in outcomes:
            vars(members[number]).update(outcome)
            if report is not None:
                report(members[number], len(members))
            if time.monotonic() > written + 1.0:
                _write_index(plan, folder)
                written = time.monotonic()
    finally:
        outcomes.close()
        _write_index(plan, folder)
    dataset = combine(plan, folder)
    (write_zarr if target.suffix == ".zarr" else write_netcdf)(dataset, target)
    for partial in folder.glob("*.part"):
        partial.unlink(missing_ok=True)
    return dataset


def _is_done(member: Member, folder: Path) -> bool:
    """Whether the file of a member is whole and of this configuration.

    Nothing is removed here: another file stays until the new one takes its place.

    Raises
    ------
    OutputError
        If it cannot be read for a reason that may pass.
    """
    path = folder / member.file
    try:
        with open(path, "rb") as file:
            file.read(1)
        with opened_dataset(path, engine="netcdf4") as dataset:
            mark = json.loads(dataset.attrs[MARK])
            if mark.pop("digest") == member.digest:
                dataset.load()
                vars(member).update(mark)
                return True
    except FileNotFoundError:
        return False
    except MemoryError:
        raise
    except Exception as error:  # a damaged file raises errors of many kinds
        # Those of the netCDF library have numbers below 0.
        if isinstance(error, OSError) and (error.errno or 0) > 0:
            raise OutputError(
                f"member '{path}' cannot be read ({error.strerror or error}); mend that and go on, "
                "or remove it to solve it anew"
            ) from error
        logger.info("member %s is damaged: %s", path, error)
    return False


def _places(output: Path) -> tuple[Path, Path]:
    """Where the combined dataset goes and where the rest."""
    if output.suffix == ".zarr":
        _need("zarr", "for an output that ends in .zarr")
        return output, output.with_suffix(".members")
    if output.suffix == ".nc":
        raise OutputError(
            f"The output of a sweep is a directory or ends in .zarr, got {str(output)!r}; name "
            f"one, which will hold {COMBINED}."
        )
    return output / COMBINED, output


def _prepare(plan: Plan, target: Path, folder: Path, overwrite: bool) -> None:
    """Make the directory of a sweep, or check that it is one of the same sweep, or empty it."""
    earlier = None
    if folder.exists():
        try:
            earlier = json.loads((folder / INDEX).read_text("utf-8"))["digest"]
        except (OSError, ValueError, TypeError, KeyError):
            foreign = not folder.is_dir() or any(p.suffix != ".part" for p in folder.iterdir())
            if foreign:
                raise OutputError(
                    f"The output {str(folder)!r} is there and not the directory of a sweep; name "
                    "another, or remove it."
                ) from None
    if earlier not in (None, plan.digest) and not overwrite:
        raise OutputError(
            f"The output {str(folder)!r} holds a sweep of another configuration; give "
            "--overwrite to replace it, or name another directory."
        )
    if target.suffix == ".zarr" and target.exists():
        store = (target / ".zgroup").exists() or (target / "zarr.json").exists()
        if not store or (earlier is None and not overwrite):
            raise OutputError(
                f"The output {str(target)!r} exists already and is of no sweep; give "
                "--overwrite if it is a zarr store, or another name."
            )
    if not folder.parent.is_dir():
        raise OutputError(f"output folder '{folder.parent}' does not exist; create it first")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The directory {str(folder)!r} cannot be made ({error.strerror}); name another."
        ) from error
    check_writable(folder / INDEX)


def _write_index(plan: Plan, folder: Path) -> None:
    """The state of the sweep for people and other programs; the files of members decide."""
    entries = [
        {
            "number": member.number,
            "parameters": member.parameters,
            "file": None if member.status in (End.PENDING, End.FAILED) else member.file,
            "status": member.status,
            "reason": member.reason,
            "seconds": None if member.seconds != member.seconds else round(member.seconds, 3),
        }
        for member in plan.members
    ]
    content = {"digest": plan.digest, "experiment": plan.config, "members": entries}
    with replaced(folder / INDEX, "index") as partial:
        partial.write_text(json.dumps(content, indent=1, default=str), "utf-8")


def _need(package: str, purpose: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ConfigurationError(
            f"The package {package!r} is needed {purpose} and is not installed; "
            "install it with pip install 'sphereflow[sweep]'."
        )
