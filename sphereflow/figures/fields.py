"""What a run holds at one time, as a function on the sphere, whichever scheme wrote it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..checks import integer, real_array, shown
from ..errors import InputError
from ..output.reading import open_run
from ..output.swept import left_out_of
from ..sphere import SphereGrid, from_degrees, lmax_of, real_to_complex
from .snapshots import face_areas, face_centres
from .values_on_sphere import at_nearest, on_grid, reach_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Field",
    "checked_run",
    "density_field",
    "nearest_times",
    "number",
    "one_path",
    "stored_field",
    "velocity_field",
]

Real = NDArray[np.float64]
# The heat kernel that smooths the spectrum of tokens is this small at its last degree.
_KERNEL_FLOOR = 1e-3


@dataclass(frozen=True)
class Field:
    """Values on the sphere at one time.

    Attributes
    ----------
    values : ndarray
        As the run holds them, on its grid (nlat, nlon), cells or nodes (n,).
    at : callable
        Unit vectors (..., 3) → values (...); NaN where the point is NaN, or outside of the region
        that the run holds.
    smoothing : float or None
        Width in radians over which tokens were smoothed.
    """

    values: Real
    at: Callable[[Real], Real]
    smoothing: float | None = None


def checked_run(run: object) -> xr.Dataset:
    """The run as `solve` gives it, if it is a dataset with output times, or one of them.

    Raises
    ------
    InputError
        If it is anything else.
    """
    if (
        not hasattr(run, "data_vars")
        or not hasattr(run, "coords")
        or "time" not in run.coords
        or not run.coords["time"].size
    ):
        raise InputError(
            f"run must be a dataset with output times, got {shown(run)}; give what solve returned "
            "or what xarray.open_dataset reads"
        )
    return open_run(run, "run", in_order=False)


def number(value: object, name: str) -> float:
    """A finite real number.

    Raises
    ------
    InputError
        If it is none.
    """
    real = real_array(value, name)
    if real.ndim != 0 or not np.isfinite(real):
        raise InputError(f"{name} must be a finite number, got {value!r}; pass such a number")
    return float(real)


def nearest_times(run: xr.Dataset, times: Sequence[float] | None, count: int) -> list[int]:
    """Indices of the output times nearest to some times; `count` even ones for None.

    Raises
    ------
    InputError
        If the times are not numbers within those of the run.
    """
    own = run["time"].values
    slack = 1e-9 * max(1.0, abs(own[-1]))
    if times is None:
        wanted = np.linspace(own[0], own[-1], count)
    else:
        wanted = np.atleast_1d(real_array(times, "times"))
        inside = (wanted >= own[0] - slack) & (wanted <= own[-1] + slack)
        if wanted.ndim != 1 or wanted.size == 0 or not inside.all():
            raise InputError(
                f"times must be a list of numbers within those of the run, got {times!r}; give "
                f"times from {own[0]:.4g} to {own[-1]:.4g}"
            )
    return sorted({int(np.abs(own - time).argmin()) for time in wanted})


def one_path(run: xr.Dataset, path: int | None) -> xr.Dataset:
    """The run along one of its paths, by number; the first for None.

    Raises
    ------
    InputError
        If the run has no such path, or is none.
    """
    run = checked_run(run)
    if "path" not in run.dims:
        if path is None or path == 0:
            return run
        raise InputError(f"path must be left out, got {path!r}; this run has a single path")
    numbers = run["path"].values.tolist() if "path" in run.coords else range(run.sizes["path"])
    numbers = list(numbers)
    if path is None:
        return run.isel(path=0)
    if integer(path, "path", 0) not in numbers:
        raise InputError(
            f"path must be one of {numbers[0]} to {numbers[-1]}, got {path!r}; choose one of these"
        )
    return run.isel(path=numbers.index(path))


def density_field(run: xr.Dataset, index: int) -> Field:
    """The density in sr⁻¹ at one output time of a run of one path.

    Grid values between which one interpolates, cell means, the density at the nearest node of
    characteristics, and for tokens their spectrum under the heat kernel of a stated width.

    Raises
    ------
    InputError
        If the run holds none of these at that time.
    """
    now = run.isel(time=index)
    if "density" in now and np.isfinite(now["density"].values).any():
        return _of_variable(now, "density")
    carried = {"log_density", "position"} <= set(now.data_vars)
    if carried and np.isfinite(now["log_density"].values).all():
        nodes = now["position"].transpose("token", "axis").values
        return _of_nodes(nodes, now)
    for name in ("spectrum", "spectrum_mean"):
        if name in now and np.isfinite(now[name].values).all():
            return _smoothed(now[name].values)
    raise InputError(
        f"run must hold a density, the density along characteristics or a spectrum at "
        f"t = {float(now['time']):.4g}, got none of them; draw another kind or another time"
        + left_out_of(run, "density", "log_density", "position", "spectrum")
    )


def stored_field(run: xr.Dataset, name: str, index: int) -> Field:
    """A variable on a grid or on cells at one output time.

    Raises
    ------
    InputError
        If the run does not hold it at that time.
    """
    if name not in run or not {"lat", "face"} & set(run[name].dims):
        raise InputError(
            f"run must hold {name} on a grid or on cells, got a run without it; draw a run of the "
            "spectral or the finite-volume scheme, with attention" + left_out_of(run, name)
        )
    now = run.isel(time=index)
    if not np.isfinite(now[name].values).any():
        raise InputError(
            f"{name} must be finite at t = {float(now['time']):.4g}, got missing values there; "
            "choose an earlier time"
        )
    return _of_variable(now, name)


def velocity_field(run: xr.Dataset, index: int) -> Callable[[Real], Real]:
    """Unit vectors (n, 3) → the mean attention velocity (n, 3) there, tangent.

    Raises
    ------
    InputError
        If the run does not hold it.
    """
    east = stored_field(run, "velocity_eastward", index).values
    north = stored_field(run, "velocity_northward", index).values
    now = run.isel(time=index)
    if "face" in now["velocity_eastward"].dims:
        x, y, z = face_centres(now).T
        lon, lat = np.degrees(np.arctan2(y, x)), np.degrees(np.arcsin(np.clip(z, -1.0, 1.0)))
    else:
        lon, lat = np.meshgrid(now["lon"].values, now["lat"].values)
    # Cartesian components have no singularity at the poles.
    to_east = from_degrees(lon + 90.0, np.zeros_like(lon))
    to_north = np.cross(from_degrees(lon, lat), to_east)
    vectors = east[..., None] * to_east + north[..., None] * to_north
    if vectors.ndim == 2:
        centres, reach = from_degrees(lon, lat), _reach(now)
        parts = [at_nearest(centres, part, reach) for part in vectors.T]
    else:
        parts = [on_grid(lon[0], lat[:, 0], part)[0] for part in np.moveaxis(vectors, -1, 0)]

    def at(points: Real) -> Real:
        vector: Real = np.stack([part(points) for part in parts], axis=-1)
        radial = np.sum(vector * points, axis=-1, keepdims=True)
        tangent: Real = vector - radial * points
        return tangent

    return at


def _of_nodes(nodes: Real, now: xr.Dataset) -> Field:
    """The density at the nearest node, not beyond the nodes if only some of them were taken."""
    values = np.exp(now["log_density"].values)
    reach = None
    if "token_weight" in now:
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = reach_of(now["token_weight"].values / values, carried=True)
    return Field(values, at_nearest(nodes, values, reach))


def _of_variable(now: xr.Dataset, name: str) -> Field:
    variable = now[name]
    if "face" in variable.dims:
        centres = face_centres(now)
        return Field(variable.values, at_nearest(centres, variable.values, _reach(now)))
    values = variable.transpose("lat", "lon").values
    return Field(values, on_grid(now["lon"].values, now["lat"].values, values)[0])


def _reach(now: xr.Dataset) -> Real | None:
    return reach_of(face_areas(now))


def _smoothed(spectrum: Real) -> Field:
    """The heat kernel over tokens, wide enough for the degrees that were saved."""
    spectral = real_to_complex(np.asarray(spectrum, dtype=float))
    top = lmax_of(spectral)
    degree = np.floor(np.sqrt(np.arange(spectrum.size)))
    last = max(top, 1) * (max(top, 1) + 1.0)
    time = np.log(1.0 / _KERNEL_FLOOR) / last
    kernel = np.exp(-time * degree * (degree + 1.0))
    grid = _grid(max(2 * top, 8))
    smooth = real_to_complex(np.asarray(spectrum, dtype=float) * kernel)
    # Truncation leaves undershoots of the size of the kernel's floor.
    values = np.maximum(grid.synthesis(grid.resized(smooth)), 0.0)
    at, _ = on_grid(grid.longitude, grid.latitude, values)
    return Field(values, at, float(np.sqrt(2.0 * time)))


@lru_cache(maxsize=2)
def _grid(lmax: int) -> SphereGrid:
    return SphereGrid(lmax)
