"""Figures of a run, made from its dataset alone.

No matplotlib backend is chosen: a figure belongs to no window and is saved with ``savefig``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.integrate import cumulative_simpson, cumulative_trapezoid

from .errors import InputError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["plot"]

_COLOURS = {
    "blue": "#0072b2",
    "orange": "#d55e00",
    "green": "#009e73",
    "purple": "#aa4499",
    "grey": "#555555",
}
_SNAPSHOTS = 4
# Beyond this ratio of the highest to the lowest peak a linear scale would show late times black.
_LINEAR_RATIO = 5.0
_DECADES = 3.0
_UNIFORM = 0.25 / np.pi


def plot(dataset: xr.Dataset, times: Sequence[float] | None = None) -> Figure:
    """Draw density snapshots, slope and dissipation, and the energy budget of a run.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run with `density(time, lat, lon)`. Of the other variables those that are there are
        drawn.
    times : sequence of float, optional
        Times of the snapshots, each replaced by the nearest output time; at most four, by default
        evenly spaced.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the dataset has no `density(time, lat, lon)`, or more than four times are given.

    Examples
    --------
    >>> import xarray as xr
    >>> run = xr.Dataset(
    ...     {"density": (("time", "lat", "lon"), np.full((1, 3, 4), 0.25 / np.pi))},
    ...     {"time": [0.0], "lat": [-60.0, 0.0, 60.0], "lon": [0.0, 90.0, 180.0, 270.0]},
    ... )
    >>> figure = plot(run)
    >>> figure.axes[0].get_title()
    't = 0'
    """
    if "density" not in dataset or set(dataset["density"].dims) != {"time", "lat", "lon"}:
        raise InputError(
            f"The dataset has the variables {', '.join(map(str, dataset.data_vars)) or 'none'}, "
            "but a plot needs density(time, lat, lon); give a run that was written on such a grid."
        )
    snapshots = _snapshot_indices(dataset["time"].values, times)
    figure = Figure(figsize=(11.0, 6.6), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(1.0, 2.1))
    _draw_snapshots(figure, grid[0], dataset, snapshots)
    lower = grid[1].subgridspec(1, 2)
    if _series(dataset, "energy") is None:
        _draw_entropy(figure.add_subplot(lower[0]), dataset)
        _draw_mass(figure.add_subplot(lower[1]), dataset)
    else:
        _draw_rates(figure.add_subplot(lower[0]), dataset)
        budget = lower[1].subgridspec(2, 1, height_ratios=(3.0, 1.0), hspace=0.05)
        upper_axes = figure.add_subplot(budget[0])
        _draw_budget(upper_axes, dataset)
        _draw_residual(figure.add_subplot(budget[1], sharex=upper_axes), dataset)
    figure.suptitle(_heading(dataset), fontsize=11)
    return figure


def _heading(dataset: xr.Dataset) -> str:
    title = str(dataset.attrs.get("title", ""))
    status = str(dataset.attrs.get("status", "completed"))
    if status == "completed":
        return title
    last = f"stopped at t = {float(dataset['time'].values[-1]):.4g}: {status}"
    return f"{title} ({last})" if title else last


def _snapshot_indices(output_times: np.ndarray, times: Sequence[float] | None) -> list[int]:
    if times is None:
        times = np.linspace(output_times[0], output_times[-1], _SNAPSHOTS).tolist()
    if len(times) > _SNAPSHOTS:
        raise InputError(
            f"{len(times)} snapshot times were given; at most {_SNAPSHOTS} fit, give fewer."
        )
    return sorted({int(np.argmin(np.abs(output_times - time))) for time in times})


def _draw_snapshots(figure: Figure, cell: Any, dataset: xr.Dataset, indices: list[int]) -> None:
    density = dataset["density"].transpose("time", "lat", "lon").isel(time=indices).values
    norm, extend = _colour_scale(density)
    # Fewer snapshots keep the size that four would have.
    row = cell.subgridspec(1, _SNAPSHOTS)
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


def _series(dataset: xr.Dataset, name: str) -> np.ndarray | None:
    """Values of a variable over time, or None if it is absent or nowhere finite."""
    if name not in dataset or dataset[name].dims != ("time",):
        return None
    values = np.asarray(dataset[name].values, dtype=float)
    return values if np.isfinite(values).any() else None


def _style(axes: Axes, dataset: xr.Dataset) -> None:
    time = dataset["time"].values
    if time[-1] > time[0]:
        axes.set_xlim(float(time[0]), float(time[-1]))
    axes.grid(True, alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _line(axes: Axes, time: np.ndarray, values: np.ndarray, **style: Any) -> None:
    marker = "." if np.isfinite(values).sum() <= 20 else ""
    axes.plot(time, values, marker=marker, linewidth=1.5, **style)


def _draw_rates(axes: Axes, dataset: xr.Dataset) -> None:
    time = dataset["time"].values
    slope = _series(dataset, "slope_squared")
    dissipation = _series(dataset, "dissipation")
    sizes = np.abs(np.concatenate([v for v in (slope, dissipation, np.zeros(1)) if v is not None]))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0.0)]
    logarithmic = sizes.size > 0 and sizes.max() > 10.0 * sizes.min()
    if slope is not None:
        shown = np.where(slope > 0.0, slope, np.nan) if logarithmic else slope
        _line(axes, time, shown, color=_COLOURS["blue"], label="slope $G^2$")
    if dissipation is not None:
        _draw_dissipation(axes, time, dissipation, logarithmic)
    axes.set(xlabel="time", ylabel="rate", yscale="log" if logarithmic else "linear")
    axes.set_title("Slope and dissipation rate", fontsize=10)
    if slope is not None or dissipation is not None:
        axes.legend(frameon=False, fontsize=9)
    _style(axes, dataset)


def _draw_dissipation(
    axes: Axes, time: np.ndarray, dissipation: np.ndarray, logarithmic: bool
) -> None:
    style = {"color": _COLOURS["orange"]}
    if not logarithmic:
        _line(axes, time, dissipation, linestyle="--", label="dissipation $R$", **style)
        return
    positive = np.where(dissipation > 0.0, dissipation, np.nan)
    negative = np.where(dissipation < 0.0, -dissipation, np.nan)
    if np.isfinite(positive).any():
        _line(axes, time, positive, linestyle="--", label="dissipation $R$", **style)
    if np.isfinite(negative).any():
        _line(axes, time, negative, linestyle=":", label="$-R$, where $R<0$", **style)


def _draw_entropy(axes: Axes, dataset: xr.Dataset) -> None:
    """Without attention there is neither slope nor energy."""
    entropy = _series(dataset, "entropy")
    if entropy is not None:
        _line(axes, dataset["time"].values, entropy - entropy[0], color=_COLOURS["blue"])
    axes.set(xlabel="time", ylabel="$S(t)-S(0)$")
    axes.set_title("Change of the entropy", fontsize=10)
    _style(axes, dataset)


def _draw_mass(axes: Axes, dataset: xr.Dataset) -> None:
    mass = _series(dataset, "mass")
    if mass is not None:
        _line(axes, dataset["time"].values, mass - 1.0, color=_COLOURS["grey"])
    axes.set(xlabel="time", ylabel="mass $-$ 1")
    axes.set_title("Error of the mass", fontsize=10)
    _style(axes, dataset)


def _draw_budget(axes: Axes, dataset: xr.Dataset) -> None:
    time = dataset["time"].values
    energy = _series(dataset, "energy")
    axes.set_title("Energy budget", fontsize=10)
    axes.tick_params(labelbottom=False)
    if energy is not None:
        terms = {
            r"$\int \partial_t E\,\mathrm{d}t$": (_heads_part(dataset), "green", "-"),
            r"$s \int R\,\mathrm{d}t$": (_transport_part(dataset), "orange", "--"),
            "diffusion": (_series(dataset, "energy_diffusion_integral"), "purple", "-."),
            "drift": (_series(dataset, "energy_drift_integral"), "grey", ":"),
        }
        _line(axes, time, energy - energy[0], color=_COLOURS["blue"], label="$E(t)-E(0)$")
        for label, (values, colour, linestyle) in terms.items():
            if values is not None and np.nan_to_num(values).any():
                _line(axes, time, values, color=_COLOURS[colour], linestyle=linestyle, label=label)
        axes.set_ylabel("energy")
        axes.legend(frameon=False, fontsize=9)
    _style(axes, dataset)


def _heads_part(dataset: xr.Dataset) -> np.ndarray | None:
    recorded = _series(dataset, "energy_heads_integral")
    rate = _series(dataset, "energy_rate_heads")
    if recorded is not None or rate is None:
        return recorded
    return _running_integral(dataset["time"].values, rate)


def _transport_part(dataset: xr.Dataset) -> np.ndarray | None:
    recorded = _series(dataset, "energy_transport_integral")
    rate = _series(dataset, "dissipation")
    if recorded is not None or rate is None:
        return recorded
    experiment = json.loads(dataset.attrs.get("experiment", "{}"))
    flow = experiment.get("problem", {}).get("flow", "ascent")
    sign = -1.0 if flow == "descent" else 1.0
    return sign * _running_integral(dataset["time"].values, rate)


def _running_integral(time: np.ndarray, rate: np.ndarray) -> np.ndarray:
    rule = cumulative_simpson if time.size > 2 else cumulative_trapezoid
    return rule(rate, x=time, initial=0.0) if time.size > 1 else np.zeros(1)


def _draw_residual(axes: Axes, dataset: xr.Dataset) -> None:
    time = dataset["time"].values
    residual = _series(dataset, "energy_residual")
    axes.set_xlabel("time")
    axes.set_ylabel("|residual|")
    if residual is not None:
        size = np.abs(residual)
        largest = float(np.nanmax(size))
        if largest > 0.0:
            _line(axes, time, np.where(size > 0.0, size, np.nan), color=_COLOURS["grey"])
            axes.set_yscale("log")
            # Whole decades, so that the small axis has labels whatever the values are.
            smallest = max(float(size[size > 0.0].min()), 1e-6 * largest)
            decades = np.floor(np.log10(smallest)), np.floor(np.log10(largest)) + 1.0
            axes.set_ylim(10.0 ** decades[0], 10.0 ** decades[1])
            axes.yaxis.set_major_locator(LogLocator(numticks=4))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.text(
            0.98,
            0.08,
            f"max {largest:.1e}",
            transform=axes.transAxes,
            ha="right",
            fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
        )
    _style(axes, dataset)
