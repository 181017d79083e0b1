"""How well a spectrum is resolved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..sphere import power_by_degree

__all__ = ["required_degree", "tail_ratio"]


def tail_ratio(coefficients: NDArray[np.complex128]) -> float:
    """Largest amplitude per degree among the last tenth of the degrees over the largest of all.

    0 is perfectly resolved, 1 lost.
    """
    amplitude = np.sqrt(power_by_degree(coefficients))
    last = max(2, amplitude.size // 10)
    return float(amplitude[-last:].max() / amplitude.max())


def required_degree(coefficients: NDArray[np.complex128], ratio: float) -> int:
    """Degree at which the spectrum, cut off there, has at most this tail ratio."""
    amplitude = np.sqrt(power_by_degree(coefficients))
    above = np.flatnonzero(amplitude > ratio * amplitude.max())
    return int(np.ceil((above.max() + 2) / 0.9))
