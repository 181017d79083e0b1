"""Snapshots of a run on the sphere, as a row of Mollweide maps: densities and tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec

from ..errors import InputError
from ..output.reading import mesh_of
from ..sphere import from_degrees
from .shown import some_of
from .values_on_sphere import at_nearest, close_sphere, on_grid, reach_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MOST_SNAPSHOTS", "colour_scale", "draw_snapshots", "has_snapshots"]

MOST_SNAPSHOTS = 4
# Beyond this ratio of the highest to the lowest peak a linear scale would show late times black.
_LINEAR_RATIO = 5.0
_DECADES = 3.0
_UNIFORM = 0.25 / np.pi
_MOST_MARKERS = 4000  # of more tokens so many are drawn


def has_snapshots(dataset: xr.Dataset) -> bool:
    """Whether the dataset holds a density or tokens over time."""
    return _holds_density(dataset) or _holds_tokens(dataset)


def _holds_density(dataset: xr.Dataset) -> bool:
    if "density" not in dataset:
        return False
    return set(dataset["density"].dims) in ({"time", "lat", "lon"}, {"time", "face"})


def _holds_tokens(dataset: xr.Dataset) -> bool:
    return "position" in dataset and {"time", "token"} <= set(dataset["position"].dims)


def draw_snapshots(
    figure: Figure,
    cell: SubplotSpec,
    rows: Sequence[tuple[xr.Dataset, list[int]]],
    slots: int = MOST_SNAPSHOTS,
) -> list[list[Axes]]:
    """The density at some output times, or the tokens where there is none, in one colour scale.

    `density(time, lat, lon)` or `density(time, face)`, or `position(time, token, axis)`, of an
    ensemble that of the first path; nodes of characteristics are coloured by their density.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    cell : matplotlib.gridspec.SubplotSpec
        Where to draw.
    rows : sequence of (dataset, indices)
        One row of maps for each, at these output times.
    slots : int
        Maps that fit into a row; fewer keep the size that so many would have.

    Returns
    -------
    list of lists of Axes
        Those of each row.
    """
    places = cell.subgridspec(len(rows), slots)
    every: list[list[Axes]] = []
    maps: list[tuple[Axes, np.ndarray, np.ndarray, np.ndarray]] = []
    clouds: list[tuple[Axes, np.ndarray, np.ndarray]] = []
    for row, (dataset, indices) in enumerate(rows):
        axes_of_row = [
            figure.add_subplot(places[row, k], projection="mollweide") for k in range(len(indices))
        ]
        every.append(axes_of_row)
        drawn = None
        if _holds_density(dataset):
            drawn = _density_maps(dataset.isel(time=indices))
        for k, (index, axes) in enumerate(zip(indices, axes_of_row)):
            if drawn is not None and np.isfinite(drawn[2][k]).any():
                maps.append((axes, drawn[0], drawn[1], drawn[2][k]))
            elif _holds_tokens(dataset):
                points, at_nodes = _tokens(dataset.isel(time=index))
                if at_nodes is None:
                    _draw_tokens(axes, points, color="#0072b2")
                else:
                    clouds.append((axes, points, at_nodes))
            axes.set_xticklabels([])
            axes.set_yticklabels([])
            axes.set_title(f"t = {float(dataset['time'].values[index]):.4g}", fontsize=10)
    if not maps and not clouds:
        return every
    densities = [values for *_, values in maps] + [values for *_, values in clouds]
    norm, extend = colour_scale(densities)
    for axes, longitude, latitude, values in maps:
        _draw_map(axes, longitude, latitude, values, norm)
    for axes, points, at_nodes in clouds:
        _draw_tokens(axes, points, c=at_nodes, cmap="viridis", norm=norm)
    figure.colorbar(
        ScalarMappable(norm, "viridis"),
        ax=[axes for axes_of_row in every for axes in axes_of_row],
        location="right",
        shrink=0.75,
        aspect=15 * len(rows),
        pad=0.02,
        extend=extend,
        label="density [sr$^{-1}$]",
    )
    return every


def _density_maps(dataset: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Longitudes, latitudes in degrees and values (time, lat, lon); cells by the nearest centre.

    A region is taken to a grid of the whole sphere, with NaN where it has no values.
    """
    density = dataset["density"]
    lat, lon = np.linspace(89.5, -89.5, 180), np.arange(0.5, 360.0)
    places = from_degrees(*np.meshgrid(lon, lat))
    if "face" in density.dims:
        centres = face_centres(dataset)
        reach = reach_of(face_areas(dataset))
        values = density.transpose("time", "face").values
        return lon, lat, np.stack([at_nearest(centres, one, reach)(places) for one in values])
    values = density.transpose("time", "lat", "lon").values
    own_lon, own_lat = dataset["lon"].values, dataset["lat"].values
    found = [on_grid(own_lon, own_lat, one) for one in values]
    if found[0][1] and np.isfinite(values).all():
        return own_lon, own_lat, values
    return lon, lat, np.stack([at(places) for at, _ in found])


def face_centres(dataset: xr.Dataset) -> np.ndarray:
    """Unit vectors to the centres of the cells; without coordinates those of a whole mesh.

    Raises
    ------
    InputError
        If they are not known.
    """
    if "face_lon" in dataset and "face_lat" in dataset:
        return from_degrees(dataset["face_lon"].values, dataset["face_lat"].values)
    mesh = mesh_of(dataset)
    if mesh is None:
        raise InputError(
            "run must hold 'face_lon' and 'face_lat' with a part of a mesh, got cells without "
            "places; select the part with them"
        )
    return mesh.centres


def face_areas(dataset: xr.Dataset) -> np.ndarray:
    """Areas of the cells in sr; without them those of a mesh of the whole sphere."""
    if "face_area" in dataset:
        return np.asarray(dataset["face_area"].values)
    return np.full(dataset.sizes["face"], 4.0 * np.pi / dataset.sizes["face"])


def _draw_map(
    axes: Axes, longitude: np.ndarray, latitude: np.ndarray, values: np.ndarray, norm: Normalize
) -> None:
    shading: Literal["gouraud", "flat"] = "gouraud"
    if np.isfinite(values).all():
        longitude, latitude, values = close_sphere(longitude, latitude, values)
    else:  # what is missing is left out only of flat squares
        shading, values = "flat", np.roll(values, 180, axis=1)
        longitude = np.linspace(-np.pi, np.pi, 361)
        latitude = np.linspace(0.5 * np.pi, -0.5 * np.pi, 181)
    axes.pcolormesh(
        longitude,
        latitude,
        np.ma.masked_invalid(np.clip(values, norm.vmin, norm.vmax)),
        norm=norm,
        cmap="viridis",
        shading=shading,
        rasterized=True,
    )
    axes.grid(True, color="white", alpha=0.25, linewidth=0.5)


def _tokens(now: xr.Dataset) -> tuple[np.ndarray, np.ndarray | None]:
    """Some of the tokens (n, 3), and the density (n,) at each if they carry it."""
    if "path" in now["position"].dims:
        now = now.isel(path=0)
    now = now.isel(token=some_of(now.sizes["token"], _MOST_MARKERS))
    points = now["position"].transpose("token", "axis").values
    if "log_density" in now and np.isfinite(now["log_density"]).all():
        values = np.exp(now["log_density"].values)
        order = np.argsort(values)  # the peaks on top
        return points[order], values[order]
    return points, None


def _draw_tokens(axes: Axes, points: np.ndarray, **colour: Any) -> None:
    x, y, z = points.T
    axes.scatter(
        np.arctan2(y, x),
        np.arcsin(np.clip(z, -1.0, 1.0)),
        s=float(np.clip(4000.0 / x.size, 1.0, 9.0)),
        alpha=0.6,
        linewidths=0,
        rasterized=True,
        **colour,
    )
    axes.grid(True, color="0.8", linewidth=0.5)


def colour_scale(densities: Iterable[np.ndarray]) -> tuple[Normalize, str]:
    """One scale for all of them, logarithmic where their peaks differ much."""
    finite = [values[np.isfinite(values)] for values in densities]
    finite = [values for values in finite if values.size] or [np.array([0.0, 1.0])]
    peaks = [float(values.max()) for values in finite]
    top, bottom = max(peaks), min(float(values.min()) for values in finite)
    if top > 0.0 and top > _LINEAR_RATIO * min(peaks):
        # However high the peaks, a density of the order of the uniform one stays visible.
        floor = min(top * 10.0**-_DECADES, 0.1 * _UNIFORM)
        return LogNorm(floor, top), "min" if bottom < floor else "neither"
    if top - bottom <= 1e-6 * abs(top):  # a uniform density
        return Normalize(0.0, 2.0 * top if top > 0.0 else 1.0), "neither"
    # Zero is the natural foot, but not for a small modulation, and not above real undershoots.
    low = bottom if bottom > 0.25 * top or bottom < -0.01 * top else 0.0
    return Normalize(low, top), "neither"
