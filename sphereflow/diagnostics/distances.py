"""Distances between measures on the sphere."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ResolutionError
from ..sphere import real_degrees_and_orders

__all__ = [
    "SOBOLEV_ORDER",
    "Transport",
    "expected_sampling_error",
    "sobolev_distance",
    "sobolev_weights",
    "wasserstein",
]

Real = NDArray[np.float64]

SOBOLEV_ORDER = 2.0
MOST_POINTS = 4000  # of each measure in an exact transport problem
MOST_ITERATIONS = 20_000_000
PROJECTIONS = 500


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


class Transport(NamedTuple):
    """Wasserstein distances, how they were computed, and their standard errors by projections."""

    w1: float
    w2: float
    method: str
    w1_error: float
    w2_error: float


def wasserstein(
    first: tuple[Real, Real], second: tuple[Real, Real], *, most: int = MOST_POINTS, seed: int = 0
) -> Transport:
    """W1 and W2 with the geodesic distance as cost between weighted points.

    Parameters
    ----------
    first, second : tuple of ndarray
        Unit vectors of shape (n, 3) and weights of shape (n,).
    most : int
        With at most so many points in each measure the transport problem is solved exactly;
        beyond, the distances are sliced ones: means over great circles of the distances of the
        projections.
    seed : int
        Of the great circles.

    Returns
    -------
    Transport

    Raises
    ------
    ResolutionError
        If the exact solver does not converge.
    """
    import ot

    (x, u), (y, v) = first, second
    x, u = _distinct(x, u)
    y, v = _distinct(y, v)
    if x.shape == y.shape and np.array_equal(x, y) and np.array_equal(u, v):
        return Transport(0.0, 0.0, "equal", 0.0, 0.0)
    if len(x) <= most and len(y) <= most:
        # Chords are accurate for small distances, where the cosine is not.
        square = np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1) - 2.0 * (x @ y.T)
        near = square < 1e-4
        if near.any():
            row, column = np.nonzero(near)
            square[near] = np.sum((x[row] - y[column]) ** 2, axis=1)
        cost = 2.0 * np.arcsin(np.minimum(1.0, 0.5 * np.sqrt(np.maximum(square, 0.0))))
        w1 = _exact(ot, u, v, cost)
        w2 = np.sqrt(_exact(ot, u, v, cost**2))
        return Transport(w1, float(w2), "exact", 0.0, 0.0)
    values, errors = [], []
    for power in (1, 2):
        _, log = ot.sliced_wasserstein_sphere(
            x, y, u, v, n_projections=PROJECTIONS, p=power, seed=seed, log=True
        )
        projected = np.asarray(log["projected_emds"])
        mean = float(projected.mean())
        spread = float(projected.std() / np.sqrt(projected.size))
        values.append(mean ** (1 / power))
        errors.append(spread / power * mean ** (1 / power - 1) if mean > 0 else 0.0)
    return Transport(values[0], values[1], "sliced", errors[0], errors[1])


def _distinct(points: Real, weights: Real) -> tuple[Real, Real]:
    """Points of positive weight, with weights of sum 1 in float64."""
    kept = weights > 0
    weights = np.asarray(weights[kept], dtype=np.float64)
    return np.ascontiguousarray(points[kept]), weights / weights.sum()


def _exact(ot: Any, u: Real, v: Real, cost: Real) -> float:
    _, log = ot.lp.emd(u, v, cost, numItermax=MOST_ITERATIONS, log=True)
    if log["warning"]:
        raise ResolutionError(
            f"the optimal transport of {len(u)} and {len(v)} points did not converge "
            f"({log['warning']}); use fewer points"
        )
    return float(log["cost"])
