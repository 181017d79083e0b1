"""The Laplace transform L[μ] and ∇L[μ] against closed forms and plain sums.

von Mises–Fisher densities have L(z) = (κ/sinh κ) sinh|z + κa| / |z + κa|. All comparisons are
relative to L itself, however small: L falls to e^{−|z|} opposite to the mass.
"""

import numpy as np
import pytest
from scipy.special import logsumexp

import sphereflow as sf
from sphereflow.attention import (
    transform_of_coefficients,
    transform_of_density,
    transform_of_points,
)
from sphereflow.densities.base import as_density
from sphereflow.errors import InputError
from sphereflow.sphere import SphereGrid, resize

AXES = np.array([[2.0, -1.0, 2.0], [0.0, 3.0, 0.0], [-1.0, -2.0, -2.0]]) / 3.0


def random_arguments(n, largest, seed=0):
    """Directions of all kinds, with |z| from 0 to `largest`."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, 3))
    z[:6] = [*AXES, *(-AXES)]  # towards the masses and away from them
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    radius = largest * rng.random(n)
    radius[:6] = largest
    radius[6] = 0.0
    return z * radius[:, None]


def log_sinhc(s):
    """log(sinh s / s)."""
    safe = np.maximum(s, 1e-4)
    return np.where(
        s < 1e-4, s**2 / 6, safe + np.log1p(-np.exp(-2 * safe)) - np.log(2.0) - np.log(safe)
    )


def closed_form(z, axes, kappas, shares):
    """log L and ∇log L of a mixture at z (n, 3)."""
    logs, slopes = [], []
    for a, kappa, share in zip(axes, kappas, shares):
        u = z + kappa * a
        s = np.linalg.norm(u, axis=1)
        logs.append(np.log(share) + log_sinhc(s) - log_sinhc(np.float64(kappa)))
        safe = np.maximum(s, 1e-2)
        slope = np.where(
            s < 1e-2, 1 / 3 - s**2 / 45 + 2 * s**4 / 945, (1 / np.tanh(safe) - 1 / safe) / safe
        )
        slopes.append(slope[:, None] * u)
    weights = np.exp(np.array(logs) - logsumexp(logs, axis=0))
    return logsumexp(logs, axis=0), np.einsum("kn,kni->ni", weights, np.array(slopes))


def vmf_mixture(kappas, shares):
    return sf.Mixture(
        [sf.VonMisesFisher(a, kappa) for a, kappa in zip(AXES, kappas)], np.array(shares)
    )


def compare(result, z, log_value, slope, tolerance):
    """Errors of L and of ∇L, both relative to L."""
    assert np.isfinite(result.value).all()
    assert (result.value > 0).all()
    expected = np.exp(log_value - np.linalg.norm(z, axis=1))
    np.testing.assert_allclose(result.value, expected, rtol=tolerance)
    error = result.gradient.T / expected[:, None] - slope
    assert np.linalg.norm(error, axis=1).max() < tolerance


CASES = [([k], [1.0]) for k in (0.0, 0.3, 4.0, 20.0)]
CASES += [([20.0, 1.0, 7.0], [0.5, 0.2, 0.3]), ([20.0, 20.0, 20.0], [0.98, 0.01, 0.01])]


@pytest.mark.parametrize(("kappas", "shares"), CASES)
@pytest.mark.parametrize("largest", [0.01, 1.0, 4.0])
def test_von_mises_fisher(kappas, shares, largest):
    z = random_arguments(400, largest)
    transform = transform_of_density(vmf_mixture(kappas, shares), 1e-13)
    expected = closed_form(z, AXES, kappas, shares)
    compare(transform(z.T), z, *expected, 1e-12)


@pytest.mark.parametrize("kappa", [0.5, 20.0, 150.0, 2000.0])
@pytest.mark.parametrize("largest", [12.0, 45.0, 300.0])
def test_large_logits_and_concentrated_densities(kappa, largest):
    # The density sits at a, and arguments point away from it too, where L/e^{|z|} is as small
    # as e^{−600}.
    z = random_arguments(16, largest)
    transform = transform_of_density(sf.VonMisesFisher(AXES[0], kappa), 1e-13)
    result = transform(z.T)
    compare(result, z, *closed_form(z, AXES[:1], [kappa], [1.0]), 1e-8)
    length = np.linalg.norm(result.gradient, axis=0)
    assert (length <= result.value * (1 + 1e-12)).all()  # an average of unit vectors
    assert (result.value <= 1 + 1e-12).all()
    assert (np.log(result.value) >= -2 * result.radius - 1e-9).all()


@pytest.mark.parametrize("kappas", [[200.0, 30.0, 2.0]])
def test_concentrated_mixture(kappas):
    shares = [0.4, 0.3, 0.3]
    z = random_arguments(16, 120.0, seed=3)
    transform = transform_of_density(vmf_mixture(kappas, shares), 1e-13)
    compare(transform(z.T), z, *closed_form(z, AXES, kappas, shares), 1e-8)


def test_uniform_density():
    # L(z) = sinh|z|/|z|.
    z = random_arguments(200, 30.0)
    result = transform_of_density(sf.Uniform(), 1e-13)(z.T)
    compare(result, z, *closed_form(z, AXES[:1], [0.0], [1.0]), 1e-12)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_density_of_low_degree(degree):
    # μ = (1 + 0.3 P_l(y₃))/4π along its axis: an integral in one variable.
    c, w = np.polynomial.legendre.leggauss(120)
    legendre = np.polynomial.legendre.Legendre.basis(degree)
    real = np.zeros((degree + 1) ** 2)
    real[0] = 1.0
    real[degree * (degree + 1)] = 0.3 / np.sqrt(2 * degree + 1)
    transform = transform_of_density(sf.HarmonicDensity(real), 1e-13)
    radius = np.array([0.0, 0.7, 5.0, 25.0])
    for sign in (1, -1):
        z = np.stack([0 * radius, 0 * radius, sign * radius])
        exponent = sign * radius[:, None] * c - radius[:, None]
        weights = np.exp(exponent) * (0.5 * w * (1 + 0.3 * legendre(c)))
        result = transform(z)
        np.testing.assert_allclose(result.value, weights.sum(axis=1), rtol=1e-12)
        np.testing.assert_allclose(
            result.gradient[2] / result.value, weights @ c / weights.sum(axis=1), atol=1e-12
        )


def plain_sums(z, points, weights):
    """log L and ∇log L by a softmax over tokens."""
    with np.errstate(divide="ignore"):
        logits = z @ points.T + np.log(weights)
    logs = logsumexp(logits, axis=1)
    return logs, np.exp(logits - logs[:, None]) @ points


@pytest.mark.parametrize("largest", [1.0, 4.0, 10.0, 60.0, 300.0])
@pytest.mark.parametrize("kind", ["spread", "cluster", "one"])
def test_points(largest, kind):
    n = {"spread": 400, "cluster": 150, "one": 1}[kind]
    rng = np.random.default_rng(2)
    points = rng.standard_normal((n, 3)) * {"spread": 1.0, "cluster": 0.05, "one": 0.0}[kind]
    points += {"spread": 0.0, "cluster": 1.0, "one": 1.0}[kind] * AXES[0]
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    weights = rng.random(n)
    weights[1:3] = 0.0
    weights /= weights.sum()
    z = random_arguments(120, largest)
    result = transform_of_points(points, weights, 1e-13)(z.T)
    # 1e-12, and the rounding of exponents of size 2|z| in both sums.
    compare(result, z, *plain_sums(z, points, weights), 1e-12 + 4e-15 * largest)


class TestRoutes:
    """The series and the direct sum, each on its own, agree."""

    z = random_arguments(300, 3.5, seed=8)

    @pytest.mark.parametrize("source", ["density", "coefficients", "points"])
    def test_agree(self, source):
        density = vmf_mixture([3.0, 1.0, 2.0], [0.5, 0.2, 0.3])
        points = density.sample(500, seed=1)
        weights = np.full(500, 1 / 500)

        def transform(tolerance):
            if source == "points":
                return transform_of_points(points, weights, tolerance)
            if source == "density":
                return transform_of_density(density, tolerance)
            return transform_of_coefficients(as_density(density).resolved_spectrum(), tolerance)

        by_series = transform(1e-12)
        series = by_series(self.z.T)
        assert by_series.direct_count == 0
        assert by_series.count == 300
        by_sums = transform(1e-15)  # below the round-off of the series: never trusted
        sums = by_sums(self.z.T)
        assert by_sums.direct_count == 300
        np.testing.assert_allclose(series.value, sums.value, rtol=1e-12)
        error = np.abs(series.gradient - sums.gradient) / sums.value
        assert error.max() < 1e-12

    @pytest.mark.parametrize("largest", [3.0, 30.0])
    def test_antipodal_evaluation(self, largest):
        z = random_arguments(100, largest).T
        transform = transform_of_density(sf.VonMisesFisher(AXES[0], 6.0), 1e-13)
        both = transform(z, antipodal=True)
        alone = transform(np.concatenate([z, -z], axis=1))
        np.testing.assert_allclose(both.radius, alone.radius, rtol=1e-15)
        np.testing.assert_allclose(both.value, alone.value, rtol=1e-12)
        assert np.abs((both.gradient - alone.gradient) / alone.value).max() < 1e-12

    def test_series_is_left_where_it_is_lost(self):
        # A point mass seen from behind: e^{−2r} against round-off 1e-15, so 1e-13 needs
        # r < ½ log(100) = 2.3 there, and is safe in front.
        transform = transform_of_points(AXES[:1], np.ones(1), 1e-13)
        transform(4.0 * AXES[:1].T)
        assert transform.direct_count == 0
        transform(-4.0 * AXES[:1].T)
        assert transform.direct_count == 1


@pytest.mark.parametrize("tangential", [False, True])
@pytest.mark.parametrize("beta", [0.0, -1e-9, 1e-3, 0.7, -2.5, 6.0])
def test_funk_hecke_equals_pointwise(beta, tangential):
    transform = transform_of_density(vmf_mixture([3.0, 1.0, 2.0], [0.5, 0.2, 0.3]), 1e-13)
    grid = SphereGrid(63)
    on_sphere = transform.on_sphere(grid, beta, tangential)
    x = grid.points.reshape(-1, 3).T
    pointwise = transform(beta * x)
    gradient = pointwise.gradient
    if tangential:
        gradient = gradient - x * np.sum(x * gradient, axis=0)
    assert on_sphere is not None
    np.testing.assert_allclose(on_sphere.radius, abs(beta), atol=1e-15)
    largest = pointwise.value.max()
    assert np.abs(on_sphere.value - pointwise.value).max() < 1e-13 * largest
    assert np.abs(on_sphere.gradient - gradient).max() < 1e-13 * largest


def test_funk_hecke_declines_what_it_cannot_do():
    transform = transform_of_density(sf.VonMisesFisher(AXES[0], 20.0), 1e-13)
    assert transform.on_sphere(SphereGrid(7, nlat=8), 3.0, False) is None  # grid too coarse
    assert transform.on_sphere(SphereGrid(63), 8.0, False) is None  # round-off behind the mass
    assert transform.on_sphere(SphereGrid(63), 200.0, False) is None


@pytest.mark.parametrize("length", [10001.0, np.inf, np.nan])
def test_arguments_out_of_range(length):
    transform = transform_of_density(sf.Uniform(), 1e-13)
    with pytest.raises(InputError, match="at most 10000"):
        transform(np.array([[0.0], [0.0], [length]]))


@pytest.mark.parametrize("shortest", [61.0, 400.0, 4000.0])
@pytest.mark.parametrize("kappa", [0.5, 3.0])
def test_long_arguments(kappa, shortest):
    """log L(z) = log(κ / sinh κ) + log(sinh |z + κa| / |z + κa|), and its gradient, at |z| ≤ 10⁴.

    Coefficients to degree 63, where those of μ are below its round-off, determine L to 1e-15 of
    its largest value; the values here spread by e^{2κ}.
    """
    rng = np.random.default_rng(3)
    z = rng.standard_normal((3, 300))
    z *= rng.uniform(shortest, 2.5 * shortest, 300) / np.linalg.norm(z, axis=0)
    density = sf.VonMisesFisher(AXES[1], kappa)
    transform = transform_of_coefficients(resize(density.resolved_spectrum(), 63), 1e-9)
    found = transform(z, antipodal=True)
    assert transform.direct_count == 0
    moved = np.concatenate([z, -z], axis=1) + kappa * np.asarray(density.mean)[:, None]
    length = np.linalg.norm(moved, axis=0)
    level = np.log(kappa / np.sinh(kappa)) + length - np.log(2.0 * length)
    # Exponents of size |z| are rounded to 1e-16 of it.
    error = found.radius + np.log(found.value) - level
    assert np.abs(error).max() < 1e-15 * (10.0 * np.exp(2 * kappa) + shortest)
    exact = moved / length * (1.0 - 1.0 / length)
    assert np.abs(found.gradient / found.value - exact).max() < 1e-14 * np.exp(2 * kappa)


def test_velocity_at_logits_of_10000():
    density = sf.VonMisesFisher(AXES[1], 4.0)
    logits = 1e4 * np.diag([1.0, 0.7, 0.4])
    field = sf.attention_field(density, sf.FixedHeads(logits, np.eye(3)))
    x = np.random.default_rng(0).standard_normal((50, 3))
    x /= np.linalg.norm(x, axis=1)[:, None]
    moved = x @ logits + 4.0 * np.asarray(density.mean)
    length = np.linalg.norm(moved, axis=1)[:, None]
    mean = moved / length * (1.0 - 1.0 / length)
    expected = mean - x * np.sum(mean * x, axis=1)[:, None]
    assert np.abs(field.velocity(x) - expected).max() < 1e-13
    with pytest.raises(InputError, match="beyond the range"):
        field.energy()
