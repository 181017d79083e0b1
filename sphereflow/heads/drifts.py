"""Drifts and noises of head processes that have a name, for scripts and experiment files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import finite_array, finite_number, held, positive_number
from ..describe.fields import Array, Bounds
from ..describe.registry import DRIFTS, NOISES
from ..errors import InputError

__all__ = [
    "DoubleWell",
    "Geometric",
    "GeometricNoise",
    "LinearDrift",
    "MeanReversion",
    "OscillatingTarget",
]

Real = NDArray[np.float64]

Parameters = Annotated[ArrayLike, Array((), (None,))]  # a number stands for all of them


def _as_numbers(process: object, *names: str) -> None:
    """Make these fields of a frozen dataclass finite floats."""
    for name in names:
        object.__setattr__(process, name, finite_number(getattr(process, name), name))


@DRIFTS.row()
@dataclass(frozen=True, eq=False)
class LinearDrift:
    """f(θ) = A θ + c.

    Parameters
    ----------
    matrix : array_like, shape (p, p)
    offset : float or array_like, shape (p,)

    Examples
    --------
    >>> import numpy as np
    >>> LinearDrift([[0, -1], [1, 0]])(np.array([[1.0, 0.0]]), 0.0).tolist()
    [[0.0, 1.0]]
    """

    kind: ClassVar[str] = "linear"
    autonomous: ClassVar[bool] = True

    matrix: Annotated[ArrayLike, Array((None, None))]
    offset: Parameters = 0.0

    def __post_init__(self) -> None:
        matrix = finite_array(self.matrix, "matrix")
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise InputError(f"matrix must be square, got shape {matrix.shape}")
        offset = finite_array(self.offset, "offset")
        if offset.shape not in ((), (len(matrix),)):
            raise InputError(f"offset must have length {len(matrix)}, got shape {offset.shape}")
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "offset", offset)

    def linear(self, t: float, dimension: int) -> tuple[Real, Real]:
        """A and c at time t."""
        return held(self.matrix), np.broadcast_to(held(self.offset), (dimension,))

    def __call__(self, theta: Real, t: float) -> Real:
        moved: Real = theta @ held(self.matrix).T
        return moved + held(self.offset)


@DRIFTS.row()
@dataclass(frozen=True, eq=False)
class MeanReversion:
    """f(θ) = rate · (target − θ), the drift of an Ornstein–Uhlenbeck process.

    Parameters
    ----------
    target : float or array_like, shape (p,)
    rate : float

    Examples
    --------
    >>> import numpy as np
    >>> MeanReversion(target=2.0)(np.array([[0.5]]), 0.0).tolist()
    [[1.5]]
    """

    kind: ClassVar[str] = "ornstein_uhlenbeck"
    autonomous: ClassVar[bool] = True

    target: Parameters = 0.0
    rate: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", finite_array(self.target, "target"))
        _as_numbers(self, "rate")

    def linear(self, t: float, dimension: int) -> tuple[Real, Real]:
        """A and c at time t, for f = A θ + c."""
        offset = np.broadcast_to(self.rate * held(self.target), (dimension,))
        return -self.rate * np.eye(dimension), offset

    def __call__(self, theta: Real, t: float) -> Real:
        return self.rate * (held(self.target) - theta)


@DRIFTS.row()
@dataclass(frozen=True, eq=False)
class OscillatingTarget:
    """f(θ, t) = rate · (mean + amplitude · cos(frequency · t + phase) − θ).

    Parameters
    ----------
    mean, amplitude, phase : float or array_like, shape (p,)
    frequency, rate : float

    Examples
    --------
    >>> import numpy as np
    >>> OscillatingTarget(mean=2.0, amplitude=1.5)(np.array([[0.0]]), 0.0).tolist()
    [[3.5]]
    """

    kind: ClassVar[str] = "oscillating"

    mean: Parameters = 0.0
    amplitude: Parameters = 1.0
    frequency: float = 1.0
    phase: Parameters = 0.0
    rate: float = 1.0

    def __post_init__(self) -> None:
        for name in ("mean", "amplitude", "phase"):
            object.__setattr__(self, name, finite_array(getattr(self, name), name))
        _as_numbers(self, "frequency", "rate")

    def _target(self, t: float) -> Real:
        wave = np.cos(self.frequency * t + held(self.phase))
        return held(self.mean) + held(self.amplitude) * wave

    def linear(self, t: float, dimension: int) -> tuple[Real, Real]:
        """A and c at time t, for f = A θ + c."""
        offset = np.broadcast_to(self.rate * self._target(t), (dimension,))
        return -self.rate * np.eye(dimension), offset

    def __call__(self, theta: Real, t: float) -> Real:
        return self.rate * (self._target(t) - theta)


@DRIFTS.row()
@dataclass(frozen=True, eq=False)
class DoubleWell:
    """f(θ) = slope · θ − cubic · θ³ + tilt, bistable for positive slope and cubic.

    Parameters
    ----------
    slope, cubic : float
        `cubic` above 0.
    tilt : float
    centre : float
        θ is counted from here.

    Examples
    --------
    >>> import numpy as np
    >>> DoubleWell()(np.array([[0.5]]), 0.0).tolist()
    [[0.375]]
    """

    kind: ClassVar[str] = "double_well"
    autonomous: ClassVar[bool] = True

    slope: float = 1.0
    cubic: Annotated[float, Bounds(above=0)] = 1.0
    tilt: float = 0.0
    centre: float = 0.0

    def __post_init__(self) -> None:
        _as_numbers(self, "slope", "tilt", "centre")
        object.__setattr__(self, "cubic", positive_number(self.cubic, "cubic"))

    def __call__(self, theta: Real, t: float) -> Real:
        u = theta - self.centre
        return self.slope * u - self.cubic * u**3 + self.tilt


@DRIFTS.row()
@dataclass(frozen=True, eq=False)
class Geometric:
    """f(θ) = rate · θ, for geometric Brownian motion with `GeometricNoise`.

    Examples
    --------
    >>> import numpy as np
    >>> Geometric(rate=-1.0)(np.array([[0.5]]), 0.0).tolist()
    [[-0.5]]
    """

    kind: ClassVar[str] = "geometric"
    autonomous: ClassVar[bool] = True

    rate: float = 0.0

    def __post_init__(self) -> None:
        _as_numbers(self, "rate")

    def linear(self, t: float, dimension: int) -> tuple[Real, Real]:
        """A and c at time t, for f = A θ + c."""
        return self.rate * np.eye(dimension), np.zeros(dimension)

    def __call__(self, theta: Real, t: float) -> Real:
        return self.rate * theta


@NOISES.row()
@dataclass(frozen=True, eq=False)
class GeometricNoise:
    """g(θ) = scale · θ, parameter by parameter.

    Examples
    --------
    >>> import numpy as np
    >>> GeometricNoise(0.5)(np.array([[2.0]]), 0.0).tolist()
    [[1.0]]
    """

    kind: ClassVar[str] = "geometric"
    autonomous: ClassVar[bool] = True

    scale: float = 1.0

    def __post_init__(self) -> None:
        _as_numbers(self, "scale")

    def __call__(self, theta: Real, t: float) -> Real:
        return self.scale * theta
