"""Transport under prescribed velocities: exact solutions, orders, conservation."""

import numpy as np
import pytest
from scipy.linalg import expm

import sphereflow as sf
from sphereflow.sphere import SphereGrid, power_by_degree, real_to_complex

MATRIX = 0.3 * np.array([[1.0, 0.5, -0.2], [-0.8, -0.4, 0.3], [0.6, 0.9, -0.6]])
START = sf.VonMisesFisher([0.3, -0.5, 0.8], 3.0)


def pushed_forward(matrix, density, t, points):
    """MODEL.md 6.3: μ_t(y) = μ_0(e^{−tM}y/|·|) det(e^{−tM}) |e^{−tM}y|⁻³."""
    backward = expm(-t * matrix)
    image = points @ backward.T
    length = np.linalg.norm(image, axis=-1)
    return density(image / length[..., None]) * np.linalg.det(backward) / length**3


def relative_l2(run, exact):
    lmax = round(np.sqrt(run.sizes["harmonic"])) - 1
    grid = SphereGrid(lmax)
    values = grid.synthesis(real_to_complex(run.spectrum.values[-1]))
    reference = exact(grid.points)
    difference = grid.integrate((values - reference) ** 2)
    return np.sqrt(difference / grid.integrate(reference**2))


def solve_drift(lmax, rtol=1e-9, t_end=1.0, drift=MATRIX, **options):
    problem = sf.TransformerPDE(None, START, drift=drift, diffusion=options.pop("diffusion", 0.0))
    scheme = sf.Spectral(lmax=lmax, lmax_max=lmax, spectrum_degree=lmax, **options)
    return sf.solve(problem, t_end=t_end, scheme=scheme, save_at=[0, t_end], rtol=rtol)


def test_linear_drift_matches_its_push_forward():
    run = solve_drift(127)
    assert relative_l2(run, lambda x: pushed_forward(MATRIX, START, 1.0, x)) < 1e-8
    assert np.abs(run.mass - 1).max() < 1e-13


def test_callable_drift_equals_the_matrix():
    by_matrix = solve_drift(31)
    by_callable = solve_drift(31, drift=lambda x, t: x @ MATRIX.T)
    assert np.abs(by_matrix.spectrum - by_callable.spectrum).max() < 1e-14


def test_drift_is_not_multiplied_by_the_sign_of_the_flow():
    runs = [
        sf.solve(
            sf.TransformerPDE(None, START, drift=MATRIX, flow=flow),
            t_end=0.5,
            scheme=sf.Spectral(lmax=31),
            save_at=[0.5],
        )
        for flow in ("ascent", "descent")
    ]
    assert np.array_equal(runs[0].spectrum, runs[1].spectrum)


def test_spatial_convergence_is_exponential():
    """The error decays with the spectrum of the exact solution: it stays near truncation."""

    def exact(points):
        return pushed_forward(MATRIX, START, 1.0, points)

    grid = SphereGrid(63)
    power = power_by_degree(grid.analysis(exact(grid.points)))
    degrees = np.array([11, 15, 19, 23, 27])
    errors = np.array(
        [relative_l2(solve_drift(int(n), resolution_limit=1.0), exact) for n in degrees]
    )
    truncation = np.sqrt([power[n + 1 :].sum() / power.sum() for n in degrees])
    assert (errors < 10 * truncation).all()
    slope = np.polyfit(degrees, np.log(errors), 1)[0]
    assert slope == pytest.approx(np.polyfit(degrees, np.log(truncation), 1)[0], rel=0.1)
    assert slope < -0.4


def test_the_degree_is_raised_between_outputs():
    """One output at the end: the run still sees the density outgrow its degree on the way."""
    matrix = 1.5 * (np.eye(3) - 1)
    problem = sf.TransformerPDE(None, START, drift=matrix)
    scheme = sf.Spectral(lmax=31, lmax_max=255, spectrum_degree=200)
    run = sf.solve(problem, t_end=0.4, scheme=scheme, save_at=[0.4], rtol=1e-6)
    assert run.attrs["status"] == "completed" and float(run.lmax[0]) > 60
    assert relative_l2(run, lambda x: pushed_forward(matrix, START, 0.4, x)) < 1e-4


@pytest.mark.parametrize("strength", [5.0, 1e3, 1e4])
def test_a_violent_drift_stops_before_the_density_is_lost(strength):
    problem = sf.TransformerPDE(None, START, drift=strength * (np.eye(3) - 1))
    run = sf.solve(problem, t_end=1.0, scheme=sf.Spectral(lmax=15, lmax_max=31), save_at=[1.0])
    assert run.attrs["status"] == "under-resolved" and float(run.time[-1]) < 1.0
    assert np.abs(run.mass - 1).max() < 1e-13
    assert float(run.minimum.min()) > -0.01 * float(run.density.max())


def test_fixed_steps_are_of_fourth_order():
    reference = solve_drift(31, rtol=1e-13).spectrum.values[-1]
    steps = np.array([0.1, 0.05, 0.025])
    errors = [
        np.linalg.norm(solve_drift(31, dt=dt).spectrum.values[-1] - reference) for dt in steps
    ]
    order = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order == pytest.approx(4.0, abs=0.15)


@pytest.mark.parametrize("engine", ["auto", "ducc0"])
def test_heat_equation_is_exact(engine):
    epsilon, t = 0.3, 0.7
    problem = sf.TransformerPDE(None, START, diffusion=epsilon)
    run = sf.solve(
        problem, t_end=t, scheme=sf.Spectral(lmax=31, engine=engine), save_at=[0, t], rtol=1e-3
    )
    degree = run.degree.values
    expected = np.exp(-epsilon * degree * (degree + 1) * t) * run.spectrum.values[0]
    assert np.abs(run.spectrum.values[1] - expected).max() < 1e-15


def test_diffusion_with_drift_is_of_fourth_order():
    def end(dt):
        return solve_drift(23, dt=dt, diffusion=0.2, resolution_limit=1.0).spectrum.values[-1]

    steps = np.array([0.1, 0.05, 0.025])
    reference = end(0.1 / 32)
    errors = [np.linalg.norm(end(dt) - reference) for dt in steps]
    order = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order == pytest.approx(4.0, abs=0.2)


def test_the_two_engines_agree():
    runs = [solve_drift(31, engine=engine).spectrum.values for engine in ("auto", "ducc0")]
    assert np.abs(runs[0] - runs[1]).max() < 1e-12


def test_deformational_flow_returns_to_its_start():
    """Nair and Lauritzen (2010), case 4, Gaussian hills: the flow reverses after T = 5."""
    t_end = 5.0

    def wind(x, t):
        angle = 2 * np.pi * t / t_end
        along = np.array([-np.sin(angle), np.cos(angle), 0.0])
        slope = -4.0 * np.cos(np.pi * t / t_end) * (x @ along)
        gradient = slope[:, None] * along + np.array([0.0, 0.0, 2 * np.pi / t_end])
        return np.cross(gradient, x)

    centres = [[np.cos(a), np.sin(a), 0.0] for a in (5 * np.pi / 6, 7 * np.pi / 6)]

    def hills(x):
        return sum(0.95 * np.exp(-5 * np.sum((x - c) ** 2, axis=-1)) for c in np.array(centres))

    run = sf.solve(
        sf.TransformerPDE(None, hills, drift=wind),
        t_end=t_end,
        scheme=sf.Spectral(lmax=42, lmax_max=42, resolution_limit=1.0, spectrum_degree=42),
        save_at=[0, t_end],
        rtol=1e-4,
    )
    start, end = run.spectrum.values
    assert np.linalg.norm(end - start) < 1e-3 * np.linalg.norm(start)
