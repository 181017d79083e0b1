"""Quadratures of an initial density: the nodes that the method of characteristics carries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ..sphere import SphereGrid, power_by_degree, tangent_basis
from .base import Cap, Density, NodeRule

__all__ = ["node_rule"]

Real = NDArray[np.float64]

RINGS_OF_DECAY = 24  # of a cap, over which the density falls by e^{−40}
NEGLIGIBLE = 1e-18  # share of the largest weight below which a node is left out


def node_rule(density: Density, degree: int) -> NodeRule:
    """Quadrature of ∫ f dμ_0, exact to round-off for polynomials f of this degree.

    A Gauss grid whose weights are multiplied by the density; a part of the density that lies in
    a cap gets rings and meridians about its centre instead, as many as the grid would have.
    Points that a user brings are taken as they are.
    """
    nodes = density.nodes()
    if nodes is not None:
        return nodes
    wide, caps = density.wide_and_caps()
    parts = [_on_grid(wide, degree)] if wide else []
    parts += [_on_cap(cap, degree) for cap in caps]
    points = np.concatenate([points for points, _ in parts])
    log_weights = np.concatenate([logs for _, logs in parts])
    kept = log_weights > log_weights.max() + np.log(NEGLIGIBLE)
    points, log_weights = points[kept], log_weights[kept]
    weights = np.exp(log_weights - logsumexp(log_weights))
    log_mass = np.log(density.mass)
    return NodeRule(points, weights / weights.sum(), density.log_density(points) - log_mass)


def _on_grid(parts: list[tuple[float, Density]], degree: int) -> tuple[Real, Real]:
    """Points and log-weights of Σ share·density on a Gauss grid that resolves it."""
    own = 0
    for _, part in parts:
        amplitude = np.sqrt(power_by_degree(part.resolved_spectrum()))
        own = max(own, int(np.flatnonzero(amplitude > 1e-13 * amplitude.max()).max()))
    rings = (own + degree) // 2 + 1
    rings = max(rings + rings % 2, degree + 1)
    grid = SphereGrid(rings - 1, nlat=rings, engine="ducc0")
    points = grid.points.reshape(-1, 3)
    area = np.broadcast_to(grid.weights, grid.shape).ravel()
    values = np.stack([np.log(share) + part.log_density(points) for share, part in parts])
    return points, logsumexp(values, axis=0) + np.log(area)


def _on_cap(cap: Cap, degree: int) -> tuple[Real, Real]:
    """Points and log-weights of one cap on rings and meridians about its centre."""
    nodes, weights = np.polynomial.legendre.leggauss(degree // 2 + RINGS_OF_DECAY)
    half = 0.5 * (1.0 - np.cos(cap.angle))
    height = half * (nodes + 1.0)  # Gauss nodes in the height, which measures the area
    count = degree + 1
    longitude = 2 * np.pi * (np.arange(count) + 0.5) / count
    sine = np.sqrt(height * (2.0 - height))
    first, second = tangent_basis(cap.centre[None])[0]
    ring = np.cos(longitude)[:, None] * first + np.sin(longitude)[:, None] * second
    points = (1.0 - height)[:, None, None] * cap.centre + sine[:, None, None] * ring
    points = points.reshape(-1, 3)
    area = np.repeat(half * weights * 2 * np.pi / count, count)
    return points, np.log(cap.share * area) + cap.log_density(points)
