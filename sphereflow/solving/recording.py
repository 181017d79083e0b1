"""The saved times of a run: in memory, and in a file that grows with them.

While a run goes on its file is a netCDF classic one (64-bit offset), to which each time is appended
along the unlimited dimension and flushed before the next step: a process that is killed leaves
all times that it saved. At the end the file is replaced by a compressed netCDF-4 one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..machine.files import replaced
from ..machine.threads import netcdf_access
from ..output.assembly import Coordinates, assemble
from ..output.ends import End
from ..output.netcdf import netcdf_bytes
from ..output.variables import Record

if TYPE_CHECKING:
    import netCDF4
    import xarray

__all__ = ["Recording", "records_of"]


COPIES = 2.0  # of the records, when the dataset is made of them


class Recording:
    """Times and records of one run.

    Parameters
    ----------
    path : Path or None
        File that grows; None keeps the records in memory only.
    attributes : mapping
        Global attributes of the dataset.
    offsets : mapping
        Name → number that is added to the variable at every time, as of a run before this one.
    complete : callable
        Makes the dataset of the growing file from that of this run, as to put an earlier stage
        before it.
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
        self.records: list[Record] = []
        self.times: list[float] = []
        self.coordinates: Coordinates = {}
        self._file: netCDF4.Dataset | None = None
        self._before = 0

    def begin(
        self,
        coordinates: Coordinates,
        times: Sequence[float] = (),
        records: Sequence[Record] = (),
    ) -> None:
        """Forget what there is, and go on after these times."""
        self.close()
        self.coordinates = coordinates
        self.times, self.records = list(times), list(records)
        if self.times and self.path is not None:
            self._guarded(self._create)

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
        self.records.append(record)
        self.times.append(t)
        if self.path is not None:
            self._guarded(self._create if self._file is None else self._extend)

    def dataset(self, state: Record, attributes: Mapping[str, object]) -> xarray.Dataset:
        """All that was saved, with the state at the end and more attributes."""
        known = {**self.attributes, **attributes}
        return assemble(self.records, self.times, self.coordinates, known, state, self.arrays)

    def close(self) -> None:
        """Close the growing file."""
        if self._file is not None:
            with netcdf_access():
                self._file.close()
            self._file = None

    def _guarded(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, RuntimeError) as error:
            self._file = None
            cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
            cause = getattr(cause, "strerror", None) or cause
            last = self.times[-2] if len(self.times) > 1 else None
            kept = "no time is in it" if last is None else f"it holds the times to t = {last:g}"
            raise OutputError(
                f"output '{self.path}' could not be extended at t = {self.times[-1]:g} ({cause}); "
                f"{kept}; check the space on the disk, then resume from a checkpoint"
            ) from error

    def _create(self) -> None:
        import netCDF4

        assert self.path is not None
        whole = self.complete(self.dataset({}, {"status": str(End.RUNNING), "status_reason": ""}))
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

    def _extend(self) -> None:
        """Write the last record, then its time, so that a time stands for a whole record."""
        row = self._before + len(self.times) - 1
        record = self.records[-1]
        latest = assemble([record], self.times[-1:], self.coordinates, {}, {})
        file = self._file
        assert file is not None
        with netcdf_access():
            for name in record:
                saved = file[name]
                saved[row] = latest[name].transpose(*saved.dimensions).values[0]
            if "stage" in file.variables:
                file["stage"][row] = file["stage"][row - 1]
            file.sync()
            file["time"][row] = self.times[-1]
            file.sync()


def records_of(dataset: xarray.Dataset, names: Sequence[str], count: int) -> list[Record]:
    """Records of the first times of a dataset, with a path axis first as schemes give them."""
    order = ("time", "path") if "path" in dataset.dims else ("time",)
    arrays = {name: dataset[name].transpose(*order, ..., missing_dims="ignore") for name in names}
    return [
        {name: np.array(array.values[row]) for name, array in arrays.items()}
        for row in range(count)
    ]
