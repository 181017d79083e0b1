"""L[μ] and ∇L[μ] at the arguments z = Dᵀx of weighted tokens x, by short series at the tokens.

The velocity needs many degrees where ridges between basins of attraction are steep; x ↦ L(Dᵀx)
does not. For D = βI it is diagonal in harmonics (Funk–Hecke); for any D its harmonics come from
its values on a small grid. Both are summed at the tokens alone, at a cost linear in their number.

What is expanded is e^{−g(x)} L(Dᵀx) with g(x) = Σ_k s_k ⟨u_k, x⟩², s_k and u_k the singular values
and left vectors of D: g is at most |Dᵀx| and equal to it along the u_k, so that tokens with a
short Dᵀx keep their digits, and a quadratic exponent adds few degrees.

The error is ε times the norm of that function over the sphere: each token is trusted or not by
its own value, which is at least the weight of the token itself if D = βI with β > 0. Those that
are not are summed directly.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..sphere import PointTransform, SphereGrid, degrees_and_orders, power_by_degree
from .measure import transform_of_points
from .transform import LARGEST_HARMONIC_RADIUS, LaplaceTransform, ScaledTransform, scaled_bessel

__all__ = ["SPREAD", "LostSeries", "TokenSeries", "kernel_degree"]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

ROUND_OFF = 2e-15  # measured error of a series at the tokens, relative to its norm
NEGLIGIBLE = 3e-16  # part of the mean that may be cut off
SPREAD = 1.4  # degree of the grid of a head, in units of that of its kernel
NOISE = 3e-14  # of the last degrees of a function that is resolved, relative to its norm
TRANSFORM_ACCURACY = 1e-13
LARGEST_GRID = 255  # degree
MERGED_FROM = 5_000_000  # pairs from which it pays to look for tokens that coincide
SAME = 2.0**50  # tokens that agree when rounded to multiples of its inverse are one


class LostSeries(Exception):
    """Too many tokens would have to be summed directly, or no grid resolves a head."""


class MergedTokens(NamedTuple):
    """Positions (3, k) and weights (k,) of tokens, those that coincide taken together."""

    positions: Real
    weights: Real


@lru_cache(maxsize=64)
def kernel_degree(radius: float) -> int:
    """Degree beyond which e^{⟨z,y⟩} is negligible for |z| ≤ radius, against its mean."""
    degrees = np.arange(40 + int(11.0 * np.sqrt(radius) + 0.02 * radius))
    terms = (2 * degrees + 1) * scaled_bessel(degrees, radius)
    tails = np.cumsum(terms[::-1])[::-1]
    return max(2, int(np.argmax(tails <= NEGLIGIBLE * terms[0])))


class TokenSeries:
    """The transform of weighted tokens at the images of these tokens under a head.

    Parameters
    ----------
    at : PointTransform
        Of the tokens.
    weights : ndarray, shape (n,)
        Of sum 1.
    moments : callable
        ``moments(degree)`` returns the complex coefficients of the measure.
    tolerance : float
        Of ∇L / L at each token.
    spread : float
        Degree of the grids of heads, in units of that of the kernel; it grows where needed.
    allowed_pairs : float
        Pairs of tokens that may be summed directly.
    threads : int
    """

    def __init__(
        self,
        at: PointTransform,
        weights: Real,
        moments: Callable[[int], Complex],
        tolerance: float,
        *,
        spread: float,
        allowed_pairs: float,
        threads: int,
    ) -> None:
        self.at, self.weights, self.moments = at, weights, moments
        self.x = np.ascontiguousarray(at.points.T)
        self.smallest = ROUND_OFF / tolerance
        self.spread = spread
        self.allowed_pairs = allowed_pairs
        self.pairs = 0.0  # summed directly so far
        self.threads = threads

    def __call__(self, logits: Real) -> ScaledTransform:
        """L and ∇L at Dᵀx for all tokens x, D of shape (3, 3).

        Raises
        ------
        LostSeries
            If direct sums over all pairs are the better choice.
        """
        beta = float(logits[0, 0])
        if np.array_equal(logits, beta * np.eye(3)):
            radius, value, gradient, norm = self._isotropic(beta)
        else:
            radius, value, gradient, norm = self._general(logits)
        wrong = np.flatnonzero(~(value > self.smallest * norm))
        if wrong.size:
            z = logits.T @ self.x[:, wrong]
            radius[wrong], value[wrong], gradient[:, wrong] = self._direct(z)
        return ScaledTransform(radius, value, gradient)

    def _isotropic(self, beta: float) -> tuple[Real, Real, Real, float]:
        """By Funk–Hecke: ∇L from the surface gradient and the radial derivative of L."""
        radius, sign = abs(beta), np.sign(beta or 1.0)
        degree = kernel_degree(radius)
        l = np.arange(degree + 2)
        # At r = 0 only i_0 = 1 is left, and of i_l(r)/r only l = 1 with 1/3.
        bessel = scaled_bessel(l, radius) if radius > 0 else np.where(l == 0, 1.0, 0.0)
        ratio = bessel / radius if radius > 0 else np.where(l == 1, 1.0 / 3.0, 0.0)
        slope = np.zeros(degree + 1)
        slope[1:] = (l[1:-1] * bessel[:-2] + (l[1:-1] + 1) * bessel[2:]) / (2 * l[1:-1] + 1)
        slope[0] = bessel[1]
        signs = 4 * np.pi * sign ** l[:-1]
        degrees, _ = degrees_and_orders(degree)
        moments = self.moments(degree)
        series = (signs * bessel[:-1])[degrees] * moments
        value = self.at.synthesis(series)
        radial = self.at.synthesis((sign * signs * slope)[degrees] * moments)
        tangent = self.at.gradient((sign * signs * ratio[:-1])[degrees] * moments).T
        return np.full(value.size, radius), value, tangent + self.x * radial, _norm(series)

    def _general(self, logits: Real) -> tuple[Real, Real, Real, float]:
        """By the harmonics of e^{−g} (L, ∇L)(Dᵀx), from a grid whose degree is checked."""
        axes, lengths, _ = np.linalg.svd(logits)
        if lengths[0] > LARGEST_HARMONIC_RADIUS:
            raise LostSeries
        kernel = kernel_degree(float(np.ceil(lengths[0])))
        while True:
            degree = max(15, 2 * int(0.5 * self.spread * kernel) + 1)
            if degree > LARGEST_GRID:
                raise LostSeries
            spectra = self._harmonics(logits, axes, lengths, degree)
            power = np.sum([power_by_degree(one) for one in spectra], axis=0)
            if np.sqrt(power[-2:].sum() / power.sum()) < NOISE:
                break
            self.spread *= 1.2
        z = logits.T @ self.x
        radius = np.sqrt(np.einsum("in,in->n", z, z))
        scale = np.exp(_exponent(self.x, axes, lengths) - radius)
        value, *gradient = (self.at.synthesis(one) for one in spectra)
        norm = _norm(spectra[0])
        # Trust is a matter of the values before they are rescaled.
        value[~(value > self.smallest * norm)] = np.nan
        return radius, scale * value, scale * np.stack(gradient), 0.0

    def _harmonics(self, logits: Real, axes: Real, lengths: Real, degree: int) -> list[Complex]:
        """Coefficients of e^{−g} (L, ∇L)(Dᵀx) on a grid of this odd degree."""
        grid = _grid_of_degree(degree)
        rings, longitudes = grid.shape
        half = grid.points.reshape(-1, 3).T[:, : rings // 2 * longitudes]
        z = np.ascontiguousarray(logits.T @ half)
        radius = np.sqrt(np.einsum("in,in->n", z, z))
        found = self._transform.by_series(z) * np.exp(radius - _exponent(half, axes, lengths))
        found = found.reshape(2, 4, rings // 2, longitudes)
        # The antipode of a ring in the north is one in the south, half a turn ahead.
        south = np.roll(found[1], longitudes // 2, axis=2)[:, ::-1]
        values = np.concatenate([found[0], south], axis=1)
        return [grid.analysis(np.ascontiguousarray(one)) for one in values]

    @cached_property
    def _transform(self) -> LaplaceTransform:
        return transform_of_points(
            self.at.points,
            self.weights,
            TRANSFORM_ACCURACY,
            radius=LARGEST_HARMONIC_RADIUS,
            moments=self.moments,
        )

    def _direct(self, z: Real) -> tuple[Real, Real, Real]:
        """Shifts, and L and ∇L by sums over the tokens, those that coincide taken together."""
        from .target_sums import target_sums

        positions, weights = self.x, self.weights
        if z.shape[1] * weights.size > MERGED_FROM:
            positions, weights = self._merged
        self.pairs += z.shape[1] * weights.size
        if self.pairs > self.allowed_pairs:
            raise LostSeries
        shifts, sums = target_sums(z, positions, weights, self.threads)
        return shifts, sums[0], sums[1:]

    @cached_property
    def _merged(self) -> MergedTokens:
        keys = np.round(SAME * self.x.T).astype(np.int64)
        _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        weights = np.zeros(first.size)
        np.add.at(weights, which.ravel(), self.weights)
        return MergedTokens(np.ascontiguousarray(self.x[:, first]), weights)


@lru_cache(maxsize=16)
def _grid_of_degree(degree: int) -> SphereGrid:
    """Gauss grid with an even number of rings: its own antipode. `degree` is odd."""
    return SphereGrid(degree, nlat=degree + 1, engine="ducc0")


def _exponent(x: Real, axes: Real, lengths: Real) -> Real:
    """g(x) = Σ_k s_k ⟨u_k, x⟩² for x of shape (3, n)."""
    squares: Real = (axes.T @ x) ** 2
    return lengths @ squares


def _norm(coefficients: Complex) -> float:
    """Root mean square over the sphere."""
    return float(np.sqrt(power_by_degree(coefficients).sum() / (4 * np.pi)))
