"""Clusters against closed forms, as point measures, on grids and meshes, and as samples."""

import numpy as np
import pytest
import xarray
from scipy.integrate import quad
from scipy.stats import special_ortho_group

import sphereflow as sf
from sphereflow.densities.node_rules import node_rule
from sphereflow.diagnostics import clusters, find_clusters
from sphereflow.errors import InputError

VMF = sf.VonMisesFisher
MEAN = np.array([0.3, -0.5, 0.8]) / np.sqrt(0.98)
KAPPAS = np.array([200.0, 80.0, 400.0])
THREE = sf.Mixture(
    [VMF([1, 0, 0], 200.0), VMF([0, 1, 0], 80.0), VMF([0, 0, -1], 400.0)], [0.5, 0.3, 0.2]
)
CENTRES = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, -1.0]])
OCTAHEDRON = np.concatenate([np.eye(3), -np.eye(3)])


def half_mass_angle(kappa):
    """The mass within an angle is (1 − e^{κ(cos θ − 1)})/(1 − e^{−2κ})."""
    return np.arccos(1 + np.log(0.5 * (1 + np.exp(-2 * kappa))) / kappa)


def rms_angle(kappa):
    def integrand(angle):
        return angle**2 * np.exp(kappa * (np.cos(angle) - 1)) * np.sin(angle)

    reach = min(np.pi, 15 / np.sqrt(kappa))
    square, _ = quad(integrand, 0, reach, epsabs=0, epsrel=1e-12, limit=200)
    return np.sqrt(square * kappa / -np.expm1(-2 * kappa))


def found_in(density, degree=47, **options):
    rule = node_rule(density, degree)
    return find_clusters(rule.positions, rule.weights, **options)


def of_tokens(points, **options):
    return find_clusters(points, np.full(len(points), 1 / len(points)), **options)


# Densities


@pytest.mark.parametrize("kappa", [20.0, 100.0, 1e3, 1e4])
def test_one_von_mises_fisher_density(kappa):
    found = found_in(VMF(MEAN, kappa))
    assert found.mass == pytest.approx([1.0], abs=1e-14)
    assert found.centre[0] == pytest.approx(MEAN, abs=1e-13)
    assert found.radius == pytest.approx([rms_angle(kappa)], rel=1e-10)
    # For small angles the density is a normal one in the plane, of variance 1/κ in each direction.
    assert found.radius == pytest.approx([np.sqrt(2 / kappa)], rel=0.2 / kappa)
    # The angle is that of a node: rings of nodes lie a few per cent apart.
    assert found.half_mass_radius == pytest.approx([half_mass_angle(kappa)], rel=0.08)


def test_a_mixture_comes_apart_into_its_components():
    found = found_in(THREE)
    assert found.mass == pytest.approx([0.5, 0.3, 0.2], abs=1e-10)
    assert found.centre == pytest.approx(CENTRES, abs=1e-10)
    assert found.radius == pytest.approx([rms_angle(kappa) for kappa in KAPPAS], rel=1e-8)
    assert found.half_mass_radius == pytest.approx(half_mass_angle(KAPPAS), rel=0.08)


def test_the_half_mass_angle_converges_with_the_nodes():
    errors = [
        abs(found_in(VMF(MEAN, 100.0), degree).half_mass_radius[0] / half_mass_angle(100.0) - 1)
        for degree in (31, 255)
    ]
    assert errors[0] < 0.15 and errors[1] < 0.025


@pytest.mark.parametrize(
    ("scheme", "radius", "half"),
    [
        (sf.Characteristics(31, 31), 1e-8, 0.02),
        # On grids and meshes a radius grows by that of a cell.
        (sf.Spectral(95, output_lmax=95), 1e-5, 0.02),
        (sf.FiniteVolume(5, degree=1), 0.03, 0.05),
        (sf.Particles(count=4000, seed=1), 0.05, 0.05),
    ],
    ids=lambda part: type(part).__name__ if hasattr(part, "start") else "",
)
def test_every_scheme_tells_the_same_clusters(scheme, radius, half):
    problem = sf.TransformerPDE(None, THREE, drift=np.zeros((3, 3)))
    run = sf.solve(problem, t_end=0.01, scheme=scheme, save_at=[0.0, 0.01], rtol=1e-6)
    found = clusters(run)
    assert np.array_equal(found.number, [3, 3]) and np.array_equal(found.time, run.time)
    noise = 5 * np.sqrt(0.25 / 4000) if isinstance(scheme, sf.Particles) else 1e-6
    assert found.mass.values[0] == pytest.approx([0.5, 0.3, 0.2], abs=noise)
    assert np.abs(found.centre.values[0] - CENTRES).max() < (2e-2 if noise > 1e-3 else 1e-6)
    assert found.radius.values[0] == pytest.approx([rms_angle(k) for k in KAPPAS], rel=radius)
    assert found.half_mass_radius.values[0] == pytest.approx(half_mass_angle(KAPPAS), rel=half)
    assert found.centre.dims == ("time", "cluster", "axis")
    assert found.radius.attrs["units"] == "rad"


@pytest.mark.parametrize("mean", [[0, 0, 1], [0.3, -0.5, 0.7]], ids=["pole", "elsewhere"])
@pytest.mark.parametrize("kappa", [4.0, 20.0, 100.0])
def test_the_half_mass_angle_is_not_that_of_a_ring(kappa, mean):
    """On 64 latitudes, 0.05 apart, where the nearest ring would be up to 14 % off."""
    problem = sf.TransformerPDE(None, VMF(mean, kappa), drift=np.zeros((3, 3)))
    run = sf.solve(problem, t_end=0.01, scheme=sf.Spectral(63, output_lmax=63), save_at=[0.0])
    half = clusters(run, prominence=0.5).half_mass_radius.values[0, 0]
    assert half == pytest.approx(half_mass_angle(kappa), rel=5e-3)


def test_turning_everything_turns_the_clusters():
    rule = node_rule(THREE, 31)
    plain = find_clusters(rule.positions, rule.weights)
    for seed in range(3):
        rotation = special_ortho_group.rvs(3, random_state=seed)
        turned = find_clusters(rule.positions @ rotation.T, rule.weights)
        assert turned.centre == pytest.approx(plain.centre @ rotation.T, abs=1e-9)
        for name in ("mass", "radius", "half_mass_radius"):
            assert getattr(turned, name) == pytest.approx(getattr(plain, name), abs=1e-9)


def two_caps(angle):
    other = [np.sin(angle), 0, np.cos(angle)]
    return sf.Mixture([VMF([0, 0, 1], 4000.0), VMF(other, 4000.0)], [0.6, 0.4])


def test_clusters_nearer_than_the_bandwidth_are_one():
    """Two equal normal kernels of deviation h have two modes beyond a distance of 2h only."""
    for bandwidth in (0.15, 0.3):
        near, far = (
            found_in(two_caps(factor * bandwidth), 31, bandwidth=bandwidth).mass
            for factor in (1.0, 3.5)
        )
        assert near == pytest.approx([1.0], abs=1e-12)
        assert far == pytest.approx([0.6, 0.4], abs=1e-3)


def test_the_prominence_says_what_counts():
    """A weak mode of 1 % at κ = 4000 rises to 0.01·κ_h/2π of the density smoothed by h."""
    density = sf.Mixture([VMF([0, 0, 1], 4000.0), VMF([1, 0, 0], 4000.0)], [0.99, 0.01])
    kernel = 0.15**-2
    height = 0.01 * 4 * np.pi / (2 * np.pi * (1 / kernel + 1 / 4000.0))  # in units of 1/4π
    for prominence, number in ((0.9 * height, 2), (1.1 * height, 1)):
        assert found_in(density, 31, prominence=prominence).mass.size == number


def test_radii_on_a_mesh_are_not_below_its_spacing():
    # Half of the mass in one cell would make an angle of 0, the distance of its centre from itself.
    problem = sf.TransformerPDE(None, VMF(MEAN, 1e5), drift=np.zeros((3, 3)))
    run = sf.solve(problem, t_end=0.1, scheme=sf.FiniteVolume(3, degree=1), save_at=[0.0])
    found = clusters(run)
    assert found.number.values == [1]
    across = np.sqrt(4 * np.pi / 642)
    assert float(found.half_mass_radius[0, 0]) > 0.2 * across
    assert float(found.radius[0, 0]) > 0.2 * across


# Points


@pytest.mark.parametrize("weights", [None, [0.3, 0.25, 0.2, 0.12, 0.08, 0.05]])
def test_point_masses_have_no_radius(weights):
    weights = np.full(6, 1 / 6) if weights is None else np.array(weights)
    order = np.random.default_rng(0).permutation(6)
    found = find_clusters(OCTAHEDRON[order], weights[order])
    assert found.mass == pytest.approx(weights, abs=1e-15)
    assert found.radius.max() < 1e-15 and found.half_mass_radius.max() < 1e-15
    if weights[0] > weights[1]:  # the heaviest first
        assert np.array_equal(found.centre, OCTAHEDRON)


@pytest.mark.parametrize(
    "each",
    [20, 8, 4],
)
def test_tokens_that_coincide_are_clusters_of_a_sample(each):
    found = of_tokens(np.repeat(OCTAHEDRON, each, axis=0), sampled=True)
    assert found.mass == pytest.approx(np.full(6, 1 / 6), abs=1e-15)
    assert found.radius.max() < 1e-15


def test_a_uniform_density_has_no_clusters():
    assert found_in(sf.Uniform()).mass.size == 0
    ripple = sf.HarmonicDensity([1.0, 0, 0.2, 0])  # 1 + 0.2·√3 cos θ: from 0.65 to 1.35
    assert found_in(ripple).mass.size == 0
    assert found_in(ripple, prominence=0.5).mass == pytest.approx([1.0], abs=1e-14)


@pytest.mark.parametrize(
    ("count", "bandwidth"),
    [
        (50, 0.15),
        (200, 0.15),
        (1000, 0.15),
        (1000, 0.1),
        (5000, 0.15),
    ],
)
def test_uniform_tokens_have_no_clusters(count, bandwidth):
    numbers = [
        of_tokens(sf.Uniform().sample(count, seed=seed), bandwidth=bandwidth, sampled=True)
        for seed in range(4)
    ]
    assert [one.mass.size for one in numbers] == [0, 0, 0, 0]


def test_numbers_over_time_are_padded_with_nan():
    """Six clusters that a drift carries to its two stable points."""
    drift = 3.0 * np.diag([1.0, 0.5, -1.0])
    problem = sf.TransformerPDE(None, sf.OctahedralClusters(0.1), drift=drift)
    scheme = sf.Characteristics(degree=9, degree_max=9)
    run = sf.solve(problem, t_end=2.0, scheme=scheme, save_every=1.0, rtol=1e-6)
    found = clusters(run)
    number = found.number.values
    assert number[0] == 6 and number[-1] == 2
    for name in ("mass", "radius", "half_mass_radius"):
        values = found[name].values
        assert np.array_equal(np.isfinite(values).sum(axis=1), number)
    assert np.nansum(found.mass, axis=1) == pytest.approx(1.0, abs=1e-12)
    assert (np.diff(found.mass.values[-1][:2]) <= 1e-12).all()
    assert np.abs(found.centre.values[-1][:2, 0]) == pytest.approx(1.0, abs=1e-2)
    alone = clusters(run.isel(time=-1))
    assert alone.number.values == [2]


def test_what_holds_no_clusters_is_refused():
    problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.OctahedralClusters(0.1))
    scheme = sf.Particles(count=20, dt=0.1, seed=1, paths=2)
    ensemble = sf.solve(problem, t_end=0.1, scheme=scheme, save_every=0.1)
    with pytest.raises(InputError, match="select one"):
        clusters(ensemble)
    assert clusters(ensemble.isel(path=1)).number.size == 2
    with pytest.raises(InputError, match="must hold 'position', or 'density'"):
        clusters(ensemble[["energy"]])
    for options in ({"bandwidth": 0.01}, {"bandwidth": 2.0}, {"prominence": 0.0}):
        with pytest.raises(InputError, match=next(iter(options))):
            clusters(ensemble.isel(path=0), **options)


def test_nodes_without_a_density_are_points():
    problem = sf.TransformerPDE(None, sf.EmpiricalDensity(cloud(200)), drift=np.zeros((3, 3)))
    run = sf.solve(problem, t_end=0.1, scheme=sf.Characteristics(), save_at=[0.0])
    assert np.isnan(run.log_density).all()
    expected = of_tokens(cloud(200))
    assert np.array_equal(clusters(run).half_mass_radius[0, 0], expected.half_mass_radius[0])


def cloud(count):
    points = np.random.default_rng(0).normal(size=(count, 3)) * 0.2 + [0, 0, 1]
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_joined_cells_have_the_clusters_of_their_parts():
    # xarray gives the areas and centres of the faces a time when it joins parts.
    problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 2.0))
    run = sf.solve(problem, t_end=0.2, scheme=sf.FiniteVolume(level=2), save_every=0.1)
    joined = xarray.concat([run.isel(time=[0]), run.isel(time=[1, 2])], "time", data_vars="all")
    assert "time" in joined.face_area.dims
    xarray.testing.assert_identical(clusters(joined), clusters(run))
