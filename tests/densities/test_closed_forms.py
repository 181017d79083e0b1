"""Densities: normalisation, closed-form moments, samples against the density, errors."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ive

import sphereflow as sf
from sphereflow.densities.base import as_density
from sphereflow.errors import InputError, ResolutionError
from sphereflow.sphere import (
    PointTransform,
    SphereGrid,
    complex_to_real,
    lmax_of,
    power_by_degree,
    real_degrees_and_orders,
    resize,
)

AXIS = np.array([2.0, -1.0, 2.0]) / 3.0
TILTED = sf.HarmonicDensity([1.0, 0.2, -0.3, 0.1, 0.1, 0.0, 0.2, 0.0, -0.1])
MIXTURE = sf.Mixture(
    [sf.VonMisesFisher(AXIS, 8.0), sf.VonMisesFisher([0, -1, 1], 2.0), sf.Uniform()],
    [0.5, 0.3, 0.2],
)
DENSITIES = {
    "uniform": sf.Uniform(),
    "vmf 0": sf.VonMisesFisher(AXIS, 0.0),
    "vmf 1e-9": sf.VonMisesFisher(AXIS, 1e-9),
    "vmf 4": sf.VonMisesFisher(AXIS, 4.0),
    "vmf 200": sf.VonMisesFisher(AXIS, 200.0),
    "mixture": MIXTURE,
    "nested mixture": sf.Mixture([MIXTURE, sf.VonMisesFisher([1, 0, 0], 5.0)]),
    "clusters 0.05": sf.OctahedralClusters(0.05),
    "clusters 0.2": sf.OctahedralClusters(0.2),
    "clusters 0.5": sf.OctahedralClusters(0.5),
    "clusters 20": sf.OctahedralClusters(20.0),
    "harmonic": TILTED,
    "harmonic constant": sf.HarmonicDensity([3.0]),
}


def random_points(n, seed=0):
    points = np.random.default_rng(seed).standard_normal((n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def bessel_ratio(degrees, kappa):
    """i_l(κ) / i_0(κ)."""
    return ive(degrees + 0.5, kappa) / ive(0.5, kappa)


@pytest.mark.parametrize("name", DENSITIES)
def test_normalised_and_positive(name):
    grid = SphereGrid(255)
    values = DENSITIES[name](grid.points)
    assert values.shape == grid.shape
    assert values.min() >= 0
    assert grid.integrate(values) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("kappa", [1e-9, 1e-7, 0.5, 30.0, 2000.0, 1e6])
def test_vmf_is_normalised_at_any_concentration(kappa):
    # ∫ μ dσ = 2π ∫ μ(c) dc, c = 1 − s/κ, in which the integrand is e^{−s}.
    density = sf.VonMisesFisher([0, 0, 1.0], kappa)

    def integrand(s):
        c = 1 - s / kappa
        return 2 * np.pi * density([np.sqrt(max(0.0, 1 - c * c)), 0.0, c]) / kappa

    upper = min(2 * kappa, 60.0)
    assert quad(integrand, 0, upper, epsabs=1e-13)[0] == pytest.approx(1.0, rel=1e-10)


@pytest.mark.parametrize("kappa", [1e-3, 0.5, 4.0, 40.0, 300.0])
def test_vmf_moments(kappa):
    # ∫Y_lm dμ = i_l(κ)/i_0(κ) Y_lm(a); the mean is (coth κ − 1/κ) a.
    coefficients = sf.VonMisesFisher(AXIS, kappa).resolved_spectrum()
    lmax = lmax_of(coefficients)
    degrees, _ = real_degrees_and_orders(lmax)
    at_axis = complex_to_real(PointTransform([AXIS]).moments([1.0], lmax))
    expected = bessel_ratio(degrees, kappa) * at_axis
    np.testing.assert_allclose(complex_to_real(coefficients), expected, atol=2e-13)
    mean = np.sqrt(4 * np.pi / 3) * complex_to_real(coefficients)[[3, 1, 2]]
    length = kappa / 3 if kappa < 0.01 else 1 / np.tanh(kappa) - 1 / kappa  # to κ³/45
    np.testing.assert_allclose(mean, length * AXIS, atol=1e-10 if kappa < 0.01 else 1e-13)


@pytest.mark.parametrize("spread", [0.05, 0.5, 3.0])
def test_clusters_are_projected_normals(spread):
    # Independent: the normal density integrated along the ray, ∫ r² N(r x; e, s² I) dr.
    density = sf.OctahedralClusters(spread)
    vertices = np.concatenate([np.eye(3), -np.eye(3)])
    for x in [*random_points(3), np.array([0.6, 0.8, 0.0]), np.array([0.0, 0.0, -1.0])]:
        # The largest exponent of any cluster is taken out so that tiny values keep their digits.
        top = max(0.0, (vertices @ x).max())
        shift = (1 - top**2) / (2 * spread**2)

        def ray(r, x=x, shift=shift):
            square = np.sum((r * x - vertices) ** 2, axis=1) / (2 * spread**2)
            return r**2 * np.exp(shift - square).mean() / (2 * np.pi * spread**2) ** 1.5

        peaks = sorted({float(p) for p in np.maximum(vertices @ x, 0.0)})
        integral = quad(ray, 0, 1 + 12 * spread, points=peaks, epsabs=0, epsrel=1e-11, limit=400)
        got = density.log_density(x) + shift
        assert got == pytest.approx(np.log(integral[0]), abs=1e-10)


@pytest.mark.parametrize("spread", [0.05, 0.15])
def test_moments_of_clusters(spread):
    # Second moments are I/3 by symmetry. Fourth: Gauss–Hermite over the normal law of one
    # vertex, v = e₃ + s g; the mean over vertices permutes the axes.
    g, w = np.polynomial.hermite_e.hermegauss(40)
    w = w / w.sum()
    square = np.stack(
        np.broadcast_arrays(
            (spread * g[:, None, None]) ** 2,
            (spread * g[None, :, None]) ** 2,
            (1 + spread * g[None, None, :]) ** 2,
        )
    )
    square = square / square.sum(axis=0)
    weights = np.einsum("i,j,k->ijk", w, w, w)
    one_vertex = np.einsum("aijk,bijk,ijk->ab", square, square, weights)
    same, mixed = np.trace(one_vertex) / 3, (one_vertex.sum() - np.trace(one_vertex)) / 6

    grid = SphereGrid(255)
    values = sf.OctahedralClusters(spread)(grid.points)
    x, y, _ = np.moveaxis(grid.points, -1, 0)
    assert grid.integrate(values * x) == pytest.approx(0.0, abs=1e-13)
    assert grid.integrate(values * x * y) == pytest.approx(0.0, abs=1e-13)
    assert grid.integrate(values * x**2) == pytest.approx(1 / 3, rel=1e-12)
    assert grid.integrate(values * x**4) == pytest.approx(same, rel=1e-10)
    assert grid.integrate(values * x**2 * y**2) == pytest.approx(mixed, rel=1e-10)


def test_clusters_against_their_histogram():
    # Largest coordinate of |x|, 12 bins of about equal count: χ² below its 1 − 1e-6 quantile.
    from scipy.stats import chi2

    density = sf.OctahedralClusters(0.3)
    edges = np.quantile(np.abs(density.sample(20_000, seed=3)).max(axis=1), np.linspace(0, 1, 13))
    edges[0], edges[-1] = 0.0, 1.0
    grid = SphereGrid(511)
    mass = (density(grid.points) * grid.weights).ravel()
    expected, _ = np.histogram(np.abs(grid.points).max(axis=-1).ravel(), edges, weights=mass)
    n = 40_000
    counts, _ = np.histogram(np.abs(density.sample(n, seed=4)).max(axis=1), edges)
    statistic = np.sum((counts - n * expected) ** 2 / (n * expected))
    assert statistic < chi2.ppf(1 - 1e-6, 11)


@pytest.mark.parametrize("name", DENSITIES)
def test_sample_moments(name):
    # Mean and second moment within 5 standard errors of the integrals of the density.
    density = DENSITIES[name]
    grid = SphereGrid(255)
    mass = (density(grid.points) * grid.weights).reshape(-1)
    nodes = grid.points.reshape(-1, 3)
    n = 200_000
    sample = density.sample(n, seed=11)
    assert sample.shape == (n, 3)
    np.testing.assert_allclose(np.linalg.norm(sample, axis=1), 1.0, rtol=1e-13)

    def features(x):
        return np.concatenate([x, x * np.roll(x, 1, axis=1), x**2], axis=1)

    mean = mass @ features(nodes)
    variance = mass @ (features(nodes) - mean) ** 2
    error = features(sample).mean(axis=0) - mean
    assert (np.abs(error) < 5 * np.sqrt(variance / n) + 1e-12).all()


@pytest.mark.parametrize("name", DENSITIES)
def test_same_seed_same_sample(name):
    density = DENSITIES[name]
    first = density.sample(50, seed=5)
    np.random.default_rng().standard_normal(7)
    assert np.array_equal(first, density.sample(50, seed=5))
    sequence = np.random.SeedSequence(5)
    assert np.array_equal(first, density.sample(50, seed=sequence))
    assert np.array_equal(first, density.sample(50, seed=sequence))  # not used up
    assert not np.array_equal(first, density.sample(50, seed=6))
    assert density.sample(0, seed=1).shape == (0, 3)


def test_components_of_a_mixture_have_streams_of_their_own():
    # Equal components must not return the same points.
    sample = sf.Mixture([sf.Uniform(), sf.Uniform()]).sample(200, seed=1)
    assert len(np.unique(sample.round(12), axis=0)) == 200


def test_mixture_is_linear():
    points = random_points(40)
    expected = sum(w * one(points) for w, one in zip(MIXTURE.weights, MIXTURE.components))
    np.testing.assert_allclose(MIXTURE(points), expected, rtol=1e-14)
    parts = sum(w * one.coefficients_to(63) for w, one in zip(MIXTURE.weights, MIXTURE.components))
    np.testing.assert_allclose(MIXTURE.coefficients_to(63), parts, atol=1e-14)


def test_mixture_scales_weights_and_drops_empty_components():
    other = sf.VonMisesFisher(AXIS, 3.0)
    mixture = sf.Mixture([sf.Uniform(), other], [0.0, 7.0])
    assert mixture.weights.tolist() == [0.0, 1.0]
    points = random_points(5)
    np.testing.assert_allclose(mixture(points), other(points), rtol=1e-14)


def test_mixture_with_a_callable_that_vanishes():
    cap = sf.Mixture([sf.Uniform(), lambda p: np.maximum(p[..., 2], 0.0) / np.pi])
    got = cap(np.array([[0, 0, -1.0], [0, 0, 1.0]]))
    np.testing.assert_allclose(got, [0.5 / (4 * np.pi), 0.5 / (4 * np.pi) + 0.5 / np.pi])


def test_harmonic_density_at_points():
    real = np.asarray(TILTED.coefficients) / np.sqrt(4 * np.pi)
    x, y, z = random_points(20).T
    one, two = np.sqrt(3 / (4 * np.pi)), np.sqrt(15 / (4 * np.pi))
    harmonics = [np.full(20, 1 / np.sqrt(4 * np.pi)), one * y, one * z, one * x, two * x * y]
    harmonics += [two * y * z, two / np.sqrt(12) * (3 * z**2 - 1), two * x * z]
    harmonics.append(two / 2 * (x**2 - y**2))
    np.testing.assert_allclose(TILTED(np.stack([x, y, z], 1)), real @ harmonics, atol=1e-13)
    np.testing.assert_allclose(complex_to_real(TILTED.coefficients_to(2)), real, atol=1e-15)


def test_projection_refines_until_resolved():
    # vMF κ = 2000: the coefficients fall below 1e-13 near degree √(2·2000·30) ≈ 350.
    coefficients = sf.VonMisesFisher(AXIS, 2000.0).resolved_spectrum()
    assert lmax_of(coefficients) == 511
    power = np.sqrt(power_by_degree(coefficients))
    assert power[-8:].max() < 1e-12 * power.max()
    assert lmax_of(sf.VonMisesFisher(AXIS, 2.0).resolved_spectrum()) == 63


def test_callable_is_normalised():
    # 5 (1 + z/2): mass 20π; the mean of z is 1/6.
    coefficients = complex_to_real(as_density(lambda p: 5 + 2.5 * p[..., 2]).coefficients_to(3))
    assert coefficients[0] == pytest.approx(1 / np.sqrt(4 * np.pi), rel=1e-14)
    assert np.sqrt(4 * np.pi / 3) * coefficients[2] == pytest.approx(1 / 6, rel=1e-13)


@pytest.mark.parametrize(
    ("density", "message"),
    [
        (lambda p: p[..., 2], "must not be negative"),
        (lambda p: np.where(p[..., 2] > 0, np.nan, 1.0), "must be finite"),
        (lambda p: np.full(p.shape[:-1], np.inf), "must be finite"),
        (lambda p: np.zeros(p.shape[:-1]), "positive finite integral"),
        (lambda p: p, "must return shape"),
        (lambda p: 1.0, "must return shape"),
        (lambda p: np.array(["a"]), "real numbers"),
    ],
)
def test_unusable_callables(density, message):
    with pytest.raises(InputError, match=message):
        as_density(density).resolved_spectrum()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sf.VonMisesFisher([0, 0, 0], 1.0), "non-zero vector"),
        (lambda: sf.VonMisesFisher([0, 1], 1.0), "length 3"),
        (lambda: sf.VonMisesFisher([0, 0, np.nan], 1.0), "finite"),
        (lambda: sf.VonMisesFisher([0, 0, 1], -1.0), "concentration"),
        (lambda: sf.VonMisesFisher([0, 0, 1], np.inf), "concentration"),
        (lambda: sf.Mixture([]), "components"),
        (lambda: sf.Mixture([1.0]), "components"),
        (lambda: sf.Mixture([sf.Uniform()], [1.0, 2.0]), "weights must be 1 numbers"),
        (lambda: sf.Mixture([sf.Uniform()] * 2, [1.0, -1.0]), "weights"),
        (lambda: sf.Mixture([sf.Uniform()] * 2, [0.0, 0.0]), "positive sum"),
        (lambda: sf.OctahedralClusters(0.0), "spread"),
        (lambda: sf.OctahedralClusters(-1.0), "spread"),
        (lambda: sf.HarmonicDensity([1.0, 0.0]), "length"),
        (lambda: sf.HarmonicDensity([0.0, 0.0, 0.0, 0.0]), "first entry"),
        (lambda: sf.HarmonicDensity([]), "first entry"),
        (lambda: sf.HarmonicDensity([1.0, 0.0, np.nan, 0.0]), "finite"),
        # 1 + c√3 z is negative at the south pole for c > 1/√3.
        (lambda: sf.HarmonicDensity([1.0, 0.0, 0.58, 0.0]), "must not be negative"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_harmonic_density_that_just_stays_positive():
    density = sf.HarmonicDensity([1.0, 0.0, 0.577, 0.0])
    expected = (1 - 0.577 * np.sqrt(3)) / (4 * np.pi)
    assert density([0, 0, -1.0]) == pytest.approx(expected, abs=1e-12)
    assert np.isfinite(as_density(density).log_density([[0, 0, -1.0]])).all()


@pytest.mark.parametrize("concentration", [0.0, 1e-9, 3.0, 200.0, 2e4])
def test_von_mises_fisher_spectrum_is_that_of_its_projection(concentration):
    density = sf.VonMisesFisher([1, -2, 2], concentration)
    grid = sf.SphereGrid(1023)
    low = resize(grid.analysis(density(grid.points)), 40)
    known = resize(density.resolved_spectrum(), 40)
    assert np.abs(known - low).max() < 1e-12


@pytest.mark.parametrize("spread", [0.05, 0.4, 2.0])
def test_octahedral_spectrum_is_that_of_its_projection(spread):
    density = sf.OctahedralClusters(spread)
    grid = sf.SphereGrid(255)
    low = resize(grid.analysis(density(grid.points)), 60)
    known = resize(density.resolved_spectrum(), 60)
    assert np.abs(known - low).max() < 1e-12


@pytest.mark.parametrize("concentration", [1e6, 1e9])
def test_a_component_narrower_than_any_grid_is_not_lost(concentration):
    narrow = sf.VonMisesFisher([0.6, 0, 0.8], concentration)
    mixture = sf.Mixture([sf.Uniform(), narrow])
    degree_one = complex_to_real(mixture.resolved_spectrum())[1:4]
    expected = np.sqrt(3 / (4 * np.pi)) * 0.5 * (1 - 1 / concentration) * np.array([0, 0.8, 0.6])
    assert np.abs(degree_one - expected).max() < 1e-12
    # L(Dx) is the mean of sinh β/β and of that of a point, within 1/κ; β = 30 takes direct sums.
    x = np.array([[0.6, 0.0, -0.8], [0.0, 0.6, 0.8]])
    for beta in (1.0, 30.0):
        field = sf.attention_field(mixture, sf.FixedHeads(beta * np.eye(3)))
        right = 0.5 * np.sinh(beta) / beta + 0.5 * np.exp(beta * (x @ [0.6, 0.0, 0.8]))
        np.testing.assert_allclose(field.mobility(x)[:, 0], right, rtol=2 * beta**2 / concentration)


def test_fields_of_functions_with_kinks_tell_their_error():
    with pytest.warns(UserWarning, match=r"known to 3e-06"):
        field = sf.attention_field(lambda x: np.abs(x[..., 2]), sf.FixedHeads(np.eye(3)))
    # ∫ |c| e^c dc over [-1, 1]
    right = 2 - 2 / np.e
    assert field.mobility([[0.0, 0.0, 1.0]])[0, 0] == pytest.approx(right, rel=3e-6)
    with pytest.warns(UserWarning, match=r"known to 5e-03"):
        field = sf.attention_field(lambda x: 1.0 * (x[..., 2] > 0.3), sf.FixedHeads(np.eye(3)))
    right = (np.e - np.exp(0.3)) / 0.7
    assert field.mobility([[0.0, 0.0, 1.0]])[0, 0] == pytest.approx(right, rel=5e-3)


def test_a_function_whose_peak_the_grids_disagree_on_has_no_field():
    centre = np.array([0.48, 0.6, 0.64])
    with pytest.raises(ResolutionError, match="change by"):
        sf.attention_field(
            lambda x: 1 + 1e5 * np.exp(1e7 * (x @ centre - 1)), sf.FixedHeads(np.eye(3))
        )


def test_narrow_octahedral_clusters_keep_their_second_moment():
    """The six vertices are a design: the second moment is I/3 whatever the spread."""
    spectrum = complex_to_real(sf.OctahedralClusters(1e-3).resolved_spectrum())
    assert np.abs(spectrum[1:9]).max() < 1e-12


def test_components_of_a_mixture_count_with_unit_mass():
    flat = sf.Mixture([lambda x: 100 * np.ones(np.shape(x)[:-1]), sf.VonMisesFisher([0, 0, 1], 4)])
    plain = sf.Mixture([sf.Uniform(), sf.VonMisesFisher([0, 0, 1], 4)])
    points = random_points(20)
    np.testing.assert_allclose(flat(points), plain(points), rtol=1e-12)
