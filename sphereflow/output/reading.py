"""Runs as they come in, from files or as datasets: opened, looked at, and put in order."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..checks import file_of, finite_array, shown
from ..errors import InputError, SphereflowError
from ..machine.threads import opened_dataset
from ..sphere import FINEST_LEVEL, VoronoiMesh, from_degrees, voronoi_mesh
from ..version import LAYOUT
from .arrays import PREFIX
from .run_checks import check_values, check_variables
from .swept import is_sweep, member_of

if TYPE_CHECKING:
    import xarray

__all__ = ["experiment_of", "mesh_of", "on_whole_grid", "open_run", "open_runs", "section_of"]

Real = NDArray[np.float64]

# The last dimensions of the arrays of a run, in their order.
ORDERS = (
    ("token", "axis"),
    ("head", "row", "column"),
    ("row", "column", "row2", "column2"),
    ("lat", "lon"),
    ("harmonic",),
    ("face",),
    ("token",),
    ("head",),
    ("axis", "axis2"),
    ("axis",),
)
# What does not depend on time.
FIXED = {"final_spectrum", "token_weight", "cell_area", "mesh", "face_nodes", "face_area"}


def experiment_of(attributes: Mapping[str, object]) -> dict[str, object]:
    """The configuration in the attribute `experiment`.

    Parameters
    ----------
    attributes : mapping
        Of a run, or of what else keeps its configuration.

    Raises
    ------
    InputError
        If there is none, or none that can be read.
    """
    text = attributes.get("experiment")
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(
            f"the attribute 'experiment' must be the configuration of a run, got {shown(text)}; "
            "take it from what solve returned"
        )
    return found


def section_of(attributes: Mapping[str, object], name: str) -> dict[str, object]:
    """One section of the configuration of a run, empty if it has none that can be read."""
    try:
        found = experiment_of(attributes).get(name)
    except InputError:
        return {}
    return found if isinstance(found, dict) else {}


def open_run(source: object, name: str = "initial", *, in_order: bool = True) -> xarray.Dataset:
    """A run with its times: a dataset, a member selected from a sweep, or what a path names.

    The times increase if they are asked to be `in_order`.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    run = member_of(_dataset_of(source, name), name)
    layout = run.attrs.get("layout_version", LAYOUT)
    if not isinstance(layout, int | np.integer) or layout > LAYOUT:
        raise InputError(
            f"{name} must have a layout up to version {LAYOUT}, got {shown(layout)}: it comes from "
            "a newer sphereflow; upgrade to read it"
        )
    if "time" not in run.coords or not run["time"].size:
        raise InputError(
            f"{name} must be a run with 'time', got the variables "
            f"{sorted(map(str, run.variables))!r:.200}; pass what solve returned"
        )
    times = finite_array(np.atleast_1d(run["time"].values), f"time of {name}")
    if times.ndim != 1 or (in_order and (np.diff(times) <= 0).any()):
        raise InputError(
            f"{name} must have times that increase, got {shown(times)}; pass what solve returned"
        )
    run = _as_solved(run)
    check_variables(run, name)
    run = _ordered(run)
    check_values(run, name)
    return run


def open_runs(source: object, name: str) -> xarray.Dataset:
    """A run as `open_run` gives it, or the dataset of a whole sweep.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    dataset = _dataset_of(source, name)
    return dataset if is_sweep(dataset) else open_run(dataset, name)


def _dataset_of(source: object, name: str) -> xarray.Dataset:
    import xarray

    if isinstance(source, xarray.Dataset):
        return source
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"{name} must be a dataset or a path, got {shown(source)}; pass a run")
    try:
        with opened_dataset(file_of(source, name)) as dataset:
            return _whole_records(dataset.load())
    except SphereflowError:
        raise
    except Exception as error:  # libraries raise anything on a damaged file
        # xarray answers a file of another kind with a page about its engines.
        foreign = isinstance(error, ValueError) and "engine" in str(error)
        reason = "it is no netCDF file" if foreign else error
        raise InputError(
            f"{name} cannot be read from {shown(str(source))}: {reason}; give a file that "
            "sphereflow wrote"
        ) from error


def _is_fixed(name: object) -> bool:
    return name in FIXED or str(name).startswith(PREFIX)


def _as_solved(run: xarray.Dataset) -> xarray.Dataset:
    """A run that was cut, joined or cast, with the dimensions and types that `solve` gives."""
    if "path" in run.dims and run.sizes["path"] == 1:
        run = run.isel(path=0, drop=True)
    if run["time"].ndim == 0:
        fixed = [name for name in run.data_vars if _is_fixed(name)]
        moving = [name for name in run.data_vars if name not in fixed]
        run = run[moving].expand_dims("time").assign({name: run[name] for name in fixed})
    for name in filter(_is_fixed, run.variables):
        if "time" in run[name].dims:  # as `xarray.concat` makes them
            last = run[name].variable.isel(time=-1)
            run = (
                run.assign_coords({name: last}) if name in run.coords else run.assign({name: last})
            )
    single = [name for name, variable in run.data_vars.items() if variable.dtype == np.float32]
    return run.assign({name: run[name].astype(np.float64) for name in single}) if single else run


def _ordered(run: xarray.Dataset) -> xarray.Dataset:
    """A run with the dimensions, latitudes and longitudes of its arrays in the order of `solve`."""
    for name, variable in run.data_vars.items():
        last = next((dims for dims in ORDERS if set(dims) <= set(variable.dims)), ())
        first = [dim for dim in ("path", "time") if dim in variable.dims]
        wanted = (*first, *(d for d in variable.dims if d not in {*first, *last}), *last)
        if last and variable.dims != wanted:
            run = run.assign({name: variable.transpose(*wanted)})
    if {"degree", "order"} <= run.coords.keys() and run["degree"].dims == ("harmonic",):
        place = run["degree"].values * (run["degree"].values + 1) + run["order"].values
        if not np.array_equal(place, np.sort(place)):
            run = run.isel(harmonic=np.argsort(place))
    if not {"lat", "lon"} <= run.coords.keys() or not {"lat", "lon"} <= set(run.dims):
        return run
    longitude = np.round(run["lon"].values % 360.0, 9) % 360.0
    if not np.array_equal(longitude, np.sort(longitude)):
        run = run.assign_coords(lon=("lon", longitude, run["lon"].attrs)).sortby("lon")
    if (np.diff(run["lat"].values) > 0).any():
        run = run.sortby("lat", ascending=False)
    return run


def on_whole_grid(rings: Real, columns: Real) -> bool:
    """Whether latitudes and longitudes are those of a Gauss grid, not of a part of the sphere."""
    gauss = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(rings.size)[0]))[::-1]
    even = np.arange(columns.size) * (360.0 / columns.size)
    return bool(np.allclose(rings, gauss, atol=1e-4) and np.allclose(columns, even, atol=1e-4))


def mesh_of(run: xarray.Dataset) -> VoronoiMesh | None:
    """The mesh of a dataset over `face`; None if it holds a part of one, or in another order."""
    count = run.sizes["face"]
    level = round(0.5 * np.log2(max(1.0, (count - 2) / 10)))
    if level > FINEST_LEVEL or count != 10 * 4**level + 2:
        return None
    mesh = voronoi_mesh(level)
    if "face_lon" in run and "face_lat" in run:
        found = from_degrees(run["face_lon"].values, run["face_lat"].values)
        if found.shape != mesh.centres.shape or not np.allclose(found, mesh.centres, atol=1e-6):
            return None
    return mesh


def _whole_records(run: xarray.Dataset) -> xarray.Dataset:
    """A run without the records at its end whose times were not written any more."""
    if "time" not in run.dims or run["time"].dtype.kind != "f":
        return run
    written = np.flatnonzero(np.isfinite(run["time"].values))
    return run.isel(time=slice(written.max(initial=-1) + 1))
