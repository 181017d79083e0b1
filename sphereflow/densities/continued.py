"""Densities as a run left them, from which another scheme goes on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import finite_array, held, shown
from ..errors import InputError, ResolutionError
from ..output.reading import mesh_of
from ..sphere import (
    Extent,
    PointTransform,
    SphereGrid,
    VoronoiMesh,
    complex_to_real,
    degrees_and_orders,
    lmax_of,
    real_to_complex,
    resize,
    voronoi_mesh,
)
from .base import Density, NodeRule
from .projection import FINEST_PROJECTION, UNDERSHOOT, is_resolved
from .series import SpectralDensity
from .tokens import EmpiricalDensity

if TYPE_CHECKING:
    import xarray

__all__ = [
    "CarriedCells",
    "CarriedNodes",
    "CarriedSpectrum",
    "density_at_end",
]

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

CANDIDATES = 16  # degrees at which a series of moments may end
MOST_DEGREES = 1.3  # of them, over the root of the number of nodes
ROUND_OFF = 1e-15  # of the largest value: less than this of a truncated series is nothing


class _Series(SpectralDensity):
    """A density by the series in which a run left it, undershoots included."""

    floor = ROUND_OFF


class CarriedSpectrum(_Series):
    """The harmonic coefficients of a spectral run, undershoots included."""

    def __init__(self, coefficients: Real) -> None:
        self._spectrum = real_to_complex(coefficients)

    def resolved_spectrum(self) -> Complex:
        """Complex coefficients as they were."""
        return self._spectrum


class CarriedCells(_Series):
    """The cell means of a finite-volume run."""

    def __init__(self, level: int, means: Real) -> None:
        self.level = level
        self.means = means

    @cached_property
    def _spectrum(self) -> Complex:
        mesh = voronoi_mesh(self.level)
        return mesh.moments(self.means, max(1, int(0.5 * np.pi / mesh.spacing)))

    def resolved_spectrum(self) -> Complex:
        """Complex coefficients to the degree of two cells for each half wave."""
        return self._spectrum

    def error_on(self, mesh: VoronoiMesh) -> float:
        """Cells of the same level are taken over as they are, all others by the series."""
        return 0.0 if mesh.level == self.level else self.series_error

    @cached_property
    def series_error(self) -> float:
        """Difference of the means of the series from those of the cells, over the largest."""
        mesh = voronoi_mesh(self.level)
        degrees, _ = degrees_and_orders(lmax_of(self._spectrum))
        bend = mesh.synthesis(-degrees * (degrees + 1.0) * self._spectrum)
        means = mesh.synthesis(self._spectrum) + 0.25 * mesh.second_moments * bend
        return float(np.abs(means - self.means).max() / self.means.max())

    def means_on(self, mesh: VoronoiMesh) -> Real | None:
        """The means as they were on the mesh of the same level; None on another."""
        return self.means.copy() if mesh.level == self.level else None

    def nodes(self) -> NodeRule | None:
        """Centres, masses and logarithms of the means of the cells that are not empty.

        None while the harmonic series stands for the cells, as it is then more accurate.
        """
        grid = SphereGrid(lmax_of(self._spectrum))
        if is_resolved(grid.synthesis(self._spectrum)):
            return None
        mesh = voronoi_mesh(self.level)
        mass = mesh.areas * self.means
        kept = self.means > 0
        return NodeRule(mesh.centres[kept], mass[kept] / mass.sum(), np.log(self.means[kept]))


@dataclass(frozen=True, eq=False)
class CarriedNodes(EmpiricalDensity):
    """The nodes of a run along characteristics with the logarithm of the density at each."""

    log_values: Real | None = None

    def nodes(self) -> NodeRule | None:
        """Positions, weights and log-densities."""
        return NodeRule(np.array(self.positions), held(self.weights), np.array(self.log_values))

    @cached_property
    def _best(self) -> tuple[CarriedSpectrum, float]:
        """The series of moments that is nearest to the density at the nodes, and how near.

        Moments are integrated by the nodes up to some degree only, and a series that ends below
        it leaves out what is narrower; the values at the nodes tell where to end it.
        """
        positions = held(self.positions)
        at = PointTransform(positions)
        highest = max(4, min(FINEST_PROJECTION, int(MOST_DEGREES * np.sqrt(len(positions)))))
        moments = at.moments(held(self.weights), highest)
        logs = held(self.log_values)
        values = np.exp(logs - logs.max())
        best, error = None, np.inf
        for degree in np.unique(np.geomspace(4, highest, CANDIDATES).astype(int)):
            series = resize(moments, int(degree)) * np.exp(-logs.max())
            lowest = float(SphereGrid(int(degree)).synthesis(series).min())
            misfit = max(float(np.abs(at.synthesis(series) - values).max()), -lowest)
            if misfit < error:
                best, error = resize(moments, int(degree)), misfit
        if best is None or not error <= UNDERSHOOT:
            raise ResolutionError(
                f"the density that {len(positions)} nodes carry is missed by {error:.1e} of "
                f"its largest value by harmonics to degree {highest}; go on with Characteristics"
            )
        return CarriedSpectrum(complex_to_real(best)), error

    @property
    def _series(self) -> CarriedSpectrum:
        return self._best[0]

    @property
    def series_error(self) -> float:
        """Error of the harmonic series, relative to the largest value."""
        return self._best[1]

    def extent(self) -> Extent:
        """The length that the series resolves."""
        return self._series.extent()

    def log_density(self, points: ArrayLike) -> Real:
        """Logarithm of the density that the moments of the nodes give."""
        return self._series.log_density(points)

    def resolved_spectrum(self) -> Complex:
        """Moments of the nodes to the degree that their number allows."""
        return self._series.resolved_spectrum()


def _is_of_this_time(last: xarray.Dataset) -> bool:
    """Whether the full spectrum begins as the one that was saved at this time."""
    if "spectrum" not in last:
        return False
    full, saved = last["final_spectrum"].values, last["spectrum"].values
    count = min(full.size, saved.size)
    return count > 1 and bool(np.allclose(full[:count], saved[:count], rtol=1e-6, atol=1e-12))


def density_at_end(dataset: xarray.Dataset) -> Density:
    """The density at the last time of a run, in the form in which its scheme carried it.

    Raises
    ------
    InputError
        If the dataset holds no state to go on from.
    """
    last = dataset.isel(time=-1) if "time" in dataset.dims else dataset
    if "path" in last.dims:
        raise InputError(
            f"initial must be a single run, got {last.sizes['path']} paths; select one with "
            "isel(path=0)"
        )
    position = np.full((1, 3), np.nan)
    if "position" in last:
        position = last["position"].transpose("token", "axis").values
    if not np.isnan(position).all():  # else no state was saved then
        weights = last["token_weight"].values if "token_weight" in last else None
        if "log_density" in last and np.isfinite(last["log_density"]).all():
            return CarriedNodes(position, weights, log_values=last["log_density"].values)
        return EmpiricalDensity(position, weights)
    if "final_spectrum" in last:
        saved, wanted = last["final_spectrum"].attrs.get("time"), float(last["time"])
        if saved != wanted and not _is_of_this_time(last):
            known = "" if saved is None else f", at t = {shown(saved)}"
            raise InputError(
                f"initial must end where its run ended{known}, got t = {wanted:g}: the full "
                "spectrum is kept for the end only; stop a run there"
            )
        return CarriedSpectrum(finite_array(last["final_spectrum"].values, "final_spectrum"))
    if "density" in last and "face" in last["density"].dims:
        mesh = mesh_of(last)
        if mesh is None:
            raise InputError(
                f"initial must hold all cells of a mesh in their order, got {last.sizes['face']} "
                "of them or others; pass the dataset that solve returned"
            )
        return CarriedCells(mesh.level, finite_array(last["density"].values, "density"))
    raise InputError(
        f"initial must hold the end of a run, got {sorted(map(str, dataset.data_vars))!r:.200}; "
        "pass a dataset that solve returned"
    )
