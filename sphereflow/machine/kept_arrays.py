"""Arrays that take long to make, kept on disk between processes."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from .files import read_regular, replaced

__all__ = ["kept_arrays"]

logger = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[np.generic]]


def cache_folder() -> Path:
    """The folder of this user for what can be made again."""
    from platformdirs import user_cache_path

    return user_cache_path("sphereflow")


def kept_arrays(name: str, wanted: Sequence[str], make: Callable[[], Arrays]) -> Arrays:
    """Arrays from the file of this name, or made and kept there if that can be.

    Parameters
    ----------
    name : str
        Without an ending. It tells all that the arrays depend on, and a version of how they are
        made.
    wanted : sequence of str
        Names of the arrays.
    make : callable
        Without arguments. A file that is damaged, by its checksums, counts as none.
    """
    file = cache_folder() / f"{name}.npz"
    try:
        with np.load(io.BytesIO(read_regular(file, name)), allow_pickle=False) as stored:
            return {one: stored[one] for one in wanted}
    except (OSError, KeyError, ValueError, EOFError, BadZipFile):
        pass
    arrays = make()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced(file, name) as partial, ZipFile(partial, "w") as archive:
            for one, array in arrays.items():
                with archive.open(f"{one}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array)
    except OSError as error:
        logger.info("%s could not be kept in %s: %s", name, file.parent, error)
    return arrays
