"""Members of a sweep as jobs: run in this process, or in those of a cluster."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, TypedDict

from ..errors import ConfigurationError, SphereflowError
from ..machine.interruption import EndedBySignal, asked_to_stop, raised_by_signals
from ..output.ends import End
from ..output.netcdf import write_netcdf
from .experiment import experiment_in_folder

__all__ = ["MARK", "Job", "Outcome", "Outcomes", "run_here", "run_in_processes"]

ASKED_FOR = (End.INTERRUPTED, End.TERMINATED)
MARK = "sweep_member"  # attribute of the files of members
SCHEDULER_TIMEOUT = 10.0  # s
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Job(NamedTuple):
    """What a process has to know of a member to run it.

    Parameters
    ----------
    config : dict
        Configuration of its experiment.
    digest : str
        Hash of the configuration.
    file : str
        Name of its dataset.
    directory : Path
        What relative paths in the configuration start from.
    folder : Path
        Where the dataset goes.
    allow_code : bool
        Whether functions that the configuration names are imported.
    """

    config: dict[str, object]
    digest: str
    file: str
    directory: Path
    folder: Path
    allow_code: bool


class Outcome(TypedDict, total=False):
    """What became of a member."""

    status: str
    reason: str
    seconds: float


class Ended(Protocol):
    """What a cluster gives of a member that has ended."""

    def result(self) -> Outcome:
        """What became of it."""


Outcomes = Generator[tuple[int, Outcome], None, None]


def run_here(jobs: Mapping[int, Job]) -> Outcomes:
    """Outcomes of members that are run in this process, one after the other."""
    with asked_to_stop() as asked:
        for number, job in jobs.items():
            outcome = _run_member(job)
            if outcome["status"] not in ASKED_FOR:
                yield number, outcome
            if asked.is_set():
                raise EndedBySignal(asked.name)


def run_in_processes(jobs: Mapping[int, Job], workers: int, scheduler: str | None) -> Outcomes:
    """Outcomes in the order in which members end, from a cluster of this machine or another."""
    if not jobs:
        return
    import dask
    from distributed import Client, LocalCluster, as_completed

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    settings: dict[str, object] = {
        # A member whose process died is tried once more; processes hold no more than they run.
        "distributed.scheduler.allowed-failures": 1,
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.worker.profile.enabled": False,
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(_ONE_THREAD, "1"),
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(raised_by_signals())
        stack.enter_context(dask.config.set(settings))
        if scheduler is None:
            with _environment_kept():
                cluster = LocalCluster(
                    n_workers=min(workers, len(jobs)),
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=None,
                    dashboard_address=":0",
                    silence_logs=logging.CRITICAL,
                )
            client = stack.enter_context(Client(stack.enter_context(cluster)))
            client.register_worker_callbacks(_ignore_interrupts)
        else:
            try:
                client = stack.enter_context(Client(scheduler, timeout=SCHEDULER_TIMEOUT))
            except (OSError, ValueError) as error:
                raise ConfigurationError(
                    f"No dask scheduler answers at {scheduler!r} ({error}); give the address of "
                    "one that runs, as in tcp://host:8786."
                ) from error
        futures = {
            client.submit(_run_in_worker, job, pure=False): number for number, job in jobs.items()
        }
        for future in as_completed(futures):
            yield futures[future], _outcome(future)


def _outcome(future: Ended) -> Outcome:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker:
        reason = "its process died twice, perhaps for want of memory; run it alone or smaller"
    except Exception as error:  # of the cluster
        reason = f"{type(error).__name__}: {error}"
    return {"status": str(End.FAILED), "reason": reason}


def _ignore_interrupts() -> None:
    """Leave an interruption of all processes at a terminal to the first of them."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _run_in_worker(job: Job) -> Outcome:
    import dask

    # Otherwise xarray locks each file for the whole cluster, at a second for each file.
    with dask.config.set(scheduler="synchronous"):
        return _run_member(job)


def _run_member(job: Job) -> Outcome:
    """Solve one member and write its file; errors become its outcome."""
    start = time.perf_counter()
    try:
        experiment = experiment_in_folder(job.config, job.directory, job.allow_code)
        # Members would share these files.
        dataset = experiment.solve(
            **dict.fromkeys({"output", "checkpoint"} & experiment.run.keys())
        )
        outcome: Outcome = {
            "status": dataset.attrs["status"],
            "reason": dataset.attrs["status_reason"],
            "seconds": time.perf_counter() - start,
        }
        if outcome["status"] in ASKED_FOR:
            return outcome
        dataset.attrs[MARK] = json.dumps({"digest": job.digest, **outcome})
        write_netcdf(dataset, job.folder / job.file)
    except Exception as error:
        text = (
            str(error) if isinstance(error, SphereflowError) else f"{type(error).__name__}: {error}"
        )
        return {"status": str(End.FAILED), "reason": text, "seconds": time.perf_counter() - start}
    return outcome


@contextlib.contextmanager
def _environment_kept() -> Iterator[None]:
    """Undo what starting a cluster leaves in the environment of this process."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
