"""What a run says of the head law it was given: how right it is, and where it is not the one meant.

The law of infinitely many heads is carried by cells and integrated by nodes, both with an error of
which the steps of the run know nothing. At every saved time it is estimated, the law by itself and
the nodes by a finer rule at a few points of the field.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from ..attention import (
    LaplaceTransform,
    quadrature_error,
    remedy,
    transform_of_coefficients,
    transform_of_points,
)
from ..errors import SphereflowError
from ..heads import HeadLaw
from ..output.variables import Record
from ..problem import TransformerPDE
from ..sphere import real_to_complex

__all__ = ["law_conclusion", "law_variables"]

Real = NDArray[np.float64]

ACCURACY = 1e-10  # of the transform
MOST_TOKENS = 500
# Eight directions without a symmetry, at which quadratures are compared.
_DIRECTIONS = np.random.default_rng(8).standard_normal((3, 8))
_DIRECTIONS /= np.linalg.norm(_DIRECTIONS, axis=0)


def law_variables(problem: TransformerPDE, t: float, record: Record) -> dict[str, float]:
    """`head_law_error` and `head_boundary_density` beside a record, for a law that has them."""
    law = problem.heads
    if law is None:
        return {}
    found = {}
    finer = law.refined(t)
    if finer is not None:
        found["head_law_error"] = law.error(t) + _nodes_error(problem, finer, t, record)
    boundary = law.boundary(t)
    if boundary is not None:
        found["head_boundary_density"] = float(boundary)
    return found


def _nodes_error(problem: TransformerPDE, finer_law: HeadLaw, t: float, record: Record) -> float:
    """Error of the nodes for the measure of a record; infinite if it cannot be told."""
    assert problem.heads is not None
    try:
        transform, x = _measure(record)
        nodes, finer = problem.heads.nodes(t), finer_law.nodes(t)
        softmax = problem.attention == "softmax"
        with np.errstate(all="ignore"):
            error = quadrature_error(transform, nodes, finer, x, softmax=softmax)
    except SphereflowError:
        return np.inf
    return error if np.isfinite(error) else np.inf


def _measure(record: Record) -> tuple[LaplaceTransform, Real]:
    """The measure of a record, of its first path, and points to compare at.

    The moments that a record holds, or some hundreds of its tokens, are enough for an estimate.
    """
    if "position" in record and "log_density" not in record:
        points = np.asarray(record["position"], dtype=np.float64)
        points = points.reshape(-1, *points.shape[-2:])[0]
        points = np.ascontiguousarray(points[:: max(1, -(-len(points) // MOST_TOKENS))])
        weights = np.full(len(points), 1.0 / len(points))
        return transform_of_points(points, weights, ACCURACY), _DIRECTIONS
    name = "spectrum" if "spectrum" in record else "spectrum_mean"
    spectrum = np.asarray(record[name], dtype=np.float64)
    spectrum = spectrum.reshape(-1, spectrum.shape[-1])[0]
    return transform_of_coefficients(real_to_complex(spectrum), ACCURACY), _DIRECTIONS


def law_conclusion(problem: TransformerPDE, rtol: float, worst: float, t: float) -> list[str]:
    """What the run has to say of its head law at the end, announced by a warning too."""
    law = problem.heads
    if law is None:
        return []
    notices = []
    if worst > rtol:
        notices.append(
            f"averages over the law of the heads may be off by {worst:.1g} of their size, beyond "
            f"rtol = {rtol:g} (head_law_error); {remedy(law, t)}"
        )
    notices += law.notices(t)
    for notice in notices:
        warnings.warn(notice, stacklevel=5)
    return notices
