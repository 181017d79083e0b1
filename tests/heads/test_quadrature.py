"""Gauss rules of discrete measures: classical rules, exactness, and nested rules on grids."""

import numpy as np
import pytest

from sphereflow.heads.quadrature import gauss_rule, nested_rule


def uneven_measure(size=40, seed=0):
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(-1.5, 2.5, size)), rng.uniform(0.0, 1.0, size) ** 3


def grid_measure(covariance, mean, cells, reach=7.0):
    """Axes and normal masses at cell centres; 7 standard deviations leave 1e-11 of the mass."""
    axes = []
    for m, s in zip(mean, np.sqrt(np.diag(covariance))):
        h = 2 * reach * s / cells
        axes.append(m - reach * s + h * (np.arange(cells) + 0.5))
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) - mean
    exponents = np.einsum("...a,ab,...b->...", points, np.linalg.inv(covariance), points)
    masses = np.exp(-0.5 * exponents)
    return axes, masses / masses.sum()


class TestGaussRule:
    @pytest.mark.parametrize("count", [1, 2, 5, 16])
    def test_normal_density_gives_gauss_hermite(self, count):
        # The trapezoidal rule of a Gaussian times a polynomial is exact to round-off.
        x = np.linspace(-14, 14, 2801)
        masses = np.exp(-0.5 * x**2)
        rule = gauss_rule(3.0 + 0.5 * x, masses / masses.sum(), count)
        nodes, weights = np.polynomial.hermite_e.hermegauss(count)
        np.testing.assert_allclose(rule.nodes, 3.0 + 0.5 * nodes, atol=1e-12)
        np.testing.assert_allclose(rule.weights, weights / np.sqrt(2 * np.pi), atol=1e-13)

    @pytest.mark.parametrize("count", [2, 5, 16])
    def test_fine_legendre_measure_gives_gauss_legendre(self, count):
        # 64 Legendre points integrate to degree 127, so they are the uniform density to 31.
        x, w = np.polynomial.legendre.leggauss(64)
        rule = gauss_rule(x, w, count)
        nodes, weights = np.polynomial.legendre.leggauss(count)
        np.testing.assert_allclose(rule.nodes, nodes, atol=1e-13)
        np.testing.assert_allclose(rule.weights, weights, atol=1e-13)

    @pytest.mark.parametrize("count", [1, 2, 7, 20])
    def test_exact_to_degree_2n_minus_1(self, count):
        x, w = uneven_measure()
        rule = gauss_rule(x, w, count)
        u, v = (x - 0.5) / 2.0, (rule.nodes - 0.5) / 2.0  # to [-1, 1], for Chebyshev polynomials
        for degree in range(2 * count):
            chebyshev = np.polynomial.Chebyshev.basis(degree)
            assert rule.weights @ chebyshev(v) == pytest.approx(w @ chebyshev(u), abs=1e-12)
        # And not beyond: the square of the node polynomial, of degree 2n, vanishes at the nodes.
        beyond = np.prod(x[:, None] - rule.nodes, axis=1) ** 2
        assert w @ beyond > 1e-12
        assert (rule.weights > 0).all() and len(rule.nodes) == count
        assert x[0] < rule.nodes.min() and rule.nodes.max() < x[-1]

    def test_fewer_points_than_nodes_gives_the_points(self):
        x, w = uneven_measure(6)
        rule = gauss_rule(x, w, 16)
        np.testing.assert_allclose(rule.nodes, x, atol=1e-13)
        np.testing.assert_allclose(rule.weights, w, atol=1e-13)

    def test_points_without_mass_do_not_count(self):
        x, w = uneven_measure(12)
        w[3:9] = 0.0
        rule = gauss_rule(x, w, 16)
        np.testing.assert_allclose(rule.nodes, x[w > 0], atol=1e-13)
        rates = np.arange(12.0)  # the rates of cells without mass cannot be carried by the nodes
        np.testing.assert_allclose(rule.rates(rates), rates[w > 0], atol=1e-11)

    def test_one_point(self):
        rule = gauss_rule(np.array([0.0, 0.7, 2.0]), np.array([0.0, 2.0, 0.0]), 8)
        np.testing.assert_allclose(rule.nodes, [0.7], atol=1e-15)
        np.testing.assert_allclose(rule.weights, [2.0])
        np.testing.assert_allclose(rule.rates(np.array([0.0, 0.3, 0.0])), [0.3], atol=1e-15)

    @pytest.mark.parametrize("count", [1, 4, 11])
    def test_rates_exact_to_degree_n_minus_1(self, count):
        x, w = uneven_measure()
        change = np.random.default_rng(1).standard_normal(len(x))
        rule = gauss_rule(x, w, count)
        rates = rule.rates(change)
        for degree in range(count):
            chebyshev = np.polynomial.Chebyshev.basis(degree)
            found = rates @ chebyshev((rule.nodes - 0.5) / 2)
            assert found == pytest.approx(change @ chebyshev((x - 0.5) / 2), abs=1e-11)

    def test_round_off_with_64_nodes(self):
        # Lanczos without reorthogonalisation repeats nodes here.
        x = np.linspace(-1, 1, 4001)
        w = np.full(4001, 1 / 4001)
        rule = gauss_rule(x, w, 64)
        assert np.diff(rule.nodes).min() > 1e-4
        exact = w @ np.cos(40 * x)
        assert rule.weights @ np.cos(40 * rule.nodes) == pytest.approx(exact, abs=1e-13)


class TestNestedRule:
    MEAN = np.array([0.5, -1.0])
    COVARIANCE = np.array([[1.0, 0.5], [0.5, 0.8]])
    SLOPE = np.array([0.9, -1.2])

    def test_errors_in_a_correlated_normal_law_fall_fast(self):
        axes, masses = grid_measure(self.COVARIANCE, self.MEAN, 240)
        a = self.SLOPE
        exact = np.exp(a @ self.MEAN + 0.5 * a @ self.COVARIANCE @ a)
        errors = []
        for count in (1, 2, 4, 8):
            nodes, weights = nested_rule(axes, masses, count)
            assert nodes.shape == (count**2, 2) and weights.shape == (count**2,)
            errors.append(abs(weights @ np.exp(nodes @ a) / exact - 1))
        # Gauss–Hermite of e^{as} has the error (as)^{2n} n!/(2n)! relative to e^{(as)²/2}.
        assert errors[1] < 0.4 * errors[0] and errors[2] < 0.03 * errors[1]
        assert errors[3] < 3e-5 * errors[2] and errors[3] < 1e-8

    def test_moments_to_degree_2n_minus_1(self):
        # The conditional mean and variance of a normal law are polynomials, so 3 nodes have all
        # moments to degree 5 but for the interpolation between slices.
        axes, masses = grid_measure(self.COVARIANCE, self.MEAN, 240)
        nodes, weights = nested_rule(axes, masses, 3)
        assert weights @ nodes == pytest.approx(self.MEAN, abs=1e-9)
        centred = nodes - self.MEAN
        covariance = centred.T @ (weights[:, None] * centred)
        np.testing.assert_allclose(covariance, self.COVARIANCE, atol=1e-9)
        fourth = weights @ (centred @ self.SLOPE) ** 4
        variance = self.SLOPE @ self.COVARIANCE @ self.SLOPE
        assert fourth == pytest.approx(3 * variance**2, rel=1e-8)

    def test_interpolation_between_slices_is_of_sixth_order(self):
        errors = []
        counts = np.array([24, 32, 48])
        for cells in counts:
            axes, masses = grid_measure(self.COVARIANCE, self.MEAN, cells)
            nodes, weights = nested_rule(axes, masses, 3)
            centred = nodes - self.MEAN
            errors.append(abs(centred.T @ (weights[:, None] * centred) - self.COVARIANCE).max())
        assert -np.polyfit(np.log(counts), np.log(errors), 1)[0] > 5.0

    def test_three_dimensions(self):
        mixing = np.array([[1.0, 0.0, 0.0], [0.4, 0.8, 0.0], [-0.3, 0.2, 0.7]])
        covariance, mean = mixing @ mixing.T, np.array([0.3, 0.0, -0.4])
        axes, masses = grid_measure(covariance, mean, 64)
        a = np.array([0.5, -0.7, 0.4])
        nodes, weights = nested_rule(axes, masses, 6)
        assert nodes.shape == (216, 3)
        exact = np.exp(a @ mean + 0.5 * a @ covariance @ a)
        assert weights @ np.exp(nodes @ a) == pytest.approx(exact, rel=1e-6)

    @pytest.mark.parametrize("shape", [(30,), (30, 25), (12, 14, 10)])
    def test_weights_are_positive_with_the_mass_of_the_measure(self, shape):
        masses = np.random.default_rng(2).uniform(0, 1, shape)
        axes = [np.linspace(-1, 1, n) for n in shape]
        nodes, weights = nested_rule(axes, masses, 4)
        assert nodes.shape == (4 ** len(shape), len(shape))
        assert (weights > 0).all()
        assert weights.sum() == pytest.approx(masses.sum(), rel=1e-13)
        assert (np.abs(nodes) < 1).all()

    def test_product_measure_gives_the_product_rule(self):
        axes, masses = grid_measure(np.diag([1.0, 0.25]), np.array([0.0, 2.0]), 80)
        nodes, weights = nested_rule(axes, masses, 4)
        z, w = np.polynomial.hermite_e.hermegauss(4)
        np.testing.assert_allclose(nodes.reshape(4, 4, 2)[:, 0, 0], z, atol=1e-8)
        np.testing.assert_allclose(
            nodes.reshape(4, 4, 2)[:, :, 1], 2 + np.tile(z / 2, (4, 1)), atol=1e-8
        )
        np.testing.assert_allclose(weights, np.outer(w, w).ravel() / (2 * np.pi), atol=1e-9)
