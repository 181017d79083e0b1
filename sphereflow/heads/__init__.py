"""Laws Θ_t of the heads and their quadratures."""

from . import drifts
from .fokker_planck import FokkerPlanckLaw
from .from_configuration import law_class_of, law_of
from .gaussian import GaussianHeads, GaussianNodes, OrnsteinUhlenbeck
from .initial_laws import Normal, NormalMixture, Point
from .law import HeadLaw, as_law
from .laws import FixedHeads, OscillatingHeads, TabulatedHeads
from .nodes import HeadNodes, Heads, largest_argument
from .parametrisations import Diagonal, Isotropic, Symmetric
from .processes import HeadProcess
from .sampled import HeadDynamics, HeadPaths, HeadPathsState, HeadStep, SampledHeads, SmoothPaths

__all__ = [
    "Diagonal",
    "FixedHeads",
    "FokkerPlanckLaw",
    "GaussianHeads",
    "GaussianNodes",
    "HeadDynamics",
    "HeadLaw",
    "HeadNodes",
    "HeadPaths",
    "HeadPathsState",
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
    "as_law",
    "drifts",
    "law_class_of",
    "law_of",
    "largest_argument",
]
