"""Datasets from the records of a run: dimensions, units, CF attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..sphere import VoronoiMesh
from .provenance import global_attributes
from .ugrid import with_topology
from .variables import COORDINATES, Record, Variable, variable_of

if TYPE_CHECKING:
    import xarray

__all__ = ["Coordinates", "assemble", "dimensions_of", "earlier_integrals", "with_leg"]

Place = tuple[str | tuple[str, ...], NDArray[np.generic]]  # dimensions and values
Coordinates = Mapping[str, Place | VoronoiMesh]

CELL_AREA = {
    "units": "sr",
    "long_name": "solid angle of each grid point, the weight of its Gauss-Legendre quadrature",
}
ARRAY_OF_EXPERIMENT = {
    "units": "1",
    "long_name": "array of the configuration in the attribute experiment, which names it",
}


def assemble(
    records: Sequence[Record],
    times: Sequence[float],
    coordinates: Coordinates,
    attributes: Mapping[str, object],
    state: Record,
    arrays: Mapping[str, NDArray[np.float64]] | None = None,
) -> xarray.Dataset:
    """One dataset from the records of a run.

    Parameters
    ----------
    records : sequence of mappings
        Name in the table of variables → array without the time axis, all of the same names. With
        a coordinate `path` that axis comes first, but for what is of all paths together. A name
        may end in "_mean" or "_std", over the paths.
    times : sequence of float
    coordinates : mapping
        Name → (dimension, values); `mesh`, a VoronoiMesh, makes a UGRID topology, whose faces
        take the place of latitudes and longitudes; `cell_area` are the weights of the quadrature
        over the grid.
    attributes : mapping
        Global attributes besides the CF ones.
    state : mapping
        Variables without time, from which another run may go on.
    arrays : mapping, optional
        Arrays of the experiment, by the names of their variables.
    """
    import xarray

    dataset = xarray.Dataset(coords={"time": ("time", np.asarray(times, dtype=np.float64))})
    mesh = None
    for name, place in coordinates.items():
        if isinstance(place, VoronoiMesh):
            mesh = place
        elif name != "cell_area":
            dataset = dataset.assign_coords({name: place})
    if mesh is not None:
        dataset = with_topology(dataset, mesh)
    area = coordinates.get("cell_area")
    if isinstance(area, tuple):
        dataset["cell_area"] = (*area, CELL_AREA)
        dataset["cell_area"].encoding["_FillValue"] = None
    for name in records[0]:
        variable, dimensions = _known(name), dimensions_of(name, coordinates)
        about = dict(variable.attributes)
        if "face" in dimensions:
            about |= {"mesh": "mesh", "location": "face"}
        values = np.stack([np.asarray(record[name], dtype=np.float64) for record in records])
        if dimensions[:1] == ("path",):
            values = np.moveaxis(values, 1, 0)
            dataset[name] = (("path", "time", *dimensions[1:]), values, about)
        else:
            dataset[name] = (("time", *dimensions), values, about)
    for name, value in state.items():
        variable = _known(name)
        about = variable.attributes | {"time": float(times[-1])}
        dataset[name] = (variable.dims, np.asarray(value, dtype=np.float64), about)
    for name, array in (arrays or {}).items():
        axes = tuple(f"{name}_{axis}" for axis in range(array.ndim))
        dataset[name] = (axes, array, ARRAY_OF_EXPERIMENT)
    for name in ("axis", "axis2"):
        if name in dataset.dims:
            dataset = dataset.assign_coords({name: ["x", "y", "z"]})
            # CF has no coordinate variables of strings; arrays of characters are labels.
            dataset[name].encoding["dtype"] = "S1"
    for name, attrs in COORDINATES.items():
        if name in dataset.coords:
            dataset[name].attrs.update(attrs)
            dataset[name].encoding["_FillValue"] = None  # CF: coordinates have no missing values
    dataset.attrs.update(global_attributes() | dict(attributes))
    if mesh is not None:
        dataset.attrs["Conventions"] += " UGRID-1.0"
    return dataset


def dimensions_of(name: str, coordinates: Coordinates) -> tuple[str, ...]:
    """Dimensions of a variable of the table in a record of a run with these coordinates."""
    variable = _known(name)
    on_mesh = any(isinstance(place, VoronoiMesh) for place in coordinates.values())
    dimensions = ("face",) if on_mesh and variable.on_sphere else variable.dims
    return ("path", *dimensions) if "path" in coordinates and variable.per_path else dimensions


def _known(name: str) -> Variable:
    variable = variable_of(name)
    if variable is None:
        raise InputError(
            f"a scheme must record variables of the table, got {name!r}; add it to "
            "sphereflow.output.variables"
        )
    return variable


def earlier_integrals(earlier: xarray.Dataset) -> dict[str, float]:
    """The energy integrals and residuals at the end of a run, with which the next one goes on."""
    return {
        str(name): float(variable[-1])
        for name, variable in earlier.data_vars.items()
        if variable.dims == ("time",)
        and (str(name).endswith(("_integral", "_martingale")) or "residual" in str(name))
    }


def with_leg(
    whole: xarray.Dataset | None, leg: xarray.Dataset, number: int, names: Sequence[str]
) -> xarray.Dataset:
    """The legs of a relay so far and one more, NaN where one of them was not at work.

    Parameters
    ----------
    whole : xarray.Dataset or None
        What this function gave for the legs before.
    leg : xarray.Dataset
    number : int
        Flag of the leg in the variable `stage`.
    names : sequence of str
        The schemes of all legs.
    """
    about = {
        "long_name": "scheme that wrote this time",
        "flag_values": np.arange(len(names), dtype=np.int8),
        "flag_meanings": " ".join(names),
    }
    values = np.full(leg.sizes["time"], number, dtype=np.int8)
    leg = leg.assign(stage=("time", values, about))
    if whole is None:
        return leg
    attributes = whole.attrs | leg.attrs | {"switch_time": float(whole["time"].values[-1])}
    whole = whole.combine_first(leg)
    whole["stage"] = ("time", whole["stage"].values.astype(np.int8), about)
    whole.attrs = attributes
    return whole
