"""The layout of every dataset: dimensions, units, CF attributes, provenance, netCDF."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..describe import arrays_kept, experiment_config
from ..errors import InputError
from ..machine.files import replaced
from ..machine.threads import taking_turns
from ..version import LAYOUT, __version__
from .arrays import without_arrays
from .ugrid import with_topology

if TYPE_CHECKING:
    import xarray

__all__ = [
    "assemble",
    "earlier_integrals",
    "experiment_attribute",
    "netcdf_bytes",
    "with_leg",
    "write_netcdf",
]

FIRST_BLOCK = 1 << 20  # bytes of a file in memory, which grows

# name → (dimensions after time, units, long name)
VARIABLES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "density": (("lat", "lon"), "sr-1", "token density"),
    "effective_mobility": (("lat", "lon"), "1", "effective (harmonic mean) mobility b, eq. (37)"),
    "velocity_eastward": (("lat", "lon"), "1", "eastward mean attention velocity, without s"),
    "velocity_northward": (("lat", "lon"), "1", "northward mean attention velocity, without s"),
    "density_rate": ((), "sr-1", "L2 norm over the sphere of the rate of the density"),
    "spectrum": (("harmonic",), "1", "real orthonormal spherical harmonic coefficients"),
    "final_spectrum": (
        ("final_harmonic",),
        "1",
        "all real coefficients at the last time, in the order l*l + l + m",
    ),
    "mass": ((), "1", "total mass of the token density"),
    "minimum": ((), "sr-1", "smallest value of the token density on the grid, mesh or nodes"),
    "speed": (
        (),
        "1",
        "root mean square velocity of the tokens, with minus diffusion times grad log density",
    ),
    "entropy": ((), "1", "differential entropy, minus the integral of density times log density"),
    "first_moment": (("axis",), "1", "mean token"),
    "second_moment": (("axis", "axis2"), "1", "mean of token times token transposed"),
    "resolution": (
        (),
        "1",
        "0 resolved, 1 lost; spectral: last degrees over largest; cells: mean deviation from the "
        "neighbours; characteristics: error of the moments; tokens: one over the root of their "
        "effective number",
    ),
    "position": (("token", "axis"), "1", "tokens, unit vectors"),
    "log_density": (("token",), "1", "natural logarithm of the density in sr-1 along each node"),
    "lmax": ((), "1", "degree at which the density is carried"),
    "energy": ((), "1", "interaction energy E, eq. (21)"),
    "energy_rate_heads": ((), "1", "rate of E by the change of the head law at fixed density"),
    "dissipation": ((), "1", "exact dissipation rate R"),
    "slope_squared": ((), "1", "squared strong upper gradient G2, eq. (113)"),
    "metric_slope_squared": ((), "1", "squared slope S2 of E in the metric b"),
    "energy_heads_integral": ((), "1", "time integral of energy_rate_heads"),
    "energy_transport_integral": ((), "1", "time integral of s times dissipation"),
    "energy_slope_integral": ((), "1", "time integral of s times slope_squared"),
    "energy_ito_integral": ((), "1", "time integral of the Ito part of dE/dt of noisy heads"),
    "energy_martingale": ((), "1", "martingale part of E by the noise, M_T of eq. (148)"),
    "energy_drift_integral": ((), "1", "time integral of the power of the prescribed drift"),
    "energy_diffusion_integral": ((), "1", "time integral of the diffusion part of dE/dt"),
    "energy_residual": ((), "1", "E(t) - E(0) minus all time integrals of its rates"),
    "energy_residual_slope": ((), "1", "the residual with slope_squared in place of dissipation"),
    "head_logits": (("head", "row", "column"), "1", "logit matrix D of each head"),
    "head_values": (("head", "row", "column"), "1", "value matrix V of each head"),
    "head_weight": (("head",), "1", "weight of each head"),
    "head_mean": (("row", "column"), "1", "mean logit matrix of the Gaussian head law"),
    "head_covariance": (
        ("entry", "entry2"),
        "1",
        "covariance of the logit entries, row by row, of the Gaussian head law",
    ),
    "head_law_error": (
        (),
        "1",
        "estimated relative error of averages over the head law, by its cells and its nodes",
    ),
    "head_boundary_density": (
        (),
        "1",
        "largest density of the head law so far at the walls of its domain over the maximum",
    ),
}
CELL_AREA = {
    "units": "sr",
    "long_name": "solid angle of each grid point, the weight of its Gauss-Legendre quadrature",
}
ARRAY_OF_EXPERIMENT = {
    "units": "1",
    "long_name": "array of the configuration in the attribute experiment, which names it",
}
COORDINATES: dict[str, dict[str, str]] = {
    "time": {"units": "1", "long_name": "dimensionless time (depth)"},
    "lat": {
        "units": "degrees_north",
        "standard_name": "latitude",
        "long_name": "latitude",
        "axis": "Y",
    },
    "lon": {
        "units": "degrees_east",
        "standard_name": "longitude",
        "long_name": "longitude",
        "axis": "X",
    },
    "path": {"units": "1", "long_name": "number of the independent path"},
    "token_weight": {"units": "1", "long_name": "weight of each token"},
    "degree": {"units": "1", "long_name": "degree l"},
    "order": {
        "units": "1",
        "long_name": "order m",
        "comment": "positive: cosine, negative: sine; no Condon-Shortley phase",
    },
}
REFERENCES = (
    "Transformers as time-dependent gradient flows, arXiv:2605.18870; "
    "numbers in brackets are equations of that paper"
)


def assemble(
    records: Sequence[Mapping[str, Any]],
    times: Sequence[float],
    coordinates: Mapping[str, Any],
    attributes: Mapping[str, Any],
    state: Mapping[str, Any],
    arrays: Mapping[str, Any] | None = None,
) -> xarray.Dataset:
    """One dataset from the records of a run.

    Parameters
    ----------
    records : sequence of mappings
        Variable name → array without the time axis, all of the same names. With a coordinate
        `path` that axis may come first. A name may end in "_mean" or "_std", over the paths.
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
    coordinates = dict(coordinates)
    mesh = coordinates.pop("mesh", None)
    area = coordinates.pop("cell_area", None)
    for name, (dimension, values) in coordinates.items():
        dataset = dataset.assign_coords({name: (dimension, values)})
    if mesh is not None:
        dataset = with_topology(dataset, mesh)
    if area is not None:
        dataset["cell_area"] = (*area, CELL_AREA)
        dataset["cell_area"].encoding["_FillValue"] = None
    for name in records[0]:
        dimensions, attributes_of = _description(name)
        if mesh is not None and dimensions == ("lat", "lon"):
            dimensions = ("face",)
            attributes_of |= {"mesh": "mesh", "location": "face"}
        values = np.stack([np.asarray(record[name], dtype=np.float64) for record in records])
        axes = ("time", *dimensions)
        if values.ndim == len(axes) + 1:
            axes, values = ("path", *axes), np.moveaxis(values, 1, 0)
        dataset[name] = (axes, values, attributes_of)
    for name, values in state.items():
        dimensions, attributes_of = _description(name)
        attributes_of |= {"time": float(times[-1])}
        dataset[name] = (dimensions, np.asarray(values, dtype=np.float64), attributes_of)
    for name, values in (arrays or {}).items():
        axes = tuple(f"{name}_{axis}" for axis in range(values.ndim))
        dataset[name] = (axes, values, ARRAY_OF_EXPERIMENT)
    for name in ("axis", "axis2"):
        if name in dataset.dims:
            dataset = dataset.assign_coords({name: ["x", "y", "z"]})
            # CF has no coordinate variables of strings; arrays of characters are labels.
            dataset[name].encoding["dtype"] = "S1"
    for name, attrs in COORDINATES.items():
        if name in dataset.coords:
            dataset[name].attrs.update(attrs)
            dataset[name].encoding["_FillValue"] = None  # CF: coordinates have no missing values
    dataset.attrs.update(_global_attributes() | dict(attributes))
    if mesh is not None:
        dataset.attrs["Conventions"] += " UGRID-1.0"
    return dataset


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


def _description(name: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Dimensions after time, and attributes, of a variable or of its mean or spread."""
    base, _, ending = name.rpartition("_")
    over = {"mean": "mean over the paths of ", "std": "standard deviation over the paths of "}
    if name not in VARIABLES and ending in over:
        dimensions, units, long_name = VARIABLES[base]
        return dimensions, {"units": units, "long_name": over[ending] + long_name}
    dimensions, units, long_name = VARIABLES[name]
    return dimensions, {"units": units, "long_name": long_name}


def _global_attributes() -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "Conventions": "CF-1.11",
        "layout_version": LAYOUT,
        "title": "Solution of the Transformer PDE on the sphere",
        "source": f"sphereflow {__version__}{_git_hash()}",
        "history": f"{now} created by sphereflow {__version__}",
        "references": REFERENCES,
        "date_created": now,
        "backend": _backend_versions(),
    }


@lru_cache(maxsize=1)
def _git_hash() -> str:
    """The commit of a source checkout in brackets, or nothing for an installed package."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return ""
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return f" ({result.stdout.strip()})"


@lru_cache(maxsize=1)
def _backend_versions() -> str:
    versions = [f"python {platform.python_version()}"]
    for package in ("numpy", "scipy", "numba", "shtns", "ducc0", "xarray", "netCDF4"):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(versions)


def experiment_attribute(
    problem: Any, scheme: Any, run_options: Mapping[str, Any], texts: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """The texts and the whole configuration as JSON, and the arrays that are too large for it.

    The run can be repeated from both.

    Raises
    ------
    InputError
        If a text holds what no file can.
    """
    for name, text in texts.items():
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError(
                f"{name} must be a text that UTF-8 can hold, got {ascii(text)!s:.80}; remove its "
                "lone surrogates"
            )
    with arrays_kept():
        config = experiment_config(problem, scheme, run_options)
    text, arrays = without_arrays(config)
    return json.dumps({**texts, **text}), arrays


def write_netcdf(
    dataset: xarray.Dataset, path: str | os.PathLike[str], *, through_links: bool = True
) -> None:
    """Write the dataset as compressed netCDF-4, by a temporary file that is then renamed.

    Raises
    ------
    OutputError
        If writing fails.
    """
    target = Path(path)
    packed = {"zlib": True, "complevel": 1}
    encoding: dict[Any, dict[str, Any]] = {
        name: packed | {key: of for key, of in v.encoding.items() if key == "_FillValue"}
        for name, v in dataset.data_vars.items()
        if v.ndim > 1
    }
    content = netcdf_bytes(dataset, encoding=encoding)
    with replaced(target, "output", through_links=through_links) as partial:
        partial.write_bytes(content)


def netcdf_bytes(
    dataset: xarray.Dataset,
    *,
    form: Literal["NETCDF4", "NETCDF3_64BIT_OFFSET"] = "NETCDF4",
    **options: Any,
) -> bytes | memoryview:
    """The netCDF file of a dataset, put together in memory.

    On a full disk the netCDF library does not say what is wrong, and ends the process when it
    closes what it could not write.

    Parameters
    ----------
    dataset : xarray.Dataset
    form : {"NETCDF4", "NETCDF3_64BIT_OFFSET"}
    **options
        `encoding` and `unlimited_dims`, as for `xarray.Dataset.to_netcdf`.
    """
    import netCDF4
    from xarray.backends import NetCDF4DataStore

    with taking_turns():
        file = netCDF4.Dataset("output", "w", memory=FIRST_BLOCK, format=form)
        try:
            dataset.dump_to_store(NetCDF4DataStore(file), **options)
        finally:
            content: memoryview = file.close()
    return content
