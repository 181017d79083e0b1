"""Schemes: how μ is carried in time."""

from .particles import Particles
from .protocol import Run, Scheme, Stop
from .spectral import Spectral

__all__ = ["Particles", "Run", "Scheme", "Spectral", "Stop"]
