"""L[μ] and ∇L[μ] at the arguments z = Dᵀx of weighted tokens x, by short series at the tokens.

The velocity needs many degrees where ridges between basins of attraction are steep; x ↦ L(Dᵀx)
does not. For D = βI it is diagonal in harmonics (Funk–Hecke); for any D its harmonics come from
its values on a small grid. Both are summed at the tokens alone, at a cost linear in their number.

What is expanded is e^{−g} L(Dᵀx) with g a polynomial in |Dᵀx|² near to |Dᵀx|: tokens with a short
Dᵀx keep their digits, and an exponent of degree 2 or 4 in x adds few degrees.

The error is ε times the norm of that function over the sphere: each token is trusted or not by
its own value, which is at least the weight of the token itself if D = βI with β > 0. Those that
are not are summed directly.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Chebyshev
from numpy.typing import NDArray

from ..errors import ResolutionError
from ..sphere import PointTransform, antipodal_grid, degrees_and_orders, power_by_degree
from .measure import WeightedPoints, transform_of_points
from .series_degrees import LARGEST_HARMONIC_DEGREE, bessel_and_ratio, kernel_degree
from .transform import SECOND, LaplaceTransform, ScaledTransform

__all__ = ["LARGEST_SHARE", "SERIES_TOLERANCE", "SPREAD", "LostSeries", "TokenSeries"]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

SERIES_TOLERANCE = 1e-12  # of the series of each head, in ∇L / L at each token
LARGEST_SHARE = 0.5  # of the pairs: with more of them left to direct sums a series is lost
ROUND_OFF = 2e-15  # measured error of a series at the tokens, relative to its norm
# Degree of the grid of a head, in units of that of its kernel, by the degree of g in |Dᵀx|².
SPREAD = (1.15, 1.35, 1.6)
LARGEST_GAP = 3.0  # range of |Dᵀx| − g over the sphere, where a higher degree is taken
SHARE_OF_SCALE = 0.25  # of the norm of e^{|Dᵀx| − g}: round-off of the values on the grid
NOISE = 3e-14  # of the last degrees of a function that is resolved, relative to its norm
TRANSFORM_ACCURACY = 1e-13
LARGEST_GRID = 255  # degree
MERGED_FROM = 5_000_000  # pairs from which it pays to look for tokens that coincide
SAME = 2.0**50  # tokens that agree when rounded to multiples of its inverse are one


class LostSeries(Exception):
    """Too many tokens would have to be summed directly, or no grid resolves a head."""


class Tokens(NamedTuple):
    """Positions (3, k) and weights (k,) of tokens."""

    positions: Real
    weights: Real


class TokenSeries:
    """The transform of weighted tokens at the images Dᵀx of these tokens, or of other points.

    Parameters
    ----------
    at : PointTransform
        Of the points x at which it is wanted.
    source : WeightedPoints
        The tokens.
    moments : callable
        ``moments(degree)`` returns the complex coefficients of the measure.
    tolerance : float
        Of ∇L / L at each token.
    spread : float
        Factor of the degree of the grids of heads; it grows where needed.
    allowed_pairs : float
        Pairs of tokens that may be summed directly.
    threads : int
    """

    def __init__(
        self,
        at: PointTransform,
        source: WeightedPoints,
        moments: Callable[[int], Complex],
        tolerance: float,
        *,
        spread: float,
        allowed_pairs: float,
        threads: int,
    ) -> None:
        self.at, self.source, self.moments = at, source, moments
        self.x = np.ascontiguousarray(at.points.T)
        self.smallest = ROUND_OFF / tolerance
        self.spread = spread
        self.allowed_pairs = allowed_pairs
        self.pairs = 0.0  # summed directly so far
        self.threads = threads

    def __call__(self, logits: Real) -> ScaledTransform:
        """L and ∇L at Dᵀx for all points x, D of shape (3, 3).

        Raises
        ------
        LostSeries
            If direct sums over all pairs are the better choice.
        """
        return self._values(logits, second=False)[0]

    def with_hessian(self, logits: Real) -> tuple[ScaledTransform, Real]:
        """The same, and ∇∇L times the same exponential, entries 00 11 22 01 02 12, (6, n).

        Raises
        ------
        LostSeries
            As above.
        """
        values, products = self._values(logits, second=True)
        first, second, *mixed = products
        return values, np.stack([first, second, values.value - first - second, *mixed])

    def _values(self, logits: Real, second: bool) -> tuple[ScaledTransform, Real]:
        """L and ∇L, and if wanted the products 00 11 01 02 12 of ∇∇L, shape (5, n)."""
        beta = float(logits[0, 0])
        if np.array_equal(logits, beta * np.eye(3)):
            radius, rows, norm = self._isotropic(beta, second)
        else:
            radius, rows, norm = self._general(logits, second)
        wrong = np.flatnonzero(~(rows[0] > self.smallest * norm))
        if wrong.size:
            z = logits.T @ self.x[:, wrong]
            radius[wrong], rows[:, wrong] = self._direct(z, second)
        return ScaledTransform(radius, rows[0], rows[1:4]), rows[4:]

    def _isotropic(self, beta: float, second: bool) -> tuple[Real, Real, float]:
        """By Funk–Hecke: ∇L from the surface gradient and the radial derivative of L."""
        radius, sign = abs(beta), np.sign(beta or 1.0)
        degree = kernel_degree(radius)
        l = np.arange(degree + 2)
        bessel, ratio = bessel_and_ratio(l, radius)
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
        rows = [value, *(tangent + self.x * radial)]
        if second:
            if degree > LARGEST_HARMONIC_DEGREE - 2:
                raise LostSeries
            for functions in SECOND:
                weighted = self._transform.weighted(degree, functions)
                rows += [self.at.synthesis((signs * bessel[:-1])[degrees] * w) for w in weighted]
        return np.full(value.size, radius), np.stack(rows[: 9 if second else 4]), _norm(series)

    def _general(self, logits: Real, second: bool) -> tuple[Real, Real, float]:
        """By the harmonics of e^{−g} (L, ∇L)(Dᵀx), from a grid whose degree is checked."""
        lengths = np.linalg.svd(logits, compute_uv=False)
        kernel = kernel_degree(float(np.ceil(lengths[0])))
        exponent, spread = _exponent(float(lengths[-1]), float(lengths[0]))
        while True:
            degree = max(15, 2 * int(0.5 * spread * self.spread * kernel) + 1)
            if degree > LARGEST_GRID or kernel >= LARGEST_HARMONIC_DEGREE:
                raise LostSeries
            try:
                spectra, scale_norm = self._harmonics(logits, exponent, degree, second)
            except ResolutionError as error:
                raise LostSeries from error
            power = np.sum([power_by_degree(one) for one in spectra], axis=0)
            if np.sqrt(power[-2:].sum() / power.sum()) < NOISE:
                break
            self.spread *= 1.2
        z = logits.T @ self.x
        radius = np.sqrt(np.einsum("in,in->n", z, z))
        scale = np.exp(exponent(radius**2) - radius)
        rows = np.stack([self.at.synthesis(one) for one in spectra])
        norm = max(_norm(spectra[0]), SHARE_OF_SCALE * scale_norm)
        # Trust is a matter of the values before they are rescaled.
        rows[0, ~(rows[0] > self.smallest * norm)] = np.nan
        return radius, scale * rows, 0.0

    def _harmonics(
        self, logits: Real, exponent: Chebyshev, degree: int, second: bool
    ) -> tuple[list[Complex], float]:
        """Coefficients of e^{−g} (L, ∇L)(Dᵀx), from a grid of this odd degree; norm of e^{|z| − g}.

        With `second` also those of the products 00 11 01 02 12 of ∇∇L.
        """
        grid = antipodal_grid(degree)
        rings, longitudes = grid.shape
        half = grid.points.reshape(-1, 3).T[:, : rings // 2 * longitudes]
        z = np.ascontiguousarray(logits.T @ half)
        radius = np.sqrt(np.einsum("in,in->n", z, z))
        scale = np.exp(radius - exponent(radius**2))
        found = [self._transform.by_series(z)]
        if second:
            found += [self._transform.by_series(z, functions) for functions in SECOND]
        joined = np.concatenate([one.reshape(2, 4, -1) for one in found], axis=1) * scale
        both = joined.reshape(2, -1, rings // 2, longitudes)
        # The antipode of a ring in the north is one in the south, half a turn ahead.
        south = np.roll(both[1], longitudes // 2, axis=2)[:, ::-1]
        values = np.concatenate([both[0], south], axis=1)[: 9 if second else 4]
        share = np.broadcast_to(grid.weights / (2 * np.pi), grid.shape)[: rings // 2]
        norm = np.sqrt(float(np.sum(share.ravel() * scale**2)))
        return [grid.analysis(np.ascontiguousarray(one)) for one in values], norm

    @cached_property
    def _transform(self) -> LaplaceTransform:
        return transform_of_points(*self.source, TRANSFORM_ACCURACY, moments=self.moments)

    def _direct(self, z: Real, second: bool) -> tuple[Real, Real]:
        """Shifts and rows by sums over the tokens, those that coincide taken together."""
        from .target_sums import target_sums

        tokens = self._tokens
        if z.shape[1] * self.source.weights.size > MERGED_FROM:
            tokens = self._merged
        self.pairs += z.shape[1] * tokens.weights.size
        if self.pairs > self.allowed_pairs:
            raise LostSeries
        return target_sums(z, *tokens, self.threads, second=second)

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(np.ascontiguousarray(self.source.positions.T), self.source.weights)

    @cached_property
    def _merged(self) -> Tokens:
        keys = np.round(SAME * self.source.positions).astype(np.int64)
        _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        weights = np.zeros(first.size)
        np.add.at(weights, which.ravel(), self.source.weights)
        return Tokens(np.ascontiguousarray(self.source.positions[first].T), weights)


@lru_cache(maxsize=256)
def _exponent(shortest: float, longest: float) -> tuple[Chebyshev, float]:
    """g as a function of |z|² for shortest ≤ |z| ≤ longest, and the spread that it asks for."""
    ends = shortest**2, longest**2 + 1e-12 * (1.0 + longest**2)
    lengths = np.linspace(shortest, longest, 200)
    degree = 0
    while True:
        degree += 1
        exponent = Chebyshev.interpolate(np.sqrt, degree, domain=ends)
        if degree == len(SPREAD) or np.ptp(lengths - exponent(lengths**2)) < LARGEST_GAP:
            return exponent, SPREAD[degree - 1]


def _norm(coefficients: Complex) -> float:
    """Root mean square over the sphere."""
    return float(np.sqrt(power_by_degree(coefficients).sum() / (4 * np.pi)))
