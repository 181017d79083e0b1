"""The attention field at the tokens of several independent paths, with the energy terms.

Two routes give it: direct sums over all pairs, and the harmonic one, in which moments of the
tokens give the field on a small grid, and its vector harmonics give the velocity at the tokens,
at a cost that is linear in their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..heads import HeadNodes, Heads, largest_argument
from ..sphere import PointTransform, power_by_degree, resize
from .average import PACKED, average_at_points, tangential
from .energy import EnergyTerms, energy_terms
from .grid_field import GridField, GridFieldState, vector_power
from .measure import KeptMoments, Source, transform_of_points
from .specification import FieldSpecification
from .transform import LARGEST_ARGUMENT

__all__ = ["TokenField", "TokenFieldState", "TokenSample"]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]
Vectors = Annotated[Real, "path 3 token"]

TOLERANCE = 1e-11  # of the harmonic route, relative to the largest velocity
LARGEST_DEGREE = 127  # of v̄ in the harmonic route
LARGEST_NORM = 10.0  # of a field over the sphere, relative to its scale at the tokens
RETRY_AFTER = 25  # evaluations after which a route that was given up is tried again
# Seconds, for the choice between the two routes only: per pair and head; per evaluation, per
# token and per head of the harmonic route.
PAIR_COST, START_COST, TOKEN_COST, HEAD_COST = 1.2e-9, 6e-3, 4e-7, 8e-4


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenSample(EnergyTerms[Real]):
    """Velocity and energy terms of P paths of n tokens at one time.

    Of noisy heads `energy_rate_heads` is 0, and `diffusion_rate` is left to the scheme.

    step_direction : (P, 3, n)  a of the projected Euler step Π(x + s a dt): the attention average
        before projection, or the tangent velocity for velocity="gradient"
    velocity : (P, 3, n)  tangent
    slopes : (P, H, 3, 3)  ∫ x ∇L(D_hᵀx)ᵀ dμ, None for a Gaussian law
    curvatures : (P, H, 3, 3, 3, 3)  ∫ x_a x_b ∂_c∂_d L(D_hᵀx) dμ, if asked for
    gradient : (P, 3, n)  ∇∫K dΘ at the tokens
    """

    step_direction: Vectors
    velocity: Vectors
    slopes: Annotated[Real, "path head 3 3"] | None
    curvatures: Annotated[Real, "path head 3 3 3 3"] | None
    gradient: Vectors


@dataclass
class TokenFieldState:
    """What a `TokenField` remembers of the evaluations before, by the numbers of the paths.

    fields : of the harmonic route
    given_up : evaluations before the harmonic route is tried again
    """

    direct_evaluations: int = 0
    harmonic_evaluations: int = 0
    fields: dict[int, GridFieldState] = field(default_factory=dict)
    given_up: dict[int, int] = field(default_factory=dict)


class TokenField:
    """Evaluates the field of weighted tokens at these tokens.

    Parameters
    ----------
    specification : FieldSpecification
    weights : ndarray, shape (n,)
        Of sum 1.
    summation : {"auto", "direct", "harmonic"}
        The harmonic route goes over to direct sums where it would lose accuracy.
    threads : int
    state : TokenFieldState, optional
        Goes on from it, and changes it.
    """

    def __init__(
        self,
        specification: FieldSpecification,
        weights: Real,
        summation: str,
        threads: int,
        state: TokenFieldState | None = None,
    ) -> None:
        self.specification = specification
        self.weights = np.ascontiguousarray(weights)
        self.summation = summation
        self.threads = threads
        self.now = state or TokenFieldState()
        self._grid_fields: dict[int, GridField] = {}

    @property
    def route(self) -> str:
        """Which summation has been used so far."""
        if not self.now.harmonic_evaluations:
            return "direct"
        return "mixed" if self.now.direct_evaluations else "harmonic"

    def __call__(
        self,
        t: float,
        positions: Real,
        nodes: Sequence[HeadNodes],
        paths: Sequence[int],
        *,
        curvatures: bool = False,
    ) -> TokenSample:
        """Sample of P paths; positions of shape (P, 3, n), one quadrature of Θ_t for each path.

        `paths` are their numbers: the choice of the route is remembered for each of them.

        Raises
        ------
        InputError
            If logits exceed 340.
        """
        shared = all(one is nodes[0] for one in nodes)
        radii = [largest_argument(one) for one in (nodes[:1] if shared else nodes)]
        radii *= len(nodes) // len(radii)
        largest = float(np.max(radii))
        if not largest <= LARGEST_ARGUMENT:
            raise InputError(
                f"logits |Dᵀx| must be finite and at most {LARGEST_ARGUMENT:g}, got {largest:g} "
                f"at t = {t:g}; rescale the heads"
            )
        samples: list[TokenSample | None] = [None] * len(nodes)
        for row, (path, one) in enumerate(zip(paths, nodes, strict=True)):
            if self._prefers_harmonic(path, one):
                samples[row] = self._harmonic(t, path, positions[row], one, radii[row], curvatures)
        rest = [row for row, sample in enumerate(samples) if sample is None]
        if not rest:
            return _stacked([sample for sample in samples if sample is not None])
        self.now.direct_evaluations += len(rest)
        chosen = [nodes[row] for row in rest]
        finite = [one for one in chosen if isinstance(one, Heads)]
        if len(finite) == len(chosen):
            direct = self._direct(t, positions[rest], finite, curvatures)
        else:
            direct = _stacked(
                [self._by_points(t, positions[row], nodes[row], radii[row]) for row in rest]
            )
        if len(rest) == len(nodes):
            return direct
        for part, row in enumerate(rest):
            samples[row] = _row(direct, part)
        return _stacked([sample for sample in samples if sample is not None])

    # The choice

    def _prefers_harmonic(self, path: int, nodes: HeadNodes) -> bool:
        if self.summation == "direct":
            return False
        left = self.now.given_up.get(path, 0)
        if left > 0:
            self.now.given_up[path] = left - 1
            return False
        if self.summation == "harmonic":
            return True
        count, heads = self.weights.size, nodes.weights.size
        direct = PAIR_COST * heads * count**2
        return direct > START_COST + TOKEN_COST * count + HEAD_COST * heads

    # The harmonic route

    def _grid_field(self, path: int) -> GridField:
        """The field of a path, made when it is first asked for."""
        if path not in self._grid_fields:
            alone = replace(self.specification, drift=None, diffusion=0.0)
            state = self.now.fields.setdefault(path, GridFieldState())
            self._grid_fields[path] = GridField(alone, TOLERANCE, state)
        return self._grid_fields[path]

    def _harmonic(
        self,
        t: float,
        path: int,
        positions: Real,
        nodes: HeadNodes,
        radius: float,
        curvatures: bool,
    ) -> TokenSample | None:
        """The sample through a grid, or None where direct sums have to do it."""
        on_grid = self._grid_field(path)
        points = np.ascontiguousarray(positions.T)
        at = PointTransform(points, self.threads)
        moments = KeptMoments(partial(at.moments, self.weights), max(on_grid.now.degree + 8, 40))
        transform = transform_of_points(
            points, self.weights, TOLERANCE, radius=radius, moments=moments
        )
        by_attention = self.specification.velocity == "attention"
        sample = on_grid.evaluate(
            t,
            nodes,
            Source(transform, moments),
            LARGEST_DEGREE,
            radial=by_attention,
            head_sums=isinstance(nodes, Heads),
            curvatures=curvatures,
            mobility=True,
        )
        if sample.unresolved > 10 * TOLERANCE:
            self.now.given_up[path] = RETRY_AFTER
            return None
        assert sample.mobility is not None and sample.slope is not None
        degree = on_grid.now.degree
        parts = [resize(part, degree) for part in (sample.spheroidal, sample.toroidal)]
        slope = [resize(part, degree) for part in sample.slope]
        velocity = at.vector_synthesis(*parts).T
        gradient = at.vector_synthesis(*slope).T
        interaction = at.synthesis(resize(sample.interaction, degree))
        mobility = at.synthesis(resize(sample.mobility, degree))
        # Errors are relative to the norms over the sphere: these must not dwarf the tokens' values.
        large = [
            _norm(power_by_degree(sample.interaction)) > LARGEST_NORM * interaction.max(),
            _norm(power_by_degree(sample.mobility)) > LARGEST_NORM * mobility.max(),
            mobility.min() <= 0.0,
        ]
        if not (by_attention and self.specification.softmax):
            scale = radius * (interaction / mobility).max()
            large.append(_norm(vector_power(*parts)) > LARGEST_NORM * scale)
        if any(large):
            self.now.given_up[path] = RETRY_AFTER
            return None
        self.now.harmonic_evaluations += 1
        direction = velocity
        if sample.radial is not None:
            direction = velocity + positions * at.synthesis(resize(sample.radial, degree))
        sums = sample.heads
        bends = None if sums is None or sums.curvatures is None else sums.curvatures[None]
        return self._sample(
            t,
            positions[None],
            direction[None],
            velocity[None],
            interaction[None],
            gradient[None],
            mobility[None],
            np.array([sample.energy_rate_heads]),
            None if sums is None else sums.slopes[None],
            bends,
        )

    # Direct sums

    def _direct(
        self, t: float, positions: Real, nodes: Sequence[Heads], curvatures: bool
    ) -> TokenSample:
        symmetric = all(one.symmetric for one in nodes)
        sums = self._pair_sums(positions, nodes, curvatures)
        interaction, gradient = sums["interaction"], sums["gradient"]
        if not symmetric:
            turned = self._pair_sums(positions, [one.transposed() for one in nodes], False)
            interaction = 0.5 * (interaction + turned["interaction"])
            gradient = 0.5 * (gradient + turned["gradient"])
        rates = np.zeros(len(nodes))
        for row, one in enumerate(nodes):
            if one.logit_rates is not None:
                by_head = np.einsum("hij,hij->h", sums["slopes"][row], one.logit_rates)
                rates[row] = 0.5 * float(np.sum(one.weights * by_head))
        inverse = sums["inverse"] if self.specification.softmax else np.ones_like(interaction)
        gradient = tangential(positions, gradient)
        direction, velocity = sums["attention"], tangential(positions, sums["attention"])
        if self.specification.velocity == "gradient":
            direction = velocity = inverse[:, None, :] * gradient
        slopes, curved = sums["slopes"], sums.get("curvatures")
        return self._sample(
            t,
            positions,
            direction,
            velocity,
            interaction,
            gradient,
            1.0 / inverse,
            rates,
            slopes,
            curved,
        )

    def _pair_sums(
        self, positions: Real, nodes: Sequence[Heads], curvatures: bool
    ) -> dict[str, Real]:
        from ..machine.compiled import numba_threads
        from .pair_sums import BLOCK, pair_sums

        paths, _, count = positions.shape
        logits = np.ascontiguousarray(np.stack([one.logits for one in nodes]))
        values = np.ascontiguousarray(np.stack([one.values for one in nodes]))
        blocks = -(-count // BLOCK)
        heads = logits.shape[1]
        sums = {
            "attention": np.empty(positions.shape),
            "interaction": np.empty((paths, count)),
            "gradient": np.empty(positions.shape),
            "inverse": np.empty((paths, count)),
        }
        slopes = np.empty((paths, blocks, heads, 3, 3))
        packed = np.empty((paths, blocks, heads, 6, 6) if curvatures else (0, 0, 0, 6, 6))
        tokens = [np.ascontiguousarray(positions), self.weights]
        shares = np.ascontiguousarray(nodes[0].weights)
        heads_of_paths = [logits, values, shares, self.specification.softmax]
        with numba_threads(self.threads):
            pair_sums(*[*tokens, *heads_of_paths, *sums.values(), slopes, packed])
        sums["slopes"] = slopes.sum(axis=1)
        if curvatures:
            full = packed.sum(axis=1)
            sums["curvatures"] = full[:, :, PACKED[:, :, None, None], PACKED]
        return sums

    def _by_points(self, t: float, positions: Real, nodes: HeadNodes, radius: float) -> TokenSample:
        """A law whose quadrature depends on the token."""
        points = np.ascontiguousarray(positions.T)
        transform = transform_of_points(points, self.weights, TOLERANCE, radius=radius)
        x = np.ascontiguousarray(positions)
        averages = average_at_points(transform, nodes, x, softmax=self.specification.softmax)
        gradient = averages.interaction_gradient
        direction, velocity = averages.attention + x * averages.radial, averages.attention
        if self.specification.velocity == "gradient":
            direction = velocity = averages.inverse_mobility * gradient
        return self._sample(
            t,
            positions[None],
            direction[None],
            velocity[None],
            averages.interaction[None],
            gradient[None],
            1.0 / averages.inverse_mobility[None],
            np.array([0.5 * float(np.sum(self.weights * averages.interaction_rate))]),
            None,
            None,
        )

    def _sample(
        self,
        t: float,
        positions: Real,
        direction: Real,
        velocity: Real,
        interaction: Real,
        gradient: Real,
        mobility: Real,
        rates: Real,
        slopes: Real | None,
        curvatures: Real | None,
    ) -> TokenSample:
        """Energy terms as sums over the tokens, path by path in the same order of additions."""
        w = self.weights

        def total(values: Real) -> Real:
            sums: Real = np.einsum("pn,n->p", values, w)
            return sums

        drift_rate = np.zeros(len(positions))
        if self.specification.drift is not None:
            for row, points in enumerate(positions):
                drift = self.specification.drift(np.ascontiguousarray(points.T), t).T
                drift_rate[row] = np.sum(w * np.einsum("in,in->n", gradient[row], drift))
        return TokenSample(
            step_direction=direction,
            velocity=velocity,
            **energy_terms(total, interaction, gradient, velocity, mobility=mobility),
            energy_rate_heads=rates,
            drift_rate=drift_rate,
            diffusion_rate=np.zeros_like(drift_rate),
            slopes=slopes,
            curvatures=curvatures,
            gradient=gradient,
        )


def _norm(power: Real) -> float:
    """Root mean square over the sphere of a field with this power in each degree."""
    return float(np.sqrt(power.sum() / (4 * np.pi)))


def _row(sample: TokenSample, row: int) -> TokenSample:
    known = {name: value for name, value in vars(sample).items() if value is not None}
    return replace(sample, **{name: value[row : row + 1] for name, value in known.items()})


def _stacked(samples: Sequence[TokenSample]) -> TokenSample:
    first = samples[0]
    if len(samples) == 1:
        return first
    known = [name for name, value in vars(first).items() if value is not None]
    return replace(
        first, **{name: np.concatenate([getattr(one, name) for one in samples]) for name in known}
    )
