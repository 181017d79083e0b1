"""Voronoi meshes: counts, SciPy's diagram, closed forms over cells, orders, the cache."""

import functools
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import SphericalVoronoi, cKDTree

import sphereflow as sf
from sphereflow.errors import InputError
from sphereflow.sphere import complex_to_real, power_by_degree, resize, voronoi_mesh

AXIS = np.array([0.3, -0.5, 0.8])
STORED = ("generators", "vertices", "triangles", "cell_vertices", "neighbours", "sides")


@functools.cache
def mesh_of(level):
    return voronoi_mesh(level)


def is_side(mesh):
    return np.arange(6) < mesh.sides[:, None]


def outward(mesh):
    """+1 where the normal of the edge leaves the cell, −1 where it enters, 0 for no side."""
    first = mesh.edges[mesh.cell_edges][..., 0] == np.arange(mesh.cells)[:, None]
    return np.where(is_side(mesh), np.where(first, 1.0, -1.0), 0.0)


def around_cells(mesh, of_edges):
    """Sum over the sides of each cell of what leaves through them."""
    return np.sum(outward(mesh) * of_edges[mesh.cell_edges], axis=1)


def following(mesh, vertex_array):
    """Entry k + 1 of each row, that of side 0 after the last side."""
    return np.where(
        np.arange(6) == mesh.sides[:, None] - 1,
        vertex_array[:, :1],
        np.roll(vertex_array, -1, axis=1),
    )


def middles_and_halves(mesh):
    """Middle of each edge and half its length, from its Gauss points alone."""
    middle = mesh.edge_points.sum(axis=1)
    return middle / np.linalg.norm(middle, axis=1)[:, None], 0.5 * mesh.edge_lengths


def linear_integrals(mesh, axis):
    """∫⟨a,x⟩ over cells: −½ of the flux of its gradient, constant along an edge."""
    return around_cells(mesh, -0.5 * mesh.edge_lengths * (mesh.edge_normals @ axis))


def quadratic_integrals(mesh, matrix):
    """∫⟨x,Ax⟩ over cells, A symmetric and traceless: −⅙ of the flux of its gradient 2P_xAx."""
    middle, half = middles_and_halves(mesh)
    along = np.einsum("ei,ij,ej->e", mesh.edge_normals, matrix, middle)
    return around_cells(mesh, -along * 2.0 * np.sin(half) / 3.0)


def order(levels, errors):
    spacing = [mesh_of(level).spacing for level in levels]
    return np.polyfit(np.log(spacing), np.log(errors), 1)[0]


# Counts and shape


@pytest.mark.parametrize("level", range(6))
def test_counts(level):
    mesh = mesh_of(level)
    cells, edges, vertices = 10 * 4**level + 2, len(mesh.edges), len(mesh.vertices)
    assert mesh.cells == cells and (edges, vertices) == (3 * cells - 6, 2 * cells - 4)
    assert vertices - edges + cells == 2
    assert np.count_nonzero(mesh.sides == 5) == 12
    assert np.count_nonzero(mesh.sides == 6) == cells - 12
    assert mesh.areas.sum() == pytest.approx(4 * np.pi, rel=1e-13)
    # The areas were scaled to that sum; before, they add up to it as well.
    assert mesh._sectors.sum() == pytest.approx(4 * np.pi, rel=1e-13)
    for points in (mesh.generators, mesh.vertices, mesh.centres, mesh.edge_points):
        assert np.abs(np.linalg.norm(points, axis=-1) - 1).max() < 1e-15


@pytest.mark.parametrize("level", range(1, 5))
def test_the_diagram_is_that_of_scipy(level):
    mesh = mesh_of(level)
    reference = SphericalVoronoi(mesh.generators)
    reference.sort_vertices_of_regions()
    areas = reference.calculate_areas()
    assert np.abs(mesh.areas / areas - 1).max() < 1e-11  # SciPy sums angles, which cancel
    distance, partner = cKDTree(reference.vertices).query(mesh.vertices)
    assert distance.max() < 1e-14
    assert np.array_equal(np.sort(partner), np.arange(len(reference.vertices)))
    for cell, region in enumerate(reference.regions):
        corners = mesh.cell_vertices[cell, : mesh.sides[cell]]
        assert set(partner[corners]) == set(region)


def test_cells_are_nearly_equal_and_their_generators_nearly_centroids():
    for level in range(2, 6):
        mesh = mesh_of(level)
        assert np.linalg.norm(mesh.centres - mesh.generators, axis=1).max() < 2e-3 * mesh.spacing
        assert mesh.areas.max() / mesh.areas.min() < 1.5
        assert mesh.spacing == pytest.approx(np.sqrt(8 * np.pi / np.sqrt(3) / mesh.cells), rel=0.02)


# Topology


@pytest.mark.parametrize("level", [0, 1, 3, 5])
def test_sides_join_consecutive_vertices_and_lie_between_neighbours(level):
    mesh = mesh_of(level)
    own = np.repeat(np.arange(mesh.cells)[:, None], 6, axis=1)
    real = is_side(mesh)
    assert (mesh.neighbours[real] != own[real]).all()
    assert (mesh.neighbours[~real] == own[~real]).all()
    assert (mesh.cell_vertices[mesh.sides == 5, 5] == mesh.cell_vertices[mesh.sides == 5, 4]).all()

    nearest = following(mesh, mesh.cell_vertices)
    for vertex in (mesh.cell_vertices, nearest):  # both ends of a side touch both of its cells
        meeting = mesh.triangles[vertex[real]]
        assert (meeting == own[real][:, None]).any(axis=1).all()
        assert (meeting == mesh.neighbours[real][:, None]).any(axis=1).all()
    first, second = mesh.vertices[mesh.cell_vertices[real]], mesh.vertices[nearest[real]]
    here, there = mesh.generators[own[real]], mesh.generators[mesh.neighbours[real]]
    for corner in (first, second):  # equally far from both
        assert np.abs(np.einsum("si,si->s", corner, here - there)).max() < 1e-14
    assert (np.einsum("si,si->s", here, np.cross(first, second)) > 0).all()  # counterclockwise


@pytest.mark.parametrize("level", [0, 1, 3, 5])
def test_edges_have_two_cells_and_each_is_a_side_of_both(level):
    mesh = mesh_of(level)
    assert (mesh.edges[:, 0] < mesh.edges[:, 1]).all()
    assert len(np.unique(mesh.edges, axis=0)) == len(mesh.edges)
    real = is_side(mesh)
    own = np.repeat(np.arange(mesh.cells)[:, None], 6, axis=1)
    both = np.sort(np.stack([own[real], mesh.neighbours[real]], axis=1), axis=1)
    assert np.array_equal(mesh.edges[mesh.cell_edges[real]], both)
    assert (np.bincount(mesh.cell_edges[real], minlength=len(mesh.edges)) == 2).all()


@pytest.mark.parametrize("level", [0, 2, 4])
def test_edge_normals_are_tangent_and_lead_from_the_first_cell_to_the_second(level):
    mesh = mesh_of(level)
    normal, points = mesh.edge_normals, mesh.edge_points
    assert np.abs(np.linalg.norm(normal, axis=1) - 1).max() < 1e-15
    assert np.abs(np.einsum("ei,eqi->eq", normal, points)).max() < 1e-15
    difference = np.diff(mesh.generators[mesh.edges], axis=1)[:, 0]
    # The edge bisects the arc between the generators at a right angle.
    cosine = np.einsum("ei,ei->e", normal, difference) / np.linalg.norm(difference, axis=1)
    assert np.abs(cosine - 1).max() < 1e-13
    assert np.abs(np.einsum("eqi,ei->eq", points, difference)).max() < 1e-15
    assert np.allclose(
        2 * np.sin(mesh.edge_distances / 2), np.linalg.norm(difference, axis=1), rtol=1e-13
    )


# Quadratures


def test_cells_are_closed():
    """∮ of the normal part of a rotation x ↦ a × x vanishes, to the order of Gauss's rule."""
    levels, errors = (2, 3, 4, 5), []
    for level in levels:
        mesh = mesh_of(level)
        normal = np.einsum("eqi,ei->eq", np.cross(AXIS, mesh.edge_points), mesh.edge_normals)
        by_gauss = around_cells(mesh, mesh.edge_lengths * normal.mean(axis=1))
        errors.append(np.abs(by_gauss / mesh.areas).max())
        middle, half = middles_and_halves(mesh)
        exact = np.einsum("ei,ei->e", np.cross(AXIS, middle), mesh.edge_normals) * 2 * np.sin(half)
        assert np.abs(around_cells(mesh, exact)).max() < 1e-15
    assert order(levels, errors) > 2.8  # measured 2.96 for the divergence
    assert errors[-1] < 2e-9


def test_means_of_polynomials_against_the_divergence_theorem():
    """Degrees 1 and 2: the closed forms are boundary integrals along great circles."""
    noise = np.random.default_rng(1).standard_normal((3, 3))
    matrix = noise + noise.T - 2 * np.trace(noise) / 3 * np.eye(3)
    levels = (1, 2, 3, 4, 5)
    linear, quadratic = [], []
    for level in levels:
        mesh = mesh_of(level)
        exact = linear_integrals(mesh, AXIS) / mesh.areas
        linear.append(np.abs(mesh.averages(lambda x: x @ AXIS) - exact).max())
        exact = quadratic_integrals(mesh, matrix) / mesh.areas
        means = mesh.averages(lambda x: np.einsum("...i,ij,...j->...", x, matrix, x))
        quadratic.append(np.abs(means - exact).max())
    assert order(levels[1:], linear[1:]) > 3.0  # measured 3.14: the sectors are not quite flat
    assert order(levels[1:], quadratic[1:]) > 3.9  # measured 3.98
    assert linear[-1] < 1e-8 and quadratic[-1] < 1e-8


def test_centres_are_centroids():
    """The vector ∫x dσ of a cell by the closed form has the direction of its centre."""
    for level, bound in ((2, 2e-5), (4, 2e-7)):
        mesh = mesh_of(level)
        exact = np.stack([linear_integrals(mesh, one) for one in np.eye(3)], axis=1)
        exact /= np.linalg.norm(exact, axis=1)[:, None]
        assert np.linalg.norm(mesh.centres - exact, axis=1).max() < bound


def test_second_moments_are_those_of_hexagons():
    """A small regular hexagon of area A has the mean square radius 5√3 A/54, others have more."""
    mesh = mesh_of(5)
    six = mesh.sides == 6
    ratio = mesh.second_moments[six] / mesh.areas[six] / (5 * np.sqrt(3) / 54)
    assert np.median(ratio) == pytest.approx(1.0, abs=5e-3)
    assert 1.0 < ratio.min() and ratio.max() < 1.02


def test_moments_of_means_converge_at_second_order_with_a_small_constant():
    """The correction m l(l+1)/4 takes out what a uniform mesh errs; cells of unequal size leave
    a second-order rest, which is a seventeenth of the error of a plain sum over the centres."""
    density = sf.VonMisesFisher(AXIS, 3.0)
    exact = resize(density.resolved_spectrum(), 4)
    levels, errors, plain_errors = (3, 4, 5), [], []

    def error(moments):
        return np.sqrt(power_by_degree(moments - exact).max())

    for level in levels:
        mesh = mesh_of(level)
        means = mesh.averages(density)
        errors.append(error(mesh.moments(means, 4)))
        plain_errors.append(error(mesh._transform.moments(mesh.areas * means, 4)))
        # Degree 0 is the mass: exact whatever the mesh.
        mass = complex_to_real(mesh.moments(means, 4))[0] * np.sqrt(4 * np.pi)
        assert mass == pytest.approx(mesh.areas @ means, abs=1e-12)
    assert order(levels, plain_errors) == pytest.approx(2.0, abs=0.05)
    assert order(levels, errors) > 1.9  # measured 2.14
    assert np.all(np.array(plain_errors) > 14 * np.array(errors))


def test_levels_out_of_range_are_refused():
    for level in (-1, 9, 2.5):
        with pytest.raises(InputError, match="level"):
            voronoi_mesh(level)


# Cache


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and no mesh that is kept in memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    voronoi_mesh.cache_clear()
    yield tmp_path
    voronoi_mesh.cache_clear()


def identical(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in STORED)


def read_again():
    voronoi_mesh.cache_clear()
    return voronoi_mesh(5)


@pytest.fixture(scope="module")
def plain():
    return mesh_of(5)


def test_a_mesh_of_level_five_is_written_and_read_back(cache, plain, monkeypatch):
    written = voronoi_mesh(5)
    files = list(cache.rglob("*.npz"))
    assert [file.name for file in files] == ["voronoi_mesh_1_5.npz"]
    monkeypatch.setattr("sphereflow.sphere.mesh._built", lambda level: pytest.fail("built again"))
    read = read_again()
    assert read is not written and identical(read, written) and identical(read, plain)
    assert list(cache.rglob("*")) == [files[0].parent, files[0]]  # and no partial file is left


def test_coarse_meshes_are_not_written(cache):
    voronoi_mesh(4)
    assert not list(cache.rglob("*"))


def half(data):
    return data[: len(data) // 2]


def other_bytes(data):
    return data[:5000] + b"x" * 8 + data[5008:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"not a mesh at all",
        half,
        other_bytes,
    ],
    ids=["empty", "text", "cut in half", "other bytes"],
)
def test_a_corrupt_file_is_replaced(cache, plain, damage, monkeypatch):
    monkeypatch.setattr("sphereflow.sphere.mesh._built", lambda level: plain)
    voronoi_mesh(5)
    file = next(cache.rglob("*.npz"))
    good = file.read_bytes()
    file.write_bytes(damage(good))
    assert identical(read_again(), plain)
    assert len(file.read_bytes()) == len(good)
    with np.load(file) as stored:
        assert np.array_equal(stored["generators"], plain.generators)


def test_a_file_of_another_layout_is_replaced(cache, plain, monkeypatch):
    monkeypatch.setattr("sphereflow.sphere.mesh._built", lambda level: plain)
    voronoi_mesh(5)
    file = next(cache.rglob("*.npz"))
    np.savez(file, points=plain.generators)
    assert identical(read_again(), plain)
    with np.load(file) as stored:
        assert sorted(stored) == ["generators", "triangles"]


def test_an_unwritable_cache_is_tolerated(tmp_path, monkeypatch, plain):
    """A file where the folder should be: permissions do not stop the superuser."""
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert identical(read_again(), plain)
    assert list(tmp_path.iterdir()) == [Path(blocked)] and blocked.read_text() == "no folder"
    voronoi_mesh.cache_clear()


@pytest.mark.parametrize("level", [0, 1, 2, 3, 4])
def test_moments_of_constant_cells(level):
    # All moments of a constant vanish but that of degree 0, whatever the width of the cells.
    from sphereflow.sphere import moments_of_means

    mesh = voronoi_mesh(level)
    moments = moments_of_means(mesh, np.full(mesh.cells, 1 / (4 * np.pi)), 32)
    assert moments[0].real == pytest.approx(1 / np.sqrt(4 * np.pi), rel=1e-7)
    assert np.abs(moments[1:]).max() < {0: 1e-2, 1: 1e-4, 4: 1e-3}.get(level, 1e-6)
