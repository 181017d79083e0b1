"""The attention field as vector harmonics, with the budgets, for schemes that carry μ on a grid.

v̄ is smooth whatever the resolution of μ, so it is evaluated on a Gauss grid of its own whose
degree follows the decay of its spectrum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ..heads import HeadNodes, Heads, largest_argument
from ..sphere import SphereGrid, antipodal_grid, power_by_degree, resize
from .average import HeadSums, average_on_grid
from .energy import EnergyTerms, energy_terms, require_energies
from .field import velocity_of
from .measure import Source, accuracy_of_transform, transform_of_coefficients
from .specification import FieldSpecification

__all__ = ["FieldSample", "GridField", "GridFieldState", "vector_power"]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]
OnGrid = Annotated[Complex, "coefficient"]  # of the grid of one sample

LOWEST_DEGREE = 15
ROUND_OFF = 1e-13  # of a quantity relative to its usual size


@dataclass(frozen=True, eq=False, kw_only=True)
class FieldSample(EnergyTerms[float]):
    """v̄ and the energy terms at one time; `drift_rate` is added by the scheme that knows μ.

    spheroidal, toroidal : complex coefficients of v̄ = ∇S + ∇T × x
    inverse_mobility : complex coefficients of ∫ dΘ / m
    interaction : complex coefficients of ∫K dΘ
    unresolved : relative size of the last degrees of v̄ where its degree is capped, else 0
    radial : complex coefficients of the radial part of the attention average, if asked for
    heads : sums for each head, if asked for
    mobility, slope : complex coefficients of b and of ∇∫K dΘ, if asked for
    """

    t: float
    spheroidal: OnGrid
    toroidal: OnGrid
    inverse_mobility: OnGrid
    interaction: OnGrid
    unresolved: float
    radial: OnGrid | None = None
    heads: HeadSums | None = None
    mobility: OnGrid | None = None
    slope: tuple[OnGrid, OnGrid] | None = None


@dataclass
class GridFieldState:
    """What a `GridField` remembers of the evaluations before.

    degree : of v̄ at the next evaluation
    direct_fraction : of the arguments of the last sample, see LaplaceTransform
    """

    degree: int = 31
    evaluations: int = 0
    direct_fraction: float = 0.0


class GridField:
    """Evaluates the field of a density given by coefficients.

    Parameters
    ----------
    specification : FieldSpecification
        Its drift is left to the scheme that knows μ.
    tolerance : float
        Relative accuracy asked of v̄.
    state : GridFieldState, optional
        Goes on from it, and changes it.
    """

    def __init__(
        self,
        specification: FieldSpecification,
        tolerance: float,
        state: GridFieldState | None = None,
    ) -> None:
        self.specification = specification
        self.tolerance = max(tolerance, 1e-13)
        self.now = state or GridFieldState()

    def __call__(self, t: float, coefficients: Complex, largest_degree: int) -> FieldSample:
        """Sample at time t of the density with these complex coefficients.

        `largest_degree` caps the degree of v̄; the cap is at least 31.
        """
        accuracy = accuracy_of_transform(self.tolerance, coefficients)
        transform = transform_of_coefficients(coefficients, accuracy)
        cap = max(31, largest_degree - (largest_degree + 1) % 2)
        source = Source(transform, partial(resize, coefficients))
        return self.evaluate(t, self.specification.heads.nodes(t), source, cap)

    def evaluate(
        self,
        t: float,
        nodes: HeadNodes,
        source: Source,
        cap: int,
        *,
        radial: bool = False,
        head_sums: bool = False,
        curvatures: bool = False,
        mobility: bool = False,
    ) -> FieldSample:
        """Sample for a measure.

        `cap`, an odd number, is the highest degree of v̄; with `head_sums` the sample has the
        slopes, with `curvatures` also the curvatures of each of a finite number of heads; with
        `mobility` the degree has to resolve b as well.

        Raises
        ------
        InputError
            If logits exceed 700.
        """
        require_energies(largest_argument(nodes), t)
        now, of = self.now, self.specification
        now.degree = min(now.degree, cap)
        while True:
            grid = antipodal_grid(now.degree)
            density = grid.synthesis(source.moments(now.degree))
            mass = (density * grid.weights).ravel()
            heads = None
            if head_sums:
                count = nodes.weights.size
                bends = np.zeros((count, 3, 3, 3, 3)) if curvatures else None
                heads = HeadSums(mass, np.zeros((count, 3, 3)), bends)
            averages = average_on_grid(
                source.transform, nodes, grid, softmax=of.softmax, radial=radial, heads=heads
            )
            v = velocity_of(averages, of.velocity)
            now.evaluations += 1
            spheroidal, toroidal = _vector_spectrum(grid, v)
            interaction = grid.analysis(averages.interaction.reshape(grid.shape))
            parts = [
                (vector_power(spheroidal, toroidal), ROUND_OFF * _velocity_scale(nodes)),
                _gradient_power(interaction),
            ]
            if mobility:
                effective = grid.analysis((1.0 / averages.inverse_mobility).reshape(grid.shape))
                parts.append(_gradient_power(effective))
            needs = [_needed_degree(self.tolerance, power, floor) for power, floor in parts]
            needed = max(needs)
            if needed < now.degree - 1 or now.degree == cap:
                break
            now.degree = min(cap, 2 * ((3 * now.degree) // 4) + 9)
        unresolved = 0.0
        for (power, _), need in zip(parts, needs, strict=True):
            if need >= now.degree - 1:
                unresolved = max(unresolved, float(np.sqrt(power[-3:].max() / power.max())))
        now.direct_fraction = source.transform.direct_count / max(1, source.transform.count)
        degree = now.degree
        now.degree = max(LOWEST_DEGREE, min(degree, 2 * ((needed + 4) // 2) + 1))

        gradient, inverse = averages.interaction_gradient, averages.inverse_mobility

        def total(values: Real) -> float:
            return float(mass @ values)

        diffusion_rate = 0.0
        if of.diffusion > 0.0:
            laplacian = grid.synthesis(grid.laplacian(source.moments(degree)))
            weighted = (laplacian * grid.weights).ravel()
            diffusion_rate = of.diffusion * float(weighted @ averages.interaction)
        return FieldSample(
            t=t,
            spheroidal=spheroidal,
            toroidal=toroidal,
            **energy_terms(total, averages.interaction, gradient, v, inverse_mobility=inverse),
            energy_rate_heads=0.5 * total(averages.interaction_rate),
            drift_rate=0.0,
            diffusion_rate=diffusion_rate,
            inverse_mobility=grid.analysis(inverse.reshape(grid.shape)),
            interaction=interaction,
            unresolved=unresolved,
            radial=grid.analysis(averages.radial.reshape(grid.shape)) if radial else None,
            heads=heads,
            mobility=effective if mobility else None,
            slope=_vector_spectrum(grid, gradient) if mobility else None,
        )


def _vector_spectrum(grid: SphereGrid, vectors: Real) -> tuple[Complex, Complex]:
    """Spheroidal and toroidal coefficients of tangent vectors (3, n) on the grid."""
    theta, phi = grid.southward_eastward(vectors.T.reshape(*grid.shape, 3))
    spheroidal = np.empty(grid.size, dtype=np.complex128)
    toroidal = np.empty(grid.size, dtype=np.complex128)
    grid.engine.vector_analysis(theta, phi, spheroidal, toroidal)
    return spheroidal, toroidal


def vector_power(spheroidal: Complex, toroidal: Complex) -> Real:
    """Sum over the orders of the squared amplitudes of ∇S + ∇T × x, for each degree."""
    power = power_by_degree(spheroidal) + power_by_degree(toroidal)
    degrees = np.arange(power.size)
    return degrees * (degrees + 1) * power


def _velocity_scale(nodes: HeadNodes) -> float:
    """Size that v̄ has but for those μ where it nearly vanishes."""
    if isinstance(nodes, Heads):
        return float(nodes.weights @ np.linalg.norm(nodes.values, axis=(1, 2)))
    return largest_argument(nodes)


def _gradient_power(coefficients: Complex) -> tuple[Real, float]:
    """Power of the gradient in each degree, in units of the largest, and round-off of its norm."""
    size = np.abs(coefficients).max(initial=0.0)
    # Squares of e^|D| leave the range of a double.
    power = power_by_degree(coefficients / size if size > 0.0 else coefficients)
    degrees = np.arange(power.size)
    # That of a constant alone, in all degrees, must not count as a gradient.
    growth = max(1.0, (power.size / 16.0) ** 2)
    return degrees * (degrees + 1) * power, ROUND_OFF * growth * float(np.sqrt(power.sum()))


def _needed_degree(tolerance: float, power: Real, floor: float) -> int:
    """Smallest degree beyond which less than `tolerance` of the norm, or than `floor`, is left."""
    rest = np.sqrt(np.cumsum(power[::-1])[::-1])
    small = rest <= tolerance * rest[0] + floor
    return int(small.argmax()) if small.any() else power.size
