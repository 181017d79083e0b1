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
]

LONGEST = 1000  # characters of a message


class SphereflowError(Exception):
    """Base class of all errors that sphereflow raises on purpose."""

    def __str__(self) -> str:
        """The message on one printable line, whatever values it names."""
        line = re.sub(r"\s*[\n\r]\s*", " ", super().__str__())
        line = "".join(c if c.isprintable() else "\ufffd" for c in line)
        return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"


class InputError(SphereflowError, ValueError):
    """An argument has a wrong shape, a non-finite entry or a value out of range."""


class ConfigurationError(SphereflowError, ValueError):
    """An experiment file or a configuration cannot be understood."""


class OutputError(SphereflowError, OSError):
    """An output file cannot be written."""


class ResolutionError(SphereflowError, RuntimeError):
    """The numerical resolution is too low for what was asked."""
