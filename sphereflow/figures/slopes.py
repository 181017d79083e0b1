"""The slope G² over time, and its late mean against the number of heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import InputError
from ..heads import law_class_of
from ..output.reading import section_of
from .run_labels import differences
from .series import TIME_LABEL, draw_rates, line, series, style
from .shown import ShownFigure, letter

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["head_count", "late_slopes", "slope_figure"]


def head_count(run: xr.Dataset) -> int | None:
    """The number H of heads of a run; None for a law of infinitely many, or if unknown."""
    heads = section_of(run.attrs, "heads")
    law = law_class_of(heads)
    if law is not None and law.infinitely_many:
        return None
    if "head" in run.sizes:
        return int(run.sizes["head"])
    for key in ("count", "logits", "initial"):
        value = heads.get(key)
        if isinstance(value, int):
            return value
        if isinstance(value, list):
            # One matrix stands for one head; head paths in time have their heads second.
            return len(value) if _depth(value) == 3 else 1
    return None


def _depth(value: object) -> int:
    """How deeply lists are nested."""
    return 1 + _depth(value[0]) if isinstance(value, list) and value else 0


def late_slopes(run: xr.Dataset) -> np.ndarray:
    """Means of G² over the second half of a run, one for each path, shape (P,)."""
    times = run["time"].values
    late = run["slope_squared"].sel(time=slice(0.5 * (times[0] + times[-1]), None))
    if late.sizes["time"] < 2:
        mean = late.mean("time")
    else:
        span = float(late["time"][-1] - late["time"][0])
        mean = late.integrate("time") / span
    return np.atleast_1d(mean.values)


def slope_figure(runs: Sequence[xr.Dataset]) -> Figure:
    """G² of one run with R, or of several with its late means against H.

    Raises
    ------
    InputError
        If a run holds no G².
    """
    for number, run in enumerate(runs):
        if series(run, "slope_squared") is None:
            raise InputError(
                f"run must hold slope_squared(time) for the kind 'slope', got run {number} "
                "without it; draw runs with attention"
            )
    if len(runs) == 1:
        figure = ShownFigure(figsize=(6.4, 4.2), layout="constrained")
        draw_rates(figure.add_subplot(), runs[0])
        return figure
    figure = ShownFigure(figsize=(11.0, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_over_time(left, runs)
    _draw_against_heads(right, runs)
    letter(left, 0)
    letter(right, 1)
    return figure


def _names(runs: Sequence[xr.Dataset]) -> list[str]:
    """The numbers of heads, or by what else the experiments differ where those are alike."""
    counts = [head_count(run) for run in runs]
    by_heads = ["law of heads" if count is None else f"$H = {count}$" for count in counts]
    return by_heads if len(set(by_heads)) == len(runs) else differences(runs)


def _colour(place: float) -> tuple[float, float, float, float]:
    from matplotlib import colormaps

    return colormaps["viridis"](0.9 * place)


def _draw_over_time(axes: Axes, runs: Sequence[xr.Dataset]) -> None:
    positive = False
    names = _names(runs)
    for place, run in enumerate(runs):
        values = series(run, "slope_squared")
        assert values is not None
        shown = np.where(values > 0.0, values, np.nan)
        positive |= bool(np.isfinite(shown).any())
        law = head_count(run) is None
        colour = "black" if law else _colour(place / max(1, len(runs) - 1))
        dashes = "--" if law else "-"
        line(axes, run["time"].values, shown, color=colour, linestyle=dashes, label=names[place])
    axes.set(xlabel=TIME_LABEL, ylabel="slope $G^2$ [1]", yscale="log" if positive else "linear")
    axes.set_title("Slope over time, mean over the paths", fontsize=10)
    axes.legend(frameon=False, fontsize=8, ncols=1 if len(runs) < 7 else 2)
    style(axes, runs[int(np.argmax([run["time"].values[-1] for run in runs]))])


def _draw_against_heads(axes: Axes, runs: Sequence[xr.Dataset]) -> None:
    counted = [(head_count(run), late_slopes(run)) for run in runs]
    finite = sorted(((count, late) for count, late in counted if count is not None), key=_first)
    numbers = np.array([count for count, _ in finite], dtype=float)
    means = np.array([late.mean() for _, late in finite])
    spreads = np.array([late.std() for _, late in finite])
    if finite:
        # A bar that reached zero would have no end on a logarithmic axis.
        lower = np.minimum(spreads, 0.95 * np.abs(means))
        label = "runs; bars: standard deviation over the paths" if spreads.any() else "runs"
        axes.errorbar(
            numbers, means, [lower, spreads], fmt="o", color="#0072b2", capsize=3, label=label
        )
    fitted = means > 0.0
    if np.unique(numbers[fitted]).size > 1:
        power, height = np.polyfit(np.log(numbers[fitted]), np.log(means[fitted]), 1)
        ends = np.array([numbers.min(), numbers.max()])
        label = f"{np.exp(height):.2g} $H^{{{power:.2f}}}$, least squares in logarithms"
        axes.plot(ends, np.exp(height) * ends**power, "--", color="#d55e00", label=label)
    for late in (late for count, late in counted if count is None):
        axes.axhline(late.mean(), color="black", linestyle=":", label="law of heads")
    axes.set(xlabel="number of heads $H$ [1]", ylabel="mean $G^2$, second half [1]")
    if fitted.any():
        axes.set(xscale="log", yscale="log")
        ticks = np.unique(numbers)
        axes.set_xticks(ticks if ticks.size <= 8 else ticks[:: ticks.size // 8 + 1])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
        axes.xaxis.set_minor_formatter(lambda value, _: "")
    axes.set_title("Late slope against the number of heads", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    axes.grid(True, alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _first(pair: tuple[int, np.ndarray]) -> int:
    return pair[0]
