"""Where a dataset comes from: its global attributes, and the configuration of its run."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..describe import arrays_kept, experiment_config
from ..errors import InputError
from ..version import LAYOUT, __version__
from .arrays import PREFIX, without_arrays

__all__ = ["experiment_attribute", "global_attributes"]

REFERENCES = (
    "Transformers as time-dependent gradient flows, arXiv:2605.18870; "
    "numbers in brackets are equations of that paper"
)


def global_attributes() -> dict[str, object]:
    """Those that every dataset has."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "Conventions": "CF-1.11",
        "layout_version": LAYOUT,
        "title": "Solution of the Transformer PDE on the sphere",
        "source": f"sphereflow {__version__}{_git_hash()}",
        "history": f"{now} created by sphereflow {__version__}",
        "references": REFERENCES,
        "date_created": now,
        "backend": _backend_versions(),
    }


@lru_cache(maxsize=1)
def _git_hash() -> str:
    """The commit of a source checkout in brackets, or nothing for an installed package."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return ""
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return f" ({result.stdout.strip()})"


@lru_cache(maxsize=1)
def _backend_versions() -> str:
    versions = [f"python {platform.python_version()}"]
    for package in ("numpy", "scipy", "numba", "shtns", "ducc0", "xarray", "netCDF4"):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(versions)


def experiment_attribute(
    problem: object, scheme: object, run_options: Mapping[str, object], texts: Mapping[str, str]
) -> tuple[str, dict[str, NDArray[np.float64]]]:
    """The texts and the whole configuration as JSON, and the arrays that are too large for it.

    The run can be repeated from both.

    Raises
    ------
    InputError
        If a text holds what no file can.
    """
    for name, text in texts.items():
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError(
                f"{name} must be a text that UTF-8 can hold, got {ascii(text)!s:.80}; remove its "
                "lone surrogates"
            )
    with arrays_kept():
        config = experiment_config(problem, scheme, run_options)
    parts: dict[str, object] = {}
    arrays: dict[str, NDArray[np.float64]] = {}
    for name, part in config.items():
        parts[name], found = without_arrays(part, f"{PREFIX}{name}")
        arrays |= found
    return json.dumps({**texts, **parts}), arrays
