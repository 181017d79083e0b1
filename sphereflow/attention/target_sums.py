"""Compiled direct sums over weighted points at other points: few targets, all sources.

Every sum is shifted by its own largest exponent, found in a first pass, so that arguments of any
length are served and nothing overflows.
"""

# mypy: disable-error-code="attr-defined, call-arg, no-untyped-def"
from __future__ import annotations

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from ..machine.compiled import array, given, numba_threads, parallel, thread_count
from ..machine.interruption import listen
from .pair_sums import AT_ONCE, BLOCK, LOG2_E, _power_of_two, _prefer_wide_vectors

__all__ = ["target_sums"]

Real = NDArray[np.float64]

LOWEST = -900.0  # exponents of two: smaller terms do not count


def target_sums(
    z: Real, y: Real, weights: Real, threads: int, *, second: bool = False
) -> tuple[Real, Real]:
    """Σ_j w_j e^{⟨z,y_j⟩ − s} (1, y_j) with s = max_j ⟨z,y_j⟩.

    Parameters
    ----------
    z : ndarray, shape (3, m)
    y : ndarray, shape (3, n)
    weights : ndarray, shape (n,)
    threads : int
    second : bool
        With the products 00 11 01 02 12 of coordinates of y after them.

    Returns
    -------
    tuple of ndarray
        Shifts s, shape (m,), and sums, shape (4, m) or (9, m).

    Raises
    ------
    Unfinished
        If the one who listens wants it.
    """
    count = z.shape[1]
    shifts, sums = np.empty(count), np.empty((9 if second else 4, count))
    moments = np.concatenate([weights[None], weights * y])
    arguments = [np.ascontiguousarray(one) for one in (z, y, moments)]
    blocks = -(-count // BLOCK)
    with numba_threads(threads):
        several = thread_count() * max(1, AT_ONCE // max(1, BLOCK * y.shape[1]))
        for first in range(0, blocks, several):
            listen()
            _sums_of_blocks(first, min(blocks, first + several), *arguments, shifts, sums)
    return shifts, sums


@parallel(
    types.void(types.int64, types.int64, given(2), given(2), given(2), array(1), array(2)),
    fastmath={"contract", "reassoc", "nsz"},
)
def _sums_of_blocks(first, last, targets, y, moments, shifts, out):
    """The sums for some blocks of targets; moments (4, n) are (w, w y), out is (4, m) or (9, m)."""
    _prefer_wide_vectors()
    count, wanted = targets.shape[1], out.shape[0]
    for block in numba.prange(first, last):
        low = block * BLOCK
        z = np.empty((3, BLOCK))
        shift = np.empty(BLOCK)
        sums = np.zeros((9, BLOCK))
        for k in range(BLOCK):
            i = min(low + k, count - 1)
            for a in range(3):
                z[a, k] = LOG2_E * targets[a, i]
            shift[k] = z[0, k] * y[0, 0] + z[1, k] * y[1, 0] + z[2, k] * y[2, 0]
        for j in range(y.shape[1]):
            y0, y1, y2 = y[0, j], y[1, j], y[2, j]
            for k in range(BLOCK):
                shift[k] = max(shift[k], z[0, k] * y0 + z[1, k] * y1 + z[2, k] * y2)
        for j in range(y.shape[1]):
            y0, y1, y2 = y[0, j], y[1, j], y[2, j]
            w, w0, w1, w2 = moments[0, j], moments[1, j], moments[2, j], moments[3, j]
            for k in range(BLOCK):
                t = z[0, k] * y0 + z[1, k] * y1 + (z[2, k] * y2 - shift[k])
                e = _power_of_two(max(t, LOWEST))
                sums[0, k] += e * w
                sums[1, k] += e * w0
                sums[2, k] += e * w1
                sums[3, k] += e * w2
        if wanted > 4:
            for j in range(y.shape[1]):
                y0, y1, y2 = y[0, j], y[1, j], y[2, j]
                w0, w1 = moments[1, j], moments[2, j]
                w00, w11, w01, w02, w12 = w0 * y0, w1 * y1, w0 * y1, w0 * y2, w1 * y2
                for k in range(BLOCK):
                    t = z[0, k] * y0 + z[1, k] * y1 + (z[2, k] * y2 - shift[k])
                    e = _power_of_two(max(t, LOWEST))
                    sums[4, k] += e * w00
                    sums[5, k] += e * w11
                    sums[6, k] += e * w01
                    sums[7, k] += e * w02
                    sums[8, k] += e * w12
        for k in range(min(BLOCK, count - low)):
            shifts[low + k] = shift[k] / LOG2_E
            for a in range(wanted):
                out[a, low + k] = sums[a, k]
