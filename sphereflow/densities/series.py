"""Densities through their harmonic series."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import LARGEST, finite_array, integer
from ..describe.fields import Array
from ..describe.registry import DENSITIES
from ..errors import InputError
from ..seeds import Seed, stream
from ..sphere import PointTransform, SphereGrid, lmax_of, real_to_complex
from .base import Density
from .projection import FINEST_PROJECTION, by_rejection, directions

__all__ = ["HarmonicDensity", "SpectralDensity"]

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


class SpectralDensity(Density):
    """A density through its harmonic series, whose small negative values count as nothing."""

    floor: float = 0.0  # of the largest value: less than this is nothing

    @cached_property
    def largest(self) -> float:
        """Largest value on a grid of twice the resolution of the series."""
        return float(_values_on_grid(self.resolved_spectrum()).max())

    def __call__(self, points: ArrayLike) -> Real:
        """Density at unit vectors of shape (..., 3); never below 0."""
        points = directions(points)
        values = PointTransform(points.reshape(-1, 3)).synthesis(self.resolved_spectrum())
        values = np.where(values > self.floor * self.largest, values, 0.0)
        return values.reshape(points.shape[:-1])

    def log_density(self, points: ArrayLike) -> Real:
        """Its logarithm; −inf where the series is not positive."""
        with np.errstate(divide="ignore"):
            return np.log(self(points))

    def sample(self, n: int, seed: Seed = None) -> Real:
        """n independent points, shape (n, 3), by rejection from the uniform law."""
        return by_rejection(self, 1.2 * self.largest, integer(n, "n", 0), stream(seed))


@DENSITIES.row()
@dataclass(frozen=True, eq=False)
class HarmonicDensity(SpectralDensity):
    """A density given by its real orthonormal spherical harmonic coefficients.

    Parameters
    ----------
    coefficients : array_like, shape ((lmax+1)²,)
        Order l² + l + m, as the `spectrum` of a dataset. Scaled so that the mass is 1.

    Raises
    ------
    InputError
        On a wrong length, a non-positive mass, or a density that is negative somewhere by
        more than 1e-9 of its maximum.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> density = sf.HarmonicDensity([1.0, 0.0, 0.2, 0.0])
    >>> bool(density([0, 0, 1.0]) > density([0, 0, -1.0]))
    True
    """

    coefficients: Annotated[ArrayLike, Array((None,))]
    _spectrum: Complex = field(init=False, repr=False)

    def __post_init__(self) -> None:
        real = finite_array(self.coefficients, "coefficients")
        if real.ndim != 1 or not real.size or not real[0] >= 1 / LARGEST:
            raise InputError(
                "coefficients must be a vector whose first entry, the mass over √4π, is above "
                f"0, got shape {real.shape}; start it with 1/√4π"
            )
        if real.size > (FINEST_PROJECTION + 1) ** 2:
            raise InputError(
                f"coefficients must be of degree {FINEST_PROJECTION} at most, got {real.size} of "
                "them; leave out the last degrees"
            )
        spectrum = real_to_complex(real) / (np.sqrt(4 * np.pi) * real[0])
        values = _values_on_grid(spectrum)
        if values.min() < -1e-9 * values.max():
            raise InputError(
                f"a density must not be negative, got minimum {values.min():.4g} sr⁻¹; reduce the "
                "coefficients of degree 1 and above"
            )
        object.__setattr__(self, "coefficients", real)
        object.__setattr__(self, "_spectrum", spectrum)

    def resolved_spectrum(self) -> Complex:
        """Complex coefficients of unit mass."""
        return self._spectrum


def _values_on_grid(spectrum: Complex) -> Real:
    lmax = max(1, lmax_of(spectrum))
    grid = SphereGrid(lmax, dealias=2.0)
    return grid.synthesis(grid.resized(spectrum))
