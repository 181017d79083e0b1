"""A part of a run is drawn as that part, with its own values, and nothing beside it."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest

import sphereflow as sf
from sphereflow.errors import InputError
from sphereflow.figures.fields import density_field, velocity_field
from sphereflow.figures.values_on_sphere import on_grid
from sphereflow.sphere import from_degrees, spread_points

PROBLEM = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([1, 0, 1], 3.0))
POINTS = spread_points(3000)
LAT = np.degrees(np.arcsin(POINTS[:, 2]))
LON = np.degrees(np.arctan2(POINTS[:, 1], POINTS[:, 0])) % 360.0


def solve(scheme):
    return sf.solve(PROBLEM, t_end=0.2, scheme=scheme, save_every=0.1)


@pytest.fixture(scope="module")
def grid():
    return solve(sf.Spectral(lmax=31))


@pytest.fixture(scope="module")
def cells():
    return solve(sf.FiniteVolume(level=3))


def assert_drawn(part, whole, inside, outside):
    """The values of the whole where the part surely is, and none where it surely is not."""
    expected, found = density_field(whole, 1).at(POINTS), density_field(part, 1).at(POINTS)
    assert inside.sum() > 100 and outside.sum() > 100
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-12)
    assert np.isnan(found[outside]).all()
    velocity = velocity_field(part, 1)(POINTS)
    assert np.isfinite(velocity[inside]).all() and np.isnan(velocity[outside]).all()


class TestGrids:
    def test_a_half(self, grid):
        # The rings are 5.6 degrees apart; the first one is at 2.8 degrees, and its cell from 0.
        part = grid.sel(lat=slice(90, 0))
        assert_drawn(part, grid, LAT > 3.0, LAT < -0.1)

    def test_a_range_of_longitudes(self, grid):
        part = grid.sel(lon=slice(90, 220))
        # What is at the poles is the mean over the last rings, of the part as of the whole.
        inside = (LON > 91) & (LON < 219) & (np.abs(LAT) < 85)
        assert_drawn(part, grid, inside, (LON < 86) | (LON > 224))

    def test_over_the_seam(self, grid):
        part = grid.where((grid.lon < 60) | (grid.lon > 300), drop=True)[["density"]]
        found = density_field(part, 1).at(POINTS)
        near = np.abs((LON + 180) % 360 - 180)
        assert np.isfinite(found[near < 59]).all() and np.isnan(found[near > 63]).all()

    def test_caps_with_nothing_between(self, grid):
        part = grid.isel(lat=np.abs(grid.lat.values) > 45)
        ends = np.abs(LAT)
        assert_drawn(part, grid, ends > 50.0, ends < 41.0)

    def test_values_that_are_missing(self, grid):
        part = grid.assign(density=grid.density.where(grid.lat > 0))
        found = density_field(part, 1).at(POINTS)
        assert np.isfinite(found[LAT > 3.0]).all() and np.isnan(found[LAT < -3.0]).all()

    def test_one_ring(self, grid):
        part = grid.isel(lat=[10])
        found, middle = density_field(part, 1).at(POINTS), float(part.lat[0])
        assert np.isfinite(found[np.abs(LAT - middle) < 2.5]).all()
        assert np.isnan(found[np.abs(LAT - middle) > 3.5]).all()

    @pytest.mark.parametrize("count", [3, 8, 64])
    def test_whole_grids_of_all_sizes(self, count):
        gauss = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(count)[0]))
        even = -90.0 + 180.0 * (np.arange(count) + 0.5) / count
        for lat in (gauss, even, np.linspace(-90, 90, count)):
            at, whole = on_grid(
                np.arange(2 * count) * 180.0 / count, lat, np.ones((count, 2 * count))
            )
            assert whole
            np.testing.assert_allclose(at(POINTS), 1.0, rtol=1e-14)
            np.testing.assert_allclose(at(np.array([[0.0, 0, 1], [0, 0, -1]])), 1.0, rtol=1e-14)


class TestCells:
    def test_some_faces(self, cells):
        # A corner of a cell is at most 7 degrees from its centre at this level.
        part = cells.isel(face=cells.face_lat.values > 20)
        assert_drawn(part, cells, LAT > 27.0, LAT < 13.0)

    def test_without_areas_all_faces_are_the_sphere(self, cells):
        found = density_field(cells.drop_vars("face_area"), 1).at(POINTS)
        np.testing.assert_array_equal(found, density_field(cells, 1).at(POINTS))


def test_cells_without_places(cells):
    bare = cells.drop_vars(["face_lon", "face_lat", "face_area"])
    found = density_field(bare, 1).at(POINTS)
    np.testing.assert_array_equal(found, density_field(cells, 1).at(POINTS))
    with pytest.raises(InputError, match="'face_lon' and 'face_lat' with a part of a mesh"):
        sf.plot(bare.isel(face=slice(50)))


def test_some_nodes_of_characteristics():
    run = solve(sf.Characteristics(23, 45))
    north = run.position.values[0, :, 2] > 0
    expected = density_field(run, 0).at(POINTS)
    assert np.isfinite(expected).all()
    found = density_field(run.isel(token=north), 0).at(POINTS)
    np.testing.assert_array_equal(found[LAT > 8.0], expected[LAT > 8.0])
    assert np.isnan(found[LAT < -15.0]).all()


@pytest.mark.parametrize("kind", ["overview", "density", "velocity", "mobility"])
@pytest.mark.parametrize("projection", ["mollweide", "orthographic"])
def test_pictures_are_empty_there(grid, cells, kind, projection):
    for part in (grid.sel(lat=slice(90, 0)), cells.isel(face=cells.face_lat.values > 0)):
        figure = sf.plot(part, kind, projection=projection)
        pictures = [axes.images[0].get_array() for axes in figure.axes if axes.images]
        if kind == "overview":
            pictures = [axes.collections[0].get_array() for axes in figure.axes[:3]]
        for picture in pictures:
            hidden = np.ma.getmaskarray(np.ma.masked_invalid(picture))
            assert 0.3 < hidden.mean() < 0.9


def test_the_page_is_grey_there(grid, tmp_path):
    page = sf.view(grid.sel(lat=slice(90, 0)), tmp_path / "a.html").read_text()
    data = json.loads(re.search(r'json">(.*?)</script>', page, re.S).group(1))
    maps = np.frombuffer(base64.b64decode(data["maps"]), np.uint8)
    maps = maps.reshape(-1, data["height"], data["width"])  # from south to north
    half = data["height"] // 2
    assert (maps[:, :half] == 0).all() and (maps[:, half:] > 0).all()
    assert len(set(base64.b64decode(data["colours"])[:3])) == 1
    assert "region" in data["note"] and data["cells"]
    whole = sf.view(grid, tmp_path / "b.html").read_text()
    assert "region" not in whole


def test_a_movie_of_a_region(grid, tmp_path):
    from PIL import Image

    sf.animate(grid.sel(lat=slice(90, 0)), tmp_path / "a.gif", projection="mollweide", dpi=40)
    with Image.open(tmp_path / "a.gif") as movie:
        frame = np.asarray(movie.convert("RGB"))
    rows, columns = frame.shape[:2]
    lower = frame[int(0.7 * rows), int(0.3 * columns) : int(0.6 * columns)]
    assert (lower > 200).mean() > 0.9


@pytest.mark.parametrize("name", ["grid", "cells"])
def test_one_time_is_drawn_as_that_time(name, request):
    run = request.getfixturevalue(name)
    for one in (run.isel(time=1), run.sel(time=0.1), run.isel(time=[1])):
        figure = sf.plot(one, "density")
        assert figure._suptitle.get_text() == "t = 0.1"
        expected = sf.plot(run, "density", times=[0.1]).axes[0].images[0].get_array()
        np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), expected)
        assert sf.plot(one).axes[0].get_title() == "t = 0.1"


def test_points_are_half_a_spacing_around_a_single_place():
    at, whole = on_grid(np.array([10.0]), np.array([20.0]), np.array([[7.0]]))
    assert not whole
    places = from_degrees(np.array([10.0, 10.4, 12.0]), np.array([20.0, 20.4, 20.0]))
    np.testing.assert_array_equal(at(places), [7.0, 7.0, np.nan])
