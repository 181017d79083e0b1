"""Objects that a user brings in place of those of the package."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from .configuration import to_config

__all__ = ["Given"]

Wrapped = TypeVar("Wrapped")


class Given(Generic[Wrapped]):
    """An object that has some of the hooks of a base class; the defaults stand for the others.

    Parameters
    ----------
    given : object
        Hooks of the names in `HOOKS` are looked up on it first.
    """

    HOOKS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, given: Wrapped) -> None:
        self.given = given

    def __getattribute__(self, name: str) -> object:
        if name in type(self).HOOKS:
            given = object.__getattribute__(self, "given")
            if hasattr(given, name):
                return getattr(given, name)
        return super().__getattribute__(name)

    def to_config(self) -> object:
        """Description of the object."""
        return to_config(self.given)
