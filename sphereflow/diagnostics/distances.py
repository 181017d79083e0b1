"""Distances between measures on the sphere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..sphere import SphereGrid, lmax_of, power_by_degree, real_degrees_and_orders
from .sparse_transport import DENSE_PAIRS, sparse_bounds
from .transport import MOST_POINTS, Cloud, Transport, grouped, transport_bounds

__all__ = [
    "SOBOLEV_ORDER",
    "Transport",
    "expected_sampling_error",
    "overlap_bound",
    "sobolev_distance",
    "sobolev_weights",
    "tail_bound",
    "wasserstein",
]

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

SOBOLEV_ORDER = 2.0
ROUND_OFF = 1e-14  # of the amplitude of degree 0
SLOWEST_DECAY = 0.98  # from degree to degree, from which what follows can be estimated
TAIL_SAFETY = 4.0
SUPREMUM = 1.01  # of the largest value on a grid four times as fine as the degree needs


def wasserstein(
    first: tuple[Real, Real], second: tuple[Real, Real], *, most: int = MOST_POINTS
) -> Transport:
    """W1 and W2 with the geodesic distance as cost between weighted points.

    Parameters
    ----------
    first, second : tuple of ndarray
        Unit vectors of shape (n, 3) and weights of shape (n,).
    most : int
        With at most so many points in each measure the transport problem is solved for all of
        them; larger measures are grouped to so many points, and the errors bound what that changes.

    Returns
    -------
    Transport

    Raises
    ------
    ResolutionError
        If the exact solver does not converge.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.array([[1.0, 0, 0]]), np.ones(1)
    >>> other = np.array([[0, 1.0, 0]]), np.ones(1)
    >>> round(wasserstein(one, other).w1, 4)
    1.5708
    """
    one, other = clouds = [Cloud.of(*points) for points in (first, second)]
    if one.points.shape == other.points.shape and all(map(np.array_equal, one, other)):
        return Transport(0.0, 0.0, "equal", 0.0, 0.0)
    sizes = len(one.points), len(other.points)
    if max(sizes) <= most and sizes[0] * sizes[1] > DENSE_PAIRS:
        w1, w2 = sparse_bounds(one, other)
        return Transport(w1.value, w2.value, "exact", w1.error, w2.error)
    coarse = [grouped(cloud, most) for cloud in clouds]
    w1, w2 = transport_bounds(one, other, coarse[0], coarse[1])
    method = "exact" if max(sizes) <= most else "grouped"
    return Transport(w1.value, w2.value, method, w1.error, w2.error)


def sobolev_weights(degree: int, order: float = SOBOLEV_ORDER) -> Real:
    """(1 + l(l+1))^{−s} for each real coefficient to this degree."""
    degrees, _ = real_degrees_and_orders(degree)
    return (1.0 + degrees * (degrees + 1.0)) ** -order


def sobolev_distance(first: Real, second: Real, order: float = SOBOLEV_ORDER) -> float:
    """Norm in H^{−s} of the difference of two spectra of one degree.

    It is the maximum mean discrepancy with the kernel
    k(x, y) = Σ_l (2l+1)/(4π) (1 + l(l+1))^{−s} P_l(⟨x, y⟩).

    Parameters
    ----------
    first, second : ndarray, shape ((degree+1)²,)
        Real orthonormal coefficients.
    order : float
        s.
    """
    degree = round(np.sqrt(first.size)) - 1
    return float(np.sqrt(sobolev_weights(degree, order) @ (first - second) ** 2))


def expected_sampling_error(
    spectrum: Real, sum_of_squares: float, order: float = SOBOLEV_ORDER
) -> float:
    """Root mean square of `sobolev_distance` between a measure and independent draws from it.

    E‖μ_n − μ‖² = Σ_i w_i² (k(x, x) − ‖μ‖²), which is 1/n of the bracket for n equal weights.

    Parameters
    ----------
    spectrum : ndarray, shape ((degree+1)²,)
        Of μ.
    sum_of_squares : float
        Σ_i w_i² of the weights of the draws.
    """
    degree = round(np.sqrt(spectrum.size)) - 1
    weights = sobolev_weights(degree, order)
    diagonal = weights.sum() / (4 * np.pi)
    return float(np.sqrt(max(0.0, sum_of_squares * (diagonal - weights @ spectrum**2))))


def tail_bound(coefficients: Complex, noise: float = 0.0) -> float:
    """Estimate from above of the L2 norm of a density beyond the degrees of a spectrum.

    Amplitudes go on to decay at the rate of the second half of the degrees, from the larger of the
    last two, times `TAIL_SAFETY`. That covers discontinuous densities, whose amplitudes fall as
    1/l, and is far above those of analytic ones. Where they do not decay the estimate is
    infinite, unless they are `noise`, which goes on for as many degrees again.

    Parameters
    ----------
    coefficients : ndarray, shape ((degree+1)(degree+2)/2,)
        Complex, of unit mass.
    noise : float
        Amplitudes up to this may be the errors of a quadrature.
    """
    amplitude = np.sqrt(power_by_degree(coefficients))
    highest = amplitude.size - 1
    envelope = np.maximum.accumulate(amplitude[::-1])[::-1]
    last = envelope[max(0, highest - 1)]
    if last <= ROUND_OFF * amplitude[0]:
        return float(ROUND_OFF * amplitude[0])
    half = highest // 2
    span = highest - 1 - half
    ratio = (last / envelope[half]) ** (1 / span) if span > 1 else 1.0
    if not ratio <= SLOWEST_DECAY:
        return float(TAIL_SAFETY * last * np.sqrt(highest)) if last < noise else np.inf
    return float(TAIL_SAFETY * last * ratio / np.sqrt(1 - ratio**2))


def overlap_bound(first: Complex, second: Complex) -> float:
    """Lower bound of the total variation of two measures, of which low moments are known.

    It is ½ |∫ f d(μ − ν)| for a series f of their degree with |f| ≤ 1.
    """
    degree = lmax_of(first)
    grid = SphereGrid(max(1, degree), dealias=4.0, engine="ducc0")
    difference = first - second
    # Without a filter the series of a narrow peak oscillates.
    smooth = np.cos(0.5 * np.pi * grid.degrees / (grid.lmax + 1)) ** 2
    values = grid.synthesis(smooth * grid.resized(difference))
    largest = np.abs(values).max()
    if not largest > 0:
        return 0.0
    counted = np.where(grid.orders == 0, 1.0, 2.0)
    best = 0.0
    for sharpness in (0.0, 3.0, 10.0, 30.0):
        f = values / largest
        if sharpness:
            f = np.tanh(sharpness * f)
        series = smooth * grid.analysis(f)
        size = SUPREMUM * np.abs(grid.synthesis(series)).max()
        gain = counted @ (series * np.conj(grid.resized(difference))).real
        best = max(best, 0.5 * float(gain) / size)
    return min(1.0, best)
