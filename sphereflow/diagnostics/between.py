"""Distances between two instants of runs, each with a bound of its error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..output.reading import mesh_of
from ..sphere import SphereGrid, lmax_of, real_to_complex, resize
from .density_transport import cloud_of_series, first_order, second_order
from .distances import overlap_bound
from .instants import Instant, meeting_grid
from .semidiscrete import semidiscrete
from .sparse_transport import DENSE_PAIRS, sparse_bounds
from .transport import Bounds, Cloud, Transport, grouped, transport_bounds

if TYPE_CHECKING:
    import xarray

__all__ = ["NO_TRANSPORT", "between_densities", "mobility_difference", "transported"]

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

NO_TRANSPORT = Transport(np.nan, np.nan, "none", np.nan, np.nan)
DENSITY_POINTS = (800, 1600)  # by which a density is transported to tokens: at least and at most
TOKEN_PAIRS = 6_000_000  # of tokens and those points
FINE_RINGS = 120  # of points of a density from which the nearest tokens are sought
RESOLVED = 0.02  # rad by which W1 of a series may be off
VAGUE = 0.25  # an error of the total variation that says nothing any more
WIDE = 0.05  # rad by which W2 of a series may be off where a run has points as well
LOOSE = 0.05  # share of a distance, by which another computation is worth its time
LARGEST_DEGREE = 255  # of series that are transported


def transported(one: Instant, other: Instant, most: int) -> Transport:
    """W1 and W2 in radians; NaN where a run does not hold its measure.

    Densities that their series resolve are compared by these, tokens and everything else by
    points.

    Parameters
    ----------
    most : int
        Tokens of each measure in a transport problem.
    """
    if _equal(one, other):
        return Transport(0.0, 0.0, "equal", 0.0, 0.0)
    if not one.sampled and not other.sampled:
        one_series, other_series = _short_series(one), _short_series(other)
        if one_series is not None and other_series is not None:
            (first, tail), (second, more) = one_series, other_series
            w1 = first_order(first, second)
            w2 = second_order(first, second, w1.low)
            return _together(w1, w2, "densities", tail + more)
    found = _by_cells(one, other)
    if (
        found is not None
        and found.w1_error < LOOSE * found.w1
        and found.w2_error < LOOSE * found.w2
    ):
        return found
    grouped_points = _by_groups(one, other, most)
    return grouped_points if found is None else _nearer(found, grouped_points)


def _by_cells(one: Instant, other: Instant) -> Transport | None:
    """A density by its series against tokens; None where that is not what there is."""
    if one.sampled == other.sampled:
        return None
    density, tokens = (other, one) if one.sampled else (one, other)
    series = _short_series(density)
    if series is None or tokens.points is None:
        return None
    found = semidiscrete(series[0], Cloud.of(*tokens.points))
    return None if found is None else _together(*found, "semi-discrete", series[1])


def _nearer(found: Transport, more: Transport) -> Transport:
    """What two computations say of one distance."""
    if np.isnan(more.w1):
        return found
    first, second = (
        Bounds.between(max(one - error, two - wrong), min(one + error, two + wrong))
        for one, error, two, wrong in (
            (found.w1, found.w1_error, more.w1, more.w1_error),
            (found.w2, found.w2_error, more.w2, more.w2_error),
        )
    )
    return _together(first, second, f"{found.method} and {more.method}", np.zeros(2))


def _by_groups(one: Instant, other: Instant, most: int) -> Transport:
    """By points, as many as a transport problem may have."""
    here, there = _cloud_of(one), _cloud_of(other)
    if here is None or there is None:
        return NO_TRANSPORT
    (cloud, near, errors), (partner, far, more) = here, there
    points = [len(cloud.points), len(partner.points)]
    tokens = one.sampled and other.sampled
    if tokens and max(points) <= most and points[0] * points[1] > DENSE_PAIRS:
        w1, w2 = sparse_bounds(cloud, partner)
        return _together(w1, w2, "exact", errors + more)
    small = []
    for instant, whole, count in ((one, cloud, points[1]), (other, partner, points[0])):
        limit = int(np.clip(TOKEN_PAIRS / min(most, count), *DENSITY_POINTS))
        small.append(grouped(whole, most if instant.sampled else min(most, limit)))
    w1, w2 = transport_bounds(near, far, small[0], small[1])
    exact = tokens and max(points) <= most
    return _together(w1, w2, "exact" if exact else "grouped", errors + more)


def _together(w1: Bounds, w2: Bounds, method: str, errors: Real) -> Transport:
    """Both distances when they may be off by these errors more; each bounds the other."""
    (low, found, high), (least, value, most) = w1, w2
    low, least = np.maximum([low - errors[0], least - errors[1]], 0.0)
    high, most = high + errors[0], most + errors[1]
    # W1 ≤ W2 for any two measures.
    high, least = max(low, min(high, most)), max(low, least)
    most = max(least, most)
    w1 = Bounds(low, float(np.clip(found, low, high)), high)
    w2 = Bounds(least, float(np.clip(value, least, most)), most)
    return Transport(w1.value, w2.value, method, float(w1.error), float(w2.error))


def _equal(one: Instant, other: Instant) -> bool:
    """Whether both hold the same numbers."""
    if not np.array_equal(one.coefficients, other.coefficients):
        return False
    first, second = one.points, other.points
    if first is None or second is None:
        return first is second
    return all(map(np.array_equal, first, second))


def _short_series(instant: Instant) -> tuple[Complex, Real] | None:
    """A series that is short enough to be transported, and the errors of W1 and W2; or None.

    A function of Lipschitz constant 1 has at most √4π as the norm of its gradient, so that what
    is left from degree l on changes W1 by at most √4π/l of its norm r, and W2 by at most the root
    of π times that, and by 2r/l over the root of the least density: R. Peyre, ESAIM: COCV 24
    (2018) 1489.
    """
    coefficients, tail = instant.series
    degree = lmax_of(coefficients)
    error = np.sqrt(4 * np.pi) * tail / (degree + 1)
    if degree > LARGEST_DEGREE or not error < RESOLVED:
        return None
    grid = SphereGrid(max(1, degree), dealias=1.5)
    least = max(grid.synthesis(grid.resized(coefficients)).min(), 1e-300)
    wide = min(np.sqrt(np.pi * error), 2.0 * tail / ((degree + 1) * np.sqrt(least)))
    if wide > WIDE and instant.cloud is not None:
        return None
    return coefficients, np.array([error, wide])


def _cloud_of(instant: Instant) -> tuple[Cloud, Cloud, Real] | None:
    """The points of an instant or of its series, finer ones, and errors of W1 and W2 besides."""
    series = None if instant.sampled else _short_series(instant)
    if series is not None:
        coefficients, errors = series
        fine = cloud_of_series(coefficients, rings=FINE_RINGS)
        return cloud_of_series(coefficients), fine, errors
    if instant.cloud is None:
        return None
    cloud, missed = instant.cloud
    return cloud, cloud, np.pi * np.array([missed, np.sqrt(missed)])


def between_densities(one: Instant, other: Instant, first: Real, second: Real) -> dict[str, float]:
    """Total variation and L2 distance with their errors; NaN of tokens, and where not known.

    Parameters
    ----------
    first, second : ndarray
        Spectra to a common degree.
    """
    names = ("total_variation", "total_variation_error", "l2", "l2_error")
    if one.sampled or other.sampled:
        return dict.fromkeys(names, np.nan)
    if _equal(one, other):
        return dict.fromkeys(names, 0.0)
    cells = _between_cells(one.dataset, other.dataset)
    if cells is not None:
        variation, square = cells
    else:
        exact = not one.by_quadrature and not other.by_quadrature
        variation, square = _between_series(one.series, other.series, exact)
    least = overlap_bound(real_to_complex(first), real_to_complex(second))
    variation = _inside(variation, least if cells is None else 0.0, 1.0)
    found = (variation.value, variation.error, square.value, square.error)
    known = (variation.error < VAGUE, np.isfinite(square.error))
    return {
        name: float(value) if known[k // 2] else np.nan
        for k, (name, value) in enumerate(zip(names, found, strict=True))
    }


def _inside(bounds: Bounds, least: float, most: float) -> Bounds:
    """Bounds within others, around the value as far as they can be."""
    low = min(max(bounds.low, least), most)
    high = max(low, min(bounds.high, most))
    value = bounds.value if low <= bounds.value <= high else 0.5 * (low + high)
    return Bounds(low, value, high)


def _between_series(
    one: tuple[Complex, float], other: tuple[Complex, float], exact: bool
) -> tuple[Bounds, Bounds]:
    """Total variation and L2 distance of two series, of which bounds say what is left.

    `exact` says that the coefficients have no error of nodes or cells, which is of the size of
    what they leave.
    """
    (first, tail), (second, more) = one, other
    degree = max(1, lmax_of(first), lmax_of(second))
    left = tail + more
    difference = resize(first, degree) - resize(second, degree)
    results = []
    for dealias in (1.5, 2.0, 3.0):
        grid = SphereGrid(degree, dealias=dealias)
        values = grid.synthesis(difference)
        results.append(0.5 * grid.integrate(np.abs(values)))
    square = np.sqrt(grid.integrate(values**2))
    # The kinks of |f| make its quadrature converge with the square of the spacing, unevenly.
    error = max(abs(results[2] - one) for one in results[:2])
    error = 1.5 * error + 0.5 * np.sqrt(4 * np.pi) * left
    variation = Bounds(results[2] - error, results[2], results[2] + error)
    if not np.isfinite(left):
        return variation, Bounds(square, np.nan, np.inf)
    if exact and lmax_of(first) == lmax_of(second):  # what is left is orthogonal to the series
        low, high = square, float(np.hypot(square, left))
    else:
        low, high = max(0.0, square - left), square + left
    return variation, Bounds(low, 0.5 * (low + high), high)


def _between_cells(a: xarray.Dataset, b: xarray.Dataset) -> tuple[Bounds, Bounds] | None:
    """Total variation and L2 distance by the means over the cells of one mesh; else None.

    What they hide is estimated by the differences to the neighbours.
    """
    if any("density" not in run or run["density"].dims != ("face",) for run in (a, b)):
        return None
    mesh, same = mesh_of(a), mesh_of(b)
    if mesh is None or same is None or mesh.level != same.level:
        return None
    difference = a["density"].values - b["density"].values
    step = np.abs(difference[:, None] - difference[mesh.neighbours]).max(axis=1)
    variation = float(0.5 * mesh.areas @ np.abs(difference))
    hidden = float(0.25 * mesh.areas @ np.where(np.abs(difference) < step, step, 0.0))
    square = mesh.areas @ difference**2
    low, high = np.sqrt(square), np.sqrt(square + 0.25 * mesh.areas @ step**2)
    return (
        Bounds(variation, variation, variation + hidden),
        Bounds(low, low, high),
    )


def mobility_difference(one: Instant, other: Instant) -> float:
    """(∫ (b_a − b_b)² (μ_a + μ_b)/2 dσ)^½ from the spectra and heads of both runs."""
    if one.mobility is None or other.mobility is None:
        return np.nan
    density = 0.5 * (one.density + other.density)
    square = (one.mobility - other.mobility) ** 2
    return float(np.sqrt(max(0.0, meeting_grid().integrate(density * square))))
