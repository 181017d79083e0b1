"""Compiled search of the least d(x, y_j)^p − ψ_j over weighted points, for p = 1 and 2."""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from ..machine.compiled import array, compiled, given

__all__ = ["build", "collect", "least"]

Real = NDArray[np.float64]
Index = NDArray[np.int64]

STACK = 128
WHOLE = types.int64


@compiled(types.void(given(2), WHOLE, array(1, WHOLE)))
def build(points: Real, levels: int, order: Index) -> None:
    """Sort the indices so that node j of level l holds n j / 2^l to n (j + 1) / 2^l of them."""
    n = points.shape[0]
    for index in range(n):
        order[index] = index
    for level in range(levels):
        parts = 1 << level
        for node in range(parts):
            low, high = n * node // parts, n * (node + 1) // parts
            axis, widest = 0, -1.0
            for k in range(3):
                smallest, largest = 2.0, -2.0
                for row in range(low, high):
                    value = points[order[row], k]
                    smallest, largest = min(smallest, value), max(largest, value)
                if largest - smallest > widest:
                    axis, widest = k, largest - smallest
            keys = np.empty(high - low)
            for row in range(low, high):
                keys[row - low] = points[order[row], axis]
            sorting = np.argsort(keys, kind="mergesort")
            kept = order[low:high].copy()
            for row in range(high - low):
                order[low + row] = kept[sorting[row]]


@compiled(forceinline=True)
def _value(
    x: float, y: float, z: float, points: Real, j: int, psi: Real, p: int, most: float
) -> float:
    """d^p − ψ; where it is certainly above `most`, a lower bound of it."""
    dx, dy, dz = x - points[j, 0], y - points[j, 1], z - points[j, 2]
    square = dx * dx + dy * dy + dz * dz
    chord = math.sqrt(square)
    angle = chord * (1.0 + square / 24.0)
    value: float = (angle if p == 1 else angle * angle) - psi[j]
    if value >= most:
        return value
    angle = 2.0 * math.asin(min(1.0, 0.5 * chord))
    value = (angle if p == 1 else angle * angle) - psi[j]
    return value


@compiled(forceinline=True)
def _floor(x: float, y: float, z: float, radius: float, nodes: Real, node: int, p: int) -> float:
    """What no point of a node falls below anywhere in a ball about x."""
    dx, dy, dz = x - nodes[node, 0], y - nodes[node, 1], z - nodes[node, 2]
    chord = max(0.0, math.sqrt(dx * dx + dy * dy + dz * dz) - nodes[node, 3] - radius)
    angle = chord * (1.0 + chord * chord / 24.0)
    value: float = (angle if p == 1 else angle * angle) - nodes[node, 4]
    return value


@compiled(
    types.void(
        given(2), given(1, WHOLE), given(2), given(1), given(2), WHOLE, WHOLE, array(1),
        array(1, WHOLE),
    )
)  # fmt: skip
def least(
    x: Real,
    blocks: Index,
    points: Real,
    psi: Real,
    nodes: Real,
    levels: int,
    p: int,
    values: Real,
    winner: Index,
) -> None:
    """The least value at each x, from a first guess of the point that has it.

    Of a block of neighbouring x all are in one ball, and the leaves are sought once that have
    anything to offer to one of them.
    """
    n = points.shape[0]
    parts = 1 << levels
    stack = np.empty(STACK, np.int64)
    chosen = np.empty(parts, np.int64)
    for block in range(blocks.shape[0] - 1):
        first, last = blocks[block], blocks[block + 1]
        a, b, c = 0.0, 0.0, 0.0
        for row in range(first, last):
            a, b, c = a + x[row, 0], b + x[row, 1], c + x[row, 2]
        a, b, c = a / (last - first), b / (last - first), c / (last - first)
        radius, most = 0.0, -np.inf
        for row in range(first, last):
            dx, dy, dz = x[row, 0] - a, x[row, 1] - b, x[row, 2] - c
            radius = max(radius, dx * dx + dy * dy + dz * dz)
            values[row] = _value(
                x[row, 0], x[row, 1], x[row, 2], points, winner[row], psi, p, np.inf
            )
            most = max(most, values[row])
        radius = math.sqrt(radius) * (1.0 + 1e-12)
        count, top = 0, 1
        stack[0] = 0
        while top > 0:
            top -= 1
            node = stack[top]
            if _floor(a, b, c, radius, nodes, node, p) >= most:
                continue
            if node >= parts - 1:
                chosen[count] = node
                count += 1
            else:
                stack[top], stack[top + 1] = 2 * node + 1, 2 * node + 2
                top += 2
        for row in range(first, last):
            best, best_j = values[row], winner[row]
            a, b, c = x[row, 0], x[row, 1], x[row, 2]
            for k in range(count):
                node = chosen[k]
                if _floor(a, b, c, 0.0, nodes, node, p) >= best:
                    continue
                leaf = node - parts + 1
                for j in range(n * leaf // parts, n * (leaf + 1) // parts):
                    value = _value(a, b, c, points, j, psi, p, best)
                    if value < best:
                        best, best_j = value, j
            values[row], winner[row] = best, best_j


@compiled(
    WHOLE(
        given(2), given(2), given(1), given(2), WHOLE, WHOLE, given(1), array(1, WHOLE),
        array(1, WHOLE), array(1),
    )
)  # fmt: skip
def collect(
    x: Real,
    points: Real,
    psi: Real,
    nodes: Real,
    levels: int,
    p: int,
    limit: Real,
    starts: Index,
    found: Index,
    values: Real,
) -> int:
    """All points whose value at x is below its limit, row by row; −1 if they do not fit."""
    n = points.shape[0]
    leaves = (1 << levels) - 1
    stack = np.empty(STACK, np.int64)
    count = 0
    for row in range(x.shape[0]):
        a, b, c = x[row, 0], x[row, 1], x[row, 2]
        most = limit[row]
        starts[row] = count
        top = 1
        stack[0] = 0
        while top > 0:
            top -= 1
            node = stack[top]
            if _floor(a, b, c, 0.0, nodes, node, p) > most:
                continue
            if node >= leaves:
                leaf = node - leaves
                parts = leaves + 1
                for j in range(n * leaf // parts, n * (leaf + 1) // parts):
                    value = _value(a, b, c, points, j, psi, p, most)
                    if value < most:
                        if count >= found.shape[0]:
                            return -1
                        found[count], values[count] = j, value
                        count += 1
                continue
            stack[top], stack[top + 1] = 2 * node + 1, 2 * node + 2
            top += 2
    starts[x.shape[0]] = count
    return count
