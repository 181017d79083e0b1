"""A path of a run at one time, with what a comparison wants of it, each computed once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .attention import attention_field
from .checks import finite_array
from .diagnostics import find_clusters, weighted_points
from .diagnostics.distances import sobolev_weights
from .errors import SphereflowError
from .heads import FixedHeads, GaussianHeads
from .projection import is_resolved
from .sphere import PointTransform, SphereGrid, complex_to_real, lmax_of, real_to_complex

__all__ = ["BETWEEN_DENSITIES", "Instant", "configuration", "meeting_grid"]

Real = NDArray[np.float64]

GRID_DEGREE = 31  # of the grid on which densities and mobilities of different runs meet
BETWEEN_DENSITIES = 1500  # points at most by which each of two densities is transported
TENDENCY_DEGREE = 15  # to which the scatter of the heads' tendencies is summed
SCATTERED_HEADS = 24  # whose tendencies are computed


@lru_cache(maxsize=2)
def meeting_grid(degree: int = GRID_DEGREE) -> SphereGrid:
    """The grid on which densities and mobilities of different runs meet."""
    return SphereGrid(degree, engine="ducc0")


def configuration(run: Any, part: str) -> dict[str, Any]:
    """One table of the configuration of a run, empty if there is none."""
    try:
        whole = json.loads(run.attrs.get("experiment", "{}"))
    except (TypeError, ValueError, RecursionError):  # of another program
        return {}
    found = whole.get(part) if isinstance(whole, dict) else None
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, eq=False)
class Instant:
    """One path of a run at one time.

    Parameters
    ----------
    dataset : xarray.Dataset
        Of one time and one path.
    sampled : bool
        Whether its tokens are random draws.
    """

    dataset: Any
    sampled: bool

    @cached_property
    def points(self) -> tuple[Real, Real] | None:
        """The measure as weighted points, as it was carried."""
        names = ("position", "log_density", "density", "lat", "lon")
        more = ("face_lon", "face_lat", "face_area", "token_weight")
        known = {
            name: self.dataset[name].values for name in (*names, *more) if name in self.dataset
        }
        found = weighted_points(known)
        return None if found is None else (found.points, found.weights)

    @cached_property
    def clusters(self) -> float:
        """Number of clusters."""
        if self.points is None:
            return np.nan
        return float(find_clusters(*self.points, sampled=self.sampled).mass.size)

    @cached_property
    def coefficients(self) -> NDArray[np.complex128]:
        """Complex coefficients of the density, to the degree of `spectrum`."""
        return real_to_complex(self.dataset["spectrum"].values)

    @cached_property
    def by_spectrum(self) -> tuple[Real, Real] | None:
        """Grid points with the mass that the spectrum gives them; None if not resolved."""
        rings = int(np.sqrt(BETWEEN_DENSITIES / 2))
        grid = SphereGrid(min(rings - 1, lmax_of(self.coefficients)), nlat=rings, engine="ducc0")
        values = grid.synthesis(grid.resized(self.coefficients))
        if not is_resolved(values):
            return None
        mass = np.maximum(values * grid.weights, 0.0).ravel()
        return grid.points.reshape(-1, 3), mass / mass.sum()

    @cached_property
    def density(self) -> Real:
        """Density on the meeting grid."""
        return meeting_grid().synthesis(meeting_grid().resized(self.coefficients))

    @cached_property
    def _finite_heads(self) -> FixedHeads | None:
        names = ("head_logits", "head_values", "head_weight")
        if any(name not in self.dataset for name in names):
            return None
        return FixedHeads(*(finite_array(self.dataset[name].values, name) for name in names))

    @cached_property
    def mobility(self) -> Real | None:
        """b on the meeting grid, of finite heads or a Gaussian law, or resampled as it was saved.

        None without heads, or with a spectrum too short for their logits.
        """
        heads: FixedHeads | GaussianHeads | None = self._finite_heads
        law = configuration(self.dataset, "heads")
        if law.get("kind") in ("ornstein_uhlenbeck", "gaussian_heads"):
            mean = finite_array(self.dataset["head_mean"].values, "head_mean")
            covariance = finite_array(self.dataset["head_covariance"].values, "head_covariance")
            heads = GaussianHeads(mean, covariance, law.get("quadrature"))
        grid = meeting_grid()
        if heads is None:
            return self._saved_mobility
        try:
            attention = configuration(self.dataset, "problem").get("attention", "softmax")
            field = attention_field(self.dataset, heads, attention=attention)
            return field.effective_mobility(grid.points.reshape(-1, 3)).reshape(grid.shape)
        except SphereflowError:
            return None

    @cached_property
    def _saved_mobility(self) -> Real | None:
        if "effective_mobility" not in self.dataset or "lat" not in self.dataset.dims:
            return None
        rings = self.dataset.sizes["lat"]
        saved = SphereGrid(min(GRID_DEGREE, rings - 1), nlat=rings, engine="ducc0")
        values = self.dataset["effective_mobility"].values
        if values.shape != saved.shape or not np.isfinite(values).all():
            return None
        return meeting_grid().synthesis(meeting_grid().resized(saved.analysis(values)))

    @cached_property
    def head_scatter(self) -> float:
        """Rate of the Sobolev error that the draws of finitely many heads bring in.

        The density changes at the rate −div(μ v̄); its part of each head, T_h, scatters about
        their mean, whose variance is Var T · Σ_h w_h² in every harmonic. NaN where the heads are
        not known or v̄ is no mean over the heads.
        """
        heads = self._finite_heads
        problem = configuration(self.dataset, "problem")
        if heads is None or problem.get("velocity", "attention") != "attention":
            return np.nan
        some = min(SCATTERED_HEADS, heads.weights.size)
        if some < 2:
            return np.nan
        grid = meeting_grid(TENDENCY_DEGREE + 1)
        if self.sampled and self.points is not None:
            points, weights = self.points
        else:
            density = grid.synthesis(grid.resized(self.coefficients))
            points, weights = grid.points.reshape(-1, 3), (density * grid.weights).ravel()
        at = PointTransform(points)
        attention = problem.get("attention", "softmax")
        drawn = FixedHeads(heads.logits[:some], heads.values[:some])
        try:
            field = attention_field(self.dataset, drawn, attention=attention)
            velocities = field.velocity_of_heads(points)
        except SphereflowError:
            return np.nan
        tendencies = np.empty((some, (TENDENCY_DEGREE + 1) ** 2))
        for row in range(some):
            moments = at.moments(weights * velocities[:, row].T, grid.lmax)
            flux = np.stack([grid.synthesis(part) for part in moments], axis=-1)
            tendency = grid.divergence(grid.from_cartesian(flux))
            tendencies[row] = complex_to_real(tendency)[: tendencies.shape[1]]
        variance = sobolev_weights(TENDENCY_DEGREE) @ tendencies.var(axis=0, ddof=1)
        return float(np.sqrt(variance * np.sum(heads.weights**2)))
