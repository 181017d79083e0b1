"""Snapshots of a run on the sphere, as a row of Mollweide maps: densities and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MOST_SNAPSHOTS", "draw_densities", "draw_tokens"]

MOST_SNAPSHOTS = 4
# Beyond this ratio of the highest to the lowest peak a linear scale would show late times black.
_LINEAR_RATIO = 5.0
_DECADES = 3.0
_UNIFORM = 0.25 / np.pi
_MOST_MARKERS = 4000  # drawn of more tokens; the first ones, which are a sample as good as any


def draw_densities(figure: Figure, cell: Any, dataset: xr.Dataset, indices: list[int]) -> None:
    """`density(time, lat, lon)` at some output times."""
    density = dataset["density"].transpose("time", "lat", "lon").isel(time=indices).values
    norm, extend = _colour_scale(density)
    # Fewer snapshots keep the size that four would have.
    row = cell.subgridspec(1, MOST_SNAPSHOTS)
    all_axes = []
    for column, (index, values) in enumerate(zip(indices, density)):
        axes = figure.add_subplot(row[column], projection="mollweide")
        longitude, latitude, closed = _close_sphere(
            dataset["lon"].values, dataset["lat"].values, values
        )
        axes.pcolormesh(
            longitude,
            latitude,
            np.clip(closed, norm.vmin, norm.vmax),
            norm=norm,
            cmap="viridis",
            shading="gouraud",
            rasterized=True,
        )
        axes.grid(True, color="white", alpha=0.25, linewidth=0.5)
        axes.set_xticklabels([])
        axes.set_yticklabels([])
        axes.set_title(f"t = {float(dataset['time'].values[index]):.4g}", fontsize=10)
        all_axes.append(axes)
    figure.colorbar(
        ScalarMappable(norm, "viridis"),
        ax=all_axes,
        location="right",
        shrink=0.75,
        aspect=15,
        pad=0.02,
        extend=extend,
        label="density [sr$^{-1}$]",
    )


def draw_tokens(figure: Figure, cell: Any, dataset: xr.Dataset, indices: list[int]) -> None:
    """`position(time, token, axis)` at some output times; of an ensemble the first path."""
    position = dataset["position"]
    if "path" in position.dims:
        position = position.isel(path=0)
    position = position.transpose("time", "token", "axis").isel(time=indices)
    values = position.isel(token=slice(_MOST_MARKERS)).values
    row = cell.subgridspec(1, MOST_SNAPSHOTS)
    size = float(np.clip(2000.0 / values.shape[1], 0.6, 9.0))
    for column, (index, (x, y, z)) in enumerate(zip(indices, values.transpose(0, 2, 1))):
        axes = figure.add_subplot(row[column], projection="mollweide")
        axes.scatter(
            np.arctan2(y, x),
            np.arcsin(np.clip(z, -1.0, 1.0)),
            s=size,
            color="#0072b2",
            alpha=0.6,
            linewidths=0,
            rasterized=True,
        )
        axes.grid(True, color="0.8", linewidth=0.5)
        axes.set_xticklabels([])
        axes.set_yticklabels([])
        axes.set_title(f"t = {float(dataset['time'].values[index]):.4g}", fontsize=10)


def _colour_scale(density: np.ndarray) -> tuple[Normalize, str]:
    """One scale for all snapshots, logarithmic where their peaks differ much."""
    finite = density[np.isfinite(density)]
    top = float(finite.max()) if finite.size else 1.0
    bottom = float(finite.min()) if finite.size else 0.0
    peaks = np.nanmax(density, axis=(1, 2)) if finite.size else np.ones(1)
    if top > 0.0 and top > _LINEAR_RATIO * float(peaks.min()):
        # However high the peaks, a density of the order of the uniform one stays visible.
        floor = min(top * 10.0**-_DECADES, 0.1 * _UNIFORM)
        return LogNorm(floor, top), "min" if bottom < floor else "neither"
    if top - bottom <= 1e-6 * abs(top):  # a uniform density
        return Normalize(0.0, 2.0 * top if top > 0.0 else 1.0), "neither"
    # Zero is the natural foot, but not for a small modulation, and not above real undershoots.
    low = bottom if bottom > 0.25 * top or bottom < -0.01 * top else 0.0
    return Normalize(low, top), "neither"


def _close_sphere(
    lon: np.ndarray, lat: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Extend grid values to longitudes ±π and latitudes ±π/2, with increasing coordinates.

    Parameters
    ----------
    lon, lat : ndarray, shapes (nlon,) and (nlat,)
        Degrees; longitudes in any range.
    values : ndarray, shape (nlat, nlon)

    Returns
    -------
    longitude, latitude, values : ndarray, shapes (nlon + 2,), (nlat + 2,), (nlat + 2, nlon + 2)
        Radians.
    """
    longitude = np.radians((np.asarray(lon, dtype=float) + 180.0) % 360.0 - 180.0)
    order = np.argsort(longitude)
    longitude, values = longitude[order], values[:, order]
    by_latitude = np.argsort(lat)
    latitude, values = np.radians(np.asarray(lat, dtype=float)[by_latitude]), values[by_latitude]

    # The seam lies between the last and the first longitude; linear interpolation across it.
    gap = longitude[0] + 2.0 * np.pi - longitude[-1]
    share = (np.pi - longitude[-1]) / gap
    seam = (1.0 - share) * values[:, -1:] + share * values[:, :1]
    values = np.concatenate([seam, values, seam], axis=1)
    longitude = np.concatenate([[-np.pi], longitude, [np.pi]])

    south = np.full((1, values.shape[1]), values[0].mean())
    north = np.full((1, values.shape[1]), values[-1].mean())
    values = np.concatenate([south, values, north])
    latitude = np.concatenate([[-np.pi / 2], latitude, [np.pi / 2]])
    return longitude, latitude, values
