"""Solver for the Transformer PDE: mean-field transformers on the sphere.

Compiled kernels, xarray and matplotlib are loaded when first used, so that the import is quick.
"""

from __future__ import annotations

import importlib
from typing import Any

from .attention import attention_field
from .densities import HarmonicDensity, Mixture, OctahedralClusters, Uniform, VonMisesFisher
from .errors import SphereflowError
from .heads import (
    FixedHeads,
    GaussianHeads,
    OrnsteinUhlenbeck,
    OscillatingHeads,
    TabulatedHeads,
)
from .problem import TransformerPDE
from .schemes import Spectral
from .solve import solve
from .sphere import SphereGrid
from .version import __version__

_LAZY = {"load_experiment": "experiment", "plot": "plotting"}

__all__ = [
    "FixedHeads",
    "GaussianHeads",
    "HarmonicDensity",
    "Mixture",
    "OctahedralClusters",
    "OrnsteinUhlenbeck",
    "OscillatingHeads",
    "SphereGrid",
    "SphereflowError",
    "Spectral",
    "TabulatedHeads",
    "TransformerPDE",
    "Uniform",
    "VonMisesFisher",
    "__version__",
    "attention_field",
    "load_experiment",
    "plot",
    "solve",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'sphereflow' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
