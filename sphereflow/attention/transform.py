"""The Laplace transform L[μ](z) = ∫ e^{⟨z,y⟩} dμ(y) of a measure on the sphere.

Everything the model needs of μ is L and ∇L at some arguments z ∈ R³: the mobility
m = L(Dᵀx) and the attention average ∇log L(Dᵀx). Two routes give them:

* *harmonic*: a short series in the moments of μ. Its absolute error is about 1e-16·e^{|z|},
  so its relative error is 1e-16 / (e^{−|z|} L(z)), which is checked for every value;
* *direct*: a sum of positive terms over quadrature nodes or tokens with the largest exponent
  subtracted. Slower, accurate always; used where the check fails or |z| is large.

All values are returned scaled by e^{−|z|}, in which they lie in [e^{−2|z|}, 1], or by another
exponential where those are too small for a double.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ResolutionError
from ..sphere import (
    SphereGrid,
    coefficient_count,
    complex_to_real,
    degrees_and_orders,
    lmax_of,
    power_by_degree,
    resize,
)
from .direct_sums import direct_sums
from .far_series import FarSeries, radial_table
from .series_degrees import (
    BINS_PER_UNIT,
    LARGEST_HARMONIC_DEGREE,
    LARGEST_HARMONIC_RADIUS,
    LARGEST_SERIES,
    bessel_and_ratio,
    bessel_table,
    bound_of_point,
    truncation,
)

__all__ = ["LaplaceTransform", "ScaledTransform"]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]
Nodes = tuple[Real, Real]
Functions = tuple[tuple[int, ...], ...]  # products of coordinates of y, by their indices

FIRST: Functions = ((), (0,), (1,), (2,))
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
SECOND: tuple[Functions, ...] = (((0, 0), (1, 1), (0, 1), (0, 2)), ((1, 2), (1, 2), (1, 2), (1, 2)))

LARGEST_ARGUMENT = 1e4
KNOWN = 1e-6  # relative accuracy to which the coefficients of a source must determine L
ROUND_OFF = 1e-15  # measured error of the scaled series, see tests/attention


class ScaledTransform(NamedTuple):
    """L and ∇L at n arguments, both times e^{−radius}."""

    radius: Real  # |z|, or less where L would be lost to underflow, shape (n,)
    value: Real  # e^{−radius} L(z), shape (n,)
    gradient: Real  # e^{−radius} ∇L(z), shape (3, n)


@lru_cache(maxsize=64)
def _recurrence(lmax: int) -> tuple[Real, Real]:
    """Factors of q_l = first·z·q_{l−1} − second·r²·q_{l−2}, order-major layout."""
    degrees, orders = degrees_and_orders(lmax)
    l, m = degrees.astype(float), orders.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.sqrt((4 * l**2 - 1) / (l**2 - m**2))
        b = np.sqrt(np.maximum((l - 1) ** 2 - m**2, 0.0) / (4 * (l - 1) ** 2 - 1))
        first = a / (2 * l + 1)
        second = a * b / ((2 * l + 1) * (2 * l - 1))
    inside = degrees > orders
    return np.where(inside, first, 0.0), np.where(degrees > orders + 1, second, 0.0)


class LaplaceTransform:
    """L[μ] and ∇L[μ] of one measure.

    Parameters
    ----------
    moments : callable
        ``moments(degree)`` returns the complex coefficients ∫ Y*_lm dμ to that degree, or to
        a lower one where all beyond are zero.
    nodes : callable
        ``nodes(radius)`` returns positions (k, 3) and log-weights (k,) of a discrete form of μ
        that the direct route may use for |z| ≤ radius.
    tolerance : float
        Relative accuracy asked of L and of ∇L / L.
    degree : int
        Degree of the moments that are asked for; arguments that need more take the direct
        route.
    truncated : bool
        The moments end where the source ends, not where those of μ do: arguments that need
        more are then refused.
    noisy : bool
        The nodes come from the moments: they know L no better than a series at long arguments,
        which only see what is near, and serve where that is round-off of something larger.

    Notes
    -----
    By Jensen's inequality L(z) ≥ exp⟨z, ȳ⟩ with ȳ the first moment; with it the degree of
    the series is chosen so that the truncated part is below the tolerance, from |z| and the
    power of μ in each degree alone.
    """

    def __init__(
        self,
        moments: Callable[[int], Complex],
        nodes: Callable[[float], Nodes],
        tolerance: float = 1e-13,
        truncated: bool = False,
        degree: int = LARGEST_SERIES,
        noisy: bool = False,
    ) -> None:
        self._moments = moments
        self._asked = degree
        self._make_nodes = nodes
        self.tolerance = max(tolerance, 1e-15)
        self.truncated = truncated
        self.noisy = noisy
        self.direct_count = 0  # arguments that took the direct route so far
        self.count = 0
        self._series_of: dict[tuple[int, Functions], Real] = {}
        self._nodes_of_radius: dict[float, Nodes] = {}

    def nodes_for(self, radius: float) -> Nodes:
        """Nodes for |z| ≤ radius, made once for each of a few radii."""
        bound = min(LARGEST_ARGUMENT, 10.0 * 2.0 ** np.ceil(np.log2(max(radius, 10.0) / 10.0)))
        if bound not in self._nodes_of_radius:
            positions, log_weights = self._make_nodes(bound)
            # e^{⟨z,y⟩} varies by e^{2|z|}: lighter nodes than this cannot matter.
            keep = log_weights > log_weights.max() - 2 * bound - 45.0
            self._nodes_of_radius[bound] = np.ascontiguousarray(positions[keep]), log_weights[keep]
        return self._nodes_of_radius[bound]

    @cached_property
    def _low(self) -> Complex:
        """Moments to a degree that serves small arguments; its degree-1 part is ȳ."""
        return self._moments(self._asked)

    @cached_property
    def _degree_of_bin(self) -> NDArray[np.int64]:
        """Degree of the series for each radius bin; −1 where the series is not used."""
        bound = bound_of_point()
        power = np.zeros(bound.size)
        known = np.sqrt(power_by_degree(self._low))[: power.size]
        power[: known.size] = known
        if lmax_of(self._low) == self._asked:
            power[known.size :] = bound[known.size :]
        elif self.truncated:
            power[known.size :] = known[-3:].max()
        # ∇L takes the moments of y_k μ, which mix neighbouring degrees.
        spread = np.maximum(power, np.maximum(np.roll(power, 1), np.roll(power, -1)))
        spread[0] = max(power[0], power[1])
        radii = np.arange(len(bessel_table())) / BINS_PER_UNIT
        first_moment = np.sqrt(4 * np.pi / 3) * np.sqrt(power_by_degree(self._low)[1])
        smallest = np.exp(-radii * (1.0 + min(1.0, first_moment)))
        degree = truncation(spread, smallest, self.tolerance)
        highest = LARGEST_HARMONIC_DEGREE
        if lmax_of(self._low) == self._asked:
            highest = min(highest, self._asked - 1)
        degree[degree > highest] = -1
        return degree

    def _series(self, degree: int, functions: Functions = FIRST) -> Real:
        """Cosine, then sine coefficients of four measures f(y) μ to `degree`, shape (count, 8)."""
        key = degree, functions
        if key not in self._series_of:
            real = np.sqrt(4 * np.pi) * complex_to_real(self.weighted(degree, functions))
            degrees, orders = degrees_and_orders(degree)
            centre = degrees * (degrees + 1)
            cosine = real[:, centre + orders]
            sine = np.where(orders == 0, 0.0, real[:, centre - orders])
            self._series_of[key] = np.ascontiguousarray(np.concatenate([cosine, sine]).T)
        return self._series_of[key]

    def weighted(self, degree: int, functions: Functions = FIRST) -> Complex:
        """Complex coefficients of μ times products of coordinates to `degree`."""
        extra = max(len(factors) for factors in functions)
        grid = SphereGrid(degree + extra, nlat=degree + extra + 1, engine="ducc0")
        values = grid.synthesis(resize(self._low, degree + extra))
        weighted = np.empty((len(functions), coefficient_count(degree)), dtype=np.complex128)
        for row, factors in enumerate(functions):
            if not factors:
                weighted[row] = resize(self._low, degree)
                continue
            product = values * np.prod([grid.points[..., axis] for axis in factors], axis=0)
            weighted[row] = resize(grid.analysis(product), degree)
        return weighted

    def __call__(self, z: Real, *, antipodal: bool = False) -> ScaledTransform:
        """Values at arguments z of shape (3, n); neighbours of similar |z| are fastest.

        With `antipodal` the result has 2n entries: those at z, then those at −z, for about
        the cost of one half.

        Raises
        ------
        InputError
            If an argument is not finite or longer than 10⁴.
        ResolutionError
            If a truncated source does not hold the moments that an argument needs.
        """
        z = np.ascontiguousarray(z)
        radius = np.sqrt(np.einsum("in,in->n", z, z))
        largest = radius.max(initial=0.0)
        if not largest <= LARGEST_ARGUMENT:
            raise InputError(
                f"logits |Dᵀx| must be finite and at most {LARGEST_ARGUMENT:g}, got {largest:g}; "
                "rescale the heads"
            )
        out = np.empty((8 if antipodal else 4, radius.size))
        bin_of, series = self._bins_of(radius)
        if self.truncated:
            self._require_moments(self._degree_of_bin[bin_of], float(largest))
        far = ~series & (radius > LARGEST_HARMONIC_RADIUS)
        limit = np.full(radius.size, ROUND_OFF / self.tolerance)
        if far.any():
            far, limit = self._far(z, radius, far, limit, out)
        if series.all():
            self._harmonic(np.ascontiguousarray(z), int(bin_of.max(initial=0)), out)
        elif series.any():
            part = np.empty((len(out), int(series.sum())))
            chosen = np.ascontiguousarray(z[:, series])
            self._harmonic(chosen, int(bin_of[series].max()), part)
            out[:, series] = part
        series |= far
        if antipodal:
            out = np.concatenate([out[:4], out[4:]], axis=1)
            radius, series, limit = (np.tile(one, 2) for one in (radius, series, limit))
        result = ScaledTransform(radius, out[0], out[1:])
        wrong = ~series
        wrong[series] = self._untrusted(result, series, limit[series])
        self.count += radius.size
        if wrong.any():
            both = np.concatenate([z, -z], axis=1) if antipodal else z
            nodes, log_weights = self.nodes_for(float(radius[wrong].max()))
            functions = np.concatenate([np.ones((1, len(nodes))), nodes.T])
            direct, scale = direct_sums(
                both[:, wrong], nodes, log_weights, functions, radius[wrong]
            )
            result.value[wrong], result.gradient[:, wrong] = direct[0], direct[1:]
            result.radius[wrong] = scale
            self.direct_count += int(wrong.sum())
        return result

    def by_series(self, z: Real, functions: Functions = FIRST) -> Real:
        """L and ∇L by the series at z, then at −z, times e^{−|z|}, shape (8, n).

        Or the same transform of μ times other `functions` of y.

        Their error is ROUND_OFF, however small the values are: nothing is checked.

        Raises
        ------
        ResolutionError
            If no series serves.
        """
        radius = np.sqrt(np.einsum("in,in->n", z, z))
        out = np.empty((8, radius.size))
        bin_of, near = self._bins_of(radius)
        far = ~near
        if far.any():
            far, _ = self._far(z, radius, far, radius, out, functions)
        if not (near | far).all():
            raise ResolutionError("the arguments are too long for a series")
        if near.any():
            part = np.empty((8, int(near.sum())))
            chosen = np.ascontiguousarray(z[:, near])
            self._harmonic(chosen, int(bin_of[near].max()), part, functions)
            out[:, near] = part
        return out

    def _far(
        self,
        z: Real,
        radius: Real,
        far: NDArray[np.bool_],
        limit: Real,
        out: Real,
        functions: Functions = FIRST,
    ) -> tuple[NDArray[np.bool_], Real]:
        """Put the long arguments that a series serves into `out`; which, and what is trusted."""
        longest = float(radius[far].max())
        degree, scale = self._far_series.at(longest)
        if degree < 0 and self.truncated:
            raise ResolutionError(
                f"logits up to {longest:.3g} need more moments of the density than the source "
                f"holds, those to degree {lmax_of(self._low)}; save more with spectrum_degree"
            )
        if degree < 0:
            return np.zeros_like(far), limit
        table = radial_table(float(radius[far].min()), longest, degree)
        part = np.empty((len(out), int(far.sum())))
        chosen = z[:, far] * (table.length / radius[far])
        places = table.places(radius[far])
        from ..machine.compiled import numba_threads
        from .far_kernels import harmonic_sums_far

        first, second = _recurrence(degree)
        given = (table.factors, first, second, self._series(degree, functions), degree, degree)
        with numba_threads():
            harmonic_sums_far(np.ascontiguousarray(chosen), places, *given, part)
        out[:, far] = part
        accuracy = max(self.tolerance, KNOWN) if self.noisy else self.tolerance
        return far, np.where(far, ROUND_OFF / accuracy * scale / np.maximum(radius, 1.0), limit)

    @cached_property
    def _far_series(self) -> FarSeries:
        beyond = 0.0
        if lmax_of(self._low) == self._asked:
            beyond = np.inf
        elif self.truncated:
            beyond = float(np.sqrt(power_by_degree(self._low))[-3:].max())
        return FarSeries(self._low, beyond=beyond, highest=LARGEST_HARMONIC_DEGREE)

    def _bins_of(self, radius: Real) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Radius bin of each argument, and where the series serves it."""
        bins = self._degree_of_bin
        in_range = radius <= (len(bins) - 1) / BINS_PER_UNIT
        bin_of = np.ceil(np.where(in_range, radius, 0.0) * BINS_PER_UNIT).astype(int)
        return bin_of, in_range & (bins[bin_of] > 0)

    def _require_moments(self, degrees: NDArray[np.int64], largest: float) -> None:
        held = lmax_of(self._low)
        if (degrees > held).any() or (degrees < 0).any():
            needed = degrees.max() if (degrees >= 0).all() else f"above {LARGEST_HARMONIC_DEGREE}"
            raise ResolutionError(
                f"logits up to {largest:.3g} need the moments of the density to degree {needed}, "
                f"the source holds them to degree {held}; save more with spectrum_degree"
            )

    def _harmonic(self, z: Real, highest_bin: int, out: Real, functions: Functions = FIRST) -> None:
        from ..machine.compiled import numba_threads
        from .kernels import harmonic_sums

        bins = self._degree_of_bin[: highest_bin + 1]
        row = int(bins.max())
        first, second = _recurrence(row)
        series = self._series(row, functions)
        with numba_threads():
            harmonic_sums(z, first, second, series, row, BINS_PER_UNIT, bins, out)

    def hessian(self, z: Real, values: ScaledTransform, *, antipodal: bool = False) -> Real:
        """∇∇L times the exponential of `values`, those at z, entries 00 11 22 01 02 12, (6, n).

        With `antipodal` both have 2n entries, those at z and then those at −z.
        """
        radius = np.sqrt(np.einsum("in,in->n", z, z))
        bin_of, near = self._bins_of(radius)
        signs = (1.0, -1.0) if antipodal else (1.0,)
        series = np.tile(near, len(signs)) & (values.value > ROUND_OFF / self.tolerance)
        second = np.empty((6, series.size))
        if series.any():
            halves = series.reshape(len(signs), -1)
            chosen = np.flatnonzero(halves.any(axis=0))
            part = np.ascontiguousarray(z[:, chosen])
            out = np.empty((2, 4 * len(signs), chosen.size))
            for functions, target in zip(SECOND, out, strict=True):
                self._harmonic(part, int(bin_of[chosen].max()), target, functions)
            for half in range(len(signs)):
                at, first = chosen + half * radius.size, 4 * half
                for row, values_of_row in zip((0, 1, 3, 4), out[0, first : first + 4], strict=True):
                    second[row, at] = values_of_row
                second[5, at] = out[1, first]
        if not series.all():
            rest = ~series
            both = np.concatenate([sign * z for sign in signs], axis=1)[:, rest]
            nodes, log_weights = self.nodes_for(float(np.tile(radius, len(signs))[rest].max()))
            products = np.stack([nodes[:, a] * nodes[:, b] for a, b in PAIRS])
            lengths = np.tile(radius, len(signs))[rest]
            sums, scale = direct_sums(both, nodes, log_weights, products, lengths)
            second[:, rest] = sums * np.exp(scale - values.radius[rest])
        second[2] = values.value - second[0] - second[1]  # |y| = 1
        return second

    def _untrusted(
        self,
        result: ScaledTransform,
        where: NDArray[np.bool_] | slice = slice(None),
        smallest: Real | float | None = None,
    ) -> NDArray[np.bool_]:
        """Where the round-off of the series exceeds the tolerance, or |∇L| ≤ L is broken."""
        value, gradient = result.value[where], result.gradient[:, where]
        smallest = ROUND_OFF / self.tolerance if smallest is None else smallest
        if (value > 1e3 * smallest).all():  # no exceptions: the common case, and quick
            return np.zeros(value.size, dtype=bool)
        length = np.einsum("in,in->n", gradient, gradient)
        trusted: NDArray[np.bool_] = (value > smallest) & (length <= (value * (1 + 1e-9)) ** 2)
        return ~trusted  # true for NaN

    def on_sphere(self, grid: SphereGrid, beta: float, tangential: bool) -> ScaledTransform | None:
        """Values at z = βx for all points x of a grid, by Funk–Hecke: diagonal, no sums.

        With `tangential` the gradient comes without its radial part, from the surface gradient
        of L(β·): a small gradient then keeps its relative accuracy. Returns None where the
        series is not accurate enough at this radius, for an evaluation point by point.
        """
        bins = self._degree_of_bin
        index = int(np.ceil(abs(beta) * BINS_PER_UNIT))
        if index >= len(bins) or bins[index] < 1 or bins[index] > grid.lmax:
            return None
        degree = int(bins[index])
        degrees, _ = degrees_and_orders(degree)
        l, radius, sign = np.arange(degree + 1), abs(beta), np.sign(beta or 1.0)
        bessel, ratio = bessel_and_ratio(l, radius)
        factors = (4 * np.pi * bessel * sign**l)[degrees]
        value = grid.synthesis(grid.resized(factors * resize(self._low, degree)))
        if tangential:
            slope = (4 * np.pi * ratio * sign ** (l + 1))[degrees] * resize(self._low, degree)
            gradient = grid.to_cartesian(grid.gradient(grid.resized(slope)))
            gradient = gradient.reshape(-1, 3).T
        else:
            weighted = self.weighted(degree)[1:]
            gradient = np.stack([grid.synthesis(grid.resized(factors * w)) for w in weighted])
        result = ScaledTransform(
            np.full(value.size, radius), value.ravel(), gradient.reshape(3, -1)
        )
        self.count += value.size
        return None if self._untrusted(result).any() else result
