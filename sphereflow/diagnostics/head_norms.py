"""Size of the head weights over time, which governs the stability of the flow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import finite_array, one_of, shown
from ..errors import InputError
from ..heads import HeadLaw, Heads, as_law
from ..output.reading import open_run

if TYPE_CHECKING:
    import xarray

__all__ = ["head_norm_integral"]

Real = NDArray[np.float64]

NORMS = ("frobenius", "spectral")


def head_norm_integral(
    source: HeadLaw | xarray.Dataset | str | os.PathLike[str],
    times: ArrayLike | None = None,
    *,
    norm: str = "frobenius",
) -> xarray.DataArray:
    """M_θ(t) = ∫₀ᵗ ∫ ‖D(θ)‖² dΘ_τ dτ, eq. (138).

    Parameters
    ----------
    source : head law, xarray.Dataset or path
        A law, integrated adaptively between the times; or a run, by Simpson's rule over the
        times that it saved, which must resolve the change of its heads.
    times : array_like, optional
        Increasing, from 0 or later; for a law only, the integral starts at 0.
    norm : {"frobenius", "spectral"}
        Of the logit matrix D; a Gaussian law has the Frobenius norm only.

    Returns
    -------
    xarray.DataArray
        Over `time` (and `path`), dimensionless.

    Raises
    ------
    InputError
        If the heads are not known or the norm is not.

    Notes
    -----
    In the estimate (137), W(t) ≤ C₁ W(0) exp(C₂ M_θ(t)), the constants depend on the time span
    and on the largest weights: for small D the growth rate is linear in D, not quadratic.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> sf.diagnostics.head_norm_integral(sf.FixedHeads(2 * np.eye(3)), [0.0, 1.0]).values.tolist()
    [0.0, 12.0]
    """
    import xarray

    one_of(norm, NORMS, "norm")
    about = {"long_name": "time integral of the mean squared norm of the logit matrices, (138)"}
    attributes = about | {"units": "1", "norm": norm}
    if hasattr(source, "nodes"):
        law = as_law(source)
        at = finite_array([] if times is None else times, "times")
        if at.ndim != 1 or not at.size or at[0] < 0 or (np.diff(at) <= 0).any():
            raise InputError(
                f"times must increase from 0 or later, got {shown(times)}; pass those at which "
                "the integral is wanted"
            )
        return xarray.DataArray(_of_law(law, at, norm), {"time": at}, ("time",), None, attributes)
    if times is not None:
        raise InputError("times go with a head law only, got them with a run; leave them out")
    run = open_run(source, "source")
    return _of_run(run, norm).assign_attrs(attributes)


def _of_law(law: HeadLaw, times: Real, norm: str) -> Real:
    from scipy.integrate import quad

    def rate(t: float) -> float:
        nodes = law.nodes(t)
        if isinstance(nodes, Heads):
            return float(nodes.weights @ _squares(nodes.logits, norm))
        known = nodes.record()
        if "head_mean" not in known:
            raise InputError("source must have a mean and a covariance; sample heads of the law")
        return float(_of_gaussian(known["head_mean"], known["head_covariance"], norm))

    starts = np.concatenate([[0.0], times[:-1]])
    pieces = [
        quad(rate, low, high, limit=200)[0] if high > low else 0.0
        for low, high in zip(starts, times, strict=True)
    ]
    return np.cumsum(pieces)


def _of_run(run: xarray.Dataset, norm: str) -> xarray.DataArray:
    from scipy.integrate import cumulative_simpson

    if "time" not in run.dims:
        raise InputError("source must be a run over time, got one time; pass what solve returned")
    if "head_logits" in run:
        order = (..., "time", "head", "row", "column")
        square = _squares(run["head_logits"].transpose(*order).values, norm)
        weights = run["head_weight"].transpose(..., "time", "head").values
        rates = np.sum(weights * square, axis=-1)
        like = run["head_weight"].isel(head=0, drop=True).transpose(..., "time")
    elif "head_mean" in run:
        rates = _of_gaussian(run["head_mean"].values, run["head_covariance"].values, norm)
        like = run["time"]
    else:
        raise InputError(
            "source must hold the heads, got a run without 'head_logits' and 'head_mean'; keep "
            "them with store='tokens', or pass the head law"
        )
    values = cumulative_simpson(rates, x=run["time"].values, axis=-1, initial=0.0)
    return like.copy(data=values).rename("head_norm_integral")


def _squares(logits: Real, norm: str) -> Real:
    if norm == "frobenius":
        squares: Real = np.sum(logits**2, axis=(-2, -1))
        return squares
    spectral: Real = np.linalg.norm(logits, ord=2, axis=(-2, -1)) ** 2
    return spectral


def _of_gaussian(mean: Real, covariance: Real, norm: str) -> Real:
    if norm != "frobenius":
        raise InputError(
            f"norm must be 'frobenius' for a Gaussian law, got {norm!r}, whose mean has no closed "
            "form; sample heads of the law"
        )
    squares: Real = np.sum(mean**2, axis=(-2, -1)) + np.trace(covariance, axis1=-2, axis2=-1)
    return squares
