"""A run as a page that opens in any browser: a globe to turn, and a slider for the time."""

from __future__ import annotations

import base64
import html
import json
import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator

from ..errors import OutputError, printable
from ..machine.files import check_writable, replaced
from ..sphere import from_degrees
from .fields import nearest_times, number, one_path
from .layers import Layers
from .older_names import output_and_path
from .shown import some_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["view"]

# Bytes before base64, which adds a third: a page stays below 10 MB.
_MAP_BYTES = 4_000_000
_POINT_BYTES = 3_000_000
_MOST_POINTS = 2000
_FEW_POINTS = 200  # are not thinned out, however many times there are
_SMALL, _LARGE = 90, 180  # rows of a map
_EMPTY = 0.85  # grey of what a region leaves out


def view(
    run: xr.Dataset,
    output: str | os.PathLike[str] | None = None,
    *,
    path: int | None = None,
    lon: float = 30.0,
    lat: float = 20.0,
    title: str | None = None,
    which: int | None = None,
) -> Path:
    """Write one HTML file with the density, and the tokens if any, on a globe to turn.

    The file holds all it needs and asks no server for anything. It draws with WebGL 2; the time
    has a slider and a button, and all can be done with the keyboard. Opened with ``#frame=10``
    after its name it starts at that of its times.

    Parameters
    ----------
    run : xarray.Dataset
        A run that sphereflow wrote.
    output : str or path, optional
        File to write, replaced if it is there; "view.html" if left out.
    path : int, optional
        Number of the path of an ensemble; the first if left out.
    lon, lat : float
        Degrees above which the eye is at first.
    title : str, optional
        Heading; that of the run if left out.
    which : int, optional
        The older name of `path`; it goes with the next version.

    Returns
    -------
    pathlib.Path

    Notes
    -----
    The density in sr⁻¹ is sampled on maps of 90 or 180 latitudes, in 256 steps between its
    limits, which are the same at all times, logarithmic where peaks differ much; for tokens it
    is smoothed as `plot` does. Times and points are thinned out evenly beyond about 10 MB, as
    the page then says.

    Raises
    ------
    InputError
        If the run holds no density, tokens or spectrum, or an option has no such value.
    OutputError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, numpy as np, xarray as xr
    >>> run = xr.Dataset(
    ...     {"density": (("time", "lat", "lon"), np.full((2, 3, 4), 0.25 / np.pi))},
    ...     {"time": [0.0, 1.0], "lat": [-60.0, 0, 60], "lon": [0.0, 90, 180, 270]},
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = view(run, folder + "/view.html", title="A uniform density")
    ...     "<title>A uniform density</title>" in page.read_text(encoding="utf-8")
    True
    """
    output, path = output_and_path(output, path, which, "view.html")
    target = check_writable(output)
    if target.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"page must end in .html, got {str(target)!r}; rename it")
    one = one_path(run, path)
    heading = printable(str(one.attrs.get("title", "A run") if title is None else title))
    data = _data(one) | {"title": heading, "lon": number(lon, "lon"), "lat": number(lat, "lat")}
    template = resources.files(__package__).joinpath("sphere_view.html").read_text("utf-8")
    # "</script>" in a title would end the data.
    text = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    page = template.replace("@TITLE@", html.escape(heading)).replace("@DATA@", text)
    with replaced(target, "page") as partial:
        partial.write_text(page, encoding="utf-8")
    return target


class Points(TypedDict):
    """Tokens or nodes that the page draws."""

    name: str
    shown: bool  # from the start
    count: int
    positions: str


def _data(run: xr.Dataset) -> dict[str, object]:
    """What the page draws, ready for JSON."""
    rows = _LARGE if _is_fine(run) else _SMALL
    columns = 2 * rows
    count = min(run.sizes["time"], _MAP_BYTES // (rows * columns))
    indices = nearest_times(run, None, count) if count < run.sizes["time"] else list(range(count))
    layers = Layers(run, "density", indices)
    norm = layers.norm
    assert norm is not None
    lat = -90.0 + 180.0 * (np.arange(rows) + 0.5) / rows
    lon = -180.0 + 360.0 * (np.arange(columns) + 0.5) / columns
    places = from_degrees(*np.meshgrid(lon, lat))
    maps = np.empty((len(indices), rows, columns), dtype=np.uint8)
    empty = np.zeros(maps.shape, dtype=bool)
    for row, index in enumerate(indices):
        picture = layers.picture(index, places)
        empty[row] = np.isnan(picture)
        share = np.ma.filled(norm(np.where(empty[row], norm.vmin or 0.0, picture)), 0.0)
        maps[row] = np.round(255.0 * np.clip(share, 0.0, 1.0))
    notes = []
    colours = colormaps[layers.colour_map](np.arange(256))[:, :3]
    if empty.any():  # the lowest step is kept for it
        maps = np.where(empty, 0, np.maximum(maps, 1)).astype(np.uint8)
        colours[0] = _EMPTY
        notes.append("Of a region; the rest is grey.")
    if len(indices) < run.sizes["time"]:
        notes.append(f"{len(indices)} of {run.sizes['time']} output times.")
    points = _points(run, indices)
    if points is not None and points["count"] < run.sizes["token"]:
        notes.append(f"{points['count']} of {run.sizes['token']} {points['name']}.")
    smoothing = layers.field(indices[0]).smoothing
    label = "density [sr⁻¹]"
    if smoothing is not None:
        label = f"density, tokens smoothed over {smoothing:.2f} rad [sr⁻¹]"
    return {
        "times": [float(run["time"].values[index]) for index in indices],
        "note": " ".join(notes),
        "label": label,
        "width": columns,
        "height": rows,
        "low": float(norm.vmin or 0.0),
        "high": float(norm.vmax or 0.0),
        "logarithmic": isinstance(norm, LogNorm),
        "cells": "face" in run.dims or bool(empty.any()),  # colours that must not be mixed
        "maps": _encoded(maps),
        "colours": _encoded(np.round(255.0 * colours).astype(np.uint8)),
        "ticks": _ticks(norm),
        "points": points,
    }


def _is_fine(run: xr.Dataset) -> bool:
    """Whether the density has structure below two degrees."""
    return "face" in run.dims or "log_density" in run or run.sizes.get("lat", 0) > _SMALL


def _points(run: xr.Dataset, indices: list[int]) -> Points | None:
    if "position" not in run:
        return None
    total = run.sizes["token"]
    fits = _POINT_BYTES // (12 * len(indices))
    count = min(total, _MOST_POINTS, max(fits, _FEW_POINTS))
    positions = (
        run["position"].isel(token=some_of(total, count)).transpose("time", "token", "axis").values
    )
    nodes = "log_density" in run
    return {
        "name": "nodes" if nodes else "tokens",
        "shown": not nodes,
        "count": int(count),
        "positions": _encoded(positions[indices].astype("<f4")),
    }


def _encoded(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _ticks(norm: Normalize) -> list[tuple[float, str]]:
    """Shares of the height of the colour bar, and numbers at them."""
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 0.0)
    if isinstance(norm, LogNorm):
        powers = np.arange(np.ceil(np.log10(low) - 1e-9), np.floor(np.log10(high) + 1e-9) + 1)
        values = 10.0**powers
        names = [f"10{_raised(int(power))}" for power in powers]
    else:
        values = np.asarray(MaxNLocator(5).tick_values(low, high))
        values = values[(values >= low - 1e-12) & (values <= high * (1 + 1e-12))]
        names = [f"{value:.4g}".replace("-", "−") for value in values]
    shares = np.clip(np.ma.filled(norm(values), 0.0), 0.0, 1.0)
    return [(float(share), name) for share, name in zip(shares, names)]


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
