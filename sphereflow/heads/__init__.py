"""Laws Θ_t of the heads and their quadratures."""

from .gaussian import GaussianHeads, GaussianNodes, OrnsteinUhlenbeck
from .laws import FixedHeads, OscillatingHeads, TabulatedHeads
from .nodes import HeadLaw, HeadNodes, Heads

__all__ = [
    "FixedHeads",
    "GaussianHeads",
    "GaussianNodes",
    "HeadLaw",
    "HeadNodes",
    "Heads",
    "OrnsteinUhlenbeck",
    "OscillatingHeads",
    "TabulatedHeads",
]
