"""The loops of the finite-volume scheme over the cells of one mesh, with their arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..sphere import VoronoiMesh
from .reconstruction import edge_coefficients, stencils

__all__ = ["CellLoops", "speed_of_current"]

Real = NDArray[np.float64]


class CellLoops:
    """The compiled loops with their arrays for one mesh.

    Parameters
    ----------
    mesh : VoronoiMesh
    degree : int
    limiter : {"positive", "monotone"}
        As in FiniteVolume.
    diffusion : float
    threads : int
    """

    def __init__(
        self, mesh: VoronoiMesh, degree: int, limiter: str, diffusion: float, threads: int
    ) -> None:
        self.areas = mesh.areas
        self.threads = threads
        self.monotone = limiter == "monotone"
        self.neighbours = mesh.neighbours.astype(np.int32)
        self.cell_edges = mesh.cell_edges.astype(np.int32)
        beyond = mesh.cell_edges[mesh.neighbours] == mesh.cell_edges[..., None]
        self.opposite = (6 * mesh.neighbours + beyond.argmax(axis=2)).astype(np.int32)
        exchange = diffusion * mesh.edge_lengths / mesh.edge_distances
        self.exchange = exchange if diffusion > 0.0 else np.empty(0)
        self.stencils = stencils(mesh, degree).astype(np.int32)
        self.coefficients = edge_coefficients(mesh, degree)
        self.values = np.empty((mesh.cells, 6))
        self.leaving = np.empty(mesh.cells)
        self.flow = np.empty(len(mesh.edges))

    def rates(self) -> tuple[float, float]:
        """Inverse of the longest positive forward step, by transport alone and altogether."""
        from .upwind import largest_rate

        mesh = (self.areas, self.neighbours, self.cell_edges)
        altogether = largest_rate(self.flow, *mesh, self.exchange)
        if not self.exchange.size:
            return altogether, altogether
        return largest_rate(self.flow, *mesh, np.empty(0)), altogether

    def forward(self, mu: Real, step: float, share: float, base: Real) -> tuple[Real, float]:
        """(1 − share)·base + share·(μ + step·dμ/dt), and the largest share that leaves a cell."""
        from ..machine.compiled import numba_threads
        from .upwind import edge_values, forward_step

        new = np.empty_like(mu)
        with numba_threads(self.threads):
            edge_values(
                mu,
                self.neighbours,
                self.cell_edges,
                self.stencils,
                self.coefficients,
                self.flow,
                self.exchange,
                step,
                self.areas,
                self.monotone,
                self.values,
            )
            forward_step(
                mu,
                self.values,
                self.flow,
                step,
                self.areas,
                self.cell_edges,
                self.neighbours,
                self.opposite,
                self.exchange,
                share,
                base,
                new,
                self.leaving,
            )
        return new, float(self.leaving.max())


def speed_of_current(mesh: VoronoiMesh, mu: Real, flow: Real, diffusion: float) -> float:
    """√∫|v − ε∇log μ|² dμ of cell means from the flow through the edges."""
    first, second = mu[mesh.edges].T
    mean = np.maximum(0.5 * (first + second), 1e-300)
    flux = flow * mean / mesh.edge_lengths
    flux -= diffusion * (second - first) / mesh.edge_distances
    areas = mesh.edge_lengths * mesh.edge_distances
    return float(np.sqrt(np.sum(areas * flux**2 / mean)))
