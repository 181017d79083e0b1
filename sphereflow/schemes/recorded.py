"""What the records of several schemes share: the spectrum, and fields on a Gauss grid."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from ..attention import FieldSample, GridField
from ..sphere import SphereGrid, real_degrees_and_orders
from .protocol import Coordinates, Information

__all__ = [
    "GridOutput",
    "information_of_field",
    "over_paths",
    "spectrum_coordinates",
    "without_single",
]

logger = logging.getLogger(__name__)

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

COARSE = 1e-3  # error of the mass on the output grid that is worth a warning


def spectrum_coordinates(degree: int) -> Coordinates:
    """Degrees and orders of a saved spectrum."""
    degrees, orders = real_degrees_and_orders(degree)
    return {"degree": ("harmonic", degrees), "order": ("harmonic", orders)}


def information_of_field(field: GridField) -> Information:
    """What a run tells of its field."""
    now = field.now
    return {
        "field_evaluations": now.evaluations,
        "field_degree": now.degree,
        "direct_fraction": now.direct_fraction,
    }


def over_paths(record: dict[str, Real]) -> dict[str, Real]:
    """Means and standard deviations over the paths, the first axis."""
    means = {f"{name}_mean": value.mean(axis=0) for name, value in record.items()}
    return means | {f"{name}_std": value.std(axis=0) for name, value in record.items()}


def without_single(record: dict[str, Real], paths: int) -> dict[str, Real]:
    """A record without the axis of the paths where there is one of them only."""
    return {name: value[0] for name, value in record.items()} if paths == 1 else record


class GridOutput:
    """Harmonic series as values on the Gauss grid of a dataset.

    Parameters
    ----------
    lmax : int
        Degree of the grid; series of other degrees are evaluated on it too.
    engine : str
    """

    def __init__(self, lmax: int, engine: str) -> None:
        self.grid = SphereGrid(lmax, engine=engine)
        self._points = self.grid.at(self.grid.points.reshape(-1, 3))

    def coordinates(self) -> Coordinates:
        """Latitudes, longitudes and areas of the cells."""
        grid = self.grid
        return {
            "lat": ("lat", grid.latitude),
            "lon": ("lon", grid.longitude),
            "cell_area": (("lat", "lon"), np.broadcast_to(grid.weights, grid.shape)),
        }

    def values(self, coefficients: Complex) -> Real:
        """Values of a series, shape (nlat, nlon)."""
        if coefficients.size <= self.grid.size:
            return self.grid.synthesis(self.grid.resized(coefficients))
        return self._points.synthesis(coefficients).reshape(self.grid.shape)

    def field(self, sample: FieldSample) -> dict[str, Real]:
        """Effective mobility and velocity of a field."""
        vector = self._points.vector_synthesis(sample.spheroidal, sample.toroidal)
        east, north = self.grid.from_cartesian(vector.reshape(*self.grid.shape, 3))
        return {
            "effective_mobility": 1.0 / self.values(sample.inverse_mobility),
            "velocity_eastward": east,
            "velocity_northward": north,
        }

    def lacks(self, density: Real, mass: float, t: float) -> bool:
        """Whether a density has become too narrow for the grid, which is then announced."""
        error = self.grid.integrate(density) - mass
        if not abs(error) > COARSE:
            return False
        logger.warning(
            "at t = %.6g the mass of the density on the output grid is off by %.1e, though not "
            "that of the run; a larger output_lmax makes the grid finer",
            t,
            error,
        )
        return True
