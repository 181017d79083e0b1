"""Laws of the heads: closed forms against ODE solvers, interpolation, arguments."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import sphereflow as sf
from sphereflow.errors import InputError


def symmetric(count, seed=0):
    z = np.random.default_rng(seed).standard_normal((count, 3, 3))
    return z + np.swapaxes(z, 1, 2)


def paper_target(t, phi):
    """F(t) of Section 6, written out."""
    return np.array(
        [
            [2 + 1.5 * np.cos(t + phi), np.sin(2 * t + phi), np.sin(t + phi)],
            [np.sin(2 * t + phi), 2 + 1.5 * np.sin(t + phi), np.cos(2 * t + phi)],
            [np.sin(t + phi), np.cos(2 * t + phi), 2 + 1.5 * np.cos(t + np.pi / 4 + phi)],
        ]
    )


@pytest.mark.parametrize("phase", ["spread", "common"])
@pytest.mark.parametrize("count", [1, 3])
class TestOscillatingHeads:
    def phases(self, phase, count):
        return [2 * np.pi * h / count if phase == "spread" else 0.0 for h in range(count)]

    def test_closed_form_solves_the_equation(self, phase, count):
        initial = symmetric(count)
        phases = self.phases(phase, count)

        def rate(t, d):
            target = np.stack([paper_target(t, phi) for phi in phases])
            return (target - d.reshape(-1, 3, 3)).ravel()

        times = [0.0, 0.3, 2.0, 7.5]
        solution = solve_ivp(
            rate, (0, 7.5), initial.ravel(), "DOP853", times, rtol=1e-12, atol=1e-12
        )
        heads = sf.OscillatingHeads(initial, phase=phase)
        for t, expected in zip(times, solution.y.T):
            nodes = heads.nodes(t)
            np.testing.assert_allclose(nodes.logits.ravel(), expected, atol=1e-10)
            assert nodes.values is nodes.logits
            assert nodes.symmetric
            np.testing.assert_allclose(nodes.weights, 1 / count)

    def test_targets_are_those_of_the_paper(self, phase, count):
        heads = sf.OscillatingHeads(symmetric(count), phase=phase)
        for t in (0.0, 1.7):
            expected = [paper_target(t, phi) for phi in self.phases(phase, count)]
            np.testing.assert_allclose(heads.targets(t), expected, atol=1e-15)

    def test_rates_against_differences(self, phase, count):
        heads = sf.OscillatingHeads(symmetric(count), phase=phase)
        h = 1e-4  # the error of the difference is h²/6 · |D'''| ~ 1e-8
        for t in (0.5, 4.0):
            difference = (heads.nodes(t + h).logits - heads.nodes(t - h).logits) / (2 * h)
            np.testing.assert_allclose(heads.nodes(t).logit_rates, difference, atol=1e-7)


def test_spread_phases_cancel_in_the_mean():
    # With φ_h = 2π(h−1)/H the waves of H ≥ 2 heads sum to zero: the mean target is 2 I.
    heads = sf.OscillatingHeads(symmetric(5), phase="spread")
    np.testing.assert_allclose(heads.targets(1.3).mean(axis=0), 2 * np.eye(3), atol=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sf.OscillatingHeads(np.arange(9.0).reshape(1, 3, 3)), "symmetric"),
        (lambda: sf.OscillatingHeads(np.eye(3), phase="random"), "phase"),
        (lambda: sf.OscillatingHeads(np.zeros((0, 3, 3))), "shape"),
    ],
)
def test_oscillating_errors(make, message):
    with pytest.raises(InputError, match=message):
        make()


class TestTabulatedHeads:
    times = np.array([0.0, 0.5, 1.2, 2.0, 3.0])

    @staticmethod
    def cubic(t):
        t = np.asarray(t)[..., None, None, None]
        slope = np.arange(18.0).reshape(2, 3, 3)
        return 1 - slope * t + 0.3 * t**2 - 0.1 * slope * t**3

    def test_cubic_spline_reproduces_cubics(self):
        heads = sf.TabulatedHeads(self.times, self.cubic(self.times))
        h = 1e-5
        for t in (0.0, 0.2, 1.9, 3.0):
            np.testing.assert_allclose(heads.nodes(t).logits, self.cubic(t), atol=1e-12)
            rate = (self.cubic(t + h) - self.cubic(t - h)) / (2 * h)
            np.testing.assert_allclose(heads.nodes(t).logit_rates, rate, atol=1e-8)
        assert heads.breakpoint_after(1.0) == np.inf
        assert heads.time_range == (0.0, 3.0)

    @pytest.mark.parametrize(("interpolation", "count"), [("linear", 5), ("cubic", 2)])
    def test_linear(self, interpolation, count):
        # Two times leave only a line, also under "cubic".
        times = self.times[:count]
        table = symmetric(count * 2).reshape(count, 2, 3, 3)
        heads = sf.TabulatedHeads(times, table, interpolation=interpolation)
        nodes = heads.nodes(0.2)
        np.testing.assert_allclose(nodes.logits, 0.6 * table[0] + 0.4 * table[1], atol=1e-14)
        np.testing.assert_allclose(nodes.logit_rates, (table[1] - table[0]) / 0.5, atol=1e-13)
        for t, expected in zip(times, table):
            np.testing.assert_allclose(heads.nodes(t).logits, expected, atol=1e-14)
        if interpolation == "linear":
            assert [heads.breakpoint_after(t) for t in times[:-1]] == list(times[1:])
        assert heads.breakpoint_after(times[-1]) == np.inf

    def test_values_and_weights_of_their_own(self):
        table = self.cubic(self.times)
        heads = sf.TabulatedHeads(self.times, table, values=2 * table, weights=[3, 1])
        nodes = heads.nodes(0.7)
        np.testing.assert_allclose(nodes.values, 2 * nodes.logits, atol=1e-12)
        np.testing.assert_allclose(nodes.weights, [0.75, 0.25])

    @pytest.mark.parametrize("t", [-0.01, 3.01, np.nan])
    def test_time_outside_the_table(self, t):
        heads = sf.TabulatedHeads(self.times, self.cubic(self.times))
        with pytest.raises(InputError, match="between 0 and 3"):
            heads.nodes(t)

    def test_round_off_beyond_the_end_is_allowed(self):
        heads = sf.TabulatedHeads(self.times, self.cubic(self.times))
        end = heads.nodes(3.0).logits
        assert np.array_equal(heads.nodes(np.nextafter(3.0, 4.0)).logits, end)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"times": [0.0, 0.5, 0.5, 2.0, 3.0]}, "increasing"),
            ({"times": [1.0]}, "at least 2"),
            ({"logits": np.zeros((4, 2, 3, 3))}, "logits must have shape"),
            ({"logits": np.zeros((5, 3, 3))}, "logits must have shape"),
            ({"logits": np.full((5, 2, 3, 3), np.nan)}, "finite"),
            ({"values": np.zeros((5, 1, 3, 3))}, "values must have the shape"),
            ({"weights": [1.0]}, "weights must be 2 numbers"),
            ({"interpolation": "quintic"}, "interpolation"),
        ],
    )
    def test_errors(self, change, message):
        arguments = {"times": self.times, "logits": self.cubic(self.times), **change}
        with pytest.raises(InputError, match=message):
            sf.TabulatedHeads(**arguments)


class TestFixedHeads:
    def test_defaults(self):
        nodes = sf.FixedHeads(np.eye(3)).nodes(3.0)
        assert nodes.logits.shape == (1, 3, 3)
        assert np.array_equal(nodes.values, nodes.logits)
        assert nodes.weights.tolist() == [1.0]
        assert nodes.logit_rates is None

    def test_weights_are_normalised(self):
        nodes = sf.FixedHeads(symmetric(3), weights=[1, 0, 3]).nodes(0.0)
        assert nodes.weights.tolist() == [0.25, 0.0, 0.75]

    def test_heads_are_a_copy(self):
        matrix = np.eye(3)
        heads = sf.FixedHeads(matrix)
        matrix[0, 0] = 7.0
        assert heads.logits[0, 0, 0] == 1.0
        with pytest.raises(ValueError, match="read-only"):
            heads.logits[0, 0, 0] = 7.0

    def test_kinds_are_recognised(self):
        assert not sf.FixedHeads(np.arange(9.0).reshape(3, 3)).nodes(0).symmetric
        assert sf.FixedHeads(symmetric(2)).nodes(0).isotropic is None
        heads = sf.FixedHeads([2 * np.eye(3), -np.eye(3)]).nodes(0)
        assert heads.symmetric
        assert heads.isotropic.tolist() == [2.0, -1.0]

    def test_arguments_are_the_transpose_times_x(self):
        d = np.random.default_rng(0).standard_normal((2, 3, 3))
        x = np.random.default_rng(1).standard_normal((3, 5))
        z = sf.FixedHeads(d).nodes(0).arguments(x, slice(0, 2))
        np.testing.assert_allclose(z, np.stack([d[0].T @ x, d[1].T @ x], axis=1), atol=1e-15)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"logits": np.zeros((2, 3))}, r"logits must have shape \(H, 3, 3\)"),
            ({"logits": np.zeros((0, 3, 3))}, "H at least 1"),
            ({"logits": np.full((2, 3, 3), np.inf)}, r"finite .* got inf at index \(0, 0, 0\)"),
            ({"logits": [["a"]]}, "real numbers"),
            ({"values": np.eye(3)}, "values must be 2 matrices"),
            ({"weights": [1.0]}, "weights must be 2 numbers"),
            ({"weights": [1.0, -1.0]}, "weights"),
            ({"weights": [0.0, 0.0]}, "positive sum"),
            ({"weights": [np.nan, 1.0]}, "finite"),
        ],
    )
    def test_errors(self, change, message):
        with pytest.raises(InputError, match=message):
            sf.FixedHeads(**{"logits": symmetric(2), **change})


class TestOrnsteinUhlenbeck:
    target = np.array([[1.0, 0.3, 0.0], [0.3, -0.5, 0.2], [0.0, 0.2, 2.0]])
    start = np.diag([2.0, 0.0, -1.0])

    def law(self):
        return sf.OrnsteinUhlenbeck(self.target, 0.7, self.start, 1.5)

    def test_moments_solve_their_equations(self):
        # dM/dt = F − M; dv/dt = 2(σ² − v) for the diagonal entries, whose noise is √2 σ dB.
        def rate(t, y):
            return np.append(self.target.ravel() - y[:9], 2 * (0.7**2 - y[9]))

        times = [0.0, 0.4, 3.0]
        start = np.append(self.start.ravel(), 1.5**2)
        solution = solve_ivp(rate, (0, 3), start, "DOP853", times, rtol=1e-12, atol=1e-12)
        for t, expected in zip(times, solution.y.T):
            np.testing.assert_allclose(self.law().mean(t).ravel(), expected[:9], atol=1e-10)
            assert self.law().variance(t) == pytest.approx(expected[9], abs=1e-10)

    def test_entries_are_those_of_the_symmetrised_noise(self):
        # (Z + Zᵀ)/2 with Z of independent entries of variance v: Z = Σ Z_ij E_ij.
        basis = np.eye(9).reshape(9, 3, 3)
        noise = ((basis + np.swapaxes(basis, 1, 2)) / 2).reshape(9, 9).T
        t = 0.4
        expected = self.law().variance(t) * noise @ noise.T
        nodes = self.law().nodes(t)
        for block in nodes.covariance:
            np.testing.assert_allclose(block.reshape(9, 9), expected, atol=1e-14)
        assert expected[1, 1] == pytest.approx(self.law().variance(t) / 2)
        for mean in nodes.mean:
            np.testing.assert_allclose(mean, self.law().mean(t))

    def test_stationary_law_after_a_long_time(self):
        np.testing.assert_allclose(self.law().mean(60.0), self.target, atol=1e-15)
        assert self.law().variance(60.0) == pytest.approx(0.49, rel=1e-14)

    def test_a_number_stands_for_a_multiple_of_the_identity(self):
        law = sf.OrnsteinUhlenbeck(2.0, 1.0, initial_mean=3.0)
        np.testing.assert_array_equal(law.mean(0.0), 3 * np.eye(3))
        np.testing.assert_allclose(law.mean(60.0), 2 * np.eye(3))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"target": np.arange(9.0).reshape(3, 3)}, "target must be a symmetric"),
            ({"target": np.eye(2)}, "target"),
            ({"initial_mean": [1.0, 2.0]}, "initial_mean"),
            ({"sigma": -1.0}, "sigma"),
            ({"initial_std": np.nan}, "initial_std"),
            ({"quadrature": 0}, "quadrature"),
            ({"quadrature": 2.5}, "quadrature"),
            ({"quadrature": 65}, "quadrature"),
        ],
    )
    def test_errors(self, change, message):
        with pytest.raises(InputError, match=message):
            sf.OrnsteinUhlenbeck(**{"target": np.eye(3), "sigma": 1.0, **change})


def test_a_number_stands_for_that_multiple_of_the_identity():
    one = sf.FixedHeads(4.0)
    assert np.array_equal(one.logits, [4 * np.eye(3)]) and one.values is one.logits
    many = sf.FixedHeads([np.eye(3), 2 * np.eye(3)], -1.0)
    assert np.array_equal(many.values, [-np.eye(3), -np.eye(3)])
    with pytest.raises(InputError, match="logits must have shape"):
        sf.FixedHeads([4.0, 1.0])
    with pytest.raises(InputError, match="logits must be finite"):
        sf.FixedHeads(np.inf)
