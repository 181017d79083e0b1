"""The kinds of objects that a configuration may name: one row each, where its class is defined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from .configuration import kind_of

__all__ = [
    "DENSITIES",
    "DRIFTS",
    "DYNAMICS",
    "INITIAL_LAWS",
    "LAWS",
    "NOISES",
    "PARAMETRISATIONS",
    "SCHEMES",
    "STOP_RULES",
    "Registry",
    "Row",
]

Class = TypeVar("Class", bound=type)
Config = Mapping[str, object]
References = tuple[str, ...] | Callable[[Config], tuple[str, ...]]


@dataclass(frozen=True)
class Row:
    """What is known of one kind.

    Parameters
    ----------
    cls : type
        Whose fields are the keys of its table.
    references : tuple of str, or callable
        Keys of `references.bib` that a run of this kind cites; a callable has the table of the
        kind and gives them.
    shows : tuple of str
        What a progress bar shows of the information that a run gives.
    """

    cls: type
    references: References = ()
    shows: tuple[str, ...] = ()


class Registry(Mapping[str, type]):
    """From `kind` to class, with what else there is to know of a kind.

    Parameters
    ----------
    *classes : type
        Rows to start with.

    Examples
    --------
    >>> shapes = Registry()
    >>> @shapes.row(references=("euler1736",))
    ... class RoundDisc: ...
    >>> shapes["round_disc"] is RoundDisc, shapes.references({"kind": "round_disc"})
    (True, ('euler1736',))
    """

    def __init__(self, *classes: type) -> None:
        self._rows = {kind_of(cls): Row(cls) for cls in classes}

    def row(
        self, *, references: References = (), shows: tuple[str, ...] = ()
    ) -> Callable[[Class], Class]:
        """Decorator that adds the row of a class."""

        def add(cls: Class) -> Class:
            self._rows[kind_of(cls)] = Row(cls, references, shows)
            return cls

        return add

    def __getitem__(self, kind: str) -> type:
        return self._rows[kind].cls

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> list[Row]:
        """All rows, in the order in which they came."""
        return list(self._rows.values())

    def class_of(self, config: object) -> type | None:
        """The class that a table names by its kind; None if it names none of this registry."""
        row = self._row_of(config)
        return None if row is None else row.cls

    def references(self, config: object) -> tuple[str, ...]:
        """What a run cites whose table this is; nothing for an unknown kind."""
        row = self._row_of(config)
        if row is None or not isinstance(config, Mapping):
            return ()
        return row.references(config) if callable(row.references) else row.references

    def _row_of(self, config: object) -> Row | None:
        kind = config.get("kind") if isinstance(config, Mapping) else None
        return self._rows.get(kind) if isinstance(kind, str) else None


# Each class adds its own row where it is defined.
DENSITIES = Registry()
LAWS = Registry()
DYNAMICS = Registry()  # what paths of heads are drawn from
DRIFTS = Registry()
NOISES = Registry()
PARAMETRISATIONS = Registry()
INITIAL_LAWS = Registry()
SCHEMES = Registry()
STOP_RULES = Registry()
