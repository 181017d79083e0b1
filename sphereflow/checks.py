"""Checks of arguments where they enter: shape, finiteness, range."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, SphereflowError

__all__ = [
    "boolean",
    "called",
    "file_of",
    "finite_array",
    "finite_number",
    "held",
    "integer",
    "matrices",
    "one_of",
    "path_of",
    "positive_number",
    "present",
    "real_array",
    "seed_number",
    "shown",
    "weights_of",
]

Real = NDArray[np.float64]
R = TypeVar("R")

LARGEST = 1e100  # in size, of any number: its powers must be finite
MOST_ENTRIES = 200_000_000  # of an array
LARGEST_SEED = 2**63 - 1  # that netCDF holds


def real_array(value: object, name: str) -> Real:
    """`value` as a new float64 array, which may hold NaN.

    Raises
    ------
    InputError
        If it is not numeric, or entries are missing.
    """
    present(value, name)
    try:
        array = np.asarray(value)
        # pandas, of types that have NA
        if array.dtype.kind == "O" and hasattr(value, "isna") and hasattr(value, "to_numpy"):
            array = value.to_numpy(dtype=np.float64, na_value=np.nan)
        real = array.dtype.kind in "iufb"
    except Exception:  # ragged, or whatever the conversion of an unknown object raises
        real = False
    if not real:
        raise InputError(
            f"{name} must be an array of real numbers, got {shown(value)}; pass nested lists or "
            "a NumPy array"
        )
    if array.size > MOST_ENTRIES:
        raise InputError(
            f"{name} must have at most {MOST_ENTRIES} entries, got shape {array.shape}; pass fewer"
        )
    return np.array(array, dtype=np.float64)


def present(value: object, name: str) -> None:
    """Refuse masked and missing entries, which NumPy would take for numbers.

    Raises
    ------
    InputError
        With the index of the first missing entry, which starts with its row.
    """
    where = _missing(value)
    if where is not None:
        place = f"row {where[0]} is (index {where})" if where else "the value is"
        raise InputError(
            f"{name} must have no missing entries, {place} masked or NA; remove or replace it"
        )


def _missing(value: object) -> tuple[int, ...] | None:
    """Index of the first masked or NA entry of an array, table or nested list."""
    if isinstance(value, np.ma.MaskedArray):
        mask = np.argwhere(np.ma.getmaskarray(value))
        return tuple(int(i) for i in mask[0]) if len(mask) else None
    if isinstance(value, list | tuple):
        # Few lists hold anything but numbers of one type.
        kinds = set(map(type, value)) - {int, float, bool, str}
        if any(issubclass(kind, list | tuple | np.ndarray) or _odd(kind) for kind in kinds):
            for row, one in enumerate(value):
                found = () if _odd(type(one)) else _missing(one)
                if found is not None:
                    return row, *found
        return None
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        odd = [index for index, one in np.ndenumerate(value) if _odd(type(one))]
        return odd[0] if odd else None
    if hasattr(value, "isna") and not isinstance(value, np.ndarray):
        absent = np.argwhere(np.asarray(value.isna()))
        return tuple(int(i) for i in absent[0]) if len(absent) else None
    return () if value is not None and _odd(type(value)) else None


def _odd(kind: type) -> bool:
    """Whether it stands for a missing value: None, pandas' NA, or a masked constant."""
    return kind.__name__ in ("NoneType", "NAType", "NaTType", "MaskedConstant")


def finite_array(value: object, name: str) -> Real:
    """`value` as a new read-only float64 array.

    Raises
    ------
    InputError
        If it is not numeric or not finite.
    """
    array = real_array(value, name)
    if not (np.abs(array) <= LARGEST).all():  # as of NaN
        where = tuple(int(i) for i in np.argwhere(~(np.abs(array) <= LARGEST))[0])
        raise InputError(
            f"{name} must be finite and at most {LARGEST:g} in size, got {array[where]} at index "
            f"{where}; remove or replace it"
        )
    array.setflags(write=False)
    return array


def held(field: object) -> Real:
    """The array in a field that takes arrays in any form, once its class has checked it."""
    assert isinstance(field, np.ndarray)
    return field


def matrices(value: object, name: str, *, symmetric: bool = False) -> Real:
    """A stack of 3×3 matrices, shape (H, 3, 3); one matrix is taken as a stack of one.

    Raises
    ------
    InputError
        If the shape is wrong, H = 0, an entry is not finite, or symmetry is missing.
    """
    array = finite_array(value, name)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.shape[1:] != (3, 3) or len(array) == 0:
        raise InputError(
            f"{name} must have shape (H, 3, 3) with H at least 1, got {array.shape}; "
            "stack one 3 by 3 matrix for each head"
        )
    if symmetric and not np.allclose(array, np.swapaxes(array, 1, 2), rtol=0, atol=1e-12):
        raise InputError(f"{name} must be symmetric matrices; use (D + Dᵀ)/2")
    return array


def weights_of(value: object, count: int, name: str) -> Real:
    """Non-negative weights of shape (count,), normalised to sum 1; equal ones for None."""
    if value is None:
        return np.full(count, 1.0 / count)
    array = finite_array(value, name)
    if array.shape != (count,) or (array < 0).any() or not array.sum() > 0:
        raise InputError(
            f"{name} must be {count} numbers of at least 0 with a positive sum, got "
            f"{shown(array)}; pass one weight for each entry"
        )
    # Weights that were normalised before are kept to the last bit.
    total = array.sum()
    return array if abs(total - 1.0) < 1e-14 else array / total


def integer(value: object, name: str, lowest: int, highest: int | None = None) -> int:
    """An integer in a range; 3.0 counts as one, True and "3" do not."""
    allowed = f"an integer of at least {lowest}"
    if highest is not None:
        allowed = f"an integer from {lowest} to {highest}"
    number: int | None = None
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        number = int(value)
    elif isinstance(value, float | np.floating) and float(value).is_integer():
        number = int(value)
    if number is None or number < lowest or (highest is not None and number > highest):
        raise InputError(f"{name} must be {allowed}, got {shown(value)}; pass such an integer")
    return number


def seed_number(value: object) -> int:
    """A seed of at least 0; one from the operating system for None."""
    return secrets.randbits(32) if value is None else integer(value, "seed", 0, LARGEST_SEED)


def positive_number(value: object, name: str, *, zero: bool = False) -> float:
    """A finite real number above 0, or at least 0 with `zero`, of which powers are finite too."""
    allowed = "at least 0" if zero else "above 0"
    if isinstance(value, np.number):
        value = value.item()  # a small type holds no large bounds
    if (
        not isinstance(value, int | float | np.floating)
        or isinstance(value, bool)
        or not value >= 0
        or (value == 0 and not zero)
    ):
        raise InputError(
            f"{name} must be a finite number {allowed}, got {shown(value)}; pass such a number"
        )
    if value != 0 and not 1 / LARGEST <= value <= LARGEST:
        raise InputError(
            f"{name} must be a finite number {allowed}, from {1 / LARGEST:g} to {LARGEST:g}, got "
            f"{shown(value)}; pass such a number"
        )
    return float(value)


def finite_number(value: object, name: str) -> float:
    """A finite real number of either sign."""
    array = finite_array(value, name)
    if array.ndim:
        raise InputError(f"{name} must be a number, got shape {array.shape}; pass one number")
    return float(array)


def boolean(value: object, name: str) -> bool:
    """True or False, and nothing that only counts as such."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} must be True or False, got {shown(value)}; pass one of them")
    return bool(value)


def path_of(value: object, name: str) -> Path:
    """A path that a file system can take."""
    try:
        if not isinstance(value, str | bytes | os.PathLike):
            raise TypeError("no path")
        if b"\0" in os.fsencode(value):
            raise ValueError("null character")
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be a path, got {shown(value)}; pass a file name") from error
    return Path(os.fsdecode(value))


def file_of(value: object, name: str) -> Path:
    """A path to read from, which is no device or pipe, where that might not end."""
    path = path_of(value, name)
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise InputError(
            f"{name} must be a regular file, got the device or pipe {shown(str(path))}; name a file"
        )
    return path


def called(function: Callable[..., R], name: str, *arguments: object) -> R:
    """What a function of the user returns.

    Raises
    ------
    InputError
        If it raises anything.
    """
    try:
        return function(*arguments)
    except SphereflowError:
        raise
    except Exception as error:
        shapes = ", ".join(
            f"an array of shape {one.shape}" if isinstance(one, np.ndarray) else shown(one)
            for one in arguments
        )
        raise InputError(
            f"{name} must be callable with {shapes}, got {type(error).__name__}: {error}; correct "
            "the function"
        ) from error


def one_of(value: object, allowed: tuple[str, ...], name: str) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in allowed:
        choices = ", ".join(repr(word) for word in allowed)
        raise InputError(f"{name} must be one of {choices}, got {shown(value)}; choose one of them")
    return str(value)


def shown(value: object) -> str:
    """A value as a message shows it: short, and whatever its `repr` does."""
    try:
        small = isinstance(value, np.ndarray) and value.size <= 20
        text = repr(np.asarray(value).tolist() if small else value)
    except Exception:  # an integer of thousands of digits, or an object of the user
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:100]}…"
