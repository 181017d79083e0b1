"""The two libraries that do the harmonic transforms, behind one small interface.

Both work on the same Gauss–Legendre grid, rings from north to south, longitudes
from 0, with the complex coefficient layout of :mod:`sphereflow.sphere.indexing`.
Vectors have the components (θ, φ): southward and eastward. A vector field is
∇S + ∇T × x with spheroidal coefficients S and toroidal coefficients T, in components
(∂_θS + ∂_φT/sinθ, ∂_φS/sinθ − ∂_θT).
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import threading
from functools import lru_cache
from typing import Protocol

import ducc0
import numpy as np
from numpy.typing import NDArray

from .indexing import coefficient_count, degrees_and_orders

__all__ = ["DuccEngine", "Engine", "ShtnsEngine", "engine_for", "shtns_available"]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]


class Engine(Protocol):
    """Transforms on one fixed grid. `out` arrays are overwritten; inputs named
    `scratch` may be destroyed."""

    name: str
    cos_theta: Real
    ring_weights: Real

    def synthesis(self, coefficients: Complex, out: Real) -> None: ...

    def analysis(self, scratch: Real, out: Complex) -> None: ...

    def vector_synthesis(
        self, spheroidal: Complex, toroidal: Complex, out_theta: Real, out_phi: Real
    ) -> None: ...

    def vector_analysis(
        self, scratch_theta: Real, scratch_phi: Real, spheroidal: Complex, toroidal: Complex
    ) -> None: ...


def shtns_available() -> bool:
    """Whether SHTns can be imported; ducc0 does the work where it cannot."""
    return importlib.util.find_spec("shtns") is not None


def _gauss_rings(nlat: int) -> tuple[Real, Real]:
    """Cosine of colatitude from north to south, and weights that sum to 2."""
    theta = ducc0.misc.GL_thetas(nlat)
    weights = ducc0.misc.GL_weights(nlat, 1)
    return np.cos(theta), 2.0 * weights / weights.sum()


_PLANNING = threading.Lock()  # FFTW plans, and standard output, are those of the process


class ShtnsEngine:
    """SHTns. Its plan is not thread safe and does not pickle, so it stays in here."""

    name = "shtns"

    def __init__(self, lmax: int, nlat: int, nlon: int, threads: int) -> None:
        with _PLANNING:
            with contextlib.redirect_stdout(io.StringIO()):  # the module prints when imported
                import shtns

            self._plan = shtns.sht(lmax, lmax, 1, shtns.sht_orthonormal, nthreads=threads)
            # The default polar optimisation drops terms of relative size 1e-10.
            self._plan.set_grid(
                nlat, nlon, flags=shtns.sht_gauss | shtns.SHT_PHI_CONTIGUOUS, polar_opt=0.0
            )
        self.cos_theta, self.ring_weights = _gauss_rings(nlat)
        self.synthesis = self._plan.SH_to_spat
        self.analysis = self._plan.spat_to_SH
        self.vector_synthesis = self._plan.SHsphtor_to_spat
        self.vector_analysis = self._plan.spat_to_SHsphtor


class DuccEngine:
    """ducc0: a wheel on every platform; the same results to round-off."""

    name = "ducc0"

    def __init__(self, lmax: int, nlat: int, nlon: int, threads: int) -> None:
        self._common = {"lmax": lmax, "mmax": lmax, "nthreads": threads, "geometry": "GL"}
        self._grid = {"ntheta": nlat, "nphi": nlon}
        degrees, _ = degrees_and_orders(lmax)
        self._root = np.sqrt(degrees * (degrees + 1.0))
        self._inverse_root = 1.0 / np.where(degrees == 0, np.inf, self._root)
        self._pair = np.empty((2, coefficient_count(lmax)), dtype=np.complex128)
        self.cos_theta, self.ring_weights = _gauss_rings(nlat)

    def synthesis(self, coefficients: Complex, out: Real) -> None:
        ducc0.sht.synthesis_2d(
            alm=coefficients[None], map=out[None], spin=0, **self._grid, **self._common
        )

    def analysis(self, scratch: Real, out: Complex) -> None:
        ducc0.sht.analysis_2d(map=scratch[None], alm=out[None], spin=0, **self._common)

    def vector_synthesis(
        self, spheroidal: Complex, toroidal: Complex, out_theta: Real, out_phi: Real
    ) -> None:
        np.multiply(spheroidal, self._root, out=self._pair[0])
        np.multiply(toroidal, -self._root, out=self._pair[1])
        out_theta[...], out_phi[...] = ducc0.sht.synthesis_2d(
            alm=self._pair, spin=1, **self._grid, **self._common
        )

    def vector_analysis(
        self, scratch_theta: Real, scratch_phi: Real, spheroidal: Complex, toroidal: Complex
    ) -> None:
        ducc0.sht.analysis_2d(
            map=np.stack([scratch_theta, scratch_phi]), alm=self._pair, spin=1, **self._common
        )
        np.multiply(self._pair[0], self._inverse_root, out=spheroidal)
        np.multiply(self._pair[1], -self._inverse_root, out=toroidal)


class _EnginesOfThread(threading.local):
    """The engines of one thread: plans and work arrays serve one transform at a time."""

    def __init__(self) -> None:
        self.made = lru_cache(maxsize=32)(_make)


def _make(name: str, lmax: int, nlat: int, nlon: int, threads: int) -> Engine:
    if name == "shtns":
        return ShtnsEngine(lmax, nlat, nlon, threads)
    return DuccEngine(lmax, nlat, nlon, threads)


_ENGINES = _EnginesOfThread()


def engine_for(name: str, lmax: int, nlat: int, nlon: int, threads: int) -> Engine:
    """The engine `name` ("shtns" or "ducc0") of the calling thread for one grid.

    Plans are made once for each thread.
    """
    return _ENGINES.made(name, lmax, nlat, nlon, threads)
