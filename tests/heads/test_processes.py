"""Head processes: parametrisations, Euler–Maruyama paths and their orders, Itô's formula.

References are closed forms: the moments of the Ornstein–Uhlenbeck process and of its Euler
chain, geometric Brownian motion, solutions of the equations without noise.
"""

import numpy as np
import pytest

import sphereflow as sf
from sphereflow.errors import InputError
from sphereflow.heads import SampledHeads
from sphereflow.heads.parametrisations import coordinates_of, derivatives

TARGET = np.array([[1.0, 0.4, -0.2], [0.4, -0.6, 0.3], [-0.2, 0.3, 0.5]])
LAW = sf.OrnsteinUhlenbeck(TARGET, 0.8, 0.5, 1.5)

# Cov(D_ab, D_cd) of (Z + Zᵀ)/2 with standard normal Z: 1 on the diagonal, 1/2 off it.
ONE = np.eye(3)
SYMMETRISED = 0.5 * (np.einsum("ac,bd->abcd", ONE, ONE) + np.einsum("ad,bc->abcd", ONE, ONE))


class TestParametrisations:
    def test_symmetric_basis_gives_the_symmetrised_noise(self):
        basis = sf.Symmetric().basis
        np.testing.assert_allclose(np.einsum("aij,bij->ab", basis, basis), np.eye(6), atol=1e-15)
        covariance = np.einsum("aij,akl->ijkl", basis, basis)
        np.testing.assert_allclose(covariance, SYMMETRISED, atol=1e-15)

    def test_variances_of_drawn_matrices(self):
        # Four standard errors of variances and covariances from 40000 draws.
        count = 40_000
        theta = np.random.default_rng(1).standard_normal((count, 6))
        logits, values = sf.Symmetric()(theta)
        np.testing.assert_array_equal(logits, np.swapaxes(logits, 1, 2))
        np.testing.assert_array_equal(logits, values)
        covariance = np.einsum("nij,nkl->ijkl", logits, logits) / count
        assert np.abs(covariance - SYMMETRISED).max() < 4 * np.sqrt(2 / count)

    def test_coordinates_invert_the_map(self):
        theta = np.random.default_rng(2).standard_normal((5, 6))
        np.testing.assert_allclose(coordinates_of(sf.Symmetric()(theta)[0]), theta, atol=1e-15)

    def test_isotropic_and_diagonal(self):
        theta = np.array([[1.0, -2.0, 3.0]])
        np.testing.assert_array_equal(sf.Diagonal()(theta)[0][0], np.diag(theta[0]))
        np.testing.assert_array_equal(sf.Isotropic()(theta[:, :1])[0][0], np.eye(3))

    @pytest.mark.parametrize("map_", [sf.Isotropic(), sf.Diagonal(), sf.Symmetric()])
    def test_derivatives_of_linear_maps_are_exact(self, map_):
        theta = np.random.default_rng(3).standard_normal((4, map_.dimension))
        first, second = derivatives(map_, theta)
        assert second is None
        np.testing.assert_allclose(np.einsum("na,naij->nij", theta, first), map_(theta)[0])


class Square:
    """D = θ² I, V = θ I."""

    dimension = 1

    def __call__(self, theta):
        one = theta[:, :1, None] * np.eye(3)
        return theta[:, :1, None] * one, one


class Outer:
    """D = θθᵀ, V = D."""

    dimension = 3

    def __call__(self, theta):
        logits = theta[:, :, None] * theta[:, None, :]
        return logits, logits


class Wave:
    """D = sin(θ₁) cos(θ₂) I: neither linear nor quadratic."""

    dimension = 2

    def __call__(self, theta):
        logits = (np.sin(theta[:, 0]) * np.cos(theta[:, 1]))[:, None, None] * np.eye(3)
        return logits, logits


class TestIto:
    """What one step does to D: f·∇D + ½ gg'ᵀ:∇∇D, ∇D·g dW and the covariance of that."""

    def test_square(self):
        # dD = (2θ f + g²) dt + 2θ g dW.
        process = sf.HeadProcess(lambda theta, t: -theta, lambda theta, t: 0.5 + theta**2, Square())
        paths = process.sample(6, seed=3).paths(range(2))
        for end in (0.1, 0.15):
            theta, t = paths.theta[..., 0], paths.t
            step = paths.advance(end)
            noise = paths.theta[..., 0] - theta + (end - t) * theta
            g = 0.5 + theta**2
            expected = {
                "drift": (end - t) * (g**2 - 2 * theta**2),
                "noise": 2 * theta * noise,
                "covariance": (end - t) * (2 * theta * g) ** 2,
            }
            for name, value in expected.items():
                got = getattr(step, name)
                unit = np.eye(3)
                if name == "covariance":
                    unit = np.einsum("ij,kl->ijkl", unit, unit)
                value = value.reshape(2, 6, *[1] * unit.ndim) * unit
                # Central differences of a quadratic map: round-off over the squared step.
                np.testing.assert_allclose(got, value, atol=1e-9)

    def test_outer_product_with_correlated_noise(self):
        factor = np.array([[0.5, 0.0, 0.1], [0.2, -0.3, 0.0], [0.0, 0.4, 0.7]])
        drift = np.array([0.3, -1.0, 0.5])
        process = sf.HeadProcess(lambda theta, t: drift + 0 * theta, factor, Outer())
        paths = process.sample(4, seed=5).paths()
        theta = paths.theta[0]
        step = paths.advance(0.02)
        forced = np.einsum("i,nj->nij", drift, theta)
        gg = factor @ factor.T
        expected = 0.02 * (forced + np.swapaxes(forced, 1, 2) + gg)
        np.testing.assert_allclose(step.drift[0], expected, atol=1e-10)
        moved = paths.theta[0] - theta - 0.02 * drift
        noise = np.einsum("ni,nj->nij", moved, theta)
        np.testing.assert_allclose(step.noise[0], noise + np.swapaxes(noise, 1, 2), atol=1e-10)
        slope = np.einsum("ai,nj->naij", ONE, theta) + np.einsum("aj,ni->naij", ONE, theta)
        covariance = 0.02 * np.einsum("naij,ab,nbkl->nijkl", slope, gg, slope)
        np.testing.assert_allclose(step.covariance[0], covariance, atol=1e-10)

    def test_differences_of_a_general_map(self):
        # Central differences with step 1e-3: h²/6 and h²/3 times third and fourth derivatives.
        theta = np.random.default_rng(6).standard_normal((5, 2))
        first, second = derivatives(Wave(), theta)
        (s, c), (sv, cv) = ((np.sin(u), np.cos(u)) for u in theta.T)
        np.testing.assert_allclose(first[..., 0, 0], np.stack([c * cv, -s * sv], 1), atol=1e-6)
        hessian = np.array([[-s * cv, -c * sv], [-c * sv, -s * cv]]).transpose(2, 0, 1)
        np.testing.assert_allclose(second[..., 1, 1], hessian, atol=1e-6)
        np.testing.assert_array_equal(second[..., 0, 1], 0.0)

    def test_rates_are_those_of_a_unit_of_time(self):
        paths = LAW.sample(3, seed=1).paths()
        rates = paths.rates()
        logits = paths.nodes(0.0)[0].logits
        np.testing.assert_allclose(rates.drift[0], TARGET - logits, atol=1e-14)
        expected = 2 * LAW.sigma**2 * SYMMETRISED
        np.testing.assert_allclose(rates.covariance[0, 0], expected, atol=1e-14)
        assert not rates.noise.any()
        step = paths.advance(0.25)
        np.testing.assert_allclose(step.drift, 0.25 * rates.drift, atol=1e-15)
        np.testing.assert_allclose(step.covariance, 0.25 * rates.covariance, atol=1e-15)
        moved = paths.nodes(0.25)[0].logits - logits
        np.testing.assert_allclose(step.drift[0] + step.noise[0], moved, atol=1e-14)


def moments_within(theta, mean, variance):
    """Means and covariances of normal parameters (n, 6) within four standard errors."""
    count = len(theta)
    assert (np.abs(theta.mean(axis=0) - mean) < 4 * np.sqrt(variance / count)).all()
    covariance = np.cov(theta.T)
    assert np.abs(covariance - variance * np.eye(6)).max() < 4 * variance * np.sqrt(2 / count)


class TestOrnsteinUhlenbeckPaths:
    COUNT = 6000

    def ending(self, method, times):
        paths = LAW.sample(self.COUNT, seed=11, method=method).paths()
        for t in times:
            paths.advance(t)
        return paths

    def test_start(self):
        theta = self.ending("euler", []).theta[0]
        moments_within(theta, coordinates_of(0.5 * np.eye(3)), 1.5**2)

    def test_euler_has_the_moments_of_its_chain(self):
        # m ← m + dt (F − m), v ← (1 − dt)² v + 2σ² dt: 0.05 above those of the process in v.
        theta = self.ending("euler", 0.25 * np.arange(1, 4)).theta[0]
        mean, variance = coordinates_of(0.5 * np.eye(3)), 1.5**2
        for _ in range(3):
            mean = mean + 0.25 * (coordinates_of(TARGET) - mean)
            variance = 0.75**2 * variance + 2 * 0.8**2 * 0.25
        moments_within(theta, mean, variance)

    @pytest.mark.parametrize("times", [[1.5], [0.2, 1.5]])
    def test_exact_transition_has_no_error_in_the_step(self, times):
        theta = self.ending("exact", times).theta[0]
        decay = np.exp(-1.5)
        mean = coordinates_of(TARGET + decay * (0.5 * np.eye(3) - TARGET))
        moments_within(theta, mean, decay**2 * 1.5**2 + (1 - decay**2) * 0.8**2)

    def test_exact_transition_reports_its_own_mean_and_covariance(self):
        paths = LAW.sample(2, seed=1, method="exact").paths()
        logits = paths.nodes(0.0)[0].logits
        step = paths.advance(0.7)
        decay = np.exp(-0.7)
        np.testing.assert_allclose(step.drift[0], (1 - decay) * (TARGET - logits), atol=1e-14)
        expected = 0.8**2 * (1 - decay**2) * SYMMETRISED
        np.testing.assert_allclose(step.covariance[0, 0], expected, atol=1e-14)

    def test_weak_order_of_euler_is_one(self):
        # The chain is affine, so its moments follow from its step at 0 and at the unit vectors.
        process, t_end, errors = LAW.process, 1.0, []
        steps = 2.0 ** -np.arange(6, 10)
        for dt in steps:
            theta = np.concatenate([np.zeros((1, 6)), np.eye(6)])
            moved = theta + process.transition(theta, 0.0, dt, np.zeros_like(theta))[0]
            shift, matrix = moved[0], (moved[1:] - moved[0]).T
            noise = process.covariance(np.zeros((1, 6)), 0.0, dt)[0]
            mean, covariance = coordinates_of(0.5 * np.eye(3)), 1.5**2 * np.eye(6)
            for _ in range(round(t_end / dt)):
                mean = matrix @ mean + shift
                covariance = matrix @ covariance @ matrix.T + noise
            exact = coordinates_of(LAW.mean(t_end)), LAW.variance(t_end) * np.eye(6)
            errors.append([np.abs(mean - exact[0]).max(), np.abs(covariance - exact[1]).max()])
        slopes = np.polyfit(np.log(steps), np.log(errors), 1)[0]
        np.testing.assert_allclose(slopes, 1.0, atol=0.03)


def strong_errors(process, start, steps, fine, end, exact=None):
    """Root mean square errors at t = 1 of Euler chains along the same Brownian paths."""
    count, dimension = start.shape
    increments = np.random.default_rng(8).standard_normal((round(end / fine), count, dimension))
    increments *= np.sqrt(fine)

    def chain(step):
        theta, many = start, round(step / fine)
        for k, total in enumerate(increments.reshape(-1, many, count, dimension).sum(axis=1)):
            theta = theta + sum(process.transition(theta, k * step, step, total / np.sqrt(step)))
        return theta

    reference = chain(fine) if exact is None else exact(start, increments.sum(axis=0))
    return [np.sqrt(np.mean((chain(step) - reference) ** 2)) for step in steps]


class TestStrongOrder:
    STEPS = 2.0 ** -np.arange(3, 7)

    def slope(self, errors):
        return np.polyfit(np.log(self.STEPS), np.log(errors), 1)[0]

    def test_additive_noise_is_of_order_one(self):
        # The reference is the chain of step 2^-11, 30 times finer than the finest compared.
        start = np.random.default_rng(9).standard_normal((200, 6))
        errors = strong_errors(LAW.process, start, self.STEPS, 2.0**-11, 1.0)
        assert self.slope(errors) == pytest.approx(1.0, abs=0.1)

    def test_multiplicative_noise_is_of_order_one_half(self):
        # dθ = −θ dt + ½θ dW (Itô): θ = θ₀ exp(−(1 + ⅛) t + ½ W).
        process = sf.HeadProcess(
            lambda theta, t: -theta, lambda theta, t: 0.5 * theta, sf.Isotropic()
        )

        def exact(theta, brownian):
            return theta * np.exp(-1.125 + 0.5 * brownian)

        steps = self.STEPS / 8
        errors = strong_errors(process, np.ones((2000, 1)), steps, steps[-1], 1.0, exact)
        assert self.slope(errors) == pytest.approx(0.5, abs=0.1)

    def test_noise_depending_on_time_is_taken_at_the_start_of_the_step(self):
        process = sf.HeadProcess(
            lambda theta, t: 0 * theta, lambda theta, t: (1 + t) * np.eye(6) + 0 * theta[:, :, None]
        )
        theta, noise = np.zeros((1, 6)), np.arange(6.0)[None]
        mean, random = process.transition(theta, 2.0, 0.25, noise)
        np.testing.assert_array_equal(mean, 0.0)
        np.testing.assert_allclose(random, 3.0 * 0.5 * noise, rtol=1e-15)
        np.testing.assert_allclose(process.covariance(theta, 2.0, 0.25)[0], 9 * 0.25 * np.eye(6))


class TestNumbers:
    """A number depends on seed, path, head and step alone."""

    def theta(self, count, paths, steps=70, **options):
        options = {"seed": 4, "dt": 0.01} | options
        started = SampledHeads(LAW, count, **options).paths(paths)
        for k in range(steps):  # beyond the 64 that are drawn at a time
            started.advance((k + 1) * 0.01)
        return started.theta

    def test_first_heads_do_not_depend_on_the_count(self):
        few, many = self.theta(3, range(2)), self.theta(8, range(2))
        np.testing.assert_array_equal(few, many[:, :3])

    def test_paths_do_not_depend_on_the_range(self):
        together = self.theta(3, range(4))
        np.testing.assert_array_equal(together[2:3], self.theta(3, range(2, 3)))
        np.testing.assert_array_equal(together[1:], self.theta(3, range(1, 4)))

    def test_paths_heads_and_seeds_differ(self):
        theta = self.theta(3, range(4))
        other = self.theta(3, range(4), seed=5)
        flat = np.concatenate([theta, other]).reshape(-1, 6)
        apart = np.abs(flat[:, None] - flat).min(axis=2) + np.eye(len(flat))
        assert apart.min() > 0

    def test_initial_heads_may_be_shared(self):
        start = self.theta(3, range(4), steps=0, share_initial=True)
        np.testing.assert_array_equal(start, np.broadcast_to(start[:1], start.shape))
        np.testing.assert_array_equal(start[0], self.theta(3, range(1), steps=0)[0])
        moved = self.theta(3, range(4), steps=1, share_initial=True)
        assert len(np.unique(moved[:, 0, 0])) == 4

    def test_own_initial_law(self):
        theta = self.theta(2, range(2), steps=0, initial=sf.Point(np.arange(6.0)))
        np.testing.assert_array_equal(theta, np.broadcast_to(np.arange(6.0), (2, 2, 6)))

    def test_seed_is_drawn_and_kept(self):
        drawn = LAW.sample(2)
        again = LAW.sample(2, seed=drawn.seed)
        np.testing.assert_array_equal(drawn.nodes(0.1).logits, again.nodes(0.1).logits)


class TestNodes:
    """The law that other schemes see: path 0, linear between its steps."""

    def test_linear_between_steps(self):
        law = LAW.sample(4, seed=2, dt=0.1)
        paths = law.paths()
        for k in range(5):
            paths.advance((k + 1) * paths.law.dt)
            if k == 3:
                start = paths.nodes(0.4)[0].logits
        end = paths.nodes(0.5)[0].logits
        for t, share in ((0.4, 0.0), (0.43, 0.3), (0.5, 1.0)):
            nodes = law.nodes(t)
            np.testing.assert_allclose(nodes.logits, start + share * (end - start), atol=1e-13)
            np.testing.assert_array_equal(nodes.values, nodes.logits)
        np.testing.assert_allclose(law.nodes(0.45).logit_rates, (end - start) / 0.1, atol=1e-13)
        np.testing.assert_array_equal(law.nodes(0.1).weights, 0.25)

    def test_kinks_are_at_the_steps(self):
        law = LAW.sample(1, seed=2, dt=0.1)
        for k in range(100):
            assert law.breakpoint_after(k * 0.1) == pytest.approx((k + 1) * 0.1, rel=1e-14)
            assert law.breakpoint_after(k * 0.1 + 0.05) == pytest.approx((k + 1) * 0.1, rel=1e-14)
        assert sf.OrnsteinUhlenbeck(np.eye(3), 0.0).sample(1).breakpoint_after(0.0) == np.inf

    def test_times_may_come_in_any_order(self):
        law, other = LAW.sample(2, seed=2), LAW.sample(2, seed=2)
        late = law.nodes(0.9).logits
        np.testing.assert_array_equal(law.nodes(0.2).logits, other.nodes(0.2).logits)
        np.testing.assert_array_equal(other.nodes(0.9).logits, late)


class TestWithoutNoise:
    """A process with g = 0 is solved accurately, and has its exact rates."""

    def test_relaxation_to_the_target(self):
        law = sf.OrnsteinUhlenbeck(TARGET, 0.0, 0.5, 1.0).sample(3, seed=2)
        start = law.nodes(0.0).logits
        for t in (0.3, 7.5, 1.0, 2.5):
            nodes = law.nodes(t)
            exact = TARGET + np.exp(-t) * (start - TARGET)
            np.testing.assert_allclose(nodes.logits, exact, atol=1e-10)
            np.testing.assert_allclose(nodes.logit_rates, TARGET - exact, atol=1e-10)

    def test_double_well(self):
        # θ' = θ − θ³: θ = θ₀ eᵗ / √(1 + θ₀² (e²ᵗ − 1)), to 1e-10 of tolerances of 1e-12.
        process = sf.HeadProcess(lambda theta, t: theta - theta**3, 0.0, sf.Diagonal())
        law = process.sample(4, seed=3)
        start = np.diagonal(law.nodes(0.0).logits, axis1=1, axis2=2)
        for t in (0.5, 3.0):
            nodes = law.nodes(t)
            exact = start * np.exp(t) / np.sqrt(1 + start**2 * np.expm1(2 * t))
            got = np.diagonal(nodes.logits, axis1=1, axis2=2)
            np.testing.assert_allclose(got, exact, atol=1e-10)
            rates = np.diagonal(nodes.logit_rates, axis1=1, axis2=2)
            np.testing.assert_allclose(rates, exact - exact**3, atol=1e-9)

    def test_rates_of_a_nonlinear_map(self):
        # D = θ² I with θ' = −θ: D' = −2D.
        law = sf.HeadProcess(lambda theta, t: -theta, 0.0, Square()).sample(3, seed=4)
        nodes = law.nodes(0.4)
        np.testing.assert_allclose(nodes.logit_rates, -2 * nodes.logits, atol=1e-9)

    def test_explosion_is_an_error(self):
        # θ' = θ² from θ₀ = 1 reaches infinity at t = 1.
        process = sf.HeadProcess(lambda theta, t: theta**2, 0.0, sf.Isotropic())
        law = process.sample(1, seed=1, initial=sf.Point(1.0))
        with np.errstate(over="ignore", invalid="ignore"), pytest.raises(InputError):
            law.nodes(1.5)


def still(theta, t):
    return 0 * theta


class FourColumns:
    dimension = 2

    def __call__(self, theta):
        return np.zeros((len(theta), 3, 4)), np.zeros((len(theta), 3, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((lambda theta, t: theta[:, :3],), r"drift.*shape \(2, 6\), got shape \(2, 3\)"),
        ((lambda theta, t: 0 * theta + np.nan,), "drift.*12 values not finite"),
        ((np.eye(6),), "drift must be callable"),
        ((still, lambda theta, t: theta[:, :5]), r"diffusion.*got shape \(2, 5\)"),
        ((still, lambda theta, t: theta[0]), r"diffusion.*got shape \(6,\)"),
        ((still, lambda theta, t: np.inf + theta), "diffusion.*12 values not finite"),
        ((still, np.ones(5)), r"diffusion.*got \(5,\)"),
        ((still, np.nan), "diffusion must be finite"),
        ((still, 1.0, "symmetric"), "parametrisation must map"),
        ((still, 1.0, sf.Symmetric), "parametrisation must map"),
        ((still, 1.0, lambda theta: theta), "dimension"),
        ((still, 1.0, FourColumns()), r"\(2, 3, 4\)"),
    ],
)
def test_bad_processes_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        sf.HeadProcess(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count"),
        ({"count": -3}, "count"),
        ({"count": 2.5}, "count"),
        ({"seed": -1}, "seed"),
        ({"dt": 0.0}, "dt"),
        ({"method": "milstein"}, "method must be 'euler'"),
        ({"initial": 1.0}, "initial must be a law"),
        ({"law": np.eye(3)}, "law must be a HeadProcess"),
        ({"law": sf.HeadProcess(still), "method": "exact"}, "OrnsteinUhlenbeck, got 'exact'"),
    ],
)
def test_bad_samples_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        SampledHeads(**{"law": LAW, "count": 2, "seed": 1} | options)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: sf.Normal(0.0, -1.0), "smallest std -1"),
        (lambda: sf.Normal(np.eye(2)), "numbers or vectors"),
        (lambda: sf.Point(np.eye(2)), "number or a vector"),
        (lambda: sf.Normal([0.0, 1.0]).sample(np.random.default_rng(0), 3), "3 parameters"),
        (lambda: LAW.sample(1, seed=1).nodes(-0.1), "time must be at least 0"),
    ],
)
def test_other_bad_arguments(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_a_drift_that_fails_later_is_an_error_with_its_time():
    def drift(theta, t):
        return np.where(t > 0.05, np.nan, -theta)

    paths = sf.HeadProcess(drift, 1.0).sample(2, seed=1).paths()
    paths.advance(0.06)
    with pytest.raises(InputError, match=r"12 values not finite at t = 0\.06"):
        paths.advance(0.12)
