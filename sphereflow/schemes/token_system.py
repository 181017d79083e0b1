"""The system of n tokens, eq. (10), as an ordinary differential equation of several paths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..attention import TokenField, TokenSample, tangential
from ..heads import HeadNodes, HeadPaths, SmoothPaths
from ..problem import TransformerPDE
from ..sphere import unit
from .inputs_in_time import TimeInput, TimeInputs, thinned
from .steppers import Resolved, dormand_prince, runge_kutta

__all__ = ["RATES", "TokenSystem", "transport_terms"]

Real = NDArray[np.float64]

RATES = ("dissipation", "slope_squared", "drift_rate", "energy_rate_heads")  # of each path
COUNT = len(RATES)


def transport_terms(sample: TokenSample) -> Real:
    """R, G², the power of the drift and ∂_tE of each path, shape (4, P)."""
    return np.stack([getattr(sample, name) for name in RATES])


class TokenSystem:
    """Velocities of the tokens of P paths, and steps of those without noise.

    Parameters
    ----------
    problem : TransformerPDE
    field : TokenField or None
        None without heads.
    head_paths : HeadPaths, SmoothPaths or None
        Of sampled heads.
    paths : int
    """

    def __init__(
        self,
        problem: TransformerPDE,
        field: TokenField | None,
        head_paths: HeadPaths | SmoothPaths | None,
        paths: int,
    ) -> None:
        self.problem = problem
        self.field = field
        self.head_paths = head_paths
        self.paths = paths
        self.inputs = TimeInputs(problem)

    def nodes(self, t: float) -> Sequence[HeadNodes]:
        """The quadrature of Θ_t of each path; that of noisy heads is at the time of the run."""
        if self.head_paths is None:
            return [self.problem.law.nodes(t)] * self.paths
        return self.head_paths.nodes(t)

    def sample(self, t: float, positions: Real, *, curvatures: bool) -> TokenSample:
        """The field at unit vectors (P, 3, n)."""
        assert self.field is not None
        rows = range(self.paths)
        return self.field(t, positions, self.nodes(t), rows, curvatures=curvatures)

    def drift(self, t: float, positions: Real) -> Real:
        """Prescribed velocity at positions (P, 3, n), tangent."""
        values = [self.problem.prescribed_velocity(one.T.copy(), t).T for one in positions]
        return tangential(positions, np.stack(values))

    def rates(self, t: float, positions: Real, rows: range) -> tuple[Real, Real]:
        """Rates of positions (P, 3, n) of any length of some paths, and the budget rates (4, P).

        A rate is proportional to the length, so that the direction moves with dx/dt whatever the
        length has become.
        """
        length = np.linalg.norm(positions, axis=1, keepdims=True)
        x = positions / length
        velocity, terms = np.zeros_like(x), np.zeros((COUNT, len(rows)))
        if self.field is not None:
            nodes = self.nodes(t)
            sample = self.field(t, x, [nodes[row] for row in rows], rows)
            velocity += self.problem.sign * sample.velocity
            terms = transport_terms(sample)
        if self.problem.drift is not None:
            velocity += self.drift(t, x)
        return length * velocity, terms

    def runge_kutta(
        self, t: float, positions: Real, target: float, stepper: str
    ) -> tuple[Real, Real]:
        """Positions (P, 3, n) after one step in R³, and the integrals of the budget (4, P)."""
        step = target - t

        def time_after(share: float) -> float:
            return self.problem.time_within(t, target, t + share * step) if share else t

        def rates(time: float, state: Real) -> tuple[Real, Real]:
            return self.rates(time, state, range(self.paths))

        return runge_kutta(rates, time_after, positions, step, stepper)

    def advance_path(
        self,
        row: int,
        t: float,
        positions: Real,
        target: float,
        *,
        rtol: float,
        energy: float,
        length: float | None,
        error_norm: str,
    ) -> tuple[Real, Real, float]:
        """One path by adaptive steps, with the integrals of its budget as well as its tokens.

        Parameters
        ----------
        row : int
            Its place among the paths.
        t, positions, target : float, ndarray of shape (3, n), float
        rtol, energy : float
            Tolerance of the positions, and of the integrals in units of the energy.
        length : float or None
            Of the first step.
        error_norm : {"largest", "mean"}
            As in Particles.

        Returns
        -------
        tuple
            Positions (3, n), integrals (4,), and a length for the next step.
        """
        shape, problem = positions.shape, self.problem

        def rate(time: float, state: Real) -> Real:
            y = state[:-COUNT].reshape(1, *shape)
            time = problem.time_within(t, target, time)
            slope, terms = self.rates(time, y, range(row, row + 1))
            return np.concatenate([slope.ravel(), terms.ravel() / energy])

        def parts(squares: Real) -> Real:
            return np.append(squares[:-COUNT].reshape(shape).mean(axis=0), squares[-COUNT:])

        def inputs(state: Real) -> list[TimeInput]:
            return self.inputs.all_at(unit(state[:-COUNT].reshape(shape).T))

        def drift(time: float, state: Real) -> Real:
            points = thinned(unit(state[:-COUNT].reshape(shape).T))
            return problem.prescribed_velocity(points, time)

        end, length = dormand_prince(
            rate,
            t,
            np.concatenate([positions.ravel(), np.zeros(COUNT)]),
            target,
            lambda state: np.full(state.size, rtol),
            length,
            parts if error_norm == "largest" else None,
            Resolved(inputs, rtol, drift if problem.drift_depends_on_time else None),
        )
        return end[:-COUNT].reshape(shape), energy * end[-COUNT:], length
