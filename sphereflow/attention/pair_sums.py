"""Compiled direct sums over pairs of tokens: L[μ](Dᵀx_i) = Σ_j w_j e^{⟨x_i, D y_j⟩} and ∇L.

Every exponent is shifted by |Dᵀx_i|, the largest value it can have on the sphere, so that the
terms lie in [e^{−2|z|}, 1] and no pass for their maximum is needed while |z| ≤ 340. No array of
pairs exists: a block of rows is carried along all columns, in registers and the first cache.

`fastmath` reorders sums, but never the exponential: its rounding trick must stay as it is.
"""

# mypy: disable-error-code="attr-defined, call-arg"
from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.special import iv

from ..machine.compiled import array, given, parallel, thread_count
from ..machine.interruption import listen

__all__ = ["BLOCK", "pair_sums"]

BLOCK = 32  # rows that are carried at once
AT_ONCE = 100_000_000  # pairs of each thread between two looks at what was asked for, some 0.15 s
LOG2_E = float(1.0 / np.log(2.0))
ROUNDING = 1.5 * 2.0**52  # adding it rounds a double to an integer, kept in its lowest bits


def _power_of_two_polynomial(degree: int) -> NDArray[np.float64]:
    """Coefficients of 2^r on |r| ≤ ½, lowest first, from the Chebyshev series of e^{au}."""
    series = 2.0 * iv(np.arange(degree + 1), 0.5 * np.log(2.0))
    series[0] /= 2.0
    powers: NDArray[np.float64] = chebyshev.cheb2poly(series)
    return powers * 2.0 ** np.arange(degree + 1)


# Degree 10 leaves an error of 2e-16, that of the rounding.
P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10 = map(float, _power_of_two_polynomial(10))


@intrinsic
def _bits(typing_context, value):
    """The bits of a double as an integer."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def _from_bits(typing_context, value):
    """The double that has these bits."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@intrinsic
def _prefer_wide_vectors(typing_context):
    """Ask the compiler for 512-bit vectors in the calling function, where the machine has them."""

    def generate(context, builder, signature, arguments):
        # llvmlite knows no attributes with values, so its check of the name is passed by.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), generate


@numba.njit(fastmath={"contract"}, forceinline=True)
def _power_of_two(t):
    """2^t for −1000 < t < 1000."""
    shifted = t + ROUNDING
    r = t - (shifted - ROUNDING)
    p = P10
    p = p * r + P9
    p = p * r + P8
    p = p * r + P7
    p = p * r + P6
    p = p * r + P5
    p = p * r + P4
    p = p * r + P3
    p = p * r + P2
    p = p * r + P1
    p = p * r + P0
    return _from_bits(_bits(p) + (_bits(shifted) << 52))


if numba.config.DISABLE_JIT:  # by Python, in which the instructions above have no meaning

    def _power_of_two(t):  # type: ignore[misc]
        return 2.0**t

    def _prefer_wide_vectors():  # type: ignore[misc]
        pass


@numba.njit(fastmath={"contract", "reassoc", "nsz"}, forceinline=True)
def _sum_block(z, y, moments, sums):
    """Add e^{⟨z,y_j⟩ − |z|} · (w, w y)_j over all j to sums (4, BLOCK), for a block of z."""
    _prefer_wide_vectors()
    for j in range(y.shape[1]):
        y0, y1, y2 = y[0, j], y[1, j], y[2, j]
        w, w0, w1, w2 = moments[0, j], moments[1, j], moments[2, j], moments[3, j]
        for k in range(BLOCK):
            e = _power_of_two(z[0, k] * y0 + z[1, k] * y1 + (z[2, k] * y2 - z[3, k]))
            sums[0, k] += e * w
            sums[1, k] += e * w0
            sums[2, k] += e * w1
            sums[3, k] += e * w2


@numba.njit(fastmath={"contract", "reassoc", "nsz"}, forceinline=True)
def _sum_block_second(z, y, moments, sums):
    """As `_sum_block`, with the second moments xx, yy, xy, xz, yz in sums (9, BLOCK)."""
    _prefer_wide_vectors()
    for j in range(y.shape[1]):
        y0, y1, y2 = y[0, j], y[1, j], y[2, j]
        w, w0, w1, w2 = moments[0, j], moments[1, j], moments[2, j], moments[3, j]
        w00, w11, w01 = w0 * y0, w1 * y1, w0 * y1
        w02, w12 = w0 * y2, w1 * y2
        for k in range(BLOCK):
            e = _power_of_two(z[0, k] * y0 + z[1, k] * y1 + (z[2, k] * y2 - z[3, k]))
            sums[0, k] += e * w
            sums[1, k] += e * w0
            sums[2, k] += e * w1
            sums[3, k] += e * w2
            sums[4, k] += e * w00
            sums[5, k] += e * w11
            sums[6, k] += e * w01
            sums[7, k] += e * w02
            sums[8, k] += e * w12


@numba.njit(fastmath={"contract", "reassoc", "nsz"}, forceinline=True)
def _arguments(x, logits, z):
    """z = Dᵀx times log₂e, and its length, for one block; the last point fills up the rest."""
    for k in range(BLOCK):
        i = min(k, x.shape[1] - 1)
        square = 0.0
        for b in range(3):
            z[b, k] = LOG2_E * (
                logits[0, b] * x[0, i] + logits[1, b] * x[1, i] + logits[2, b] * x[2, i]
            )
            square += z[b, k] ** 2
        z[3, k] = np.sqrt(square)


@numba.njit(fastmath={"contract", "reassoc", "nsz"}, forceinline=True)
def _add_slopes(x, weights, sums, scale, slopes):
    """slopes[a, b] += Σ_i w_i x_a ∂_b L."""
    for k in range(x.shape[1]):
        factor = weights[k] * scale[k]
        for a in range(3):
            for b in range(3):
                slopes[a, b] += factor * x[a, k] * sums[1 + b, k]


@numba.njit(fastmath={"contract", "reassoc", "nsz"}, forceinline=True)
def _add_curvature(x, weights, sums, scale, curvature):
    """curvature[p, q] += Σ_i w_i (x xᵀ)_p (∇∇L)_q, entries in the order 00 11 22 01 02 12."""
    outer = np.empty(6)
    hessian = np.empty(6)
    for k in range(x.shape[1]):
        factor = weights[k] * scale[k]
        outer[0], outer[1], outer[2] = x[0, k] ** 2, x[1, k] ** 2, x[2, k] ** 2
        outer[3], outer[4], outer[5] = x[0, k] * x[1, k], x[0, k] * x[2, k], x[1, k] * x[2, k]
        hessian[0], hessian[1] = sums[4, k], sums[5, k]
        hessian[2] = sums[0, k] - sums[4, k] - sums[5, k]  # |y| = 1
        hessian[3], hessian[4], hessian[5] = sums[6, k], sums[7, k], sums[8, k]
        for p in range(6):
            for q in range(6):
                curvature[p, q] += factor * outer[p] * hessian[q]


GIVEN = (given(3), given(1), given(4), given(4), given(1), types.boolean)
RESULTS = (array(3), array(2), array(3), array(2), array(5), array(5))


def pair_sums(positions, weights, logits, values, head_weights, *rest: object) -> None:
    """As `_sums_of_blocks` for all blocks, a few of each thread at a time.

    Raises
    ------
    Unfinished
        If the one who listens wants it.
    """
    paths, _, count = positions.shape
    blocks = paths * -(-count // BLOCK)
    pairs = BLOCK * count * head_weights.size
    several = thread_count() * max(1, AT_ONCE // max(1, pairs))
    for first in range(0, blocks, several):
        listen()
        last = min(blocks, first + several)
        _sums_of_blocks(first, last, positions, weights, logits, values, head_weights, *rest)


@parallel(
    types.void(types.int64, types.int64, *GIVEN, *RESULTS),
    fastmath={"contract", "reassoc", "nsz"},
)
def _sums_of_blocks(
    first,
    last,
    positions,
    weights,
    logits,
    values,
    head_weights,
    softmax,
    attention,
    interaction,
    gradient,
    inverse,
    slopes,
    curvature,
):
    """Head averages at the tokens of several independent paths, for some blocks of rows.

    Parameters
    ----------
    first, last : numbers of the blocks, counted through all paths, the last left out.
    positions : (P, 3, n) tokens.
    weights : (n,) weights of sum 1.
    logits, values : (P, H, 3, 3) heads of each path.
    head_weights : (H,)
    softmax : divide the attention by L.
    attention : (P, 3, n) gets Σ_h w_h V_h ∇log L (or V_h ∇L), not projected.
    interaction, inverse : (P, n) get Σ_h w_h L and Σ_h w_h / L.
    gradient : (P, 3, n) gets Σ_h w_h D_h ∇L, not projected.
    slopes : (P, blocks, H, 3, 3) gets Σ_i w_i x_i ∇Lᵀ for each block of rows.
    curvature : (P, blocks, H, 6, 6) gets Σ_i w_i (x xᵀ) ∇∇L, or of size 0 if not wanted.
    """
    _prefer_wide_vectors()
    paths, _, count = positions.shape
    heads = head_weights.size
    blocks = (count + BLOCK - 1) // BLOCK
    second = curvature.size > 0
    moments = np.empty((paths, 4, count))
    for p in range(paths):
        for j in range(count):
            moments[p, 0, j] = weights[j]
            for a in range(3):
                moments[p, 1 + a, j] = weights[j] * positions[p, a, j]
    for task in numba.prange(first, last):
        p = task // blocks
        block = task % blocks
        low = block * BLOCK
        high = min(count, low + BLOCK)
        size = high - low
        y = positions[p]
        x = positions[p, :, low:high].copy()
        own = weights[low:high]
        z = np.empty((4, BLOCK))
        sums = np.empty((9, BLOCK))
        scale = np.empty(BLOCK)
        mean = np.zeros((3, BLOCK))
        slope = np.zeros((3, BLOCK))
        plain = np.zeros(BLOCK)
        reciprocal = np.zeros(BLOCK)
        for h in range(heads):
            _arguments(x, logits[p, h], z)
            sums[:] = 0.0
            if second:
                _sum_block_second(z, y, moments[p], sums)
            else:
                _sum_block(z, y, moments[p], sums)
            share = head_weights[h]
            for k in range(BLOCK):
                scale[k] = np.exp(z[3, k] / LOG2_E)
            for k in range(BLOCK):
                full = scale[k]
                divisor = share / sums[0, k] if softmax else share * full
                plain[k] += share * full * sums[0, k]
                reciprocal[k] += share / (full * sums[0, k])
                for a in range(3):
                    v = values[p, h, a]
                    d = logits[p, h, a]
                    mean[a, k] += divisor * (
                        v[0] * sums[1, k] + v[1] * sums[2, k] + v[2] * sums[3, k]
                    )
                    slope[a, k] += (share * full) * (
                        d[0] * sums[1, k] + d[1] * sums[2, k] + d[2] * sums[3, k]
                    )
            slopes[p, block, h] = 0.0
            _add_slopes(x, own, sums, scale, slopes[p, block, h])
            if second:
                curvature[p, block, h] = 0.0
                _add_curvature(x, own, sums, scale, curvature[p, block, h])
        for k in range(size):
            interaction[p, low + k] = plain[k]
            inverse[p, low + k] = reciprocal[k]
            for a in range(3):
                attention[p, a, low + k] = mean[a, k]
                gradient[p, a, low + k] = slope[a, k]
