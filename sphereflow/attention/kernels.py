"""Compiled sum of the harmonic series of the Laplace transform.

e^{⟨z,y⟩} = 4π Σ_l i_l(r) Σ_m Y_lm(ẑ) Y_lm(y), r = |z|, is summed in solid harmonics: with
i_l(r) = r^l e_l(r) / (2l+1)!! and e_l(r) = Σ_k (r²/2)^k / (k! (2l+3)(2l+5)…(2l+2k+1)) every
quantity is a polynomial in z, so that nothing is singular at r = 0 or on the axis and no
trigonometric function is needed. e_l comes from the downward recurrence
e_{l−1} = e_l + r² e_{l+1} / ((2l+1)(2l+3)), all of whose terms are positive.

The innermost loop runs over a block of points, which the compiler vectorises; `fastmath`
only lets it fuse and reorder products of one point.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from ..machine.compiled import array, compiled, given, parallel

__all__ = ["BLOCK", "block_sums", "harmonic_sums"]

BLOCK = 128


@compiled(fastmath={"contract", "reassoc", "nsz"}, forceinline=True)
def _radial_factors(degree, squares, factors):
    """e_l(r) for l = 0 … degree + 1 into factors[l, :], from r² of each point."""
    size = squares.size
    largest = 0.0
    for p in range(size):
        largest = max(largest, squares[p])
    for top in range(degree, degree + 2):
        for p in range(size):
            factors[top, p] = 1.0
        # The series of the two highest degrees, by Horner, to relative 1e-17.
        terms = 1
        size_of_term = 1.0
        while size_of_term > 1e-17:
            size_of_term *= 0.5 * largest / (terms * (2 * top + 2 * terms + 1))
            terms += 1
        for k in range(terms, 0, -1):
            scale = 0.5 / (k * (2 * top + 2 * k + 1))
            for p in range(size):
                factors[top, p] = 1.0 + scale * squares[p] * factors[top, p]
    for degree_up in range(degree, 0, -1):
        scale = 1.0 / ((2 * degree_up + 1) * (2 * degree_up + 3))
        for p in range(size):
            factors[degree_up - 1, p] = (
                factors[degree_up, p] + scale * squares[p] * factors[degree_up + 1, p]
            )


@compiled(fastmath={"contract", "reassoc", "nsz"}, forceinline=True)
def _order_sums(m, degree, start, z, r2, first, second, series, e, q, even, odd):
    """Sums over the degrees l = m … degree of one order, apart for even and odd l − m.

    `even` and `odd` get, for each of the eight series (four functions, cosine and sine), the
    sum of coefficient · e_l · q_l; four degrees are taken at a time.
    """
    size = z.size
    for p in range(size):
        q[0, p] = 1.0
        q[1, p] = 0.0
    for k in range(8):
        c = series[start, k]
        for p in range(size):
            even[k, p] = c * e[m, p]
            odd[k, p] = 0.0
    l = m + 1
    i = start + 1
    while l + 3 <= degree:
        f0, f1, f2, f3 = first[i], first[i + 1], first[i + 2], first[i + 3]
        g0, g1, g2, g3 = second[i], second[i + 1], second[i + 2], second[i + 3]
        for p in range(size):
            qa = f0 * z[p] * q[0, p] - g0 * r2[p] * q[1, p]
            qb = f1 * z[p] * qa - g1 * r2[p] * q[0, p]
            qc = f2 * z[p] * qb - g2 * r2[p] * qa
            qd = f3 * z[p] * qc - g3 * r2[p] * qb
            q[0, p] = qd
            q[1, p] = qc
            q[2, p] = qa * e[l, p]
            q[3, p] = qb * e[l + 1, p]
            q[4, p] = qc * e[l + 2, p]
            q[5, p] = qd * e[l + 3, p]
        for k in range(0, 8, 4):
            a0, a1, a2, a3 = series[i, k], series[i, k + 1], series[i, k + 2], series[i, k + 3]
            j = i + 1
            b0, b1, b2, b3 = series[j, k], series[j, k + 1], series[j, k + 2], series[j, k + 3]
            j = i + 2
            c0, c1, c2, c3 = series[j, k], series[j, k + 1], series[j, k + 2], series[j, k + 3]
            j = i + 3
            d0, d1, d2, d3 = series[j, k], series[j, k + 1], series[j, k + 2], series[j, k + 3]
            for p in range(size):
                ta, tb, tc, td = q[2, p], q[3, p], q[4, p], q[5, p]
                odd[k, p] += a0 * ta + c0 * tc
                odd[k + 1, p] += a1 * ta + c1 * tc
                odd[k + 2, p] += a2 * ta + c2 * tc
                odd[k + 3, p] += a3 * ta + c3 * tc
                even[k, p] += b0 * tb + d0 * td
                even[k + 1, p] += b1 * tb + d1 * td
                even[k + 2, p] += b2 * tb + d2 * td
                even[k + 3, p] += b3 * tb + d3 * td
        l += 4
        i += 4
    while l <= degree:
        f0, g0 = first[i], second[i]
        for p in range(size):
            qa = f0 * z[p] * q[0, p] - g0 * r2[p] * q[1, p]
            q[1, p] = q[0, p]
            q[0, p] = qa
            q[2, p] = qa * e[l, p]
        target = even if (l - m) % 2 == 0 else odd
        for k in range(8):
            c = series[i, k]
            for p in range(size):
                target[k, p] += c * q[2, p]
        l += 1
        i += 1


@compiled(fastmath={"contract", "reassoc", "nsz"}, forceinline=True)
def block_sums(degree, x, y, z, r2, e, first, second, series, row, out):
    """Four series at the points of one block and at their antipodes."""
    size = x.size
    power_re = np.ones(size)
    power_im = np.zeros(size)
    q = np.empty((6, size))
    even = np.empty((8, size))
    odd = np.empty((8, size))
    start = 0
    for m in range(degree + 1):
        if m > 0:
            scale = np.sqrt((2 * m + 1) / (2.0 * m)) / (2 * m + 1)
            if m == 1:
                scale *= np.sqrt(2.0)
            for p in range(size):
                re = power_re[p]
                power_re[p] = scale * (re * x[p] - power_im[p] * y[p])
                power_im[p] = scale * (re * y[p] + power_im[p] * x[p])
        _order_sums(m, degree, start, z, r2, first, second, series, e, q, even, odd)
        sign = 1.0 if m % 2 == 0 else -1.0
        for k in range(4):
            for p in range(size):
                same = power_re[p] * even[k, p] + power_im[p] * even[k + 4, p]
                opposite = power_re[p] * odd[k, p] + power_im[p] * odd[k + 4, p]
                if m == 0:
                    out[k, p] = same + opposite
                    out[k + 4, p] = same - opposite
                else:
                    out[k, p] += same + opposite
                    out[k + 4, p] += sign * (same - opposite)
        start += row + 1 - m


@parallel(
    types.void(
        *(given(2), given(1), given(1), given(2)),
        *(types.int64, types.float64, given(1, types.int64), array(2)),
    ),
    fastmath={"contract", "reassoc", "nsz"},
)
def harmonic_sums(z, first, second, series, row, bins_per_unit, degree_of_bin, out):
    """e^{−|z|} times the four series at every point z, and at −z for little more.

    Parameters
    ----------
    z : (3, n) Cartesian arguments.
    first, second : (count,) factors of the three-term recurrence of solid harmonics.
    series : (count, 8) cosine coefficients of the four functions, then sine ones, with all
        norms included.
    row : degree that the tables are laid out for (order major).
    bins_per_unit, degree_of_bin : degree that is needed at radius b / bins_per_unit.
    out : (4, n) values at z, or (8, n) values at z and then at −z.
    """
    n = z.shape[1]
    wanted = out.shape[0]
    for block in numba.prange((n + BLOCK - 1) // BLOCK):
        low = block * BLOCK
        high = min(n, low + BLOCK)
        x = z[0, low:high].copy()
        y = z[1, low:high].copy()
        h = z[2, low:high].copy()
        r2 = x * x + y * y + h * h
        largest = np.sqrt(np.max(r2))
        # The radius may round into the next bin here, beyond the end or where no degree serves.
        bin_here = min(int(np.ceil(largest * bins_per_unit)), degree_of_bin.size - 1)
        degree = min(degree_of_bin[bin_here], row)
        if degree < 1:
            degree = row
        sums = np.empty((8, high - low))
        e = np.empty((degree + 2, high - low))
        _radial_factors(degree, r2, e)
        block_sums(degree, x, y, h, r2, e, first, second, series, row, sums)
        for p in range(high - low):
            scale = np.exp(-np.sqrt(r2[p]))
            for k in range(wanted):
                out[k, low + p] = sums[k, p] * scale
