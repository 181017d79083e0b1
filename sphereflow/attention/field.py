"""The attention field of one measure and one head law, for users who want it without a run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import finite_array, finite_number, one_of, positive_number, weights_of
from ..densities.base import as_density
from ..errors import InputError
from ..heads import HeadLaw, Heads, as_law, largest_argument
from ..output.reading import open_run
from ..sphere import real_to_complex, unit_vectors
from .average import Averages, average_at_points, tangential
from .energy import energy_terms, require_energies
from .head_accuracy import remedy, settled_law
from .measure import (
    transform_of_coefficients,
    transform_of_density,
    transform_of_points,
)
from .series_degrees import LARGEST_SERIES
from .transform import LaplaceTransform

if TYPE_CHECKING:
    import xarray

__all__ = ["AttentionField", "attention_field", "velocity_of"]

Real = NDArray[np.float64]

VELOCITIES = ("attention", "gradient")
ATTENTIONS = ("softmax", "unnormalised")
ANNOUNCED = 1e-5  # relative error of averages over the head law


def velocity_of(averages: Averages, velocity: str) -> Real:
    """The attention velocity v̄, or the steepest descent b⁻¹ ∫∇K dΘ, shape (3, n)."""
    if velocity == "attention":
        return averages.attention
    return averages.inverse_mobility * averages.interaction_gradient


def _columns(points: ArrayLike) -> Real:
    """At least one unit vector, shape (3, n)."""
    vectors = unit_vectors(points)
    if not len(vectors):
        raise InputError("points must be at least one unit vector, got none; pass some")
    return np.ascontiguousarray(vectors.T)


class AttentionField:
    """Velocity, mobility and energy of a measure μ under a head law Θ; see `attention_field`."""

    def __init__(
        self, transform: LaplaceTransform, heads: HeadLaw, t: float, velocity: str, attention: str
    ) -> None:
        self._transform = transform
        self._heads, self._t = heads, t
        self._nodes = heads.nodes(t)
        self._announced = False
        self._velocity = one_of(velocity, VELOCITIES, "velocity")
        self._softmax = one_of(attention, ATTENTIONS, "attention") == "softmax"

    def _averages(self, points: ArrayLike) -> Averages:
        x = _columns(points)
        if self._velocity != "attention" or not self._softmax:
            require_energies(largest_argument(self._nodes), self._t)
        self._settle(x)
        return average_at_points(self._transform, self._nodes, x, softmax=self._softmax)

    def _settle(self, x: Real) -> None:
        """See that the nodes are right at these points, or say by how much they are not."""
        error = self._heads.error(self._t)
        law, missed = settled_law(self._transform, self._heads, self._t, x, softmax=self._softmax)
        error += missed
        if law is not self._heads:
            self._heads, self._nodes = law, law.nodes(self._t)
        if not error <= ANNOUNCED and not self._announced:
            self._announced = True
            warnings.warn(
                f"averages over the law of the heads at t = {self._t:g} may be off by "
                f"{error:.1g} of their size; {remedy(self._heads, self._t)}",
                stacklevel=4,
            )

    def velocity(self, points: ArrayLike) -> Real:
        """v̄ at unit vectors of shape (n, 3): tangent vectors of shape (n, 3)."""
        return velocity_of(self._averages(points), self._velocity).T

    def velocity_of_heads(self, points: ArrayLike) -> Real:
        """V[μ](x; θ) of each of a finite number of heads, shape (n, H, 3).

        Raises
        ------
        InputError
            If the law is no finite number of heads.
        """
        if not isinstance(self._nodes, Heads):
            raise InputError(
                f"heads must be finitely many, got {type(self._nodes).__name__}; sample them"
            )
        x = _columns(points)
        count = self._nodes.weights.size
        found = self._transform(self._nodes.arguments(x, slice(0, count)).reshape(3, -1))
        mean = found.gradient * (1.0 / found.value if self._softmax else np.exp(found.radius))
        vectors = np.einsum("hab,bhn->han", self._nodes.values, mean.reshape(3, count, -1))
        return np.moveaxis(tangential(x, vectors), 2, 0)

    def mobility(self, points: ArrayLike) -> Real:
        """m_μ(x, θ) = L[μ](Dᵀx) for each head or node of Θ, shape (n, H).

        With unnormalised attention the mobility is 1.
        """
        x = _columns(points)
        count = self._nodes.weights.size
        if not self._softmax:
            return np.ones((x.shape[1], count))
        values = self._transform(self._nodes.arguments(x, slice(0, count)).reshape(3, -1))
        with np.errstate(over="ignore"):
            return (np.exp(values.radius) * values.value).reshape(count, -1).T

    def effective_mobility(self, points: ArrayLike) -> Real:
        """b_μ(x) = (∫ dΘ / m)⁻¹, the harmonic mean (37), shape (n,)."""
        return 1.0 / self._averages(points).inverse_mobility

    @cached_property
    def _on_measure(self) -> tuple[Real, Averages]:
        """Weights of a discrete form of μ and the averages at its nodes."""
        positions, log_weights = self._transform.nodes_for(largest_argument(self._nodes))
        weights = np.exp(log_weights)
        keep = weights > 1e-18 * weights.max()
        return weights[keep] / weights[keep].sum(), self._averages(positions[keep])

    @cached_property
    def _terms(self) -> dict[str, float]:
        require_energies(largest_argument(self._nodes), self._t)
        weights, averages = self._on_measure
        gradient, inverse = averages.interaction_gradient, averages.inverse_mobility
        velocity = velocity_of(averages, self._velocity)

        def total(values: Real) -> float:
            return float(weights @ values)

        return energy_terms(
            total, averages.interaction, gradient, velocity, inverse_mobility=inverse
        )

    def energy(self) -> float:
        """E = ½ ∫∫ m dμ dΘ, eq. (21)."""
        return self._terms["energy"]

    def energy_rate(self) -> float:
        """∂_tE: the rate of E by the change of Θ_t alone, at fixed μ."""
        require_energies(largest_argument(self._nodes), self._t)
        weights, averages = self._on_measure
        return float(0.5 * weights @ averages.interaction_rate)

    def slope_squared(self) -> float:
        """G² = ∫ b |v̄|² dμ, eq. (113)."""
        return self._terms["slope_squared"]

    def dissipation(self) -> float:
        """R = ∫ ⟨∫∇K dΘ, v̄⟩ dμ, the exact rate at which transport changes E.

        It equals `slope_squared` for one head, and not in general for several.
        """
        return self._terms["dissipation"]


def attention_field(
    source: ArrayLike | xarray.Dataset | Callable[[Real], ArrayLike],
    heads: HeadLaw,
    t: float = 0.0,
    *,
    weights: ArrayLike | None = None,
    velocity: str = "attention",
    attention: str = "softmax",
    tolerance: float = 1e-13,
) -> AttentionField:
    """The attention field of a density, of a run, or of weighted points.

    Parameters
    ----------
    source : density, xarray.Dataset or array_like of shape (n, 3)
        A callable density; a dataset of a run, of which the saved time nearest to `t` is
        taken; or unit vectors.
    heads : head law
        Its quadrature at time `t` is used, with as many nodes as averages to 1e-6 need where their
        number is left open. A warning tells of an estimated error above 1e-5.
    t : float
    weights : array_like, shape (n,), optional
        Weights of the points; equal if left out.
    velocity : {"attention", "gradient"}
    attention : {"softmax", "unnormalised"}
    tolerance : float
        Relative accuracy of L and ∇L.

    Returns
    -------
    AttentionField
        With methods velocity, mobility, effective_mobility, energy, energy_rate,
        slope_squared and dissipation.

    Raises
    ------
    InputError
        On unusable points, weights, densities or options.
    ResolutionError
        Later, if the `spectrum` of a dataset ends below the degree that the logits need.

    Examples
    --------
    For one head the velocity is the gradient of log m, so b·v̄ is the gradient of m.

    >>> import numpy as np, sphereflow as sf
    >>> density = sf.VonMisesFisher(mean=[0, 0, 1], concentration=4.0)
    >>> field = sf.attention_field(density, sf.FixedHeads(np.eye(3)))
    >>> bool(np.isclose(field.slope_squared(), field.dissipation(), rtol=1e-12))
    True
    """
    heads = as_law(heads)
    tolerance = positive_number(tolerance, "tolerance")
    if not 1e-16 <= tolerance <= 1e-2:
        raise InputError(
            f"tolerance must lie between 1e-16 and 0.01, got {tolerance:g}; 1e-13 is the default"
        )
    t = finite_number(t, "t")
    if weights is not None and (callable(source) or hasattr(source, "data_vars")):
        raise InputError("weights go with points only, got them with a density; leave them out")
    if hasattr(source, "data_vars"):
        transform = _transform_of_dataset(cast("xarray.Dataset", source), t, tolerance)
    elif callable(source):
        density = as_density(source)
        error = density.error_of_moments(LARGEST_SERIES)
        if error > tolerance:
            warnings.warn(
                f"the density is a function that no series to degree 1023 resolves; its moments, "
                f"and with them the field, are known to {error:.0e} of their size",
                stacklevel=2,
            )
        transform = transform_of_density(density, tolerance)
    else:
        points = unit_vectors(finite_array(source, "points"))
        if not len(points):
            raise InputError("points must be at least one unit vector, got none; pass some")
        transform = transform_of_points(
            points, weights_of(weights, len(points), "weights"), tolerance
        )
    return AttentionField(transform, heads, t, velocity, attention)


def _transform_of_dataset(dataset: xarray.Dataset, t: float, tolerance: float) -> LaplaceTransform:
    if "time" in dataset.coords:
        dataset = open_run(dataset, "source", in_order=False)
    now = dataset
    if "time" in dataset.dims:
        distance = np.abs(finite_array(dataset["time"].values, "time") - t)
        if not distance.size:
            raise InputError("a dataset must have at least one time, got none; pass a run")
        now = dataset.isel(time=int(np.argmin(distance)))
    if "position" in now:
        points = unit_vectors(now["position"].values)
        own = now["token_weight"].values if "token_weight" in now else None
        return transform_of_points(points, weights_of(own, len(points), "weights"), tolerance)
    if "spectrum" in now:
        coefficients = real_to_complex(finite_array(now["spectrum"].values, "spectrum"))
        return transform_of_coefficients(coefficients, tolerance, truncated=True)
    raise InputError(
        f"a dataset must hold 'position' or 'spectrum', got {sorted(map(str, dataset.data_vars))}; "
        "pass a dataset written by sphereflow"
    )
