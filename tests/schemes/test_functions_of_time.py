"""Heads and drifts that change between two outputs, in every scheme."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.linalg import expm

import sphereflow as sf
from sphereflow.schemes.inputs_in_time import TimeInputs, longest_step

DENSITY = sf.VonMisesFisher([0.0, 0.6, 0.8], 3.0)
LOGITS = np.diag([1.0, 2.0, -1.0])
VALUES = np.array([[0.5, 0.2, 0.0], [0.1, -0.4, 0.3], [0.0, 0.7, 1.0]])
ROWS = 51
TIMES = np.linspace(0.0, 10.0, ROWS)
PULSE = np.zeros(ROWS)
PULSE[24:27] = [1.0, 3.0, 2.0]
TOKENS = DENSITY.sample(30, seed=2)
# Tolerance of each scheme at rtol = 1e-6; that of the cells is the error of the mesh.
SCHEMES = {
    "spectral": (sf.Spectral(31), 1e-5),
    "characteristics": (sf.Characteristics(degree=23), 1e-5),
    "cells": (sf.FiniteVolume(2), 1e-2),
    "tokens": (sf.Particles(dt=None, threads=1), 1e-5),
    "auto": (sf.Auto(lmax=31, degree=23), 1e-5),
}


def problem_of(name, heads=None, drift=None):
    density = sf.EmpiricalDensity(TOKENS) if name == "tokens" else DENSITY
    return sf.TransformerPDE(heads, density, drift=drift)


def mean_of(run):
    return run.first_moment.values[-1]


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("name", SCHEMES)
def test_a_pulse_in_a_table_is_seen_without_outputs(name, interpolation):
    # With constant logits μ depends on the integral of the factor of the values alone.
    scheme, tolerance = SCHEMES[name]
    stack = PULSE[:, None, None, None] * VALUES
    logits = np.broadcast_to(LOGITS, (ROWS, 1, 3, 3))
    table = sf.TabulatedHeads(TIMES, logits, stack, interpolation=interpolation)
    run = sf.solve(problem_of(name, table), t_end=10.0, scheme=scheme, save_at=[0.0, 10.0])
    action = np.trapezoid(PULSE, TIMES)
    if interpolation == "cubic":
        action = float(CubicSpline(TIMES, PULSE).integrate(0.0, 10.0))
    steady = problem_of(name, sf.FixedHeads(LOGITS, VALUES))
    right = sf.solve(steady, t_end=action, scheme=scheme, save_at=[action], rtol=1e-9)
    assert run.status == "completed"
    assert np.abs(mean_of(run) - mean_of(right)).max() < tolerance
    assert np.abs(mean_of(right) - run.first_moment.values[0]).max() > 0.1  # it does act


@pytest.mark.parametrize("name", SCHEMES)
def test_a_drift_that_acts_for_a_short_time_is_seen(name):
    # Rotation about e_z by an angle of 3 between t = 3.1 and 3.4.
    scheme, tolerance = SCHEMES[name]

    def drift(x, t):
        return (10.0 if 3.1 < t < 3.4 else 0.0) * np.cross([0.0, 0.0, 1.0], x)

    run = sf.solve(problem_of(name, drift=drift), t_end=10.0, scheme=scheme, save_at=[0.0, 10.0])
    turn = expm(3.0 * np.cross(np.eye(3), [0.0, 0.0, 1.0]))
    start, end = run.first_moment.values
    assert np.abs(end - turn @ start).max() < max(tolerance, 3e-5)


@pytest.mark.parametrize("name", ["spectral", "tokens", "characteristics"])
def test_max_step_finds_what_samples_cannot(name):
    scheme, tolerance = SCHEMES[name]

    def drift(x, t):
        return (1000.0 if 3.1234 < t < 3.1244 else 0.0) * np.cross([0.0, 0.0, 1.0], x)

    problem = problem_of(name, drift=drift)
    run = sf.solve(problem, t_end=4.0, scheme=scheme, save_at=[0.0, 4.0], max_step=5e-3)
    turn = expm(np.cross(np.eye(3), [0.0, 0.0, 1.0]))
    start, end = run.first_moment.values
    assert np.abs(end - turn @ start).max() < 20 * tolerance


def test_steps_end_where_a_polynomial_does():
    # 1e-6 is the error of the polynomial times the step: (h/4)⁸ 2/8! h for a sine, h about 2.2.
    problem = problem_of("spectral", drift=lambda x, t: np.sin(t) * np.cross([0, 0, 1.0], x))
    inputs = TimeInputs(problem).all
    assert longest_step(inputs, 0.0, 1.0, 1e-6) == 1.0
    assert longest_step(inputs, 0.0, 16.0, 1e-6) == 2.0
    assert longest_step(inputs, 0.0, 16.0, 1e-12) == 0.5


@pytest.mark.parametrize("stepper", ["heun", "rk4"])
def test_fixed_steps_end_at_the_rows_of_a_finer_table(stepper):
    # Steps of 0.5 would evaluate at rows of even number only, where the values vanish.
    times = np.linspace(0.0, 4.0, 17)
    factor = np.where(np.arange(17) % 2, 1.0, 0.0)
    logits = np.broadcast_to(LOGITS, (17, 1, 3, 3))
    stack = factor[:, None, None, None] * VALUES
    for interpolation in ("linear", "cubic"):
        table = sf.TabulatedHeads(times, logits, stack, interpolation=interpolation)
        runs = [
            sf.solve(problem_of("tokens", table), t_end=4.0, scheme=scheme, save_at=[4.0])
            for scheme in (sf.Particles(dt=0.5, stepper=stepper), sf.Particles(dt=None))
        ]
        assert np.abs(mean_of(runs[0]) - mean_of(runs[1])).max() < 2e-2


def still_law(interpolation, values=None):
    beta = 1.0 + 1.5 * np.sin(TIMES) ** 2
    stack = (beta[:, None, None] * np.eye(3))[:, None]
    return sf.TabulatedHeads(TIMES, stack, values, interpolation=interpolation), beta


@pytest.mark.parametrize("moving", [True, False])
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("name", ["spectral", "characteristics", "cells", "auto"])
def test_the_budget_has_an_error_of_its_own_where_nothing_moves(name, interpolation, moving):
    # Under β(t) I the uniform density rests, and E = sinh β/(2β).
    scheme, _ = SCHEMES[name]
    law, beta = still_law(interpolation, None if moving else np.zeros((ROWS, 1, 3, 3)))
    problem = sf.TransformerPDE(law, sf.Uniform())
    run = sf.solve(problem, t_end=10.0, scheme=scheme, save_at=[0.0, 10.0])
    right = np.sinh(beta[-1]) / (2 * beta[-1]) - np.sinh(1.0) / 2
    assert run.status == "completed"
    found = float(run.energy_heads_integral[-1])
    assert found == pytest.approx(right, abs=1e-4 if name != "cells" else 2e-3)
    # What grows is the round-off, by e^{10} at most, or the error of the mesh.
    assert np.abs(run.spectrum.values[-1, 1:]).max() < (1e-10 if name != "cells" else 5e-3)


def test_kinks_do_not_lower_the_order_of_the_budget():
    rng = np.random.default_rng(4)
    points = sf.Uniform().sample(40, seed=4)
    stack = 2 * rng.standard_normal((5, 2, 3, 3))
    heads = sf.TabulatedHeads([0, 0.3, 0.35, 1.0, 2.0], stack, interpolation="linear")
    problem = sf.TransformerPDE(heads, sf.EmpiricalDensity(points))

    def residual(rtol=1e-6, **options):
        scheme = sf.Particles(threads=1, **options)
        run = sf.solve(problem, t_end=2.0, scheme=scheme, save_at=[0, 2.0], rtol=rtol)
        return abs(float(run.energy_residual[-1] / run.energy[-1]))

    steps = np.array([1e-2, 5e-3, 2.5e-3])
    for stepper, order in (("heun", 2), ("rk4", 4)):
        errors = [residual(dt=dt, stepper=stepper) for dt in steps]
        slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
        assert slope == pytest.approx(order, abs=0.25)
    assert residual(dt=None, rtol=1e-8) < 1e-9


def test_the_power_of_a_drift_is_taken_where_the_density_is_resolved():
    # A wave number of 30 is far above the degree of the field, about 20.
    def drift(x, t):
        first = 0.3 * np.sin(30 * x[:, :1]) * np.array([0, 0, 1.0])
        return first + 0.2 * np.cos(30 * x[:, 1:2]) * np.array([1.0, 0, 0])

    density = sf.Mixture(
        [sf.VonMisesFisher([0, 0.6, 0.8], 3.0), sf.VonMisesFisher([-0.8, 0, 0.6], 2.0)], [0.6, 0.4]
    )
    logits = np.diag([1.5, 0.5, -1.0])
    problem = sf.TransformerPDE(sf.FixedHeads(logits), density, drift=drift)
    grid = sf.SphereGrid(191)
    x = grid.points.reshape(-1, 3)
    gradient = sf.attention_field(density, problem.heads, attention="unnormalised").velocity(x)
    mass = density(grid.points).ravel() * np.broadcast_to(grid.weights, grid.shape).ravel()
    right = mass @ np.sum(gradient * drift(x, 0.0), axis=1)
    schemes = {
        sf.Spectral(95): 1e-7,
        sf.Characteristics(degree=63): 1e-6,
        sf.FiniteVolume(6): 0.02 * abs(right),
    }
    for scheme, tolerance in schemes.items():
        run = sf.solve(problem, t_end=1e-5, scheme=scheme, save_at=[0, 1e-5], rtol=1e-8)
        power = float(run.energy_drift_integral[-1]) / 1e-5
        assert power == pytest.approx(right, abs=tolerance + 1e-4 * abs(right))
        if not isinstance(scheme, sf.FiniteVolume):
            assert abs(float(run.energy_residual[-1])) < 1e-9


@pytest.mark.parametrize("scheme", [sf.Particles(dt=None), sf.Characteristics()])
def test_a_drift_that_acts_at_one_token_only_is_seen(scheme):
    # For t in (4.3, 4.8), within 3° of the token, where no point all over the sphere lies.
    centre = np.array([0.3, -0.5, 0.81])
    centre /= np.linalg.norm(centre)

    def drift(x, t):
        on = (x @ centre > np.cos(np.radians(3.0))) & (4.3 < t < 4.8)
        return np.where(on[:, None], 0.02 * np.cross([0.0, 0.0, 1.0], x), 0.0)

    # The divergence of such a drift is not asked for where the density is a point.
    if isinstance(scheme, sf.Characteristics):

        def drift(x, t):
            near = np.exp(-200.0 * (1.0 - x @ centre)) * (4.3 < t < 4.8)
            return near[:, None] * 0.02 * np.cross([0.0, 0.0, 1.0], x)

    problem = sf.TransformerPDE(None, sf.EmpiricalDensity(centre[None]), drift=drift)
    run = sf.solve(problem, t_end=10.0, scheme=scheme, save_at=[0.0, 10.0])
    turn = expm(0.01 * np.cross(np.eye(3), [0.0, 0.0, 1.0]))
    assert np.abs(run.position.values[-1, 0] - turn @ centre).max() < 2e-4


def test_laws_with_nodes_of_another_kind_are_looked_at():
    class Nodes:
        """One head β(t) I by its arguments alone."""

        weights = np.ones(1)

        def __init__(self, beta):
            self.beta = beta

        def arguments(self, x, nodes):
            return self.beta * x[:, None]

    class Law:
        def nodes(self, t):
            return Nodes(1.0 + 4.0 * (3.1 < t < 3.4))

    inputs = TimeInputs(sf.TransformerPDE(Law(), DENSITY)).all
    assert longest_step(inputs, 0.0, 3.0, 1e-6) == 3.0
    assert longest_step(inputs, 0.0, 4.0, 1e-6) < 3.2


@pytest.mark.parametrize("count", [2, 31])
def test_a_narrow_gate_on_the_way_of_a_token_is_seen(count):
    # A rotating token is lifted by ∫ 0.1 e^{−s²/w²}/(w √π) ds = 0.1, less the bend of the sphere.
    def drift(x, t):
        angle = np.arctan2(x[:, 1], x[:, 0])
        lift = 0.1 / (0.02 * np.sqrt(np.pi)) * np.exp(-(((angle - 1.0) / 0.02) ** 2))
        return np.stack([-x[:, 1], x[:, 0], lift], axis=1)

    problem = sf.TransformerPDE(None, sf.EmpiricalDensity([[1.0, 0, 0]]), drift=drift)
    times = np.linspace(0.0, 3.0, count)
    run = sf.solve(problem, t_end=3.0, scheme=sf.Particles(dt=None), save_at=times)
    # The height h obeys dh/dφ = lift (1 − h²): artanh h = 0.1.
    assert float(run.position[-1, 0, 2]) == pytest.approx(np.tanh(0.1), abs=1e-5)


def test_cells_follow_a_drift_that_oscillates():
    # About e_z by 0.5 sin(20 t); without the limits in time the error was 3e-2.
    mean = np.array([0, 0.6, 0.8])

    def drift(x, t):
        return 10.0 * np.cos(20 * t) * np.stack([-x[:, 1], x[:, 0], 0 * x[:, 0]], axis=1)

    problem = sf.TransformerPDE(None, sf.VonMisesFisher(mean, 3.0), drift=drift)
    run = sf.solve(problem, t_end=10.0, scheme=sf.FiniteVolume(3), save_at=[0.0, 10.0])
    turn = expm(0.5 * np.sin(200.0) * np.cross(np.eye(3), [0.0, 0.0, 1.0]))
    right = (1 / np.tanh(3.0) - 1 / 3.0) * turn @ mean
    assert np.abs(run.first_moment.values[-1] - right).max() < 4e-3


@pytest.mark.parametrize("name", ["spectral", "characteristics", "tokens"])
def test_steps_on_a_jump_are_not_taken_for_hopeless(name):
    def drift(x, t):
        return (10.0 if 3.1 < t < 3.4 else 0.0) * np.cross([0.0, 0.0, 1.0], x)

    problem = problem_of(name, drift=drift)
    run = sf.solve(problem, t_end=5.0, scheme=SCHEMES[name][0], save_at=[0.0, 5.0], rtol=1e-9)
    turn = expm(3.0 * np.cross(np.eye(3), [0.0, 0.0, 1.0]))
    start, end = run.first_moment.values
    assert run.status == "completed"
    assert np.abs(end - turn @ start).max() < 1e-7
