"""Icosahedral Voronoi meshes: cells, edges and their measures, for finite volumes.

The generators are the vertices of an icosahedron whose triangles are divided into four again
and again, and moved to the centroids of their cells (Q. Du, M. Gunzburger and L. Ju, Comput.
Methods Appl. Mech. Eng. 192 (2003) 3933). The triangulation is known all the time, so that the
Voronoi vertices are the circumcentres of its triangles, and no hull has to be computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from ..checks import integer
from ..machine.kept_arrays import kept_arrays
from .indexing import degrees_and_orders
from .points import PointTransform, angles, unit

__all__ = ["FINEST_LEVEL", "VoronoiMesh", "voronoi_mesh"]

Real = NDArray[np.float64]
Index = NDArray[np.int64]


FINEST_LEVEL = 8
SMOOTHING_STEPS = 10  # steps towards the centroids on each level
LAYOUT = 1  # of the files in the cache
CACHED_FROM = 5  # coarser meshes are made as fast as they are read
SIDES = 6


@dataclass(frozen=True, eq=False)
class VoronoiMesh:
    """A Voronoi mesh of 10·4^level + 2 cells; twelve of them have five sides, the others six.

    Arrays of shape (cells, 6) go around a cell counterclockwise as seen from outside; the sixth
    entry of a five-sided cell repeats the fifth of `vertices`, and its `neighbours` is the cell.

    Attributes
    ----------
    level : int
    generators : ndarray, shape (cells, 3)
    vertices : ndarray, shape (2·cells − 4, 3)
        Where three cells meet.
    triangles : ndarray, shape (2·cells − 4, 3)
        The cells that meet at each vertex.
    cell_vertices : ndarray, shape (cells, 6)
        Vertices around each cell; side k of a cell joins the vertices k and k + 1.
    neighbours : ndarray, shape (cells, 6)
        The cell beyond side k.
    sides : ndarray, shape (cells,)
    """

    level: int
    generators: Real
    vertices: Real
    triangles: Index
    cell_vertices: Index
    neighbours: Index
    sides: Index

    # Cells

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.generators)

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """Which sides there are, shape (cells, 6): all but the sixth of a cell of five sides."""
        return np.arange(SIDES) < self.sides[:, None]

    @cached_property
    def corners(self) -> tuple[Real, Real]:
        """First and second vertex of each side, shape (cells, 6, 3)."""
        corners = self.vertices[self.cell_vertices]
        following = np.roll(corners, -1, axis=1)
        five = self.sides == 5
        following[five, 4] = corners[five, 0]
        following[five, 5] = corners[five, 5]
        return corners, following

    @cached_property
    def _sectors(self) -> Real:
        """Areas of the triangles of generator and side, shape (cells, 6); those of a cell add up
        to its area."""
        first, second = self.corners
        return triangle_areas(self.generators[:, None], first, second)

    @cached_property
    def areas(self) -> Real:
        """Areas of the cells in steradian; they sum to 4π."""
        areas = self._sectors.sum(axis=1)
        scaled: Real = areas * (4 * np.pi / areas.sum())
        return scaled

    @cached_property
    def centres(self) -> Real:
        """Directions of the centroids of the cells, shape (cells, 3)."""
        points, weights = self.quadrature
        return unit(np.einsum("cq,cqi->ci", weights, points))

    @cached_property
    def second_moments(self) -> Real:
        """Mean square distance from the centre in each cell, shape (cells,)."""
        centres = self.centres[:, None]
        return self.averages(lambda x: np.sum((x - centres) ** 2, axis=-1))

    @cached_property
    def quadrature(self) -> tuple[Real, Real]:
        """Points (cells, 12, 3) and weights (cells, 12) of sum 1 for means over the cells.

        They are the midpoints of the three sides of each triangle of generator and side, which
        makes the rule exact to second order.
        """
        first, second = self.corners
        inner = unit(self.generators[:, None] + first)
        outer = unit(first + second)
        sectors = self._sectors
        # The midpoint of generator and vertex k belongs to the sides k − 1 and k.
        before = np.roll(sectors, 1, axis=1)
        five = self.sides == 5
        before[five, 0] = sectors[five, 4]
        weights = np.concatenate([sectors + before, sectors], axis=1)
        weights[five, 5] = 0.0
        weights /= weights.sum(axis=1, keepdims=True)
        return np.concatenate([inner, outer], axis=1), weights

    @cached_property
    def _transform(self) -> PointTransform:
        return PointTransform(self.centres)

    def moments(self, means: Real, degree: int) -> NDArray[np.complex128]:
        """Complex coefficients to this degree of a function given by its means, shape (cells,).

        A mean differs from the value at the centre by m/4 Δf, with m the mean square distance
        from it, so that a sum over centres misses a share m l(l+1)/4.
        """
        mass = self.areas * means
        both = self._transform.moments(np.stack([mass, mass * self.second_moments]), degree)
        degrees, _ = degrees_and_orders(degree)
        moments: NDArray[np.complex128] = both[0] + 0.25 * degrees * (degrees + 1) * both[1]
        return moments

    def synthesis(self, coefficients: NDArray[np.complex128]) -> Real:
        """Values of a scalar field at the centres, shape (cells,)."""
        return self._transform.synthesis(coefficients)

    def vector_synthesis(
        self, spheroidal: NDArray[np.complex128], toroidal: NDArray[np.complex128]
    ) -> Real:
        """Cartesian vectors ∇S + ∇T × x at the centres, shape (cells, 3)."""
        return self._transform.vector_synthesis(spheroidal, toroidal)

    def eastward_northward(self, vectors: Real) -> tuple[Real, Real]:
        """Components of tangent vectors (cells, 3) at the centres."""
        return self._transform.eastward_northward(vectors)

    def averages(self, function: Callable[[Real], Real]) -> Real:
        """Means over the cells, shape (cells,), of a function of points (cells, 12, 3)."""
        points, weights = self.quadrature
        integrals: Real = np.einsum("cq,cq->c", weights, function(points))
        return integrals

    # Edges

    @cached_property
    def edges(self) -> Index:
        """Cells on both sides of each edge, the lower number first, shape (3·cells − 6, 2)."""
        return self._edges[0]

    @cached_property
    def cell_edges(self) -> Index:
        """Edge of each side, shape (cells, 6); the last edge where there is no sixth side."""
        return self._edges[1]

    @cached_property
    def _edges(self) -> tuple[Index, Index, Index]:
        own = np.repeat(np.arange(self.cells)[:, None], SIDES, axis=1)
        outward = self.neighbours > own
        cells, slots = np.nonzero(outward)
        edges = np.stack([cells, self.neighbours[outward]], axis=1)
        number = np.full((self.cells, SIDES), len(edges) - 1)
        number[outward] = np.arange(len(edges))
        key = edges[:, 0] * self.cells + edges[:, 1]
        order = np.argsort(key)
        inward = self.neighbours < own
        wanted = self.neighbours[inward] * self.cells + own[inward]
        number[inward] = order[np.searchsorted(key, wanted, sorter=order)]
        return edges, number, np.stack([cells, slots], axis=1)

    @cached_property
    def _edge_ends(self) -> tuple[Real, Real]:
        cells, slots = self._edges[2].T
        first, second = self.corners
        return first[cells, slots], second[cells, slots]

    @cached_property
    def edge_points(self) -> Real:
        """The two Gauss points on each edge, whose mean is exact to third order; (edges, 2, 3)."""
        first, second = self._edge_ends
        middle = unit(first + second)
        along = unit(second - first)
        angle = 0.5 * self.edge_lengths[:, None] / np.sqrt(3.0)
        offset = np.sin(angle) * along
        centre = np.cos(angle) * middle
        return np.stack([centre - offset, centre + offset], axis=1)

    @cached_property
    def edge_normals(self) -> Real:
        """Unit tangent normals from the first to the second cell, constant along an edge."""
        first, second = self._edge_ends
        return unit(np.cross(second - first, first + second))

    @cached_property
    def edge_lengths(self) -> Real:
        """Lengths of the edges in radians."""
        return angles(*self._edge_ends)

    @cached_property
    def edge_distances(self) -> Real:
        """Angles between the generators on both sides of the edges."""
        return angles(*np.moveaxis(self.generators[self.edges], 1, 0))

    @property
    def spacing(self) -> float:
        """Mean distance of neighbouring generators in radians."""
        return float(self.edge_distances.mean())


def triangle_areas(a: Real, b: Real, c: Real) -> Real:
    """Areas of spherical triangles with counterclockwise corners, accurate for small ones."""
    # The determinant of small triangles is that of differences: nothing cancels.
    volume = np.einsum("...i,...i->...", a, np.cross(b - a, c - a))
    rest = 1.0 + np.sum(a * b, axis=-1) + np.sum(b * c, axis=-1) + np.sum(c * a, axis=-1)
    angle: Real = 2.0 * np.arctan2(volume, rest)
    return angle


# Construction


def _icosahedron() -> tuple[Real, Index]:
    """Vertices and counterclockwise triangles."""
    golden = 0.5 * (1.0 + np.sqrt(5.0))
    points = [
        np.roll((0.0, one, golden * two), shift)
        for shift in range(3)
        for one in (1.0, -1.0)
        for two in (1.0, -1.0)
    ]
    vertices = unit(np.array(points))
    from scipy.spatial import ConvexHull

    triangles = np.sort(ConvexHull(vertices).simplices.astype(np.int64), axis=1)
    triangles = triangles[np.lexsort(triangles.T[::-1])]
    a, b, c = np.moveaxis(vertices[triangles], 1, 0)
    turned = np.einsum("ti,ti->t", a, np.cross(b, c)) < 0
    triangles[turned] = triangles[turned][:, [0, 2, 1]]
    return vertices, triangles


def _divided(vertices: Real, triangles: Index) -> tuple[Real, Index]:
    """Every triangle in four, with the midpoints of its sides as new vertices."""
    sides = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=-1)
    unique, number = np.unique(np.sort(sides.reshape(-1, 2), axis=1), axis=0, return_inverse=True)
    middle = len(vertices) + number.reshape(-1, 3)  # of the sides 01, 12, 20
    points = np.concatenate([vertices, unit(vertices[unique].sum(axis=1))])
    a, b, c = triangles.T
    ab, bc, ca = middle.T
    corners = [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    return points, np.concatenate([np.stack(part, axis=1) for part in corners])


def _circumcentres(vertices: Real, triangles: Index) -> Real:
    a, b, c = np.moveaxis(vertices[triangles], 1, 0)
    return unit(np.cross(b - a, c - a))


def _around(triangles: Index, count: int) -> tuple[Index, Index, Index]:
    """Triangles around each vertex counterclockwise, the vertices beyond, and their number."""
    own = triangles.ravel()
    following = np.roll(triangles, -1, axis=1).ravel()
    preceding = np.roll(triangles, 1, axis=1).ravel()
    number = np.repeat(np.arange(len(triangles)), 3)
    # The triangle of (vertex, following) comes after the one whose preceding vertex that is.
    key = own * count + following
    order = np.argsort(key)
    successor = order[np.searchsorted(key, own * count + preceding, sorter=order)]
    first = np.unique(own, return_index=True)[1]
    around = np.empty((count, SIDES), dtype=np.int64)
    beyond = np.empty((count, SIDES), dtype=np.int64)
    current = first
    for side in range(SIDES):
        around[:, side] = number[current]
        beyond[:, side] = preceding[current]
        current = successor[current]
    sides = np.bincount(own, minlength=count)
    five = sides == 5
    around[five, 5] = around[five, 4]
    beyond[five, 5] = np.flatnonzero(five)
    return around, beyond, sides


def _built(level: int) -> VoronoiMesh:
    vertices, triangles = _icosahedron()
    for depth in range(level + 1):
        if depth > 0:
            vertices, triangles = _divided(vertices, triangles)
        around, beyond, sides = _around(triangles, len(vertices))
        for _ in range(SMOOTHING_STEPS if depth > 1 else 0):
            corners = _circumcentres(vertices, triangles)
            mesh = VoronoiMesh(depth, vertices, corners, triangles, around, beyond, sides)
            vertices = mesh.centres
    return _assembled(level, *_in_bands(vertices, triangles))


def _in_bands(vertices: Real, triangles: Index) -> tuple[Real, Index]:
    """Renumbered from north to south in bands about as wide as a cell, each by longitude.

    Neighbours then lie close together in memory.
    """
    width = np.sqrt(4 * np.pi / len(vertices))
    x, y, z = vertices.T
    band = np.floor(np.arctan2(np.hypot(x, y), z) / width)
    order = np.lexsort((np.arctan2(y, x), band))
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    triangles = number[triangles]
    return vertices[order], triangles[np.argsort(triangles.min(axis=1), kind="stable")]


def _assembled(level: int, generators: Real, triangles: Index) -> VoronoiMesh:
    around, beyond, sides = _around(triangles, len(generators))
    corners = _circumcentres(generators, triangles)
    return VoronoiMesh(level, generators, corners, triangles, around, beyond, sides)


@lru_cache(maxsize=4)
def voronoi_mesh(level: int) -> VoronoiMesh:
    """The mesh of a level from 0 to 8, kept on disk from level 5 on.

    Parameters
    ----------
    level : int
        The mesh has 10·4^level + 2 cells.

    Raises
    ------
    InputError
        If the level is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from sphereflow.sphere import voronoi_mesh
    >>> mesh = voronoi_mesh(2)
    >>> mesh.cells, bool(np.isclose(mesh.areas.sum(), 4 * np.pi, rtol=1e-14))
    (162, True)
    """
    level = integer(level, "level", 0, FINEST_LEVEL)
    if level < CACHED_FROM:
        return _built(level)

    def make() -> Mapping[str, NDArray[np.generic]]:
        mesh = _built(level)
        return {"generators": mesh.generators, "triangles": mesh.triangles}

    kept = kept_arrays(f"voronoi_mesh_{LAYOUT}_{level}", ("generators", "triangles"), make)
    generators = np.asarray(kept["generators"], dtype=np.float64)
    return _assembled(level, generators, np.asarray(kept["triangles"], dtype=np.int64))
