"""Runs of the token system: P independent paths of n tokens and their heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..attention import TokenField, TokenSample, tangential
from ..heads import HeadPaths, SampledHeads, SmoothPaths
from ..machine.plain_state import attributes_of, set_attributes
from ..problem import TransformerPDE
from ..seeds import Purpose, seed_sequence, stream
from ..sphere import PointTransform, complex_to_real, real_degrees_and_orders
from .inputs_in_time import TimeInputs
from .protocol import Stop
from .token_budget import TokenBudget, diffusion_rate, head_increments, transport_terms
from .token_steps import AdaptiveSteps, runge_kutta

if TYPE_CHECKING:
    from .particles import Particles

__all__ = ["ParticleRun"]

Real = NDArray[np.float64]

KEPT = ("t", "steps", "positions", "weights")


class ParticleRun:
    """State of one ensemble of token runs."""

    def __init__(self, options: Particles, problem: TransformerPDE, rtol: float, t: float) -> None:
        self.options = options
        self.problem = problem
        self.rtol = rtol
        self.t = t
        self.steps = 0
        self.paths = range(options.first_path, options.first_path + options.paths)
        self.positions, self.weights = self._initial_tokens()
        law = problem.heads
        self.head_paths: HeadPaths | SmoothPaths | None = None
        if isinstance(law, SampledHeads):
            self.head_paths = law.paths(self.paths)
        self.noisy = law is not None and law.noisy
        if t > 0.0 and options.dt is not None:
            # The numbers of the steps, and with them the noise, go on as if from time 0.
            self.steps = max(1, int(np.ceil(t / options.dt * (1 - 1e-9))))
            if isinstance(self.head_paths, HeadPaths):
                for step in range(self.steps):
                    self.head_paths.advance(t * (step + 1) / self.steps)
        self.field: TokenField | None = None
        self._latest: TokenSample | None = None
        self.budget: TokenBudget | None = None
        if law is not None:
            self.field = TokenField(problem, self.weights, options.summation, options.processors)
            self.budget = TokenBudget(problem.sign, self.sample)
        self._inputs = TimeInputs(problem)
        self._adaptive = AdaptiveSteps(self) if options.dt is None else None

    # State

    def _initial_tokens(self) -> tuple[Real, Real]:
        """Positions (P, 3, n) and weights (n,)."""
        density = self.problem.density
        given = density.tokens()
        if given is not None:
            positions, weights = given
            drawn = [positions] * len(self.paths)
        else:
            count = self.options.count
            assert count is not None
            draws = [0 if self.options.share_tokens else path for path in self.paths]
            seeds = [seed_sequence(self.options.seed, Purpose.TOKENS, draw) for draw in draws]
            drawn = [density.sample(count, seed) for seed in seeds]
            weights = np.full(count, 1.0 / count)
        return np.ascontiguousarray(np.stack(drawn).transpose(0, 2, 1)), weights

    def nodes_at(self, t: float) -> list[Any]:
        """The quadrature of Θ_t of each path; that of noisy heads is at the time of the run."""
        if self.head_paths is None:
            return [self.problem.law.nodes(t)] * len(self.paths)
        return self.head_paths.nodes(t)

    @property
    def sample(self) -> TokenSample:
        """The field at the current time, evaluated once."""
        assert self.field is not None
        if self._latest is None:
            curvatures = self.noisy or self.problem.diffusion > 0
            nodes = self.nodes_at(self.t)
            rows = range(len(self.paths))
            self._latest = self.field(self.t, self.positions, nodes, rows, curvatures=curvatures)
        return self._latest

    def drift(self, t: float, positions: Real) -> Real:
        """Prescribed velocity at positions (P, 3, n), tangent."""
        values = [self.problem.prescribed_velocity(one.T.copy(), t).T for one in positions]
        return tangential(positions, np.stack(values))

    def slope(self, t: float, positions: Real, rows: range) -> tuple[Real, Real]:
        """Rates of positions (P, 3, n) of any length of some paths, and the budget rates.

        A rate is proportional to the length, so that the direction moves with dx/dt whatever the
        length has become.
        """
        length = np.linalg.norm(positions, axis=1, keepdims=True)
        x = positions / length
        velocity, terms = np.zeros_like(x), np.zeros((4, len(rows)))
        if self.field is not None:
            nodes = self.nodes_at(t)
            sample = self.field(t, x, [nodes[row] for row in rows], rows)
            velocity += self.problem.sign * sample.velocity
            terms = transport_terms(sample)
        if self.problem.drift is not None:
            velocity += self.drift(t, x)
        return length * velocity, terms

    def moved_to(self, positions: Real, t: float) -> None:
        """Take over new positions, of any length but 0, and a new time."""
        self.positions = positions / np.linalg.norm(positions, axis=1, keepdims=True)
        self.t = t
        self.steps += 1
        self._latest = None

    # Time

    def advance(self, target: float) -> None:
        """One step towards `target`, which is hit exactly."""
        if not self.noisy:
            target = min(target, self.problem.kink_after(self.t))
        if self._adaptive is not None:
            self._adaptive.advance(target)
            return
        assert self.options.dt is not None
        if not self.noisy:
            target = min(target, self._inputs.row_within(self.t, self.options.dt))
        count = max(1, int(np.ceil((target - self.t) / self.options.dt * (1 - 1e-9))))
        new_time = target if count == 1 else self.t + (target - self.t) / count
        if self.options.stepper == "euler":
            self._euler_step(new_time)
        else:
            runge_kutta(self, new_time, self.options.stepper)

    def _euler_step(self, new_time: float) -> None:
        """x ← Π(x + s a dt + u dt + noise), and the heads, with the terms of (148) before it."""
        step = new_time - self.t
        change = np.zeros_like(self.positions)
        moved = self._token_noise(step) if self.problem.diffusion > 0 else None
        if self.field is not None:
            sample = self.sample
            assert self.budget is not None
            self.budget.add_integrals(step * transport_terms(sample))
            if moved is not None:
                self._add_diffusion(step, sample, moved)
            if isinstance(self.head_paths, HeadPaths):
                heads = self.head_paths.advance(new_time)
                self.budget.add_increments(
                    head_increments(sample, heads, self.head_paths.law.weights)
                )
            change += self.problem.sign * step * sample.step_direction
        if self.problem.drift is not None:
            change += step * self.drift(self.t, self.positions)
        if moved is not None:
            change += moved
        self.moved_to(self.positions + change, new_time)

    def _token_noise(self, step: float) -> Real:
        """√(2ε dt) times tangent normal vectors, (P, 3, n)."""
        noise = np.stack(
            [
                stream(self.options.seed, Purpose.TOKEN_NOISE, path, self.steps).standard_normal(
                    self.positions.shape[1:]
                )
                for path in self.paths
            ]
        )
        return tangential(self.positions, np.sqrt(2.0 * self.problem.diffusion * step) * noise)

    def _add_diffusion(self, step: float, sample: TokenSample, moved: Real) -> None:
        """Itô part and martingale of the Brownian motion of the tokens.

        They are known for a finite number of symmetric heads; elsewhere the balance stays open.
        """
        assert self.budget is not None
        rates = np.full(len(self.paths), np.nan)
        for row, one in enumerate(self.nodes_at(self.t)):
            if sample.slopes is None or sample.curvatures is None or not one.symmetric:
                continue
            slopes, curvatures = sample.slopes[row], sample.curvatures[row]
            rates[row] = diffusion_rate(one, slopes, curvatures, self.positions[row], self.weights)
        martingale = np.einsum("pin,pin,n->p", sample.gradient, moved, self.weights)
        self.budget.add_increments(
            {
                "energy_diffusion_integral": self.problem.diffusion * step * rates,
                "energy_martingale": martingale,
            }
        )

    def check(self) -> Stop | None:
        """A reason to end the run: positions that are not finite."""
        if np.isfinite(self.positions).all():
            return None
        return Stop("not-finite", f"a token stopped being finite at t = {self.t:.6g}; lower dt")

    # Output

    def coordinates(self) -> dict[str, Any]:
        """Degrees and orders of the spectrum, weights of the tokens, numbers of the paths."""
        degrees, orders = real_degrees_and_orders(self.options.spectrum_degree)
        coordinates: dict[str, Any] = {
            "degree": ("harmonic", degrees),
            "order": ("harmonic", orders),
        }
        if len(self.paths) > 1:
            coordinates["path"] = ("path", np.array(self.paths))
        if self._stores_positions:
            coordinates["token_weight"] = ("token", self.weights)
        return coordinates

    @property
    def _stores_positions(self) -> bool:
        same_tokens = self.options.share_tokens or self.problem.density.tokens() is not None
        return self.options.store == "tokens" or same_tokens

    def _spectra(self) -> Real:
        degree = self.options.spectrum_degree
        return np.stack(
            [
                complex_to_real(PointTransform(one.T.copy()).moments(self.weights, degree))
                for one in self.positions
            ]
        )

    def record(self) -> dict[str, Any]:
        """Variables at the current time; for several paths with their axis first."""
        x, w = self.positions, self.weights
        record: dict[str, Any] = {
            "mass": np.full(len(self.paths), w.sum()),
            "first_moment": np.einsum("pin,n->pi", x, w),
            "second_moment": np.einsum("pin,pjn,n->pij", x, x, w),
            "resolution": np.full(len(self.paths), np.sqrt(np.sum(w**2))),
        }
        if self.field is not None:
            assert self.budget is not None
            record |= self.budget.record(self.sample, self._head_rate())
        if self.problem.diffusion == 0:
            record["speed"] = self._token_speed()
        detailed = {"spectrum": self._spectra()}
        if self._stores_positions:
            detailed["position"] = x.transpose(0, 2, 1)
        if self.options.store == "statistics":
            means = {f"{name}_mean": value.mean(axis=0) for name, value in detailed.items()}
            spreads = {f"{name}_std": value.std(axis=0) for name, value in detailed.items()}
            if len(self.paths) == 1:
                record = {name: value[0] for name, value in record.items()}
            return record | means | spreads
        if self.field is not None:
            variables = [one.record() for one in self.nodes_at(self.t)]
            detailed |= {name: np.stack([one[name] for one in variables]) for name in variables[0]}
        record |= detailed
        if len(self.paths) == 1:
            record = {name: value[0] for name, value in record.items()}
        return record

    def _head_rate(self) -> Real:
        """∂_tE: drift and Itô part for noisy heads."""
        if not isinstance(self.head_paths, HeadPaths):
            return self.sample.rate
        rates = head_increments(self.sample, self.head_paths.rates(), self.head_paths.law.weights)
        return rates["energy_heads_integral"] + rates["energy_ito_integral"]

    def _token_speed(self) -> Real:
        """√∫|s v̄ + u|² dμ of each path."""
        velocity = np.zeros_like(self.positions)
        if self.field is not None:
            velocity += self.problem.sign * self.sample.velocity
        if self.problem.drift is not None:
            velocity += self.drift(self.t, self.positions)
        return np.sqrt(np.einsum("pin,pin,n->p", velocity, velocity, self.weights))

    def state(self) -> dict[str, Any]:
        """Nothing: the records hold all of it."""
        return {}

    def kept(self) -> dict[str, Any]:
        """The state as plain data."""
        kept: dict[str, Any] = attributes_of(self, KEPT)
        kept["latest"] = None if self._latest is None else dict(vars(self._latest))
        if isinstance(self.head_paths, HeadPaths):
            kept["heads"] = self.head_paths.kept()
        if self.field is not None:
            assert self.budget is not None
            kept |= {"field": self.field.kept(), "budget": self.budget.kept()}
        if self._adaptive is not None:
            kept["lengths"] = list(self._adaptive.lengths)
        return kept

    @classmethod
    def resumed(
        cls, options: Particles, problem: TransformerPDE, rtol: float, kept: Mapping[str, Any]
    ) -> ParticleRun:
        """The run with the state that it was kept with."""
        run = cls(options, problem, rtol, 0.0)
        set_attributes(run, KEPT, kept)
        latest = kept["latest"]
        run._latest = None if latest is None else TokenSample(**latest)
        if isinstance(run.head_paths, HeadPaths):
            run.head_paths.take_over(kept["heads"])
        if run.field is not None:
            assert run.budget is not None
            run.field.take_over(kept["field"])
            run.budget.take_over(kept["budget"])
        if run._adaptive is not None:
            set_attributes(run._adaptive, ("lengths",), kept)
        return run

    def doubts(self) -> list[str]:
        """Nothing that `resolution` does not say."""
        return []

    def information(self) -> dict[str, Any]:
        """Numbers for progress reports and attributes."""
        information: dict[str, Any] = {"steps": self.steps}
        if self.field is not None:
            information["summation"] = self.field.route
            information["direct_evaluations"] = self.field.direct_evaluations
            information["harmonic_evaluations"] = self.field.harmonic_evaluations
        return information
