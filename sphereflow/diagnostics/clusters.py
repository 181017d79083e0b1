"""Clusters of tokens: how many, where, how heavy, how wide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ive

from ..checks import positive_number, weights_of
from ..errors import InputError
from ..output.reading import on_whole_grid, open_run
from ..output.swept import left_out_of
from ..sphere import (
    PointTransform,
    VoronoiMesh,
    angles,
    degrees_and_orders,
    from_degrees,
    voronoi_mesh,
)

if TYPE_CHECKING:
    import xarray
    from scipy.spatial import cKDTree

__all__ = ["Clusters", "Measure", "cell_of", "clusters", "find_clusters", "weighted_points"]

Real = NDArray[np.float64]
Index = NDArray[np.int64]

UNIFORM = 0.25 / np.pi
LOWEST = 500.0  # minus the logarithm of a density that is as good as none
NOISE = 6.0  # standard deviations of a smoothed sample that are no mode yet


class Clusters(NamedTuple):
    """Clusters of one measure, the heaviest first."""

    centre: Real  # (k, 3)
    mass: Real  # (k,)
    radius: Real  # (k,) root mean square angle from the centre
    half_mass_radius: Real  # (k,) angle that holds half of the mass


@lru_cache(maxsize=8)
def _mesh(level: int) -> tuple[VoronoiMesh, PointTransform, cKDTree]:
    from scipy.spatial import cKDTree

    mesh = voronoi_mesh(level)
    return mesh, PointTransform(mesh.generators), cKDTree(mesh.generators)


def cell_of(points: Real, level: int) -> Index:
    """Number of the cell of a Voronoi mesh that each unit vector (n, 3) lies in."""
    cells: Index = _mesh(level)[2].query(points)[1]
    return cells


def find_clusters(
    points: Real,
    weights: Real,
    *,
    bandwidth: float = 0.15,
    prominence: float = 1.0,
    sampled: bool = False,
    areas: Real | None = None,
) -> Clusters:
    """Clusters of a weighted point measure, by the modes of its smoothed density.

    Parameters
    ----------
    points : ndarray, shape (n, 3)
        Unit vectors.
    weights : ndarray, shape (n,)
        Of sum 1.
    bandwidth : float
        Standard deviation in radians of the von Mises–Fisher kernel that smooths.
    prominence : float
        A mode counts if it rises by this much above the saddle to a higher one, in units of the
        uniform density; the highest mode is measured from the minimum.
    sampled : bool
        The points are a random sample: modes that its noise explains do not count.
    areas : ndarray, shape (n,), optional
        Of the cells whose mass the points stand for: each mass is spread over a disc of that
        area, so that radii are not below its size.

    Returns
    -------
    Clusters
        Every point belongs to the mode that ascent of the smoothed density leads to.
    """
    kappa = bandwidth**-2
    degree = int(np.ceil(6.5 / bandwidth))
    factors = ive(np.arange(degree + 1) + 0.5, kappa) / ive(0.5, kappa)
    level = int(np.clip(np.ceil(np.log2(2.4 / bandwidth)), 2, 7))
    mesh, at, tree = _mesh(level)
    moments = PointTransform(points).moments(weights, degree)
    height = at.synthesis(moments * factors[degrees_and_orders(degree)[0]])
    # Variance of a kernel estimate: ∫k² · density · Σw², with ∫k² = κ/4π.
    variance = np.sum(weights**2) * kappa / (4 * np.pi) if sampled else 0.0

    def threshold(level: float) -> float:
        """What a mode must rise above this level of the density."""
        noise = NOISE * np.sqrt(variance * max(level, UNIFORM))
        return max(prominence * UNIFORM, float(noise))

    foot = max(float(height.min()), UNIFORM) if sampled else float(height.min())
    if height.max() - foot < threshold(foot):
        empty = np.empty(0)
        return Clusters(np.empty((0, 3)), empty, empty, empty)
    label = _basins(height, mesh.neighbours, mesh.edges, threshold)
    of_point = label[tree.query(points)[1]]
    mass: Real = np.bincount(of_point, weights=weights).astype(np.float64)
    order = np.argsort(-mass, kind="stable")
    order = order[mass[order] > 0]
    squares = np.zeros(len(points)) if areas is None else areas / np.pi  # of the radii of discs
    found = [_one_cluster(points, weights, squares, of_point == k) for k in order]
    centre, radius, half = (np.array(column) for column in zip(*found, strict=True))
    return Clusters(centre, mass[order], radius, half)


def _basins(
    height: Real, neighbours: Index, edges: Index, threshold: Callable[[float], float]
) -> Index:
    """Number of the mode that each cell belongs to: 0, 1, …"""
    own = np.arange(height.size)
    around = np.concatenate([own[:, None], neighbours], axis=1)
    root = around[own, np.argmax(height[around], axis=1)]
    while (root[root] != root).any():
        root = root[root]
    pairs = np.sort(root[edges], axis=1)
    between = pairs[:, 0] != pairs[:, 1]
    saddle = height[edges[between]].min(axis=1)
    merged = {int(mode): int(mode) for mode in np.unique(root)}

    def top(mode: int) -> int:
        while merged[mode] != mode:
            mode = merged[mode]
        return mode

    # From the highest pass down, the lower of two modes joins the higher if it is not prominent.
    order = np.argsort(-saddle, kind="stable")
    for level, first, second in zip(
        saddle[order].tolist(), *pairs[between][order].T.tolist(), strict=True
    ):
        one, other = top(first), top(second)
        if one == other:
            continue
        low, high = (one, other) if height[one] < height[other] else (other, one)
        if height[low] - level < threshold(level):
            merged[low] = high
    of_mode = np.zeros(height.size, dtype=np.int64)
    for mode in merged:
        of_mode[mode] = top(mode)
    return np.unique(of_mode[root], return_inverse=True)[1]


def _one_cluster(
    points: Real, weights: Real, squares: Real, inside: NDArray[np.bool_]
) -> tuple[Real, float, float]:
    x, w, square = points[inside], weights[inside], squares[inside]
    w = w / w.sum()
    centre = w @ x
    centre = centre / np.linalg.norm(centre)
    angle = angles(x, centre)
    least = float(np.sqrt(0.5 * (w @ square)))  # root mean square within the discs
    half = _half_mass_angle(angle, w, np.sqrt(square))
    return centre, max(float(np.sqrt(w @ angle**2)), least), max(half, least)


def _half_mass_angle(angle: Real, mass: Real, spread: Real) -> float:
    """Angle from the centre that holds half of the mass, spread evenly over angle ± spread."""
    order = np.argsort(angle)
    half = float(angle[order][np.searchsorted(np.cumsum(mass[order]), 0.5)])
    if not spread.any():
        return half
    inner = np.maximum(angle - spread, 0.0)
    width = np.maximum(angle + spread - inner, np.finfo(float).tiny)

    def excess(reach: float) -> float:
        return float(mass @ np.clip((reach - inner) / width, 0.0, 1.0)) - 0.5

    low, high = max(half - 2 * float(spread.max()), 0.0), half + 2 * float(spread.max())
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return high


class Measure(NamedTuple):
    """Weighted points of one time."""

    points: Real  # (n, 3)
    weights: Real  # (n,)
    sampled: bool  # whether they are a random sample
    areas: Real | None  # (n,) of the cells that they stand for, if any

    def clusters(self, **options: float) -> Clusters:
        """Its clusters; `bandwidth` and `prominence` as in `find_clusters`."""
        return find_clusters(
            self.points, self.weights, sampled=self.sampled, areas=self.areas, **options
        )


def weighted_points(record: Mapping[str, ArrayLike]) -> Measure | None:
    """The measure in the arrays of one time.

    None if the arrays hold no density, or one that is not finite.
    """
    if "position" in record and np.isfinite(record["position"]).all():
        points = np.asarray(record["position"])
        if points.ndim != 2:
            raise InputError("clusters are those of one path; select one with isel(path=0)")
        count = len(points)
        weights = weights_of(record.get("token_weight"), count, "token_weight")
        if "log_density" not in record:
            return Measure(points, weights, True, None)
        # Nodes stand for the area that holds their weight, if their density is known.
        log = np.maximum(record["log_density"], -LOWEST)
        areas = np.minimum(weights * np.exp(-log), 4 * np.pi)
        return Measure(points, weights, False, areas if np.isfinite(areas).all() else None)
    if "density" not in record or not np.isfinite(record["density"]).all():
        return None
    density = np.asarray(record["density"])
    mesh = record.get("mesh")
    if density.ndim == 1 and isinstance(mesh, VoronoiMesh):
        mass = density * mesh.areas
        return Measure(mesh.centres, mass / mass.sum(), False, mesh.areas)
    needed = ("face_lon", "face_lat", "face_area") if density.ndim == 1 else ("lat", "lon")
    if any(name not in record for name in needed):
        return None
    if density.ndim == 1:
        points = from_degrees(record["face_lon"], record["face_lat"])
        cell = spread = np.asarray(record["face_area"])
        whole = abs(cell.sum() / (4 * np.pi) - 1) < 1e-6
    else:
        lat, lon = np.asarray(record["lat"]), np.asarray(record["lon"])
        whole = on_whole_grid(lat, lon)
    if not whole:
        raise InputError(
            f"density must be given on the whole sphere, got a region of {density.size} points; "
            "pass the run before a part of it was selected"
        )
    if density.ndim == 2:
        points = from_degrees(*np.meshgrid(lon, lat)).reshape(-1, 3)
        ring = np.polynomial.legendre.leggauss(len(lat))[1] * 2 * np.pi / len(lon)
        cell = np.repeat(ring, density.shape[1])
        # Cells near the poles are narrow but as long as all others from ring to ring.
        spread = np.full(cell.size, np.pi * (0.5 * np.pi / len(lat)) ** 2)
    mass = np.maximum(density.ravel(), 0.0) * cell
    if not mass.sum() > 0:
        raise InputError("density must be positive somewhere, got none above 0; pass a run")
    return Measure(points, mass / mass.sum(), False, spread)


def clusters(
    dataset: xarray.Dataset, *, bandwidth: float = 0.15, prominence: float = 1.0
) -> xarray.Dataset:
    """Number, centres, masses and radii of the clusters at every time of a run.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run of any scheme; of an ensemble one path.
    bandwidth : float
        Scale in radians below which structure does not make several clusters.
    prominence : float
        How far a mode of the smoothed density must rise above the saddle to a higher one, in
        units of the uniform density 1/4π.

    Returns
    -------
    xarray.Dataset
        `number(time)`, `centre(time, cluster, axis)`, `mass(time, cluster)`, `radius`, the root
        mean square angle from the centre, and `half_mass_radius`, in radians; the heaviest
        cluster first, NaN beyond the last. Every token belongs to the cluster that ascent of the
        smoothed density leads to. The radii of a density on a grid or mesh are not below its
        spacing.

    Raises
    ------
    InputError
        If the dataset holds neither tokens nor a density.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> from sphereflow.diagnostics import clusters
    >>> problem = sf.TransformerPDE(sf.FixedHeads(4 * np.eye(3)), sf.OctahedralClusters(0.1))
    >>> run = sf.solve(problem, t_end=0.5, scheme=sf.Characteristics(15), save_every=0.5, rtol=1e-4)
    >>> clusters(run).number.values
    array([6, 6])
    """
    import xarray

    dataset = open_run(dataset, "dataset")
    bandwidth = positive_number(bandwidth, "bandwidth")
    prominence = positive_number(prominence, "prominence")
    if not 0.02 <= bandwidth <= 1.0:
        raise InputError(f"bandwidth must lie between 0.02 and 1, got {bandwidth:g}; 0.15 is usual")
    times = np.atleast_1d(dataset["time"].values)
    names = ["position", "log_density", "density", "token_weight", "lat", "lon"]
    names += ["face_lon", "face_lat", "face_area"]
    found = []
    for index in range(times.size):
        now = dataset.isel(time=index) if "time" in dataset.dims else dataset
        measure = weighted_points({name: now[name].values for name in names if name in now})
        if measure is None:
            raise InputError(
                "a dataset must hold 'position', or 'density' with the coordinates of its grid or "
                f"mesh, all finite, got {sorted(map(str, dataset))!r:.200}; "
                "pass a run" + left_out_of(dataset, "position", "density")
            )
        found.append(measure.clusters(bandwidth=bandwidth, prominence=prominence))
    most = max(1, *(one.mass.size for one in found))

    def padded(name: str) -> Real:
        columns = [getattr(one, name) for one in found]
        full = np.full((len(found), most, *columns[0].shape[1:]), np.nan)
        for row, values in zip(full, columns, strict=True):
            row[: len(values)] = values
        return full

    both = ("time", "cluster")
    return xarray.Dataset(
        {
            "number": ("time", [one.mass.size for one in found], {"long_name": "clusters"}),
            "centre": ((*both, "axis"), padded("centre"), {"long_name": "mean direction"}),
            "mass": (both, padded("mass"), {"long_name": "mass of the cluster"}),
            "radius": (both, padded("radius"), {"long_name": "rms angle", "units": "rad"}),
            "half_mass_radius": (
                both,
                padded("half_mass_radius"),
                {"long_name": "angle that holds half of the mass", "units": "rad"},
            ),
        },
        {"time": times, "axis": ["x", "y", "z"]},
        {"bandwidth": bandwidth, "prominence": prominence},
    )
