"""Schemes: how μ is carried in time."""

from .auto import Auto, Relay
from .characteristics import Characteristics
from .doubts import doubts_about_earlier
from .finite_volume import FiniteVolume
from .inputs_in_time import TimeInputs
from .particles import Particles
from .protocol import Restart, Run, Scheme, Stop, as_scheme
from .spectral import Spectral

__all__ = [
    "Auto",
    "Characteristics",
    "FiniteVolume",
    "Particles",
    "Relay",
    "Restart",
    "Run",
    "Scheme",
    "Spectral",
    "Stop",
    "TimeInputs",
    "as_scheme",
    "doubts_about_earlier",
]
