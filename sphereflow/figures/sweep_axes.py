"""The axes of a sweep: what was swept, as places, names and a scale."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from numpy.typing import NDArray

from ..errors import printable
from ..output.swept import swept_dims

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axis import Axis as MatplotlibAxis

__all__ = ["SweptAxis", "swept_axes"]

Real = NDArray[np.float64]

_LOG_RATIO = 20.0
_MOST_TICKS = 12
_LONGEST = 28  # letters of a name


@dataclass(frozen=True)
class SweptAxis:
    """One dimension of a sweep in the order in which it is drawn.

    Attributes
    ----------
    dim : str
    label : str
    order : ndarray of int, shape (n,)
        Places along the dimension, by increasing value.
    values : ndarray, shape (n,)
        Numbers, in that order; 0, 1, … for what is no number.
    names : list of str
        Of each value.
    numeric : bool
    logarithmic : bool
        Whether the values are spread evenly in their logarithms rather than by themselves.
    """

    dim: str
    label: str
    order: NDArray[np.int64]
    values: Real
    names: list[str]
    numeric: bool
    logarithmic: bool

    @property
    def edges(self) -> Real:
        """Ends of the cells around the values, shape (n + 1,)."""
        places = np.log(self.values) if self.logarithmic else self.values
        if places.size == 1:
            ends = places[0] + np.array([-0.5, 0.5])
        else:
            middle = 0.5 * (places[1:] + places[:-1])
            first, last = 2 * places[0] - middle[0], 2 * places[-1] - middle[-1]
            ends = np.concatenate([[first], middle, [last]])
        return np.asarray(np.exp(ends) if self.logarithmic else ends)

    @property
    def norm(self) -> Normalize:
        """For colours of the values."""
        ends = float(self.values[0]), float(self.values[-1])
        return LogNorm(*ends) if self.logarithmic else Normalize(*ends)

    def put_on(self, axis: MatplotlibAxis) -> None:
        """Scale, ticks and label of an axis of a figure."""
        if self.logarithmic:
            axes = axis.axes
            (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
        axis.set_label_text(self.label)
        if self.numeric and self.values.size > _MOST_TICKS:
            return
        stride = -(-self.values.size // _MOST_TICKS)
        axis.set_ticks(self.values[::stride].tolist(), self.names[::stride])
        axis.set_ticks([], minor=True)


def swept_axes(sweep: xr.Dataset) -> list[SweptAxis]:
    """The dimensions of a sweep with more than one value."""
    return [_axis(sweep, dim) for dim in swept_dims(sweep) if sweep.sizes[dim] > 1]


def _axis(sweep: xr.Dataset, dim: str) -> SweptAxis:
    along = {
        str(name): one
        for name, one in sweep.coords.items()
        if one.dims == (dim,) and "parameter" in one.attrs and np.unique(one.values).size > 1
    }
    numeric = [name for name, one in along.items() if _is_numeric(one)]
    name = next(iter([*numeric, *along]), dim)
    label = str(along[name].attrs["parameter"]) if name in along else name
    if label.rpartition(".")[2] == name:
        label = name
    others = [printable(one) for one in along if one != name]
    if others:
        label = f"{label} (with it {', '.join(others)})"
    size = sweep.sizes[dim]
    raw = sweep[name].values if name in sweep.coords else np.arange(size)
    if name in numeric:
        values = raw.astype(float)
        order = np.argsort(values, kind="stable")
        values = values[order]
        names = _numbers_as_text(values)
        return SweptAxis(dim, _plain(label), order, values, names, True, _in_logarithms(values))
    names = [_plain(_shortened(name)) for name in _names_of(list(raw.tolist()))]
    places = np.arange(size)
    return SweptAxis(dim, _plain(label), places, places.astype(float), names, False, False)


def _is_numeric(coordinate: xr.DataArray) -> bool:
    values = coordinate.values
    kind = values.dtype.kind in "iuf"
    return kind and bool(np.isfinite(values).all()) and np.unique(values).size == values.size


def _in_logarithms(values: Real) -> bool:
    if values.size < 3 or values[0] <= 0.0 or values[-1] < _LOG_RATIO * values[0]:
        return False
    steps, ratios = np.diff(values), np.diff(np.log(values))
    return bool(ratios.std() / ratios.mean() < steps.std() / steps.mean())


def _numbers_as_text(values: Real) -> list[str]:
    """Three digits, or as many as tell them apart."""
    for digits in range(3, 17):
        names = [f"{value:.{digits}g}" for value in values]
        if len(set(names)) == len(names):
            break
    return names


def _names_of(values: Sequence[object]) -> list[str]:
    """Names of values that are no numbers, of tables by the entries that differ."""
    texts = [str(value) for value in values]
    try:
        tables = [json.loads(text) for text in texts]
    except ValueError:
        return texts
    if not all(isinstance(table, dict) for table in tables):
        return texts
    keys = dict.fromkeys(key for table in tables for key in table)
    kinds = [str(table.get("kind")) for table in tables]
    if "kind" in keys and len(set(kinds)) == len(kinds):
        return kinds
    differing = [key for key in keys if any(t.get(key) != tables[0].get(key) for t in tables)]
    return [
        ", ".join(f"{key} = {table[key]}" for key in differing if key in table) for table in tables
    ]


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _plain(text: str) -> str:
    # Dollars are no mathematics in what a user wrote.
    return printable(text).replace("$", r"\$")
