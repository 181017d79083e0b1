"""What compiled functions share. Only modules of compiled functions may import this one.

Each compiled function has one signature, with contiguous arrays: for another one it would be
compiled once more, with other roundings, and runs would not be repeatable to the last bit.
"""

# mypy: disable-error-code="attr-defined"
from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numba
from numba import types

__all__ = ["array", "given", "numba_threads"]


def given(dimensions: int, dtype: Any = types.float64) -> types.Array:
    """Type of an argument that is only read; a writable array may be given as well."""
    return types.Array(dtype, dimensions, "C", readonly=True)


def array(dimensions: int, dtype: Any = types.float64) -> types.Array:
    """Type of an argument that gets results."""
    return types.Array(dtype, dimensions, "C")


_TURN = threading.Lock()


@contextmanager
def numba_threads(count: int | None = None) -> Iterator[None]:
    """Let compiled loops run on so many threads, as far as there are any; or as it is set.

    Parallel loops belong in here: Numba's own threads end the process when two threads of Python
    call such loops at once.
    """
    before = numba.get_num_threads()
    with nullcontext() if _threads_are_safe() else _TURN:
        if count is not None:
            numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
        try:
            yield
        finally:
            numba.set_num_threads(before)


def _threads_are_safe() -> bool:
    try:
        return numba.threading_layer() in ("tbb", "omp")
    except ValueError:  # not chosen before the first loop
        return False
