"""The attention field at the tokens of several independent paths, with the energy terms.

Direct sums over all pairs give it, or moments of the tokens by two routes whose cost is linear in
their number: the vector harmonics of the velocity, from its values on a small grid, which serve
many heads where the velocity is smooth; and series of L and ∇L at the tokens for each head, which
stay short where the velocity is steep.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..heads import HeadNodes, Heads, largest_argument
from ..sphere import PointTransform, power_by_degree, resize
from .average import (
    PACKED,
    Averages,
    HeadSums,
    average_at_points,
    average_of_heads,
    tangential,
)
from .energy import require_energies
from .grid_field import GridField, GridFieldState, vector_power
from .measure import KeptMoments, Source, WeightedPoints, transform_of_points
from .series_degrees import kernel_degree
from .specification import FieldSpecification
from .token_costs import cost_of_grid, cost_of_pairs, cost_of_series
from .token_sample import TokenSample, row_of, sample_of, stacked
from .token_series import LARGEST_SHARE, SERIES_TOLERANCE, LostSeries, TokenSeries

__all__ = ["TokenField", "TokenFieldState", "TokenSample"]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]
Route = Callable[..., TokenSample | None]

TOLERANCE = 1e-11  # of the harmonic route, relative to the largest velocity
LARGEST_DEGREE = 127  # of v̄ in the harmonic route
LARGEST_NORM = 10.0  # of a field over the sphere, relative to its scale at the tokens
LARGEST_OF_PAIRS = 340.0  # argument of `pair_sums`
RETRY_AFTER = 25  # evaluations after which a route that was given up is tried again


@dataclass
class TokenFieldState:
    """What a `TokenField` remembers of the evaluations before, by the numbers of the paths.

    direct_evaluations, harmonic_evaluations : by either of the harmonic routes
    series_evaluations : those of the latter that were series at the tokens
    pairs : summed directly for tokens at which a series was not trusted
    fields : of the route by vector harmonics
    given_up, lost : evaluations before that route, or that by series, is tried again
    spread : of the grids of heads, see `TokenSeries`
    """

    direct_evaluations: int = 0
    harmonic_evaluations: int = 0
    series_evaluations: int = 0
    pairs: float = 0.0
    fields: dict[int, GridFieldState] = field(default_factory=dict)
    given_up: dict[int, int] = field(default_factory=dict)
    lost: dict[int, int] = field(default_factory=dict)
    spread: dict[int, float] = field(default_factory=dict)


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
            If logits exceed 700.
        """
        shared = all(one is nodes[0] for one in nodes)
        radii = [largest_argument(one) for one in (nodes[:1] if shared else nodes)]
        radii *= len(nodes) // len(radii)
        largest = float(np.max(radii))
        require_energies(largest, t)
        samples: list[TokenSample | None] = [None] * len(nodes)
        for row, (path, one) in enumerate(zip(paths, nodes, strict=True)):
            samples[row] = self._by_moments(t, path, positions[row], one, radii[row], curvatures)
        rest = [row for row, sample in enumerate(samples) if sample is None]
        if not rest:
            return stacked([sample for sample in samples if sample is not None])
        self.now.direct_evaluations += len(rest)
        chosen = [nodes[row] for row in rest]
        finite = [one for one in chosen if isinstance(one, Heads)]
        if len(finite) == len(chosen) and largest <= LARGEST_OF_PAIRS:
            direct = self._direct(t, positions[rest], finite, curvatures)
        else:
            direct = stacked(
                [
                    self._by_points(t, positions[row], nodes[row], radii[row], curvatures)
                    for row in rest
                ]
            )
        if len(rest) == len(nodes):
            return direct
        for part, row in enumerate(rest):
            samples[row] = row_of(direct, part)
        return stacked([sample for sample in samples if sample is not None])

    # The choice

    def _by_moments(
        self,
        t: float,
        path: int,
        positions: Real,
        nodes: HeadNodes,
        radius: float,
        curvatures: bool,
    ) -> TokenSample | None:
        """The sample by the harmonic routes that are cheaper than direct sums, or None."""
        if self.summation == "direct":
            return None
        now, count = self.now, self.weights.size
        direct = np.inf if self.summation == "harmonic" else cost_of_pairs(count, nodes)
        degree = now.fields.get(path, GridFieldState()).degree
        by_grid = cost_of_grid(count, nodes, radius, degree)
        routes: list[tuple[float, dict[int, int], Route]]
        routes = [(by_grid, now.given_up, self._harmonic)]
        if isinstance(nodes, Heads):
            routes.append(
                (cost_of_series(count, nodes, radius, curvatures), now.lost, self._series)
            )
        for cost, waits, route in sorted(routes, key=lambda one: one[0]):
            if waits.get(path, 0) > 0:
                waits[path] -= 1
            elif cost < direct:
                sample = route(t, path, positions, nodes, radius, curvatures)
                if sample is not None:
                    return sample
                waits[path] = RETRY_AFTER
        return None

    # Series at the tokens

    def _series(
        self,
        t: float,
        path: int,
        positions: Real,
        nodes: HeadNodes,
        radius: float,
        curvatures: bool,
    ) -> TokenSample | None:
        """The sample by series of L and ∇L of each head, or None where they are lost."""
        assert isinstance(nodes, Heads)
        now, softmax = self.now, self.specification.softmax
        points = np.ascontiguousarray(positions.T)
        at = PointTransform(points, self.threads)
        moments = KeptMoments(partial(at.moments, self.weights), kernel_degree(np.ceil(radius)) + 2)
        share = 1.0 if self.summation == "harmonic" else LARGEST_SHARE
        series = TokenSeries(
            at,
            WeightedPoints(points, self.weights),
            moments,
            SERIES_TOLERANCE,
            spread=now.spread.get(path, 1.0),
            allowed_pairs=share * nodes.weights.size * self.weights.size**2,
            threads=self.threads,
        )
        bends = np.zeros((nodes.weights.size, 3, 3, 3, 3)) if curvatures else None
        sums = HeadSums(self.weights, np.zeros((nodes.weights.size, 3, 3)), bends)
        try:
            averages = average_of_heads(series, nodes, positions, softmax=softmax, heads=sums)
        except LostSeries:
            return None
        now.harmonic_evaluations += 1
        now.series_evaluations += 1
        now.pairs += series.pairs
        now.spread[path] = series.spread
        return self._of_averages(t, positions, averages, sums)

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
            _norm(power_by_degree(sample.interaction / interaction.max())) > LARGEST_NORM,
            _norm(power_by_degree(sample.mobility / mobility.max())) > LARGEST_NORM,
            mobility.min() <= 0.0,
        ]
        if not (by_attention and self.specification.softmax):
            scale = radius * (interaction / mobility).max()
            large.append(_norm(vector_power(*parts)) > LARGEST_NORM * scale)
        if any(large):
            return None
        self.now.harmonic_evaluations += 1
        direction = velocity
        if sample.radial is not None:
            direction = velocity + positions * at.synthesis(resize(sample.radial, degree))
        sums = sample.heads
        bends = None if sums is None or sums.curvatures is None else sums.curvatures[None]
        return sample_of(
            self.specification,
            self.weights,
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
        return sample_of(
            self.specification,
            self.weights,
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

    def _by_points(
        self, t: float, positions: Real, nodes: HeadNodes, radius: float, curvatures: bool
    ) -> TokenSample:
        """A law whose quadrature depends on the token, or long arguments."""
        points = np.ascontiguousarray(positions.T)
        transform = transform_of_points(points, self.weights, TOLERANCE, radius=radius)
        x = np.ascontiguousarray(positions)
        sums = None
        if isinstance(nodes, Heads):
            count = nodes.weights.size
            bends = np.zeros((count, 3, 3, 3, 3)) if curvatures else None
            sums = HeadSums(self.weights, np.zeros((count, 3, 3)), bends)
        softmax = self.specification.softmax
        averages = average_at_points(transform, nodes, x, softmax=softmax, heads=sums)
        return self._of_averages(t, x, averages, sums)

    def _of_averages(
        self, t: float, x: Real, averages: Averages, sums: HeadSums | None
    ) -> TokenSample:
        gradient = averages.interaction_gradient
        direction, velocity = averages.attention + x * averages.radial, averages.attention
        if self.specification.velocity == "gradient":
            direction = velocity = averages.inverse_mobility * gradient
        return sample_of(
            self.specification,
            self.weights,
            t,
            x[None],
            direction[None],
            velocity[None],
            averages.interaction[None],
            gradient[None],
            1.0 / averages.inverse_mobility[None],
            np.array([0.5 * float(np.sum(self.weights * averages.interaction_rate))]),
            None if sums is None else sums.slopes[None],
            None if sums is None or sums.curvatures is None else sums.curvatures[None],
        )


def _norm(power: Real) -> float:
    """Root mean square over the sphere of a field with this power in each degree."""
    return float(np.sqrt(power.sum() / (4 * np.pi)))
