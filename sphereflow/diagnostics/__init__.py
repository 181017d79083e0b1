"""Diagnostics of a density: moments, entropy, resolution."""

from .moments import density_diagnostics
from .resolution import required_degree, tail_ratio

__all__ = ["density_diagnostics", "required_degree", "tail_ratio"]
