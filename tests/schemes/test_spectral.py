"""The coupled spectral scheme: growth rates, budgets, symmetries, resolution."""

import numpy as np
import pytest
from scipy.special import ive
from scipy.stats import special_ortho_group

import sphereflow as sf
from sphereflow.schemes.interpolation import lagrange_weights

START = sf.VonMisesFisher([0.3, -0.5, 0.8], 3.0)


def symmetric_heads(count, seed=0):
    noise = np.random.default_rng(seed).standard_normal((count, 3, 3))
    return (noise + np.swapaxes(noise, 1, 2)) / 2


def run_heads(heads, flow="descent", t_end=1.0, lmax=63, rtol=1e-8, density=START, **options):
    law = sf.FixedHeads(heads) if isinstance(heads, np.ndarray) else heads
    problem = sf.TransformerPDE(law, density, flow=flow, **options)
    scheme = sf.Spectral(lmax=lmax)
    return sf.solve(problem, t_end=t_end, scheme=scheme, save_every=t_end / 20, rtol=rtol)


def simpson(values, run):
    from scipy.integrate import simpson as rule

    return float(rule(values, x=run.time.values))


@pytest.mark.parametrize("diffusion", [0.0, 0.1])
@pytest.mark.parametrize("flow", ["ascent", "descent"])
@pytest.mark.parametrize("beta", [0.5, 2.0, 8.0])
def test_growth_rates_about_the_uniform_density(beta, flow, diffusion):
    """MODEL.md 6.2 for D = V = βI: rate s·l(l+1)·i_l(β)/i_0(β) − ε l(l+1), to 1e-6 relative."""
    amplitude, t_end = 1e-6, 0.2
    law = sf.FixedHeads(beta * np.eye(3))
    for degree in range(1, 7):
        index = degree * (degree + 1) + 1  # order 1: no quadratic coupling to itself
        coefficients = np.zeros(49)
        coefficients[0] = 1 / np.sqrt(4 * np.pi)
        coefficients[index] = amplitude / (4 * np.pi)
        run = sf.solve(
            sf.TransformerPDE(
                law, sf.HarmonicDensity(coefficients), flow=flow, diffusion=diffusion
            ),
            t_end=t_end,
            scheme=sf.Spectral(lmax=15, lmax_max=15, spectrum_degree=8),
            save_at=[0, t_end],
            rtol=1e-13,
        )
        start, end = run.spectrum.values[:, index]
        sign = 1.0 if flow == "ascent" else -1.0
        ratio = ive(degree + 0.5, beta) / ive(0.5, beta)
        expected = degree * (degree + 1) * (sign * ratio - diffusion)
        assert np.log(end / start) / t_end == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("flow", ["ascent", "descent"])
def test_five_heads_close_the_exact_budget_and_not_the_one_with_slope_squared(flow):
    run = run_heads(symmetric_heads(5), flow)
    sign = 1.0 if flow == "ascent" else -1.0
    assert np.abs(run.energy_residual).max() < 1e-7
    assert np.abs(run.mass - 1).max() < 1e-13
    change = float(run.energy[-1] - run.energy[0])
    assert sign * change > 0.1
    with_r = change - sign * simpson(run.dissipation, run)
    with_g = change - sign * simpson(run.slope_squared, run)
    assert abs(with_r) < 1e-7
    assert abs(with_g) > 1e-3  # MODEL.md section 4: G² is not the dissipation rate
    # The Cauchy-Schwarz bound R ≤ G S.
    bound = np.sqrt(run.slope_squared * run.metric_slope_squared)
    assert (run.dissipation <= bound * (1 + 1e-12)).all()


@pytest.mark.parametrize("flow", ["ascent", "descent"])
def test_low_degrees_do_not_depend_on_the_resolution(flow):
    heads = symmetric_heads(5)
    coarse, fine = (run_heads(heads, flow, lmax=lmax).spectrum.values for lmax in (63, 127))
    assert np.abs(coarse[:, :81] - fine[:, :81]).max() < 1e-8


@pytest.mark.parametrize(
    ("heads", "options"),
    [
        (symmetric_heads(1), {}),
        (symmetric_heads(5), {"attention": "unnormalised"}),
        (symmetric_heads(5), {"velocity": "gradient"}),
    ],
    ids=["one head", "unnormalised attention", "gradient velocity"],
)
@pytest.mark.parametrize("flow", ["ascent", "descent"])
def test_budget_with_slope_squared_closes(heads, options, flow):
    """MODEL.md section 4: where G² = R = S², E(T) − E(0) = s ∫ G² dt."""
    run = run_heads(heads, flow, t_end=0.5, **options)
    sign = 1.0 if flow == "ascent" else -1.0
    change = float(run.energy[-1] - run.energy[0])
    assert change - sign * simpson(run.slope_squared, run) == pytest.approx(0.0, abs=1e-7)
    assert np.allclose(run.slope_squared, run.dissipation, rtol=1e-8)
    if options.get("attention") != "unnormalised":
        assert np.allclose(run.slope_squared, run.metric_slope_squared, rtol=1e-8)


def test_budget_closes_with_diffusion_drift_and_general_matrices():
    rng = np.random.default_rng(4)
    law = sf.FixedHeads(rng.standard_normal((3, 3, 3)), rng.standard_normal((3, 3, 3)))
    drift = 0.3 * rng.standard_normal((3, 3))
    run = run_heads(law, "ascent", t_end=0.5, diffusion=0.2, drift=drift)
    assert np.abs(run.energy_residual).max() < 1e-7
    assert float(abs(run.energy_drift_integral[-1])) > 1e-3
    assert float(abs(run.energy_diffusion_integral[-1])) > 1e-3


@pytest.mark.parametrize(
    "law",
    [
        sf.OscillatingHeads(symmetric_heads(3)),
        sf.OrnsteinUhlenbeck(np.eye(3), 1.0, quadrature=6),
        sf.TabulatedHeads(
            [0.0, 0.2, 0.6], np.stack([symmetric_heads(2, seed) for seed in (1, 2, 3)])
        ),
        sf.TabulatedHeads(
            [0.0, 0.2, 0.6],
            np.stack([symmetric_heads(2, seed) for seed in (1, 2, 3)]),
            interpolation="linear",
        ),
    ],
    ids=["oscillating", "Ornstein-Uhlenbeck", "cubic table", "linear table"],
)
def test_budget_closes_with_heads_that_change(law):
    run = run_heads(law, t_end=0.5, rtol=1e-7)
    assert np.abs(run.energy_residual).max() < 1e-6
    assert float(abs(run.energy_heads_integral[-1])) > 1e-2


def test_multirate_steps_agree_with_fixed_ones():
    law = sf.OscillatingHeads(symmetric_heads(3))
    problem = sf.TransformerPDE(law, START, flow="ascent", diffusion=0.05)
    ends = [
        sf.solve(
            problem, t_end=0.5, scheme=sf.Spectral(lmax=31, dt=dt), save_at=[0.5], rtol=1e-9
        ).spectrum.values[0]
        for dt in (None, 0.0125)
    ]
    assert np.abs(ends[0] - ends[1]).max() < 1e-8


def test_fixed_steps_of_the_coupled_problem_are_of_fourth_order():
    law = sf.OscillatingHeads(symmetric_heads(2))
    problem = sf.TransformerPDE(law, START, flow="descent")

    def end(dt):
        scheme = sf.Spectral(lmax=23, lmax_max=23, dt=dt, resolution_limit=1.0)
        run = sf.solve(problem, t_end=1.0, scheme=scheme, save_at=[1.0], rtol=1e-8)
        return run.spectrum.values[0], float(run.energy_residual[0])

    steps = np.array([0.25, 0.125, 0.0625])
    reference, _ = end(1 / 128)
    results = [end(dt) for dt in steps]
    errors = [np.linalg.norm(spectrum - reference) for spectrum, _ in results]
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(4.0, abs=0.35)
    residuals = [abs(residual) for _, residual in results]
    assert np.polyfit(np.log(steps), np.log(residuals), 1)[0] > 3.5


def test_rotating_everything_rotates_the_solution():
    rotation = special_ortho_group.rvs(3, random_state=5)
    heads = symmetric_heads(3)
    turned = rotation @ heads @ rotation.T
    plain = run_heads(heads, t_end=0.3, rtol=1e-10)
    rotated = run_heads(
        turned, t_end=0.3, rtol=1e-10, density=sf.VonMisesFisher(rotation @ START.mean, 3.0)
    )
    points = np.random.default_rng(6).standard_normal((50, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]

    def values(run, x):
        return sf.HarmonicDensity(run.spectrum.values[-1])(x)

    assert np.abs(values(plain, points) - values(rotated, points @ rotation.T)).max() < 1e-10
    assert np.abs(plain.energy - rotated.energy).max() < 1e-10


def test_the_order_of_the_heads_does_not_matter():
    heads = symmetric_heads(4)
    runs = [run_heads(h, t_end=0.2).spectrum.values for h in (heads, heads[::-1].copy())]
    assert np.abs(runs[0] - runs[1]).max() < 1e-12


def test_a_concentrating_density_raises_the_degree_and_then_stops():
    law = sf.FixedHeads(2.0 * np.eye(3))
    problem = sf.TransformerPDE(law, START, flow="ascent")
    run = sf.solve(
        problem, t_end=5.0, scheme=sf.Spectral(lmax=23, lmax_max=47), save_every=0.1, rtol=1e-6
    )
    assert run.attrs["status"] == "under-resolved"
    assert "raise lmax_max" in run.attrs["status_reason"]
    assert float(run.lmax[0]) < 47 and float(run.lmax[-1]) == 47
    assert run.sizes["time"] > 5 and float(run.time[-1]) < 5.0
    assert float(run.resolution[-1]) > 1e-3
    # What was kept is right: compare with a finer run at a time before the end.
    fine = sf.solve(problem, t_end=0.3, scheme=sf.Spectral(lmax=63), save_at=[0.3], rtol=1e-8)
    coarse = run.sel(time=0.3, method="nearest")
    assert np.abs(coarse.spectrum.values - fine.spectrum.values[0]).max() < 1e-4
    assert run.density.shape[1:] == sf.SphereGrid(23).shape


def test_lagrange_weights_are_exact_for_polynomials():
    times = np.array([0.0, 0.1, 0.35, 0.5])
    weights = lagrange_weights(times, 0.8)
    for power in range(4):
        assert weights @ times**power == pytest.approx(0.8**power, abs=1e-12)
    assert np.array_equal(lagrange_weights(times, 0.35), [0, 0, 1, 0])


def test_the_velocity_of_unit_heads_follows_the_energy_sign():
    """Descent with D = I repels, ascent attracts: the first moment of a bump moves."""
    law = np.eye(3)[None]
    down, up = (run_heads(law, flow, t_end=0.5) for flow in ("descent", "ascent"))
    length = [np.linalg.norm(run.first_moment.values, axis=1) for run in (down, up)]
    assert (np.diff(length[0]) < 0).all() and (np.diff(length[1]) > 0).all()
    assert (np.diff(down.energy) < 0).all() and (np.diff(up.energy) > 0).all()


@pytest.mark.parametrize(
    "options",
    [
        {"lmax": 0},
        {"lmax": 2.5},
        {"dt": -1.0},
        {"engine": "fft"},
        {"resolution_limit": 0.0},
        {"threads": 0},
    ],
)
def test_bad_options_are_refused(options):
    with pytest.raises(sf.SphereflowError, match=next(iter(options))):
        sf.Spectral(**options)


def test_a_density_too_narrow_for_the_output_grid_is_said(caplog):
    problem = sf.TransformerPDE(
        sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 4.0), flow="ascent"
    )
    options = {"t_end": 2.6, "save_at": [1.0, 2.6], "rtol": 1e-4}
    run = sf.solve(problem, scheme=sf.Spectral(31, lmax_max=255), **options)
    assert ["output_lmax" in message for message in caplog.messages] == [True]
    off = (run.density * run.cell_area).sum(("lat", "lon")) - run.mass
    assert abs(off[0]) < 1e-10 and abs(off[1]) > 1e-3
    caplog.clear()
    sf.solve(problem, scheme=sf.Spectral(31, lmax_max=255, output_lmax=95), **options)
    assert not caplog.messages
