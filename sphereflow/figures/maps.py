"""Maps of a run at some times, with artists that later times reuse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.quiver import Quiver
from matplotlib.text import Text
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from ..checks import one_of
from ..errors import InputError
from .colour_limits import AS_SUITS, ColourChoice
from .layers import ARROWS, Layers
from .map_projections import Mollweide, Orthographic, Projection
from .shown import ShownFigure

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["PROJECTIONS", "TOKEN_COLOUR", "MapFigure", "MapPanel", "globes", "time_text"]

Real = NDArray[np.float64]
PROJECTIONS = ("mollweide", "orthographic")
TOKEN_COLOUR = "#0072b2"
Style = dict[str, Any]  # arguments of Matplotlib by name
_SIDE: Style = {"fontsize": 8, "color": "0.3", "ha": "center", "va": "center"}


def time_text(time: float) -> str:
    """The time as titles show it."""
    return f"t = {time:.4g}"


def globes(projection: str, lon: float, lat: float) -> list[Projection]:
    """One Mollweide map, or the two halves of the globe.

    Raises
    ------
    InputError
        If the projection is unknown or the latitude no angle from −90 to 90 degrees.
    """
    if not -90.0 <= lat <= 90.0:
        raise InputError(f"lat must lie between -90 and 90 degrees, got {lat:g}; give another")
    if one_of(projection, PROJECTIONS, "projection") == "mollweide":
        return [Mollweide()]
    front = Orthographic(lon, lat)
    return [front, front.opposite()]


class MapPanel:
    """One map in one axes.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    projection : Projection
    layers : Layers
    index : int
        Output time that is drawn first.
    """

    def __init__(self, axes: Axes, projection: Projection, layers: Layers, index: int) -> None:
        self.axes, self.layers, self.projection = axes, layers, projection
        self.image: AxesImage | None = None
        self.quiver: Quiver | None = None
        self.scatter: PathCollection | None = None
        self._points: Real | None = None
        width = projection.width
        low = -1.2 if isinstance(projection, Orthographic) else -1.02
        axes.set(aspect="equal", xlim=(-1.02 * width, 1.02 * width), ylim=(low, 1.02))
        axes.axis("off")
        if layers.has_picture:
            self._points = projection.pixel_points()
            self.image = axes.imshow(
                layers.picture(index, self._points),
                norm=layers.norm,
                cmap=layers.colour_map,
                origin="lower",
                extent=(-width, width, -1.0, 1.0),
                interpolation="nearest",
            )
        self._rim = axes.plot(*projection.outline(), color="0.3", linewidth=0.8)[0]
        if self.image is not None:
            self.image.set_clip_path(self._rim.get_path(), axes.transData)
        style = {"color": "white", "alpha": 0.3} if layers.has_picture else {"color": "0.85"}
        self._lines = [
            axes.plot(*line, linewidth=0.5, zorder=1, **style)[0] for line in projection.graticule()
        ]
        self._from_where = _note_view(axes, projection)
        self._names = _label_axes(axes, projection, layers.has_picture)
        self._add_markers(index)
        self._add_arrows(index)

    def show(self, index: int, projection: Projection | None = None) -> None:
        """Draw another time, and perhaps from another side, with the same artists."""
        if projection is not None and projection != self.projection:
            self.projection = projection
            if self._points is not None:
                self._points = projection.pixel_points()
            for line, places in zip(self._lines, projection.graticule()):
                line.set_data(*places)
            if self._from_where is not None:
                self._from_where.set_text(_view_text(projection))
            for text, place in zip(self._names, _label_places(projection)):
                text.set_position(place[:2])
                text.set_visible(place[2])
        if self.image is not None:
            assert self._points is not None
            self.image.set_data(self.layers.picture(index, self._points))
        if self.scatter is not None:
            spots, values = self._marker_places(index)
            self.scatter.set_offsets(spots)
            if values is not None:
                self.scatter.set_array(values)
        if self.quiver is not None:
            roots, u, v = self._arrow_places(index)
            self.quiver.set_offsets(roots)
            self.quiver.set_UVC(u, v)

    def _marker_places(self, index: int) -> tuple[Real, Real | None]:
        found = self.layers.markers(index)
        assert found is not None
        x, y, seen = self.projection.forward(found[0])
        places = np.where(seen[:, None], np.stack([x, y], axis=1), np.nan)
        return places, found[1]

    def _add_markers(self, index: int) -> None:
        if self.layers.markers(index) is None:
            return
        places, values = self._marker_places(index)
        size = float(np.clip(4000.0 / len(places), 1.5, 10.0))
        style: Style = {"color": TOKEN_COLOUR, "alpha": 0.6, "linewidths": 0}
        if values is not None:
            style = {"c": values, "cmap": "viridis", "norm": self.layers.norm, "linewidths": 0}
        elif self.layers.has_picture:
            style = {"color": "white", "alpha": 0.6, "linewidths": 0}
            size *= 0.4
        x, y = places.T
        self.scatter = self.axes.scatter(x, y, s=size, rasterized=True, zorder=3, **style)

    def _arrow_places(self, index: int) -> tuple[Real, Real, Real]:
        vectors = self.layers.arrows(index)
        assert vectors is not None
        points = self.layers.arrow_points
        x, y, _ = self.projection.forward(points)
        u, v = self.projection.arrows(points, vectors)
        return np.stack([x, y], axis=1), u, v

    def _add_arrows(self, index: int) -> None:
        if self.layers.kind != "velocity":
            return
        places, u, v = self._arrow_places(index)
        # The longest arrow spans twice the mean distance of two of them.
        longest = 2.0 * np.sqrt(4.0 * np.pi / ARROWS)
        self.quiver = self.axes.quiver(
            *places.T,
            u,
            v,
            color="white",
            edgecolor="black",
            linewidth=0.4,
            angles="xy",
            scale_units="xy",
            scale=(self.layers.largest or 1.0) / longest,
            width=0.008 / self.projection.width,
            headwidth=4.0,
            minlength=0.5,
            pivot="mid",
            zorder=3,
        )
        self.quiver.set_clip_path(self._rim.get_path(), self.axes.transData)


class MapFigure:
    """A figure with a map for each time and each view.

    Several times make columns, with the views below each other; those of one time are side by
    side.

    Parameters
    ----------
    run : xarray.Dataset
        Of one path.
    kind : str
        One of `MAP_KINDS`.
    indices : sequence of int
        Output times to draw.
    views : sequence of Projection
    movie : bool
        Draw the first time only; `show` draws the others, within the same colour limits.
    choice : ColourChoice, optional
        Of the colours.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    panels : list of MapPanel
        Time after time, each with all its views.
    changing : list of matplotlib artists
        What `show` changes.
    """

    def __init__(
        self,
        run: xr.Dataset,
        kind: str,
        indices: Sequence[int],
        views: Sequence[Projection],
        *,
        movie: bool = False,
        choice: ColourChoice = AS_SUITS,
    ) -> None:
        self.times = run["time"].values
        layers = Layers(run, kind, indices, choice)
        drawn = list(indices[:1] if movie else indices)
        single = len(drawn) == 1
        wide = isinstance(views[0], Mollweide)
        columns = len(views) if single else min(len(drawn), 2 if wide else 4)
        rows = 1 if single else -(-len(drawn) // columns) * len(views)
        size = (4.6, 2.6) if wide else (2.8, 2.8)
        if single:
            size = (6.4, 3.4) if wide else (3.3, 3.3)
        self.figure = ShownFigure(
            figsize=(size[0] * columns + 1.2, size[1] * rows + 0.7), layout="constrained"
        )
        every = self.figure.subplots(rows, columns, squeeze=False)
        for axes in every.flat:
            axes.axis("off")
        self.panels: list[MapPanel] = []
        for place, index in enumerate(drawn):
            block, column = divmod(place, columns)
            for row, view in enumerate(views):
                where = (0, row) if single else (block * len(views) + row, column)
                self.panels.append(MapPanel(every[where], view, layers, index))
                if row == 0 and not single:
                    every[where].set_title(time_text(float(self.times[index])), fontsize=11)
        self._heading = ""
        if kind == "velocity":
            self._heading = r"Mean attention velocity $\bar v$ (without the sign of the flow)"
        if self._heading or single:
            first = time_text(float(self.times[drawn[0]])) if single else ""
            text = "\n".join(filter(None, [self._heading, first]))
            self._title = self.figure.suptitle(text, fontsize=11)
        self.changing: list[Artist] = [panel.axes for panel in self.panels]
        if self._heading or single:
            self.changing.append(self._title)
        _add_keys(self.figure, every, layers, self.panels[0])

    def show(self, index: int, views: Sequence[Projection]) -> None:
        """Let the figure of a movie show another time from other sides."""
        for panel, view in zip(self.panels, views):
            panel.show(index, view)
        now = time_text(float(self.times[index]))
        self._title.set_text("\n".join(filter(None, [self._heading, now])))


def _add_keys(figure: Figure, every: NDArray[np.object_], layers: Layers, panel: MapPanel) -> None:
    """The bar of the colours and the length of an arrow."""
    if layers.norm is not None:
        bar = figure.colorbar(
            ScalarMappable(layers.norm, layers.colour_map),
            ax=every.ravel().tolist(),
            shrink=0.75,
            aspect=22,
            pad=0.02,
            extend=layers.extend,
            label=layers.label,
        )
        if layers.kind == "mobility" and isinstance(layers.norm, LogNorm):
            bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            bar.ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
            bar.ax.yaxis.set_minor_formatter(NullFormatter())
    if panel.quiver is not None and layers.largest > 0:
        length = _round_number(layers.largest)
        room = 0.3 / figure.get_figheight()
        figure.set_layout_engine("constrained", rect=(0.0, room, 1.0, 1.0 - room))
        panel.axes.quiverkey(
            panel.quiver,
            0.07,
            0.15 / figure.get_figheight(),
            length,
            f"{length:g} rad per unit time",
            labelpos="E",
            coordinates="figure",
            fontproperties={"size": 9},
        )


def _round_number(largest: float) -> float:
    """1, 2 or 5 times a power of ten, at most `largest`."""
    power = 10.0 ** np.floor(np.log10(largest))
    return float(power * max(step for step in (1.0, 2.0, 5.0) if step * power <= largest))


def _label_places(projection: Projection) -> list[tuple[float, float, bool]]:
    x, y, seen = projection.forward(np.concatenate([np.eye(3), -np.eye(3)]))
    return [(float(a), float(b), bool(c)) for a, b, c in zip(x, y, seen)]


def _label_axes(axes: Axes, projection: Projection, on_colours: bool) -> list[Text]:
    """Names of the six ends of the axes, or degrees on Mollweide's map."""
    style: Style = {"fontsize": 7, "ha": "center", "va": "center", "zorder": 4, "clip_on": False}
    inside: Style = {"color": "0.3"}
    if on_colours:
        halo = [withStroke(linewidth=1.5, foreground="black", alpha=0.6)]
        inside = {"color": "white", "path_effects": halo}
    if isinstance(projection, Orthographic):
        names = ["+x", "+y", "+z", "−x", "−y", "−z"]
        texts = []
        for name, (x, y, seen) in zip(names, _label_places(projection)):
            text = axes.text(x, y, name, **inside, **style)
            text.set_visible(seen)
            texts.append(text)
        return texts
    for lon in (-120, -60, 60, 120):
        # On the equator of this map x grows evenly with the longitude.
        place = projection.width * lon / 180.0
        axes.text(place, 0.0, _degrees(lon), **inside, **style)
    for lat in (-60, -30, 0, 30, 60):
        angle = np.radians(lat)
        left, height, _ = projection.forward(np.array([[-np.cos(angle), -1e-9, np.sin(angle)]]))
        gap = 0.04 if abs(lat) < 60 else 0.09
        beside = style | {"ha": "right", "color": "0.3"}
        axes.text(left[0] - gap, height[0], _degrees(lat), **beside)
    return []


def _note_view(axes: Axes, projection: Projection) -> Text | None:
    """Where the eye is, below a globe."""
    if not isinstance(projection, Orthographic):
        return None
    return axes.text(0.0, -1.13, _view_text(projection), **_SIDE)


def _view_text(projection: Projection) -> str:
    assert isinstance(projection, Orthographic)
    lon, lat = (projection.lon + 180.0) % 360.0 - 180.0, projection.lat
    north, east = "N" if lat >= 0 else "S", "E" if lon >= 0 else "W"
    return f"from {abs(lat):.0f}°{north}, {abs(lon):.0f}°{east}"


def _degrees(angle: float) -> str:
    return f"{angle:.0f}°".replace("-", "−")
