"""Compiled loops of the finite-volume scheme over the cells of a Voronoi mesh.

While a step takes out of a cell less than it holds at the mean density, values at the edges can
be limited such that it takes out less than it holds at these values too, diffusion included: no
forward step makes a mean negative.
"""

from __future__ import annotations

from numba import njit, prange, types

from ..machine.compiled import array, compiled, given, parallel

__all__ = ["edge_values", "forward_step", "largest_rate"]

TINY = 1e-300
ROOM = 1.0 - 1e-12  # of what a cell holds: the rest is for round-off


@njit(inline="always")
def _outward(flow, cell_edges, i, k, j):
    """Flow out of cell i through side k, behind which lies cell j."""
    outward = flow[cell_edges[i, k]]
    return outward if j > i else -outward


CELLS, EDGES, SIDES = given(1), given(1), given(2, types.int32)


@parallel(
    types.void(
        *(CELLS, SIDES, SIDES, given(2, types.int32), given(3), EDGES, given(1)),
        *(types.float64, CELLS, types.boolean, array(2)),
    ),
    fastmath={"contract"},
)
def edge_values(
    mu,
    neighbours,
    cell_edges,
    stencils,
    coefficients,
    flow,
    exchange,
    step,
    areas,
    monotone,
    values,
):
    """Limited mean values over the sides of each cell, shape (cells, 6).

    They are at least 0, and with `monotone` between the smallest and the largest mean of the
    cell and its stencil.
    """
    diffusive = exchange.size > 0
    size = stencils.shape[1]
    for i in prange(mu.size):
        own = mu[i]
        c0 = c1 = c2 = c3 = c4 = c5 = 0.0
        for q in range(size):
            difference = mu[stencils[i, q]] - own
            b = coefficients[i, q]
            c0 += b[0] * difference
            c1 += b[1] * difference
            c2 += b[2] * difference
            c3 += b[3] * difference
            c4 += b[4] * difference
            c5 += b[5] * difference
        values[i, 0], values[i, 1], values[i, 2] = c0, c1, c2
        values[i, 3], values[i, 4], values[i, 5] = c3, c4, c5
        up = max(0.0, c0, c1, c2, c3, c4, c5)
        down = -min(0.0, c0, c1, c2, c3, c4, c5)
        taken, more = 0.0, 0.0
        for k in range(6):
            j = neighbours[i, k]
            if j != i:
                outward = max(_outward(flow, cell_edges, i, k, j), 0.0)
                taken += outward
                more += outward * values[i, k]
                if diffusive:
                    taken += exchange[cell_edges[i, k]]
        share = 1.0
        if down > own:
            share = own / down
        if monotone:
            highest, lowest = 0.0, 0.0
            for q in range(size):
                highest = max(highest, mu[stencils[i, q]] - own)
                lowest = max(lowest, own - mu[stencils[i, q]])
            if share * up > highest:
                share = highest / up
            if share * down > lowest:
                share = lowest / down
        room = own * (ROOM * areas[i] / step - taken)
        if share * more > room:
            share = max(room, 0.0) / more
        for k in range(6):
            values[i, k] = max(own + share * values[i, k], 0.0)


@parallel(
    types.void(
        *(CELLS, given(2), EDGES, types.float64, CELLS, SIDES, SIDES, SIDES, given(1)),
        *(types.float64, CELLS, array(1), array(1)),
    ),
)
def forward_step(
    mu,
    values,
    flow,
    step,
    areas,
    cell_edges,
    neighbours,
    opposite,
    exchange,
    share,
    base,
    new,
    leaving,
):
    """(1 − share)·base + share·(μ − step·div F) into `new`, with upwind and diffusive fluxes.

    `flow` is velocity times length of each edge, from the cell of lower number to the other;
    `exchange` the diffusive conductance of each edge, or empty; `opposite` the place in
    `values` of the same side seen from beyond. `leaving` gets the share of each cell that leaves
    it at the mean density, which must be below 1: an array, as Numba reduces scalars in parallel
    loops by sum and product only on every version of Python.
    """
    flat = values.ravel()
    diffusive = exchange.size > 0
    for i in prange(mu.size):
        total, out = 0.0, 0.0
        own = mu[i]
        for k in range(6):
            j = neighbours[i, k]
            if j == i:
                continue
            outward = _outward(flow, cell_edges, i, k, j)
            if outward > 0.0:
                total += outward * values[i, k]
                out += outward
            else:
                total += outward * flat[opposite[i, k]]
            if diffusive:
                edge = cell_edges[i, k]
                total -= exchange[edge] * (mu[j] - own)
                out += exchange[edge]
        part = step / areas[i]
        leaving[i] = part * out
        value = (1.0 - share) * base[i] + share * (own - part * total)
        # Denormal numbers are slow, and their round-off may be negative.
        new[i] = 0.0 if abs(value) < TINY else value


@compiled(types.float64(EDGES, CELLS, SIDES, SIDES, given(1)))
def largest_rate(flow, areas, neighbours, cell_edges, exchange):
    """Largest outflow plus diffusive exchange per area: the inverse of the longest step."""
    largest = 0.0
    for i in range(areas.size):
        total = 0.0
        for k in range(6):
            j = neighbours[i, k]
            if j == i:
                continue
            total += max(_outward(flow, cell_edges, i, k, j), 0.0)
            if exchange.size > 0:
                total += exchange[cell_edges[i, k]]
        largest = max(largest, total / areas[i])
    return largest
