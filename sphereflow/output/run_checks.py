"""What the variables of a run must be, looked at where a dataset or a file comes in."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..checks import shown
from ..errors import InputError
from .variables import Variable, variable_of

if TYPE_CHECKING:
    import xarray

__all__ = ["check_values", "check_variables"]

TOKEN_WEIGHT = Variable("token_weight", ("token",), "1", "weight of each token", timeless=True)
PLACES: dict[str, tuple[str, ...]] = {  # coordinates and their dimensions
    "lat": ("lat",),
    "lon": ("lon",),
    "face_lat": ("face",),
    "face_lon": ("face",),
    "face_area": ("face",),
    "degree": ("harmonic",),
    "order": ("harmonic",),
}
SIZES = {"axis": 3, "axis2": 3, "row": 3, "column": 3, "entry": 9, "entry2": 9}
UNIT = 1e-5  # deviation of the length of a token from 1, in single precision
NEGATIVE = 1e-6  # of the largest cell: more than that below zero is no round-off
MASS = 1e-2  # deviation of the mass of a spectrum from 1


def check_variables(run: xarray.Dataset, name: str) -> None:
    """Raise an error unless the variables of this run are of the kind that `solve` gives.

    Raises
    ------
    InputError
        On dimensions, sizes, types, units or places that no run has.
    """
    for variable in map(str, run.variables):
        known = TOKEN_WEIGHT if variable == TOKEN_WEIGHT.name else variable_of(variable)
        if known is not None:
            _check_shape(run, known, name)
        elif variable in PLACES:
            _check_place(run, variable, name)
    for dimension, size in SIZES.items():
        if run.sizes.get(dimension, size) != size:
            raise InputError(
                f"{name} must have {size} entries of '{dimension}', got {run.sizes[dimension]}; "
                "pass the run before a part of it was selected"
            )
        _check_labels(run, dimension, name)


def _check_shape(run: xarray.Dataset, variable: Variable, name: str) -> None:
    found = run[variable.name]
    dims = set(found.dims) - {"time", "path"}
    wanted = [{"lat", "lon"}, {"face"}] if variable.on_sphere else [set(variable.dims)]
    timeless = not variable.timeless and "time" not in found.dims
    others = min((dims - one for one in wanted), key=len)
    if found.dtype.kind not in "iuf" or timeless or not any(one <= dims for one in wanted):
        time = set() if variable.timeless else {"time"}
        known = " or ".join(str(sorted(one | time)) for one in wanted)
        raise InputError(
            f"{name} must hold numbers as '{variable.name}' with the dimensions {known}, got the "
            f"type {found.dtype} and {found.dims}; pass what solve returned, and select with a "
            "list as in isel(lat=[0]) to keep a dimension"
        )
    if others:
        one = sorted(map(str, others))[0]
        raise InputError(
            f"{name} must be one run, got '{variable.name}' with the dimension '{one}' besides; "
            f"select one with isel({one}=0)"
        )
    units, right = found.attrs.get("units"), variable.units
    if units is not None and not (isinstance(units, str) and units == right):
        raise InputError(
            f"{name} must hold '{variable.name}' in the units {right!r}, got {shown(units)}; "
            "convert it"
        )


def _check_place(run: xarray.Dataset, variable: str, name: str) -> None:
    found = run[variable]
    right = found.dtype.kind in "iuf" and found.dims in (PLACES[variable], ())
    values = found.values.astype(float) if right else np.full(1, np.nan)
    right &= bool(np.isfinite(values).all())
    if variable in ("lat", "face_lat"):
        right &= bool((np.abs(values) <= 90.0 + 1e-6).all())
    if variable == "face_area":
        right &= bool((values > 0).all())
    if variable in ("lat", "lon"):
        right &= np.unique(values).size == values.size
    if not right:
        raise InputError(
            f"{name} must hold finite numbers over {PLACES[variable]} as '{variable}', each place "
            f"once, got {shown(found.values)}; pass what solve returned"
        )
    units = found.attrs.get("units", "degrees")
    in_degrees = isinstance(units, str) and units.lower().startswith("degree")
    if variable.endswith(("lat", "lon")) and not in_degrees:
        raise InputError(
            f"{name} must hold '{variable}' in degrees, got the units {shown(units)}; convert it"
        )


def _check_labels(run: xarray.Dataset, dimension: str, name: str) -> None:
    if dimension not in ("axis", "axis2") or dimension not in run.coords:
        return
    labels = [one.decode() if isinstance(one, bytes) else one for one in run[dimension].values.flat]
    if labels != ["x", "y", "z"]:
        raise InputError(
            f"{name} must have x, y and z as '{dimension}' in this order, got {shown(labels)}; "
            f"select them with sel({dimension}=['x', 'y', 'z'])"
        )


def check_values(run: xarray.Dataset, name: str) -> None:
    """Raise an error unless the values of this run, put in order, are such as a run may have.

    What a run lacks is no matter here, nor a number that is as good as another.

    Raises
    ------
    InputError
        If harmonics are missing, or on values that no run has.
    """
    for dimension in ("harmonic", "final_harmonic"):
        _check_degrees(run, dimension, name)
    for variable, check in VALUES.items():
        if variable in run:
            complaint = check(run[variable].values, run[variable].dims)
            if complaint:
                raise InputError(
                    f"{name} must hold {complaint} as '{variable}'; the file is damaged, or not "
                    "one that sphereflow wrote"
                )


def _check_degrees(run: xarray.Dataset, dimension: str, name: str) -> None:
    count = run.sizes.get(dimension, 1)
    top = int(np.sqrt(count)) - 1
    whole = count == (top + 1) ** 2
    if whole and dimension == "harmonic" and {"degree", "order"} <= run.coords.keys():
        degree = np.repeat(np.arange(top + 1), 2 * np.arange(top + 1) + 1)
        order = np.arange(count) - degree * (degree + 1)
        whole = run["degree"].values.shape == run["order"].values.shape == (count,)
        whole = whole and bool(
            (run["degree"].values == degree).all() and (run["order"].values == order).all()
        )
    if not whole:
        raise InputError(
            f"{name} must hold all orders of each degree over '{dimension}', got {count} of them "
            "that are not; select (lmax + 1)**2 in their order"
        )


# What is wrong with values is told by what they must be.

Real = NDArray[np.float64]
Dims = tuple[Hashable, ...]
Check = Callable[[Real, Dims], str]


def _axis(dims: Dims, *names: str) -> tuple[int, ...]:
    return tuple(dims.index(one) for one in names)


def _spectrum(values: Real, dims: Dims) -> str:
    along = _axis(dims, "harmonic")[0]
    missing = np.isnan(values)
    partly = missing.any(axis=along) & ~missing.all(axis=along)
    if partly.any() or np.isinf(values).any():
        return "finite coefficients, or none of a time,"
    mass = np.sqrt(4 * np.pi) * values.take(0, axis=along)
    if (np.abs(mass - 1.0) > MASS).any():
        return "a spectrum of mass 1"
    return ""


def _final_spectrum(values: Real, dims: Dims) -> str:
    if not np.isfinite(values).all():
        return "finite coefficients"
    mass = np.sqrt(4 * np.pi) * values.take(0, axis=_axis(dims, "final_harmonic")[0])
    return "a spectrum of mass 1" if (np.abs(mass - 1.0) > MASS).any() else ""


def _position(values: Real, dims: Dims) -> str:
    length = np.linalg.norm(values, axis=_axis(dims, "axis")[0])
    return "" if not (np.abs(length - 1.0) > UNIT).any() else "unit vectors"


def _weights(values: Real, dims: Dims) -> str:
    good = np.isfinite(values).all() and (values >= 0).all()
    return "" if good and values.sum() > 0 else "finite weights of at least 0 that are not all 0"


def _head_weights(values: Real, dims: Dims) -> str:
    return "" if not (values < 0).any() and not np.isinf(values).any() else "weights of at least 0"


def _logarithm(values: Real, dims: Dims) -> str:
    return "finite logarithms of densities" if (values > 700.0).any() else ""


def _density(values: Real, dims: Dims) -> str:
    places = tuple(k for k, dim in enumerate(dims) if dim not in ("time", "path"))
    if np.isinf(values).any():
        return "finite values"
    if not values.size:
        return "at least one value"
    known = np.where(np.isnan(values), 0.0, values)
    least, most = known.min(axis=places), known.max(axis=places)
    if "face" in dims and (least < -NEGATIVE * np.maximum(most, 0.0)).any():
        return "cell means of at least 0"
    return "a density that is not negative everywhere" if ((least < 0) & (most <= 0)).any() else ""


VALUES: dict[str, Check] = {
    "spectrum": _spectrum,
    "final_spectrum": _final_spectrum,
    "position": _position,
    "token_weight": _weights,
    "head_weight": _head_weights,
    "log_density": _logarithm,
    "density": _density,
}
