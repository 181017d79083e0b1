"""A path of a run at one time, with what a comparison wants of it, each computed once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..attention import attention_field
from ..checks import finite_array, held
from ..errors import InputError, SphereflowError
from ..heads import FixedHeads, GaussianHeads, HeadLaw, law_class_of, law_of
from ..output.reading import on_whole_grid, section_of
from ..sphere import PointTransform, SphereGrid, complex_to_real, lmax_of, real_to_complex
from . import find_clusters, weighted_points
from .clusters import Measure
from .distances import sobolev_weights, tail_bound
from .transport import Cloud

if TYPE_CHECKING:
    import xarray

__all__ = ["Instant", "meeting_grid"]

Real = NDArray[np.float64]

GRID_DEGREE = 31  # of the grid on which densities and mobilities of different runs meet
POINT_SPREAD = 4.0  # of the mean square size of the disc of the area that a point stands for
MOST_MISSED = 0.01  # of the mass
NODE_NOISE = 1e-4  # amplitudes of spectra that may be quadrature errors of nodes or cells
TENDENCY_DEGREE = 15  # to which the scatter of the heads' tendencies is summed
SCATTERED_HEADS = 24  # whose tendencies are computed


@lru_cache(maxsize=2)
def meeting_grid(degree: int = GRID_DEGREE) -> SphereGrid:
    """The grid on which densities and mobilities of different runs meet."""
    return SphereGrid(degree, engine="ducc0")


@lru_cache(maxsize=4)
def _rebuilt(config: str) -> HeadLaw | None:
    """The law of a configuration; None if it names functions of a user."""
    try:
        return law_of(json.loads(config))
    except SphereflowError:
        return None


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

    dataset: xarray.Dataset
    sampled: bool

    @cached_property
    def _measure(self) -> Measure | None:
        names = ("position", "log_density", "density", "lat", "lon")
        more = ("face_lon", "face_lat", "face_area", "token_weight")
        known = {
            name: self.dataset[name].values for name in (*names, *more) if name in self.dataset
        }
        try:
            return weighted_points(known)
        except InputError:  # of a region: the spectrum is that of the whole
            return None

    @property
    def points(self) -> tuple[Real, Real] | None:
        """The measure as weighted points, as it was carried."""
        return None if self._measure is None else (self._measure.points, self._measure.weights)

    @cached_property
    def cloud(self) -> tuple[Cloud, float] | None:
        """The measure by points, and a share of the mass of which they may miss the place.

        None if the points miss more than `MOST_MISSED`.
        """
        found = self._measure
        if found is None:
            return None
        if self.sampled:
            return Cloud.of(found.points, found.weights), 0.0
        if found.areas is None:
            return None
        grid = self._saved_grid("density")
        missed = 0.0
        if grid is not None:
            missed = abs(grid.integrate(self.dataset["density"].values) - 1.0)
        # A square is wider than the disc of its area, and what a grid does not resolve may lie
        # beside its point as far as the next one.
        spread = POINT_SPREAD * found.areas / (2 * np.pi)
        return (
            (Cloud.of(found.points, found.weights, spread), missed)
            if missed < MOST_MISSED
            else None
        )

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

    @property
    def by_quadrature(self) -> bool:
        """Whether nodes or cells carry the measure, so that its spectrum has their errors."""
        return "log_density" in self.dataset or "face" in self.dataset.dims

    @cached_property
    def series(self) -> tuple[NDArray[np.complex128], float]:
        """The longest series that the run holds of the density, and a bound of what it leaves.

        The bound is of the L2 norm, infinite where the series does not decay.
        """
        known = [self.coefficients]
        final = self.dataset.get("final_spectrum")
        if final is not None and final.attrs.get("time") == float(self.dataset["time"]):
            known.append(real_to_complex(final.values))
        grid = self._saved_grid("density")
        if grid is not None and grid.lmax > lmax_of(self.coefficients):
            known.append(grid.analysis(self.dataset["density"].values))
        bounds = [tail_bound(one, NODE_NOISE if self.by_quadrature else 0.0) for one in known]
        best = int(np.argmin(bounds))
        return known[best], bounds[best]

    def _saved_grid(self, name: str) -> SphereGrid | None:
        """The whole Gauss grid on which a variable was saved; None if it is not."""
        variable = self.dataset.get(name)
        if variable is None or variable.dims != ("lat", "lon"):
            return None
        rings, columns = self.dataset["lat"].values, self.dataset["lon"].values
        whole = columns.size == 2 * rings.size and on_whole_grid(rings, columns)
        if not whole or not np.isfinite(variable.values).all():
            return None
        return SphereGrid(rings.size - 1, nlat=rings.size, engine="ducc0")

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
        """b on the meeting grid, of the heads of the run, or resampled as it was saved.

        None without heads, or with a spectrum too short for their logits.
        """
        grid, heads = meeting_grid(), self._heads
        if heads is None:
            return self._saved_mobility
        try:
            attention = str(section_of(self.dataset.attrs, "problem").get("attention", "softmax"))
            t = float(self.dataset["time"])
            field = attention_field(self.dataset, heads, t, attention=attention)
            return field.effective_mobility(grid.points.reshape(-1, 3)).reshape(grid.shape)
        except SphereflowError:
            return None

    @property
    def _heads(self) -> HeadLaw | None:
        """The law of the heads: as it was saved, or rebuilt from the configuration of the run."""
        if self._finite_heads is not None:
            return self._finite_heads
        config = section_of(self.dataset.attrs, "heads")
        law = law_class_of(config)
        if law is not None and law.gaussian and "head_mean" in self.dataset:
            mean = finite_array(self.dataset["head_mean"].values, "head_mean")
            covariance = finite_array(self.dataset["head_covariance"].values, "head_covariance")
            count = config.get("quadrature")
            return GaussianHeads(mean, covariance, count if isinstance(count, int) else None)
        return _rebuilt(json.dumps(config)) if config else None

    @cached_property
    def _saved_mobility(self) -> Real | None:
        saved = self._saved_grid("effective_mobility")
        if saved is None:
            return None
        values = saved.analysis(self.dataset["effective_mobility"].values)
        return meeting_grid().synthesis(meeting_grid().resized(values))

    @cached_property
    def head_scatter(self) -> float:
        """Rate of the Sobolev error that the draws of finitely many heads bring in.

        The density changes at the rate −div(μ v̄); its part of each head, T_h, scatters about
        their mean, whose variance is Var T · Σ_h w_h² in every harmonic. NaN where the heads are
        not known or v̄ is no mean over the heads.
        """
        heads = self._finite_heads
        problem = section_of(self.dataset.attrs, "problem")
        if heads is None or problem.get("velocity", "attention") != "attention":
            return np.nan
        some = min(SCATTERED_HEADS, held(heads.weights).size)
        if some < 2:
            return np.nan
        grid = meeting_grid(TENDENCY_DEGREE + 1)
        if self.sampled and self.points is not None:
            points, weights = self.points
        else:
            density = grid.synthesis(grid.resized(self.coefficients))
            points, weights = grid.points.reshape(-1, 3), (density * grid.weights).ravel()
        at = PointTransform(points)
        attention = str(problem.get("attention", "softmax"))
        drawn = FixedHeads(held(heads.logits)[:some], held(heads.values)[:some])
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
        return float(np.sqrt(variance * np.sum(held(heads.weights) ** 2)))
