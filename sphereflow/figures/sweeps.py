"""Figures of a whole sweep: a phase diagram of a number, and families of curves over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..errors import InputError, printable
from ..output.ends import is_good
from ..output.swept import is_sweep
from .colour_limits import AS_SUITS, ColourChoice
from .series import COLOURS, TIME_LABEL, line
from .shown import ShownFigure, letter
from .sweep_axes import SweptAxis, swept_axes
from .sweep_quantities import ORDER_PARAMETER, label_of, numbers, over_time

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SWEEP_KINDS", "family_figure", "phase_figure"]

Real = NDArray[np.float64]

SWEEP_KINDS = ("phase", "family")
_LOG_RATIO = 100.0
_MOST_WRITTEN = 80  # cells with their numbers in them
_MOST_CLASSES = 10  # of whole numbers with a colour each
_MOST_NAMES = 8  # in a legend
_MOST_PANELS = 12
_ROW = 4  # panels
_NONE_COLOUR = "0.85"


def phase_figure(
    sweep: xr.Dataset, quantity: str | None, time: float | None, choice: ColourChoice
) -> Figure:
    """A number of each member against the one or two parameters that were swept.

    Parameters
    ----------
    sweep : xarray.Dataset
    quantity : str or None
        As in `sphereflow.figures.sweep_quantities.numbers`; the order parameter for None.
    time : float or None
        At which the number is taken; the last time of each member for None.
    choice : ColourChoice

    Raises
    ------
    InputError
        If this is no sweep, more than two parameters were swept, or there is no such number.
    """
    axes = _checked(sweep, "phase")
    quantity = ORDER_PARAMETER if quantity is None else quantity
    found = numbers(sweep, quantity, time)
    # Parameters of which one value is left are no axes of the figure.
    found = found.isel({dim: 0 for dim in found.dims if dim != "path" and sweep.sizes[dim] == 1})
    ended = _ended_early(sweep, axes)
    place = {one.dim: one.order for one in axes}
    found, label = found.isel(place), label_of(sweep, quantity)
    spread = found.std("path") if found.sizes.get("path", 1) > 1 else None
    if "path" in found.dims:
        found = found.mean("path")
    figure = ShownFigure(figsize=(6.4, 4.8), layout="constrained")
    drawn = figure.add_subplot()
    dims = [one.dim for one in axes]
    values = found.transpose(*dims).values
    if len(axes) == 1:
        _draw_curve(drawn, axes[0], values, spread, ended)
        _set_scale(drawn, values, choice)
        drawn.set_ylabel(label)
    else:
        # The parameter swept first is below.
        _draw_map(figure, drawn, axes, values.T, ended.T, label, choice)
    drawn.set_title(_heading(sweep, found, time), fontsize=10)
    return figure


def _checked(sweep: xr.Dataset, kind: str) -> list[SweptAxis]:
    if not is_sweep(sweep):
        raise InputError(
            f"run must be the dataset of a sweep for the kind {kind!r}, got a single run; give "
            "what sweep returned, or draw another kind"
        )
    axes = swept_axes(sweep)
    if len(axes) > 2:
        names = ", ".join(one.dim for one in axes)
        raise InputError(
            f"run must be a sweep over one or two parameters for the kind {kind!r}, got one over "
            f"{names}; select a value of the others, as with isel({axes[-1].dim}=0)"
        )
    return axes


def _ended_early(sweep: xr.Dataset, axes: Sequence[SweptAxis]) -> NDArray[np.bool_]:
    """Which members did not come to their end, in the order of the axes."""
    status = sweep["status"].squeeze().transpose(*(one.dim for one in axes))
    good = np.vectorize(is_good, otypes=[bool])(status.values.astype(str))
    return np.asarray(~good[np.ix_(*(one.order for one in axes))])


def _heading(sweep: xr.Dataset, found: xr.DataArray, time: float | None) -> str:
    title = printable(str(sweep.attrs.get("title", ""))).replace("$", r"\$")
    if "time" not in found.coords:
        return title
    if time is not None:
        when = f"at $t = {float(found['time']):.4g}$"
    else:
        ends = np.unique(found["time"].values)
        same = ends.size == 1
        when = f"at the end, $t = {ends[0]:.4g}$" if same else "at the end of each run"
    return f"{title}\n{when}" if title else when


def _draw_curve(
    axes: Axes,
    swept: SweptAxis,
    values: Real,
    spread: xr.DataArray | None,
    ended: NDArray[np.bool_],
) -> None:
    if spread is not None:
        bars = spread.values
        about = "standard deviation over the paths"
        grey = COLOURS["grey"]
        axes.errorbar(swept.values, values, bars, fmt="none", ecolor=grey, capsize=3, label=about)
    joined = "-" if swept.numeric else ""
    axes.plot(swept.values, values, f"o{joined}", color=COLOURS["blue"], markersize=5)
    early = ended & np.isfinite(values)
    if early.any():
        places, red = swept.values[early], COLOURS["orange"]
        axes.plot(places, values[early], "x", color=red, markersize=9, label="ended early")
    swept.put_on(axes.xaxis)
    _tell_missing(axes, values)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)
    axes.grid(True, alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _tell_missing(axes: Axes, values: Real) -> None:
    count = int(np.isnan(values).sum())
    if count:
        text = f"{count} of {values.size} without a value"
        axes.text(0.02, 0.98, text, transform=axes.transAxes, va="top", fontsize=9)


def _set_scale(axes: Axes, values: Real, choice: ColourChoice) -> None:
    """Scale and limits of the upright axis."""
    known = values[np.isfinite(values)]
    wide = known.size > 0 and known.min() > 0.0 and known.max() > _LOG_RATIO * known.min()
    scale = choice.scale if choice.scale != "auto" else "log" if wide else "linear"
    if scale == "symlog":
        size = float(np.abs(known).max(initial=0.0))
        axes.set_yscale("symlog", linthresh=1e-3 * size or 1.0)
    else:
        axes.set_yscale(scale)
    if known.size and np.array_equal(known, np.round(known)) and scale == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(choice.vmin, choice.vmax)


def _colours(values: Real, choice: ColourChoice) -> tuple[Normalize, str]:
    """Colours and at which ends values lie beyond them; a colour each for few whole numbers."""
    known = values[np.isfinite(values)]
    known = known if known.size else np.array([0.0, 1.0])
    low, high = float(known.min()), float(known.max())
    whole = np.array_equal(known, np.round(known)) and high - low < _MOST_CLASSES
    if whole and choice == AS_SUITS:
        bounds = np.arange(low - 0.5, high + 1.0)
        return BoundaryNorm(bounds, colormaps["viridis"].N) if high > low else _around(low), (
            "neither"
        )
    norm = _around(low) if high - low <= 1e-9 * abs(high) else Normalize(low, high)
    if low > 0.0 and high > _LOG_RATIO * low:
        norm = LogNorm(low, high)
    return choice.applied(norm, low, high)


def _around(value: float) -> Normalize:
    return Normalize(value - 0.5 * abs(value) - 0.5, value + 0.5 * abs(value) + 0.5)


def _draw_map(
    figure: Figure,
    axes: Axes,
    swept: Sequence[SweptAxis],
    values: Real,
    ended: NDArray[np.bool_],
    label: str,
    choice: ColourChoice,
) -> None:
    across, up = swept
    norm, extend = _colours(values, choice)
    axes.set_facecolor(_NONE_COLOUR)
    mesh = axes.pcolormesh(
        across.edges,
        up.edges,
        np.ma.masked_invalid(values),
        norm=norm,
        cmap="viridis",
        shading="flat",
        edgecolors="none",
    )
    across.put_on(axes.xaxis)
    up.put_on(axes.yaxis)
    bar = figure.colorbar(mesh, ax=axes, label=label, extend=extend)
    if isinstance(norm, BoundaryNorm):
        bar.set_ticks((np.asarray(norm.boundaries)[:-1] + 0.5).tolist())
        bar.minorticks_off()
    if values.size <= _MOST_WRITTEN:
        _write_numbers(axes, swept, values, norm)
    below = []
    early = ended & np.isfinite(values)
    if early.any():
        rows, columns = np.nonzero(early)
        axes.plot(across.values[columns], up.values[rows], "x", color=COLOURS["orange"], ms=14)
        below.append("×: ended early")
    if np.isnan(values).any():
        below.append("grey: no value")
    if below:
        text = "\n".join(below)
        axes.text(1.0, 1.01, text, transform=axes.transAxes, fontsize=9, ha="right", va="bottom")


def _write_numbers(axes: Axes, swept: Sequence[SweptAxis], values: Real, norm: Normalize) -> None:
    colours = ScalarMappable(norm, "viridis").to_rgba(np.nan_to_num(values))
    bright = colours[..., :3] @ [0.299, 0.587, 0.114]
    known = values[np.isfinite(values)]
    whole = bool((known == np.round(known)).all())
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(
                float(swept[0].values[column]),
                float(swept[1].values[row]),
                f"{value:.0f}" if whole else f"{value:#.3g}".rstrip("."),
                color="black" if bright[row, column] > 0.5 else "white",
                ha="center",
                va="center",
                fontsize=8,
            )


def family_figure(sweep: xr.Dataset, quantity: str | None, choice: ColourChoice) -> Figure:
    """A number over time, a curve for each member, and a panel for each value of a second one.

    Parameters
    ----------
    sweep : xarray.Dataset
    quantity : str or None
        As in `sphereflow.figures.sweep_quantities.over_time`; the order parameter for None.
    choice : ColourChoice
        Of the upright axis.

    Raises
    ------
    InputError
        If this is no sweep, there is no such number, or there would be too many panels.
    """
    axes = _checked(sweep, "family")
    quantity = ORDER_PARAMETER if quantity is None else quantity
    found = over_time(sweep, quantity)
    found = found.isel(
        {dim: 0 for dim in found.dims if dim not in ("path", "time") and sweep.sizes[dim] == 1}
    )
    found = found.mean("path") if "path" in found.dims else found
    # The panels are those of the parameter with fewer values, the curves those of the other.
    curves, *panels = sorted(axes, key=lambda one: (not one.numeric, -one.values.size))
    if panels and panels[0].values.size > _MOST_PANELS:
        raise InputError(
            f"the kind 'family' must have at most {_MOST_PANELS} panels, got "
            f"{panels[0].values.size} of {panels[0].dim}; select some of them, as with "
            f"isel({panels[0].dim}=slice(None, None, 2))"
        )
    chosen: list[dict[str, int]] = [{}]
    titles = [""]
    if panels:
        chosen = [{panels[0].dim: int(place)} for place in panels[0].order]
        titles = [f"{panels[0].label} = {name}" for name in panels[0].names]
    rows = -(-len(chosen) // _ROW)
    columns = -(-len(chosen) // rows)
    size = (6.4, 4.4) if columns == 1 else (1.2 + 3.0 * columns, 0.9 + 2.7 * rows)
    figure = ShownFigure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for number, drawn in enumerate(grid.flat):
        if number >= len(chosen):
            drawn.set_visible(False)
            continue
        _draw_curves(drawn, found.isel(chosen[number]), curves)
        drawn.set_title(titles[number], fontsize=10)
        if len(chosen) > 1:
            letter(drawn, number)
        if number % columns == 0:
            drawn.set_ylabel(label_of(sweep, quantity))
        if number + columns >= len(chosen):
            drawn.set_xlabel(TIME_LABEL)
            drawn.tick_params(labelbottom=True)
    _set_scale(grid[0, 0], found.values, choice)
    _tell_curves(figure, grid, curves)
    title = printable(str(sweep.attrs.get("title", ""))).replace("$", r"\$")
    figure.suptitle(title, fontsize=11)
    return figure


def _draw_curves(axes: Axes, found: xr.DataArray, curves: SweptAxis) -> None:
    time = found["time"].values
    for place, name, colour in zip(curves.order, curves.names, _line_colours(curves), strict=True):
        values = found.isel({curves.dim: int(place)}).values
        known = np.isfinite(values)
        line(axes, time[known], values[known], color=colour, label=name)
    if time[-1] > time[0]:
        axes.set_xlim(float(time[0]), float(time[-1]))
    axes.grid(True, alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _line_colours(curves: SweptAxis) -> Real:
    if curves.values.size <= _MOST_NAMES or not curves.numeric:
        places = np.linspace(0.0, 0.9, curves.values.size)
    else:
        places = 0.9 * np.asarray(curves.norm(curves.values))
    return np.asarray(colormaps["viridis"](places))


def _tell_curves(figure: Figure, grid: NDArray[np.object_], curves: SweptAxis) -> None:
    """Which colour is which value: a legend of few, a colour bar of many."""
    if curves.values.size > _MOST_NAMES and curves.numeric:
        colours = colormaps["viridis"].resampled(256)(np.linspace(0.0, 0.9, 256))
        mappable = ScalarMappable(curves.norm, ListedColormap(colours))
        figure.colorbar(mappable, ax=grid.ravel().tolist(), label=curves.label)
        return
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        title=curves.label,
        loc="outside right upper",
        frameon=False,
        fontsize=9,
        title_fontsize=9,
    )
