"""The members of a sweep in one dataset, with the swept parameters as dimensions."""

from __future__ import annotations

import datetime
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..machine.threads import opened_dataset
from ..output.arrays import PREFIX
from ..output.ends import End
from ..output.reading import section_of
from ..output.swept import ATTRIBUTES, FILE, KEPT_ATTRIBUTES, OWN, RECORDED, member_text
from ..output.variables import COORDINATES, VARIABLES
from ..version import __version__
from .sweep_plan import Plan
from .workers import MARK

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["combine", "dimension_names", "write_zarr"]

MOST_BYTES = 2**30  # of the combined dataset; what goes beyond stays in the files of the members
# Dimension, values and attributes.
Coordinate = tuple[str, Sequence[object], Mapping[str, object]]


def combine(plan: Plan, folder: Path) -> xr.Dataset:
    """One dataset of all members that have a file and did not fail.

    The times are those of all members, without those at which a relay changed its scheme between
    two outputs. What a member lacks is NaN. What is the same in all of
    them, and does not depend on time, has no dimension of the sweep. Variables whose other
    dimensions differ between members, and the largest ones beyond `MOST_BYTES`, are left out and
    listed in the attribute `left_out`; `member_file` names the files that hold them. A selected
    member is again a run for all that reads runs, by `sphereflow.output.swept`.

    Parameters
    ----------
    plan : Plan
        With the status of each member.
    folder : Path
        Where the files of the members are.
    """
    import xarray

    present = [
        member
        for member in plan.members
        if member.status != End.FAILED and (folder / member.file).exists()
    ]
    survey = _Survey(_opened(folder / member.file for member in present))
    coordinates = _coordinates(plan, survey.names)
    dims = tuple(dict.fromkeys(values[0] for values in coordinates.values()))
    shape = tuple(
        1 + max(member.index[axis] for member in plan.members) for axis in range(len(dims))
    )
    dataset = xarray.Dataset(coords=coordinates)
    for name, of in (("status", "status"), ("status_reason", "reason"), ("wall_time", "seconds")):
        values = np.array([getattr(member, of) for member in plan.members]).reshape(shape)
        dataset[name] = (dims, values, _describe(name))

    left_out = set(survey.uneven)
    combined: dict[str, np.ndarray] = {}
    total = 0
    for name, inner in sorted(survey.shapes().items(), key=lambda item: np.prod(item[1])):
        size = 8 * int(np.prod(shape + inner))
        if total + size > MOST_BYTES:
            left_out.add(name)
            continue
        total += size
        combined[name] = np.full(shape + inner, np.nan)
    recorded = np.zeros((*shape, survey.times.size), dtype=np.int8)
    texts, files = np.full(shape, "", dtype=object), np.full(shape, "", dtype=object)
    attributes = {key: survey.attrs[key] for key in KEPT_ATTRIBUTES if key in survey.attrs}
    for member, opened in zip(present, _opened(folder / member.file for member in present)):
        own = _output_times(opened)
        where = np.searchsorted(survey.times, opened["time"].values[own] - survey.tolerance)
        recorded[member.index][where] = 1
        texts[member.index] = member_text(opened, attributes, survey.first, (MARK,))
        files[member.index] = member.file
        for name, values in combined.items():
            if name in opened.variables:
                one = opened.variables[name]
                before = (slice(None),) * (one.dims.index("time") if "time" in one.dims else 0)
                place = (*before, where) if "time" in one.dims else ()
                known = one.isel(time=own) if "time" in one.dims else one
                values[member.index][place] = known.values
    dataset[FILE] = (dims, files, _describe(FILE))
    dataset[ATTRIBUTES] = (dims, texts, _describe(ATTRIBUTES))
    if present:
        dataset[RECORDED] = ((*dims, "time"), recorded, _describe(RECORDED))
        dataset = dataset.assign_coords(time=("time", survey.times, COORDINATES["time"]))
    for name, values in combined.items():
        dataset[name] = ((*dims, *survey.first[name].dims), values, _plain(survey.first[name]))
    for name in survey.same():
        one = survey.first[name]
        dataset[name] = (one.dims, one.values, one.attrs)
    dataset = dataset.set_coords([name for name in survey.auxiliary if name in dataset])
    for coordinate in dataset.coords.values():
        coordinate.encoding["_FillValue"] = None  # CF: coordinates have no missing values
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    dataset.attrs = attributes | {
        "history": f"{now} combined by sphereflow {__version__}",
        "experiment": json.dumps(plan.config, default=str),
        "left_out": " ".join(sorted(left_out)),
        "left_out_comment": "what left_out lists is in the file of each member, which the variable "
        f"{FILE} names",
    }
    return dataset


def dimension_names(keys: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Key → its last part, or the whole key with underscores where that is not unique.

    Examples
    --------
    >>> dimension_names(["heads.sigma", "scheme.lmax"], taken=["lmax"])
    {'heads.sigma': 'sigma', 'scheme.lmax': 'scheme_lmax'}
    """
    keys = list(keys)
    last = [key.rpartition(".")[2] for key in keys]
    avoided = {*taken, *VARIABLES, *COORDINATES, *OWN}
    return {
        key: part
        if part.isidentifier() and part not in avoided and last.count(part) == 1
        else key.replace(".", "_")
        for key, part in zip(keys, last)
    }


def write_zarr(dataset: xr.Dataset, target: Path) -> None:
    """Write the dataset as a zarr store, by a temporary store that is then renamed."""
    try:
        folder = Path(
            tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        )
        partial = folder / target.name
        dataset.to_zarr(partial, zarr_format=2, consolidated=True)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        folder.rmdir()
    except OSError as error:
        raise OutputError(
            f"output '{target}' could not be written ({error}); check space and permissions"
        ) from error


class _Survey:
    """What the members have in common and where they differ."""

    def __init__(self, members: Iterable[xr.Dataset]) -> None:
        # Variables as they are in the first member that has them.
        self.first: dict[str, xr.Variable] = {}
        self.attrs: dict[str, object] = {}
        self.auxiliary: set[str] = set()  # coordinates that are no dimensions
        self._differing: set[str] = set()  # variables without time whose values differ
        sizes: dict[str, int] = {}
        uneven: set[str] = set()  # dimensions
        ragged: set[str] = set()  # variables of other dimensions in other members
        times = [np.zeros(0)]
        for member in members:
            self.attrs = self.attrs or member.attrs
            times.append(member["time"].values[_output_times(member)])
            uneven |= {
                str(dim)
                for dim, size in member.sizes.items()
                if dim != "time" and sizes.setdefault(str(dim), size) != size
            }
            for key, variable in member.variables.items():
                name = str(key)
                if name == "time" or name.startswith(PREFIX):
                    continue
                if name in member.coords and name not in member.dims:
                    self.auxiliary.add(name)
                known = self.first.get(name)
                if known is None:
                    self.first[name] = variable if "time" in variable.dims else variable.load()
                elif known.dims != variable.dims:
                    ragged.add(name)
                elif "time" not in variable.dims and not known.equals(variable):
                    (uneven if name in member.dims else self._differing).add(name)
        self.uneven = ragged | {
            name for name, variable in self.first.items() if uneven & set(variable.dims)
        }
        # Times that differ by their rounding are one time.
        union = np.unique(np.concatenate(times))
        self.tolerance = 1e-12 * float(np.abs(union).max(initial=1.0))
        self.times = union[np.diff(union, prepend=-np.inf) > self.tolerance]
        self._sizes = {**sizes, "time": self.times.size}
        self.names = {*self.first, *self._sizes}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape within one member of all variables that vary over the sweep."""
        return {
            name: tuple(self._sizes[str(dim)] for dim in variable.dims)
            for name, variable in self.first.items()
            if name not in self.uneven and ("time" in variable.dims or name in self._differing)
        }

    def same(self) -> list[str]:
        """Variables without time whose values are the same in all members that have them."""
        varying = self.shapes().keys() | self.uneven
        return [name for name in self.first if name not in varying]


def _opened(paths: Iterable[Path]) -> Iterator[xr.Dataset]:
    """The datasets of files, each open until the next is asked for."""
    for path in paths:
        with opened_dataset(path, engine="netcdf4", mask_and_scale=False) as dataset:
            yield dataset


def _output_times(member: xr.Dataset) -> NDArray[np.int64]:
    """Places of the times of a member, less that of a change of scheme between two outputs."""
    times = member["time"].values
    inside = np.zeros(times.size, dtype=bool)
    inside[1:-1] = True
    switch = member.attrs.get("switch_time", np.nan)
    switched = inside & (times == switch)
    asked = section_of(member.attrs, "run").get("save_at")
    if isinstance(asked, list):
        switched &= ~np.isin(times, asked)
    return np.flatnonzero(~switched)


def _coordinates(plan: Plan, taken: Iterable[str]) -> dict[str, Coordinate]:
    names = dimension_names(plan.parameters, taken)
    coordinates: dict[str, Coordinate] = {}
    if plan.mode == "zip":
        numbers = [member.number for member in plan.members]
        coordinates["member"] = ("member", numbers, _describe("member"))
    for key, values in plan.parameters.items():
        attributes = {"long_name": f"swept parameter {key}", "parameter": key}
        dim = "member" if plan.mode == "zip" else names[key]
        coordinates[names[key]] = (dim, _labels(values), attributes)
    return coordinates


def _labels(values: list[object]) -> list[object]:
    """Numbers, truth values or strings as they are, anything else as JSON."""
    kinds = {type(value) for value in values}
    if kinds <= {int, float} or kinds == {bool} or kinds == {str}:
        return values
    return [json.dumps(value, default=str) for value in values]


def _describe(name: str) -> dict[str, str]:
    return {
        "member": {"long_name": "number of the member"},
        "status": {"long_name": "how the run ended; failed without a dataset"},
        "status_reason": {"long_name": "why the run ended, or the error"},
        "wall_time": {"units": "s", "long_name": "wall time of the run"},
        FILE: {"long_name": "file of the member, beside this dataset"},
        ATTRIBUTES: {"long_name": "attributes and types of the dataset of the member, as JSON"},
        RECORDED: {"units": "1", "long_name": "1 where the member has this output time, else 0"},
    }[name]


def _plain(variable: xr.Variable) -> dict[str, object]:
    """Attributes for values that are now floating-point numbers."""
    attributes: Mapping[str, object] = variable.attrs
    return {
        name: np.asarray(value, dtype=np.float64) if name == "flag_values" else value
        for name, value in attributes.items()
        if name != "_FillValue"
    }
