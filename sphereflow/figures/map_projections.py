"""Maps of the sphere onto a plane: Mollweide's equal-area one, and a globe seen from afar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..sphere import from_degrees

__all__ = ["Mollweide", "Orthographic", "Projection"]

Real = NDArray[np.float64]
_NEWTON_STEPS = 30


class Projection:
    """A map of the sphere onto the ellipse |x| < `width`, |y| < 1."""

    width: float
    pixels: tuple[int, int]  # rows and columns of a picture of the whole map

    def forward(self, points: Real) -> tuple[Real, Real, NDArray[np.bool_]]:
        """Places x, y of unit vectors (n, 3), each (n,), and which of them are seen."""
        raise NotImplementedError

    def backward(self, x: Real, y: Real) -> Real:
        """Unit vectors (..., 3) at places; NaN outside of the map."""
        raise NotImplementedError

    def pixel_points(self) -> Real:
        """Unit vectors (rows, columns, 3) at the middles of the pixels, the first row southmost."""
        rows, columns = self.pixels
        x = self.width * ((np.arange(columns) + 0.5) / columns * 2.0 - 1.0)
        y = (np.arange(rows) + 0.5) / rows * 2.0 - 1.0
        return self.backward(*np.meshgrid(x, y))

    def arrows(self, points: Real, vectors: Real) -> tuple[Real, Real]:
        """The vectors (n, 3), tangent at the points, on the map; NaN at the rim or unseen."""
        step = 1e-4
        x, y, seen = self.forward(points)
        ahead = points + step * vectors / np.maximum(1.0, np.linalg.norm(vectors, axis=1))[:, None]
        ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
        moved_x, moved_y, _ = self.forward(ahead)
        scale = np.maximum(1.0, np.linalg.norm(vectors, axis=1)) / step
        u, v = (moved_x - x) * scale, (moved_y - y) * scale
        across = np.abs(moved_x - x) > 0.1  # over the seam of the map
        rim = (x / self.width) ** 2 + y**2 > 0.98**2
        hidden = ~seen | across | rim
        return np.where(hidden, np.nan, u), np.where(hidden, np.nan, v)

    def outline(self) -> tuple[Real, Real]:
        """The rim of the map."""
        angle = np.linspace(0.0, 2.0 * np.pi, 361)
        return self.width * np.cos(angle), np.sin(angle)

    def graticule(self) -> list[tuple[Real, Real]]:
        """Meridians and parallels every 30 degrees, with NaN where they are not seen."""
        turn, quarter = np.linspace(-180.0, 180.0, 361), np.linspace(-90.0, 90.0, 181)
        lines = [from_degrees(turn, np.full(turn.size, lat)) for lat in range(-60, 61, 30)]
        lines += [from_degrees(np.full(quarter.size, lon), quarter) for lon in range(-150, 181, 30)]
        drawn = []
        for line in lines:
            x, y, seen = self.forward(line)
            jump = np.abs(np.diff(x, prepend=x[0])) > 0.5 * self.width
            hidden = ~seen | jump
            drawn.append((np.where(hidden, np.nan, x), np.where(hidden, np.nan, y)))
        return drawn


@dataclass(frozen=True)
class Mollweide(Projection):
    """Equal areas; longitude 0 in the middle.

    Examples
    --------
    >>> x, y, seen = Mollweide().forward(np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    >>> bool(np.allclose(x, [1.0, 0.0]) and np.allclose(y, [0.0, 1.0]) and seen.all())
    True
    """

    width = 2.0
    pixels = (360, 720)

    def forward(self, points: Real) -> tuple[Real, Real, NDArray[np.bool_]]:
        lon = np.arctan2(points[..., 1], points[..., 0])
        sine = np.clip(points[..., 2], -1.0, 1.0)
        # 2θ + sin 2θ = π sin φ, by Newton's method; the poles, where it is slow, are known.
        angle = np.arcsin(sine)
        for _ in range(_NEWTON_STEPS):
            slope = 2.0 + 2.0 * np.cos(2.0 * angle)
            error = 2.0 * angle + np.sin(2.0 * angle) - np.pi * sine
            angle = angle - error / np.maximum(slope, 1e-12)
            angle = np.clip(angle, -0.5 * np.pi, 0.5 * np.pi)
        angle = np.where(np.abs(sine) == 1.0, 0.5 * np.pi * sine, angle)
        x = self.width * lon / np.pi * np.cos(angle)
        return x, np.sin(angle), np.ones(x.shape, dtype=bool)

    def backward(self, x: Real, y: Real) -> Real:
        inside = (x / self.width) ** 2 + y**2 < 1.0
        angle = np.arcsin(np.clip(y, -1.0, 1.0))
        latitude = np.arcsin(np.clip((2.0 * angle + np.sin(2.0 * angle)) / np.pi, -1.0, 1.0))
        longitude = np.pi * x / (self.width * np.maximum(np.cos(angle), 1e-12))
        points = from_degrees(np.degrees(longitude), np.degrees(latitude))
        return np.where(inside[..., None], points, np.nan)


@dataclass(frozen=True)
class Orthographic(Projection):
    """The half of the sphere that is seen from afar above `lon`, `lat` (degrees); north is up.

    Examples
    --------
    >>> x, y, seen = Orthographic(0.0, 0.0).forward(np.array([[1.0, 0, 0], [-1.0, 0, 0]]))
    >>> seen.tolist()
    [True, False]
    """

    lon: float = 30.0
    lat: float = 20.0
    width = 1.0
    pixels = (400, 400)

    def frame(self) -> Real:
        """Rows: right, up, and towards the eye."""
        lon = np.radians(self.lon)
        towards = from_degrees(self.lon, self.lat)
        right = np.array([-np.sin(lon), np.cos(lon), 0.0])
        return np.stack([right, np.cross(towards, right), towards])

    def opposite(self) -> Orthographic:
        """The other half."""
        return Orthographic(self.lon + 180.0, -self.lat)

    def forward(self, points: Real) -> tuple[Real, Real, NDArray[np.bool_]]:
        x, y, depth = np.moveaxis(np.asarray(points) @ self.frame().T, -1, 0)
        return x, y, depth > 0.0

    def backward(self, x: Real, y: Real) -> Real:
        squared = x**2 + y**2
        depth = np.sqrt(np.maximum(0.0, 1.0 - squared))
        points = np.stack([x, y, depth], axis=-1) @ self.frame()
        return np.where((squared < 1.0)[..., None], points, np.nan)
