"""Marks of fields: what a configuration may hold there, besides the plain type.

A field ``lmax: Annotated[int, Bounds(1, most=1023)]`` is read by two: `building` knows from the
marks whether a table, a name or a function may stand there, and `schema` writes all of them down.
Ranges are checked by the classes themselves, with their own sentences.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .registry import Registry

__all__ = [
    "Array",
    "Bounds",
    "File",
    "Function",
    "Kinds",
    "Listed",
    "Mark",
    "Words",
    "marks_of",
    "plain_options",
    "types_of_fields",
]

SCALARS = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Bounds:
    """A number of at least `least`, greater than `above`, and at most `most`."""

    least: float | None = None
    most: float | None = None
    above: float | None = None


@dataclass(frozen=True)
class Words:
    """One of a few words."""

    words: tuple[str, ...]


class Array:
    """Numbers in nested lists of one of these shapes; None stands for any length from 1 on.

    `drawn`: matrices that a table with a key `random` describes may stand there as well.
    """

    def __init__(self, *shapes: tuple[int | None, ...], drawn: bool = False) -> None:
        self.shapes = shapes
        self.drawn = drawn


class Kinds:
    """A table with a `kind` of one of these registries, or that name alone if it needs no key."""

    def __init__(self, *registries: Registry) -> None:
        self.registries = registries

    def classes(self) -> dict[str, type]:
        """All classes by kind."""
        return {kind: cls for one in self.registries for kind, cls in one.items()}


@dataclass(frozen=True)
class Listed:
    """A list whose entries have this mark."""

    entry: Kinds


class Function:
    """The name of a function, ``"module:function"``, which is imported."""


class File:
    """The name of a file."""


Mark = Bounds | Words | Array | Kinds | Listed | Function | File


def types_of_fields(function: Callable[..., object]) -> dict[str, object]:
    """The annotated type of each argument of a function or field of a dataclass."""
    found: Mapping[str, object] = typing.get_type_hints(function, include_extras=True)
    return dict(found)


def members_of(hint: object) -> tuple[object, ...]:
    """The members of a union, or the type itself."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def marks_of(hint: object) -> list[Mark]:
    """All marks of a type and of the members of a union."""
    return [
        mark
        for member in members_of(hint)
        if typing.get_origin(member) is typing.Annotated
        for mark in typing.get_args(member)[1:]
        if isinstance(mark, Mark)
    ]


def plain_options(hint: object) -> list[object] | None:
    """Types and literal values that a type allows; None if it names anything else."""
    options: list[object] = []
    for member in members_of(hint):
        if typing.get_origin(member) is typing.Annotated:
            member = typing.get_args(member)[0]
        if typing.get_origin(member) is typing.Literal:
            options.extend(typing.get_args(member))
        elif member in SCALARS:
            options.append(member)
        else:
            return None
    return options
