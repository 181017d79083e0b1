"""The law Θ_t of the heads over time: eigenvalues of finitely many, or mean and spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import InputError
from .series import TIME_LABEL, line, style
from .shown import ShownFigure

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["eigenvalues", "heads_figure"]

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#cc9900", "#555555")
_MOST_HEADS = 60  # lines beyond these would be one grey area
_NAMES = ("largest", "middle", "smallest")


def eigenvalues(run: xr.Dataset) -> np.ndarray:
    """Eigenvalues of the symmetric parts of D_h, descending, shape (time, H, 3)."""
    logits = run["head_logits"].transpose("time", "head", "row", "column").values
    return np.linalg.eigvalsh(0.5 * (logits + np.swapaxes(logits, -1, -2)))[..., ::-1]


def heads_figure(run: xr.Dataset) -> Figure:
    """Eigenvalues of the logit matrices, or the entries of a Gaussian law, of one path.

    Raises
    ------
    InputError
        If the run holds neither.
    """
    if "head_logits" in run and "head" in run["head_logits"].dims:
        figure = ShownFigure(figsize=(9.2, 4.4), layout="constrained")
        _draw_eigenvalues(figure.add_subplot(), run)
    elif "head_mean" in run and "head_covariance" in run:
        figure = ShownFigure(figsize=(11.0, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_entries(left, run, diagonal=True)
        _draw_entries(right, run, diagonal=False)
    else:
        raise InputError(
            "run must hold head_logits or head_mean for the kind 'heads', got a run with neither; "
            "draw a run with attention that stores its heads"
        )
    return figure


def _draw_eigenvalues(axes: Axes, run: xr.Dataset) -> None:
    time = run["time"].values
    values = eigenvalues(run)
    count = values.shape[1]
    shown = np.unique(np.linspace(0, count - 1, min(count, _MOST_HEADS)).astype(int))
    fade = 1.0 if count == 1 else float(np.clip(8.0 / count, 0.12, 0.6))
    weight = np.full((time.size, count), 1.0 / count)
    if "head_weight" in run:
        weight = np.broadcast_to(run["head_weight"].transpose(..., "head").values, weight.shape)
    mean = np.einsum("th,thk->tk", weight, values) / weight.sum(axis=1)[:, None]
    for k, (name, colour) in enumerate(zip(_NAMES, _COLOURS)):
        if count == 1:
            line(axes, time, values[:, 0, k], color=colour, label=f"{name} eigenvalue")
            continue
        axes.plot(time, values[:, shown, k], color=colour, alpha=fade, linewidth=0.8)
        label = f"{name}, weighted mean of {count} heads"
        line(axes, time, mean[:, k], color=colour, linestyle="--", label=label)
    some = "" if shown.size == count else f" ({shown.size} of {count} heads drawn)"
    axes.set(xlabel=TIME_LABEL, ylabel="eigenvalues of $(D_h + D_h^T)/2$ [1]")
    axes.set_title(f"Logit matrices of the heads{some}", fontsize=10)
    _legend_beside(axes)
    style(axes, run)


def _draw_entries(axes: Axes, run: xr.Dataset, *, diagonal: bool) -> None:
    time = run["time"].values
    mean = run["head_mean"].transpose("time", "row", "column").values
    covariance = run["head_covariance"].transpose("time", "entry", "entry2").values
    spread = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0.0))
    spread = spread.reshape(-1, 3, 3)
    pairs = [(k, k) for k in range(3)] if diagonal else [(0, 1), (0, 2), (1, 2)]
    if not diagonal and not np.allclose(mean, np.swapaxes(mean, 1, 2)):
        pairs += [(1, 0), (2, 0), (2, 1)]
    for number, ((i, j), colour) in enumerate(zip(pairs, _COLOURS)):
        middle, around = mean[:, i, j], spread[:, i, j]
        dashes = ("-", "--", ":")[number % 3]
        name = f"$D_{{{'xyz'[i]}{'xyz'[j]}}}$"
        line(axes, time, middle, color=colour, linestyle=dashes, label=name)
        axes.fill_between(time, middle - around, middle + around, color=colour, alpha=0.12)
    which = "Diagonal" if diagonal else "Off-diagonal"
    axes.set(xlabel=TIME_LABEL, ylabel="entry of $D$ [1]")
    axes.set_title(f"{which} entries of the law, mean ± standard deviation", fontsize=10)
    _legend_beside(axes)
    style(axes, run)


def _legend_beside(axes: Axes) -> None:
    """Lines and bands of heads leave no room within the axes."""
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
