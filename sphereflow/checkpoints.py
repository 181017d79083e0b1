"""Checkpoints: the whole state of a run in one file, from which it goes on to the last bit.

The file is a line of JSON and the state by `pickle`, read back by an unpickler that knows the
classes of this package and of NumPy's arrays only, so that no file can run code. Objects of the
user (densities, head laws, drifts) are not in it: they come with the problem.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import time
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checks import integer, positive_number
from .errors import InputError, OutputError
from .sphere import VoronoiMesh, voronoi_mesh
from .threads import opened_dataset
from .version import __version__

__all__ = [
    "RESUMABLE",
    "Checkpoint",
    "CheckpointFile",
    "configuration_of",
    "ended_attributes",
    "has_checkpoint",
    "kept_configuration",
]

MAGIC = b"sphereflow checkpoint 1\n"
PACKAGE = __name__.partition(".")[0]
PLAIN = {
    ("builtins", "range"),
    ("builtins", "slice"),
    ("builtins", "complex"),
    ("collections", "deque"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    *((f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
    *((f"numpy.{core}.multiarray", "scalar") for core in ("core", "_core")),
}
RESUMABLE = ("interrupted", "wall-time")  # how a run ends that can go on
REBUILDERS = {("sphereflow.sphere.grid", "_rebuild")}


@dataclass(frozen=True)
class Checkpoint:
    """How often `solve` writes a checkpoint beside its output.

    Parameters
    ----------
    minutes : float
        Wall time between two checkpoints.
    steps : int, optional
        Advances of the scheme between them, in place of the time.

    Raises
    ------
    InputError
        On values that are not positive.
    """

    minutes: float = 10.0
    steps: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "minutes", positive_number(self.minutes, "minutes of a checkpoint")
        )
        if self.steps is not None:
            object.__setattr__(self, "steps", integer(self.steps, "steps", 1))


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, shared: Mapping[str, Any]) -> None:
        super().__init__(file, protocol=5)
        self._names = {id(value): name for name, value in shared.items() if value is not None}

    def persistent_id(self, value: Any) -> Any:
        if id(value) in self._names:
            return self._names[id(value)]
        if isinstance(value, VoronoiMesh):
            return ("mesh", value.level)
        if isinstance(value, types.MethodType) and id(value.__self__) in self._names:
            return ("method", self._names[id(value.__self__)], value.__name__)
        return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, shared: Mapping[str, Any]) -> None:
        super().__init__(file)
        self._shared = shared

    def persistent_load(self, name: Any) -> Any:
        match name:
            case ("mesh", int(level)):
                return voronoi_mesh(level)
            case ("method", str(owner), str(method)) if not method.startswith("_"):
                return getattr(self._shared[owner], method)
            case str():
                return self._shared[name]
        raise pickle.UnpicklingError(f"{name!r:.100} has no place in a checkpoint")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PLAIN | REBUILDERS:
            if not module.startswith(f"{PACKAGE}.") or "." in name:
                raise pickle.UnpicklingError(f"{module}.{name} has no place in a checkpoint")
            found = super().find_class(module, name)
            if not isinstance(found, type):
                raise pickle.UnpicklingError(f"{module}.{name} is no class")
            return found
        return super().find_class(module, name)


def has_checkpoint(output: Path) -> bool:
    """Whether there is a checkpoint beside this output."""
    return _beside(output).is_file()


def _beside(output: Path) -> Path:
    return output.with_name(output.name + ".checkpoint")


def ended_attributes(output: Path) -> dict[str, Any] | None:
    """Attributes of the run in this file if it has ended by itself and left no checkpoint."""
    if has_checkpoint(output) or not output.is_file():
        return None
    try:
        with opened_dataset(output) as found:
            attributes = dict(found.attrs)
    except Exception:  # libraries raise anything on what is no dataset
        return None
    ended = attributes.get("status") not in (None, "running", *RESUMABLE)
    return attributes if ended else None


def kept_configuration(output: Path) -> dict[str, Any]:
    """Configuration of the checkpoint beside this output, or of the run in it if that has ended.

    Empty if there is none to be read.
    """
    ended = ended_attributes(output)
    if ended is not None:
        return configuration_of(ended.get("experiment", "{}"))
    try:
        with open(_beside(output), "rb") as file:
            known = file.readline() == MAGIC
            header = json.loads(file.readline()) if known else {}
            return configuration_of(header.get("experiment", "{}"))
    except (OSError, ValueError, AttributeError):
        return {}


def configuration_of(text: Any) -> dict[str, Any]:
    """The configuration that the attribute `experiment` holds; empty if it is none."""
    try:
        found = json.loads(str(text))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _flat(experiment: str) -> dict[str, Any]:
    """Dotted key → value of a configuration."""
    found: dict[str, Any] = {}

    def walk(value: Any, key: str) -> None:
        if isinstance(value, dict):
            for name, part in value.items():
                walk(part, f"{key}.{name}" if key else name)
        else:
            found[key] = value

    walk(json.loads(experiment), "")
    return found


class CheckpointFile:
    """The checkpoint of one run, beside its output.

    Parameters
    ----------
    output : Path
        The checkpoint is the file of this name with ".checkpoint" added.
    when : Checkpoint
    experiment : str
        Configuration, which a checkpoint must have to be resumed.
    """

    def __init__(self, output: Path, when: Checkpoint, experiment: str) -> None:
        self.path = _beside(output)
        self.when = when
        self.experiment = experiment
        self._last = time.monotonic()
        self._steps = 0

    def is_due(self) -> bool:
        """Whether it is time for the next one; called once for each advance."""
        self._steps += 1
        if self.when.steps is not None:
            return self._steps >= self.when.steps
        return time.monotonic() - self._last >= 60.0 * self.when.minutes

    def write(self, state: Any, shared: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Replace the checkpoint by this state, at once or not at all.

        Raises
        ------
        OutputError
            If it cannot be written; the one before stays.
        """
        buffer = io.BytesIO()
        _Pickler(buffer, shared).dump(state)
        payload = buffer.getvalue()
        header = {
            "version": __version__,
            "experiment": self.experiment,
            "digest": hashlib.sha256(payload).hexdigest(),
            **facts,
        }
        partial = self.path.with_name(self.path.name + ".part")
        try:
            with open(partial, "wb") as file:
                file.write(MAGIC + json.dumps(header).encode() + b"\n" + payload)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise OutputError(
                f"checkpoint '{self.path}' could not be written ({error.strerror or error}); the "
                "one before it stays; check the space on the disk, then resume"
            ) from error
        self._last, self._steps = time.monotonic(), 0

    def read(self) -> tuple[dict[str, Any], bytes] | None:
        """Facts and state of the checkpoint, or None if there is none.

        Raises
        ------
        InputError
            If it is damaged, or belongs to another configuration or version.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"checkpoint '{self.path}' cannot be read ({error})") from error
        line, _, payload = content.removeprefix(MAGIC).partition(b"\n")
        try:
            facts = json.loads(line)
            intact = hashlib.sha256(payload).hexdigest() == facts["digest"]
        except (ValueError, KeyError, TypeError):
            intact = False
        if not content.startswith(MAGIC) or not intact:
            raise InputError(
                f"checkpoint '{self.path}' is damaged or no checkpoint; remove it to start anew"
            )
        if facts["version"] != __version__:
            raise InputError(
                f"checkpoint '{self.path}' was written by sphereflow {facts['version']}, this is "
                f"{__version__}; resume with that version, or remove it to start anew"
            )
        if facts["experiment"] != self.experiment:
            there, here = _flat(facts["experiment"]), _flat(self.experiment)
            changed = [key for key in {**there, **here} if there.get(key) != here.get(key)]
            first = changed[0]
            raise InputError(
                f"checkpoint '{self.path}' belongs to another configuration, where {first} is "
                f"{there.get(first)!r:.60} in place of {here.get(first)!r:.60}; repeat the options "
                "of its run, or remove it to start anew"
            )
        return facts, payload

    def load(self, payload: bytes, shared: Mapping[str, Any]) -> Any:
        """The state, with the objects of this problem in it.

        Raises
        ------
        InputError
            If it holds what a checkpoint does not hold.
        """
        try:
            return _Unpickler(io.BytesIO(payload), shared).load()
        except (pickle.UnpicklingError, KeyError, AttributeError, EOFError) as error:
            raise InputError(f"checkpoint '{self.path}' cannot be used: {error}") from error

    def remove(self) -> None:
        """Remove it, after the run has ended."""
        self.path.unlink(missing_ok=True)
