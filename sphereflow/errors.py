"""The exceptions that sphereflow raises on purpose.

Every message is one sentence with four parts: what is wrong, the value that was
got, what is allowed, and what to do about it.
"""

from __future__ import annotations

import re

__all__ = [
    "ConfigurationError",
    "InputError",
    "OutputError",
    "ResolutionError",
    "SphereflowError",
    "printable",
]

LONGEST = 1000  # characters of a message


def printable(text: str) -> str:
    """The text on one line of limited length, without characters that command a terminal.

    These are control characters, those that turn the direction of writing, and what no encoding
    can hold.
    """
    line = re.sub(r"\s*[\n\r]\s*", " ", text)
    line = "".join(c if c.isprintable() else "\ufffd" for c in line)
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"


class SphereflowError(Exception):
    """Base class of all errors that sphereflow raises on purpose."""

    def __str__(self) -> str:
        """The message on one printable line, whatever values it names."""
        return printable(super().__str__())


class InputError(SphereflowError, ValueError):
    """An argument has a wrong shape, a non-finite entry or a value out of range."""


class ConfigurationError(SphereflowError, ValueError):
    """An experiment file or a configuration cannot be understood."""


class OutputError(SphereflowError, OSError):
    """An output file cannot be written."""


class ResolutionError(SphereflowError, RuntimeError):
    """The numerical resolution is too low for what was asked."""
