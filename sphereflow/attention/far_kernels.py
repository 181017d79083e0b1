"""Compiled sum of the harmonic series of the Laplace transform at long arguments.

In a module of its own, as it is compiled where it is imported and most runs do without.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from ..machine.compiled import array, given, parallel
from .kernels import BLOCK, block_sums

__all__ = ["harmonic_sums_far"]


@parallel(
    types.void(
        *(given(2), given(1), given(2), given(1), given(1), given(2)),
        *(types.int64, types.int64, array(2)),
    ),
    fastmath={"contract", "reassoc", "nsz"},
)
def harmonic_sums_far(directions, places, radial, first, second, series, row, degree, out):
    """As `harmonic_sums` for long arguments, whose radial factors come from a table.

    Parameters
    ----------
    directions : (3, n) arguments brought to one length R.
    places : (n,) where their own lengths lie in the table, within [−1, 1].
    radial : (degree + 1, k) Chebyshev coefficients of e^{−r} i_l(r) (2l+1)!! / R^l.
    first, second, series, row : as above.
    degree : of the series.
    out : (4, n) or (8, n) as above.
    """
    n = directions.shape[1]
    wanted = out.shape[0]
    terms = radial.shape[1]
    for block in numba.prange((n + BLOCK - 1) // BLOCK):
        low = block * BLOCK
        high = min(n, low + BLOCK)
        size = high - low
        x = directions[0, low:high].copy()
        y = directions[1, low:high].copy()
        h = directions[2, low:high].copy()
        r2 = x * x + y * y + h * h
        place = places[low:high].copy()
        e = np.empty((degree + 2, size))
        last = np.empty(size)
        for l in range(degree + 1):
            # Clenshaw's recurrence, with e[l] and `last` for its two latest terms.
            for p in range(size):
                e[l, p] = 0.0
                last[p] = 0.0
            for k in range(terms - 1, 0, -1):
                c = radial[l, k]
                for p in range(size):
                    now = c + 2.0 * place[p] * e[l, p] - last[p]
                    last[p] = e[l, p]
                    e[l, p] = now
            c = radial[l, 0]
            for p in range(size):
                e[l, p] = c + place[p] * e[l, p] - last[p]
        sums = np.empty((8, size))
        block_sums(degree, x, y, h, r2, e, first, second, series, row, sums)
        for p in range(size):
            for k in range(wanted):
                out[k, low + p] = sums[k, p]
