"""Laws of the heads are right to an estimate, or say so: closed moments and closed energies."""

import warnings

import numpy as np
import pytest

import sphereflow as sf
from sphereflow.heads.drifts import DoubleWell, Geometric, GeometricNoise, MeanReversion
from sphereflow.heads.normal_rules import normal_rule
from sphereflow.heads.regrid import cells_per_width, halved, joined

ONE_TOKEN = np.array([[0.0, 0.0, 1.0]])
DENSITY = sf.Mixture(
    [sf.VonMisesFisher([0, 0, 1], 4.0), sf.VonMisesFisher([0.8, -0.6, 0], 2.0)], [0.6, 0.4]
)
POINTS = np.random.default_rng(5).standard_normal((5, 3))
POINTS /= np.linalg.norm(POINTS, axis=1, keepdims=True)
PULSE_MEAN = 5 * (np.exp(-0.6) - np.exp(-0.9))


def reverting(theta, t):
    """Linear, but with no method that says so: carried on cells."""
    return 1.0 - theta


def pulsed(theta, t):
    return -theta + (5.0 if 3.1 < t < 3.4 else 0.0)


class PulsedLinear:
    def __call__(self, theta, t):
        return pulsed(theta, t)

    def linear(self, t, dimension):
        offset = 5.0 if 3.1 < t < 3.4 else 0.0
        return -np.eye(dimension), np.full(dimension, offset)


def law_of(drift, noise, initial=None, parametrisation=None, **options):
    process = sf.HeadProcess(drift, noise, parametrisation or sf.Isotropic())
    return sf.FokkerPlanckLaw(process, initial or sf.Normal(0.0, 1.0), **options)


def reverting_variance(t, noise, std=1.0):
    return std**2 * np.exp(-2 * t) + noise**2 / 2 * (1 - np.exp(-2 * t))


def quietly(function, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments)


class TestNarrowLaws:
    @pytest.mark.parametrize("noise", [0.3, 0.1, 0.03, 0.001, 0.0])
    @pytest.mark.parametrize("parametrisation", [sf.Isotropic(), sf.Diagonal(), sf.Symmetric()])
    def test_linear_processes_are_exact(self, noise, parametrisation):
        law = law_of(MeanReversion(1.0), noise, parametrisation=parametrisation)
        mean, covariance = law.moments(4.0)
        exact = reverting_variance(4.0, noise)
        np.testing.assert_allclose(mean, 1 - np.exp(-4), rtol=1e-10)
        np.testing.assert_allclose(covariance, exact * np.eye(len(mean)), atol=1e-10 * exact)
        assert law.error(4.0) == 0.0

    def test_field_of_a_narrow_law_of_three_parameters(self):
        # One token at e₃: E = ½ E[e^{θ₃}], b = 1/E[e^{−θ₃}].
        law = law_of(MeanReversion([1.0, 2.0, -1.0]), 0.1, parametrisation=sf.Diagonal())
        field = sf.attention_field(ONE_TOKEN, law, 4.0)
        mean, variance = -(1 - np.exp(-4)), reverting_variance(4.0, 0.1)
        assert field.energy() == pytest.approx(0.5 * np.exp(mean + variance / 2), rel=1e-9)
        mobility = field.effective_mobility(ONE_TOKEN)[0]
        assert mobility == pytest.approx(np.exp(mean - variance / 2), rel=1e-9)

    @pytest.mark.parametrize(
        ("noise", "initial"),
        [(0.1, sf.Normal(0.0, 1.0)), (0.03, sf.Normal(0.0, 1.0)), (0.3, sf.Point(0.0))],
    )
    def test_cells_follow_the_law_to_their_estimate(self, noise, initial):
        law = law_of(reverting, noise, initial)
        assert law.carrier == "grid"
        mean, covariance = quietly(law.moments, 4.0)
        std = float(np.max(initial.std))
        exact = np.sqrt(reverting_variance(4.0, noise, std))
        of_averages, of_moments = law._laws[0].error(4.0)
        assert abs(np.sqrt(covariance[0, 0]) / exact - 1) < min(of_moments, 3e-3)
        assert abs(mean[0] - 1 + np.exp(-4)) < max(2 * of_averages, 5e-5)

    def test_product_of_narrow_laws(self):
        # The parameters of a double well act apart: each is the law of one parameter.
        joint = law_of(DoubleWell(), 0.2, sf.Normal(0.5, 0.3), sf.Diagonal())
        alone = law_of(DoubleWell(), 0.2, sf.Normal(0.5, 0.3))
        assert joint.carrier == "product"
        mean, covariance = joint.moments(2.0)
        expected = alone.moments(2.0)
        np.testing.assert_allclose(mean, expected[0][0], rtol=1e-12)
        np.testing.assert_allclose(np.diag(covariance), expected[1][0, 0], rtol=1e-12)

    def test_state_dependent_noise_within_the_estimate(self):
        law = law_of(Geometric(-1.0), GeometricNoise(0.3), sf.Normal(2.0, 0.1))
        mean, covariance = law.moments(3.0)
        second = 4.01 * np.exp((-2 + 0.09) * 3)
        error = law._laws[0].error(3.0)[1]
        assert mean[0] == pytest.approx(2 * np.exp(-3.0), rel=1e-5)
        std = np.sqrt(covariance[0, 0] / (second - 4 * np.exp(-6.0)))
        assert abs(std - 1) < error < 5e-3

    def test_a_law_that_widens_a_millionfold(self):
        law = law_of(Geometric(0.0), lambda theta, t: 1.0 + 0 * theta, sf.Normal(0.0, 1e-5))
        assert law.moments(1.0)[1][0, 0] == pytest.approx(1.0 + 1e-10, rel=2e-6)

    def test_coarse_cells_are_announced(self):
        # 48 cells over 16 standard deviations of the start, as wide as ten of the law.
        law = law_of(
            MeanReversion([1.0, 2.0, -1.0]), 0.1, None, sf.Diagonal(), cells=48, method="grid"
        )
        with pytest.warns(UserWarning, match="may be off"):
            law.moments(4.0)
        with pytest.warns(UserWarning, match="averages over the law"):
            sf.attention_field(ONE_TOKEN, law, 4.0).energy()
        nodes = law.nodes(4.0)  # narrower than a cell: still a rule of mass 1
        assert nodes.weights.size == 6**3
        assert nodes.weights.sum() == pytest.approx(1.0, abs=1e-12)

    def test_parameters_that_begin_to_act_on_each_other(self):
        def drift(theta, t):
            return -theta + (theta[:, ::-1] if t > 3.7 else 0.0)

        law = law_of(drift, 0.5, parametrisation=sf.Diagonal())
        assert law.carrier == "product"
        with pytest.raises(sf.errors.ResolutionError, match="act on each other"):
            law.moments(4.0)


class TestCells:
    X = np.linspace(-9, 9, 401)[1:]

    def masses(self):
        values = np.exp(-0.5 * self.X**2)
        return values / values.sum()

    def test_width_of_a_normal_law(self):
        # max|Θ″| = Θ(0)/s², but for (h/s)²/4 of it.
        h = self.X[1] - self.X[0]
        assert cells_per_width(self.masses(), 0) == pytest.approx(1 / h, rel=3e-4)

    def test_halved_cells_keep_the_moments(self):
        h = self.X[1] - self.X[0]
        fine = halved(self.masses(), 0)
        x = np.repeat(self.X, 2) + np.tile([-h / 4, h / 4], len(self.X))
        assert fine.sum() == pytest.approx(1.0, abs=1e-14)
        assert fine @ x == pytest.approx(0.0, abs=1e-13)
        assert fine @ x**2 == pytest.approx(1.0, abs=1e-12)
        exact = np.exp(-0.5 * x**2)
        np.testing.assert_allclose(fine, exact / exact.sum(), atol=1e-12)

    @pytest.mark.parametrize("first", [-7, -6, 0, 5])
    def test_joined_cells_keep_mass_and_place(self, first):
        masses = np.random.default_rng(0).random(9)
        pairs, number = joined(masses, 0, first)
        assert pairs.sum() == pytest.approx(masses.sum(), rel=1e-14)
        assert 2 * number in (first, first - 1)
        middle = (first + np.arange(9)) // 2 - number
        np.testing.assert_allclose(pairs, np.bincount(middle, masses, len(pairs)))


class TestDensities:
    def test_normal_law(self):
        law = law_of(MeanReversion(1.0), 0.5)
        density = law.density(1.0)
        mean, variance = 1 - np.exp(-1), reverting_variance(1.0, 0.5)
        exact = np.exp(-0.5 * (density.theta - mean) ** 2 / variance)
        np.testing.assert_allclose(density, exact / np.sqrt(2 * np.pi * variance), rtol=1e-9)

    def test_a_point_has_none(self):
        with pytest.raises(sf.errors.InputError, match="spread"):
            law_of(MeanReversion(1.0), 0.5, sf.Point(0.0)).density(0.0)

    @pytest.mark.parametrize("drift", [MeanReversion(0.0), DoubleWell(), reverting])
    @pytest.mark.parametrize("parametrisation", [sf.Isotropic(), sf.Diagonal()])
    def test_datasets_of_laws_that_narrow_keep_the_mass(self, drift, parametrisation):
        dataset = law_of(drift, 0.3, None, parametrisation).to_dataset([0.0, 2.0])
        volume = 1.0
        for name in dataset.head_density.dims[1:]:
            volume *= float(dataset[name][1] - dataset[name][0])
        mass = dataset.head_density.sum(dataset.head_density.dims[1:]) * volume
        np.testing.assert_allclose(mass, 1.0, atol=1e-9)


class TestPulses:
    """A drift of 5 from t = 3.1 to 3.4 moves the mean at t = 4 by 5 (e^{−0.6} − e^{−0.9})."""

    @pytest.mark.parametrize("parametrisation", [sf.Isotropic(), sf.Diagonal()])
    @pytest.mark.parametrize("drift", [pulsed, PulsedLinear()])
    def test_drift(self, drift, parametrisation):
        law = law_of(drift, 0.5, sf.Normal(0.0, 0.3), parametrisation)
        np.testing.assert_allclose(law.moments(4.0)[0], PULSE_MEAN, atol=3e-5)

    def test_noise(self):
        law = law_of(
            MeanReversion(0.0),
            lambda theta, t: np.full_like(theta, 2.0 if 3.1 < t < 3.4 else 0.5),
            sf.Normal(0.0, 0.3),
        )
        exact = reverting_variance(4.0, 0.5, 0.3) + 3.75 / 2 * (np.exp(-1.2) - np.exp(-1.8))
        assert law.moments(4.0)[1][0, 0] == pytest.approx(exact, rel=3e-5)

    def test_heads_without_noise(self):
        heads = sf.HeadProcess(pulsed, 0.0, sf.Isotropic()).sample(1, 1, initial=sf.Point(0.0))
        assert heads.nodes(4.0).logits[0, 0, 0] == pytest.approx(PULSE_MEAN, abs=1e-9)

    @pytest.mark.parametrize("linear", [True, False])
    def test_max_step_finds_what_sampling_cannot(self, linear):
        # 3 ms at a height of 500, between the times that are looked at in long steps.
        class Short(PulsedLinear):
            def __call__(self, theta, t):
                return -theta + (500.0 if 3.1 < t < 3.103 else 0.0)

            def linear(self, t, dimension):
                return -np.eye(dimension), np.full(dimension, 500.0 * (3.1 < t < 3.103))

        drift = Short()
        law = law_of(
            drift if linear else drift.__call__, 0.5, sf.Normal(0.0, 0.3), cells=None, max_step=0.02
        )
        exact = 500 * (np.exp(-0.897) - np.exp(-0.9))
        assert law.moments(4.0)[0][0] == pytest.approx(exact, rel=1e-4)

    def test_max_step_in_a_configuration(self):
        law = law_of(MeanReversion(), 0.5, max_step=0.02)
        assert law.to_config()["max_step"] == 0.02
        with pytest.raises(sf.errors.InputError, match="max_step"):
            law_of(MeanReversion(), 0.5, max_step=0.0)


class TestWideLaws:
    """One token under Gaussian heads: E = e^{v/2}/2, b = e^{−v/2}, v the variance of ⟨x, Dx⟩."""

    @pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0, 5.0])
    def test_ornstein_uhlenbeck(self, sigma):
        law = sf.OrnsteinUhlenbeck(np.zeros((3, 3)), sigma, initial_std=sigma)
        field = sf.attention_field(ONE_TOKEN, law)
        assert field.energy() == pytest.approx(0.5 * np.exp(sigma**2 / 2), rel=1e-6)
        mobility = field.effective_mobility(ONE_TOKEN)[0]
        assert mobility == pytest.approx(np.exp(-(sigma**2) / 2), rel=1e-6)

    @pytest.mark.parametrize("scale", [1.0, 4.0])
    def test_any_covariance(self, scale):
        root = scale * np.random.default_rng(3).standard_normal((9, 9)) / 3
        law = sf.GaussianHeads(np.zeros((3, 3)), root @ root.T)
        field = sf.attention_field(ONE_TOKEN, law)
        variance = (root @ root.T)[8, 8]
        assert field.energy() == pytest.approx(0.5 * np.exp(variance / 2), rel=1e-6)

    @pytest.mark.parametrize("parametrisation", [sf.Isotropic(), sf.Diagonal(), sf.Symmetric()])
    def test_fokker_planck_law(self, parametrisation):
        law = law_of(MeanReversion(), 4.0, sf.Normal(0.0, 4.0), parametrisation)
        field = sf.attention_field(ONE_TOKEN, law, 0.7)
        variance = reverting_variance(0.7, 4.0, 4.0)
        assert field.energy() == pytest.approx(0.5 * np.exp(variance / 2), rel=2e-6)

    def test_mixture(self):
        law = law_of(MeanReversion(), 2.0, sf.NormalMixture([-1.0, 2.0], [3.0, 0.5], [0.3, 0.7]))
        energy = sf.attention_field(ONE_TOKEN, law).energy()
        exact = 0.15 * np.exp(-1 + 4.5) + 0.35 * np.exp(2 + 0.125)
        assert energy == pytest.approx(exact, rel=1e-6)

    @pytest.mark.parametrize("nodes", [4, 8])
    def test_nodes_that_are_given_are_judged(self, nodes):
        law = sf.OrnsteinUhlenbeck(np.zeros((3, 3)), 5.0, initial_std=5.0, quadrature=nodes)
        with pytest.warns(UserWarning, match="raise quadrature"):
            sf.attention_field(ONE_TOKEN, law).energy()

    def test_velocity_to_a_millionth(self):
        law = {n: sf.OrnsteinUhlenbeck(np.eye(3), 1.0, 0.5, 1.0, n) for n in (None, 18)}
        found = {n: sf.attention_field(DENSITY, one) for n, one in law.items()}
        exact = found[18].velocity(POINTS)
        size = np.linalg.norm(exact, axis=1).max()
        assert np.abs(found[None].velocity(POINTS) - exact).max() < 1e-6 * size
        mobility = found[18].effective_mobility(POINTS)
        np.testing.assert_allclose(found[None].effective_mobility(POINTS), mobility, rtol=1e-6)


class TestPointStarts:
    def test_gaussian_heads(self):
        # Var⟨x,Dx⟩ = 0.2 t, so ∂_tE = ½ · ½ · 0.2 · e for one token at t = 0.
        law = sf.GaussianHeads(lambda t: np.eye(3), lambda t: 0.2 * t * np.eye(9))
        field = sf.attention_field(ONE_TOKEN, law, 0.0)
        assert field.energy() == pytest.approx(0.5 * np.e, rel=1e-8)
        assert field.energy_rate() == pytest.approx(0.05 * np.e, rel=1e-7)

    def test_functions_are_not_asked_before_the_start(self):
        def covariance(t):
            assert t >= 0
            return 0.2 * np.sqrt(t + 1) * np.eye(9)

        law = sf.GaussianHeads(lambda t: np.eye(3), covariance)
        rate = sf.attention_field(ONE_TOKEN, law, 0.0).energy_rate()
        assert rate == pytest.approx(0.025 * np.exp(1.1), rel=1e-8)

    @pytest.mark.parametrize("t", [0.0, 1.0])
    def test_ornstein_uhlenbeck_without_spread_is_one_head(self, t):
        law = sf.OrnsteinUhlenbeck(np.eye(3), 0.0, initial_mean=0.3, initial_std=0.0)
        one = sf.FixedHeads((1 - 0.7 * np.exp(-t)) * np.eye(3))
        ours, theirs = (sf.attention_field(DENSITY, heads, t) for heads in (law, one))
        np.testing.assert_allclose(ours.velocity(POINTS), theirs.velocity(POINTS), atol=1e-12)
        assert ours.energy() == pytest.approx(theirs.energy(), rel=1e-12)

    @pytest.mark.parametrize("drift", [MeanReversion(1.0), reverting])
    def test_rate_of_the_energy_at_a_point(self, drift):
        # dE/dt of one token: ½ e^{m} (m' + g²/2).
        law = law_of(drift, 0.4, sf.Point(0.2))
        rate = sf.attention_field(ONE_TOKEN, law, 0.0).energy_rate()
        assert rate == pytest.approx(0.5 * np.exp(0.2) * (0.8 + 0.08), rel=2e-4)


def test_normal_rule_rates_are_those_of_the_averages():
    # E[e^{a·θ}] = e^{a·m + ½ aᵀCa}, whose rate is known.
    rng = np.random.default_rng(1)
    mean, mean_rate = rng.standard_normal((2, 2))
    root, rate = 0.5 * rng.standard_normal((2, 2, 2))
    covariance, covariance_rate = root @ root.T, rate + rate.T
    nodes, weights, rates = normal_rule(mean, covariance, mean_rate, covariance_rate, [14, 14])
    a = np.array([0.4, -0.9])
    average = np.exp(a @ mean + 0.5 * a @ covariance @ a)
    assert weights @ np.exp(nodes @ a) == pytest.approx(average, rel=1e-12)
    expected = average * (a @ mean_rate + 0.5 * a @ covariance_rate @ a)
    assert rates @ np.exp(nodes @ a) == pytest.approx(expected, rel=1e-10)


class TestRuns:
    @staticmethod
    def solved(law, **options):
        problem = sf.TransformerPDE(law, sf.VonMisesFisher([0, 0, 1], 3.0))
        options = {"scheme": sf.Spectral(31), "save_at": [0, 1.0], **options}
        return sf.solve(problem, t_end=1.0, **options)

    def test_a_narrow_domain_shows(self):
        law = law_of(lambda theta, t: -theta, 1.0, sf.Normal(0, 0.3), domain=[-1, 1])
        with pytest.warns(UserWarning, match="domain"):
            run = self.solved(law)
        assert float(run.head_boundary_density[-1]) > 0.1
        assert "widen the domain" in run.attrs["status_reason"]

    def test_a_wide_domain_does_not(self):
        law = law_of(lambda theta, t: -theta, 1.0, sf.Normal(0, 0.3), domain=[-9, 9])
        run = quietly(self.solved, law)
        assert float(run.head_boundary_density[-1]) < 1e-12
        assert "domain" not in run.attrs["status_reason"]

    @pytest.mark.parametrize(
        "scheme",
        [sf.Spectral(31), sf.FiniteVolume(3), sf.Characteristics(), sf.Particles(50, seed=1)],
    )
    def test_few_nodes_are_announced(self, scheme):
        law = sf.OrnsteinUhlenbeck(np.diag([2.0, 0, 0]), 1.0, quadrature=3)
        with pytest.warns(UserWarning, match="raise quadrature"):
            run = self.solved(law, scheme=scheme)
        assert 1e-3 < float(run.head_law_error.max()) < 1.0
        assert "head_law_error" in run.attrs["status_reason"]

    def test_the_estimate_bounds_the_error(self):
        runs = {
            n: quietly(self.solved, sf.OrnsteinUhlenbeck(np.diag([2.0, 0, 0]), 1.0, 0.0, 0.5, n))
            for n in (3, 10)
        }
        error = float(runs[3].head_law_error.max())
        for name in ("energy", "effective_mobility"):
            off = np.abs(runs[3][name] / runs[10][name] - 1).max()
            assert 1e-6 < off < error

    def test_an_exact_law_is_not_warned_about(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run = self.solved(law_of(MeanReversion(1.0), 0.3, sf.Normal(0.2, 0.3)))
        assert float(run.head_law_error.max()) < 1e-9
        assert run.attrs["status_reason"] == "reached t_end = 1"

    def test_finite_heads_have_no_such_error(self):
        assert "head_law_error" not in self.solved(sf.FixedHeads(np.eye(3)))
