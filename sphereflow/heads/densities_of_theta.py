"""Densities of the head parameters as arrays with coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .grid_solver import GridSolver

if TYPE_CHECKING:
    import xarray

__all__ = ["as_array", "dataset_of", "normal_density", "outer_density"]

Real = NDArray[np.float64]

REACH = 8.0  # standard deviations of a normal law that are shown


class DensityOfTheta(Protocol):
    """A law of θ over time with a density on cells."""

    def density(self, t: float) -> xarray.DataArray: ...
    def moments(self, t: float) -> tuple[Real, Real]: ...
    def boundary(self, t: float) -> float | None: ...


def as_array(axes: Sequence[Real], values: Real) -> xarray.DataArray:
    """Density with the coordinate `theta` or `theta_1`, …"""
    import xarray

    names = ["theta"] if len(axes) == 1 else [f"theta_{k + 1}" for k in range(len(axes))]
    return xarray.DataArray(
        values,
        dims=names,
        coords=dict(zip(names, axes, strict=True)),
        name="head_density",
        attrs={"long_name": "density of the head parameters", "units": "1"},
    )


def normal_density(
    parts: Sequence[tuple[Real, Real]], shares: Real, cells: int
) -> xarray.DataArray:
    """A mixture of normal laws, given by means and covariances, at the centres of some cells.

    Raises
    ------
    InputError
        If one of them has no density.
    """
    widths = np.stack([np.sqrt(np.maximum(np.diag(c), 0.0)) for _, c in parts])
    means = np.stack([m for m, _ in parts])
    if min(float(np.linalg.eigvalsh(c).min()) for _, c in parts) <= 1e-14 * float(
        (widths**2).max() + (means**2).max()
    ):
        raise InputError(
            "the law of the heads must have a spread in every parameter for a density, got none "
            "at this time; use moments(t)"
        )
    low, high = (means - REACH * widths).min(axis=0), (means + REACH * widths).max(axis=0)
    step = (high - low) / cells
    axes = [a + h * (np.arange(cells) + 0.5) for a, h in zip(low, step, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    total = np.zeros(points.shape[:-1])
    for share, (mean, covariance) in zip(shares, parts, strict=True):
        apart = points - mean
        exponent = np.einsum("...a,ab,...b->...", apart, np.linalg.inv(covariance), apart)
        total += share * np.exp(-0.5 * exponent) / np.sqrt(np.linalg.det(2 * np.pi * covariance))
    return as_array(axes, total)


def outer_density(solvers: Sequence[GridSolver], cells: int) -> xarray.DataArray:
    """The product of laws of one parameter, on at most so many cells along each axis."""
    axes: list[Real] = []
    values = np.ones(())
    for solver in solvers:
        centres, masses = solver.grid.axes[0], solver.masses
        together = -(-len(centres) // cells)
        missing = -len(centres) % together
        width = float(solver.grid.widths[0])
        start = float(centres[0]) + 0.5 * (together - 1) * width
        sums = np.pad(masses, (0, missing)).reshape(-1, together).sum(axis=1)
        axes.append(start + together * width * np.arange(len(sums), dtype=np.float64))
        values = np.multiply.outer(values, sums / (together * width))
    return as_array(axes, values)


def on_common_cells(densities: Sequence[xarray.DataArray], times: Real) -> xarray.DataArray:
    """Densities of some times side by side.

    Cells are those of all times if they are part of one lattice, else the widest box in as many
    cells as the finest of the densities has, with the mass that falls into each.
    """
    import xarray

    names = densities[0].dims
    axes = []
    one_lattice = True
    for name in names:
        centres = [density[name].values for density in densities]
        widths = np.array([axis[1] - axis[0] for axis in centres])
        low = min(axis[0] - 0.5 * h for axis, h in zip(centres, widths, strict=True))
        high = max(axis[-1] + 0.5 * h for axis, h in zip(centres, widths, strict=True))
        offsets = np.array([(axis[0] - 0.5 * widths[0] - low) / widths[0] for axis in centres])
        same = np.allclose(widths, widths[0], rtol=1e-9) and np.allclose(
            offsets, np.round(offsets), atol=1e-6
        )
        one_lattice &= bool(same)
        count = max(len(axis) for axis in centres)
        axes.append(low + (high - low) / count * np.arange(count + 1))
    time = xarray.IndexVariable("time", times)
    if one_lattice:
        return xarray.concat(list(densities), time, join="outer", fill_value=0.0)
    found = []
    for density in densities:
        values = density.values
        for axis, (name, edges) in enumerate(zip(names, axes, strict=True)):
            values = _averaged(values, axis, density[name].values, edges)
        found.append(as_array([0.5 * (e[1:] + e[:-1]) for e in axes], values))
    return xarray.concat(found, time)


def _averaged(values: Real, axis: int, centres: Real, edges: Real) -> Real:
    """Means over new cells of a density that is constant on cells about the centres."""
    width = centres[1] - centres[0]
    old = centres[0] + width * (np.arange(len(centres) + 1) - 0.5)

    def along(line: Real) -> Real:
        total = np.concatenate([[0.0], np.cumsum(width * line)])
        means: Real = np.diff(np.interp(edges, old, total)) / np.diff(edges)
        return means

    return np.apply_along_axis(along, axis, values)


def dataset_of(law: DensityOfTheta, times: Real) -> xarray.Dataset:
    """`head_density`, mean, covariance and boundary density of a law at some times."""
    import xarray

    joined = on_common_cells([law.density(float(t)) for t in times], times)
    moments = [law.moments(float(t)) for t in times]
    return xarray.Dataset(
        {
            "head_density": joined,
            "head_mean": (("time", "parameter"), np.stack([m for m, _ in moments])),
            "head_covariance": (
                ("time", "parameter", "parameter2"),
                np.stack([c for _, c in moments]),
            ),
            "boundary_density": (
                "time",
                [law.boundary(float(t)) or 0.0 for t in times],
                {"long_name": "largest density at the walls of the box over the maximum"},
            ),
        }
    )
