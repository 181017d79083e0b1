"""Harmonic analysis on the unit sphere; usable alone."""

from .cell_quadrature import Extent, cell_integrals, moments_of_means
from .engines import shtns_available
from .grid import SphereGrid, antipodal_grid
from .indexing import (
    coefficient_count,
    complex_to_real,
    degrees_and_orders,
    deviation_from_uniform,
    lmax_of,
    power_by_degree,
    real_degrees_and_orders,
    real_to_complex,
    resize,
)
from .mesh import FINEST_LEVEL, VoronoiMesh, voronoi_mesh
from .points import (
    PointTransform,
    angles,
    from_degrees,
    spread_points,
    tangent_basis,
    unit,
    unit_vectors,
)

__all__ = [
    "Extent",
    "FINEST_LEVEL",
    "PointTransform",
    "SphereGrid",
    "VoronoiMesh",
    "angles",
    "antipodal_grid",
    "cell_integrals",
    "coefficient_count",
    "complex_to_real",
    "degrees_and_orders",
    "deviation_from_uniform",
    "from_degrees",
    "lmax_of",
    "moments_of_means",
    "power_by_degree",
    "real_degrees_and_orders",
    "real_to_complex",
    "resize",
    "shtns_available",
    "spread_points",
    "tangent_basis",
    "unit",
    "unit_vectors",
    "voronoi_mesh",
]
