"""netCDF files, put in place at once."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..machine.files import replaced
from ..machine.threads import netcdf_access, taking_turns

if TYPE_CHECKING:
    import xarray

__all__ = ["lazily_opened", "netcdf_bytes", "write_netcdf", "write_rows"]

FIRST_BLOCK = 1 << 20  # bytes of a file in memory, which grows
ROOM_FOR_NAMES = 1 << 20  # bytes of a file besides the values
CHUNK = 1 << 20  # bytes of a variable that are packed together
CHUNKS_AT_ONCE = 8  # that are copied


def write_netcdf(
    dataset: xarray.Dataset, path: str | os.PathLike[str], *, through_links: bool = True
) -> None:
    """Write the dataset as compressed netCDF-4, by a temporary file that is then renamed.

    Raises
    ------
    OutputError
        If writing fails.
    """
    encoding = _packed(dataset)
    with replaced(Path(path), "output", through_links=through_links) as partial:
        if _has_room(partial, dataset.nbytes + ROOM_FOR_NAMES):
            with taking_turns():
                dataset.to_netcdf(partial, engine="netcdf4", format="NETCDF4", encoding=encoding)
        else:
            partial.write_bytes(netcdf_bytes(dataset, encoding=encoding))


def lazily_opened(path: Path) -> xarray.Dataset:
    """The dataset of a file, whose variables are read where they are used."""
    import xarray

    with taking_turns():
        return xarray.open_dataset(path, engine="netcdf4")


def write_rows(last: xarray.Dataset, rows: Path, path: Path) -> None:
    """Write what `write_netcdf` writes, without having all of it in memory.

    Parameters
    ----------
    last : xarray.Dataset
        The dataset at its last time only.
    rows : Path
        netCDF classic file with all times; only what has the dimension time is taken from it.
    path : Path
        May be that of the rows, which are then replaced.

    Raises
    ------
    OutputError
        If writing fails.
    """
    with taking_turns(), replaced(path, "output") as partial:
        if not _has_room(partial, rows.stat().st_size + last.nbytes + ROOM_FOR_NAMES):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        encoding = _packed(last)
        for name, variable in last.variables.items():
            if "time" in variable.dims:
                chunk = dict(zip(variable.dims, variable.shape, strict=True))
                chunk["time"] = max(1, CHUNK // max(1, 8 * variable.size))
                known = encoding.setdefault(name, _fill_of(variable))
                known["chunksizes"] = tuple(chunk.values())
        last.to_netcdf(partial, engine="netcdf4", encoding=encoding, unlimited_dims=["time"])
        _copy_rows(rows, partial, [str(n) for n, v in last.variables.items() if "time" in v.dims])


def _copy_rows(rows: Path, path: Path, names: Sequence[str]) -> None:
    """Copy variables over time, block by block."""
    import netCDF4

    with netcdf_access(), netCDF4.Dataset(rows) as first, netCDF4.Dataset(path, "a") as second:
        for file in (first, second):
            file.set_auto_maskandscale(False)
        count = len(first.dimensions["time"])
        for name in names:
            source, target = first[name], second[name]
            order = [source.dimensions.index(axis) for axis in target.dimensions]
            axis = target.dimensions.index("time")
            before = [slice(None)] * axis
            target.set_var_chunk_cache(size=CHUNK)
            step = CHUNKS_AT_ONCE * int(target.chunking()[axis])
            for low in range(0, count, step):
                part = slice(low, min(low + step, count))
                target[(*before, part)] = source[part].transpose(order)


def _packed(dataset: xarray.Dataset) -> dict[Hashable, dict[str, object]]:
    return {
        name: {"zlib": True, "complevel": 1} | _fill_of(variable.variable)
        for name, variable in dataset.data_vars.items()
        if variable.ndim > 1
    }


def _fill_of(variable: xarray.Variable) -> dict[str, object]:
    return {key: value for key, value in variable.encoding.items() if key == "_FillValue"}


def _has_room(path: Path, size: int) -> bool:
    """Whether a file can surely grow to this size: on a full disk the library ends the process."""
    try:
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
            file.truncate(0)
    except AttributeError:  # where there is no such call
        return shutil.disk_usage(path.parent).free > size
    except OSError:
        os.truncate(path, 0)
        return False
    return True


def netcdf_bytes(
    dataset: xarray.Dataset,
    *,
    form: Literal["NETCDF4", "NETCDF3_64BIT_OFFSET"] = "NETCDF4",
    **options: object,
) -> bytes | memoryview:
    """The netCDF file of a dataset, put together in memory, so that Python can write it.

    On a full disk the netCDF library does not say what is wrong, and ends the process when it
    closes what it could not write. A file of netCDF 4 that was made so cannot be appended to.

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
