"""What threads share: their number, the netCDF libraries, solutions followed as they are asked for.

Neither netCDF nor HDF5 is safe in threads. xarray locks the reading and writing of arrays, but
not the making of files, so that whole accesses take turns here, and single ones of the library
those of xarray too.

The libraries of the transforms and loops read numbers of threads from the environment, and end the
process on some that they do not understand; those are put right when this module is imported.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from .memory import check_memory

if TYPE_CHECKING:
    import xarray

__all__ = [
    "MOST_THREADS",
    "in_turn",
    "is_forked",
    "loops_have_threads",
    "netcdf_access",
    "opened_dataset",
    "taking_turns",
    "usable_thread_counts",
]

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

MOST_THREADS = 1024

_FILES = threading.RLock()
_SOLUTIONS = threading.RLock()
_loops_have_threads = False
_forked = False  # from a process whose compiled loops had threads, which a fork does not copy


def loops_have_threads() -> None:
    """Note that compiled loops of this process have started their threads."""
    global _loops_have_threads
    _loops_have_threads = True


def is_forked() -> bool:
    """Whether compiled loops have to do without threads, as those of the parent are not here."""
    return _forked


def _after_fork() -> None:
    global _FILES, _SOLUTIONS, _forked
    # Other threads of the parent may have held them.
    _FILES, _SOLUTIONS = threading.RLock(), threading.RLock()
    _forked = _forked or _loops_have_threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def usable_thread_counts(environment: MutableMapping[str, str]) -> None:
    """Take numbers of threads out that are none, and give ducc0 the first number of a list.

    OpenMP takes a list as of "4,2", one number for each level of nested loops. A variable that is
    no such list, or one of numbers below 1 or beyond `MOST_THREADS`, is removed, as if it had not
    been set, with a warning unless it is empty.
    """
    for name in ("OMP_NUM_THREADS", "DUCC0_NUM_THREADS", "NUMBA_NUM_THREADS"):
        text = environment.get(name)
        if text is None:
            continue
        numbers = text.split(",") if name == "OMP_NUM_THREADS" else [text]
        known = all(re.fullmatch(r"\s*\+?[0-9]{1,9}\s*", one, re.ASCII) for one in numbers)
        if known and all(1 <= int(one) <= MOST_THREADS for one in numbers):
            if len(numbers) > 1:
                environment.setdefault("DUCC0_NUM_THREADS", str(int(numbers[0])))
            continue
        del environment[name]
        if text.strip():
            logger.warning(
                "%s must be a number of threads from 1 to %d, got %s; it is left out",
                name,
                MOST_THREADS,
                ascii(text[:40]),
            )


usable_thread_counts(os.environ)


@contextmanager
def taking_turns() -> Iterator[None]:
    """One thread at a time writes or reads datasets by xarray, which has a lock of its own."""
    with _FILES:
        yield


@contextmanager
def netcdf_access() -> Iterator[None]:
    """One thread at a time, those of xarray included, calls the netCDF library itself."""
    from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

    with _FILES, NETCDF4_PYTHON_LOCK:
        yield


@contextmanager
def opened_dataset(
    path: str | os.PathLike[str], engine: str | None = None, mask_and_scale: bool = True
) -> Iterator[xarray.Dataset]:
    """What `xarray.open_dataset` gives, while no other thread reads or writes netCDF.

    Entries of decoded variables that were never written are NaN, also where the file does not
    name the value that netCDF fills them with.
    """
    import xarray

    with _FILES, xarray.open_dataset(path, engine=engine, mask_and_scale=mask_and_scale) as dataset:
        check_memory({f"the variables of '{path}'": dataset.nbytes}, "take a part of them")
        yield _without_fill(dataset) if mask_and_scale else dataset


def _without_fill(dataset: xarray.Dataset) -> xarray.Dataset:
    from netCDF4 import default_fillvals

    for name, variable in dataset.variables.items():
        if variable.dtype.kind not in "iuf" or "_FillValue" in variable.encoding:
            continue
        saved = variable.encoding.get("dtype", variable.dtype)
        fill = default_fillvals.get(saved.str[1:]) if saved.itemsize > 1 else None
        if fill is not None and (unwritten := variable == saved.type(fill)).any():
            kept = {name: variable.where(~unwritten).load()}
            coordinate = name in dataset.coords
            dataset = dataset.assign_coords(kept) if coordinate else dataset.assign(kept)
    return dataset


def in_turn(method: Callable[P, R]) -> Callable[P, R]:
    """A method that goes on with a solution kept for later, in one thread at a time.

    One lock serves all objects, which therefore pickle and copy as they are.
    """

    @wraps(method)
    def guarded(*arguments: P.args, **options: P.kwargs) -> R:
        with _SOLUTIONS:
            return method(*arguments, **options)

    return guarded
