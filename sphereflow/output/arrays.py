"""Arrays of an experiment that are too large for its text: variables of the file of its run.

In the text stands ``{"variable": name, "sha256": digest}`` in place of such an array, so that two
texts are equal only if the arrays are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["PREFIX", "with_arrays", "without_arrays"]

Real = NDArray[np.float64]

PREFIX = "experiment_"  # of the names of the variables
MOST_IN_TEXT = 60_000  # numbers


def without_arrays(config: object, name: str = "experiment") -> tuple[object, dict[str, Real]]:
    """The configuration with references in place of large arrays, and these by their names.

    Parameters
    ----------
    config : object
        As `to_config` gives it, with arrays in it.
    name : str
        Of the part of it that this is.

    Examples
    --------
    >>> text, arrays = without_arrays({"heads": {"weights": np.ones(100_000)}})
    >>> text["heads"]["weights"]["variable"], list(arrays)
    ('experiment_heads_weights', ['experiment_heads_weights'])
    """
    if isinstance(config, list) and len(config) > MOST_IN_TEXT:
        if all(type(one) is float for one in config):
            config = np.array(config)
    if isinstance(config, np.ndarray):
        if config.size <= MOST_IN_TEXT or config.dtype != np.float64:
            return config.tolist(), {}
        return {"variable": name, "sha256": _digest(config)}, {name: config}
    if isinstance(config, dict):
        parts: Iterable[tuple[object, object]] = config.items()
    elif isinstance(config, list):
        parts = enumerate(config)
    else:
        return config, {}
    arrays: dict[str, Real] = {}
    texts = {}
    for key, value in parts:
        texts[key], found = without_arrays(value, f"{name}_{key}")
        arrays |= found
    return (texts if isinstance(config, dict) else list(texts.values())), arrays


def with_arrays(config: object, read: Callable[[str], Real]) -> object:
    """The configuration with the arrays in place of the references to them.

    Parameters
    ----------
    config : object
    read : callable
        Gives the array of this name.

    Raises
    ------
    ValueError
        If an array is another than that of the experiment.
    """
    if isinstance(config, list):
        return [with_arrays(one, read) for one in config]
    if not isinstance(config, Mapping):
        return config
    if set(config) != {"variable", "sha256"}:
        return {key: with_arrays(value, read) for key, value in config.items()}
    array = np.ascontiguousarray(read(str(config["variable"])), dtype=np.float64)
    if _digest(array) != config["sha256"]:
        raise ValueError(f"its variable {config['variable']!r} has changed since the run")
    return array


def _digest(array: Real) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
