"""Diagnostics of a density: moments, entropy, resolution, clusters; weights of the heads."""

from .clusters import Clusters, cell_of, clusters, find_clusters, weighted_points
from .head_norms import head_norm_integral
from .moments import density_diagnostics
from .resolution import required_degree, tail_ratio

__all__ = [
    "Clusters",
    "cell_of",
    "clusters",
    "density_diagnostics",
    "find_clusters",
    "head_norm_integral",
    "required_degree",
    "tail_ratio",
    "weighted_points",
]
