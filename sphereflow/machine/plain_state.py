"""State as plain data: numbers, strings, None and arrays by name, without classes of objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["attributes_of", "set_attributes"]


def attributes_of(owner: Any, names: Sequence[str]) -> dict[str, Any]:
    """These attributes of an object, by name."""
    return {name: getattr(owner, name) for name in names}


def set_attributes(owner: Any, names: Sequence[str], kept: Mapping[str, Any]) -> None:
    """Give an object the attributes that it was kept with.

    Raises
    ------
    KeyError, ValueError
        If one is missing, or no array of the type of the one in its place, or none at all.
    """
    for name in names:
        before, value = getattr(owner, name), kept[name]
        if before is not None and value is not None and _kind(before) != _kind(value):
            raise ValueError(f"{name} is {_kind(value)} in place of {_kind(before)}")
        setattr(owner, name, value)


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.ndim} axes of {value.dtype}"
    return "a number" if isinstance(value, float | int) else f"a {type(value).__name__}"
