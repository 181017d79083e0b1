"""What a field is asked for, apart from the measure and the points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..heads import HeadLaw

__all__ = ["FieldSpecification"]

Real = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FieldSpecification:
    """The head law and the options of the field, and what else enters the energy balance.

    Parameters
    ----------
    heads : head law
    velocity : {"attention", "gradient"}
    attention : {"softmax", "unnormalised"}
        As in TransformerPDE.
    drift : callable, optional
        ``drift(points, t)``: prescribed velocity u at points (n, 3), shape (n, 3).
    diffusion : float
        ε.
    """

    heads: HeadLaw
    velocity: str = "attention"
    attention: str = "softmax"
    drift: Callable[[Real, float], Real] | None = None
    diffusion: float = 0.0

    @property
    def softmax(self) -> bool:
        """Whether the attention average has its denominator."""
        return self.attention == "softmax"
