"""From where runs start: narrow densities, the last saved time of a run, rounded times."""

import numpy as np
import pytest

import sphereflow as sf
from sphereflow.densities.base import as_density
from sphereflow.densities.cell_means import cell_means
from sphereflow.sphere import voronoi_mesh

CENTRE = np.array([0.48, 0.6, 0.64])
STILL = np.zeros((3, 3))


def start_of(density, scheme):
    problem = sf.TransformerPDE(None, density, drift=STILL)
    return sf.solve(problem, t_end=1e-9, scheme=scheme, save_at=[0.0])


def langevin(kappa):
    return 1 / np.tanh(kappa) - 1 / kappa


@pytest.mark.parametrize("kappa", [3e2, 1e4, 1e5, 1e8])
@pytest.mark.parametrize("level", [0, 3, 5])
def test_cells_hold_the_mass_of_narrow_parts(level, kappa):
    density = sf.Mixture([sf.Uniform(), sf.VonMisesFisher(CENTRE, kappa)], [0.5, 0.5])
    mesh = voronoi_mesh(level)
    masses = mesh.areas * cell_means(as_density(density), mesh)
    assert masses.sum() == pytest.approx(1.0, abs=1e-13)
    # All of the narrow part lies within nine standard deviations and a cell of its centre.
    angle = min(np.pi, 9 / np.sqrt(kappa) + 1.5 * mesh.spacing)
    near = mesh.centres @ CENTRE >= np.cos(angle)
    around = 0.5 * mesh.areas[near].sum() / (4 * np.pi)
    assert masses[near].sum() == pytest.approx(0.5 + around, abs=1e-8)


def test_masses_of_cells_against_a_fine_mesh():
    # Cells of level 5 are counted to the cell of level 1 whose generator is nearest: the sides of
    # the larger cells cut the smaller ones, so that the bound is the mass of a belt.
    density = sf.VonMisesFisher(CENTRE, 400.0)
    mesh, points = voronoi_mesh(1), sf.SphereGrid(1023)
    nearest = np.argmax(points.points[::3, ::3].reshape(-1, 3) @ mesh.generators.T, axis=1)
    weights = np.broadcast_to(points.weights, points.shape)[::3, ::3].ravel()
    values = density(points.points[::3, ::3].reshape(-1, 3)) * weights
    expected = np.bincount(nearest, values, mesh.cells) / values.sum()
    found = mesh.areas * cell_means(as_density(density), mesh)
    assert np.abs(found - expected).max() < 3e-3


@pytest.mark.parametrize("degree", [7, 40])
def test_cells_integrate_a_series_that_is_finer_than_they_are(degree):
    # A zonal harmonic on the smallest mesh: the mean over a polar cap is not that of 12 points.
    coefficients = np.zeros((degree + 1) ** 2)
    coefficients[0] = 1 / np.sqrt(4 * np.pi)
    coefficients[degree**2 + degree] = 0.5 / np.sqrt(4 * np.pi * (2 * degree + 1))
    density = sf.HarmonicDensity(coefficients)
    coarse, fine = voronoi_mesh(1), voronoi_mesh(6)
    owner = np.argmax(fine.centres @ coarse.generators.T, axis=1)
    masses = fine.areas * cell_means(as_density(density), fine)
    expected = np.bincount(owner, masses, coarse.cells)
    found = coarse.areas * cell_means(as_density(density), coarse)
    assert np.abs(found - expected).max() < 3e-4


@pytest.mark.parametrize("kappa", [3e3, 1e5])
def test_peaks_of_functions_are_found_on_a_finer_grid(kappa):
    peak = sf.VonMisesFisher(CENTRE, kappa)

    def density(x):
        return 0.5 / (4 * np.pi) + 0.5 * peak(x)

    for scheme, bound in ((sf.FiniteVolume(4), 2e-3), (sf.Spectral(31, 127), 1e-6)):
        run = start_of(density, scheme)
        mean = float(run.first_moment.values[0] @ CENTRE)
        certain = run.status == "completed" and ";" not in run.status_reason
        assert mean == pytest.approx(0.5 * langevin(kappa), abs=bound) or not certain


def test_a_peak_that_no_grid_sees_is_not_certain():
    peak = sf.VonMisesFisher(CENTRE, 1e9)
    run = start_of(lambda x: 0.5 / (4 * np.pi) + 0.5 * peak(x), sf.FiniteVolume(3))
    assert "integral was found as 0.5" in run.status_reason


def test_tokens_are_drawn_from_peaks_that_the_bound_missed():
    peak = sf.VonMisesFisher(CENTRE, 2e3)

    def density(x):
        return 0.5 / (4 * np.pi) + 0.5 * peak(x)

    run = sf.solve(
        sf.TransformerPDE(None, density, drift=STILL),
        t_end=1e-9,
        scheme=sf.Particles(1000, seed=1),
        save_at=[0.0],
    )
    # Standard deviation of the share: ½/√1000.
    assert float(run.first_moment.values[0] @ CENTRE) == pytest.approx(0.5, abs=0.06)


def test_a_run_goes_on_from_its_last_saved_time():
    # ⟨z⟩(t) = A(2) e^{−t}
    problem = sf.TransformerPDE(None, sf.VonMisesFisher([0, 0, 1], 2.0), diffusion=0.5)
    right = langevin(2.0) * np.exp(-np.array([1.0, 2.0]))
    for scheme in (sf.Spectral(31), sf.FiniteVolume(4), "auto"):
        first = sf.solve(problem, t_end=2.0, scheme=scheme, save_at=[0.0, 1.0])
        second = sf.solve(problem, t_end=2.0, scheme=scheme, initial=first, save_at=[1.0, 2.0])
        found = second.first_moment.sel(axis="z").values
        bound = 1e-6 if not isinstance(scheme, sf.FiniteVolume) else 2e-3
        assert np.abs(found - right).max() < bound


@pytest.mark.parametrize("kappa", [5.0, 50.0, 120.0])
@pytest.mark.parametrize("scheme", [sf.Spectral(63), sf.FiniteVolume(5)])
def test_nodes_become_a_density_or_it_is_said(kappa, scheme):
    problem = sf.TransformerPDE(None, sf.VonMisesFisher([0, 0, 1], kappa), drift=STILL)
    first = sf.solve(problem, t_end=0.1, scheme=sf.Characteristics(), save_at=[0, 0.1])
    second = sf.solve(problem, t_end=0.2, scheme=scheme, initial=first, save_at=[0.1, 0.2])
    assert float(second.first_moment[0, 2]) == pytest.approx(langevin(kappa), abs=1e-3)
    if isinstance(scheme, sf.Spectral):
        z = np.sin(np.deg2rad(second.lat.values))[:, None]
        right = kappa * np.exp(kappa * (z - 1)) / (2 * np.pi * -np.expm1(-2 * kappa))
        announced = float(second.resolution[0])
        error = np.abs(second.density.values[0] - right).max() / right.max()
        assert error < max(1e-9, 10 * announced)
        assert announced < 1e-6 or "taken over" in second.status_reason


def test_times_that_differ_by_rounding_are_the_same():
    problem = sf.TransformerPDE(None, sf.VonMisesFisher([0, 0, 1], 2.0), diffusion=0.1)
    scheme = sf.Spectral(15)
    first = sf.solve(problem, t_end=0.4, scheme=scheme, save_every=0.1)
    second = sf.solve(problem, t_end=0.5, scheme=scheme, save_every=0.1, initial=first)
    assert second.time.values.tolist() == [0.4, 0.5]
    third = sf.solve(problem, t_end=0.1 + 0.2, scheme=scheme, save_at=[0.1, 0.3])
    assert third.time.values.tolist() == [0.1, 0.3]
    eye = np.broadcast_to(np.eye(3), (2, 1, 3, 3))
    heads = sf.TabulatedHeads([0.0, 0.3], eye)
    tabulated = problem.with_heads(heads)
    last = sf.solve(tabulated, t_end=0.1 + 0.2, scheme=scheme, save_every=0.1)
    assert last.status == "completed"


def test_what_an_earlier_run_lost_is_said():
    # Half of a density that is narrower than a cell: a run along characteristics knows no better.
    density = sf.VonMisesFisher(CENTRE, 1e5)
    problem = sf.TransformerPDE(None, density, drift=STILL)
    cells = sf.solve(problem, t_end=0.1, scheme=sf.FiniteVolume(3), save_at=[0.0, 0.1])
    nodes = sf.solve(problem, t_end=0.2, scheme=sf.Characteristics(), initial=cells, save_at=[0.2])
    assert nodes.status == "completed" and "earlier run ended" in nodes.status_reason
    wide = sf.TransformerPDE(None, sf.VonMisesFisher(CENTRE, 3.0), drift=STILL)
    resolved = sf.solve(wide, t_end=0.1, scheme=sf.Spectral(31), save_at=[0.0, 0.1])
    after = sf.solve(wide, t_end=0.2, scheme=sf.Characteristics(), initial=resolved, save_at=[0.2])
    assert after.status_reason == "reached t_end = 0.2"


def test_moments_beyond_the_tolerance_are_said():
    rng = np.random.default_rng(2)
    heads = sf.FixedHeads(6 * rng.standard_normal((3, 3)), 3 * rng.standard_normal((3, 3)))
    problem = sf.TransformerPDE(heads, sf.VonMisesFisher(CENTRE, 1.0))
    scheme = sf.Characteristics(degree=7, degree_max=7)
    run = sf.solve(problem, t_end=1.0, scheme=scheme, save_at=[0.0, 1.0])
    assert float(run.resolution[-1]) > 1e-4
    assert "errors of moments" in run.status_reason and "degree_max" in run.status_reason


@pytest.mark.parametrize("bandwidth", [1e-3, 1e-4, 1e-6])
def test_narrow_kernels_of_tokens_are_not_lost(bandwidth):
    points, weights = np.array([[0, 0.6, 0.8], [1, 0, 0]]), np.array([0.3, 0.7])
    kernels = sf.EmpiricalDensity(points, weights, bandwidth=bandwidth)
    density = sf.Mixture([kernels, sf.Uniform()], [0.5, 0.5])
    run = start_of(density, sf.Characteristics(31, 47))
    right = 0.5 * weights @ points * langevin(bandwidth**-2)
    assert np.abs(run.first_moment.values[0] - right).max() < 1e-10
    # E = ½ ∬ e^{⟨x,y⟩}: points with points, points with the uniform part, and that with itself.
    among = 0.25 * weights @ np.exp(points @ points.T) @ weights
    energy = 0.5 * (among + 0.75 * np.sinh(1.0))
    found = sf.attention_field(density, sf.FixedHeads(np.eye(3))).energy()
    assert found == pytest.approx(energy, rel=5 * bandwidth**2 + 1e-10)


def test_densities_of_any_concentration_have_a_spectrum():
    for concentration in (3e9, 1e10, 1e14):
        density = sf.VonMisesFisher([0, 0, 1], concentration)
        field = sf.attention_field(density, sf.FixedHeads(np.eye(3)))
        assert field.energy() == pytest.approx(0.5 * np.e, rel=3 / concentration + 1e-12)
