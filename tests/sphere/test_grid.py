"""Harmonic transforms and calculus on the Gauss–Legendre grid, for both libraries.

The identities hold for every band-limited field, so random spectra are used; the norm is the
L2 norm, in which harmonics are orthonormal.
"""

import functools
import pickle

import numpy as np
import pytest
from scipy.special import sph_harm_y

from sphereflow.errors import InputError
from sphereflow.sphere import (
    SphereGrid,
    coefficient_count,
    complex_to_real,
    lmax_of,
    power_by_degree,
    real_degrees_and_orders,
    real_to_complex,
    resize,
    shtns_available,
)

ENGINES = [
    pytest.param(
        "shtns",
        marks=pytest.mark.skipif(not shtns_available(), reason="SHTns is not installed"),
    ),
    "ducc0",
]
LMAX = [15, 63, 127, 255, 511]


@functools.lru_cache(maxsize=4)
def grid_of(lmax, engine):
    return SphereGrid(lmax, engine=engine)


@functools.lru_cache(maxsize=4)
def random_spectrum(lmax, seed=0):
    """A real function with random coefficients, all degrees of equal power."""
    real = np.random.default_rng(seed).standard_normal((lmax + 1) ** 2)
    degrees, _ = real_degrees_and_orders(lmax)
    return real_to_complex(real / np.sqrt(2 * degrees + 1))


def norm(coefficients):
    """L2 norm of the function."""
    return np.sqrt(power_by_degree(coefficients).sum())


def relative(got, expected):
    return norm(got - expected) / norm(expected)


@pytest.mark.parametrize("lmax", LMAX)
@pytest.mark.parametrize("engine", ENGINES)
class TestIdentities:
    def test_round_trip(self, lmax, engine):
        grid, f = grid_of(lmax, engine), random_spectrum(lmax)
        assert relative(grid.analysis(grid.synthesis(f)), f) < 1e-12

    def test_vector_round_trip(self, lmax, engine):
        grid = grid_of(lmax, engine)
        f, g = random_spectrum(lmax).copy(), random_spectrum(lmax, 1).copy()
        f[0] = g[0] = 0.0  # a constant has no gradient
        spheroidal, toroidal = grid.vector_analysis(grid.vector_synthesis(f, g))
        assert relative(spheroidal, f) < 1e-12
        assert relative(toroidal, g) < 1e-12

    def test_divergence_of_gradient_is_the_laplacian(self, lmax, engine):
        grid, f = grid_of(lmax, engine), random_spectrum(lmax)
        assert relative(grid.divergence(grid.gradient(f)), grid.laplacian(f)) < 1e-12

    def test_divergence_of_curl_is_zero(self, lmax, engine):
        # Against |∇∇f| ~ |Δf|, the size of each of the terms that cancel.
        grid, f = grid_of(lmax, engine), random_spectrum(lmax)
        assert norm(grid.divergence(grid.curl(f))) < 1e-12 * norm(grid.laplacian(f))

    def test_weights(self, lmax, engine):
        grid = grid_of(lmax, engine)
        assert np.sum(grid.weights) * grid.nlon == pytest.approx(4 * np.pi, rel=1e-13)
        assert (grid.weights > 0).all()

    def test_quadrature_is_orthonormal(self, lmax, engine):
        # ∫f = √4π f_00, and Parseval: f² has degree 2 lmax, within reach of the rule.
        grid, f = grid_of(lmax, engine), random_spectrum(lmax)
        values = grid.synthesis(f)
        assert grid.integrate(values) == pytest.approx(
            np.sqrt(4 * np.pi) * f[0].real, abs=1e-12 * norm(f)
        )
        assert grid.integrate(values**2) == pytest.approx(norm(f) ** 2, rel=1e-12)


@pytest.mark.skipif(not shtns_available(), reason="SHTns is not installed")
@pytest.mark.parametrize("lmax", LMAX)
def test_engines_agree(lmax):
    f, g = random_spectrum(lmax), random_spectrum(lmax, 1)
    one, two = grid_of(lmax, "shtns"), grid_of(lmax, "ducc0")
    assert np.array_equal(one.points, two.points)
    for ours, theirs in [
        (one.synthesis(f), two.synthesis(f)),
        (one.vector_synthesis(f, g), two.vector_synthesis(f, g)),
    ]:
        assert np.linalg.norm(ours - theirs) < 1e-12 * np.linalg.norm(theirs)
    values = one.synthesis(f)
    assert relative(one.analysis(values), two.analysis(values)) < 1e-12
    vector = one.vector_synthesis(f, g)
    for ours, theirs in zip(one.vector_analysis(vector), two.vector_analysis(vector)):
        assert relative(ours, theirs) < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
class TestConventions:
    def test_harmonics_are_those_of_scipy(self, engine):
        # Orthonormal with the Condon–Shortley phase, as scipy's.
        grid = SphereGrid(6, engine=engine)
        theta = np.radians(90 - grid.latitude)[:, None]
        phi = np.radians(grid.longitude)[None, :]
        for index, (l, m) in enumerate(zip(grid.degrees, grid.orders)):
            unit = np.zeros(grid.size, dtype=complex)
            unit[index] = 1.0
            harmonic = sph_harm_y(l, m, theta, phi)
            expected = harmonic.real * (1 if m == 0 else 2)  # with its conjugate at −m
            np.testing.assert_allclose(grid.synthesis(unit), expected, atol=1e-13)

    def test_degree_one_of_the_real_layout(self, engine):
        grid = SphereGrid(4, engine=engine)
        x, y, z = np.moveaxis(grid.points, -1, 0)
        for index, expected in [(1, y), (2, z), (3, x)]:
            real = np.zeros(25)
            real[index] = 1.0
            np.testing.assert_allclose(
                grid.synthesis(real_to_complex(real)),
                np.sqrt(3 / (4 * np.pi)) * expected,
                atol=1e-14,
            )

    def test_real_harmonics_of_degree_two(self, engine):
        grid = SphereGrid(4, engine=engine)
        x, y, z = np.moveaxis(grid.points, -1, 0)
        c = np.sqrt(15 / (4 * np.pi))
        forms = [c * x * y, c * y * z, c / np.sqrt(12) * (3 * z**2 - 1), c * x * z]
        forms.append(c / 2 * (x**2 - y**2))
        for index, form in enumerate(forms, start=4):
            real = complex_to_real(grid.analysis(form))
            np.testing.assert_allclose(real, np.eye(25)[index], atol=1e-14)

    def test_gradient_of_a_polynomial(self, engine):
        # f = xyz is a harmonic polynomial of degree 3: ∇f = P (yz, xz, xy), Δf = −12 f.
        grid = SphereGrid(8, engine=engine)
        x, y, z = np.moveaxis(grid.points, -1, 0)
        f = grid.analysis(x * y * z)
        ambient = np.stack([y * z, x * z, x * y], axis=-1)
        tangent = ambient - 3 * (x * y * z)[..., None] * grid.points
        np.testing.assert_allclose(grid.to_cartesian(grid.gradient(f)), tangent, atol=1e-13)
        np.testing.assert_allclose(grid.from_cartesian(ambient), grid.gradient(f), atol=1e-13)
        np.testing.assert_allclose(grid.synthesis(grid.laplacian(f)), -12 * x * y * z, atol=1e-13)

    def test_curl_is_a_rotation_about_the_axis(self, engine):
        # ∇z × x = e_z × x: eastward with speed cos(latitude).
        grid = SphereGrid(4, engine=engine)
        curl = grid.curl(grid.analysis(grid.points[..., 2]))
        expected = np.cross([0.0, 0.0, 1.0], grid.points)
        np.testing.assert_allclose(grid.to_cartesian(curl), expected, atol=1e-14)

    def test_southward_eastward_matches_the_frame(self, engine):
        grid = SphereGrid(4, engine=engine)
        vector = np.random.default_rng(1).standard_normal((2, *grid.shape))
        south, east = grid.southward_eastward(grid.to_cartesian(vector))
        np.testing.assert_allclose([east, -south], vector, atol=1e-14)

    def test_first_ring_is_north_and_longitude_eastward(self, engine):
        grid = SphereGrid(4, engine=engine)
        assert (np.diff(grid.latitude) < 0).all()
        quarter = grid.nlon // 4
        assert grid.longitude[quarter] == 90.0
        np.testing.assert_allclose(grid.points[0, quarter, 0], 0.0, atol=1e-15)
        assert grid.points[0, quarter, 1] > 0

    def test_inputs_are_not_changed(self, engine):
        grid = SphereGrid(7, engine=engine)
        f = random_spectrum(7)
        before = f.copy()
        values = grid.synthesis(f)
        copy = values.copy()
        grid.analysis(values)
        vector = grid.gradient(f)
        vector_copy = vector.copy()
        grid.divergence(vector)
        assert np.array_equal(f, before)
        assert np.array_equal(values, copy)
        assert np.array_equal(vector, vector_copy)

    def test_pickling_keeps_the_grid(self, engine):
        grid = SphereGrid(9, dealias=1.5, engine=engine, nlat=40)
        again = pickle.loads(pickle.dumps(grid))
        assert repr(again) == repr(grid)
        f = random_spectrum(9)
        assert np.array_equal(again.synthesis(f), grid.synthesis(f))

    def test_dealiased_product_is_exact(self, engine):
        # With the 3/2 rule the projection of f·g to degree lmax equals that on a finer grid.
        f, g = random_spectrum(31), random_spectrum(31, 1)
        products = [
            grid.resized(grid.analysis(grid.synthesis(f) * grid.synthesis(g)))
            for grid in (SphereGrid(31, nlat=48, engine=engine), SphereGrid(31, nlat=96))
        ]
        assert relative(*products) < 1e-12


@pytest.mark.parametrize("lmax", [0, 1, 5, 40])
def test_real_and_complex_layouts_are_isometric(lmax):
    real = np.random.default_rng(lmax).standard_normal((3, (lmax + 1) ** 2))
    spectrum = real_to_complex(real)
    assert spectrum.shape == (3, coefficient_count(lmax))
    assert lmax_of(spectrum) == lmax
    np.testing.assert_allclose(complex_to_real(spectrum), real, rtol=1e-15, atol=1e-15)
    degrees, _ = real_degrees_and_orders(lmax)
    by_degree = np.stack([np.bincount(degrees, row**2) for row in real])
    np.testing.assert_allclose(power_by_degree(spectrum), by_degree, rtol=1e-13)


def test_resize_pads_and_truncates():
    real = np.random.default_rng(0).standard_normal(36)
    larger = complex_to_real(resize(real_to_complex(real), 9))
    np.testing.assert_allclose(larger, np.pad(real, (0, 64)), atol=1e-15)
    smaller = complex_to_real(resize(real_to_complex(real), 3))
    np.testing.assert_allclose(smaller, real[:16], atol=1e-15)
    same = real_to_complex(real)
    copy = resize(same, 5)
    copy[0] = 7.0
    assert same[0] != 7.0


@pytest.mark.parametrize("lmax", [0, -3, 2.5, True])
def test_bad_degree(lmax):
    with pytest.raises(InputError, match="lmax"):
        SphereGrid(lmax)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"engine": "fftw"}, "engine"),
        ({"dealias": 0.5}, "dealias"),
        ({"nlat": 7}, "nlat"),
    ],
)
def test_bad_options(options, word):
    with pytest.raises(InputError, match=word):
        SphereGrid(7, **options)


def test_missing_shtns(monkeypatch):
    monkeypatch.setattr("sphereflow.sphere.grid.shtns_available", lambda: False)
    assert SphereGrid(7).engine.name == "ducc0"
    with pytest.raises(InputError, match="not installed"):
        SphereGrid(7, engine="shtns")


def test_few_rings_are_left_to_ducc():
    # SHTns ends the process below 32 rings.
    assert SphereGrid(7, nlat=8).engine.name == "ducc0"
    if shtns_available():
        with pytest.raises(InputError, match="at least 32"):
            SphereGrid(7, nlat=31, engine="shtns")


def test_bad_shapes():
    grid = SphereGrid(7)
    with pytest.raises(InputError, match=r"coefficients must have shape \(36,\)"):
        grid.synthesis(np.zeros(35, dtype=complex))
    with pytest.raises(InputError, match="a field must have shape"):
        grid.analysis(np.zeros((3, 4)))
    with pytest.raises(InputError, match="a field must have shape"):
        grid.integrate(np.zeros(grid.nlon))
    with pytest.raises(InputError, match="a tangent field must have shape"):
        grid.divergence(np.zeros((3, *grid.shape)))
    with pytest.raises(InputError, match="length"):
        lmax_of(np.zeros(4, dtype=complex))
    with pytest.raises(InputError, match="length"):
        real_to_complex(np.zeros(5))
