"""State as plain data: numbers, strings, None and arrays by name, without classes of objects.

A state is a dataclass whose fields are numbers, booleans, strings, arrays, other such dataclasses,
or lists, tuples and dictionaries of them. An array has a type and names of its axes,
``Annotated[NDArray[np.float64], "path 3 token"]``, of which a first one "..." stands for any number
of axes. Arrays of a state are replaced by others and never changed in place, so that what was kept
of it stays as it was.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

__all__ = ["from_plain", "to_plain"]

State = TypeVar("State")


def to_plain(state: object) -> dict[str, object]:
    """The fields of a state by name, with its parts as plain data too."""
    kind: type = type(state)
    return {name: _plain(getattr(state, name)) for name in _names(kind)}


def from_plain(kind: type[State], kept: object) -> State:
    """The state of this kind that was kept.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a field is missing, or not what the kind says of it: its type, the type of an array and
        the number of its axes, of the same length where they have the same name.
    """
    if not dataclasses.is_dataclass(kind) or not isinstance(kind, type):
        raise TypeError(f"{kind} is no kind of state")
    if not isinstance(kept, Mapping):
        raise ValueError(f"{kind.__name__} is {_shown(kept)}")
    names, hints = _names(kind), _hints(kind)
    unknown = [name for name in kept if name not in names]
    if unknown:
        raise ValueError(f"{kind.__name__} has no {unknown[0]!r:.40}")
    lengths: dict[str, int] = {}
    values = {name: _whole(hints[name], kept[name], name, lengths) for name in names}
    return kind(**values)


@lru_cache(maxsize=64)
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, object]:
    return get_type_hints(kind, include_extras=True)


def _plain(value: object) -> object:
    if value is None or isinstance(value, np.ndarray | float | int | str):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return to_plain(value)


def _whole(kind: object, value: object, name: str, lengths: dict[str, int]) -> object:
    """A value of a type from plain data; `lengths` are those of the axes so far."""
    origin, parts = get_origin(kind), get_args(kind)
    if isinstance(kind, TypeVar):
        origin, parts = Union, kind.__constraints__
    if origin in (Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        chosen = [part for part in parts if part is not type(None)]
        if len(chosen) > 1:  # numbers or arrays
            is_array = isinstance(value, np.ndarray)
            chosen = [part for part in chosen if (get_origin(part) is Annotated) == is_array]
        return _whole(chosen[0], value, name, lengths)
    if origin is Annotated:
        array, axes = parts
        return _array(array, axes, value, name, lengths)
    if origin in (list, tuple):
        found = _sequence(value, name)
        if origin is tuple and parts[-1] is not Ellipsis:
            return tuple(_whole(*one, name, lengths) for one in zip(parts, found, strict=True))
        return origin(_whole(parts[0], one, name, lengths) for one in found)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} is {_shown(value)} in place of a mapping")
        return {parts[0](key): _whole(parts[1], one, name, lengths) for key, one in value.items()}
    plain = origin or kind
    assert isinstance(plain, type)
    if dataclasses.is_dataclass(plain):
        return from_plain(plain, value)
    return _scalar(plain, value, name)


def _scalar(kind: type, value: object, name: str) -> bool | int | float | str:
    accepted: tuple[type, ...] = {
        bool: (bool, np.bool_),
        int: (int, np.integer),
        float: (float, int, np.floating),
        str: (str,),
    }[kind]
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{name} is {_shown(value)} in place of {kind.__name__}")
    result: bool | int | float | str = kind(value)
    return result


def _array(array: object, axes: str, value: object, name: str, lengths: dict[str, int]) -> object:
    dtype = np.dtype(_scalar_of(array))
    names = [axis for axis in axes.split() if axis != "..."]
    wanted = f"an array of {dtype} over {axes}"
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        raise ValueError(f"{name} is {_shown(value)} in place of {wanted}")
    more = value.ndim - len(names)
    if more < 0 or (more > 0 and not axes.startswith("...")):
        raise ValueError(f"{name} is {_shown(value)} in place of {wanted}")
    for axis, length in zip(names, value.shape[more:], strict=True):
        known = int(axis) if axis.isdecimal() else lengths.setdefault(axis, length)
        if length != known:
            raise ValueError(f"{name} has length {length} in place of {known} along {axis}")
    return value


def _scalar_of(array: object) -> type[np.generic]:
    """The scalar type that NDArray[...] names: an alias of its own, or an array type of NumPy."""
    parts = get_args(array)
    return parts[0] if isinstance(parts[0], type) and len(parts) == 1 else _scalar_of(parts[-1])


def _sequence(value: object, name: str) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} is {_shown(value)} in place of a list")
    return value


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    return "None" if value is None else f"a {type(value).__name__}"
