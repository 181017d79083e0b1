"""Values at points of the sphere, from those of a grid or of cells, or of a part of them.

Nothing is made up where a region was cut out: there the value is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["at_nearest", "close_sphere", "on_grid", "reach_of"]

Real = NDArray[np.float64]

HOLE = 1.5  # spacings, beyond which neighbours of a grid have something missing between them
POLE = 1.25  # spacings to a pole, which is 0.77 of one from the first ring of a Gauss grid
CORNER = 0.66  # of the root of the area of a cell: no corner is farther from its centre
SHEARED = 1.5  # of the same, for the areas that nodes carry along
WHOLE = 1e-3  # relative deviation of all areas of cells from the sphere
MOST_OF_IT = 0.9  # of the sphere, which all nodes have together whatever their errors


def close_sphere(lon: Real, lat: Real, values: Real) -> tuple[Real, Real, Real]:
    """Extend grid values to longitudes ±π and latitudes ±π/2, with increasing coordinates.

    Parameters
    ----------
    lon, lat : ndarray, shapes (nlon,) and (nlat,)
        Degrees; longitudes in any range.
    values : ndarray, shape (nlat, nlon)

    Returns
    -------
    longitude, latitude, values : ndarray, shapes (nlon + 2,), (nlat + 2,), (nlat + 2, nlon + 2)
        Radians.
    """
    longitude = np.radians((np.asarray(lon, dtype=float) + 180.0) % 360.0 - 180.0)
    order = np.argsort(longitude)
    longitude, values = longitude[order], values[:, order]
    by_latitude = np.argsort(lat)
    latitude, values = np.radians(np.asarray(lat, dtype=float)[by_latitude]), values[by_latitude]

    # The seam lies between the last and the first longitude; linear interpolation across it.
    gap = longitude[0] + 2.0 * np.pi - longitude[-1]
    share = (np.pi - longitude[-1]) / gap
    seam = (1.0 - share) * values[:, -1:] + share * values[:, :1]
    values = np.concatenate([seam, values, seam], axis=1)
    longitude = np.concatenate([[-np.pi], longitude, [np.pi]])

    south = np.full((1, values.shape[1]), values[0].mean())
    north = np.full((1, values.shape[1]), values[-1].mean())
    values = np.concatenate([south, values, north])
    latitude = np.concatenate([[-np.pi / 2], latitude, [np.pi / 2]])
    return longitude, latitude, values


def on_grid(lon: Real, lat: Real, values: Real) -> tuple[Callable[[Real], Real], bool]:
    """Linear interpolation between latitudes and longitudes, periodic and with both poles.

    Parameters
    ----------
    lon, lat : ndarray, shapes (nlon,) and (nlat,)
        Degrees.
    values : ndarray, shape (nlat, nlon)

    Returns
    -------
    at : callable
        Unit vectors (..., 3) → values (...); NaN where the point is, and beyond half of a spacing
        from a grid of a region.
    whole : bool
        Whether the grid is one of the whole sphere.
    """
    from scipy.ndimage import map_coordinates

    longitude, latitude, closed = close_sphere(lon, lat, values)
    east, north = np.sort(longitude[1:-1]), np.sort(latitude[1:-1])
    around, along = _spacings(east, north)
    east = np.concatenate([[east[-1] - 2 * np.pi], east, [east[0] + 2 * np.pi]])
    near = [np.pi / 2 - abs(end) <= POLE * along for end in (north[0], north[-1])]
    south_end, north_end = (np.pi / 2 if one else np.inf for one in near)
    north = np.concatenate([[-south_end], north, [north_end]])
    # A grid may have a longitude at the seam itself.
    longitude, kept = np.unique(longitude, return_index=True)
    closed = np.ascontiguousarray(closed[:, kept])
    rows, columns = np.arange(latitude.size), np.arange(longitude.size)

    def at(points: Real) -> Real:
        result = np.full(points.shape[:-1], np.nan)
        known = np.isfinite(points).all(axis=-1)
        x, y, z = points[known].T
        lat_at = _covered(np.arcsin(np.clip(z, -1.0, 1.0)), north, along)
        lon_at = _covered(np.arctan2(y, x), east, around)
        inside = np.isfinite(lat_at) & np.isfinite(lon_at)
        row = np.interp(lat_at[inside], latitude, rows)
        column = np.interp((lon_at[inside] + np.pi) % (2 * np.pi) - np.pi, longitude, columns)
        found = np.full(inside.shape, np.nan)
        found[inside] = map_coordinates(closed, [row, column], order=1, mode="nearest")
        result[known] = found
        return result

    whole = bool(
        all(near)
        and (np.diff(north) <= HOLE * along).all()
        and (np.diff(east) <= HOLE * around).all()
    )
    return at, whole


def _spacings(east: Real, north: Real) -> tuple[float, float]:
    """Typical distances of longitudes and of latitudes; of a single one that of the others."""
    known = [float(np.median(np.diff(one))) for one in (east, north) if one.size > 1]
    if len(known) == 2:
        return known[0], known[1]
    alone = known[0] if known else np.radians(1.0)
    return alone, alone


def _covered(x: Real, places: Real, spacing: float) -> Real:
    """x between neighbours, the nearest place up to half of a spacing beyond, NaN elsewhere."""
    right = np.clip(np.searchsorted(places, x), 1, places.size - 1)
    before, after = places[right - 1], places[right]
    nearest = np.where(x - before < after - x, before, after)
    beside = np.abs(x - nearest) <= 0.5 * spacing
    return np.where(after - before <= HOLE * spacing, x, np.where(beside, nearest, np.nan))


def reach_of(areas: Real, *, carried: bool = False) -> Real | None:
    """How far from their centres cells of a part of the sphere reach; None for the whole sphere.

    Parameters
    ----------
    areas : ndarray, shape (n,)
        In sr.
    carried : bool
        They belong to nodes that moved, so that their sum and their shapes are only about right.
    """
    if not carried:
        whole = abs(areas.sum() / (4 * np.pi) - 1) < WHOLE
        return None if whole else CORNER * np.sqrt(areas)
    if not areas.sum() < MOST_OF_IT * 4 * np.pi:  # as of an infinite one
        return None
    # Those at the poles of a grid are slender.
    return SHEARED * np.sqrt(np.maximum(areas, np.median(areas)))


def at_nearest(centres: Real, values: Real, reach: Real | None = None) -> Callable[[Real], Real]:
    """Unit vectors (..., 3) → the value of the nearest centre: of its Voronoi cell.

    NaN where the point is, and farther from that centre than its `reach`.
    """
    from scipy.spatial import cKDTree

    @lru_cache(maxsize=1)
    def tree() -> cKDTree:
        return cKDTree(centres)

    def at(points: Real) -> Real:
        known = np.isfinite(points).all(axis=-1)
        result = np.full(points.shape[:-1], np.nan)
        distance, nearest = tree().query(points[known])
        found = values[nearest]
        if reach is not None:
            found = np.where(distance <= reach[nearest], found, np.nan)
        result[known] = found
        return result

    return at
