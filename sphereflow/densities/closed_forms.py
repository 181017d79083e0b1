"""Initial token densities μ_0 with respect to the surface measure, in sr⁻¹."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfcx, ive, logsumexp

from ..checks import finite_array, held, integer, positive_number, shown, weights_of
from ..describe.fields import Array, Bounds, Kinds, Listed
from ..describe.registry import DENSITIES
from ..errors import InputError
from ..seeds import Seed, parts_of, stream
from ..sphere import Extent, lmax_of, resize, unit
from .base import Cap, Density, Part, as_density
from .projection import FINEST_PROJECTION, directions, zonal_spectrum

__all__ = [
    "Cap",
    "Mixture",
    "OctahedralClusters",
    "Uniform",
    "VonMisesFisher",
    "bessel_factors",
]

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


FLAT = 1e8  # concentration from which Bessel functions are taken by their asymptotic series
ROUND_OFF_EXPONENT = 40.0  # e^{−40} does not count beside 1


@DENSITIES.row()
@dataclass(frozen=True, eq=False)
class Uniform(Density):
    """The uniform density 1/4π.

    Examples
    --------
    >>> import sphereflow as sf
    >>> float(sf.Uniform()([0, 0, 1.0]).round(6))
    0.079577
    """

    def log_density(self, points: ArrayLike) -> Real:
        """Logarithm of the density at points of shape (..., 3)."""
        return np.full(directions(points).shape[:-1], -np.log(4 * np.pi))

    def extent(self) -> Extent:
        """It does not change."""
        return Extent(np.pi)

    def resolved_spectrum(self) -> Complex:
        """Complex coefficients to degree 1."""
        return np.array([1 / np.sqrt(4 * np.pi), 0, 0], dtype=np.complex128)

    def sample(self, n: int, seed: Seed = None) -> Real:
        """n independent points, shape (n, 3)."""
        return unit(stream(seed).standard_normal((integer(n, "n", 0), 3)))


def bessel_factors(kappa: float) -> Real:
    """i_l(κ)/i_0(κ) for l from 0 to 1023."""
    degrees = np.arange(FINEST_PROJECTION + 1)
    if kappa < 1e-8:
        return np.where(degrees == 0, 1.0, np.where(degrees == 1, kappa / 3, 0.0))
    if kappa > FLAT:
        # The first terms of the asymptotic series of the logarithm; the next is of order l⁴/κ³.
        product = degrees * (degrees + 1.0)
        return np.exp(-0.5 * product / kappa - 0.25 * product / kappa**2)
    return np.asarray(ive(degrees + 0.5, kappa) / ive(0.5, kappa))


@DENSITIES.row()
@dataclass(frozen=True, eq=False)
class VonMisesFisher(Density):
    """κ e^{κ⟨a,y⟩} / (4π sinh κ).

    Parameters
    ----------
    mean : array_like, shape (3,)
        Direction a; normalised.
    concentration : float
        κ ≥ 0; 0 is the uniform density.

    Examples
    --------
    >>> import sphereflow as sf
    >>> density = sf.VonMisesFisher(mean=[0, 0, 1], concentration=4.0)
    >>> density.sample(3, seed=1).shape
    (3, 3)
    """

    mean: Annotated[ArrayLike, Array((3,))]
    concentration: Annotated[float, Bounds(0)]

    def __post_init__(self) -> None:
        mean = finite_array(self.mean, "mean")
        if mean.shape != (3,) or not mean.any():
            raise InputError(
                f"mean must be a non-zero vector of length 3, got {shown(mean)}; pass a direction"
            )
        object.__setattr__(self, "mean", unit(mean / np.abs(mean).max()))
        kappa = positive_number(self.concentration, "concentration", zero=True)
        object.__setattr__(self, "concentration", kappa)

    def log_density(self, points: ArrayLike) -> Real:
        """Logarithm of the density at points of shape (..., 3)."""
        kappa = self.concentration
        cosine: Real = directions(points) @ held(self.mean)
        if kappa < 1e-8:
            logs: Real = kappa * cosine - np.log(4 * np.pi)
        else:
            # κ / (4π sinh κ) = κ e^{−κ} / (2π (1 − e^{−2κ}))
            logs = kappa * (cosine - 1.0) + np.log(kappa / (2 * np.pi * -np.expm1(-2 * kappa)))
        return logs

    def caps(self) -> list[Cap]:
        """The cap that holds the mass to round-off; none if it is wider than a hemisphere."""
        height = ROUND_OFF_EXPONENT / max(self.concentration, 1e-300)
        if height >= 1.0:
            return []
        return [Cap(1.0, self.log_density, held(self.mean), float(np.arccos(1.0 - height)))]

    def extent(self) -> Extent:
        """Its width, about its mean."""
        caps = self.caps()
        angle = caps[0].angle if caps else np.pi
        return Extent(max(self.concentration, 1.0) ** -0.5, held(self.mean)[None], angle)

    def resolved_spectrum(self) -> Complex:
        """Complex coefficients i_l(κ)/i_0(κ)·Y*_lm(a), to degree 1023 at most."""
        return zonal_spectrum(held(self.mean)[None], bessel_factors(self.concentration))

    def sample(self, n: int, seed: Seed = None) -> Real:
        """n independent points, shape (n, 3); ⟨a, y⟩ by inversion of its distribution."""
        n, rng = integer(n, "n", 0), stream(seed)
        kappa = self.concentration
        uniform = rng.random(n)
        if kappa < 1e-8:
            cosine = 2 * uniform - 1
        else:
            cosine = 1 + np.log1p(-uniform * -np.expm1(-2 * kappa)) / kappa
        angle = 2 * np.pi * rng.random(n)
        mean = held(self.mean)
        helper = np.eye(3)[np.argmin(np.abs(mean))]
        first = unit(np.cross(mean, helper))
        second = np.cross(mean, first)
        sine = np.sqrt(np.maximum(0.0, 1 - cosine**2))
        return (
            cosine[:, None] * mean
            + (sine * np.cos(angle))[:, None] * first
            + (sine * np.sin(angle))[:, None] * second
        )


@DENSITIES.row()
@dataclass(frozen=True, eq=False)
class Mixture(Density):
    """Σ_k w_k μ_k of other densities.

    Parameters
    ----------
    components : sequence of densities
        Each counts with unit mass; plain functions are scaled to it.
    weights : array_like, shape (K,), optional
        Equal if left out; normalised to sum 1.

    Examples
    --------
    >>> import sphereflow as sf
    >>> poles = [sf.VonMisesFisher([0, 0, z], 10.0) for z in (1, -1)]
    >>> sf.Mixture(poles, [0.7, 0.3]).weights
    array([0.7, 0.3])
    """

    components: Annotated[Sequence[Callable[..., object]], Listed(Kinds(DENSITIES))]
    weights: Annotated[ArrayLike, Array((None,))] | None = None
    _masses: Real = field(init=False, repr=False)

    def __post_init__(self) -> None:
        components = self.components
        if not isinstance(components, list | tuple) or not components:
            raise InputError(
                f"components must be a list of one or more densities, got {shown(components)}; "
                "wrap a single one in a list"
            )
        if not all(callable(one) for one in components):
            raise InputError(
                f"components must be densities, got {shown(tuple(components))}; pass objects "
                "such as VonMisesFisher or functions of unit vectors"
            )
        densities = tuple(as_density(one) for one in components)
        object.__setattr__(self, "components", densities)
        object.__setattr__(self, "weights", weights_of(self.weights, len(densities), "weights"))
        masses = [one.mass for one in densities]
        # So small a difference from 1 is the quadrature error of a function with kinks.
        masses = [1.0 if abs(mass - 1.0) < 1e-5 else mass for mass in masses]
        object.__setattr__(self, "_masses", np.array(masses))

    @property
    def _densities(self) -> tuple[Density, ...]:
        return tuple(as_density(one) for one in self.components)

    def parts(self) -> list[Part]:
        """Its components, of mixtures theirs."""
        found: list[Part] = []
        for weight, factor, one in zip(
            held(self.weights), self.shares, self._densities, strict=True
        ):
            found += [
                Part(float(weight) * part.share, float(factor) * part.factor, part.density)
                for part in one.parts()
            ]
        return [part for part in found if part.share > 0.0]

    def wide_and_caps(self) -> tuple[list[tuple[float, Density]], list[Cap]]:
        """Those of its components."""
        wide: list[tuple[float, Density]] = []
        narrow: list[Cap] = []
        for factor, component in zip(self.shares, self._densities, strict=True):
            if factor > 0:
                more, caps = component.wide_and_caps()
                wide += [(factor * own, part) for own, part in more]
                narrow += [cap._replace(share=factor * cap.share) for cap in caps]
        return wide, narrow

    def doubts(self) -> list[str]:
        """Those about its components."""
        return [doubt for part in self.parts() for doubt in part.density.doubts()]

    @property
    def shares(self) -> Real:
        """Factor of each component as it is, shape (K,)."""
        return held(self.weights) / self._masses

    def resolved_spectrum(self) -> Complex:
        """Complex coefficients: the weighted sum of those of the components."""
        parts = [one.resolved_spectrum() for one in self._densities]
        lmax = max(lmax_of(part) for part in parts)
        weighted = zip(held(self.weights), parts, strict=True)
        total: Complex = np.sum([weight * resize(part, lmax) for weight, part in weighted], axis=0)
        return total

    def log_density(self, points: ArrayLike) -> Real:
        """Logarithm of the density at points of shape (..., 3)."""
        points = directions(points)
        used = [(w, one) for w, one in zip(self.shares, self._densities, strict=True) if w > 0]
        logs = np.stack([one.log_density(points) + np.log(w) for w, one in used])
        total: Real = logsumexp(logs, axis=0)
        return total

    def sample(self, n: int, seed: Seed = None) -> Real:
        """n independent points, shape (n, 3)."""
        *children, order = parts_of(seed, len(self._densities) + 1)
        rng = np.random.default_rng(order)
        counts = rng.multinomial(integer(n, "n", 0), held(self.weights))
        parts = [
            component.sample(int(count), child)
            for component, count, child in zip(self._densities, counts, children, strict=True)
        ]
        return rng.permutation(np.concatenate(parts))


@DENSITIES.row()
@dataclass(frozen=True, eq=False)
class OctahedralClusters(Density):
    """The law of the paper's tokens: ±e_k + N(0, spread² I₃), normalised, k equally likely.

    Each cluster is a projected normal density, known in closed form.

    Parameters
    ----------
    spread : float
        Standard deviation before normalisation, above 0.

    Examples
    --------
    >>> import sphereflow as sf
    >>> density = sf.OctahedralClusters(spread=0.05)
    >>> bool(density([1.0, 0, 0]) > 10 * density([0.6, 0.8, 0]))
    True
    """

    spread: Annotated[float, Bounds(above=0)] = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "spread", positive_number(self.spread, "spread"))

    def caps(self) -> list[Cap]:
        """Caps that hold the clusters to round-off; none if they are wide."""
        sine = np.sqrt(2.0 * ROUND_OFF_EXPONENT) * self.spread
        if sine >= 0.9:
            return []

        def about(vertex: Real) -> Cap:
            return Cap(
                1 / 6,
                lambda points: self._log_cluster(directions(points) @ vertex),
                vertex,
                float(np.arcsin(sine)),
            )

        return [about(vertex) for vertex in np.concatenate([np.eye(3), -np.eye(3)])]

    def log_density(self, points: ArrayLike) -> Real:
        """Logarithm of the density at points of shape (..., 3)."""
        points = directions(points)
        along = np.concatenate([points, -points], axis=-1)  # ⟨x, ±e_k⟩
        total: Real = logsumexp(self._log_cluster(along), axis=-1) - np.log(6.0)
        return total

    def _log_cluster(self, cosine: Real) -> Real:
        """Logarithm of one projected normal density at an angle from its centre."""
        along = cosine / self.spread
        # ∫₀^∞ r² e^{−r²/2 + ra} dr = a + (1 + a²) √(π/2) erfcx(−a/√2), split against overflow.
        ahead = np.maximum(along, 0.0)
        behind = np.minimum(along, 0.0)
        tail = 0.5 * erfcx(ahead / np.sqrt(2.0)) * np.exp(-(ahead**2) / 2)  # 1 − Φ(a)
        ahead_integral = (1 + ahead**2) * np.sqrt(2 * np.pi) * (1 - tail)
        ahead_log = np.log(ahead_integral + ahead * np.exp(-(ahead**2) / 2)) + ahead**2 / 2
        mills = np.sqrt(np.pi / 2) * erfcx(-behind / np.sqrt(2.0))
        # Far behind the sum cancels; its asymptotic value is 2/|a|³.
        far = behind < -1e3
        integral = np.where(
            far, 2 / np.maximum(-behind, 1.0) ** 3, behind + (1 + behind**2) * mills
        )
        behind_log = np.log(np.maximum(integral, 1e-300))
        logs = np.where(along >= 0, ahead_log, behind_log)
        scaled: Real = logs - 0.5 / self.spread**2 - 1.5 * np.log(2 * np.pi)
        return scaled

    def extent(self) -> Extent:
        """The width of a cluster, about the vertices."""
        caps = self.caps()
        angle = caps[0].angle if caps else np.pi
        return Extent(min(self.spread, 1.0), np.concatenate([np.eye(3), -np.eye(3)]), angle)

    def resolved_spectrum(self) -> Complex:
        """Complex coefficients by a quadrature over the angle from the centre of a cluster."""
        reach, panels = min(np.pi, 40 * self.spread), 80  # resolve degree 1023 on [0, π]
        nodes, weights = np.polynomial.legendre.leggauss(20)
        width = reach / panels
        angle = (width * (np.arange(panels)[:, None] + 0.5 * (nodes + 1))).ravel()
        weights = np.tile(0.5 * width * weights, panels)
        ring = 2 * np.pi * weights * np.sin(angle) * np.exp(self._log_cluster(np.cos(angle)))
        factors = np.empty(FINEST_PROJECTION + 1)
        cosine, before, legendre = np.cos(angle), np.zeros_like(angle), np.ones_like(angle)
        for l in range(FINEST_PROJECTION + 1):
            factors[l] = legendre @ ring
            before, legendre = legendre, ((2 * l + 1) * cosine * legendre - l * before) / (l + 1)
        factors /= factors[0]
        # They fall like a normal density; what comes after is the round-off of the recurrence.
        negligible = np.flatnonzero(np.abs(factors) < 1e-14)
        factors[negligible.min(initial=FINEST_PROJECTION + 1) :] = 0.0
        return zonal_spectrum(np.concatenate([np.eye(3), -np.eye(3)]), factors)

    def sample(self, n: int, seed: Seed = None) -> Real:
        """n independent points, shape (n, 3)."""
        n, rng = integer(n, "n", 0), stream(seed)
        vertices = np.concatenate([np.eye(3), -np.eye(3)])[rng.integers(6, size=n)]
        return unit(vertices + self.spread * rng.standard_normal((n, 3)))
