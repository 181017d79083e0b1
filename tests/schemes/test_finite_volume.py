"""The finite-volume scheme: orders against closed forms, positivity, mass, budgets, files."""

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.special import ive

import sphereflow as sf
from sphereflow.schemes.reconstruction import edge_coefficients, stencils
from sphereflow.sphere import complex_to_real, resize, voronoi_mesh

MATRIX = 0.3 * np.array([[1.0, 0.5, -0.2], [-0.8, -0.4, 0.3], [0.6, 0.9, -0.6]])
START = sf.VonMisesFisher([0.3, -0.5, 0.8], 3.0)
AXIS = np.array([0.3, -0.5, 0.8]) / np.sqrt(0.98)
ROTATION = 2 * np.pi * np.cross(np.eye(3), AXIS).T  # x ↦ 2π a × x: once around in unit time


def pushed_forward(matrix, density, points):
    """MODEL.md 6.3 at t = 1: μ(y) = μ_0(e^{−M}y/|·|) det(e^{−M}) |e^{−M}y|⁻³."""
    backward = expm(-matrix)
    image = points @ backward.T
    length = np.linalg.norm(image, axis=-1)
    return density(image / length[..., None]) * np.linalg.det(backward) / length**3


def solve_with(problem, t_end, save_at=None, rtol=1e-6, **options):
    save_at = [0.0, t_end] if save_at is None else save_at
    return sf.solve(
        problem, t_end=t_end, scheme=sf.FiniteVolume(**options), save_at=save_at, rtol=rtol
    )


def carried(drift, level, density=START, t_end=1.0, **options):
    return solve_with(sf.TransformerPDE(None, density, drift=drift), t_end, level=level, **options)


def relative_l2(run, level, exact):
    mesh = voronoi_mesh(level)
    reference = mesh.averages(exact)
    difference = run.density.values[-1] - reference
    return np.sqrt(mesh.areas @ difference**2 / (mesh.areas @ reference**2))


def order(levels, errors):
    spacing = [voronoi_mesh(level).spacing for level in levels]
    return np.polyfit(np.log(spacing), np.log(np.abs(errors)), 1)[0]


def cap(cosine):
    """Indicator of a cap, not normalised."""
    return lambda x: np.where(x @ np.array([1.0, 0.2, 0.1]) > cosine, 1.0, 0.0)


def symmetric_heads(count, seed):
    noise = np.random.default_rng(seed).standard_normal((count, 3, 3))
    return sf.FixedHeads((noise + np.swapaxes(noise, 1, 2)) / 2)


# Transport


@pytest.mark.parametrize(
    ("drift", "degree", "least"),
    # Degree 1 comes near its order slowly: 1.78, 1.84, 1.92 from level 3 to 6.
    [(MATRIX, 1, 1.75), (MATRIX, 4, 2.5), (ROTATION, 1, 1.7), (ROTATION, 4, 2.5)],
    ids=["linear 1", "linear 4", "rotation 1", "rotation 4"],
)
def test_transport_is_of_second_order_at_least(drift, degree, least):
    levels = (2, 3, 4)
    errors = [
        relative_l2(
            carried(drift, level, degree=degree),
            level,
            lambda x: pushed_forward(drift, START, x),
        )
        for level in levels
    ]
    assert order(levels, errors) > least
    # The fluxes of a cubic or quartic are worth their price even on coarse meshes.
    assert degree < 4 or errors[1] < 1.2e-2


def test_higher_degrees_err_less():
    errors = [
        relative_l2(carried(MATRIX, 3, degree=n), 3, lambda x: pushed_forward(MATRIX, START, x))
        for n in (1, 2, 3)
    ]
    assert errors[0] > 1.2 * errors[1] > 2.4 * errors[2]


def test_a_drift_that_depends_on_time_hits_its_output_times():
    """cos(t) M commutes with itself: the flow is that of M after sin(t)."""
    times = [0.03, 0.11, 0.5, np.pi / 2, 2.0]
    levels, errors = (2, 3, 4), []
    for level in levels:
        run = carried(
            lambda x, t: np.cos(t) * (x @ MATRIX.T), level, t_end=2.0, save_at=times, degree=2
        )
        assert np.array_equal(run.time, times)
        assert np.abs(run.mass - 1).max() < 1e-13
        errors.append(
            relative_l2(run, level, lambda x: pushed_forward(np.sin(2.0) * MATRIX, START, x))
        )
    assert order(levels, errors) > 1.9


def test_a_callable_drift_equals_the_matrix():
    steady = carried(MATRIX, 3, t_end=0.5)
    called = carried(lambda x, t: x @ MATRIX.T, 3, t_end=0.5)
    assert np.abs(steady.density - called.density).max() < 1e-14


@pytest.mark.parametrize("limiter", ["positive", "monotone"])
@pytest.mark.parametrize(
    "drift",
    [
        np.log(1e3) / 2 * np.diag([0.0, 0.0, 1.0]),  # the density at ±e_3 grows to 1e3 times
        20.0 * np.eye(3, k=1),  # a shear: expm is a polynomial of t, with entries up to 200
    ],
    ids=["squeeze", "shear"],
)
def test_an_indicator_under_a_strong_drift_stays_positive_with_its_mass(drift, limiter):
    run = carried(drift, 3, density=cap(0.3), save_at=np.linspace(0, 1, 6), limiter=limiter)
    assert run.attrs["status"] == "completed"
    assert float(run.minimum.min()) >= 0.0
    assert np.abs(run.mass - 1).max() < 1e-13
    assert float(run.density[-1].max() / run.density[0].max()) > 20


@pytest.mark.parametrize(
    ("degree", "limiter", "bound"),
    # The monotone limiter bounds the values at the sides, not what flows out of a cell at a
    # maximum: means then exceed the indicator by 1.4 % at degree 4 and 3.1 % at degree 2.
    [(1, "monotone", 1e-6), (2, "monotone", 0.05), (4, "monotone", 0.02), (4, "positive", 0.2)],
)
def test_overshoots_of_a_rotating_indicator(degree, limiter, bound):
    run = carried(
        ROTATION, 3, density=cap(0.8), save_at=np.linspace(0, 1, 11), degree=degree, limiter=limiter
    )
    top = float(run.density[0].max())
    assert float(run.minimum.min()) >= 0.0
    assert float(run.density.max()) < (1 + bound) * top
    if limiter == "positive":  # the limiter is what keeps the overshoots small
        assert float(run.density.max()) > 1.1 * top


def test_the_monotone_limiter_keeps_a_floor_up_to_its_overshoot():
    """The same from below: with a floor under the indicator no mean is much lower than it."""
    run = carried(
        ROTATION, 3, density=lambda x: 1.0 + cap(0.8)(x), save_at=[0, 0.5, 1.0], limiter="monotone"
    )
    floor = float(run.minimum[0])
    assert float(run.minimum.min()) > 0.985 * floor  # measured 0.9895


# Diffusion and attention


def test_the_heat_equation_decays_at_second_order():
    exact = complex_to_real(resize(START.resolved_spectrum(), 6))
    levels, errors = (2, 3, 4), []
    problem = sf.TransformerPDE(None, START, diffusion=0.3)
    for level in levels:
        run = solve_with(problem, 0.5, level=level, degree=2, spectrum_degree=6)
        degree = run.degree.values
        decayed = np.exp(-0.3 * degree * (degree + 1) * 0.5) * exact
        errors.append(np.abs(run.spectrum.values[1] - decayed).max())
    assert order(levels, errors) == pytest.approx(2.0, abs=0.1)
    assert errors[-1] < 2e-4


def perturbation(degree):
    """MODEL.md 6.2: the uniform density with 1e-4 of one harmonic, and the index of that."""
    index = degree * (degree + 1) + 1
    coefficients = np.zeros(49)
    coefficients[0] = 1 / np.sqrt(4 * np.pi)
    coefficients[index] = 1e-4 / (4 * np.pi)
    return sf.HarmonicDensity(coefficients), index


def growth_rate(degree, beta, sign, diffusion):
    ratio = ive(degree + 0.5, beta) / ive(0.5, beta)
    return degree * (degree + 1) * (sign * ratio - diffusion)


@pytest.mark.parametrize(
    ("flow", "diffusion", "degree"),
    [("ascent", 0.0, 2), ("descent", 0.1, 1), ("descent", 0.1, 2), ("descent", 0.1, 3)],
)
def test_growth_about_the_uniform_density_is_of_second_order(flow, diffusion, degree):
    """The error of the mesh alone: the tolerance of the steps in time is put out of the way."""
    density, index = perturbation(degree)
    law = sf.FixedHeads(2.0 * np.eye(3))
    problem = sf.TransformerPDE(law, density, flow=flow, diffusion=diffusion)
    exact = growth_rate(degree, 2.0, problem.sign, diffusion)
    levels, errors = (2, 3, 4), []
    for level in levels:
        run = sf.FiniteVolume(level=level, degree=2, spectrum_degree=4).start(problem, 1e-6)
        run.tolerance = 1e-7
        start = run.record()["spectrum"][index]
        while run.t < 0.2:
            run.advance(0.2)
        errors.append(np.log(run.record()["spectrum"][index] / start) / 0.2 - exact)
    assert order(levels, errors) > 1.9
    assert abs(errors[-1]) < 5e-3


@pytest.mark.parametrize("level", [2, 3])
def test_growth_in_a_run_errs_no_more_than_the_mesh_makes_it(level):
    # Displacements of h²/100 would be more than this perturbation makes: they count in units of
    # the speed.
    density, index = perturbation(1)
    problem = sf.TransformerPDE(sf.FixedHeads(2.0 * np.eye(3)), density)
    run = solve_with(problem, 0.2, level=level, rtol=1e-10, spectrum_degree=4)
    start, end = run.spectrum.values[:, index]
    assert np.log(end / start) / 0.2 == pytest.approx(growth_rate(1, 2.0, 1.0, 0.0), rel=2e-3)


@pytest.mark.parametrize(("flow", "diffusion", "degree"), [("ascent", 0.0, 1), ("descent", 0.1, 4)])
def test_moments_converge_to_those_of_the_spectral_scheme(flow, diffusion, degree):
    heads = symmetric_heads(3, seed=2)
    problem = sf.TransformerPDE(heads, START, flow=flow, diffusion=diffusion)
    scheme = sf.Spectral(lmax=47, spectrum_degree=8)
    exact = sf.solve(problem, t_end=0.5, scheme=scheme, save_at=[0.5], rtol=1e-8).spectrum
    levels, errors = (2, 3), []
    for level in levels:
        run = solve_with(problem, 0.5, level=level, degree=degree, spectrum_degree=8)
        assert np.abs(run.mass - 1).max() < 1e-13
        assert float(run.minimum.min()) > 0.0
        errors.append(np.abs(run.spectrum.values[-1] - exact.values[-1]).max())
    assert order(levels, errors) > 1.9
    assert errors[-1] < 6e-4


@pytest.mark.parametrize("flow", ["ascent", "descent"])
def test_the_energy_residual_goes_down_at_second_order(flow):
    problem = sf.TransformerPDE(symmetric_heads(3, seed=2), START, flow=flow, diffusion=0.1)
    levels = (2, 3)
    times = np.linspace(0, 0.5, 6)
    runs = [solve_with(problem, 0.5, times, level=level) for level in levels]
    residuals = [float(run.energy_residual[-1]) for run in runs]
    assert order(levels, residuals) == pytest.approx(2.0, abs=0.15)
    assert abs(residuals[-1]) < 1e-2 * abs(float(runs[-1].energy[-1] - runs[-1].energy[0]))


def test_results_do_not_depend_on_the_threads():
    problem = sf.TransformerPDE(symmetric_heads(2, seed=1), START, diffusion=0.1, drift=MATRIX)
    one, two = (solve_with(problem, 0.1, level=3, threads=n) for n in (1, 2))
    for name in one.data_vars:
        assert np.array_equal(one[name], two[name]), name


def test_a_cluster_narrower_than_the_cells_ends_the_run_if_asked_for():
    problem = sf.TransformerPDE(sf.FixedHeads(2 * np.eye(3)), START)
    options = {"level": 2, "save_at": np.linspace(0, 4, 21)}
    stopped = solve_with(problem, 4.0, resolution_limit=0.3, **options)
    assert stopped.attrs["status"] == "under-resolved"
    assert "raise level" in stopped.attrs["status_reason"]
    assert (np.diff(stopped.resolution) > 0).all()
    assert float(stopped.resolution[-2]) < 0.3 < float(stopped.resolution[-1])
    whole = solve_with(problem, 4.0, **options)
    assert whole.attrs["status"] == "completed" and float(whole.minimum.min()) >= 0.0
    assert float(whole.density[-1].max() * voronoi_mesh(2).areas.min()) > 0.2  # nearly one cell


# Reconstruction


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_polynomials_in_cells_have_the_order_of_their_degree(degree):
    """Means of a smooth function over the sides, from its means over the cells."""

    def smooth(x):
        return np.exp(x @ np.array([0.6, -1.0, 1.6]))

    levels, errors = (2, 3, 4), []
    for level in levels:
        mesh = voronoi_mesh(level)
        means, around = mesh.averages(smooth), stencils(mesh, degree)
        coefficients = edge_coefficients(mesh, degree)
        constant = np.einsum("cjk,cj->ck", coefficients, 0.0 * means[around])
        assert np.array_equal(constant, np.zeros((mesh.cells, 6)))
        differences = means[around] - means[:, None]
        at_sides = means[:, None] + np.einsum("cjk,cj->ck", coefficients, differences)
        exact = smooth(mesh.edge_points).mean(axis=1)[mesh.cell_edges]
        real = np.arange(6) < mesh.sides[:, None]
        assert not coefficients[np.broadcast_to(~real[:, None], coefficients.shape)].any()
        errors.append(np.abs(at_sides - exact)[real].max())
    assert order(levels, errors) == pytest.approx(degree + 1, abs=0.25)


# Files


def test_uxarray_opens_the_file(tmp_path):
    uxarray = pytest.importorskip("uxarray")
    path = tmp_path / "run.nc"
    problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), START)
    run = sf.solve(
        problem, t_end=0.1, scheme=sf.FiniteVolume(level=3), save_every=0.05, output=path
    )
    mesh = voronoi_mesh(3)
    opened = uxarray.open_dataset(path, path)
    grid = opened.uxgrid
    assert (grid.n_face, grid.n_node) == (642, 1280)
    areas = grid.face_areas.values
    assert areas.sum() == pytest.approx(4 * np.pi, abs=1e-6)
    assert np.abs(areas - mesh.areas).max() < 1e-8
    # Twelve cells have five corners; their sixth is no node −1, which would be the last one.
    assert np.array_equal(grid.n_nodes_per_face.values, mesh.sides)
    nodes = grid.face_node_connectivity.values
    assert (nodes[mesh.sides == 5, 5] == grid.face_node_connectivity.attrs["_FillValue"]).all()
    assert (nodes[:, :5] >= 0).all() and nodes.max() == 1279
    assert opened["density"].dims == ("time", "n_face")
    mass = float((opened["density"][-1].values * areas).sum())
    assert mass == pytest.approx(1.0, abs=1e-7)
    assert np.array_equal(opened["density"].values, run.density.values)
    assert "UGRID-1.0" in opened.attrs["Conventions"]


@pytest.mark.parametrize(
    "options",
    [{"level": 9}, {"degree": 5}, {"limiter": "none"}, {"resolution_limit": -1}, {"threads": 0}],
)
def test_bad_options_are_refused(options):
    with pytest.raises(sf.SphereflowError, match=next(iter(options))):
        sf.FiniteVolume(**options)
