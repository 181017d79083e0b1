"""Mass, moments and entropy of a density on a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from ..output.variables import Value
from ..sphere import SphereGrid

if TYPE_CHECKING:
    import xarray

__all__ = ["density_diagnostics", "order_parameter"]


def density_diagnostics(grid: SphereGrid, values: NDArray[np.float64]) -> dict[str, Value]:
    """Mass, first and second moments, entropy −∫ μ log μ dσ, minimum.

    Parameters
    ----------
    grid : SphereGrid
    values : ndarray, shape (nlat, nlon)
        Density in sr⁻¹. Negative values of a truncated series count as 0 in the entropy.

    Examples
    --------
    >>> import numpy as np
    >>> from sphereflow import SphereGrid
    >>> grid = SphereGrid(7)
    >>> uniform = density_diagnostics(grid, np.full(grid.shape, 0.25 / np.pi))
    >>> np.round(uniform["second_moment"].diagonal(), 12).tolist()
    [0.333333333333, 0.333333333333, 0.333333333333]
    """
    mass = (values * grid.weights).reshape(-1)
    points = grid.points.reshape(-1, 3)
    positive = np.maximum(values, 0.0)
    return {
        "mass": float(mass.sum()),
        "first_moment": mass @ points,
        "second_moment": points.T @ (mass[:, None] * points),
        "entropy": -grid.integrate(xlogy(positive, positive)),
        "minimum": float(values.min()),
    }


def order_parameter(run: xarray.Dataset) -> xarray.DataArray:
    """|∫x dμ| from the first moments of a dataset, over their other dimensions."""
    return (run["first_moment"] ** 2).sum("axis", skipna=False) ** 0.5
