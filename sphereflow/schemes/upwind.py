"""Compiled loops of the finite-volume scheme over the cells of a Voronoi mesh."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

__all__ = ["edge_values", "forward_step", "largest_rate"]


@njit(cache=True, parallel=True)
def edge_values(mu, neighbours, coefficients, monotone, values):
    """Limited values at the midpoints of the sides of each cell, shape (cells, 6).

    They lie in [0, 2μ_i], with `monotone` between the smallest and the largest mean of the cell
    and its neighbours as well.
    """
    for i in prange(mu.size):
        own = mu[i]
        d0 = mu[neighbours[i, 0]] - own
        d1 = mu[neighbours[i, 1]] - own
        d2 = mu[neighbours[i, 2]] - own
        d3 = mu[neighbours[i, 3]] - own
        d4 = mu[neighbours[i, 4]] - own
        d5 = mu[neighbours[i, 5]] - own
        highest, lowest = own, own
        if monotone:
            highest = max(0.0, d0, d1, d2, d3, d4, d5)
            lowest = -min(0.0, d0, d1, d2, d3, d4, d5)
            highest, lowest = min(highest, own), min(lowest, own)
        up, down = 0.0, 0.0
        for k in range(6):
            b = coefficients[i, k]
            change = b[0] * d0 + b[1] * d1 + b[2] * d2 + b[3] * d3 + b[4] * d4 + b[5] * d5
            values[i, k] = change
            up = max(up, change)
            down = max(down, -change)
        share = 1.0
        if up > highest:
            share = highest / up
        if share * down > lowest:
            share = lowest / down
        for k in range(6):
            # Round-off of the product must not leave the bounds either.
            values[i, k] = min(max(own + share * values[i, k], 0.0), 2.0 * own)


@njit(cache=True, parallel=True)
def forward_step(
    mu, values, speed, step, areas, signs, cell_edges, neighbours, opposite, conductance, share, base
):
    """(1 − share)·base + share·(μ − step·div F) into `base`, with upwind and diffusive fluxes.

    `signs` holds ± the length of each side, + where its normal points outward; `opposite` the
    place in `values` of the same side seen from beyond.
    """
    flat = values.ravel()
    for i in prange(mu.size):
        total = 0.0
        own = mu[i]
        for k in range(6):
            flow = signs[i, k] * speed[cell_edges[i, k]]
            if flow > 0.0:
                total += flow * values[i, k]
            else:
                total += flow * flat[opposite[i, k]]
            total -= conductance[i, k] * (mu[neighbours[i, k]] - own)
        base[i] = (1.0 - share) * base[i] + share * (own - step / areas[i] * total)


@njit(cache=True)
def largest_rate(speed, areas, signs, cell_edges, conductance):
    """Largest 2·outflow + diffusive exchange per area: its inverse keeps forward steps positive."""
    largest = 0.0
    for i in range(areas.size):
        total = 0.0
        for k in range(6):
            total += 2.0 * max(signs[i, k] * speed[cell_edges[i, k]], 0.0) + conductance[i, k]
        largest = max(largest, total / areas[i])
    return largest
