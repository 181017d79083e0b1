"""netCDF files, put in place at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..machine.files import replaced
from ..machine.threads import taking_turns

if TYPE_CHECKING:
    import xarray

__all__ = ["netcdf_bytes", "write_netcdf"]

FIRST_BLOCK = 1 << 20  # bytes of a file in memory, which grows
ROOM_FOR_NAMES = 1 << 20  # bytes of a file besides the values


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
    encoding: dict[Hashable, dict[str, object]] = {
        name: packed | {key: of for key, of in v.encoding.items() if key == "_FillValue"}
        for name, v in dataset.data_vars.items()
        if v.ndim > 1
    }
    with replaced(target, "output", through_links=through_links) as partial:
        if _has_room(partial, dataset.nbytes + ROOM_FOR_NAMES):
            with taking_turns():
                dataset.to_netcdf(partial, engine="netcdf4", format="NETCDF4", encoding=encoding)
        else:
            partial.write_bytes(netcdf_bytes(dataset, encoding=encoding))


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
