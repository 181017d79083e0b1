"""Rules that end a run: statuses, and states that closed forms know."""

import numpy as np
import pytest
from scipy.special import i0

import sphereflow as sf
from sphereflow.errors import InputError
from sphereflow.sphere import power_by_degree, real_to_complex

START = sf.VonMisesFisher([0.3, -0.5, 0.8], 2.0)
NARROW = sf.VonMisesFisher([0, 0, 1], 20.0)
BETA = 2.0
CRITICAL = (1 / np.tanh(BETA) - 1 / BETA) / BETA  # MODEL.md 6.9: 0.2687
LAW = sf.FixedHeads(BETA * np.eye(3), np.eye(3))
TURN = 2 * np.pi * np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]])


def until(rules, problem, t_end, scheme, save_every, rtol=1e-6, **options):
    return sf.solve(
        problem,
        t_end=t_end,
        scheme=scheme,
        save_every=save_every,
        rtol=rtol,
        stop=rules,
        **options,
    )


def polar_moment(diffusion):
    """|∫x dμ| of μ ∝ L[μ](βx)^{1/(εβ)}, by iteration on zonal densities."""
    cosine, weights = np.polynomial.legendre.leggauss(60)
    sine = np.sqrt(1 - cosine**2)
    kernel = np.exp(BETA * np.outer(cosine, cosine)) * i0(BETA * np.outer(sine, sine))
    density = np.exp(cosine)
    for _ in range(3000):
        density = (kernel @ (weights * density)) ** (1 / (diffusion * BETA))
        density /= weights @ density
    return weights @ (density * cosine)


# Steady states


def test_below_the_critical_diffusion_a_polar_state_stays():
    """MODEL.md 6.9: ε∇log μ = v̄ = ∇ log L(βx)/β, a fixed point that is computed by itself."""
    diffusion = 0.15
    assert diffusion < CRITICAL
    problem = sf.TransformerPDE(LAW, START, diffusion=diffusion)
    run = until([sf.SteadyState(1e-5)], problem, 100.0, sf.Spectral(23), 0.5)
    assert run.attrs["status"] == "steady" and float(run.time[-1]) < 40
    assert "fell below 1e-05" in run.attrs["status_reason"]
    moment = run.first_moment.values[-1]
    assert np.linalg.norm(moment) == pytest.approx(polar_moment(diffusion), abs=3e-5)
    assert moment / np.linalg.norm(moment) == pytest.approx(START.mean, abs=1e-6)
    field = sf.attention_field(run, LAW, t=float(run.time[-1]))
    points = sf.SphereGrid(15).points.reshape(-1, 3)
    density = sf.HarmonicDensity(run.spectrum.values[-1])(points)
    constant = np.log(density) - np.log(field.mobility(points)[:, 0]) / (diffusion * BETA)
    assert np.ptp(constant) < 2e-3
    # The current ends and not v̄, which balances diffusion.
    assert float(run.slope_squared[-1]) > 0.05


def test_above_the_critical_diffusion_only_the_uniform_state_stays():
    """It is approached at the rate 2(ε_c − ε) of MODEL.md 6.2, and polar_moment is 0 there."""
    diffusion = 0.45
    assert polar_moment(diffusion) == pytest.approx(0.0, abs=1e-12)
    problem = sf.TransformerPDE(LAW, START, diffusion=diffusion)
    run = until([sf.SteadyState(1e-5)], problem, 100.0, sf.Spectral(23), 0.5)
    assert run.attrs["status"] == "steady"
    moment = np.linalg.norm(run.first_moment, axis=1)
    assert moment[-1] < 1e-4
    rate = np.diff(np.log(moment))[-4:] / 0.5
    assert rate == pytest.approx(2 * (CRITICAL - diffusion), rel=1e-3)
    power = power_by_degree(real_to_complex(run.spectrum.values[-1]))
    assert power[1] > 100 * power[2]  # the slowest degree is left


@pytest.mark.parametrize(
    "scheme",
    [
        sf.Characteristics(9, 9),
        sf.Particles(count=30, dt=None, seed=1),
        sf.Particles(count=30, dt=0.1, seed=1, stepper="rk4", paths=2),
    ],
    ids=["nodes", "tokens", "ensemble"],
)
def test_tokens_that_have_met_are_steady(scheme):
    """Ascent under D = V = I ends in a point; the speed decays as e^{−t}, to the bound."""
    problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), NARROW)
    run = until([sf.SteadyState(1e-3)], problem, 20.0, scheme, 0.5, rtol=1e-5)
    assert run.attrs["status"] == "steady"
    speed = run.speed.values.reshape(-1, run.sizes["time"]).max(axis=0)
    assert speed[-1] < 2e-3 and "fell below 0.001" in run.attrs["status_reason"]
    assert np.diff(np.log(speed))[-3:] == pytest.approx(-0.5, abs=5e-3)


def test_a_current_in_a_steady_density_is_steady_and_a_moving_one_is_not():
    """A rotation about the axis of a zonal density changes nothing, another turns it."""
    for mean, status in (([0, 0, 1], "steady"), ([1, 0, 0.3], "completed")):
        problem = sf.TransformerPDE(None, sf.VonMisesFisher(mean, 3.0), drift=TURN)
        run = until([sf.SteadyState(1e-4)], problem, 1.5, sf.Spectral(23), 0.3)
        assert run.attrs["status"] == status
        assert float(run.speed[-1]) > 1.0


def test_a_density_that_is_saved_once_per_turn_is_not_steady():
    problem = sf.TransformerPDE(None, sf.VonMisesFisher([1, 0, 0.3], 3.0), drift=TURN)
    run = until([sf.SteadyState(1e-4)], problem, 2.0, sf.Spectral(23), 1.0)
    assert run.attrs["status"] == "completed"


def test_the_rate_of_the_density_is_that_of_its_spectrum():
    """∂_tμ = εΔμ − div(μu) at the start, in harmonics; cells come near it as they get smaller."""
    exact = 0.2 * np.sqrt(
        np.sum((np.arange(64) * np.arange(1, 65)) ** 2 * power_by_degree(START.resolved_spectrum()))
    )
    heat = sf.TransformerPDE(None, START, diffusion=0.2)
    turned = sf.TransformerPDE(None, START, drift=TURN)
    grid = sf.SphereGrid(63)
    slope = START.concentration * START(grid.points)[..., None] * START.mean
    around = grid.integrate(np.sum(slope * (grid.points @ TURN.T), axis=-1) ** 2)
    for problem, rate in ((heat, exact), (turned, np.sqrt(around))):
        of = [
            float(sf.solve(problem, t_end=0.1, scheme=scheme, save_at=[0.0]).density_rate[0])
            for scheme in (sf.Spectral(31), sf.FiniteVolume(3), sf.FiniteVolume(4))
        ]
        assert of[0] == pytest.approx(rate, rel=1e-8)
        assert of[1] == pytest.approx(rate, rel=0.02)
        assert abs(of[2] - rate) < 0.35 * abs(of[1] - rate)  # second order would be a quarter


# Clusters


@pytest.mark.parametrize(
    "scheme",
    [
        sf.Characteristics(15, 15),
        sf.Particles(count=200, dt=0.05, seed=1),
        sf.Particles(count=200, dt=0.05, seed=1, paths=2),
        sf.Auto(lmax=31, lmax_max=31, degree=15, degree_max=15),
    ],
    ids=["nodes", "tokens", "ensemble", "auto"],
)
def test_a_cluster_ends_the_run_when_it_is_narrow(scheme):
    """Its radius falls as e^{−t} from that of κ = 20, half of whose mass lies within 0.264."""
    problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), NARROW)
    run = until([sf.Clustered(0.05)], problem, 8.0, scheme, 0.25, rtol=1e-4)
    assert run.attrs["status"] == "clustered"
    assert run.attrs["status_reason"].startswith("1 clusters narrower than 0.05")
    half = np.arccos(1 + np.log(0.5) / 20.0)
    # While it is wide the cluster contracts more slowly; outputs are 0.25 apart.
    assert np.log(half / 0.05) < float(run.time[-1]) < np.log(half / 0.05) + 0.5


def test_all_clusters_have_to_be_narrow():
    """Two caps, one of them wide: the wide one decides, unless it holds less than 1 %."""
    identity = sf.TransformerPDE(None, START, drift=np.zeros((3, 3)))
    for share, status in ((0.7, "completed"), (0.995, "clustered")):
        caps = [sf.VonMisesFisher([0, 0, 1], 1e5), sf.VonMisesFisher([1, 0, 0], 60.0)]
        density = sf.Mixture(caps, [share, 1 - share])
        problem = sf.TransformerPDE(None, density, drift=identity.drift)
        run = until([sf.Clustered(0.05)], problem, 0.2, sf.Characteristics(15, 15), 0.1)
        assert run.attrs["status"] == status


def test_a_uniform_density_is_never_clustered():
    problem = sf.TransformerPDE(None, sf.Uniform(), drift=np.zeros((3, 3)))
    run = until([sf.Clustered(3.0)], problem, 0.2, sf.Characteristics(15, 15), 0.1)
    assert run.attrs["status"] == "completed"


# Time and functions


@pytest.mark.parametrize(
    "scheme",
    [sf.Spectral(15), sf.FiniteVolume(2), sf.Particles(count=20, dt=1e-2, seed=1)],
    ids=["harmonics", "cells", "tokens"],
)
def test_the_wall_time_ends_a_run_at_the_end_of_a_step(scheme):
    """Though there is but one output, at the end: what was reached by then is kept."""
    steps = []
    run = sf.solve(
        sf.TransformerPDE(LAW, START),
        t_end=50.0,
        scheme=scheme,
        save_at=[50.0],
        stop=[sf.WallTime(1e-9)],
        progress=lambda t, t_end, information: steps.append(t),
    )
    assert run.attrs["status"] == "wall-time" and "1e-09 s" in run.attrs["status_reason"]
    assert len(steps) == 1
    assert run.time.values.tolist() == steps and 0.0 < steps[0] < 1.0
    assert float(run.mass[0]) == pytest.approx(1.0, abs=1e-12)


def test_the_wall_time_lets_shorter_runs_end():
    run = until([sf.WallTime(1000.0)], sf.TransformerPDE(LAW, START), 0.1, sf.Spectral(15), 0.05)
    assert run.attrs["status"] == "completed"


def test_functions_stop_with_their_reason_and_the_first_rule_wins():
    seen = []

    def by_entropy(t, record):
        seen.append((t, sorted(record)))
        return "it is low" if record["entropy"] < 2.0 else None

    problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), START)
    run = until([by_entropy], problem, 3.0, sf.Spectral(31), 0.1)
    assert run.attrs["status"] == "stopped"
    last = float(run.time[-1])
    assert run.attrs["status_reason"] == f"it is low at t = {last:.6g}"
    assert float(run.entropy[-1]) < 2.0 <= float(run.entropy[-2])
    assert [t for t, _ in seen] == pytest.approx(run.time.values)
    assert {"spectrum", "energy", "lat", "wall_time"} <= set(seen[0][1])
    at_once = until([sf.SteadyState(1e9), by_entropy], problem, 1.0, sf.Spectral(31), 0.1)
    assert at_once.attrs["status"] == "steady" and at_once.sizes["time"] == 1


def test_a_stopped_run_goes_on_where_it_ended():
    problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), NARROW)
    scheme = sf.Characteristics(9, 9)
    stopped = until([sf.Clustered(0.15)], problem, 2.0, scheme, 0.5, rtol=1e-8)
    assert stopped.attrs["status"] == "clustered"
    further = until([], problem, 2.0, scheme, 0.5, rtol=1e-8, initial=stopped)
    whole = until([], problem, 2.0, scheme, 0.5, rtol=1e-8)
    assert np.abs(further.position[-1] - whole.position[-1]).max() < 1e-8
    assert np.abs(further.energy_residual[-1] - whole.energy_residual[-1]) < 1e-8


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (sf.SteadyState, {"speed": 0.0}),
        (sf.Clustered, {"radius": -1.0}),
        (sf.Clustered, {"bandwidth": np.nan}),
        (sf.WallTime, {"seconds": 0.0}),
    ],
)
def test_bad_rules_are_refused(rule, options):
    with pytest.raises(InputError, match=next(iter(options))):
        rule(**options)
    with pytest.raises(InputError, match="stop"):
        until([3.0], sf.TransformerPDE(LAW, START), 1.0, sf.Spectral(15), 0.5)
