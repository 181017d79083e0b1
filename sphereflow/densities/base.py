"""Densities on the sphere: what every density can be asked, each with a default."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import called, finite_array, integer, shown
from ..describe import to_config
from ..errors import InputError, ResolutionError
from ..seeds import Seed, stream
from ..sphere import Extent, SphereGrid, VoronoiMesh, lmax_of, power_by_degree, resize
from .projection import (
    FINEST_PROJECTION,
    by_rejection,
    directions,
    extent_of,
    has_decayed,
    is_nearly_resolved,
    project,
)

__all__ = ["Cap", "Density", "FunctionDensity", "NodeRule", "Part", "as_density"]

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

NORMALISED = 1e-6  # deviation of an integral from 1
LARGEST_ERROR = 0.05  # of moments by a grid that may have missed nothing


class Cap(NamedTuple):
    """A share of a density that lies within an angle from a centre."""

    share: float
    log_density: Callable[[ArrayLike], Real]  # of unit mass
    centre: Real
    angle: float


class Part(NamedTuple):
    """A component of a density: its share of the mass, and its factor as it is."""

    share: float
    factor: float
    density: Density


class NodeRule(NamedTuple):
    """Positions (n, 3), weights (n,) of sum 1 and log-density (n,), NaN for a point measure."""

    positions: Real
    weights: Real
    log_density: Real


class Density(ABC):
    """A probability density on the sphere; a subclass needs three methods only."""

    @abstractmethod
    def log_density(self, points: ArrayLike) -> Real:
        """Logarithm of the density at points of shape (..., 3); −inf where it is 0."""

    @abstractmethod
    def resolved_spectrum(self) -> Complex:
        """Complex coefficients at unit mass, to the degree that resolves the density."""

    @abstractmethod
    def sample(self, n: int, seed: Seed = None) -> Real:
        """n independent points, shape (n, 3)."""

    def __call__(self, points: ArrayLike) -> Real:
        """Density in sr⁻¹ at unit vectors of shape (..., 3)."""
        return np.exp(self.log_density(points))

    def coefficients_to(self, lmax: int) -> Complex:
        """Complex coefficients to degree `lmax` at unit mass."""
        return resize(self.resolved_spectrum(), lmax)

    @property
    def mass(self) -> float:
        """Its integral as it is."""
        return 1.0

    @property
    def knows_spectrum(self) -> bool:
        """Whether its moments are known, however narrow it is."""
        return True

    @property
    def is_quick_to_sample(self) -> bool:
        """Whether a sample costs no projection."""
        return True

    def doubts(self) -> list[str]:
        """What is not certain of it at the start of a run, as sentences."""
        return []

    def error_of_moments(self, degree: int) -> float:
        """Relative error of its moments to a degree."""
        return 0.0

    # What it consists of

    def parts(self) -> list[Part]:
        """Its components; itself if it is no mixture."""
        return [Part(1.0, 1.0, self)]

    def caps(self) -> list[Cap]:
        """The caps that hold all of it to round-off; none if it is wide."""
        return []

    def wide_and_caps(self) -> tuple[list[tuple[float, Density]], list[Cap]]:
        """Wide parts, each with its factor, and those that lie in caps."""
        caps = self.caps()
        return ([], caps) if caps else ([(1.0, self)], [])

    def extent(self) -> Extent:
        """The length over which it changes, and where it is."""
        return extent_of(self.resolved_spectrum())

    def extent_on(self, mesh: VoronoiMesh) -> Extent:
        """Its extent as the cells of a mesh can tell it."""
        return self.extent()

    # Representations that are there already

    def tokens(self) -> tuple[Real, Real] | None:
        """Points (n, 3) and weights (n,) that are taken as they are; None: they are drawn."""
        return None

    def nodes(self) -> NodeRule | None:
        """The nodes that carry it, of which there are no more and no fewer; None: as wanted."""
        return None

    def means_on(self, mesh: VoronoiMesh) -> Real | None:
        """Its means on the cells of this mesh; None: they are to be computed."""
        return None

    @property
    def series_error(self) -> float:
        """Error of its harmonic series, relative to the largest value."""
        return 0.0

    def error_on(self, mesh: VoronoiMesh) -> float:
        """Error of what a mesh takes of it, relative to the largest value."""
        return self.series_error


class FunctionDensity(Density):
    """A function on unit vectors (..., 3), scaled to unit mass where that is wanted.

    Its own methods ``log_density(points)`` and ``sample(n, seed)`` are used if it has them.

    Parameters
    ----------
    function : callable
    """

    def __init__(self, function: Callable[[Real], ArrayLike]) -> None:
        self.function = function

    def __call__(self, points: ArrayLike) -> Real:
        """The values of the function."""
        values: Real = np.asanyarray(called(self.function, "a density", points))  # with its mask
        return values

    def log_density(self, points: ArrayLike) -> Real:
        """Logarithm of the values of the function.

        Raises
        ------
        InputError
            If it returns a wrong shape, a value that is not finite, or a negative one.
        """
        points = directions(points)
        own = getattr(self.function, "log_density", None)
        if own is not None:
            return np.asarray(own(points))
        values = finite_array(self(points), "density values")
        expected = points.shape[:-1]
        if values.shape != expected:
            raise InputError(
                f"a density must return shape {expected} for points of shape {points.shape}, got "
                f"{values.shape}; it is called on arrays of unit vectors (..., 3)"
            )
        if (values < 0).any():
            raise InputError(
                f"a density must not be negative, got {values.min():.4g} sr⁻¹; correct or clip it"
            )
        with np.errstate(divide="ignore"):
            return np.log(values)

    @cached_property
    def projection(self) -> Complex:
        """Coefficients of the function as it is."""
        return project(self)

    @property
    def mass(self) -> float:
        """Integral of the function."""
        return float(np.sqrt(4 * np.pi) * self.projection[0].real)

    @property
    def knows_spectrum(self) -> bool:
        """No: a function is projected."""
        return False

    @property
    def is_quick_to_sample(self) -> bool:
        """Whether the function can be sampled by itself."""
        return hasattr(self.function, "sample")

    def resolved_spectrum(self) -> Complex:
        """Complex coefficients at unit mass, from the first grid that resolves the function.

        The degree is 1023 at most.
        """
        scaled: Complex = self.projection / (np.sqrt(4 * np.pi) * self.projection[0].real)
        return scaled

    def sample(self, n: int, seed: Seed = None) -> Real:
        """n independent points, shape (n, 3).

        By the method of the function, or by rejection from the uniform law under its largest value
        on a grid that resolves it.
        """
        if self.is_quick_to_sample:
            drawn = self.function.sample(n, seed)  # type: ignore[attr-defined]
            return np.array(finite_array(drawn, "points of sample(n, seed)"))
        grid = SphereGrid(max(1, lmax_of(self.projection)))
        bound = 1.2 * float(np.exp(self.log_density(grid.points)).max())
        return by_rejection(self, bound, integer(n, "n", 0), stream(seed))

    def doubts(self) -> list[str]:
        """Whether the grids that were tried resolve the function, and have found all of it."""
        doubts = []
        if not has_decayed(self.projection):
            amplitude = np.sqrt(power_by_degree(self.projection))
            doubts.append(
                f"the density is a function that degree {FINEST_PROJECTION} does not resolve (the "
                f"last degrees reach {amplitude[-8:].max() / amplitude.max():.1e} of the largest)"
            )
        if abs(self.mass - 1.0) > NORMALISED:
            doubts.append(
                f"the density is a function whose integral was found as {self.mass:.6g} and scaled "
                "to 1; if it is normalised, a part of it is narrower than the grids that were tried"
            )
        return doubts

    def error_of_moments(self, degree: int) -> float:
        """Relative error of the moments to a degree, 0 for a function that degree 1023 resolves.

        By those from a grid of half the degree, of which the error is at least twice as large.

        Raises
        ------
        ResolutionError
            If it is so large that the grid may have missed a part of the density.
        """
        coefficients = self.projection
        if is_nearly_resolved(coefficients):
            return 0.0
        grid = SphereGrid(lmax_of(coefficients) // 2)
        coarse = grid.analysis(np.exp(self.log_density(grid.points)))
        known = [resize(part, degree) for part in (coefficients, coarse)]
        error = float(np.abs(known[0] - known[1]).max() / known[0][0].real)
        if not error <= LARGEST_ERROR:
            raise ResolutionError(
                f"the density is narrower than degree {lmax_of(coefficients)} resolves: its "
                f"moments change by {error:.1e} with the grid; widen it, or pass a sample of "
                "points instead"
            )
        return error

    def extent(self) -> Extent:
        """The length that the projection resolves."""
        return extent_of(self.projection)

    def extent_on(self, mesh: VoronoiMesh) -> Extent:
        """Of a function with kinks no refinement of all cells is fine enough."""
        extent = self.extent()
        if has_decayed(self.projection):
            return extent
        return extent._replace(scale=max(extent.scale, 0.25 * mesh.spacing))

    def to_config(self) -> object:
        """The name of the function."""
        return to_config(self.function)


def as_density(density: object) -> Density:
    """The density, or one that wraps a function on unit vectors.

    Raises
    ------
    InputError
        If it is neither.
    """
    if isinstance(density, Density):
        return density
    if isinstance(density, type) or not callable(density):
        raise InputError(
            f"density must be callable on unit vectors, got {shown(density)}; use VonMisesFisher, "
            "Mixture or a function"
        )
    return FunctionDensity(density)
