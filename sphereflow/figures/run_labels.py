"""Names of several runs, by what tells them apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import InputError, printable
from ..output.reading import experiment_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["differences"]

_MOST = 3  # entries in a name


def differences(runs: Sequence[xr.Dataset]) -> list[str]:
    """A name for each run: the entries of their experiments that differ, or its number.

    Numbers, texts and truth values are compared, not arrays.

    Examples
    --------
    >>> import xarray as xr
    >>> text = '{"problem": {"diffusion": %g}, "scheme": {"kind": "spectral"}}'
    >>> differences([xr.Dataset(attrs={"experiment": text % value}) for value in (0.1, 0.2)])
    ['diffusion = 0.1', 'diffusion = 0.2']
    """
    entries = [dict(_entries(run)) for run in runs]
    keys = [
        key
        for key in dict.fromkeys(key for one in entries for key in one)
        if len({one.get(key) for one in entries}) > 1
    ]
    # What differs most tells most.
    keys.sort(key=lambda key: -len({one.get(key) for one in entries}))
    chosen: list[str] = []
    names = [""] * len(runs)
    for key in keys[:_MOST]:
        chosen.append(key)
        names = [_name(one, chosen) for one in entries]
        if len(set(names)) == len(runs):
            return names
    return [f"run {number}: {name}".rstrip(": ") for number, name in enumerate(names)]


def _name(entries: Mapping[str, str], keys: Sequence[str]) -> str:
    parts = [f"{key.rpartition('.')[2]} = {entries[key]}" for key in keys if key in entries]
    return printable(", ".join(parts)).replace("$", r"\$")


def _entries(run: xr.Dataset) -> Iterator[tuple[str, str]]:
    try:
        yield from _leaves(experiment_of(run.attrs), "")
    except InputError:  # of another program
        return


def _leaves(table: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        elif isinstance(value, bool | str):
            yield f"{prefix}{key}", str(value)
        elif isinstance(value, int | float):
            yield f"{prefix}{key}", f"{value:.6g}"
