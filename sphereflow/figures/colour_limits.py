"""Colour scales that a user asks for, in place of those that suit the values."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from matplotlib.colors import LogNorm, Normalize, SymLogNorm

from ..checks import one_of
from ..errors import InputError

__all__ = ["AS_SUITS", "SCALES", "ColourChoice", "Extend", "colour_choice"]

SCALES = ("auto", "linear", "log", "symlog")
_DECADES = 3.0  # of a logarithmic scale whose lower end was not asked for
_LINEAR_SHARE = 1e-3  # of a symlog scale, of the largest size

Extend = Literal["neither", "both", "min", "max"]


class ColourChoice(NamedTuple):
    """What was asked of the colours; None for what was not."""

    scale: str = "auto"
    vmin: float | None = None
    vmax: float | None = None

    def applied(self, norm: Normalize, low: float, high: float) -> tuple[Normalize, Extend]:
        """The scale that was asked for, and at which ends values lie beyond it.

        Parameters
        ----------
        norm : Normalize
            What suits the values.
        low, high : float
            Least and largest of the values.

        Raises
        ------
        InputError
            If the limits are in no order, or not above 0 on a logarithmic scale.
        """
        if self != ColourChoice():
            norm = self._asked(norm, low, high)
        assert norm.vmin is not None and norm.vmax is not None
        slack = 1e-9 * (norm.vmax - norm.vmin)
        below, above = low < norm.vmin - slack, high > norm.vmax + slack
        ends: dict[tuple[bool, bool], Extend] = {
            (True, True): "both",
            (True, False): "min",
            (False, True): "max",
        }
        return norm, ends.get((below, above), "neither")

    def _asked(self, norm: Normalize, low: float, high: float) -> Normalize:
        assert norm.vmin is not None and norm.vmax is not None
        scale = self.scale
        if scale == "auto":
            scale = "log" if isinstance(norm, LogNorm) else "linear"
            low, high = float(norm.vmin), float(norm.vmax)
        elif scale == "log" and low <= 0.0:
            low = high * 10.0**-_DECADES
        bottom = low if self.vmin is None else self.vmin
        top = high if self.vmax is None else self.vmax
        if scale == "log" and not 0.0 < bottom:
            raise InputError(
                f"colours of the scale 'log' must begin above 0, got {bottom:g}; give a vmin above "
                "0, or the scale 'linear' or 'symlog'"
            )
        if not bottom < top:
            raise InputError(
                f"vmin must be below vmax, got colours from {bottom:g} to {top:g}; give others"
            )
        if scale == "log":
            return LogNorm(bottom, top)
        if scale == "symlog":
            return SymLogNorm(_LINEAR_SHARE * max(abs(bottom), abs(top)), vmin=bottom, vmax=top)
        return Normalize(bottom, top)


AS_SUITS = ColourChoice()


def colour_choice(scale: str, vmin: float | None, vmax: float | None) -> ColourChoice:
    """What was asked, checked by itself.

    Raises
    ------
    InputError
        If there is no such scale, or a limit is no finite number.
    """
    for name, value in (("vmin", vmin), ("vmax", vmax)):
        real = isinstance(value, int | float | np.integer | np.floating)
        if value is not None and (isinstance(value, bool) or not real or not np.isfinite(value)):
            raise InputError(f"{name} must be a finite number, got {value!r}; pass such a number")
    limits = (None if one is None else float(one) for one in (vmin, vmax))
    return ColourChoice(one_of(scale, SCALES, "scale"), *limits)
