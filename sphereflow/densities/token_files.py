"""Tables of tokens as people have them: text files with or without a heading, and DataFrames."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ..machine.memory import available

__all__ = ["ENDINGS", "from_table", "from_text", "is_table"]

Real = NDArray[np.float64]

ENDINGS = (".csv", ".tsv", ".txt", ".dat")
COPIES = 8  # of a text, while its table is made
LARGEST_TEXT = 2**31  # bytes of a table after it is unpacked
NAMES = {
    "x": "x",
    "y": "y",
    "z": "z",
    "weight": "weight",
    "weights": "weight",
    "lat": "lat",
    "latitude": "lat",
    "lon": "lon",
    "long": "lon",
    "longitude": "lon",
}


class Column(Protocol):
    """A column of a table."""

    def to_numpy(self) -> NDArray[np.generic]: ...


class Columns(Protocol):
    """The columns of a table by their place."""

    def __getitem__(self, place: tuple[slice, int], /) -> Column: ...


class Table(Protocol):
    """What is needed of a DataFrame."""

    @property
    def columns(self) -> Iterable[object]: ...
    @property
    def iloc(self) -> Columns: ...


def is_table(value: object) -> TypeGuard[Table]:
    """Whether this is a table with named columns, as a DataFrame."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def from_text(file: Path) -> tuple[Real, Real | None]:
    """Positions (n, 3) and weights (n,), if there are any, of a file of text, as `from_table`.

    Commas, semicolons, tabs or blanks separate the columns; the heading may be quoted or a
    comment; without one there are 3 or 4 columns x, y, z and weight.

    Raises
    ------
    OSError, ValueError
        If it cannot be read; the message goes after the name of the file.
    """
    import pandas

    text = _text_of(file)
    rows = [line for line in text.splitlines() if line.strip()]
    plain = [line for line in rows if not line.lstrip().startswith("#")]
    if not rows:
        raise ValueError("it is empty")
    separator = next((one for one in ";\t," if one in (plain or rows)[0]), r"\s+")
    heading = None
    for line in rows[: len(rows) - len(plain) + 1]:
        cells = re.split(separator, line.strip().lstrip("# "))
        names = [name.strip().strip("'\"").strip().lower() for name in cells]
        if {"x", "y", "z"} <= set(names) or {"lat", "lon"} <= {NAMES.get(one) for one in names}:
            heading = names
            plain = [one for one in plain if one is not line]
            break
    if heading is None and plain and not _is_number(plain[0].replace(separator, " ").split()[0]):
        raise ValueError(
            f"its heading is {plain[0].strip()!r:.100}; columns x, y, z or lat, lon are wanted"
        )
    if not plain:
        raise ValueError("it has a heading and no rows")
    decimal = "," if separator == ";" and not any("." in line for line in plain) else "."
    table = pandas.read_csv(
        io.StringIO("\n".join(plain)),
        sep=separator,
        header=None,
        comment="#",
        skipinitialspace=True,
        decimal=decimal,
    )
    if heading is None:
        if table.shape[1] not in (3, 4):
            raise ValueError(f"it has {table.shape[1]} columns; 3 or 4 are wanted: x, y, z, weight")
        heading = ["x", "y", "z", "weight"][: table.shape[1]]
    if table.shape[1] == len(heading) + 1:  # R writes the names of rows without a heading
        table = table.iloc[:, 1:]
    if table.shape[1] != len(heading):
        raise ValueError(f"it has {len(heading)} names for {table.shape[1]} columns")
    table.columns = heading
    return from_table(table)


def _text_of(file: Path) -> str:
    with gzip.open(file) if file.suffix.lower() == ".gz" else open(file, "rb") as stream:
        there = available()
        most = LARGEST_TEXT if there is None else min(LARGEST_TEXT, int(there / COPIES))
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(
            f"it has more than {most / 2**30:.3g} GB of text, which the memory holds or which is "
            "the most that is read; save it as .npy"
        )
    return content.decode("utf-8-sig")


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def from_table(table: Table) -> tuple[Real, Real | None]:
    """Positions (n, 3) and weights (n,) by the names of the columns of a DataFrame.

    They are x, y, z, or lat and lon in degrees, and if wanted weight; other columns are left out.

    Raises
    ------
    ValueError
        If they are missing or hold something else than numbers.
    """
    found = {}
    for place, name in enumerate(table.columns):
        known = NAMES.get(str(name).strip().lower())
        if known is not None and known not in found:
            found[known] = _numbers(table.iloc[:, place].to_numpy(), known)
    if {"x", "y", "z"} <= found.keys():
        positions = np.stack([found[name] for name in "xyz"], axis=1)
    elif {"lat", "lon"} <= found.keys():
        lat, lon = np.radians(found["lat"]), np.radians(found["lon"])
        if not (np.abs(found["lat"]) <= 90.0).all():
            raise ValueError("its lat must lie between -90 and 90 degrees")
        across = np.cos(lat)
        positions = np.stack([across * np.cos(lon), across * np.sin(lon), np.sin(lat)], axis=1)
    else:
        names = ", ".join(map(str, table.columns))
        raise ValueError(f"its columns are {names:.200}; x, y, z or lat, lon are wanted")
    if not len(positions):
        raise ValueError("it has a heading and no rows")
    return positions, found.get("weight")


def _numbers(column: NDArray[np.generic], name: str) -> Real:
    try:
        return np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        for row, value in enumerate(column):
            if not _is_number(str(value)):
                raise ValueError(f"its column {name} holds {value!r:.40} in row {row}") from None
        raise
