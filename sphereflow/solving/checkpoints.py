"""Checkpoints: the whole state of a run in one file, from which it goes on to the last bit.

The file holds plain values and arrays in a format of its own, `checkpoint_format`, so that no file
can run code. Objects of the user (densities, head laws, drifts) are not in it: they come with the
problem.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypedDict, cast

from ..checks import integer, positive_number
from ..describe.fields import Bounds
from ..errors import InputError, OutputError
from ..machine.files import read_regular, replaced
from ..machine.threads import opened_dataset
from ..output.ends import End, is_resumable
from ..output.reading import experiment_of
from ..output.variables import Record
from ..version import __version__
from .checkpoint_format import from_bytes, to_bytes

__all__ = [
    "Checkpoint",
    "CheckpointFile",
    "ended_attributes",
    "has_checkpoint",
    "kept_configuration",
]


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

    minutes: Annotated[float, Bounds(above=0)] = 10.0
    steps: Annotated[int, Bounds(1)] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "minutes", positive_number(self.minutes, "minutes of a checkpoint")
        )
        if self.steps is not None:
            object.__setattr__(self, "steps", integer(self.steps, "steps", 1))


def has_checkpoint(output: Path) -> bool:
    """Whether there is a checkpoint beside this output."""
    return _beside(output).is_file()


def _beside(output: Path) -> Path:
    return output.with_name(output.name + ".checkpoint")


def ended_attributes(output: Path) -> dict[str, object] | None:
    """Attributes of the run in this file if it has ended by itself and left no checkpoint."""
    if has_checkpoint(output) or not output.is_file():
        return None
    try:
        with opened_dataset(output) as found:
            attributes = dict(found.attrs)
    except Exception:  # libraries raise anything on what is no dataset
        return None
    status = attributes.get("status")
    ended = isinstance(status, str) and status != End.RUNNING and not is_resumable(status)
    return attributes if ended else None


def kept_configuration(output: Path) -> dict[str, object]:
    """Configuration of the checkpoint beside this output, or of the run in it if that has ended.

    Empty if there is none to be read.
    """
    ended = ended_attributes(output)
    if ended is not None:
        return _experiment_of(ended)
    try:
        found = from_bytes(read_regular(_beside(output), "checkpoint"))
    except (OSError, ValueError):  # said when it is resumed from
        return {}
    return _experiment_of(found)


def _experiment_of(attributes: Mapping[str, object]) -> dict[str, object]:
    try:
        return experiment_of(attributes)
    except InputError:  # said when it is resumed from
        return {}


def _flat(experiment: str) -> dict[str, object]:
    """Dotted key → value of a configuration."""
    found: dict[str, object] = {}

    def walk(value: object, key: str) -> None:
        if isinstance(value, dict):
            for name, part in value.items():
                walk(part, f"{key}.{name}" if key else name)
        else:
            found[key] = value

    walk(json.loads(experiment), "")
    return found


class Kept(TypedDict):
    """What a checkpoint keeps of a run."""

    saved: int  # times that the output holds
    names: list[str]  # of the variables of a record
    leg: int  # of a relay
    rows_before: int  # of the output, by the legs before
    run: Mapping[str, object]
    heads: Sequence[object] | None
    last: Record  # the state at the last saved time


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

    def write(self, state: Kept) -> None:
        """Replace the checkpoint by this state of plain data, at once or not at all.

        Raises
        ------
        OutputError
            If it cannot be written; the one before stays.
        """
        known = {"version": __version__, "experiment": self.experiment, "state": state}
        content = to_bytes(known)
        try:
            with replaced(self.path, "checkpoint", through_links=False) as partial:
                partial.write_bytes(content)
        except OutputError as error:
            raise OutputError(
                f"{error}; the checkpoint before it stays, if there is one; then resume"
            ) from error
        self._last, self._steps = time.monotonic(), 0

    def read(self) -> Kept | None:
        """State of the checkpoint, or None if there is none.

        Raises
        ------
        InputError
            If it is damaged, or belongs to another configuration, version or format.
        """
        try:
            content = read_regular(self.path, "checkpoint")
        except FileNotFoundError:
            return None
        try:
            found = from_bytes(content)
        except ValueError as error:
            raise InputError(
                f"checkpoint '{self.path}' {error}; remove it to start anew"
            ) from error
        with self.restoring():
            version, experiment, kept = found["version"], found["experiment"], found["state"]
            if not isinstance(experiment, str) or not isinstance(kept, dict):
                raise TypeError("no state of a run")
            state = cast(Kept, kept)
            there, here = _flat(experiment), _flat(self.experiment)
        if version != __version__:
            raise InputError(
                f"checkpoint '{self.path}' was written by sphereflow {version}, this is "
                f"{__version__}; resume with that version, or remove it to start anew"
            )
        if experiment != self.experiment:
            changed = [key for key in {**there, **here} if there.get(key) != here.get(key)]
            first = changed[0] if changed else "the order of keys"
            raise InputError(
                f"checkpoint '{self.path}' belongs to another configuration, where {first} is "
                f"{there.get(first)!r:.60} in place of {here.get(first)!r:.60}; repeat the options "
                "of its run, or remove it to start anew"
            )
        return state

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """What is made of a state in here fails with a sentence if that is not of such a run."""
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"checkpoint '{self.path}' does not hold the state of this run "
                f"({type(error).__name__}: {error}); remove it to start anew"
            ) from error

    def remove(self) -> None:
        """Remove it, after the run has ended."""
        self.path.unlink(missing_ok=True)
