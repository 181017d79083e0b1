"""What compiled functions share. Only modules of compiled functions may import this one.

Each compiled function has one signature, with contiguous arrays: for another one it would be
compiled once more, with other roundings, and runs would not be repeatable to the last bit.
"""

# mypy: disable-error-code="attr-defined"
from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar

import numba
from numba import types

from ..errors import InputError
from .threads import is_forked, loops_have_threads

__all__ = ["array", "compiled", "given", "numba_threads", "parallel", "thread_count"]

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)


def given(dimensions: int, dtype: types.Type = types.float64) -> types.Array:
    """Type of an argument that is only read; a writable array may be given as well."""
    return types.Array(dtype, dimensions, "C", readonly=True)


def array(dimensions: int, dtype: types.Type = types.float64) -> types.Array:
    """Type of an argument that gets results."""
    return types.Array(dtype, dimensions, "C")


def compiled(*signature: object, **options: object) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """As `numba.njit` with a cache on disk, or without one where no folder can be written to."""

    jit: Any = numba.njit  # whose types know no signature that is made elsewhere

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        try:
            kernel: Callable[P, R] = jit(*signature, cache=True, **options)(function)
        except (RuntimeError, OSError) as error:
            if isinstance(error, RuntimeError) and "cannot cache" not in str(error):
                raise
            logger.info(
                "%s is compiled in every process, as it cannot be kept: %s; set NUMBA_CACHE_DIR "
                "to a folder that can be written to",
                function.__name__,
                error,
            )
            kernel = jit(*signature, **options)(function)
        return kernel

    return decorated


def parallel(*signature: object, **options: object) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A compiled function whose loops run in threads, or not where threads are lost by a fork."""
    return lambda function: _Parallel(function, signature, options)


class _Parallel(Generic[P, R]):
    def __init__(
        self,
        function: Callable[P, R],
        signature: tuple[object, ...],
        options: dict[str, object],
    ) -> None:
        self._arguments = function, signature, options
        self._threaded = compiled(*signature, parallel=True, **options)(function)

    @cached_property
    def _serial(self) -> Callable[P, R]:
        function, signature, options = self._arguments
        assert isinstance(function, FunctionType)
        alone = FunctionType(function.__code__, function.__globals__, function.__name__)
        # The cache on disk goes by this name.
        alone.__qualname__ = f"{function.__qualname__}_serial"
        return compiled(*signature, **options)(alone)

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        return (self._serial if is_forked() else self._threaded)(*arguments, **named)


_TURN = threading.Lock()


def _after_fork() -> None:
    global _TURN
    _TURN = threading.Lock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def numba_threads(count: int | None = None) -> Iterator[None]:
    """Let compiled loops run on so many threads, as far as there are any; or as it is set.

    Parallel loops belong in here: Numba's own threads end the process when two threads of Python
    call such loops at once.

    Raises
    ------
    InputError
        If threads are asked for in a process that has lost them by a fork.
    """
    if is_forked():
        if count is not None and count > 1:
            raise InputError(
                f"threads must be 1 in a process that was forked after a run, got {count}: its "
                "threads are lost; use multiprocessing.get_context('spawn'), or give threads=1"
            )
        yield
        return
    loops_have_threads()
    before = numba.get_num_threads()
    with nullcontext() if _threads_are_safe() else _TURN:
        if count is not None:
            numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
        try:
            yield
        finally:
            numba.set_num_threads(before)


def thread_count() -> int:
    """Threads on which compiled loops run here."""
    return 1 if is_forked() else int(numba.get_num_threads())


def _threads_are_safe() -> bool:
    try:
        return numba.threading_layer() in ("tbb", "omp")
    except ValueError:  # not chosen before the first loop
        return False
