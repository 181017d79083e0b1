"""What varies in a sweep: lists and ranges of values, and the experiments they make."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..describe.building import check_keys
from ..errors import ConfigurationError
from ..output.arrays import without_arrays
from ..output.ends import End
from .experiment import experiment_in_folder
from .files import apply_overrides, read_configuration

__all__ = ["Member", "Plan", "parse_values", "plan_sweep"]

MOST_MEMBERS = 100_000
_RANGE = ("start", "stop", "count", "step", "spacing")


@dataclass(eq=False)
class Member:
    """One run of a sweep and what became of it.

    Parameters
    ----------
    number : int
        From 0, with the last parameter varying fastest.
    index : tuple of int
        Its place along the dimensions of the sweep.
    parameters : dict
        Full key → value.
    config : dict
        Configuration of its experiment.
    digest : str
        Hash of the configuration.
    status : str
        That of the run; "pending" before, "failed" for one without a dataset.
    reason : str
        Why the run ended, or the error.
    seconds : float
        Wall time.
    """

    number: int
    index: tuple[int, ...]
    parameters: dict[str, object]
    config: dict[str, object] = field(repr=False)
    digest: str = field(repr=False)
    status: str = End.PENDING
    reason: str = ""
    seconds: float = math.nan

    @property
    def name(self) -> str:
        """The parameters as text."""
        return ", ".join(f"{key} = {json.dumps(v)}" for key, v in self.parameters.items())

    @property
    def file(self) -> str:
        """Name of its dataset."""
        return f"member_{self.number:05d}.nc"


@dataclass(frozen=True)
class Plan:
    """All members of a sweep.

    Parameters
    ----------
    mode : str
        "product" or "zip".
    parameters : dict
        Full key → values.
    members : list of Member
    config : dict
        The whole configuration, with the section ``[sweep]``.
    directory : Path
        What relative paths in the configuration start from.
    allow_code : bool
        Whether functions that it names are imported.
    """

    mode: str
    parameters: dict[str, list[object]]
    members: list[Member]
    config: dict[str, object]
    directory: Path
    allow_code: bool

    @property
    def digest(self) -> str:
        """Hash of all that is to be run, in its order."""
        return _digest([self.mode, *self.parameters, *(member.digest for member in self.members)])


def plan_sweep(
    source: str | os.PathLike[str] | Mapping[str, object],
    vary: Mapping[str, object] | None = None,
    overrides: Iterable[str] = (),
    *,
    allow_code: bool = False,
) -> Plan:
    """Read what varies, and try that the experiment of every member can be built.

    Parameters
    ----------
    source : path or mapping
        Experiment file with a section ``[sweep]``, or its content.
    vary : mapping, optional
        Key with dots → list or range, besides those of the section.
    overrides : iterable of str, optional
        Changes as in `load_experiment`.
    allow_code : bool
        Whether functions that the file names are imported.

    Raises
    ------
    ConfigurationError
        If the section or the experiment of any member is not understood.
    """
    if isinstance(source, Mapping):
        config, directory = copy.deepcopy(dict(source)), Path.cwd()
    else:
        config, path = read_configuration(source)
        directory = Path(os.path.realpath(path)).parent
    apply_overrides(config, overrides)
    table = config.pop("sweep", {})
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"[sweep] must be a table, got {table!r}; write it as one.")
    mode = table.get("mode", "product")
    parameters = dict(_parameters({key: v for key, v in table.items() if key != "mode"}))
    parameters |= dict(_parameters(vary or {}))
    members = []
    for number, index in enumerate(_indices(parameters, mode)):
        places = index if mode == "product" else index * len(parameters)
        values = {key: v[place] for (key, v), place in zip(parameters.items(), places)}
        changed = copy.deepcopy(config)
        for key, value in values.items():
            _assign(changed, key, value)
        members.append(Member(number, index, values, changed, _digest(changed)))
    for member in members:
        try:
            experiment_in_folder(member.config, directory, allow_code)
        except ConfigurationError as error:
            raise ConfigurationError(f"[sweep] with {member.name}: {error}") from error
    whole = {**config, "sweep": {"mode": mode, **parameters}}
    return Plan(mode, parameters, members, whole, directory, allow_code)


def parse_values(text: str) -> tuple[str, object]:
    """Key and values of a text such as ``heads.sigma=0.5,1.0`` or ``heads.sigma=[0.5, 1.0]``.

    Examples
    --------
    >>> parse_values("problem.flow=ascent,descent")
    ('problem.flow', ['ascent', 'descent'])
    >>> parse_values("scheme.seed={start=0, count=3}")
    ('scheme.seed', {'start': 0, 'count': 3})
    """
    key, separator, values = (part.strip() for part in text.partition("="))
    if not separator or not key or not values:
        raise ConfigurationError(
            f"The variation {text!r} is not of the form section.key=values, as in "
            "heads.sigma=0.5,1.0 or heads.sigma=[0.5, 1.0]; write it so."
        )
    for toml in (f"value = {values}", f"value = [{values}]"):
        try:
            value = tomllib.loads(toml)["value"]
        except (ValueError, RecursionError):  # no TOML, or more than can be read
            continue
        return key, value if isinstance(value, list | dict) else [value]
    return key, [part.strip() for part in values.split(",")]


def _parameters(
    table: Mapping[str, object], prefix: str = ""
) -> Iterator[tuple[str, list[object]]]:
    """Full keys and their values; keys without quotation marks are tables in tables."""
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and not value.keys() & set(_RANGE):
            yield from _parameters(value, f"{name}.")
        elif isinstance(value, Mapping):
            yield name, _range(value, name)
        elif isinstance(value, list | tuple | np.ndarray) and len(value):
            yield name, value.tolist() if isinstance(value, np.ndarray) else list(value)
        else:
            raise ConfigurationError(
                f"[sweep] has {name!r} = {value!r}, which is neither a list of values nor a range; "
                "write for example [0.0, 0.1] or { start = 0.0, stop = 1.0, count = 5 }."
            )


def _range(table: Mapping[str, object], key: str) -> list[object]:
    check_keys(table, _RANGE, f"sweep.{key}")
    try:
        return _points(**table)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"[sweep] has {key!r} = {dict(table)!r}, which is no range; give start, stop and "
            'count, with spacing = "log" if wanted and both are above 0, or start, stop and a '
            f"step towards stop, or start, count and step, for 1 to {MOST_MEMBERS} values."
        ) from error


def _points(
    start: object,
    stop: object = None,
    count: object = None,
    step: object = None,
    spacing: object = "linear",
) -> list[object]:
    """Values from start to stop, whole numbers if start, stop, step and all of them are."""
    first, last, by = _number(start), _number(stop), _number(step)
    if first is None or spacing not in ("linear", "log") or (None not in (last, count, by)):
        raise ValueError
    if count is None:
        if last is None or by is None:
            raise ValueError
        count = math.floor((last - first) / by + 1e-9) + 1
    if type(count) is not int or not 1 <= count <= MOST_MEMBERS:
        raise ValueError
    if spacing == "log":
        if last is None or by is not None or min(first, last) <= 0:
            raise ValueError
        values: list[float] = np.geomspace(first, last, count).tolist()
    elif last is not None and by is None:
        values = np.linspace(first, last, count).tolist()
    else:
        values = (first + (1 if by is None else by) * np.arange(count)).tolist()
    # 15 digits: 0.3 rather than 0.30000000000000004.
    points = [float(f"{value:.15g}") for value in values]
    given = [number for number in (first, last, by) if number is not None]
    whole = all(type(number) is int for number in given) and all(p.is_integer() for p in points)
    return [int(point) if whole else point for point in points]


def _number(value: object) -> float | None:
    """A finite number as TOML has them, of the type that it has there, or None."""
    if value is None:
        return None
    if not isinstance(value, int | float) or type(value) not in (int, float):
        raise ValueError
    if not math.isfinite(value):
        raise ValueError
    return value


def _indices(parameters: Mapping[str, list[object]], mode: object) -> list[tuple[int, ...]]:
    """The place of each member along the dimensions."""
    counts = {key: len(values) for key, values in parameters.items()}
    shown = ", ".join(f"{key!r} {count}" for key, count in counts.items())
    if not counts:
        raise ConfigurationError(
            "Nothing varies, got no key with values; add a section [sweep] with lines such as "
            '"heads.sigma" = [0.5, 1.0], or give --vary heads.sigma=0.5,1.0.'
        )
    if mode not in ("product", "zip"):
        raise ConfigurationError(
            f"[sweep] has the mode {mode!r}, which is neither 'product' nor 'zip'; set it to one."
        )
    if mode == "zip" and len(set(counts.values())) > 1:
        raise ConfigurationError(
            f"[sweep] with the mode 'zip' needs as many values of each key, got {shown}; give "
            "equal numbers or set the mode to 'product'."
        )
    number = math.prod(counts.values()) if mode == "product" else next(iter(counts.values()))
    if number > MOST_MEMBERS:
        raise ConfigurationError(
            f"[sweep] makes {number} members by {shown} values, which is more than "
            f"{MOST_MEMBERS}; give fewer values."
        )
    ranges = [range(count) for count in counts.values()]
    return list(itertools.product(*ranges)) if mode == "product" else [(i,) for i in range(number)]


def _assign(config: dict[str, object], key: str, value: object) -> None:
    """Set one key, named with dots and numbers of list entries, in place."""
    *sections, last = key.split(".")
    place: object = config
    for depth, part in enumerate([*sections, last]):
        ends = depth == len(sections)
        if isinstance(place, list) and part.isdecimal() and int(part) < len(place):
            if ends:
                place[int(part)] = copy.deepcopy(value)
            place = place[int(part)]
        elif isinstance(place, dict):
            if ends:
                place[part] = copy.deepcopy(value)
            place = place.setdefault(part, {})
        else:
            where = ".".join(sections[:depth])
            kind = f"a list of {len(place)} entries" if isinstance(place, list) else repr(place)
            raise ConfigurationError(
                f"[sweep] has the key {key!r}, but {where!r} is {kind} and has no {part!r}; name "
                "a key of a table, or an entry of a list by its number from 0."
            )


def _digest(value: object) -> str:
    text = json.dumps(without_arrays(value)[0], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
