"""The format of a checkpoint: a tree of plain values and arrays in one block of bytes.

The first line names the format, the second is the SHA-256 of all other bytes in hexadecimal. The
third is JSON with the keys `arrays`, a list of types and shapes, and `tree`, in which
{"array": k} stands for the k-th of them. The rest are the arrays, one after the other. Nothing in
it names code, and nothing in it is run.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["FORMAT", "from_bytes", "to_bytes"]

Stored = NDArray[np.generic]

FORMAT = 2
NAME = b"sphereflow checkpoint "
FIRST_LINE = NAME + str(FORMAT).encode() + b"\n"
TYPES = ("<f8", "<c16", "<i8", "<i4", "|b1")


def to_bytes(tree: Mapping[str, object]) -> bytes:
    """The file that holds this tree of None, booleans, numbers, strings, arrays, lists, mappings.

    Raises
    ------
    TypeError
        If something else is in it.
    """
    arrays: list[Stored] = []
    plain = _plain(tree, arrays)
    kinds = [[one.dtype.str, list(one.shape)] for one in arrays]
    line = json.dumps({"arrays": kinds, "tree": plain}).encode() + b"\n"
    content = b"".join([line, *(one.tobytes() for one in arrays)])
    return FIRST_LINE + _digest(content) + b"\n" + content


def _plain(value: object, arrays: list[Stored]) -> object:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.str not in TYPES:
            raise TypeError(f"arrays of {value.dtype} have no place in a checkpoint")
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, Mapping):
        if "array" in value or not all(isinstance(key, str) for key in value):
            raise TypeError("keys in a checkpoint must be strings other than 'array'")
        return {key: _plain(part, arrays) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, arrays) for part in value]
    raise TypeError(f"a {type(value).__name__} has no place in a checkpoint")


def from_bytes(content: bytes) -> dict[str, object]:
    """The tree in the content of a file.

    Raises
    ------
    ValueError
        If it is no checkpoint, one of another format, or damaged; the message goes after the name
        of the file.
    """
    first, _, rest = content.partition(b"\n")
    if not first.startswith(NAME) or not first.removeprefix(NAME).isdigit():
        raise ValueError("is damaged or no checkpoint")
    if first + b"\n" != FIRST_LINE:
        raise ValueError(
            f"has the format {first.removeprefix(NAME).decode():.20} of another version of "
            f"sphereflow, and this one reads format {FORMAT} only"
        )
    digest, _, body = rest.partition(b"\n")
    if digest != _digest(body):
        raise ValueError("is damaged or no checkpoint")
    line, _, data = body.partition(b"\n")
    try:
        header = json.loads(line)
        arrays = _arrays(header["arrays"], data)
        tree = _whole(header["tree"], arrays)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ValueError("does not hold what a checkpoint holds") from error
    if not isinstance(tree, dict):
        raise ValueError("does not hold what a checkpoint holds")
    return tree


def _arrays(kinds: list[tuple[str, list[int]]], data: bytes) -> list[Stored]:
    found, start = [], 0
    for kind, shape in kinds:
        if kind not in TYPES or not all(isinstance(size, int) and size >= 0 for size in shape):
            raise ValueError(f"no array: {kind!r:.20}")
        count = math.prod(shape)
        array = np.frombuffer(data, dtype=kind, count=count, offset=start) if count else None
        start += count * np.dtype(kind).itemsize
        found.append(np.empty(shape, kind) if array is None else array.reshape(shape).copy())
    if start != len(data):
        raise ValueError("arrays that are not named")
    return found


def _whole(value: object, arrays: list[Stored]) -> object:
    if isinstance(value, dict):
        if value.keys() == {"array"}:
            return arrays[value["array"]]
        return {key: _whole(part, arrays) for key, part in value.items()}
    if isinstance(value, list):
        return [_whole(part, arrays) for part in value]
    return value


def _digest(content: bytes) -> bytes:
    """Of the name of the format and all that comes after the digest."""
    return hashlib.sha256(FIRST_LINE + content).hexdigest().encode()
