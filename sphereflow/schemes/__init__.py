"""Schemes: how μ is carried in time."""

from .protocol import Run, Scheme, Stop
from .spectral import Spectral

__all__ = ["Run", "Scheme", "Spectral", "Stop"]
