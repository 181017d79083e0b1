"""Means of a density over the cells of a mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..sphere import VoronoiMesh, cell_integrals
from .base import Density

__all__ = ["cell_means"]

Real = NDArray[np.float64]

WIDE = 1.5  # cells, over which a density must change to be taken at a few points of each


def cell_means(density: Density, mesh: VoronoiMesh) -> Real:
    """Means over the cells of a mesh, scaled to unit mass.

    Parts of the density that change within a cell are integrated over pieces of the cells.

    Raises
    ------
    InputError
        If the density is negative, not finite, or missed by the mesh.
    """
    known = density.means_on(mesh)
    if known is not None:
        return known
    parts = [(part, part.density.extent_on(mesh)) for part in density.parts()]
    narrow = [part for part in parts if part[1].scale < WIDE * mesh.spacing]
    if not narrow:
        means = mesh.averages(lambda points: np.exp(density.log_density(points)))
        return means / _positive(float(mesh.areas @ means), mesh)
    masses = np.zeros(mesh.cells)
    for part, extent in parts:

        def value(points: Real, one: Density = part.density) -> Real:
            return np.exp(one.log_density(points))

        if extent.scale < WIDE * mesh.spacing:
            own = cell_integrals(mesh, value, extent)
        else:
            own = mesh.areas * mesh.averages(value)
        masses += part.share / _positive(float(own.sum()), mesh) * own
    return masses / mesh.areas


def _positive(mass: float, mesh: VoronoiMesh) -> float:
    if not (np.isfinite(mass) and mass > 0):
        raise InputError(
            f"a density must have a positive finite integral, got {mass} on a mesh of "
            f"{mesh.cells} cells; widen it or raise level"
        )
    return mass
