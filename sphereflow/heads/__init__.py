"""Laws Θ_t of the heads and their quadratures."""

from .fokker_planck import FokkerPlanckLaw
from .gaussian import GaussianHeads, GaussianNodes, OrnsteinUhlenbeck
from .laws import FixedHeads, OscillatingHeads, TabulatedHeads
from .nodes import HeadLaw, HeadNodes, Heads, largest_argument
from .parametrisations import Diagonal, Isotropic, Symmetric
from .processes import HeadProcess, Normal, NormalMixture, Point
from .sampled import HeadPaths, HeadStep, SampledHeads, SmoothPaths

__all__ = [
    "Diagonal",
    "FixedHeads",
    "FokkerPlanckLaw",
    "GaussianHeads",
    "GaussianNodes",
    "HeadLaw",
    "HeadNodes",
    "HeadPaths",
    "HeadProcess",
    "HeadStep",
    "Heads",
    "Isotropic",
    "Normal",
    "NormalMixture",
    "OrnsteinUhlenbeck",
    "OscillatingHeads",
    "Point",
    "SampledHeads",
    "SmoothPaths",
    "Symmetric",
    "TabulatedHeads",
    "largest_argument",
]
