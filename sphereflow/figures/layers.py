"""What one kind of map shows of a run: its colours, points and arrows, at any output time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from numpy.typing import NDArray

from ..checks import one_of
from ..errors import InputError
from ..output.swept import left_out_of
from ..sphere import spread_points
from .colour_limits import AS_SUITS, ColourChoice
from .fields import Field, density_field, stored_field, velocity_field
from .shown import some_of
from .snapshots import colour_scale

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ARROWS", "MAP_KINDS", "Layers"]

Real = NDArray[np.float64]
MAP_KINDS = ("density", "tokens", "mobility", "velocity")
ARROWS = 300  # over the whole sphere
DENSITY_LABEL = "density [sr$^{-1}$]"
MOBILITY_LABEL = r"effective mobility $b_\mu$ [1]"
_MOST_MARKERS = 4000
_PEAK = 0.1  # of the highest density at the nodes
_LOG_RATIO = 10.0


class Layers:
    """The colours, points and arrows of one kind of map, at any output time of a run.

    Parameters
    ----------
    run : xarray.Dataset
        Of one path.
    kind : {"density", "tokens", "mobility", "velocity"}
    indices : sequence of int
        The output times that are drawn; the colour limits hold for all of them.
    choice : ColourChoice, optional
        Of the colours.

    Raises
    ------
    InputError
        If the run lacks what the kind needs.
    """

    def __init__(
        self,
        run: xr.Dataset,
        kind: str,
        indices: Sequence[int],
        choice: ColourChoice = AS_SUITS,
    ) -> None:
        self.run = run
        self.kind = one_of(kind, MAP_KINDS, "kind")
        self.norm: Normalize | None = None
        self.extend = "neither"
        self.label = ""
        self.colour_map = "cividis" if kind == "mobility" else "viridis"
        self._last: tuple[int, Field] | None = None
        self.arrow_points = spread_points(ARROWS)
        self.largest = 0.0
        if kind == "tokens":
            self._check_tokens()
            if self._nodes_have_values(indices):
                self.label = "density at the node [sr$^{-1}$]"
                logs = (run["log_density"].isel(time=index).values for index in indices)
                ends = [_ends(np.exp(log)) for log in logs]
                self.norm, self.extend = colour_scale(np.array(ends)[:, None, :])
                self._choose(choice, np.array(ends))
            elif choice != AS_SUITS:
                raise InputError(
                    "scale, vmin and vmax must be left out of tokens without a density, got "
                    f"{tuple(choice)!r}; draw the kind 'density'"
                )
            return
        # Of each time only the ends are kept, as a movie may have many times.
        limits = np.array([_ends(self.field(index).values) for index in indices])
        if kind == "mobility":
            self.norm, self.label = _positive_scale(limits), MOBILITY_LABEL
            self._choose(choice, limits)
            return
        self.norm, self.extend = colour_scale(limits[:, None, :])
        self._choose(choice, limits)
        self.label = DENSITY_LABEL
        width = self.field(indices[0]).smoothing
        if width is not None:
            self.label = f"density, tokens smoothed\nover {width:.2f} rad [sr$^{{-1}}$]"
        if kind == "velocity":
            speeds = [self._speeds(index) for index in indices]
            self.largest = float(max(np.nanmax(one, initial=0.0) for one in speeds))

    def _choose(self, choice: ColourChoice, limits: Real) -> None:
        if choice != AS_SUITS:
            assert self.norm is not None
            ends = float(np.nanmin(limits)), float(np.nanmax(limits))
            self.norm, self.extend = choice.applied(self.norm, *ends)

    def field(self, index: int) -> Field:
        """What the colours show at an output time."""
        if self._last is None or self._last[0] != index:
            if self.kind == "mobility":
                field = stored_field(self.run, "effective_mobility", index)
            else:
                field = density_field(self.run, index)
            self._last = index, field
        return self._last[1]

    def picture(self, index: int, points: Real) -> Real:
        """Colour values at points (rows, columns, 3), within the limits of the colours."""
        assert self.norm is not None
        return np.clip(self.field(index).at(points), self.norm.vmin, self.norm.vmax)

    @property
    def has_picture(self) -> bool:
        """Whether the sphere is coloured, not only points on it."""
        return self.kind != "tokens"

    def markers(self, index: int) -> tuple[Real, Real | None] | None:
        """Positions (n, 3) of tokens and their values, if any; None without points to draw."""
        if "position" not in self.run or self.kind not in ("density", "tokens"):
            return None
        now = self.run.isel(time=index)
        now = now.isel(token=some_of(now.sizes["token"], _MOST_MARKERS))
        places = now["position"].transpose("token", "axis").values
        if "log_density" not in now or self.norm is None:
            return places, None
        values = np.exp(now["log_density"].values)
        if self.kind == "density":
            # Over the map only the nodes of the peaks, which may be narrower than its pixels.
            top = np.nanmax(values, initial=0.0)
            places = np.where((values >= _PEAK * top)[:, None], places, np.nan)
        return places, np.clip(values, self.norm.vmin, self.norm.vmax)

    def arrows(self, index: int) -> Real | None:
        """Velocities (n, 3) at `arrow_points`."""
        if self.kind != "velocity":
            return None
        return velocity_field(self.run, index)(self.arrow_points)

    def _speeds(self, index: int) -> Real:
        speeds: Real = np.linalg.norm(velocity_field(self.run, index)(self.arrow_points), axis=1)
        return speeds

    def _check_tokens(self) -> None:
        if "position" not in self.run:
            raise InputError(
                "kind 'tokens' must be asked of a run with positions, got one without; draw the "
                "kind 'density'" + left_out_of(self.run, "position")
            )

    def _nodes_have_values(self, indices: Sequence[int]) -> bool:
        if "log_density" not in self.run:
            return False
        return bool(np.isfinite(self.run["log_density"].values[list(indices)]).all())


def _positive_scale(values: Real) -> Normalize:
    low, high = float(values.min()), float(values.max())
    if low > 0.0 and high > _LOG_RATIO * low:
        return LogNorm(low, high)
    if high - low <= 1e-6 * abs(high):
        return Normalize(min(0.0, 2.0 * low), max(2.0 * high, 0.0) or 1.0)
    return Normalize(low, high)


def _ends(values: Real) -> tuple[float, float]:
    return float(np.nanmin(values)), float(np.nanmax(values))
