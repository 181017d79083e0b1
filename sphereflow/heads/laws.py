"""Laws of a finite number of heads: constant, oscillating (the paper's), tabulated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import finite_array, held, matrices, one_of, shown, weights_of
from ..describe.fields import Array, Words
from ..describe.registry import LAWS
from ..errors import InputError
from .law import HeadLaw
from .nodes import NUMBERS_OF_A_HEAD, Heads

__all__ = ["FixedHeads", "OscillatingHeads", "TabulatedHeads"]

Real = NDArray[np.float64]

Matrices = Annotated[ArrayLike, Array((3, 3), (None, 3, 3), drawn=True)]
PHASES = ("spread", "common")
INTERPOLATIONS = ("cubic", "linear")
Table = Annotated[ArrayLike, Array((None, None, 3, 3))]
Weights = Annotated[ArrayLike, Array((None,))]


class Spline(Protocol):
    """Matrices between the times of a table."""

    def __call__(self, t: float) -> Real: ...
    def derivative(self) -> Spline: ...


@LAWS.row()
@dataclass(frozen=True, eq=False)
class FixedHeads(HeadLaw):
    """Constant heads: Θ_t = Σ_h w_h δ_{(D_h, V_h)}.

    Parameters
    ----------
    logits : array_like, shape (H, 3, 3) or (3, 3)
        D = QᵀK of each head; the logit is ⟨x, D y⟩.
    values : array_like, shape (H, 3, 3) or (3, 3), optional
        V of each head; the logits if left out (the gradient-flow case V = D).
    weights : array_like, shape (H,), optional
        Equal if left out; normalised to sum 1.

    Raises
    ------
    InputError
        On a wrong shape, a non-finite entry or unusable weights.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> heads = sf.FixedHeads([np.eye(3), -2 * np.eye(3)])
    >>> heads.nodes(0.0).weights
    array([0.5, 0.5])
    """

    logits: Matrices
    values: Matrices | None = None
    weights: Weights | None = None

    def __post_init__(self) -> None:
        logits = matrices(self.logits, "logits")
        values = logits if self.values is None else matrices(self.values, "values")
        if len(values) != len(logits):
            raise InputError(
                f"values must be {len(logits)} matrices as the logits are, got {len(values)}; "
                "pass one for each head"
            )
        object.__setattr__(self, "logits", logits)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "weights", weights_of(self.weights, len(logits), "weights"))

    @property
    def recorded_numbers(self) -> int:
        """Two matrices and a weight of each head."""
        return NUMBERS_OF_A_HEAD * len(held(self.weights))

    @property
    def linear_between_breakpoints(self) -> bool:
        """There is nothing to see of constant heads."""
        return True

    def nodes(self, t: float) -> Heads:
        """The heads; the same at every time."""
        return Heads(held(self.logits), held(self.values), held(self.weights))


@LAWS.row()
@dataclass(frozen=True, eq=False)
class OscillatingHeads(HeadLaw):
    """Heads that follow periodic targets, dD_h/dt = F_h(t) − D_h, V = D, in closed form.

    F has the diagonal 2 + 1.5·(cos(t + φ), sin(t + φ), cos(t + π/4 + φ)) and the entries
    F₁₂ = sin(2t + φ), F₁₃ = sin(t + φ), F₂₃ = cos(2t + φ) (Section 6 of the paper).

    Parameters
    ----------
    initial : array_like, shape (H, 3, 3)
        Symmetric matrices D_h(0).
    phase : {"spread", "common"}
        φ_h = 2π(h − 1)/H as in the paper's text and script, or 0 for every head. With
        "spread" the targets cancel in the average over heads.

    Raises
    ------
    InputError
        On a wrong shape, a matrix that is not symmetric, or an unknown phase.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> heads = sf.OscillatingHeads(np.zeros((2, 3, 3)), phase="common").nodes(0.0)
    >>> heads.logit_rates[0].round(12).tolist()[0]
    [3.5, 0.0, 0.0]
    """

    initial: Matrices
    phase: Annotated[str, Words(PHASES)] = "spread"

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial", matrices(self.initial, "initial", symmetric=True))
        one_of(self.phase, PHASES, "phase")

    @property
    def recorded_numbers(self) -> int:
        """Two matrices and a weight of each head."""
        return NUMBERS_OF_A_HEAD * len(held(self.initial))

    def _phases(self) -> Real:
        count = len(held(self.initial))
        turn = 2 * np.pi if self.phase == "spread" else 0.0
        return np.asarray(np.arange(count) * (turn / count), dtype=np.float64)

    @staticmethod
    def _matrix(constant: float, wave: Callable[[float, Real], Real], phases: Real) -> Real:
        """Entries from `constant` and wave(frequency, phase), for cosines of phase."""
        result = np.empty((len(phases), 3, 3))
        quarter = np.pi / 2  # sin τ = cos(τ − π/2)
        result[:, 0, 0] = 2 * constant + 1.5 * wave(1.0, phases)
        result[:, 1, 1] = 2 * constant + 1.5 * wave(1.0, phases - quarter)
        result[:, 2, 2] = 2 * constant + 1.5 * wave(1.0, phases + np.pi / 4)
        result[:, 0, 1] = result[:, 1, 0] = wave(2.0, phases - quarter)
        result[:, 0, 2] = result[:, 2, 0] = wave(1.0, phases - quarter)
        result[:, 1, 2] = result[:, 2, 1] = wave(2.0, phases)
        return result

    def targets(self, t: float) -> Real:
        """F_h(t), shape (H, 3, 3)."""
        return self._matrix(1.0, lambda w, phi: np.cos(w * t + phi), self._phases())

    def nodes(self, t: float) -> Heads:
        """D_h(t) = e^{−t} D_h(0) + ∫₀ᵗ e^{−(t−s)} F_h(s) ds, with its exact rate."""
        decay = np.exp(-t)

        def relaxed(w: float, phi: Real) -> Real:
            now = np.cos(w * t + phi) + w * np.sin(w * t + phi)
            entry: Real = (now - decay * (np.cos(phi) + w * np.sin(phi))) / (1 + w**2)
            return entry

        forced = self._matrix(1.0 - decay, relaxed, self._phases())
        logits = decay * held(self.initial) + forced
        weights = np.full(len(logits), 1.0 / len(logits))
        return Heads(logits, logits, weights, self.targets(t) - logits)


@LAWS.row()
@dataclass(frozen=True, eq=False)
class TabulatedHeads(HeadLaw):
    """Heads that a user brings: matrices at given times (depths), interpolated between.

    Parameters
    ----------
    times : array_like, shape (T,)
        Increasing; at least two. The law is defined between the first and the last.
    logits : array_like, shape (T, H, 3, 3)
    values : array_like, shape (T, H, 3, 3), optional
        The logits if left out.
    weights : array_like, shape (H,), optional
        Equal if left out.
    interpolation : {"cubic", "linear"}
        The cubic spline (not-a-knot) is the default; it passes through the rows and may overshoot
        between them. Two rows are joined by a straight line in either case. With "linear" the time
        integrator stops at every table time.

    Raises
    ------
    InputError
        On wrong shapes, non-finite entries or times that do not increase; later, on a time
        outside the table.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> table = np.stack([np.zeros((1, 3, 3)), np.ones((1, 3, 3))])
    >>> heads = sf.TabulatedHeads([0.0, 2.0], table, interpolation="linear")
    >>> float(heads.nodes(1.0).logits[0, 0, 0])
    0.5
    """

    times: Annotated[ArrayLike, Array((None,))]
    logits: Table
    values: Table | None = None
    weights: Weights | None = None
    interpolation: Annotated[str, Words(INTERPOLATIONS)] = "cubic"
    _logits_at: Spline = field(init=False, repr=False)
    _values_at: Spline = field(init=False, repr=False)

    def __post_init__(self) -> None:
        times = finite_array(self.times, "times")
        if times.ndim != 1 or len(times) < 2 or not (np.diff(times) > 0).all():
            raise InputError(
                f"times must be at least 2 increasing numbers, got {shown(times)}; sort "
                "them and drop repeated ones"
            )
        logits = self._table(self.logits, "logits", len(times))
        values = logits if self.values is None else self._table(self.values, "values", len(times))
        if values.shape != logits.shape:
            raise InputError(
                f"values must have the shape {logits.shape} of the logits, got {values.shape}"
            )
        one_of(self.interpolation, INTERPOLATIONS, "interpolation")
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "logits", logits)
        object.__setattr__(self, "values", values)
        count = logits.shape[1]
        object.__setattr__(self, "weights", weights_of(self.weights, count, "weights"))
        object.__setattr__(self, "_logits_at", self._spline(logits))
        object.__setattr__(self, "_values_at", self._spline(values))

    @staticmethod
    def _table(value: object, name: str, count: int) -> Real:
        array = finite_array(value, name)
        expected = (count, *array.shape[1:2], 3, 3)
        if array.ndim != 4 or array.shape != expected or not array.size:
            raise InputError(
                f"{name} must have shape ({count}, H, 3, 3), one stack of heads for each of the "
                f"{count} times, got {array.shape}"
            )
        return array

    def _spline(self, table: Real) -> Spline:
        from scipy.interpolate import CubicSpline, make_interp_spline

        if self.interpolation == "cubic" and len(table) > 2:
            spline: Spline = CubicSpline(self.times, table)
        else:
            spline = make_interp_spline(self.times, table, k=1)
        return spline

    @property
    def recorded_numbers(self) -> int:
        """Two matrices and a weight of each head."""
        return NUMBERS_OF_A_HEAD * len(held(self.weights))

    @property
    def linear_between_breakpoints(self) -> bool:
        """Whether there is nothing to see between two kinks."""
        return self.interpolation == "linear" or len(held(self.times)) < 3

    def times_between(self, start: float, stop: float) -> Real:
        """Times of the table inside an interval, at all of which a step has to look."""
        times = held(self.times)
        low, high = np.searchsorted(times, [start, stop], side="right")
        inside = times[low:high]
        return inside[inside < stop]

    def breakpoint_after(self, t: float) -> float:
        """The next time at which the law has a kink; infinity if there is none."""
        times = held(self.times)
        if self.interpolation != "linear" or t >= times[-1]:
            return np.inf
        return float(times[times > t][0])

    @property
    def time_range(self) -> tuple[float, float]:
        """First and last time at which the law is defined."""
        times = held(self.times)
        return float(times[0]), float(times[-1])

    def nodes(self, t: float) -> Heads:
        """Interpolated heads at time t.

        Raises
        ------
        InputError
            If t is outside the table.
        """
        first, last = self.time_range
        if not first - 1e-9 * (last - first) <= t <= last + 1e-9 * (last - first):
            raise InputError(
                f"time must lie between {first:g} and {last:g}, where the heads are tabulated, "
                f"got {t:g}; shorten the run or extend the table"
            )
        t = min(max(t, first), last)
        logits, rates = self._logits_at(t), self._logits_at.derivative()(t)
        return Heads(logits, self._values_at(t), held(self.weights), rates)
