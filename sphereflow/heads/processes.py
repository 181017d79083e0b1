"""Stochastic processes of the parameters of a head: dθ = f(θ, t) dt + g(θ, t) dW."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import called, finite_array, held, real_array, shown
from ..describe.fields import Array, Function, Kinds
from ..describe.registry import DRIFTS, DYNAMICS, NOISES, PARAMETRISATIONS
from ..errors import InputError
from .initial_laws import InitialLaw, Normal
from .parametrisations import Parametrisation, Symmetric, checked
from .sampled import HeadDynamics, SampledHeads

__all__ = ["HeadProcess", "separable"]

Real = NDArray[np.float64]
OfTheta = Callable[[Real, float], ArrayLike]  # of (n, p) and t


@DYNAMICS.row()
@dataclass(frozen=True, eq=False)
class HeadProcess(HeadDynamics):
    """The law of one head: dθ = f(θ, t) dt + g(θ, t) dW (Itô), with D and V functions of θ.

    Parameters
    ----------
    drift : callable
        ``f(theta, t)`` for θ of shape (n, p) returns shape (n, p); for example one of
        `sphereflow.heads.drifts`. In an experiment file "linear", "ornstein_uhlenbeck",
        "oscillating", "double_well" or "geometric" with their parameters.
    diffusion : float, array_like or callable
        g: a number (times the identity), a vector of shape (p,) (a diagonal matrix) or a matrix
        of shape (p, p); or ``g(theta, t)`` that returns shape (n, 1), (n, p) or (n, p, p).
    parametrisation : object
        θ ↦ (D, V): `Isotropic()`, `Diagonal()`, `Symmetric()`, or any object with an integer
        `dimension` p that maps (n, p) to two arrays of shape (n, 3, 3).

    Raises
    ------
    InputError
        On functions that return wrong shapes or values that are not finite.

    Examples
    --------
    A double well for the inverse temperature of isotropic heads:

    >>> import sphereflow as sf
    >>> process = sf.HeadProcess(lambda theta, t: theta - theta**3, 0.5, sf.Isotropic())
    >>> heads = process.sample(count=10, seed=1, initial=sf.Normal(0.0, 0.1))
    >>> heads.nodes(0.5).logits.shape
    (10, 3, 3)
    """

    drift: Annotated[OfTheta, Kinds(DRIFTS), Function()]
    diffusion: Annotated[
        ArrayLike | OfTheta, Array((), (None,), (None, None)), Kinds(NOISES), Function()
    ] = 0.0
    parametrisation: Annotated[Parametrisation, Kinds(PARAMETRISATIONS), Function()] = field(
        default_factory=Symmetric
    )

    def __post_init__(self) -> None:
        checked(self.parametrisation)
        if isinstance(self.drift, type) or not callable(self.drift):
            raise InputError(
                f"drift must be callable as drift(theta, t), got {shown(self.drift)}; write "
                "a constant one as a function too"
            )
        if not callable(self.diffusion):
            noise = finite_array(self.diffusion, "diffusion")
            if noise.shape not in ((), (self.dimension,), (self.dimension,) * 2):
                raise InputError(
                    f"diffusion must be a number or have shape ({self.dimension},) or "
                    f"({self.dimension}, {self.dimension}), got {noise.shape}"
                )
            object.__setattr__(self, "diffusion", noise)
        theta = np.zeros((2, self.dimension))
        self.drift_at(theta, 0.0)
        self.factor_at(theta, 0.0)

    @property
    def process(self) -> HeadProcess:
        """The process itself."""
        return self

    @property
    def constant_noise(self) -> bool:
        """Whether g depends neither on θ nor on t."""
        return not callable(self.diffusion)

    @property
    def dimension(self) -> int:
        """p, the number of parameters of one head."""
        return int(self.parametrisation.dimension)

    @property
    def noisy(self) -> bool:
        """Whether there is noise at all."""
        return callable(self.diffusion) or bool(np.any(self.diffusion))

    @property
    def autonomous(self) -> bool:
        """Whether f and g are known not to depend on time: they say so by such an attribute."""
        noise = self.diffusion
        still = not callable(noise) or bool(getattr(noise, "autonomous", False))
        return still and bool(getattr(self.drift, "autonomous", False))

    def drift_at(self, theta: Real, t: float) -> Real:
        """f(θ, t), shape (n, p)."""
        values = real_array(called(self.drift, "drift(theta, t)", theta, t), "drift(theta, t)")
        if values.shape != theta.shape or not np.isfinite(values).all():
            raise InputError(
                f"drift(theta, t) must return finite values of shape {theta.shape}, got shape "
                f"{values.shape} with {int((~np.isfinite(values)).sum())} values not finite at "
                f"t = {t:g}; check the function, or lower the time step"
            )
        return values

    def factor_at(self, theta: Real, t: float) -> Real:
        """g(θ, t) as matrices, shape (n, p, p)."""
        count, dimension = theta.shape
        one = np.eye(dimension)
        if not callable(self.diffusion):
            noise = held(self.diffusion)
            matrix = noise * one if noise.ndim < 2 else noise
            return np.broadcast_to(matrix, (count, dimension, dimension))
        values = real_array(called(self.diffusion, "diffusion", theta, t), "diffusion(theta, t)")
        allowed = ((count, 1), (count, dimension), (count, dimension, dimension))
        if values.shape not in allowed or not np.isfinite(values).all():
            raise InputError(
                f"diffusion(theta, t) must return finite values of shape (n, 1), (n, {dimension}) "
                f"or (n, {dimension}, {dimension}) for n = {count}, got shape {values.shape} with "
                f"{int((~np.isfinite(values)).sum())} values not finite at t = {t:g}"
            )
        return values if values.ndim == 3 else values[:, :, None] * one

    def transition(self, theta: Real, t: float, step: float, noise: Real) -> tuple[Real, Real]:
        """Mean and noise part of θ(t + step) − θ(t) by Euler–Maruyama; `noise` is N(0, 1)."""
        mean = step * self.drift_at(theta, t)
        if not self.noisy:
            return mean, np.zeros_like(theta)
        factor = self.factor_at(theta, t)
        return mean, np.sqrt(step) * np.einsum("nab,nb->na", factor, noise)

    def covariance(self, theta: Real, t: float, step: float) -> Real:
        """Covariance of the noise part of a step, shape (n, p, p)."""
        factor = self.factor_at(theta, t)
        covariance: Real = step * np.einsum("nab,ncb->nac", factor, factor)
        return covariance

    def sample(
        self,
        count: int,
        seed: int | None = None,
        *,
        initial: InitialLaw | None = None,
        dt: float = 1e-2,
    ) -> SampledHeads:
        """A law of `count` independent heads by Euler–Maruyama paths.

        Parameters
        ----------
        count : int
            H, at least 1. The first heads do not depend on it.
        seed : int, optional
            Drawn from the operating system if left out, and then kept.
        initial : Normal, Point or object with ``sample(rng, dimension)``, optional
            Law of θ at t = 0; `Normal()` if left out.
        dt : float
            Step of the paths that `nodes` gives; a token run takes its own steps.
        """
        return SampledHeads(self, count, seed, Normal() if initial is None else initial, dt)


def separable(process: HeadProcess) -> bool:
    """Whether f and g act on each parameter by itself, tried at random points and times."""
    rng = np.random.default_rng(0)
    size = process.dimension
    for t in (0.0, 0.37, 2.11):
        theta = rng.standard_normal((4, size))
        drift, factor = process.drift_at(theta, t), process.factor_at(theta, t)
        diagonal = np.einsum("naa->na", factor)
        if np.abs(factor - diagonal[:, :, None] * np.eye(size)).max() > 0:
            return False
        for axis in range(size):
            changed = rng.standard_normal((4, size))
            changed[:, axis] = theta[:, axis]
            again = process.drift_at(changed, t)[:, axis]
            noise = np.einsum("naa->na", process.factor_at(changed, t))[:, axis]
            if not np.allclose(again, drift[:, axis], rtol=1e-12, atol=1e-12):
                return False
            if not np.allclose(noise, diagonal[:, axis], rtol=1e-12, atol=1e-12):
                return False
    return True
