"""Experiments: a problem, a scheme and run options, read from a TOML file.

A file has the sections ``[density]``, ``[heads]``, ``[problem]``, ``[scheme]`` and ``[run]``,
whose keys are the fields of the classes they describe and the arguments of `sphereflow.solve`.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .building import Experiment, experiment_from_config, understood
from .files import apply_overrides, read_configuration
from .shipped import ShippedExperiment, experiment_file, find_experiment, list_experiments

__all__ = [
    "Experiment",
    "ShippedExperiment",
    "experiment_file",
    "experiment_from_config",
    "experiment_in_folder",
    "find_experiment",
    "list_experiments",
    "load_experiment",
    "with_kept_seeds",
]


def load_experiment(
    path: str | Path, overrides: Iterable[str] = (), *, allow_code: bool = False
) -> Experiment:
    """Read an experiment from a TOML file, or from the netCDF file of an earlier run.

    Parameters
    ----------
    path : path-like
        File ending in ``.toml``, or in ``.nc`` with an attribute `experiment`; or the name of an
        experiment that comes with the package.
    overrides : iterable of str, optional
        Changes such as ``"scheme.lmax=63"``, with values in TOML syntax; a value that is none is
        taken as a string.
    allow_code : bool
        Whether functions that the file names as ``"module:function"`` are imported. Importing
        runs code: allow it for files that you trust.

    Returns
    -------
    Experiment

    Raises
    ------
    ConfigurationError
        If the file cannot be read or holds something that is not understood.

    Examples
    --------
    >>> load_experiment("paper_ou", ["scheme.lmax=31"]).scheme.lmax
    31
    """
    with understood("the experiment file"):
        config, path = read_configuration(experiment_file(path))
        apply_overrides(config, overrides)
        return experiment_in_folder(config, path.parent, allow_code)


def experiment_in_folder(
    config: Mapping[str, object], folder: Path, allow_code: bool
) -> Experiment:
    """The experiment whose files and modules lie in this folder."""
    config = dict(config)
    if "density" in config:
        config["density"] = _beside(config["density"], folder)
    run = config.get("run")
    if isinstance(run, Mapping) and isinstance(run.get("initial"), str):
        config["run"] = {**run, "initial": str(folder / run["initial"])}
    with _importable(folder, allow_code):
        return experiment_from_config(config, allow_code=allow_code)


def with_kept_seeds(
    experiment: Experiment, kept: Mapping[str, object], allow_code: bool
) -> Experiment:
    """The experiment with the seeds of an earlier run where it leaves them to be drawn."""
    config = copy.deepcopy(experiment.config)

    def fill(table: object, earlier: object) -> None:
        if not isinstance(table, dict) or not isinstance(earlier, Mapping):
            return
        if "seed" in earlier:
            table.setdefault("seed", earlier["seed"])
        for key, value in table.items():
            fill(value, earlier.get(key))

    fill(config, kept)
    return experiment_from_config(config, allow_code=allow_code)


def _beside(value: object, directory: Path) -> object:
    """The value with files of tokens looked for beside the experiment file."""
    if isinstance(value, list):
        return [_beside(item, directory) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: str(directory / item)
        if key == "positions" and isinstance(item, str)
        else _beside(item, directory)
        for key, item in value.items()
    }


@contextmanager
def _importable(directory: Path, allow_code: bool) -> Iterator[None]:
    """Let functions that an experiment names lie in a module beside its file.

    Without leave to run code no module there is found, not even in place of another package.
    """
    if not allow_code:
        yield
        return
    entry = str(directory.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)
