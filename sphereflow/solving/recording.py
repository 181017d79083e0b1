"""The saved times of a run: in memory, and in a file that grows with them.

While a run goes on its file is a netCDF classic one (64-bit offset), to which times are appended
along the unlimited dimension and flushed: each one before the next step, or those of a quarter of
a second together. A process that is killed leaves all others. At the end the file is replaced by
a compressed netCDF-4 one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..machine.files import replaced
from ..machine.threads import netcdf_access
from ..output.assembly import Coordinates, assemble, dimensions_of
from ..output.ends import End
from ..output.netcdf import lazily_opened, netcdf_bytes, write_rows
from ..output.variables import Record

if TYPE_CHECKING:
    import netCDF4
    import xarray

__all__ = ["Recording", "records_of"]


PAUSE = 0.25  # s at most between two times of writing
WAITING = 1 << 23  # bytes at most of records that are not written
COPIES = 2.0  # of the records, when the dataset or the last file is made of them


class Recording:
    """Times and records of one run, which are in memory or in the file, not in both.

    Parameters
    ----------
    path : Path or None
        File that grows; None keeps the records in memory.
    attributes : mapping
        Global attributes of the dataset.
    offsets : mapping
        Name → number that is added to the variable at every time, as of a run before this one.
    complete : callable
        Makes the whole dataset from that of this run, as to put an earlier stage before it.
    arrays : mapping, optional
        Arrays of the experiment, by the names of their variables.
    """

    def __init__(
        self,
        path: Path | None,
        attributes: Mapping[str, object],
        offsets: Mapping[str, float],
        complete: Callable[[xarray.Dataset], xarray.Dataset] = lambda dataset: dataset,
        arrays: Mapping[str, NDArray[np.float64]] | None = None,
    ) -> None:
        self.path = path
        self.attributes = attributes
        self.offsets = offsets
        self.complete = complete
        self.arrays = arrays
        self.times: list[float] = []
        self.names: list[str] = []
        self.law_error = 0.0  # the largest that was recorded
        self.coordinates: Coordinates = {}
        self._records: list[Record] = []  # with a file those to be written, and the last one
        self._written = 0  # times that are in the file
        self._waiting = 0  # bytes of the others
        self._next = 0.0  # when they are written
        self._file: netCDF4.Dataset | None = None
        self._order: dict[str, list[int]] = {}
        self._before = 0

    def begin(
        self,
        coordinates: Coordinates,
        times: Sequence[float] = (),
        records: Sequence[Record] = (),
    ) -> None:
        """Forget what there is, and go on after these times."""
        self._written = len(self.times)
        self.close()
        self.coordinates = coordinates
        self.times, self._records, self.law_error = list(times), list(records), 0.0
        self._written = 0
        self.names = list(records[0]) if records else []
        for record in records:
            self._note(record)
        self._next, self._waiting = 0.0, 0
        self.write()

    def append(self, t: float, record: Record) -> None:
        """Save one more time.

        Raises
        ------
        OutputError
            If the file cannot be extended; it keeps the times before.
        """
        record = {
            name: value + self.offsets[name] if name in self.offsets else value
            for name, value in record.items()
        }
        self._note(record)
        self.names = list(record)
        self.times.append(t)
        self._records.append(record)
        if self.path is not None:
            self._waiting += sum(np.asarray(value).nbytes for value in record.values())
            if self._waiting > WAITING or time.monotonic() >= self._next:
                self.write()

    def write(self) -> None:
        """Write the times that are not in the file.

        Raises
        ------
        OutputError
            If the file cannot be extended; it keeps the times before.
        """
        if self.path is None or self._written == len(self.times):
            return
        self._guarded(self._create if self._file is None else self._extend)
        self._written, self._records = len(self.times), self._records[-1:]
        self._next, self._waiting = time.monotonic() + PAUSE, 0

    def dataset(self, state: Record, attributes: Mapping[str, object]) -> xarray.Dataset:
        """All that was saved, with the state at the end and more attributes.

        With a path this is the file, which is written whole and opened lazily.
        """
        known = {**self.attributes, **attributes}
        if self.path is None:
            return self._assembled(known, state)
        self.close()
        own = self._assembled(known, state)
        write_rows(own.isel(time=[-1]), self.path, self.path)
        return lazily_opened(self.path)

    def close(self) -> None:
        """Write what there is, and close the growing file."""
        self.write()
        if self._file is not None:
            with netcdf_access():
                self._file.close()
            self._file = None

    def _note(self, record: Record) -> None:
        self.law_error = max(self.law_error, float(record.get("head_law_error", 0.0)))

    def _assembled(self, attributes: Mapping[str, object], state: Record) -> xarray.Dataset:
        times = self.times[len(self.times) - len(self._records) :]
        return self.complete(
            assemble(self._records, times, self.coordinates, attributes, state, self.arrays)
        )

    def _guarded(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, RuntimeError) as error:
            self._file = None
            cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
            cause = getattr(cause, "strerror", None) or cause
            last = self.times[self._written - 1] if self._written else None
            self._written = len(self.times)  # nothing more is tried
            kept = "no time is in it" if last is None else f"it holds the times to t = {last:g}"
            raise OutputError(
                f"output '{self.path}' could not be extended at t = {self.times[-1]:g} ({cause}); "
                f"{kept}; check the space on the disk, then resume from a checkpoint"
            ) from error

    def _create(self) -> None:
        import netCDF4

        assert self.path is not None
        about = {"status": str(End.RUNNING), "status_reason": ""}
        whole = self._assembled({**self.attributes, **about}, {})
        for variable in whole.variables.values():
            variable.encoding.clear()
        content = netcdf_bytes(
            whole.transpose("time", ...), form="NETCDF3_64BIT_OFFSET", unlimited_dims=["time"]
        )
        with replaced(self.path, "output") as partial:
            partial.write_bytes(content)
        self._before = whole.sizes["time"] - len(self.times)
        with netcdf_access():
            self._file = netCDF4.Dataset(self.path, "a")
            self._file.set_auto_mask(False)
            for name in self.names:
                own = dimensions_of(name, self.coordinates)
                axes = self._file[name].dimensions[1:]
                self._order[name] = [0, *(1 + own.index(axis) for axis in axes)]

    def _extend(self) -> None:
        """Write records, then their times, so that a time stands for a whole record."""
        assert self._file is not None
        new = self._records[self._written - len(self.times) :]
        low = self._before + self._written
        rows = slice(low, low + len(new))
        with netcdf_access():
            variables = self._file.variables
            for name in self.names:
                values = np.stack([np.asarray(record[name]) for record in new])
                variables[name][rows] = np.transpose(values, self._order[name])
            if "stage" in variables:
                variables["stage"][rows] = np.repeat(variables["stage"][low - 1], len(new))
            self._file.sync()
            variables["time"][rows] = self.times[self._written :]
            self._file.sync()


def records_of(dataset: xarray.Dataset, names: Sequence[str], count: int) -> list[Record]:
    """Records of the first times of a dataset, with a path axis first as schemes give them."""
    order = ("time", "path") if "path" in dataset.dims else ("time",)
    arrays = {name: dataset[name].transpose(*order, ..., missing_dims="ignore") for name in names}
    return [
        {name: np.array(array.values[row]) for name, array in arrays.items()}
        for row in range(count)
    ]
