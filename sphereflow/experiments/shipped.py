"""The experiments that come with the package."""

from __future__ import annotations

import difflib
import importlib.resources
import os
from pathlib import Path
from typing import NamedTuple

from ..checks import path_of, shown
from ..errors import ConfigurationError
from .files import read_toml

__all__ = [
    "ShippedExperiment",
    "experiment_file",
    "find_experiment",
    "list_experiments",
    "shipped_directory",
]


class ShippedExperiment(NamedTuple):
    """Name, title and file of an experiment that comes with the package."""

    name: str
    title: str
    path: Path


def list_experiments() -> list[ShippedExperiment]:
    """Return the experiments that come with the package, sorted by name.

    Examples
    --------
    >>> "paper_ou" in [experiment.name for experiment in list_experiments()]
    True
    """
    return [
        ShippedExperiment(path.stem, str(read_toml(path).get("title", "")), path)
        for path in sorted(shipped_directory().glob("*.toml"))
    ]


def find_experiment(name: str) -> Path:
    """Return the file of an experiment that comes with the package.

    Raises
    ------
    ConfigurationError
        If there is none of this name.

    Examples
    --------
    >>> find_experiment("paper_ou").name
    'paper_ou.toml'
    """
    names = {path.stem: path for path in sorted(shipped_directory().glob("*.toml"))}
    if not isinstance(name, str):
        raise ConfigurationError(
            f"The name of an experiment must be a string, got {shown(name)}; name one of "
            f"{', '.join(names)}."
        )
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        nearest = f" (nearest: {close[0]!r})" if close else ""
        raise ConfigurationError(
            f"There is no experiment {name!r}{nearest}; name a file or one of {', '.join(names)}."
        )
    return names[name]


def experiment_file(name: str | os.PathLike[str]) -> Path:
    """The file that is meant: a path, or the name of an experiment that comes with the package.

    Raises
    ------
    ConfigurationError
        If it is neither a file, nor can be meant to be one, nor such a name.
    """
    path = path_of(name, "the experiment file")
    if os.path.exists(path) or path.suffix in (".toml", ".nc") or path.name != str(path):
        return path
    return find_experiment(path.name)


def shipped_directory() -> Path:
    """The folder of their files."""
    # In a wheel the files are inside the package, in a source tree in data/.
    package = Path(str(importlib.resources.files("sphereflow")))
    inside = package / "_experiments"
    return inside if inside.is_dir() else package.parent / "data" / "experiments"
