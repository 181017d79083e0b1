"""Figures of a run, made from its dataset alone.

No matplotlib backend is chosen: a figure belongs to no window and is saved with ``savefig``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from ..checks import one_of, shown
from ..errors import InputError, printable
from ..output.swept import is_sweep
from .colour_limits import AS_SUITS, ColourChoice, colour_choice
from .fields import checked_run, nearest_times, number, one_path
from .heads import heads_figure
from .layers import MAP_KINDS
from .maps import MapFigure, globes
from .series import (
    budget_figure,
    draw_budget,
    draw_entropy,
    draw_mass,
    draw_rates,
    draw_residual,
    series,
)
from .shown import ShownFigure
from .slopes import slope_figure
from .snapshots import MOST_SNAPSHOTS, draw_snapshots, has_snapshots
from .sweeps import SWEEP_KINDS, family_figure, phase_figure

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["KINDS", "plot"]

KINDS = ("overview", *MAP_KINDS, "budget", "slope", "heads", *SWEEP_KINDS)
_MOST_MAPS = 12


def plot(
    run: xr.Dataset | Sequence[xr.Dataset],
    kind: str = "overview",
    *,
    times: Sequence[float] | None = None,
    projection: str = "mollweide",
    path: int | None = None,
    lon: float = 30.0,
    lat: float = 20.0,
    quantity: str | None = None,
    scale: str = "auto",
    vmin: float | None = None,
    vmax: float | None = None,
) -> Figure:
    """Draw a run, or a sweep.

    Parameters
    ----------
    run : xarray.Dataset or sequence of them
        A run that sphereflow wrote, or a member that was selected from a sweep; a whole sweep for
        the last two kinds. Only the kind "slope" takes several.
    kind : str
        "overview": snapshots, slope and dissipation, and the energy budget, of an ensemble the
        means over the paths (of the residual the root mean square).
        "density": maps in sr⁻¹ of grid values, cells, or of the nearest node of characteristics;
        for tokens their spectrum under a heat kernel whose width is stated.
        "tokens": tokens, or nodes coloured by the density in sr⁻¹.
        "mobility": the effective mobility b_μ [1].
        "velocity": the mean attention velocity v̄ (radians per unit time) over the density.
        "budget": E(t) − E(0) and its integrals, G², R, and what is left with each of them.
        "slope": G² over time, of several runs also its mean over the second half against the
        number of heads, with a power law fitted to finite numbers.
        "heads": eigenvalues of the symmetric parts of the logit matrices, or mean and standard
        deviation of the entries of a Gaussian law.
        "phase": a number of each member of a sweep against what was swept, a curve of one
        parameter and a map of two; it takes the place of an overview.
        "family": a number over time, a curve for each member, and a panel for each value of the
        second parameter.
    times : sequence of float, optional
        Times of the maps, each replaced by the nearest output time; four even ones if left out.
        At most four in an overview and twelve elsewhere. Of the kind "phase" one, at which the
        number is taken; the last one of each member if left out.
    projection : {"mollweide", "orthographic"}
        Of the kinds "density", "tokens", "mobility" and "velocity"; "orthographic" draws both
        halves of the globe.
    path : int, optional
        Number of the path of an ensemble; if left out the first for maps and heads, and all for
        the other kinds.
    lon, lat : float
        Degrees above which the eye is, of the upper row of globes.
    quantity : str, optional
        Of the kinds "phase" and "family": "order_parameter", the length of the mean token
        ∫x dμ, if left out; "clusters", as `sphereflow.diagnostics.clusters` counts them; any
        variable that is one number, such as "energy" or "slope_squared". Of the kind "phase" also
        "time_to_cluster", the first time at which the order parameter is 0.9, linear between
        outputs, and variables without time such as "wall_time". Of ensembles the mean.
    scale : {"auto", "linear", "log", "symlog"}
        Of the colours, or of the upright axis of curves, of the kinds "phase" and "family" and
        of maps; "auto" is logarithmic where values differ much.
    vmin, vmax : float, optional
        Their limits; what lies beyond has the last colour, and the bar ends in an arrow.

    Returns
    -------
    matplotlib.figure.Figure
        Colours have the same limits in all maps, logarithmic where peaks differ much.

    Raises
    ------
    InputError
        If an option has no such value or does not go with the kind, or the run lacks what the
        kind draws.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> run = xr.Dataset(
    ...     {"density": (("time", "lat", "lon"), np.full((1, 3, 4), 0.25 / np.pi))},
    ...     {"time": [0.0], "lat": [-60.0, 0.0, 60.0], "lon": [0.0, 90.0, 180.0, 270.0]},
    ... )
    >>> plot(run).axes[0].get_title()
    't = 0'
    >>> figure = plot(run, "density", projection="orthographic")
    >>> figure.axes[-1].get_ylabel()
    'density [sr$^{-1}$]'
    """
    one_of(kind, KINDS, "kind")
    choice = colour_choice(scale, vmin, vmax)
    if not isinstance(run, Sequence) and hasattr(run, "data_vars") and is_sweep(run):
        kind = "phase" if kind == "overview" else kind
    if quantity is not None and kind not in SWEEP_KINDS:
        raise InputError(
            f"quantity must be left out of the kind {kind!r}, got {quantity!r}; draw a sweep with "
            "'phase' or 'family'"
        )
    if kind in SWEEP_KINDS:
        return _of_sweep(run, kind, quantity, times, choice)
    if choice != AS_SUITS and kind not in MAP_KINDS:
        raise InputError(
            f"scale, vmin and vmax must be left out of the kind {kind!r}, got {tuple(choice)!r}; "
            "draw maps or a sweep"
        )
    runs = _runs(run, kind)
    views = globes(projection, number(lon, "lon"), number(lat, "lat"))
    if times is not None and kind in ("budget", "slope", "heads"):
        raise InputError(f"times must be left out of the kind {kind!r}, got {times!r}; it has all")
    if kind == "slope":
        return slope_figure(runs)
    one = runs[0]
    if kind not in ("overview", "budget") or path is not None:
        one = one_path(one, path)
    if kind == "overview":
        return _overview(one, times)
    if kind == "budget":
        return budget_figure(one)
    if kind == "heads":
        return heads_figure(one)
    indices = nearest_times(one, times, MOST_SNAPSHOTS)
    if len(indices) > _MOST_MAPS:
        raise InputError(
            f"times must be at most {_MOST_MAPS}, got {len(indices)}; give fewer or use animate"
        )
    return MapFigure(one, kind, indices, views, choice=choice).figure


def _of_sweep(
    run: xr.Dataset | Sequence[xr.Dataset],
    kind: str,
    quantity: str | None,
    times: Sequence[float] | None,
    choice: ColourChoice,
) -> Figure:
    if not hasattr(run, "data_vars") or isinstance(run, Sequence) or "time" not in run.coords:
        raise InputError(
            f"run must be the dataset of one sweep for the kind {kind!r}, got {shown(run)}; give "
            "what sweep returned"
        )
    if quantity is not None and not isinstance(quantity, str):
        raise InputError(f"quantity must be a name, got {shown(quantity)}; give one as text")
    if kind == "family":
        if times is not None:
            raise InputError(
                f"times must be left out of the kind 'family', got {times!r}; it has all"
            )
        return family_figure(run, quantity, choice)
    if times is None:
        return phase_figure(run, quantity, None, choice)
    chosen = nearest_times(run, times, 1)
    if len(chosen) != 1:
        raise InputError(f"times must be one for the kind 'phase', got {times!r}; give one")
    return phase_figure(run, quantity, float(run["time"][chosen[0]]), choice)


def _runs(run: xr.Dataset | Sequence[xr.Dataset], kind: str) -> list[xr.Dataset]:
    listed = [run] if hasattr(run, "data_vars") or not isinstance(run, Sequence) else list(run)
    runs = [checked_run(one) for one in listed]
    if not runs or (len(runs) > 1 and kind != "slope"):
        raise InputError(
            f"run must be one dataset for the kind {kind!r}, got {len(runs)}; only 'slope' draws "
            "several"
        )
    return runs


def _overview(dataset: xr.Dataset, times: Sequence[float] | None) -> Figure:
    _check(dataset)
    if times is not None and len(times) > MOST_SNAPSHOTS:
        raise InputError(
            f"{len(times)} snapshot times were given; at most {MOST_SNAPSHOTS} fit, give fewer."
        )
    draw = has_snapshots(dataset)
    snapshots = nearest_times(dataset, times, MOST_SNAPSHOTS)
    figure = ShownFigure(figsize=(11.0, 6.6 if draw else 4.8), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(1.0 if draw else 1e-3, 2.1))
    if draw:
        draw_snapshots(figure, grid[0], [(dataset, snapshots)])
    lower = grid[1].subgridspec(1, 2)
    if series(dataset, "energy") is None:
        draw_entropy(figure.add_subplot(lower[0]), dataset)
        draw_mass(figure.add_subplot(lower[1]), dataset)
    else:
        draw_rates(figure.add_subplot(lower[0]), dataset)
        budget = lower[1].subgridspec(2, 1, height_ratios=(3.0, 1.0), hspace=0.05)
        upper_axes = figure.add_subplot(budget[0])
        draw_budget(upper_axes, dataset)
        draw_residual(figure.add_subplot(budget[1], sharex=upper_axes), dataset)
    # Dollars are no mathematics in what a user wrote.
    figure.suptitle(printable(_heading(dataset)).replace("$", r"\$"), fontsize=11)
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
