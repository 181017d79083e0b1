"""The figure of a comparison: both runs on the sphere, their distances and their energies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..diagnostics.comparison import NOISE, sampling_error
from .shown import ShownFigure
from .snapshots import draw_snapshots, has_snapshots

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["plot_comparison"]

_SNAPSHOTS = 3
_ROUND_OFF = 1e-15
_DISTANCES = {
    "sobolev": ("negative Sobolev", "#0072b2"),
    "w1": ("Wasserstein $W_1$ [rad]", "#d55e00"),
    "w2": ("Wasserstein $W_2$ [rad]", "#009e73"),
    "total_variation": ("total variation", "#aa4499"),
}


def plot_comparison(report: xr.Dataset, a: xr.Dataset, b: xr.Dataset) -> Figure:
    """Snapshots of both runs, distances over time, and energies.

    Parameters
    ----------
    report : xarray.Dataset
        Of `sphereflow.compare`.
    a, b : xarray.Dataset
        The runs.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 2.0))
    >>> run = sf.solve(problem, t_end=0.2, scheme=sf.Spectral(lmax=31), save_every=0.1)
    >>> figure = plot_comparison(sf.compare(run, run, transport=False), run, run)
    >>> figure.axes[-2].get_ylabel()
    'distance'
    """
    shown = [(name, run) for name, run in (("a", a), ("b", b)) if has_snapshots(run)]
    height = 3.6 + 2.0 * len(shown)
    figure = ShownFigure(figsize=(11.0, height), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=[max(len(shown), 1e-3), 1.8])
    times = report["time"].values
    wanted = np.linspace(times[0], times[-1], _SNAPSHOTS)
    rows = []
    for _, run in shown:
        own = run["time"].values
        rows.append((run, sorted({int(np.abs(own - time).argmin()) for time in wanted})))
    if shown:
        maps = draw_snapshots(figure, grid[0], rows, _SNAPSHOTS)
        for (name, _), axes in zip(shown, maps):
            axes[0].set_ylabel(name, rotation=0, labelpad=12, fontsize=13)
    lower = grid[-1].subgridspec(1, 2)
    _draw_distances(figure.add_subplot(lower[0]), report)
    _draw_energies(figure.add_subplot(lower[1]), a, b)
    return figure


def _over_paths(variable: xr.DataArray) -> np.ndarray:
    """Root mean square over the paths."""
    if "path" in variable.dims:
        variable = (variable**2).mean("path") ** 0.5
    return np.asarray(variable.values, dtype=float)


def _draw_distances(axes: Axes, report: xr.Dataset) -> None:
    time = report["time"].values
    seen = False
    for name, (label, colour) in _DISTANCES.items():
        values = _over_paths(report[name])
        if np.isfinite(values).any():
            # A logarithmic axis has no place for 0, nor for differences of rounding.
            shown = np.where(values > _ROUND_OFF, values, np.nan)
            axes.plot(time, shown, marker=".", color=colour, label=label)
            seen |= bool(np.isfinite(shown).any())
    expected = _over_paths(report["sobolev"].copy(data=sampling_error(report)))
    if expected.any():
        label = f"negative Sobolev, sampling alone (×{NOISE:g}, ÷{NOISE:g})"
        axes.plot(time, expected, "k--", linewidth=1, label=label)
        axes.fill_between(time, expected / NOISE, NOISE * expected, color="0.85", zorder=0)
    if not seen:
        text = f"no distance above {_ROUND_OFF:g}"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center")
    axes.set(xlabel="time", ylabel="distance", yscale="log" if seen else "linear")
    if report.attrs["interpolated"]:
        axes.set_title("b interpolated to the times of a", fontsize=9, loc="right")
    _finish(axes)


def _draw_energies(axes: Axes, a: xr.Dataset, b: xr.Dataset) -> None:
    for name, run, colour, style in (("a", a, "#0072b2", "-"), ("b", b, "#d55e00", "--")):
        if "energy" not in run:
            continue
        energy = run["energy"]
        if "path" in energy.dims:
            mean, spread = energy.mean("path"), energy.std("path")
            axes.fill_between(run["time"], mean - spread, mean + spread, color=colour, alpha=0.2)
            energy = mean
        axes.plot(run["time"], energy, style, color=colour, label=f"E of {name}")
    axes.set(xlabel="time", ylabel="energy")
    _finish(axes)


def _finish(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    axes.grid(True, alpha=0.3, linewidth=0.5)
