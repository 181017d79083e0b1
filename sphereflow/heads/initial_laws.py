"""Laws of the parameters θ of a head at t = 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import finite_array, held, weights_of
from ..describe.fields import Array
from ..describe.registry import INITIAL_LAWS
from ..errors import InputError

__all__ = ["Initial", "InitialLaw", "Normal", "NormalMixture", "Point"]

Real = NDArray[np.float64]

Parameters = Annotated[ArrayLike, Array((), (None,))]  # a number stands for all of them
Components = Annotated[ArrayLike, Array((None,), (None, None))]


class InitialLaw(Protocol):
    """A law of θ of which single parameters are drawn."""

    def sample(self, rng: np.random.Generator, dimension: int) -> Real:
        """One θ of shape (dimension,)."""


@INITIAL_LAWS.row()
@dataclass(frozen=True, eq=False)
class Normal:
    """Initial law of θ with independent normal parameters.

    Parameters
    ----------
    mean : float or array_like, shape (p,)
    std : float or array_like, shape (p,)
        At least 0.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> sf.Normal(1.0, 0.0).sample(np.random.default_rng(0), 2).tolist()
    [1.0, 1.0]
    """

    mean: Parameters = 0.0
    std: Parameters = 1.0

    def __post_init__(self) -> None:
        mean, std = finite_array(self.mean, "mean"), finite_array(self.std, "std")
        if mean.ndim > 1 or std.ndim > 1 or (std < 0).any():
            raise InputError(
                "mean and std must be numbers or vectors, std at least 0, got shapes "
                f"{mean.shape} and {std.shape} and the smallest std {std.min(initial=0.0):g}"
            )
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)

    def sample(self, rng: np.random.Generator, dimension: int) -> Real:
        """One θ of shape (dimension,)."""
        mean, std = held(self.mean), held(self.std)
        noise = rng.standard_normal(dimension)
        try:
            return np.broadcast_to(mean + std * noise, (dimension,)).copy()
        except ValueError as error:
            raise InputError(
                f"mean and std must fit {dimension} parameters, got shapes "
                f"{mean.shape} and {std.shape}"
            ) from error


@INITIAL_LAWS.row()
@dataclass(frozen=True, eq=False)
class NormalMixture:
    """Initial law of θ: normal laws with independent parameters, mixed.

    Parameters
    ----------
    means : array_like, shape (K,) or (K, p)
        A number stands for that mean of every parameter.
    stds : array_like, shape (K,) or (K, p)
        At least 0.
    weights : array_like, shape (K,), optional
        Equal if left out; normalised to sum 1.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> law = sf.NormalMixture([1.0, 3.0], [0.0, 0.0])
    >>> float(law.sample(np.random.default_rng(0), 1)[0]) in (1.0, 3.0)
    True
    """

    means: Components
    stds: Components
    weights: Annotated[ArrayLike, Array((None,))] | None = None

    def __post_init__(self) -> None:
        means, stds = finite_array(self.means, "means"), finite_array(self.stds, "stds")
        if means.ndim not in (1, 2) or len(np.atleast_1d(stds)) != len(means):
            raise InputError(
                "means and stds must have one entry or row for each component, got shapes "
                f"{means.shape} and {stds.shape}"
            )
        object.__setattr__(self, "means", means)
        object.__setattr__(self, "stds", stds)
        object.__setattr__(self, "weights", weights_of(self.weights, len(means), "weights"))

    @property
    def components(self) -> list[Normal]:
        """The normal laws."""
        pairs = zip(held(self.means), held(self.stds), strict=True)
        return [Normal(mean, std) for mean, std in pairs]

    def sample(self, rng: np.random.Generator, dimension: int) -> Real:
        """One θ of shape (dimension,)."""
        weights = held(self.weights)
        return self.components[rng.choice(len(weights), p=weights)].sample(rng, dimension)


@INITIAL_LAWS.row()
@dataclass(frozen=True, eq=False)
class Point:
    """Initial law concentrated at one θ.

    Parameters
    ----------
    theta : float or array_like, shape (p,)
        A number stands for that value of every parameter.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> sf.Point(2.0).sample(np.random.default_rng(0), 1).tolist()
    [2.0]
    """

    theta: Parameters

    def __post_init__(self) -> None:
        theta = finite_array(self.theta, "theta")
        if theta.ndim > 1:
            raise InputError(f"theta must be a number or a vector, got shape {theta.shape}")
        object.__setattr__(self, "theta", theta)

    @property
    def mean(self) -> Real:
        """θ: a point is a normal law without spread."""
        return held(self.theta)

    @property
    def std(self) -> Real:
        """0."""
        return np.zeros(())

    def sample(self, rng: np.random.Generator, dimension: int) -> Real:
        """θ, shape (dimension,)."""
        return Normal(self.theta, 0.0).sample(rng, dimension)


Initial = Normal | NormalMixture | Point | Callable[[Real], ArrayLike]  # the last a density of θ
