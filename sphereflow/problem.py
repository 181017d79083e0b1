"""The Transformer PDE with its options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .attention.field import ATTENTIONS, VELOCITIES
from .attention.specification import FieldSpecification
from .checks import called, finite_array, held, one_of, positive_number, real_array
from .densities.base import Density, as_density
from .describe.fields import Array, Bounds, Function, Words
from .errors import InputError
from .heads import HeadLaw, as_law

__all__ = ["TransformerPDE"]

Real = NDArray[np.float64]
OfPosition = Callable[[Real, float], ArrayLike]  # of unit vectors (n, 3) and t

FLOWS = ("ascent", "descent")
BEFORE_KINK = 1e-9  # of a step


@dataclass(frozen=True, eq=False)
class TransformerPDE:
    """∂_tμ + div(μ (s·v̄[μ] + u)) = ε Δμ, with v̄ averaged over the head law Θ_t, eq. (20).

    Parameters
    ----------
    heads : head law or None
        Θ_t; None leaves the attention out.
    density : callable
        μ_0, called on (..., 3) unit vectors; scaled to unit mass.
    flow : {"ascent", "descent"}
        s = +1, a transformer, whose energy grows; or s = −1, the gradient flow of the energy
        that the paper's numerical section integrates.
    velocity : {"attention", "gradient"}
        v̄ as above, or the steepest descent b⁻¹ ∫∇K dΘ in the metric of the effective mobility.
    attention : {"softmax", "unnormalised"}
        With or without the denominator of the attention average.
    diffusion : float
        ε ≥ 0.
    drift : array_like of shape (3, 3) or callable, optional
        Prescribed velocity u: P_x M x for a matrix, P_x u(x, t) for a callable that takes
        x of shape (n, 3) and t and returns shape (n, 3). It is not multiplied by s.

    Raises
    ------
    InputError
        On unknown options, a negative diffusion, or objects of the wrong kind.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> heads = sf.FixedHeads(np.eye(3))
    >>> problem = sf.TransformerPDE(heads, sf.VonMisesFisher([0, 0, 1], 2.0), flow="descent")
    >>> problem.sign
    -1.0
    """

    heads: HeadLaw | None
    density: Density
    flow: Annotated[str, Words(FLOWS)] = "ascent"
    velocity: Annotated[str, Words(VELOCITIES)] = "attention"
    attention: Annotated[str, Words(ATTENTIONS)] = "softmax"
    diffusion: Annotated[float, Bounds(0)] = 0.0
    drift: Annotated[ArrayLike | OfPosition, Array((3, 3)), Function()] | None = None

    def __post_init__(self) -> None:
        if self.heads is not None:
            object.__setattr__(self, "heads", as_law(self.heads))
        object.__setattr__(self, "density", as_density(self.density))
        one_of(self.flow, FLOWS, "flow")
        one_of(self.velocity, VELOCITIES, "velocity")
        one_of(self.attention, ATTENTIONS, "attention")
        object.__setattr__(
            self, "diffusion", positive_number(self.diffusion, "diffusion", zero=True)
        )
        if self.drift is not None and not callable(self.drift):
            matrix = finite_array(self.drift, "drift")
            if matrix.shape != (3, 3):
                raise InputError(
                    f"drift must be a 3 by 3 matrix or a callable, got shape {matrix.shape}; pass "
                    "one of them"
                )
            object.__setattr__(self, "drift", matrix)

    @property
    def sign(self) -> float:
        """s: +1 for ascent, −1 for descent."""
        return 1.0 if self.flow == "ascent" else -1.0

    @property
    def head_numbers(self) -> int:
        """Numbers that a dataset holds of the heads at one time."""
        return 0 if self.heads is None else self.heads.recorded_numbers

    @property
    def law(self) -> HeadLaw:
        """The head law of a problem that has one."""
        assert self.heads is not None
        return self.heads

    @property
    def field_specification(self) -> FieldSpecification:
        """What the attention field is asked for, of a problem that has one."""
        drift = None if self.drift is None else self.prescribed_velocity
        options = self.velocity, self.attention, drift, self.diffusion
        return FieldSpecification(self.law, *options)

    @property
    def drift_depends_on_time(self) -> bool:
        """Whether the prescribed velocity has to be evaluated again at each time."""
        return callable(self.drift)

    def prescribed_velocity(self, x: Real, t: float) -> Real:
        """The drift at points (n, 3), shape (n, 3); its radial part is left to the caller.

        Raises
        ------
        InputError
            If a callable returns a wrong shape or values that are not finite.
        """
        if not callable(self.drift):
            velocities: Real = x @ held(self.drift).T
            return velocities
        values = real_array(called(self.drift, "drift(x, t)", x, t), "drift(x, t)")
        if values.shape != x.shape or not np.isfinite(values).all():
            problem = f"shape {values.shape}" if values.shape != x.shape else "values not finite"
            raise InputError(
                f"drift(x, t) must return finite velocities of shape {x.shape}, got {problem} at "
                f"t={t:g}; return one vector for each row of x"
            )
        return values

    def kink_after(self, t: float) -> float:
        """The next time at which the heads are not smooth in time; infinite if there is none."""
        return np.inf if self.heads is None else float(self.heads.breakpoint_after(t))

    def time_within(self, start: float, end: float, t: float) -> float:
        """`t`, or for the end of a step the time just before it.

        The rates of heads at a kink, and of a drift at a jump, are then those of the step.
        """
        if t < end:
            return t
        if end == self.kink_after(start):
            return end - BEFORE_KINK * (end - start)
        return float(np.nextafter(end, -np.inf))

    def with_heads(self, heads: HeadLaw | None) -> TransformerPDE:
        """The same problem under another head law."""
        return replace(self, heads=heads)
