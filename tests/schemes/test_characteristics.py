"""Characteristics: closed forms along nodes, quadratures of μ_0, agreement with other schemes."""

import numpy as np
import pytest
from scipy.linalg import expm

import sphereflow as sf
from sphereflow.attention import PointField, WeightedPoints, transform_of_points
from sphereflow.densities.base import as_density
from sphereflow.densities.node_rules import node_rule
from sphereflow.diagnostics import clusters
from sphereflow.errors import InputError
from sphereflow.heads import largest_argument
from sphereflow.schemes.drift_divergence import DriftDivergence
from sphereflow.sphere import PointTransform, power_by_degree, resize, voronoi_mesh

MATRIX = 0.3 * np.array([[1.0, 0.5, -0.2], [-0.8, -0.4, 0.3], [0.6, 0.9, -0.6]])
SQUEEZE = MATRIX + 0.5 * np.log(1e3) * np.diag([0.0, 0.0, 1.0])
MEAN = np.array([0.3, -0.5, 0.8])
START = sf.VonMisesFisher(MEAN, 3.0)
WIDE = sf.VonMisesFisher(MEAN, 1.5)


def symmetric_heads(count, seed=0):
    noise = np.random.default_rng(seed).standard_normal((count, 3, 3))
    return (noise + np.swapaxes(noise, 1, 2)) / 2


def general_heads(count, seed=3):
    rng = np.random.default_rng(seed)
    return sf.FixedHeads(*(0.5 * rng.standard_normal((2, count, 3, 3))))


def carry(problem, t_end, rtol=1e-10, save_at=None, **options):
    save_at = [0.0, t_end] if save_at is None else save_at
    options = {"degree": 15, "degree_max": 15, **options}
    scheme = sf.Characteristics(**options)
    return sf.solve(problem, t_end=t_end, scheme=scheme, save_at=save_at, rtol=rtol)


def log_jacobian(matrix, points):
    """log of det(DΦ) of x ↦ e^M x/|e^M x|: tr M − 3 log |e^M x|."""
    return np.trace(matrix) - 3 * np.log(np.linalg.norm(points @ expm(matrix).T, axis=1))


# Prescribed drifts, MODEL.md 6.3


@pytest.mark.parametrize("matrix", [MATRIX, SQUEEZE], ids=["mild", "squeeze by 1e3"])
@pytest.mark.parametrize("callable_drift", [False, True])
def test_log_density_along_nodes_matches_the_push_forward(matrix, callable_drift):
    drift = (lambda x, t: x @ matrix.T) if callable_drift else matrix
    run = carry(sf.TransformerPDE(None, START, drift=drift), 1.0)
    start, end = run.position.values
    image = start @ expm(matrix).T
    image /= np.linalg.norm(image, axis=1)[:, None]
    assert np.abs(end - image).max() < 1e-9
    exact = START.log_density(start) - log_jacobian(matrix, start)
    assert np.abs(run.log_density.values[1] - exact).max() < 1e-8
    if matrix is SQUEEZE:
        assert log_jacobian(matrix, start).min() < -6.0  # some of μ grows by more than e⁶
        return
    # ∫log μ dμ changes by the mean of the Jacobian.
    grid = sf.SphereGrid(63)
    mass = (START(grid.points) * grid.weights).ravel()
    change = mass @ log_jacobian(matrix, grid.points.reshape(-1, 3))
    assert float(run.entropy[1] - run.entropy[0]) == pytest.approx(change, abs=1e-6)


def test_a_drift_that_depends_on_time_against_its_matrix():
    """cos(t) M commutes with itself: the flow is that of M after sin(t)."""
    run = carry(
        sf.TransformerPDE(None, START, drift=lambda x, t: np.cos(t) * (x @ MATRIX.T)),
        2.0,
        save_at=[0.0, 0.7, 2.0],
    )
    start = run.position.values[0]
    for row, t in ((1, 0.7), (2, 2.0)):
        exact = START.log_density(start) - log_jacobian(np.sin(t) * MATRIX, start)
        assert np.abs(run.log_density.values[row] - exact).max() < 1e-8


def test_the_divergence_of_a_function_comes_from_its_harmonics():
    """u = ∇(⟨a,x⟩² z) + a × x has the divergence of its gradient part alone, by hand."""
    a = np.array([0.4, -0.3, 0.5])

    def drift(x, t):
        along, z = x @ a, x[:, 2]
        gradient = 2 * (along * z)[:, None] * a + (along**2)[:, None] * np.eye(3)[2]
        return (1 + t) * gradient + np.cross(a, x)

    points = np.random.default_rng(0).standard_normal((200, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    along, z = points @ a, points[:, 2]
    # Δ_S f = Δf − ∂_r² f − 2 ∂_r f of the homogeneous cubic f = ⟨a,x⟩² z on the sphere.
    laplacian = 2 * (a @ a) * z + 4 * along * a[2] - 12 * along**2 * z
    divergence = DriftDivergence(sf.TransformerPDE(None, START, drift=drift))
    assert np.abs(divergence(points, 1.0) - 2 * laplacian).max() < 1e-12
    matrix = DriftDivergence(sf.TransformerPDE(None, START, drift=MATRIX))
    by_harmonics = DriftDivergence(sf.TransformerPDE(None, START, drift=lambda x, t: x @ MATRIX.T))
    assert np.abs(matrix(points, 0.0) - by_harmonics(points, 0.0)).max() < 1e-12


def test_a_drift_that_turns_rough_ends_the_run():
    def drift(x, t):
        return x[:, [1, 2, 0]] * (np.sign(x[:, :1]) if t > 0.05 else 1.0)

    problem = sf.TransformerPDE(None, START, drift=drift)
    run = carry(problem, 0.1, save_at=[0.0, 0.04, 0.1], degree=5, degree_max=5)
    assert run.attrs["status"] == "failed" and "smooth the drift" in run.attrs["status_reason"]
    assert run.time.values[:2].tolist() == [0.0, 0.04] and float(run.time[-1]) <= 0.05


# Agreement with other schemes


@pytest.mark.parametrize(
    ("heads", "t_end", "degree", "options"),
    [
        (sf.FixedHeads(symmetric_heads(5)), 1.0, 31, {"flow": "ascent"}),
        (sf.FixedHeads(symmetric_heads(5)), 1.0, 21, {"flow": "descent"}),
        (sf.OscillatingHeads(symmetric_heads(2)), 0.1, 17, {"velocity": "gradient"}),
        (general_heads(2), 0.1, 17, {"attention": "unnormalised", "drift": MATRIX}),
        (
            sf.TabulatedHeads(
                [0.0, 0.07, 0.4],
                np.stack([symmetric_heads(1, seed) for seed in (1, 2, 3)]),
                interpolation="linear",
            ),
            0.1,
            17,
            {"flow": "descent"},
        ),
    ],
    ids=["ascent", "descent", "gradient", "unnormalised with drift", "kinks"],
)
def test_moments_and_budgets_agree_with_the_spectral_scheme(heads, t_end, degree, options):
    rtol = 1e-10 if t_end == 1.0 else 1e-9
    compare_with_spectral(sf.TransformerPDE(heads, WIDE, **options), t_end, degree, rtol, 1e-8)


def test_a_gaussian_law_agrees_with_the_spectral_scheme():
    """Less accurate, as the quadrature over the law makes the field costly at a low tolerance."""
    law = sf.OrnsteinUhlenbeck(np.eye(3), 0.5, quadrature=3)
    compare_with_spectral(sf.TransformerPDE(law, WIDE, flow="descent"), 0.1, 15, 1e-7, 1e-6)


def compare_with_spectral(problem, t_end, degree, rtol, bound):
    scheme = sf.Spectral(lmax=31, spectrum_degree=8)
    spectral = sf.solve(problem, t_end=t_end, scheme=scheme, save_at=[0, t_end], rtol=rtol)
    nodes = carry(problem, t_end, rtol, degree=degree, degree_max=degree, spectrum_degree=8)
    assert np.abs(nodes.spectrum - spectral.spectrum).max() < bound
    for name in ("energy", "entropy", "dissipation", "slope_squared", "metric_slope_squared"):
        assert np.abs(nodes[name] - spectral[name]).max() < bound, name
    for name in ("heads", "transport", "slope", "drift"):
        of = f"energy_{name}_integral"
        assert np.abs(nodes[of] - spectral[of]).max() < bound, name
    assert np.abs(nodes.energy_residual).max() < bound
    assert np.abs(nodes.speed - spectral.speed).max() < bound


def test_finite_volumes_agree_at_their_order():
    problem = sf.TransformerPDE(general_heads(2), START)
    exact = carry(problem, 0.5, rtol=1e-6, degree=25, degree_max=25, spectrum_degree=4).spectrum
    levels = (2, 3, 4)
    errors = []
    for level in levels:
        scheme = sf.FiniteVolume(level=level, degree=2, spectrum_degree=4)
        run = sf.solve(problem, t_end=0.5, scheme=scheme, save_at=[0.5])
        errors.append(np.abs(run.spectrum.values[-1] - exact.values[-1]).max())
    spacing = [voronoi_mesh(level).spacing for level in levels]
    assert np.polyfit(np.log(spacing), np.log(errors), 1)[0] > 1.9


def test_points_move_as_in_the_token_scheme():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((20, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    tokens = sf.EmpiricalDensity(points, rng.random(20))
    problem = sf.TransformerPDE(general_heads(2), tokens, flow="descent", drift=MATRIX)
    times = [0.0, 0.1, 0.3]
    carried = carry(problem, 0.3, rtol=1e-9, save_at=times)
    scheme = sf.Particles(dt=None)
    moved = sf.solve(problem, t_end=0.3, scheme=scheme, save_at=times, rtol=1e-9)
    assert np.abs(carried.position - moved.position).max() < 1e-8
    assert np.abs(carried.energy - moved.energy).max() < 1e-9
    assert np.array_equal(carried.token_weight, moved.token_weight)
    assert np.isnan(carried.log_density).all()  # points have none
    assert (carried.resolution == 0).all()


# The field at the nodes


@pytest.mark.parametrize(
    ("heads", "options"),
    [
        (sf.FixedHeads(symmetric_heads(2)), {"drift": MATRIX}),
        (general_heads(2), {}),
        (general_heads(2), {"velocity": "gradient"}),
        (general_heads(2), {"attention": "unnormalised"}),
        (sf.FixedHeads(5 * symmetric_heads(1)), {}),
        (sf.OrnsteinUhlenbeck(np.eye(3), 0.5, quadrature=3), {}),
    ],
    ids=["symmetric", "general", "gradient", "unnormalised", "large logits", "Gaussian law"],
)
def test_the_direct_route_equals_the_harmonic_one(heads, options):
    problem = sf.TransformerPDE(heads, START, **options)
    rule = node_rule(START, 9)
    points = np.concatenate([rule.positions, node_rule(START, 5).positions])
    field = PointField(problem.field_specification, 1e-12, 1)
    source = WeightedPoints(rule.positions, rule.weights)
    harmonic = field(0.3, source, points)
    assert field.now.direct_evaluations == 0
    nodes = heads.nodes(0.3)
    transform = transform_of_points(
        rule.positions, rule.weights, 1e-12, radius=largest_argument(nodes)
    )
    direct = field._direct(0.3, transform, nodes, source, points)
    for name in ("velocity", "divergence"):
        by_harmonics, by_sums = getattr(harmonic, name), getattr(direct, name)
        assert np.abs(by_harmonics - by_sums).max() < 1e-8 * np.abs(by_sums).max(), name
    for name in ("energy", "energy_rate_heads", "dissipation", "slope_squared", "drift_rate"):
        assert getattr(harmonic, name) == pytest.approx(getattr(direct, name), rel=1e-9, abs=1e-13)


def test_clusters_contract_at_the_linear_rate():
    """Ascent under D = V = I near a point: x' = −(x − a), so that radii fall as e^{−t}, μ grows
    as e^{2t} in two dimensions, and E → ½ e^{⟨a,a⟩} = e/2."""
    problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.VonMisesFisher(MEAN, 20.0))
    run = carry(problem, 9.0, rtol=1e-6, save_at=np.arange(10.0), degree=5, degree_max=5)
    radius = clusters(run).half_mass_radius.values[:, 0]
    assert np.diff(np.log(radius))[6:] == pytest.approx(-1.0, abs=1e-5)
    peak = run.log_density.values.max(axis=1)
    assert np.diff(peak)[6:] == pytest.approx(2.0, abs=1e-5)
    assert float(run.energy[-1]) == pytest.approx(np.e / 2, abs=1e-7)
    assert (np.diff(run.energy) > 0).all()
    assert np.abs(run.mass - 1).max() < 1e-14


# Quadratures of μ_0

VMF = sf.VonMisesFisher
DENSITIES = {
    "kappa 2": VMF(MEAN, 2.0),
    "kappa 30": VMF(MEAN, 30.0),
    "kappa 500": VMF(MEAN, 500.0),
    "wide and narrow": sf.Mixture(
        [VMF(MEAN, 1.0), VMF([0, 1, 0.2], 800.0), VMF([0, 0, -1], 60.0)], [0.5, 0.3, 0.2]
    ),
    "octahedral": sf.OctahedralClusters(0.05),
    "octahedral and wide": sf.Mixture([sf.OctahedralClusters(0.05), VMF(MEAN, 1.0)]),
    "function": lambda x: np.exp(x[..., 0] - 2 * x[..., 1] * x[..., 2]),
    "function and narrow": sf.Mixture([lambda x: 2.0 + x[..., 2], VMF(MEAN, 200.0)], [0.3, 0.7]),
    "tokens with a bandwidth": sf.EmpiricalDensity(np.eye(3), bandwidth=0.2),
}


@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize("degree", [4, 15])
def test_node_rules_integrate_polynomials_of_their_degree(name, degree):
    density = DENSITIES[name]
    rule = node_rule(as_density(density), degree)
    assert rule.weights.sum() == pytest.approx(1.0, abs=1e-14) and (rule.weights > 0).all()
    moments = PointTransform(rule.positions).moments(rule.weights, degree)
    error = power_by_degree(moments - resize(as_density(density).resolved_spectrum(), degree))
    assert np.sqrt(error.max()) < 1e-12
    assert len(rule.weights) < 4000


def test_wide_octahedral_clusters_need_no_more_nodes_than_their_spectrum():
    # Round-off in the spectrum of such clusters must not pass for degrees that they have.
    assert len(node_rule(sf.OctahedralClusters(0.3), 15).weights) < 10_000


@pytest.mark.parametrize("kappa", [0.5, 2.0, 30.0, 500.0, 1e4])
def test_the_entropy_of_the_nodes_is_that_of_von_mises_and_fisher(kappa):
    """−∫μ log μ = −log(κ/(2π(1−e^{−2κ}))) + κ − κ (coth κ − 1/κ)."""
    problem = sf.TransformerPDE(None, VMF(MEAN, kappa), drift=np.zeros((3, 3)))
    run = carry(problem, 1.0, rtol=1e-6)
    scale = np.log(kappa / (2 * np.pi * -np.expm1(-2 * kappa)))
    exact = -scale + kappa * (1 - 1 / np.tanh(kappa)) + 1
    assert run.entropy.values == pytest.approx(exact, abs=1e-11)


# Resolution


def test_a_run_with_too_few_nodes_starts_again_with_more():
    problem = sf.TransformerPDE(sf.FixedHeads(2 * np.eye(3)), WIDE)
    options = {"rtol": 1e-5, "save_at": [0.0, 0.3, 0.6], "degree_max": 47}
    raised = carry(problem, 0.6, degree=7, **options)
    final = raised.attrs["final_node_degree"]
    assert final > 7 and np.array_equal(raised.time, options["save_at"])
    assert (raised.resolution < 1e-5).all()
    at_once = carry(problem, 0.6, degree=final, **options)
    assert at_once.attrs["final_node_degree"] == final
    for name in ("position", "log_density", "energy", "energy_residual"):
        assert np.array_equal(raised[name], at_once[name]), name


@pytest.mark.parametrize("degree", [5, 7, 9])
def test_the_resolution_bounds_the_error_of_the_moments(degree):
    # As the number of rings is rounded to an even one, the coarser quadrature that is carried along
    # for comparison could be the same one at such degrees, and the resolution 0.
    problem = sf.TransformerPDE(sf.FixedHeads(2 * np.eye(3)), WIDE)
    coarse, fine = (carry(problem, 1.0, rtol=1e-6, degree=n, degree_max=n) for n in (degree, 15))
    error = np.linalg.norm((coarse.first_moment - fine.first_moment).values[-1])
    assert 1e-7 < error < float(coarse.resolution[-1])


def test_a_resolution_limit_ends_the_run():
    problem = sf.TransformerPDE(sf.FixedHeads(2 * np.eye(3)), WIDE)
    options = {"rtol": 1e-6, "save_at": np.linspace(0, 2, 11), "degree": 7, "degree_max": 7}
    stopped = carry(problem, 2.0, resolution_limit=1e-3, **options)
    assert stopped.attrs["status"] == "under-resolved"
    assert "raise degree_max" in stopped.attrs["status_reason"]
    assert float(stopped.resolution[-2]) < 1e-3 < float(stopped.resolution[-1])
    assert carry(problem, 2.0, **options).attrs["status"] == "completed"


def test_diffusion_and_bad_options_are_refused():
    with pytest.raises(InputError, match="diffusion"):
        carry(sf.TransformerPDE(None, START, diffusion=0.1), 1.0)
    for bad in ({"degree": 3}, {"degree_max": 5}, {"resolution_limit": 0.0}, {"threads": 0}):
        with pytest.raises(InputError, match=next(iter(bad))):
            sf.Characteristics(**bad)
