"""The Gauss–Legendre grid on the unit sphere and calculus on it."""

from __future__ import annotations

import threading
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import integer, one_of, positive_number, present
from ..errors import InputError
from ..machine.threads import MOST_THREADS
from .engines import Engine, engine_for, shtns_available
from .indexing import coefficient_count, degrees_and_orders, resize
from .points import PointTransform

__all__ = ["SphereGrid", "antipodal_grid"]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

# SHTns needs this many rings with 512-bit vectors, and is fastest on multiples of 16.
RING_MULTIPLE = 16
FEWEST_RINGS = 32
# SHTns ends the process beyond its own limit; this one is far below it.
LARGEST_DEGREE = 4095


class SphereGrid:
    """Gauss–Legendre grid with scalar and vector spherical harmonic transforms.

    Fields on the grid have shape (nlat, nlon), rings from north to south, longitudes
    from 0° eastward. Tangent fields have shape (2, nlat, nlon): eastward, northward.
    Coefficients are complex, of length (lmax+1)(lmax+2)/2, see
    :mod:`sphereflow.sphere.indexing` for the layout and the conversion to real ones.

    Parameters
    ----------
    lmax : int
        Highest degree, at least 1.
    dealias : float
        Grid refinement; 1.5 makes the projection of a product of two fields of degree
        `lmax` exact (3/2 rule), 1 is enough for the transforms themselves.
    engine : {"auto", "shtns", "ducc0"}
        Transform library; "auto" takes SHTns where it is installed.
    threads : int
        Threads of the transforms.
    nlat : int, optional
        Number of rings, in place of the number that `dealias` and the engine ask for; at
        least lmax + 1, and at least 32 for SHTns.

    Raises
    ------
    InputError
        If `lmax` < 1, `nlat` ≤ lmax, `dealias` < 1 or the engine is unknown, not installed or
        not able to work with so few rings.

    Examples
    --------
    >>> import numpy as np
    >>> from sphereflow import SphereGrid
    >>> grid = SphereGrid(15)
    >>> x, y, z = np.moveaxis(grid.points, -1, 0)
    >>> f = grid.analysis(x * y)
    >>> bool(np.allclose(grid.synthesis(grid.laplacian(f)), -6 * x * y))
    True
    >>> round(grid.integrate(z**2), 12) == round(4 * np.pi / 3, 12)
    True
    """

    def __init__(
        self,
        lmax: int,
        *,
        dealias: float = 1.0,
        engine: str = "auto",
        threads: int = 1,
        nlat: int | None = None,
    ) -> None:
        lmax = integer(lmax, "lmax", 1, LARGEST_DEGREE)
        threads = integer(threads, "threads", 1, MOST_THREADS)
        dealias = positive_number(dealias, "dealias")
        if not 1.0 <= dealias <= 4.0:
            raise InputError(f"dealias must be between 1 and 4, got {dealias:g}; use 1 or 1.5")
        one_of(engine, ("auto", "shtns", "ducc0"), "engine")
        if nlat is not None:
            nlat = integer(nlat, "nlat", 1, 4 * (LARGEST_DEGREE + 1))
        if engine == "shtns" and not shtns_available():
            raise InputError(
                "engine 'shtns' is not installed; install the extra sphereflow[shtns] "
                "or use engine='ducc0'"
            )
        # SHTns ends the process on fewer rings than this.
        few_rings = nlat is not None and nlat < FEWEST_RINGS
        if engine == "shtns" and few_rings:
            raise InputError(
                f"nlat must be at least {FEWEST_RINGS} for engine 'shtns', got {nlat}; raise it "
                "or use engine='ducc0'"
            )
        if engine == "auto":
            engine = "shtns" if shtns_available() and not few_rings else "ducc0"
        self.lmax = lmax
        self.dealias = dealias
        self.threads = threads
        if nlat is None:
            rings = max(FEWEST_RINGS, int(np.ceil(dealias * (self.lmax + 1))))
            nlat = RING_MULTIPLE * -(-rings // RING_MULTIPLE)
        if nlat <= self.lmax:
            raise InputError(f"nlat must exceed lmax={self.lmax}, got {nlat}; raise it")
        self.nlat = nlat
        self.nlon = 2 * self.nlat
        self._engine_name = engine
        self._engines = threading.local()
        self.size = coefficient_count(self.lmax)
        self.degrees, self.orders = degrees_and_orders(self.lmax)
        self.laplacian_eigenvalues: Real = -(self.degrees * (self.degrees + 1.0))

    @property
    def engine(self) -> Engine:
        """The transforms of the calling thread."""
        own: Engine | None = getattr(self._engines, "own", None)
        if own is None:
            shape = self.lmax, self.nlat, self.nlon
            own = self._engines.own = engine_for(self._engine_name, *shape, self.threads)
        return own

    def __repr__(self) -> str:
        return (
            f"SphereGrid(lmax={self.lmax}, nlat={self.nlat}, nlon={self.nlon}, "
            f"engine={self._engine_name!r})"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.lmax, self.dealias, self._engine_name, self.threads, self.nlat)

    # Geometry

    @property
    def shape(self) -> tuple[int, int]:
        """(nlat, nlon)."""
        return self.nlat, self.nlon

    @cached_property
    def latitude(self) -> Real:
        """Latitudes in degrees, north to south, shape (nlat,)."""
        return np.degrees(np.arcsin(self.engine.cos_theta))

    @cached_property
    def longitude(self) -> Real:
        """Longitudes in degrees from 0, shape (nlon,)."""
        return np.linspace(0.0, 360.0, self.nlon, endpoint=False)

    @cached_property
    def weights(self) -> Real:
        """Quadrature weights in steradian, shape (nlat, 1); they sum to 4π over the grid."""
        return self.engine.ring_weights[:, None] * (2 * np.pi / self.nlon)

    @cached_property
    def _frame(self) -> tuple[Real, Real, Real]:
        cos_theta = self.engine.cos_theta[:, None]
        sin_theta = np.sqrt((1.0 - cos_theta) * (1.0 + cos_theta))
        phi = np.radians(self.longitude)[None, :]
        ones = np.ones_like(phi)
        radial = np.stack([sin_theta * np.cos(phi), sin_theta * np.sin(phi), cos_theta * ones], -1)
        south = np.stack([cos_theta * np.cos(phi), cos_theta * np.sin(phi), -sin_theta * ones], -1)
        flat = 0.0 * cos_theta
        east = np.stack([-np.sin(phi) + flat, np.cos(phi) + flat, 0.0 * phi + flat], -1)
        return radial, south, east

    @property
    def points(self) -> Real:
        """Unit vectors of the grid points, shape (nlat, nlon, 3)."""
        return self._frame[0]

    def to_cartesian(self, vector: Real) -> Real:
        """Eastward/northward components (2, nlat, nlon) → Cartesian (nlat, nlon, 3)."""
        _, south, east = self._frame
        vectors: Real = vector[0][..., None] * east - vector[1][..., None] * south
        return vectors

    def from_cartesian(self, vector: Real) -> Real:
        """Cartesian (nlat, nlon, 3) → eastward/northward (2, nlat, nlon); drops the radial part."""
        _, south, east = self._frame
        return np.stack(
            [np.einsum("abi,abi->ab", vector, east), -np.einsum("abi,abi->ab", vector, south)]
        )

    def southward_eastward(self, vector: Real) -> tuple[Real, Real]:
        """Cartesian (nlat, nlon, 3) → the (θ, φ) components that the engines use."""
        _, south, east = self._frame
        return (
            np.einsum("abi,abi->ab", vector, south),
            np.einsum("abi,abi->ab", vector, east),
        )

    # Transforms

    def synthesis(self, coefficients: Complex) -> Real:
        """Values on the grid, shape (nlat, nlon), of complex coefficients."""
        out = np.empty(self.shape)
        self.engine.synthesis(self._checked(coefficients), out)
        return out

    def analysis(self, values: ArrayLike) -> Complex:
        """Coefficients to degree lmax of a field on the grid; the input is not changed."""
        out = np.empty(self.size, dtype=np.complex128)
        self.engine.analysis(self._field(values).copy(), out)
        return out

    def vector_synthesis(self, spheroidal: Complex, toroidal: Complex) -> Real:
        """∇S + ∇T × x on the grid, eastward/northward, shape (2, nlat, nlon)."""
        out = np.empty((2, *self.shape))
        theta = np.empty(self.shape)
        self.engine.vector_synthesis(
            self._checked(spheroidal), self._checked(toroidal), theta, out[0]
        )
        np.negative(theta, out=out[1])
        return out

    def vector_analysis(self, vector: ArrayLike) -> tuple[Complex, Complex]:
        """Spheroidal and toroidal coefficients of a tangent field (2, nlat, nlon)."""
        present(vector, "a tangent field")
        array = np.asarray(vector, dtype=np.float64)
        if array.shape != (2, *self.shape):
            raise InputError(
                f"a tangent field must have shape {(2, *self.shape)}, got {array.shape}; "
                "pass the eastward and northward components on this grid"
            )
        spheroidal = np.empty(self.size, dtype=np.complex128)
        toroidal = np.empty(self.size, dtype=np.complex128)
        self.engine.vector_analysis(-array[1], array[0].copy(), spheroidal, toroidal)
        return spheroidal, toroidal

    def at(self, points: ArrayLike) -> PointTransform:
        """Evaluation at scattered unit vectors, shape (n, 3), and its adjoint."""
        return PointTransform(points, threads=self.threads)

    # Calculus

    def gradient(self, coefficients: Complex) -> Real:
        """Surface gradient, eastward/northward, shape (2, nlat, nlon)."""
        return self.vector_synthesis(coefficients, np.zeros(self.size, dtype=np.complex128))

    def curl(self, coefficients: Complex) -> Real:
        """Divergence-free field ∇ψ × x of a stream function ψ, shape (2, nlat, nlon)."""
        return self.vector_synthesis(np.zeros(self.size, dtype=np.complex128), coefficients)

    def divergence(self, vector: ArrayLike) -> Complex:
        """Coefficients of the surface divergence of a tangent field (2, nlat, nlon)."""
        spheroidal, _ = self.vector_analysis(vector)
        return spheroidal * self.laplacian_eigenvalues

    def laplacian(self, coefficients: Complex) -> Complex:
        """Coefficients of the Laplace–Beltrami operator, −l(l+1) c_lm."""
        return self._checked(coefficients) * self.laplacian_eigenvalues

    def integrate(self, values: ArrayLike) -> float:
        """∫ f dσ over the sphere, exact for fields of degree ≤ 2·nlat − 1."""
        return float(np.sum(self._field(values).sum(axis=1) * self.weights[:, 0]))

    # Checks

    def _checked(self, coefficients: Complex) -> Complex:
        present(coefficients, "coefficients")
        array = np.ascontiguousarray(coefficients, dtype=np.complex128)
        if array.shape != (self.size,):
            raise InputError(
                f"coefficients must have shape ({self.size},) for lmax={self.lmax}, got "
                f"{array.shape}; use sphereflow.sphere.resize to change the degree"
            )
        return array

    def _field(self, values: ArrayLike) -> Real:
        present(values, "a field")
        array = np.ascontiguousarray(values, dtype=np.float64)
        if array.shape != self.shape:
            raise InputError(
                f"a field must have shape {self.shape} on {self!r}, got {array.shape}; "
                "evaluate it at grid.points"
            )
        return array

    def resized(self, coefficients: Complex) -> Complex:
        """Coefficients of any degree, truncated or padded to this grid's lmax."""
        return resize(coefficients, self.lmax)


def _rebuild(lmax: int, dealias: float, engine: str, threads: int, nlat: int) -> SphereGrid:
    return SphereGrid(lmax, dealias=dealias, engine=engine, threads=threads, nlat=nlat)


@lru_cache(maxsize=16)
def antipodal_grid(degree: int) -> SphereGrid:
    """Gauss grid of an odd degree with an even number of rings, which is its own antipode."""
    return SphereGrid(degree, nlat=degree + 1, engine="ducc0")
