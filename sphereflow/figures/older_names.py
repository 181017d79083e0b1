"""Arguments under the names that they had in version 0.1."""

from __future__ import annotations

import os
import warnings

from ..checks import integer
from ..errors import InputError

__all__ = ["output_and_path"]


def output_and_path(
    output: str | os.PathLike[str] | None,
    path: object,
    which: object,
    default: str | None = None,
) -> tuple[str | os.PathLike[str], int | None]:
    """The file to write and the number of a path, which were `path` and `which` once.

    Raises
    ------
    InputError
        If the file is missing, or one of the two was given under both names.
    """
    if isinstance(path, str | os.PathLike):
        _warn("path= for the file to write", "output=", "path= is the number of a path")
        if output is not None:
            raise InputError(f"path must be the number of a path, got {path!r}; leave it out")
        output, path = path, None
    if which is not None:
        _warn("which=", "path=", "as in plot")
        if path is not None:
            raise InputError(f"which must be left out beside path, got {which!r}; give path alone")
        path = which
    if output is None:
        output = default
    if output is None:
        raise InputError("output must be the file to write, got None; name one")
    return output, None if path is None else integer(path, "path", 0)


def _warn(old: str, new: str, why: str) -> None:
    message = f"{old} is now {new}, {why}; the old name goes with the next version"
    warnings.warn(message, FutureWarning, stacklevel=4)
