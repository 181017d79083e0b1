"""Matrices of heads that an experiment file describes by a law and a seed.

``{random = "normal", count = 100, std = 1.0, symmetric = true, seed = 1}``: entries N(0, std²), by
default mirrored to symmetric matrices. ``random = "symmetrised"``: Z + Zᵀ with Z entries
N(0, std²), so variance 4 std² on the diagonal and 2 std² off it. ``random = "identity"``: `count`
times ``scale`` times the identity.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..checks import finite_array, integer, shown
from ..describe.building import check_keys, check_type
from ..errors import ConfigurationError, InputError
from ..seeds import stream

__all__ = ["MOST_MATRICES", "RANDOM_OPTIONS", "draw_matrices"]

MOST_MATRICES = 1_000_000

RANDOM_OPTIONS: dict[str, dict[str, float | bool]] = {
    "normal": {"count": 1, "std": 1.0, "symmetric": True, "seed": 0},
    "symmetrised": {"count": 1, "std": 1.0, "seed": 0},
    "identity": {"count": 1, "scale": 1.0},
}


def draw_matrices(value: object, where: str) -> object:
    """Replace each table with a key `random` by the matrices that it describes.

    Parameters
    ----------
    value : object
        Mappings are searched, anything else is returned as it is.
    where : str
        Name of the section, for messages.

    Returns
    -------
    object
        With arrays of shape (count, 3, 3) in place of the tables. The first matrices do not
        depend on `count`.

    Raises
    ------
    ConfigurationError
        If a law or an option is unknown, or an option is out of range.

    Examples
    --------
    >>> draw_matrices({"initial": {"random": "identity", "scale": 2.0}}, "heads")["initial"]
    array([[[2., 0., 0.],
            [0., 2., 0.],
            [0., 0., 2.]]])
    """
    if not isinstance(value, Mapping):
        return value
    if "random" in value:
        return _random_matrices(value, where)
    return {key: draw_matrices(item, f"{where}.{key}") for key, item in value.items()}


def _random_matrices(table: Mapping[str, object], where: str) -> NDArray[np.float64]:
    law = table["random"]
    if not isinstance(law, str) or law not in RANDOM_OPTIONS:
        raise ConfigurationError(
            f"[{where}] has the unknown law random = {shown(law)}; set it to one of "
            f"{', '.join(map(repr, RANDOM_OPTIONS))}."
        )
    defaults = RANDOM_OPTIONS[law]
    check_keys(table, ["random", *defaults], where)
    options = {**defaults, **{key: item for key, item in table.items() if key != "random"}}
    for key, item in options.items():
        check_type(item, type(defaults[key]), f"{where}.{key}")
    try:
        count = integer(options["count"], "count", 1, MOST_MATRICES)
        seed = integer(options.get("seed", 0), "seed", 0)
        size = float(finite_array(options.get("std", options.get("scale")), "std or scale"))
    except InputError as error:
        raise ConfigurationError(f"[{where}]: {error}") from error
    if law == "identity":
        return np.tile(size * np.eye(3), (count, 1, 1))
    matrices: NDArray[np.float64] = size * stream(seed).standard_normal((count, 3, 3))
    if law == "symmetrised":
        return np.add(matrices, matrices.transpose(0, 2, 1))
    if options["symmetric"]:
        return np.add(np.triu(matrices), np.triu(matrices, k=1).transpose(0, 2, 1))
    return matrices
