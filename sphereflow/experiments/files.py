"""Files of experiments and of runs: the configuration in them, and changes of single keys."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..checks import file_of, shown
from ..errors import ConfigurationError, InputError
from ..machine.threads import netcdf_access
from ..output.arrays import with_arrays
from ..output.reading import experiment_of

__all__ = ["apply_overrides", "read_configuration", "read_toml"]


def read_configuration(source: object) -> tuple[dict[str, object], Path]:
    """The content of a file of an experiment or a run, and its path."""
    path = file_of(source, "the experiment file")
    return (_read_netcdf(path) if path.suffix == ".nc" else read_toml(path)), path


def read_toml(path: Path) -> dict[str, object]:
    """The content of a TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(
            f"The experiment file {str(path)!r} cannot be read ({error.strerror or error}); "
            "give a readable TOML file or the name of a shipped experiment."
        ) from error
    except ValueError as error:  # of TOML, of UTF-8, or an integer of thousands of digits
        raise ConfigurationError(
            f"The experiment file {str(path)!r} is not valid TOML ({error}); correct it there."
        ) from error


def _read_netcdf(path: Path) -> dict[str, object]:
    import netCDF4

    try:
        with netcdf_access(), netCDF4.Dataset(path) as dataset:
            found = [name for name in dataset.ncattrs() if name == "experiment"]
            config = experiment_of({name: dataset.getncattr(name) for name in found})
            dataset.set_auto_maskandscale(False)

            def read(name: str) -> NDArray[np.float64]:
                return np.asarray(dataset[name][:])

            return {key: with_arrays(part, read) for key, part in config.items()}
    except (OSError, InputError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{str(path)!r} holds no experiment that can be read ({error}); give a file that "
            "sphereflow wrote, or a TOML file."
        ) from error


def apply_overrides(config: dict[str, object], changes: object) -> None:
    """Set the keys that these changes name, in place."""
    if isinstance(changes, str | np.ndarray) or not isinstance(changes, Iterable):
        raise ConfigurationError(
            f"overrides must be a list of strings, got {shown(changes)}; write each as "
            "section.key=value."
        )
    for change in changes:
        _override(config, change)


def _override(config: dict[str, object], change: object) -> None:
    """Set one key, named with dots, in place."""
    if not isinstance(change, str):
        raise ConfigurationError(
            f"A change must be a string, got {shown(change)}; write it as section.key=value."
        )
    name, separator, text = change.partition("=")
    *sections, key = [part.strip() for part in name.split(".")]
    if not separator or not key or not all(sections):
        raise ConfigurationError(
            f"The change {change!r} is not of the form section.key=value, as in scheme.lmax=63; "
            "write it so."
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # no TOML, or more of it than can be read
        value = text.strip()
    table = config
    for section in sections:
        inner = table.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigurationError(
                f"The change {change!r} goes into {section!r}, which is no table but "
                f"{shown(inner)}; change a key of a section."
            )
        table = inner
    table[key] = value
    # Output times have two forms that exclude each other: the one that is set wins.
    other = {"save_every": "save_at", "save_at": "save_every"}.get(key)
    if sections == ["run"] and other is not None:
        table.pop(other, None)
