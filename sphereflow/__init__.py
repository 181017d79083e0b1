"""Solver for the Transformer PDE: mean-field transformers on the sphere.

Compiled kernels, xarray and matplotlib are loaded when first used, so that the import is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .attention import attention_field
from .densities.closed_forms import Mixture, OctahedralClusters, Uniform, VonMisesFisher
from .densities.series import HarmonicDensity
from .densities.tokens import EmpiricalDensity
from .errors import SphereflowError
from .heads import (
    Diagonal,
    FixedHeads,
    FokkerPlanckLaw,
    GaussianHeads,
    HeadProcess,
    Isotropic,
    Normal,
    NormalMixture,
    OrnsteinUhlenbeck,
    OscillatingHeads,
    Point,
    SampledHeads,
    Symmetric,
    TabulatedHeads,
)
from .problem import TransformerPDE
from .schemes import Auto, Characteristics, FiniteVolume, Particles, Spectral
from .solving.checkpoints import Checkpoint
from .solving.solve import solve
from .solving.stopping import Clustered, SteadyState, WallTime
from .sphere import SphereGrid
from .version import __version__

if TYPE_CHECKING:
    from .diagnostics.comparison import compare
    from .experiments.experiment import load_experiment
    from .experiments.sweep import sweep
    from .figures.animation import animate
    from .figures.plot import plot
    from .figures.sphere_view import view
    from .output.citations import cite
    from .output.joining import join

_LAZY = {
    "animate": "figures.animation",
    "cite": "output.citations",
    "compare": "diagnostics.comparison",
    "join": "output.joining",
    "load_experiment": "experiments.experiment",
    "plot": "figures.plot",
    "sweep": "experiments.sweep",
    "view": "figures.sphere_view",
}

__all__ = [
    "Auto",
    "Characteristics",
    "Checkpoint",
    "Clustered",
    "Diagonal",
    "EmpiricalDensity",
    "FiniteVolume",
    "FixedHeads",
    "FokkerPlanckLaw",
    "GaussianHeads",
    "HarmonicDensity",
    "HeadProcess",
    "Isotropic",
    "Mixture",
    "Normal",
    "NormalMixture",
    "OctahedralClusters",
    "OrnsteinUhlenbeck",
    "OscillatingHeads",
    "Particles",
    "Point",
    "SampledHeads",
    "SphereGrid",
    "SphereflowError",
    "Spectral",
    "SteadyState",
    "Symmetric",
    "TabulatedHeads",
    "TransformerPDE",
    "Uniform",
    "VonMisesFisher",
    "WallTime",
    "__version__",
    "animate",
    "attention_field",
    "cite",
    "compare",
    "join",
    "load_experiment",
    "plot",
    "solve",
    "sweep",
    "view",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'sphereflow' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
