"""Figures of a run, made from its dataset alone.

No matplotlib backend is chosen: a figure belongs to no window and is saved with ``savefig``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.integrate import cumulative_simpson, cumulative_trapezoid

from .errors import InputError
from .snapshots import MOST_SNAPSHOTS, draw_snapshots, has_snapshots

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


def plot(dataset: xr.Dataset, times: Sequence[float] | None = None) -> Figure:
    """Draw snapshots of the density or the tokens, slope and dissipation, and the energy budget.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run with `density` on a grid or mesh or `position(time, token, axis)`, or statistics of
        an ensemble. Of the other variables those that are there are drawn, for an ensemble their
        means over the paths (of the residual the root mean square).
    times : sequence of float, optional
        Times of the snapshots, each replaced by the nearest output time; at most four, by default
        evenly spaced.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the dataset is no run, or more than four times are given.

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
    _check(dataset)
    draw = has_snapshots(dataset)
    snapshots = _snapshot_indices(dataset["time"].values, times)
    figure = Figure(figsize=(11.0, 6.6 if draw else 4.8), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(1.0 if draw else 1e-3, 2.1))
    if draw:
        draw_snapshots(figure, grid[0], dataset, snapshots)
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


def _check(dataset: xr.Dataset) -> None:
    if not has_snapshots(dataset) and not ("time" in dataset.dims and "spectrum_mean" in dataset):
        raise InputError(
            f"The dataset has the variables {', '.join(map(str, dataset.data_vars)) or 'none'}, "
            "but a plot needs density(time, lat, lon), density(time, face) or position(time, "
            "token, axis); give a run that sphereflow wrote."
        )


def _heading(dataset: xr.Dataset) -> str:
    title = str(dataset.attrs.get("title", ""))
    if dataset.sizes.get("path", 1) > 1:
        title = f"{title}; {dataset.sizes['path']} paths"
    status = str(dataset.attrs.get("status", "completed"))
    if status == "completed":
        return title
    last = f"stopped at t = {float(dataset['time'].values[-1]):.4g}: {status}"
    return f"{title} ({last})" if title else last


def _snapshot_indices(output_times: np.ndarray, times: Sequence[float] | None) -> list[int]:
    if times is None:
        times = np.linspace(output_times[0], output_times[-1], MOST_SNAPSHOTS).tolist()
    if len(times) > MOST_SNAPSHOTS:
        raise InputError(
            f"{len(times)} snapshot times were given; at most {MOST_SNAPSHOTS} fit, give fewer."
        )
    return sorted({int(np.argmin(np.abs(output_times - time))) for time in times})


def _series(dataset: xr.Dataset, name: str) -> np.ndarray | None:
    """Values over time, for an ensemble their mean; None if absent or nowhere finite."""
    if name not in dataset or set(dataset[name].dims) - {"path"} != {"time"}:
        return None
    variable = dataset[name]
    if "path" in variable.dims and name.startswith("energy_residual"):
        variable = (variable**2).mean("path") ** 0.5
    elif "path" in variable.dims:
        variable = variable.mean("path")
    values = np.asarray(variable.values, dtype=float)
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
            "martingale": (_series(dataset, "energy_martingale"), "purple", ":"),
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
    by_noise = _series(dataset, "energy_ito_integral")
    if recorded is not None and by_noise is not None:
        return recorded + by_noise
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
