"""Diagnostics that are recorded on request: functions of a user, and some that are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..checks import called, shown
from ..diagnostics.clusters import clusters
from ..diagnostics.moments import order_parameter
from ..errors import InputError
from ..output.assembly import Coordinates, Place, assemble
from ..output.variables import COORDINATES, Record, Value, Variable, variable_of

if TYPE_CHECKING:
    import xarray

__all__ = ["BUILT_IN", "Wanted", "AskedDiagnostics"]

Diagnostic = Callable[["xarray.Dataset"], object]
Wanted = Diagnostic | str | tuple[Diagnostic | str, str]


def _cluster_count(state: xarray.Dataset) -> float | xarray.DataArray:
    if "path" not in state.dims:
        return float(clusters(state)["number"][0])
    import xarray

    numbers = [_cluster_count(state.isel(path=row)) for row in range(state.sizes["path"])]
    return xarray.DataArray(numbers, dims="path")


BUILT_IN: Mapping[str, tuple[Diagnostic, str]] = {
    "order_parameter": (order_parameter, "length of the first moment, |∫x dμ|"),
    "cluster_count": (_cluster_count, "clusters of the tokens or of the density"),
}


class AskedDiagnostics:
    """What is asked for by ``solve(record=...)``.

    Parameters
    ----------
    asked : mapping or sequence
        Name of the variable → function of the state, or the name of one that is there, or a pair
        of it and a unit; a sequence names some of `BUILT_IN`.

    Raises
    ------
    InputError
        If a name is taken or no identifier, or what it stands for is neither.
    """

    def __init__(self, asked: Mapping[str, Wanted] | Sequence[str] = ()) -> None:
        self.variables: dict[str, Variable] = {}  # as they were the first time
        self.coordinates: dict[str, Place] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._functions: dict[str, tuple[Diagnostic, str, str]] = {}
        if isinstance(asked, str) or not isinstance(asked, Mapping | Sequence):
            raise InputError(
                f"record must be a mapping from names to functions, got {shown(asked)}; pass for "
                "example {'kurtosis': function}"
            )
        table = asked if isinstance(asked, Mapping) else dict(zip(asked, asked, strict=True))
        for name, given in table.items():
            self._functions[_checked_name(name)] = _resolved(name, given)

    @property
    def names(self) -> list[str]:
        """Of the variables."""
        return list(self._functions)

    def of(self, t: float, record: Record, coordinates: Coordinates) -> dict[str, Value]:
        """Their values for what a scheme recorded.

        Raises
        ------
        InputError
            If a value is no real number or DataArray, or has other dimensions than before.
        """
        if not self._functions:
            return {}
        state = assemble([record], [t], coordinates, {}, {}).isel(time=0)
        return {name: self._value(name, state) for name in self._functions}

    def _value(self, name: str, state: xarray.Dataset) -> Value:
        import xarray

        function, units, long_name = self._functions[name]
        given = called(function, f"record[{name!r}]", state.copy())
        array = given if isinstance(given, xarray.DataArray) else xarray.DataArray(given)
        if array.dtype.kind not in "biuf" or (array.ndim and array is not given):
            raise InputError(
                f"record[{name!r}] must return a real number or an xarray.DataArray of them, got "
                f"{shown(given)}; name the dimensions of an array by xarray.DataArray"
            )
        dims = tuple(map(str, array.dims))
        per_path = "path" in dims
        own = tuple(dim for dim in dims if dim != "path")
        for dim, size in zip(dims, array.shape, strict=True):
            if dim == "time" or state.sizes.get(dim, size) != size:
                raise InputError(
                    f"record[{name!r}] must have dimensions of the state or of its own, got "
                    f"{dim!r} of length {size}; rename it"
                )
        units = units or str(array.attrs.get("units", "1"))
        long_name = long_name or str(array.attrs.get("long_name", name.replace("_", " ")))
        found = Variable(name, own, units, long_name, per_path=per_path)
        known = self.variables.setdefault(name, found)
        order = ("path", *own) if per_path else own
        values = np.asarray(array.transpose(*order), dtype=np.float64)
        shape = self._shapes.setdefault(name, values.shape)
        if (known.dims, known.per_path, shape) != (own, per_path, values.shape):
            raise InputError(
                f"record[{name!r}] must have the same dimensions at all times, got {own} of shape "
                f"{values.shape} after {known.dims} of {shape}; return arrays of one shape"
            )
        for dim in own:
            if dim in array.coords and dim not in state.coords:
                self.coordinates.setdefault(dim, (dim, array[dim].values))
        return values

    def take_over(self, saved: xarray.Dataset) -> None:
        """Know the variables as a run before a break has saved them.

        Raises
        ------
        InputError
            If it saved others.
        """
        for name in self._functions:
            if name not in saved:
                raise InputError(
                    f"record must be that of the run to resume, which has no {name!r}; remove its "
                    "checkpoint to start anew"
                )
            dims = tuple(str(dim) for dim in saved[name].dims if dim not in ("time", "path"))
            units, meaning = (str(saved[name].attrs.get(key, "")) for key in ("units", "long_name"))
            per_path = "path" in saved[name].dims
            self.variables[name] = Variable(name, dims, units, meaning, per_path=per_path)
            for dim in dims:
                if dim in saved.coords and dim not in COORDINATES:
                    self.coordinates[dim] = (dim, saved[dim].values)


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise InputError(f"names in record must be identifiers, got {shown(name)}; rename it")
    if variable_of(name) is not None or name in COORDINATES:
        raise InputError(f"record must not name {name!r}, a variable of every run; rename it")
    return name


def _resolved(name: str, given: object) -> tuple[Diagnostic, str, str]:
    """Function, unit and meaning of one diagnostic."""
    units, meaning = "", ""
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], str):
        given, units = given
    if isinstance(given, str) and given in BUILT_IN:
        given, meaning = BUILT_IN[given]
        units = units or "1"
    if not callable(given):
        raise InputError(
            f"record[{name!r}] must be a function of the state, one of {sorted(BUILT_IN)}, or a "
            f"pair of it and a unit, got {shown(given)}; pass one of them"
        )
    return given, units, meaning
