"""The dataset of a sweep, and the members that are selected from it as the runs that they are.

Such a dataset has the swept parameters as dimensions. Three variables over these say what a member
was: `member_attributes`, the attributes of its dataset as JSON, `member_file`, the name of its
file, and `recorded`, which of all output times are its own.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..checks import shown
from ..errors import InputError

if TYPE_CHECKING:
    import xarray

__all__ = [
    "ATTRIBUTES",
    "FILE",
    "KEPT_ATTRIBUTES",
    "OWN",
    "RECORDED",
    "is_sweep",
    "left_out_of",
    "member_of",
    "member_text",
    "swept_dims",
]

ATTRIBUTES = "member_attributes"
FILE = "member_file"
RECORDED = "recorded"
OWN = ("member", "status", "status_reason", "wall_time", ATTRIBUTES, FILE, RECORDED)
# Of the members, which the sweep has as well.
KEPT_ATTRIBUTES = ("Conventions", "title", "description", "source", "references", "backend")
_CLOCKS = ("history", "date_created")


def swept_dims(dataset: xarray.Dataset) -> tuple[str, ...]:
    """The dimensions of a sweep that are left; none of a run or a selected member."""
    if ATTRIBUTES not in dataset:
        return ()
    return tuple(str(dim) for dim in dataset[ATTRIBUTES].dims)


def is_sweep(dataset: xarray.Dataset) -> bool:
    """Whether this is the dataset of a sweep with more than one member."""
    return any(dataset.sizes[dim] > 1 for dim in swept_dims(dataset))


def member_text(
    member: xarray.Dataset,
    attributes: Mapping[str, object],
    first: Mapping[str, xarray.Variable],
    without: Collection[str],
) -> str:
    """What a member has of its own, as JSON for `member_attributes`.

    Parameters
    ----------
    member : xarray.Dataset
    attributes : mapping
        Of the sweep, which are not repeated.
    first : mapping
        The variables whose attributes those of the sweep have.
    without : collection of str
        Names of attributes that are left away, besides those of clocks.
    """
    own = {
        key: value
        for key, value in member.attrs.items()
        if key not in {*without, *_CLOCKS}
        and (key not in KEPT_ATTRIBUTES or attributes.get(key) != value)
    }
    kinds = {str(name): variable.dtype.str for name, variable in member.variables.items()}
    # What differs is the time of a variable without times.
    of_variables = {
        name: variable.attrs
        for name, variable in member.variables.items()
        if "time" in variable.attrs
        and (name not in first or first[str(name)].attrs["time"] != variable.attrs["time"])
    }
    content = {"attributes": own, "kinds": kinds, "variables": of_variables}
    return json.dumps(content, default=_as_plain)


def _as_plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def member_of(dataset: xarray.Dataset, name: str = "run") -> xarray.Dataset:
    """The run of a member that was selected from the dataset of a sweep; a run as it is.

    It has the times, variables, types and attributes of the file of the member, less what the
    sweep left out, and the attributes `swept`, `member_file` and `left_out`.

    Parameters
    ----------
    dataset : xarray.Dataset
    name : str
        Of the argument, for errors.

    Raises
    ------
    InputError
        If several members are left, or the member has no dataset or none of these times.
    """
    if ATTRIBUTES not in dataset:
        return dataset
    sizes = {dim: dataset.sizes[dim] for dim in swept_dims(dataset)}
    if any(size != 1 for size in sizes.values()):
        over = ", ".join(f"{dim} ({size})" for dim, size in sizes.items())
        one = ", ".join(f"{dim}=0" for dim in sizes)
        raise InputError(
            f"{name} must be one run, got a sweep over {over}; select a member as with "
            f"isel({one}), give the file of a member, or draw all with kind 'phase' or 'family'"
        )
    run = dataset.isel(dict.fromkeys(sizes, 0))
    swept = {
        str(key): coordinate.item()
        for key, coordinate in run.coords.items()
        if "parameter" in coordinate.attrs and coordinate.ndim == 0
    }
    text = str(run[ATTRIBUTES].item())
    if not text:
        raise InputError(
            f"{name} must be a member with a dataset, got one that failed, {shown(swept)}: "
            f"{run['status_reason'].item() if 'status_reason' in run else ''}; select another"
        )
    known = json.loads(text)
    run = _of_own_times(run, name)
    kinds: dict[str, str] = known["kinds"]
    away = [key for key in run.variables if key not in kinds and key != "time"]
    run = run.drop_vars(away)
    for key, kind in kinds.items():
        if key in run and np.dtype(kind).kind in "iu" and run[key].dtype.kind == "f":
            run[key] = run[key].astype(kind)
            flags = run[key].attrs.get("flag_values")
            if flags is not None:
                run[key].attrs["flag_values"] = np.asarray(flags, dtype=kind)
    for key, attributes in known["variables"].items():
        if key in run:
            run[key].attrs = attributes
    left_out = [key for key in str(dataset.attrs.get("left_out", "")).split() if key in kinds]
    kept = {key: dataset.attrs[key] for key in KEPT_ATTRIBUTES if key in dataset.attrs}
    run.attrs = kept | known["attributes"]
    if "history" in dataset.attrs:
        run.attrs["history"] = dataset.attrs["history"]
    run.attrs["swept"] = ", ".join(f"{key} = {_short(value)}" for key, value in swept.items())
    if FILE in dataset:
        run.attrs["member_file"] = str(dataset[FILE].values.reshape(-1)[0])
    run.attrs["left_out"] = " ".join(left_out)
    return run


def _of_own_times(run: xarray.Dataset, name: str) -> xarray.Dataset:
    if RECORDED not in run:
        return run
    own = np.atleast_1d(run[RECORDED].values) > 0
    if not own.any():
        raise InputError(
            f"{name} must hold times of its own, got a member without values at those that were "
            "selected; select others"
        )
    return run.isel(time=np.flatnonzero(own)) if "time" in run[RECORDED].dims else run


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def left_out_of(run: xarray.Dataset, *names: str) -> str:
    """End of a sentence on a missing variable: in which file it is, if the sweep left it out.

    Examples
    --------
    >>> import xarray as xr
    >>> about = {"left_out": "density position", "member_file": "member_00003.nc"}
    >>> left_out_of(xr.Dataset(attrs=about), "position")
    '; the sweep left out position, which member_00003.nc beside its dataset holds'
    """
    left_out = str(run.attrs.get("left_out", "")).split()
    found = [name for name in names or left_out if name in left_out]
    if not found or "member_file" not in run.attrs:
        return ""
    file = run.attrs["member_file"]
    return f"; the sweep left out {', '.join(found)}, which {file} beside its dataset holds"
