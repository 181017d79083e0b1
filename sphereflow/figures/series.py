"""Quantities of a run over time: slope and dissipation, and the energy budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.integrate import cumulative_simpson, cumulative_trapezoid

from ..errors import InputError
from ..output.reading import section_of
from .shown import ShownFigure, letter

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "COLOURS",
    "TIME_LABEL",
    "budget_figure",
    "draw_budget",
    "draw_entropy",
    "draw_mass",
    "draw_rates",
    "draw_residual",
    "line",
    "series",
    "style",
]

COLOURS = {
    "blue": "#0072b2",
    "orange": "#d55e00",
    "green": "#009e73",
    "purple": "#aa4499",
    "grey": "#555555",
}
TIME_LABEL = "time $t$ [1]"
_ROUND_OFF = 1e-6  # of the largest rate
_SIGNED_DECADES = 4  # on each side of the linear part


def budget_figure(run: xr.Dataset) -> Figure:
    """E(t) − E(0) and its integrals, slope and dissipation, and what is left with R and with G².

    Raises
    ------
    InputError
        If the run holds no energy.
    """
    if series(run, "energy") is None:
        raise InputError(
            "run must hold energy(time) for the kind 'budget', got a run without it; draw a run "
            "with attention"
        )
    figure = ShownFigure(figsize=(11.0, 5.2), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.3, 1.0))
    budget = figure.add_subplot(grid[:, 0])
    draw_budget(budget, run)
    budget.tick_params(labelbottom=True)
    budget.set_xlabel(TIME_LABEL)
    _draw_slope_part(budget, run)
    draw_rates(rates := figure.add_subplot(grid[0, 1]), run)
    _draw_both_residuals(residuals := figure.add_subplot(grid[1, 1]), run)
    for number, axes in enumerate((budget, rates, residuals)):
        letter(axes, number)
    return figure


def _draw_slope_part(axes: Axes, run: xr.Dataset) -> None:
    """The integral that would take the place of that of R, were R equal to G²."""
    values = series(run, "energy_slope_integral")
    if values is not None and np.nan_to_num(values).any():
        label = r"$s \int G^2\,\mathrm{d}t$"
        line(axes, run["time"].values, values, color="#cc9900", linestyle=":", label=label)
        axes.legend(frameon=False, fontsize=9)


def _draw_both_residuals(axes: Axes, run: xr.Dataset) -> None:
    time = run["time"].values
    drawn = False
    for name, label, colour in (
        ("energy_residual", "with $R$", "orange"),
        ("energy_residual_slope", "with $G^2$", "blue"),
    ):
        values = series(run, name)
        if values is None:
            continue
        size = np.abs(values)
        shown = np.where(size > 0.0, size, np.nan)
        largest = f"{label}, {_largest(run, float(np.nanmax(size)))}"
        line(axes, time, shown, color=COLOURS[colour], label=largest)
        drawn |= bool(np.isfinite(shown).any())
    axes.set(xlabel=TIME_LABEL, ylabel="|residual| [1]", yscale="log" if drawn else "linear")
    axes.set_title("Energy less its integrals", fontsize=10)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(framealpha=0.8, edgecolor="none", fontsize=9)
    style(axes, run)


def series(dataset: xr.Dataset, name: str) -> np.ndarray | None:
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


def style(axes: Axes, dataset: xr.Dataset) -> None:
    """Limits, grid and spines of an axes over time."""
    time = dataset["time"].values
    if time[-1] > time[0]:
        axes.set_xlim(float(time[0]), float(time[-1]))
    axes.grid(True, alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def line(axes: Axes, time: np.ndarray, values: np.ndarray, **style: Any) -> None:
    """A line, with markers if it has few points."""
    marker = "." if np.isfinite(values).sum() <= 20 else ""
    axes.plot(time, values, marker=marker, linewidth=1.5, **style)


def draw_rates(axes: Axes, dataset: xr.Dataset) -> None:
    """G² and R over time."""
    time = dataset["time"].values
    slope = series(dataset, "slope_squared")
    dissipation = series(dataset, "dissipation")
    known = np.concatenate([v for v in (slope, dissipation, np.zeros(1)) if v is not None])
    known = known[np.isfinite(known) & (known != 0.0)]
    sizes = np.abs(known)
    wide = sizes.size > 0 and sizes.max() > 10.0 * sizes.min()
    # What is below zero by rounding alone needs no axis of two signs.
    signed = wide and bool(known.min() < -_ROUND_OFF * sizes.max())
    for values, label, colour, dashes in (
        (slope, "slope $G^2$", "blue", "-"),
        (dissipation, "dissipation $R$", "orange", "--"),
    ):
        if values is not None:
            shown = np.where(values > 0.0, values, np.nan) if wide and not signed else values
            line(axes, time, shown, color=COLOURS[colour], linestyle=dashes, label=label)
    axes.set(xlabel=TIME_LABEL, ylabel="rate [1]")
    if signed:
        linear = max(float(sizes.min()), _ROUND_OFF * float(sizes.max()))
        linear = max(linear, 10.0**-_SIGNED_DECADES * float(sizes.max()))
        axes.set_yscale("symlog", linthresh=10.0 ** np.floor(np.log10(linear)))
        axes.axhline(0.0, color="black", linewidth=0.6)
    elif wide:
        axes.set_yscale("log")
    axes.set_title("Slope and dissipation rate", fontsize=10)
    if slope is not None or dissipation is not None:
        axes.legend(frameon=False, fontsize=9)
    style(axes, dataset)


def draw_entropy(axes: Axes, dataset: xr.Dataset) -> None:
    """Without attention there is neither slope nor energy."""
    entropy = series(dataset, "entropy")
    if entropy is not None:
        line(axes, dataset["time"].values, entropy - entropy[0], color=COLOURS["blue"])
    axes.set(xlabel=TIME_LABEL, ylabel="$S(t)-S(0)$ [1]")
    axes.set_title("Change of the entropy", fontsize=10)
    style(axes, dataset)


def draw_mass(axes: Axes, dataset: xr.Dataset) -> None:
    """Mass minus 1."""
    mass = series(dataset, "mass")
    if mass is not None:
        line(axes, dataset["time"].values, mass - 1.0, color=COLOURS["grey"])
    axes.set(xlabel=TIME_LABEL, ylabel="mass $-$ 1 [1]")
    axes.set_title("Error of the mass", fontsize=10)
    style(axes, dataset)


def draw_budget(axes: Axes, dataset: xr.Dataset) -> None:
    """The change of E and the time integrals that make it."""
    time = dataset["time"].values
    energy = series(dataset, "energy")
    axes.set_title("Energy budget", fontsize=10)
    axes.tick_params(labelbottom=False)
    if energy is not None:
        terms = {
            r"$\int \partial_t E\,\mathrm{d}t$": (_heads_part(dataset), "green", "-"),
            r"$s \int R\,\mathrm{d}t$": (_transport_part(dataset), "orange", "--"),
            "diffusion": (series(dataset, "energy_diffusion_integral"), "purple", "-."),
            "drift": (series(dataset, "energy_drift_integral"), "grey", ":"),
            "martingale": (series(dataset, "energy_martingale"), "purple", ":"),
        }
        line(axes, time, energy - energy[0], color=COLOURS["blue"], label="$E(t)-E(0)$")
        for label, (values, colour, linestyle) in terms.items():
            if values is not None and np.nan_to_num(values).any():
                line(axes, time, values, color=COLOURS[colour], linestyle=linestyle, label=label)
        axes.set_ylabel("energy [1]")
        axes.legend(frameon=False, fontsize=9)
    style(axes, dataset)


def _heads_part(dataset: xr.Dataset) -> np.ndarray | None:
    recorded = series(dataset, "energy_heads_integral")
    by_noise = series(dataset, "energy_ito_integral")
    if recorded is not None and by_noise is not None:
        whole: np.ndarray = np.add(recorded, by_noise)
        return whole
    rate = series(dataset, "energy_rate_heads")
    if recorded is not None or rate is None:
        return recorded
    return _running_integral(dataset["time"].values, rate)


def _transport_part(dataset: xr.Dataset) -> np.ndarray | None:
    recorded = series(dataset, "energy_transport_integral")
    rate = series(dataset, "dissipation")
    if recorded is not None or rate is None:
        return recorded
    descends = section_of(dataset.attrs, "problem").get("flow") == "descent"
    sign = -1.0 if descends else 1.0
    return sign * _running_integral(dataset["time"].values, rate)


def _running_integral(time: np.ndarray, rate: np.ndarray) -> np.ndarray:
    rule = cumulative_simpson if time.size > 2 else cumulative_trapezoid
    return rule(rate, x=time, initial=0.0) if time.size > 1 else np.zeros(1)


def _largest(run: xr.Dataset, residual: float) -> str:
    """The largest residual, and its share of the largest change of E."""
    energy = series(run, "energy")
    change = 0.0 if energy is None else float(np.nanmax(np.abs(energy - energy[0])))
    if not 0.0 < change < np.inf:
        return f"max {residual:.1e}"
    return f"max {residual:.1e}, {residual / change:.1e} of max $|E(t)-E(0)|$"


def draw_residual(axes: Axes, dataset: xr.Dataset) -> None:
    """What the integrals leave of the change of E."""
    time = dataset["time"].values
    residual = series(dataset, "energy_residual")
    axes.set_xlabel(TIME_LABEL)
    axes.set_ylabel("|residual| [1]")
    if residual is not None:
        size = np.abs(residual)
        largest = float(np.nanmax(size))
        if largest > 0.0:
            line(axes, time, np.where(size > 0.0, size, np.nan), color=COLOURS["grey"])
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
            _largest(dataset, largest),
            transform=axes.transAxes,
            ha="right",
            fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
        )
    style(axes, dataset)
