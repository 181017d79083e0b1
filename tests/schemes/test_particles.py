"""The token scheme: orders, the projected Euler step, the balance (148), ensembles, noise.

References are plain NumPy sums written out here, SciPy's integrator and closed forms.
"""

import json
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.special import erfcx

import sphereflow as sf
from sphereflow.errors import InputError
from sphereflow.heads import SampledHeads

TARGET = np.array([[1.0, 0.4, -0.2], [0.4, -0.6, 0.3], [-0.2, 0.3, 0.5]])


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def tokens(count, seed=0):
    return unit(np.random.default_rng(seed).standard_normal((count, 3)))


def matrices(count, seed, symmetric=False):
    drawn = np.random.default_rng(seed).standard_normal((count, 3, 3))
    return (drawn + np.swapaxes(drawn, 1, 2)) / 2 if symmetric else drawn


def solve(problem, t_end, save_at=None, rtol=1e-6, **options):
    scheme = sf.Particles(**({"seed": 1, "threads": 1, "spectrum_degree": 2} | options))
    times = [0.0, t_end] if save_at is None else save_at
    return sf.solve(problem, t_end=t_end, scheme=scheme, save_at=times, rtol=rtol)


def fixed(points, heads, flow="ascent", weights=None, **options):
    """Tokens that start at given points."""
    return sf.TransformerPDE(heads, sf.EmpiricalDensity(points, weights), flow=flow, **options)


def average(x, weights, nodes):
    """Σ_h w_h V_h Σ_j softmax(⟨x_i, D_h x_j⟩ + log w_j) x_j for tokens (n, 3)."""
    total = np.zeros_like(x)
    for d, v, share in zip(nodes.logits, nodes.values, nodes.weights):
        scores = np.exp(x @ d @ x.T) * weights
        total += share * (scores @ x) @ v.T / scores.sum(axis=1, keepdims=True)
    return total


def tangential(x, vectors):
    return vectors - x * np.sum(x * vectors, axis=-1, keepdims=True)


def ode(problem, x, t_end, weights=None, kinks=()):
    """The token system by SciPy to 1e-12, in pieces between kinks."""
    w = np.full(len(x), 1 / len(x)) if weights is None else weights

    def rate(t, flat):
        y = unit(flat.reshape(-1, 3))
        return problem.sign * tangential(y, average(y, w, problem.heads.nodes(t))).ravel()

    ends = [0.0, *kinks, t_end]
    for low, high in pairwise(ends):
        piece = solve_ivp(rate, (low, high), x.ravel(), "DOP853", rtol=1e-12, atol=1e-13)
        x = unit(piece.y[:, -1].reshape(-1, 3))
    return x


def order(steps, errors):
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


ACCURATE = [{"stepper": "rk4", "dt": 2e-3}, {"dt": None}]


@pytest.mark.parametrize("options", ACCURATE, ids=["rk4", "adaptive"])
@pytest.mark.parametrize("flow", ["ascent", "descent"])
class TestAgainstOrdinaryDifferentialEquations:
    def test_two_tokens(self, flow, options):
        # D = V = βI: c = ⟨x₁, x₂⟩ obeys c' = 2sβ e^{βc} (1 − c²) / (e^β + e^{βc}).
        beta, start, sign = 1.5, 0.2, 1.0 if flow == "ascent" else -1.0
        exact = solve_ivp(
            lambda t, c: 2 * sign * beta * np.exp(beta * c) * (1 - c**2)
            / (np.exp(beta) + np.exp(beta * c)),
            (0.0, 1.0), [start], "DOP853", rtol=1e-13, atol=1e-14,
        )  # fmt: skip
        points = [[0.0, 0.0, 1.0], [np.sqrt(1 - start**2), 0.0, start]]
        problem = fixed(points, sf.FixedHeads(beta * np.eye(3)), flow)
        run = solve(problem, 1.0, rtol=1e-12, **options)
        first, second = run.position.values[-1]
        assert first @ second == pytest.approx(exact.y[0, -1], abs=1e-10)

    def test_general_heads_and_weights(self, flow, options):
        x, w = tokens(6), np.arange(1.0, 7.0) / 21
        heads = sf.FixedHeads(matrices(2, 1), matrices(2, 2), [0.3, 0.7])
        problem = fixed(x, heads, flow, w)
        run = solve(problem, 0.5, rtol=1e-12, **options)
        np.testing.assert_allclose(run.position.values[-1], ode(problem, x, 0.5, w), atol=1e-10)


class TestOrders:
    STEPS = 1.0 / np.array([10, 20, 40, 80])

    @pytest.mark.parametrize(("stepper", "expected"), [("euler", 1), ("heun", 2), ("rk4", 4)])
    def test_positions_and_balance(self, stepper, expected):
        heads = sf.OscillatingHeads(matrices(2, 3, symmetric=True))
        problem = fixed(tokens(40), heads, "descent")
        reference = solve(problem, 1.0, dt=None, rtol=1e-13).position.values[-1]
        runs = [solve(problem, 1.0, dt=dt, stepper=stepper) for dt in self.STEPS]
        errors = [np.abs(run.position.values[-1] - reference).max() for run in runs]
        assert order(self.STEPS, errors) == pytest.approx(expected, abs=0.2)
        residuals = [abs(float(run.energy_residual[-1])) for run in runs]
        assert order(self.STEPS, residuals) > expected - 0.3

    def test_kinks_of_a_table_do_not_lower_the_order(self):
        # The times are no multiples of the steps; the run stops at each of them.
        times = [0.0, 0.31, 0.77, 1.0]
        table = np.stack([matrices(2, seed) for seed in range(4)])
        problem = fixed(tokens(20), sf.TabulatedHeads(times, table, interpolation="linear"))
        steps = [0.04, 0.02, 0.01]  # small beside the gaps, which they divide into equal parts
        reference = ode(problem, tokens(20), 1.0, kinks=times[1:3])
        errors = [
            np.abs(solve(problem, 1.0, dt=dt, stepper="rk4").position.values[-1] - reference).max()
            for dt in steps
        ]
        assert order(steps, errors) == pytest.approx(4, abs=0.3)
        adaptive = solve(problem, 1.0, dt=None, rtol=1e-12).position.values[-1]
        np.testing.assert_allclose(adaptive, reference, atol=1e-10)

    @pytest.mark.parametrize(("stepper", "expected"), [("euler", 1), ("heun", 2), ("rk4", 4)])
    def test_drift_alone(self, stepper, expected):
        # MODEL.md 6.3: x(t) = e^{tM} x / |e^{tM} x|.
        matrix = matrices(1, 4)[0]
        problem = fixed(tokens(30), None, drift=matrix)
        exact = unit(tokens(30) @ expm(matrix).T)
        errors = [
            np.abs(solve(problem, 1.0, dt=dt, stepper=stepper).position.values[-1] - exact).max()
            for dt in self.STEPS
        ]
        assert order(self.STEPS, errors) == pytest.approx(expected, abs=0.2)
        adaptive = solve(problem, 1.0, dt=None, rtol=1e-12).position.values[-1]
        np.testing.assert_allclose(adaptive, exact, atol=1e-11)

    def test_drift_that_depends_on_time_and_position(self):
        # Rotation about z by the angle t²/2, with a radial part that must not count.
        def turning(x, t):
            return t * np.stack([-x[:, 1], x[:, 0], 0 * x[:, 0]], axis=1) + 3.0 * x

        run = solve(fixed(tokens(5), None, drift=turning), 2.0, dt=0.02, stepper="rk4")
        turn = np.array([[np.cos(2), -np.sin(2), 0], [np.sin(2), np.cos(2), 0], [0, 0, 1]])
        np.testing.assert_allclose(run.position.values[-1], tokens(5) @ turn.T, atol=1e-7)


class TestProjectedEuler:
    @pytest.mark.parametrize("flow", ["ascent", "descent"])
    def test_one_step(self, flow):
        # Section 6: Π(x + s dt Σ_h w_h V Σ_j softmax y), the average not projected before.
        x, w = tokens(33), np.random.default_rng(1).random(33)
        w /= w.sum()
        heads = sf.FixedHeads(matrices(3, 5), matrices(3, 6), [1, 2, 3])
        problem = fixed(x, heads, flow, w)
        run = solve(problem, 0.1, dt=0.1)
        expected = unit(x + problem.sign * 0.1 * average(x, w, heads.nodes(0.0)))
        assert np.abs(run.position.values[-1] - expected).max() < 1e-15

    def test_with_drift(self):
        # The prescribed velocity is tangent and does not change its sign with the flow.
        x, matrix = tokens(10), matrices(1, 7)[0]
        heads = sf.FixedHeads(matrices(2, 8))
        run = solve(fixed(x, heads, "descent", drift=matrix), 0.1, dt=0.1)
        w = np.full(10, 0.1)
        move = tangential(x, x @ matrix.T) - average(x, w, heads.nodes(0.0))
        assert np.abs(run.position.values[-1] - unit(x + 0.1 * move)).max() < 1e-15

    @pytest.mark.parametrize("stepper", ["euler", "heun", "rk4"])
    def test_unit_length(self, stepper):
        problem = fixed(tokens(50), sf.FixedHeads(3 * matrices(3, 9)))
        run = solve(problem, 1.0, np.linspace(0, 1, 11), dt=0.02, stepper=stepper)
        length = np.linalg.norm(run.position.values, axis=-1)
        assert np.abs(length - 1).max() < 1e-15

    def test_output_times_are_hit(self):
        times = [0.0, 0.013, 0.5, 0.7001, 1.0]
        run = solve(fixed(tokens(4), sf.FixedHeads(np.eye(3))), 1.0, times, dt=0.1)
        np.testing.assert_array_equal(run.time, times)
        # Steps of at most dt: 1 + 5 + 3 + 3.
        assert run.attrs["final_steps"] == 12


@pytest.mark.parametrize("attention", ["softmax", "unnormalised"])
@pytest.mark.parametrize("velocity", ["attention", "gradient"])
def test_balance_closes_without_noise(velocity, attention):
    """E(t) − E(0) = ∫(∂_tE + sR + drift power) dt, with general matrices and moving heads."""
    times = np.linspace(0.0, 1.0, 5)
    table = np.stack([matrices(2, seed) for seed in range(5)])
    heads = sf.TabulatedHeads(times, table, np.flip(table, axis=0))
    options = {"velocity": velocity, "attention": attention, "drift": matrices(1, 7)[0]}
    run = solve(fixed(tokens(25), heads, "descent", **options), 1.0, times, dt=None, rtol=1e-11)
    assert np.abs(run.energy_residual).max() < 1e-9
    for name in ("heads", "transport", "drift"):
        assert float(np.abs(run[f"energy_{name}_integral"]).max()) > 1e-2
    if velocity == "gradient" and attention == "softmax":
        np.testing.assert_allclose(run.slope_squared, run.dissipation, rtol=1e-10)


@pytest.mark.parametrize("count", [1, 10])
def test_slope_squared_explains_the_energy_of_one_head_only(count):
    # MODEL.md section 4: ∫G² = ∫R for one head, and off by a good part of ΔE for ten.
    heads = sf.FixedHeads(matrices(count, 1, symmetric=True))
    run = solve(fixed(tokens(60), heads, "descent"), 1.0, dt=None, rtol=1e-11)
    assert np.abs(run.energy_residual).max() < 1e-9
    gap = abs(float(run.energy_residual_slope[-1] / (run.energy[-1] - run.energy[0])))
    assert gap < 1e-9 if count == 1 else gap > 0.1


def ornstein_uhlenbeck(count, seed=1, **options):
    return sf.OrnsteinUhlenbeck(TARGET, 1.0).sample(count=count, seed=seed, **options)


STEPS = 0.5 / np.array([10, 20, 40, 80, 160])


@pytest.fixture(scope="module")
def noisy_runs():
    """Forty paths of five heads from the start of the paper's script, for each step."""
    law = sf.OrnsteinUhlenbeck(TARGET, 1.0, 0.0, 2.0).sample(count=5, seed=1)
    problem = sf.TransformerPDE(law, sf.OctahedralClusters(), "descent")
    options = {"count": 30, "paths": 40, "store": "statistics"}
    return [solve(problem, 0.5, [0.5], dt=dt, **options) for dt in STEPS]


def root_mean_square(values):
    return np.sqrt(np.mean(values.values**2))


class TestNoisyHeads:
    """The balance (148) under Ornstein–Uhlenbeck heads."""

    def test_residual_of_a_path_shrinks_with_the_root_of_the_step(self, noisy_runs):
        # The quadratic variation of a path is known to √dt only.
        size = [root_mean_square(run.energy_residual) for run in noisy_runs]
        assert 0.35 < order(STEPS, size) < 0.65

    def test_with_slope_squared_it_does_not(self, noisy_runs):
        # What is left is ∫(R − G²), about the same at every step.
        size = [root_mean_square(run.energy_residual_slope) for run in noisy_runs]
        assert size[-1] > 4 * root_mean_square(noisy_runs[-1].energy_residual)
        assert order(STEPS[2:], size[2:]) < 0.15

    def test_martingale_has_mean_zero(self, noisy_runs):
        for run in noisy_runs:
            values = run.energy_martingale.values.ravel()
            assert abs(values.mean()) < 4 * values.std() / np.sqrt(values.size)

    def test_rates_of_the_first_step(self):
        # ½∬ e^{⟨x,Dy⟩} times ⟨x,(F−D)y⟩, and ¼·2σ²·(1 + ⟨x,y⟩²) for the Itô part.
        law, x = ornstein_uhlenbeck(4), tokens(23)
        run = solve(fixed(x, law), 0.01, [0.0, 0.01], dt=0.01)
        logits = law.nodes(0.0).logits
        np.testing.assert_array_equal(run.head_logits[0], logits)
        kernel = np.exp(np.einsum("na,hab,mb->hnm", x, logits, x))
        drift = np.einsum("na,hab,mb->hnm", x, TARGET - logits, x)
        expected = {
            "energy_heads_integral": 0.5 * np.mean(kernel * drift),
            "energy_ito_integral": 0.25 * 2 * 0.5 * np.mean(kernel * (1 + (x @ x.T) ** 2)),
            "energy_martingale": 0.5 * np.mean(
                kernel * np.einsum("na,hab,mb->hnm", x, run.head_logits[1].values - logits, x)
            ) / 0.01 - 0.5 * np.mean(kernel * drift),
        }  # fmt: skip
        for name, value in expected.items():
            assert float(run[name][1]) / 0.01 == pytest.approx(value, rel=1e-11), name
        rate = expected["energy_heads_integral"] + expected["energy_ito_integral"]
        assert float(run.energy_rate_heads[0]) == pytest.approx(rate, rel=1e-11)

    @pytest.mark.parametrize("method", ["euler", "exact"])
    def test_heads_are_those_of_the_law(self, method):
        law = ornstein_uhlenbeck(3, method=method)
        run = solve(fixed(tokens(5), law), 0.2, [0.1, 0.2], dt=0.1, paths=2, first_path=3)
        paths = law.paths(range(3, 5))
        for k, t in enumerate((0.1, 0.2)):
            paths.advance(t)
            expected = np.stack([nodes.logits for nodes in paths.nodes(t)])
            np.testing.assert_array_equal(run.head_logits[:, k], expected)

    def test_state_dependent_noise_of_a_general_map(self):
        # D is nonlinear in θ and not symmetric, V is another matrix: √dt again.
        one, two = matrices(2, 6)

        class Map:
            dimension = 1

            def __call__(self, theta):
                logits = theta[:, :, None] * one + np.sin(theta[:, :, None]) * two
                return logits, np.swapaxes(logits, 1, 2)

        process = sf.HeadProcess(
            lambda theta, t: -theta, lambda theta, t: 0.5 + 0.3 * np.cos(theta), Map()
        )
        law = process.sample(3, seed=2, initial=sf.Point(0.5))
        problem = sf.TransformerPDE(law, sf.Uniform())
        steps = 0.25 / np.array([8, 32, 128])
        options = {"count": 20, "paths": 24, "store": "statistics"}
        runs = [solve(problem, 0.25, [0.25], dt=dt, **options) for dt in steps]
        size = [root_mean_square(run.energy_residual) for run in runs]
        assert 0.35 < order(steps, size) < 0.65

    def test_noise_free_sampled_heads_are_smooth(self):
        # σ = 0: D = F + e^{−t}(D₀ − F) exactly, and the steps of higher order are allowed.
        law = sf.OrnsteinUhlenbeck(TARGET, 0.0, 0.5, 1.0).sample(count=3, seed=5)
        run = solve(fixed(tokens(20), law), 0.5, dt=None, rtol=1e-11, paths=2)
        start, end = run.head_logits.values[:, 0], run.head_logits.values[:, -1]
        assert np.abs(end - (TARGET + np.exp(-0.5) * (start - TARGET))).max() < 1e-10
        assert np.abs(run.energy_residual).max() < 1e-9


def test_balance_under_infinitely_many_heads():
    # What is left is the error of 10 nodes per axis in ∫∇K dΘ against that of ∫K dΘ.
    law = sf.OrnsteinUhlenbeck(TARGET, 0.7, 0.3, 0.5, quadrature=10)
    run = solve(fixed(tokens(12), law, "descent"), 0.2, dt=0.02, stepper="rk4")
    assert abs(float(run.energy_residual[-1])) < 1e-7 * float(run.energy[0])
    assert run.head_mean.shape == (2, 3, 3)
    np.testing.assert_allclose(run.head_mean[-1], law.mean(0.2), atol=1e-14)


class TestEnsembles:
    """The same numbers whatever the batch, the number of paths and of threads."""

    def run(self, summation="auto", **options):
        problem = sf.TransformerPDE(ornstein_uhlenbeck(3), sf.OctahedralClusters(), "descent")
        options = {"count": 40, "dt": 0.05, "paths": 4, "summation": summation} | options
        return solve(problem, 0.1, **options)

    @pytest.mark.parametrize("summation", ["direct", "harmonic"])
    def test_parts_make_the_whole(self, summation):
        whole = self.run(summation)
        parts = [self.run(summation, paths=2, first_path=first) for first in (0, 2)]
        for name, values in whole.data_vars.items():
            joined = np.concatenate([part[name].values for part in parts])
            np.testing.assert_array_equal(values.values, joined, err_msg=name)
        assert whole.path.values.tolist() == [0, 1, 2, 3]
        assert parts[1].path.values.tolist() == [2, 3]

    @pytest.mark.parametrize("summation", ["direct", "harmonic"])
    def test_a_path_does_not_depend_on_the_number_of_paths(self, summation):
        whole, alone = self.run(summation), self.run(summation, paths=1)
        for name, values in alone.data_vars.items():
            np.testing.assert_array_equal(whole[name].values[0], values.values, err_msg=name)

    @pytest.mark.parametrize("summation", ["direct", "harmonic"])
    def test_threads(self, summation):
        one, two = (self.run(summation, threads=threads) for threads in (1, 2))
        for name, values in one.data_vars.items():
            np.testing.assert_array_equal(values.values, two[name].values, err_msg=name)

    def test_summation_changes_round_off_only(self):
        direct, harmonic = (self.run(summation) for summation in ("direct", "harmonic"))
        assert direct.attrs["final_summation"] == "direct"
        assert harmonic.attrs["final_summation"] == "harmonic"
        np.testing.assert_allclose(direct.position, harmonic.position, atol=1e-10)
        np.testing.assert_allclose(direct.energy_residual, harmonic.energy_residual, atol=1e-9)

    def test_paths_have_their_own_tokens_and_heads(self):
        run = self.run()
        assert len(np.unique(run.position.values[:, 0, 0, 0])) == 4
        assert len(np.unique(run.head_logits.values[:, 0, 0, 0, 0])) == 4

    def test_tokens_may_be_shared(self):
        run = self.run(share_tokens=True)
        start = run.position.values[:, 0]
        np.testing.assert_array_equal(start, np.broadcast_to(start[:1], start.shape))
        np.testing.assert_array_equal(start[0], self.run(paths=1).position.values[0])
        assert len(np.unique(run.position.values[:, -1, 0, 0])) == 4
        # Also those of a later part.
        later = self.run(share_tokens=True, paths=2, first_path=7)
        np.testing.assert_array_equal(later.position.values[0, 0], start[0])

    def test_seeds_of_tokens_and_heads_are_apart(self):
        one, two = self.run(), self.run(seed=2)
        np.testing.assert_array_equal(one.head_logits, two.head_logits)
        assert not (one.position.values == two.position.values).any()

    def test_steps_per_output_do_not_change_the_noise(self):
        # Outputs at multiples of dt: the same steps, whatever is saved.
        problem = sf.TransformerPDE(ornstein_uhlenbeck(3), sf.OctahedralClusters(), "descent")
        few, many = (
            solve(problem, 0.25, times, count=20, dt=0.125)
            for times in ([0.25], [0.0, 0.125, 0.25])
        )
        np.testing.assert_array_equal(few.position.values[-1], many.position.values[-1])


class TestStoredVariables:
    def run(self, **options):
        problem = sf.TransformerPDE(ornstein_uhlenbeck(3), sf.OctahedralClusters(), "descent")
        options = {"count": 20, "dt": 0.05, "paths": 5, "spectrum_degree": 4} | options
        return solve(problem, 0.2, [0.0, 0.1, 0.2], **options)

    def test_statistics_keep_numbers_of_paths_and_no_tokens(self):
        kept, small = self.run(), self.run(store="statistics")
        assert "token" not in small.sizes and "head" not in small.sizes
        assert not any({"path", "token"} <= set(v.dims) for v in small.variables.values())
        np.testing.assert_array_equal(small.spectrum_mean, kept.spectrum.mean("path"))
        np.testing.assert_array_equal(small.spectrum_std, kept.spectrum.std("path"))
        for name in ("energy", "first_moment", "second_moment", "energy_residual", "mass"):
            np.testing.assert_array_equal(small[name], kept[name])
        assert small.spectrum_mean.dims == ("time", "harmonic")

    def test_statistics_of_shared_tokens(self):
        kept = self.run(share_tokens=True)
        small = self.run(share_tokens=True, store="statistics")
        np.testing.assert_allclose(small.position_mean, kept.position.mean("path"), atol=1e-15)
        np.testing.assert_allclose(small.position_std, kept.position.std("path"), atol=1e-15)
        np.testing.assert_allclose(small.position_std[0], 0.0, atol=1e-15)
        assert small.position_mean.dims == ("time", "token", "axis")
        assert not any({"path", "token"} <= set(v.dims) for v in small.variables.values())

    def test_layout(self):
        run, alone = self.run(), self.run(paths=1)
        assert run.position.dims == ("path", "time", "token", "axis")
        assert run.position.shape == (5, 3, 20, 3)
        assert run.head_logits.dims == ("path", "time", "head", "row", "column")
        assert run.energy.dims == ("path", "time")
        assert run.token_weight.dims == ("token",)
        assert alone.position.dims == ("time", "token", "axis")
        assert alone.head_weight.dims == ("time", "head") and "path" not in alone.sizes
        assert run.degree.values.tolist() == [l for l in range(5) for _ in range(2 * l + 1)]
        assert run.attrs["seed"] == 1
        assert run.attrs["final_summation"] == "direct"
        assert run.attrs["final_steps"] == 4
        assert run.attrs["final_direct_evaluations"] == 5 * 5  # paths, times
        assert run.attrs["status"] == "completed"
        scheme = json.loads(run.attrs["experiment"])["scheme"]
        assert (scheme["kind"], scheme["count"], scheme["paths"]) == ("particles", 20, 5)

    def test_drawn_seed_is_recorded(self):
        scheme = sf.Particles(count=5, dt=0.1)
        problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.Uniform())
        run = sf.solve(problem, t_end=0.1, scheme=scheme, save_at=[0.1])
        again = solve(problem, 0.1, [0.1], count=5, dt=0.1, seed=int(run.attrs["seed"]))
        np.testing.assert_array_equal(run.position, again.position)

    def test_moments_and_spectrum_are_direct_sums(self):
        x, w = tokens(9), np.arange(1.0, 10.0) / 45
        run = solve(fixed(x, None, weights=w, drift=np.eye(3)), 0.1, [0.0], dt=0.1)
        np.testing.assert_allclose(run.first_moment[0], w @ x, atol=1e-15)
        np.testing.assert_allclose(run.second_moment[0], x.T @ (w[:, None] * x), atol=1e-15)
        assert float(run.mass[0]) == pytest.approx(1.0, abs=1e-15)
        assert float(run.resolution[0]) == pytest.approx(np.sqrt(np.sum(w**2)), rel=1e-14)
        a, b, c = x.T
        functions = [
            np.sqrt(1 / (4 * np.pi)) + 0 * a,
            *(np.sqrt(3 / (4 * np.pi)) * np.stack([b, c, a])),
            *(np.sqrt(15 / (4 * np.pi)) * np.stack([a * b, b * c])),
            np.sqrt(5 / (16 * np.pi)) * (3 * c**2 - 1),
            np.sqrt(15 / (4 * np.pi)) * a * c,
            np.sqrt(15 / (16 * np.pi)) * (a**2 - b**2),
        ]
        np.testing.assert_allclose(run.spectrum[0], np.stack(functions) @ w, atol=1e-13)

    def test_given_points_and_weights_are_taken_as_they_are(self):
        x, w = tokens(15), np.arange(1.0, 16.0)
        run = solve(fixed(x, sf.FixedHeads(np.eye(3)), weights=w), 0.1, dt=0.1, paths=2)
        np.testing.assert_allclose(run.position[:, 0], np.stack([x, x]), atol=1e-15)
        np.testing.assert_allclose(run.token_weight, w / w.sum(), rtol=1e-15)


def test_weighted_tokens_agree_with_the_spectral_scheme():
    # Gauss nodes of μ₀ with their weights integrate smooth functions to spectral accuracy.
    density = sf.VonMisesFisher([0.3, -0.5, 0.8], 3.0)
    cosine, weights = np.polynomial.legendre.leggauss(16)
    phi, sine = np.arange(32) * np.pi / 16, np.sqrt(1 - cosine**2)
    x = np.stack([np.outer(sine, np.cos(phi)), np.outer(sine, np.sin(phi))], axis=-1)
    x = np.concatenate([x, np.broadcast_to(cosine[:, None, None], (16, 32, 1))], axis=-1)
    mass = np.repeat(weights, 32) * density(x.reshape(-1, 3))
    problem = fixed(x.reshape(-1, 3), sf.FixedHeads(0.5 * matrices(2, 3)), weights=mass)
    by_tokens = solve(problem, 0.3, [0.3], dt=None, rtol=1e-10)
    smooth = sf.TransformerPDE(problem.heads, density)
    run = sf.solve(smooth, t_end=0.3, scheme=sf.Spectral(lmax=47), save_at=[0.3], rtol=1e-9)
    for name in ("first_moment", "second_moment", "energy", "dissipation", "slope_squared"):
        np.testing.assert_allclose(by_tokens[name], run[name], atol=1e-9, err_msg=name)
    np.testing.assert_allclose(by_tokens.spectrum[0], run.spectrum[0, :9], atol=1e-9)


class TestTokenDiffusion:
    """Brownian motion of the tokens: x ← Π(x + √(2ε dt) ξ) with ξ tangent and normal."""

    COUNT, RATE = 8000, 0.5

    def ending(self, dt, t_end, **options):
        pole = np.tile([0.0, 0.0, 1.0], (self.COUNT, 1))
        problem = fixed(pole, options.pop("heads", None), diffusion=self.RATE, **options)
        return solve(problem, t_end, [t_end], dt=dt).position.values[0]

    def factor(self, dt):
        """E⟨x, Π(x + √(2ε dt) ξ)⟩ = ∫ e^{−u} (1 + 4ε dt u)^{−1/2} du of one step."""
        a = 4 * self.RATE * dt
        return np.sqrt(np.pi / a) * erfcx(1 / np.sqrt(a))

    @pytest.mark.parametrize("dt", [0.5, 0.125])
    def test_mean_of_large_steps(self, dt):
        # The mean is multiplied by the same factor in every step; four standard errors.
        x = self.ending(dt, 0.5)
        error = x.std(axis=0) / np.sqrt(self.COUNT)
        mean = np.array([0.0, 0.0, self.factor(dt) ** (0.5 / dt)])
        assert (np.abs(x.mean(axis=0) - mean) < 4 * error).all()

    def test_weak_order_is_one(self):
        # The factor against e^{−2ε dt}: order 2 in a step, hence 1 in a time.
        steps = 2.0 ** -np.arange(6, 11)
        errors = [abs(self.factor(dt) ** (1 / dt) - np.exp(-2 * self.RATE)) for dt in steps]
        assert order(steps, errors) == pytest.approx(1.0, abs=0.05)

    def test_moments_of_small_steps(self):
        # e^{−2εt} and e^{−6εt} of degrees 1 and 2, whose errors at this step are below 2e-3
        # and four standard errors are 1.5e-2.
        z = self.ending(1 / 512, 0.25)[:, 2]
        for values, rate in ((z, 2), (1.5 * z**2 - 0.5, 6)):
            error = values.std() / np.sqrt(self.COUNT)
            expected = np.exp(-rate * self.RATE * 0.25)
            assert abs(values.mean() - expected) < 4 * error + 2e-3

    def test_noise_differs_between_paths_and_steps_and_keeps_with_the_batch(self):
        problem = fixed(tokens(10), None, diffusion=0.3)
        whole = solve(problem, 0.2, [0.1, 0.2], dt=0.1, paths=3)
        part = solve(problem, 0.2, [0.1, 0.2], dt=0.1, paths=2, first_path=1)
        np.testing.assert_array_equal(whole.position[1:], part.position)
        assert not np.isclose(whole.position[0], whole.position[1]).all(axis=-1).any()

    def laplacian(self, x, w, d, h=1e-3):
        """Σ_i Δ_i E by second differences along two great circles through each token."""

        def energy(points):
            return 0.5 * np.mean([w @ np.exp(points @ one @ points.T) @ w for one in d])

        total, middle = 0.0, energy(x)
        for i, point in enumerate(x):
            frame = np.linalg.svd(point[None])[2][1:]
            for direction in frame:
                for sign in (1, -1):
                    moved = x.copy()
                    moved[i] = np.cos(h) * point + sign * np.sin(h) * direction
                    total += (energy(moved) - middle) / h**2
        return total

    def test_diffusion_part_of_the_balance(self):
        # ε Σ_i Δ_i E, which contains the term of a token with itself; second differences have
        # an error of 1e-6.
        x, w = tokens(7), np.arange(1.0, 8.0) / 28
        heads = sf.FixedHeads(matrices(2, 3, symmetric=True))
        run = solve(fixed(x, heads, weights=w, diffusion=0.2), 0.01, dt=0.01)
        expected = 0.2 * self.laplacian(x, w, heads.logits)
        got = float(run.energy_diffusion_integral[1]) / 0.01
        assert got == pytest.approx(expected, rel=1e-5)

    def test_residual_with_noise_in_tokens_and_heads(self):
        problem = sf.TransformerPDE(
            ornstein_uhlenbeck(3), sf.OctahedralClusters(), "descent", diffusion=0.3
        )
        steps = 0.25 / np.array([8, 24, 72])
        size, means = [], []
        for dt in steps:
            run = solve(problem, 0.25, [0.25], dt=dt, count=15, paths=25, store="statistics")
            size.append(root_mean_square(run.energy_residual))
            martingale = run.energy_martingale.values.ravel()
            means.append(martingale.mean() / (martingale.std() / np.sqrt(martingale.size)))
        assert 0.35 < order(steps, size) < 0.65
        assert np.abs(means).max() < 4

    def test_balance_stays_open_where_the_diffusion_part_is_not_known(self):
        heads = sf.FixedHeads(matrices(2, 3))
        run = solve(fixed(tokens(5), heads, diffusion=0.1), 0.1, dt=0.1)
        assert np.isnan(run.energy_diffusion_integral[1]) and np.isnan(run.energy_residual[1])
        assert float(run.energy_residual[0]) == 0.0


NOISY = ornstein_uhlenbeck(2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count"),
        ({"dt": 0.0}, "dt"),
        ({"dt": -1.0}, "dt"),
        ({"seed": -1}, "seed"),
        ({"paths": 0}, "paths"),
        ({"first_path": -1}, "first_path"),
        ({"stepper": "rk45"}, "stepper"),
        ({"summation": "fast"}, "summation"),
        ({"store": "all"}, "store"),
        ({"spectrum_degree": 0}, "spectrum_degree"),
        ({"threads": 0}, "threads"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        sf.Particles(**{"count": 5} | options)


@pytest.mark.parametrize(
    ("heads", "diffusion", "options", "message"),
    [
        (NOISY, 0.0, {"dt": None}, "dt must be a number with noisy heads"),
        (NOISY, 0.0, {"stepper": "heun"}, "stepper must be 'euler' with noisy heads"),
        (NOISY, 0.0, {"stepper": "rk4"}, "stepper must be 'euler' with noisy heads"),
        (None, 0.1, {"dt": None}, "dt must be a number with diffusion"),
        (None, 0.1, {"stepper": "rk4"}, "stepper must be 'euler' with diffusion"),
        (None, 0.0, {"count": None}, "count must be the number of tokens"),
    ],
)
def test_bad_combinations_are_refused(heads, diffusion, options, message):
    problem = sf.TransformerPDE(heads, sf.Uniform(), diffusion=diffusion)
    with pytest.raises(InputError, match=message):
        solve(problem, 0.1, **({"count": 5} | options))


def test_count_must_fit_given_tokens():
    problem = fixed(tokens(4), sf.FixedHeads(np.eye(3)))
    with pytest.raises(InputError, match="count must be left out or 4"):
        solve(problem, 0.1, count=5)
    assert solve(problem, 0.1, count=4, dt=0.1).sizes["token"] == 4


def test_sampled_heads_refuse_a_bad_drift_during_the_run():
    def drift(theta, t):
        return np.full_like(theta, np.inf) if t > 0.05 else -theta

    law = SampledHeads(sf.HeadProcess(drift, 1.0), 2, seed=1)
    with pytest.raises(InputError, match="not finite"):
        solve(fixed(tokens(4), law), 0.2, dt=0.1)
