"""Laws Θ_t that are Gaussian, and the parts of products of laws of one parameter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import held
from ..errors import InputError, ResolutionError
from .dense import LONGEST_STEP, DenseSolution
from .gaussian import GaussianNodes
from .initial_laws import Normal, NormalMixture, Point
from .normal_rules import normal_rule
from .processes import HeadProcess, OfTheta

__all__ = ["GaussianLaw", "OneParameter", "is_linear", "one_parameter", "product_rule"]

Real = NDArray[np.float64]

LOOKED_AT = 32  # points at which the parameters are seen to act apart


def is_linear(process: HeadProcess, initial: object) -> bool:
    """Whether Θ_t is Gaussian, or a mixture of such laws, by ordinary differential equations."""
    return (
        hasattr(process.drift, "linear")
        and not callable(process.diffusion)
        and isinstance(initial, Normal | NormalMixture | Point)
        and hasattr(process.parametrisation, "basis")
    )


class GaussianLaw:
    """Mean and covariance of θ under f = A(t) θ + c(t) and a constant g, and the law of (D, V).

    m' = A m + c and C' = A C + C Aᵀ + g gᵀ, solved to 1e-12.
    """

    def __init__(
        self, process: HeadProcess, initial: Normal | Point, max_step: float = LONGEST_STEP
    ) -> None:
        self.process = process
        size = process.dimension
        mean = np.broadcast_to(held(initial.mean), (size,))
        factor = process.factor_at(np.zeros((1, size)), 0.0)[0]
        self._noise = factor @ factor.T
        covariance = np.diag(np.broadcast_to(held(initial.std), (size,)) ** 2)
        start = np.concatenate([mean, covariance.ravel()])
        self._solution = DenseSolution(self._rate, start, 1e-13, max_step)

    @property
    def _basis(self) -> Real:
        """Of the matrices, shape (p, 3, 3)."""
        parametrisation = self.process.parametrisation
        assert hasattr(parametrisation, "basis")
        basis: Real = parametrisation.basis
        return basis

    def _rate(self, t: float, state: Real) -> Real:
        size = self.process.dimension
        drift = self.process.drift
        assert hasattr(drift, "linear")
        matrix, offset = drift.linear(t, size)
        mean, covariance = state[:size], state[size:].reshape(size, size)
        spread = matrix @ covariance
        return np.concatenate([matrix @ mean + offset, (spread + spread.T + self._noise).ravel()])

    def moments(self, t: float) -> tuple[Real, Real]:
        """Mean (p,) and covariance (p, p) of θ."""
        if not t >= 0:
            raise InputError(f"time must be at least 0, got {t:g}")
        size = self.process.dimension
        state = self._solution(t)
        return state[:size], state[size:].reshape(size, size)

    def rates(self, t: float) -> tuple[Real, Real]:
        """Time derivatives of the mean (p,) and the covariance (p, p) of θ."""
        size = self.process.dimension
        mean, covariance = self.moments(t)
        found = self._rate(t, np.concatenate([mean, covariance.ravel()]))
        return found[:size], found[size:].reshape(size, size)

    def spreads(self, t: float) -> Real:
        """Largest standard deviations of ⟨x, Dy⟩ along each axis of the covariance, (p,)."""
        values, vectors = np.linalg.eigh(self.moments(t)[1])
        along = np.tensordot(vectors.T, self._basis, axes=1)
        sizes = np.linalg.norm(along, ord=2, axis=(1, 2))
        return np.asarray(np.sqrt(np.maximum(values, 0.0)) * sizes, dtype=np.float64)

    def theta_rule(self, t: float, counts: list[int]) -> tuple[Real, Real, Real]:
        """Nodes (q, p) of θ, weights and weight rates."""
        return normal_rule(*self.moments(t), *self.rates(t), counts)

    def nodes(self, t: float, count: int | None) -> GaussianNodes:
        """Quadrature of the law of (D, V) at time t, by the reduction to three dimensions."""
        basis = self._basis
        mean, covariance = self.moments(t)
        mean_rate, covariance_rate = self.rates(t)

        def of_matrices(spread: Real) -> Real:
            covariance: Real = np.einsum("aij,ab,bkl->ijkl", basis, spread, basis)
            return covariance

        matrix = np.tensordot(mean, basis, axes=1)
        block = of_matrices(covariance)
        return GaussianNodes(
            np.stack([matrix, matrix]),
            np.stack([block, block]),
            count,
            np.tensordot(mean_rate, basis, axes=1),
            of_matrices(covariance_rate),
        )


@dataclass(frozen=True)
class OneParameter:
    """One parameter of a process by itself, as a parametrisation of dimension 1."""

    dimension: int = 1

    def __call__(self, theta: Real) -> tuple[Real, Real]:
        logits = theta[..., :, None] * np.eye(3)
        return logits, logits


def one_parameter(process: HeadProcess, axis: int) -> HeadProcess:
    """The process of one parameter of a separable process."""
    there = process.factor_at(np.zeros((1, process.dimension)), 0.0)
    noise: ArrayLike | OfTheta = there[0, axis, axis]
    if callable(process.diffusion):
        noise = _OneNoise(process, axis)
    return HeadProcess(_OneDrift(process, axis), noise, OneParameter())


@dataclass(frozen=True)
class _OfOneParameter:
    process: HeadProcess
    axis: int

    @property
    def autonomous(self) -> bool:
        return self.process.autonomous

    def embedded(self, theta: Real) -> Real:
        full = np.zeros((len(theta), self.process.dimension))
        full[:, self.axis] = theta[:, 0]
        return full


class _OneDrift(_OfOneParameter):
    def __call__(self, theta: Real, t: float) -> Real:
        process, axis, size = self.process, self.axis, self.process.dimension
        alone = process.drift_at(self.embedded(theta), t)[:, axis : axis + 1]
        few = slice(None, None, max(1, len(theta) // LOOKED_AT))
        full = self.embedded(theta[few])
        others = np.arange(size) != axis
        full[:, others] = np.cos(np.add.outer(np.arange(len(full)), 7.0 * np.arange(size - 1)))
        beside = process.drift_at(full, t)[:, axis : axis + 1]
        if not np.allclose(beside, alone[few], rtol=1e-10, atol=1e-10):
            raise ResolutionError(
                f"the parameters of the heads act on each other at t = {t:g} but did not where "
                "this was tried before; use process.sample(count)"
            )
        return alone


class _OneNoise(_OfOneParameter):
    def __call__(self, theta: Real, t: float) -> Real:
        noise = self.process.factor_at(self.embedded(theta), t)
        return noise[:, self.axis, self.axis, None]


def product_rule(rules: list[tuple[Real, Real, Real]]) -> tuple[Real, Real, Real]:
    """Tensor product of Gauss rules (nodes, weights, weight rates): θ (q, p), weights, rates."""
    axes = [rule[0][:, 0] for rule in rules]
    nodes = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
    weights = _outer([rule[1] for rule in rules])
    rates = np.zeros_like(weights)
    for axis, rule in enumerate(rules):
        factors = [other[1] for other in rules]
        factors[axis] = rule[2]
        rates += _outer(factors)
    return nodes, weights, rates


def _outer(factors: list[Real]) -> Real:
    product = factors[0]
    for factor in factors[1:]:
        product = np.multiply.outer(product, factor)
    return product.ravel()
