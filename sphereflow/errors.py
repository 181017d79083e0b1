"""The exceptions that sphereflow raises on purpose.

Every message is one sentence with four parts: what is wrong, the value that was
got, what is allowed, and what to do about it.
"""

__all__ = [
    "ConfigurationError",
    "InputError",
    "OutputError",
    "ResolutionError",
    "SphereflowError",
]


class SphereflowError(Exception):
    """Base class of all errors that sphereflow raises on purpose."""


class InputError(SphereflowError, ValueError):
    """An argument has a wrong shape, a non-finite entry or a value out of range."""


class ConfigurationError(SphereflowError, ValueError):
    """An experiment file or a configuration cannot be understood."""


class OutputError(SphereflowError, OSError):
    """An output file cannot be written."""


class ResolutionError(SphereflowError, RuntimeError):
    """The numerical resolution is too low for what was asked."""
