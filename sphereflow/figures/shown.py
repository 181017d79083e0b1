"""What figures of all kinds share: how notebooks show them, and which of many points."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = ["ShownFigure", "letter", "some_of"]


class ShownFigure(Figure):
    """A matplotlib figure with the picture that a notebook asks for."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def letter(axes: Axes, number: int) -> None:
    """Write (a), (b), … above the left end of a panel."""
    axes.set_title(f"({chr(ord('a') + number)})", loc="left", fontsize=10)


def some_of(total: int, most: int) -> NDArray[np.int64]:
    """Increasing numbers of at most so many of all tokens, the same for each call.

    Drawn at random: in even strides nodes that have an order would make stripes.
    """
    if total <= most:
        return np.arange(total)
    return np.sort(np.random.default_rng(0).permutation(total)[:most])
