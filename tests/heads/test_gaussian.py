"""The three-dimensional reduction of Gaussian head laws, against laws that do not use it.

References: the closed form of the interaction energy under a Gaussian law, and averages over
sampled heads in all 6 or 18 dimensions with the closed-form transform of von Mises–Fisher
mixtures, written out here so that nothing is shared with the package.
"""

import functools
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import qmc

import sphereflow as sf
from sphereflow.errors import InputError

MEANS = np.array([[0.0, 0.0, 1.0], [0.8, -0.6, 0.0]])
KAPPAS = np.array([5.0, 3.0])
SHARES = np.array([0.6, 0.4])
DENSITY = sf.Mixture([sf.VonMisesFisher(a, k) for a, k in zip(MEANS, KAPPAS)], SHARES)

MATRICES = {
    "identity": np.eye(3),
    "anisotropic": np.array([[1.0, 0.4, -0.2], [0.4, -0.6, 0.3], [-0.2, 0.3, 0.5]]),
}


def random_points(n, seed=0):
    points = np.random.default_rng(seed).standard_normal((n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


POINTS = random_points(8, seed=4)


def transform(z):
    """L and ∇L of the mixture at z (..., 3): Σ w κ/sinh κ · sinh|u|/|u|, u = z + κ a."""
    value, gradient = 0.0, 0.0
    for a, kappa, share in zip(MEANS, KAPPAS, SHARES):
        u = z + kappa * a
        s = np.linalg.norm(u, axis=-1)
        factor = share * kappa / np.sinh(kappa)
        value = value + factor * np.sinh(s) / s
        slope = (np.cosh(s) - np.sinh(s) / s) / s
        gradient = gradient + (factor * slope / s)[..., None] * u
    return value, gradient


def density(points):
    exponents = KAPPAS * (points @ MEANS.T)
    return np.exp(exponents) @ (SHARES * KAPPAS / (4 * np.pi * np.sinh(KAPPAS)))


@functools.lru_cache(maxsize=1)
def sphere_rule():
    """Points and weights of μ from a Gauss–Legendre by trapezoidal rule of degree 55."""
    cosine, w = np.polynomial.legendre.leggauss(28)
    phi = np.arange(56) * (2 * np.pi / 56)
    sine = np.sqrt(1 - cosine**2)
    x = np.stack(
        [
            np.outer(sine, np.cos(phi)),
            np.outer(sine, np.sin(phi)),
            np.outer(cosine, np.ones(56)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    return x, density(x) * np.repeat(w, 56) * (2 * np.pi / 56)


def gaussian_energy(mean, covariance):
    """½ ∬ exp(⟨x,My⟩ + ½ Var⟨x,Dy⟩) dμ dμ for any covariance (9, 9) of the entries of D."""
    x, w = sphere_rule()
    total = 0.0
    for part in np.array_split(np.arange(len(x)), 12):
        pairs = np.einsum("na,mb->nmab", x[part], x).reshape(-1, 9)
        exponents = pairs @ mean.ravel() + 0.5 * np.einsum("pi,pi->p", pairs @ covariance, pairs)
        total += w[part] @ np.exp(exponents).reshape(len(part), -1) @ w
    return 0.5 * total


def paper_energy(mean, variance, mean_rate=None, variance_rate=0.0):
    """E, or ∂_tE given rates, from exp(⟨x,My⟩ + ¼ v (1 + ⟨x,y⟩²)), MODEL section 6.8."""
    x, w = sphere_rule()
    square = 0.25 * (1 + (x @ x.T) ** 2)
    kernel = np.exp(x @ mean @ x.T + variance * square)
    if mean_rate is not None:
        kernel *= x @ mean_rate @ x.T + variance_rate * square
    return 0.5 * w @ kernel @ w


def tangential(x, vectors):
    return vectors - x * np.sum(x * vectors, axis=-1, keepdims=True)


def paper_law(mean, quadrature, t=0.7):
    """An Ornstein–Uhlenbeck law with mean `mean` and unit variance at time t."""
    target = mean + np.diag([0.3, -0.2, 0.1])
    start = target + np.exp(t) * (mean - target)
    sigma = 0.8
    std = np.sqrt(sigma**2 + np.exp(2 * t) * (1 - sigma**2))
    return sf.OrnsteinUhlenbeck(target, sigma, start, std, quadrature)


T = 0.7


@functools.lru_cache(maxsize=8)
def paper_field(name, quadrature):
    return sf.attention_field(DENSITY, paper_law(MATRICES[name], quadrature), T)


@pytest.mark.parametrize("name", MATRICES)
class TestConvergence:
    """8 nodes per axis, entry variance 1, against 22 nodes and closed forms."""

    def test_law(self, name):
        law = paper_law(MATRICES[name], 8)
        np.testing.assert_allclose(law.mean(T), MATRICES[name], atol=1e-14)
        assert law.variance(T) == pytest.approx(1.0, rel=1e-14)

    def test_velocity(self, name):
        expected = paper_field(name, 22).velocity(POINTS)
        error = np.abs(paper_field(name, 8).velocity(POINTS) - expected).max()
        assert error < 1e-5 * np.abs(expected).max()

    def test_effective_mobility(self, name):
        expected = paper_field(name, 22).effective_mobility(POINTS)
        error = np.abs(paper_field(name, 8).effective_mobility(POINTS) - expected).max()
        assert error < 1e-4 * expected.max()

    def test_error_falls_geometrically(self, name):
        expected = paper_field(name, 22).velocity(POINTS)
        errors = [
            np.abs(paper_field(name, q).velocity(POINTS) - expected).max() for q in (4, 8, 12, 16)
        ]
        for coarse, fine in pairwise(errors):
            assert fine < 0.2 * coarse

    def test_energy(self, name):
        expected = paper_energy(MATRICES[name], 1.0)
        assert paper_field(name, 8).energy() == pytest.approx(expected, rel=1e-5)

    def test_energy_rate(self, name):
        law = paper_law(MATRICES[name], 8)
        mean_rate = law.target - MATRICES[name]
        variance_rate = 2 * (law.sigma**2 - 1.0)
        expected = paper_energy(MATRICES[name], 1.0, mean_rate, variance_rate)
        assert paper_field(name, 8).energy_rate() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", MATRICES)
def test_against_heads_in_six_dimensions(name):
    # 2^17 scrambled Sobol heads: measured difference 2e-5 in v̄ and 8e-6 in 1/b, all theirs
    # (the reduction with 16 nodes per axis is within 1e-8).
    normal = ndtri(qmc.Sobol(6, seed=7).random_base2(17))
    entries = np.zeros((len(normal), 3, 3))
    for k, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]):
        spread = 1.0 if i == j else np.sqrt(0.5)
        entries[:, i, j] = entries[:, j, i] = spread * normal[:, k]
    heads = MATRICES[name] + entries
    field = paper_field(name, 16)
    velocity, mobility = field.velocity(POINTS), field.effective_mobility(POINTS)
    expected, inverse = [], []
    for x in POINTS:
        value, gradient = transform(heads @ x)
        mean = np.einsum("hij,hj->i", heads, gradient / value[:, None]) / len(heads)
        expected.append(tangential(x, mean))
        inverse.append(np.mean(1 / value))
    expected, inverse = np.array(expected), np.array(inverse)
    assert np.abs(velocity - expected).max() < 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(1 / mobility, inverse, rtol=1e-4)


# A general law: neither symmetric nor independent, V correlated with D.
RNG = np.random.default_rng(12)
JOINT_MEAN = 0.6 * RNG.standard_normal((2, 3, 3))
ROOT = 0.12 * RNG.standard_normal((18, 18))
JOINT_COVARIANCE = ROOT @ ROOT.T


@functools.lru_cache(maxsize=2)
def joint_field(velocity="attention"):
    law = sf.GaussianHeads(JOINT_MEAN, JOINT_COVARIANCE, quadrature=7)
    return sf.attention_field(DENSITY, law, velocity=velocity)


def test_joint_law_against_sampled_heads():
    # Within 5 standard errors of 2·10⁵ heads; the softmax route and its harmonic mean.
    count = 200_000
    noise = np.random.default_rng(5).standard_normal((count, 18)) @ ROOT.T
    d, v = np.moveaxis((JOINT_MEAN.reshape(18) + noise).reshape(count, 2, 3, 3), 1, 0)
    velocity = joint_field().velocity(POINTS)
    inverse = 1 / joint_field().effective_mobility(POINTS)
    for x, got, got_inverse in zip(POINTS, velocity, inverse):
        value, gradient = transform(np.einsum("hij,i->hj", d, x))
        samples = tangential(x, np.einsum("hij,hj->hi", v, gradient / value[:, None]))
        error = samples.std(axis=0) / np.sqrt(count)
        assert (np.abs(samples.mean(axis=0) - got) < 5 * error).all()
        assert abs(np.mean(1 / value) - got_inverse) < 5 * np.std(1 / value) / np.sqrt(count)


def test_joint_law_correlations_matter():
    # Without Cov(D, V) the velocity differs by far more than the errors above.
    covariance = JOINT_COVARIANCE.copy()
    covariance[:9, 9:] = covariance[9:, :9] = 0.0
    law = sf.GaussianHeads(JOINT_MEAN, covariance, quadrature=7)
    alone = sf.attention_field(DENSITY, law).velocity(POINTS)
    assert np.abs(alone - joint_field().velocity(POINTS)).max() > 0.01


def test_joint_law_energy():
    expected = gaussian_energy(JOINT_MEAN[0], JOINT_COVARIANCE[:9, :9])
    assert joint_field().energy() == pytest.approx(expected, rel=1e-6)


def test_joint_law_interaction_gradient():
    # b · velocity("gradient") = ∫∇K dΘ = ½ P ∇ₓ ∫ (e^{φ(x,y)} + e^{φ(y,x)}) dμ(y),
    # φ(x,y) = ⟨x,My⟩ + ½ Var⟨x,Dy⟩.
    field = joint_field("gradient")
    got = field.effective_mobility(POINTS)[:, None] * field.velocity(POINTS)
    y, w = sphere_rule()
    mean, covariance = JOINT_MEAN[0], JOINT_COVARIANCE[:9, :9].reshape(3, 3, 3, 3)
    for transpose in (False, True):
        if transpose:
            mean, covariance = mean.T, np.transpose(covariance, (1, 0, 3, 2))
        force = np.einsum("abcd,mb,xc,md->xma", covariance, y, POINTS, y, optimize=True)
        phi = POINTS @ mean @ y.T + 0.5 * np.einsum("xma,xa->xm", force, POINTS)
        weights = w * np.exp(phi)
        part = np.einsum("xm,xma->xa", weights, force) + weights @ y @ mean.T
        got = got - 0.5 * tangential(POINTS, part)
    assert np.abs(got).max() < 1e-6


@pytest.mark.parametrize("velocity", ["attention", "gradient"])
@pytest.mark.parametrize("joint", [False, True])
def test_zero_covariance_is_one_head(joint, velocity):
    if joint:
        law = sf.GaussianHeads(JOINT_MEAN, np.zeros((18, 18)), quadrature=3)
        head = sf.FixedHeads(JOINT_MEAN[0], JOINT_MEAN[1])
    else:
        law = sf.GaussianHeads(JOINT_MEAN[0], np.zeros((9, 9)), quadrature=3)
        head = sf.FixedHeads(JOINT_MEAN[0])
    gaussian, fixed = (sf.attention_field(DENSITY, one, velocity=velocity) for one in (law, head))
    np.testing.assert_allclose(gaussian.velocity(POINTS), fixed.velocity(POINTS), atol=1e-13)
    for name in ("energy", "slope_squared", "dissipation"):
        expected = getattr(fixed, name)()
        assert getattr(gaussian, name)() == pytest.approx(expected, rel=1e-12)


def symmetric_covariance(variance):
    basis = np.eye(9).reshape(9, 3, 3)
    noise = ((basis + np.swapaxes(basis, 1, 2)) / 2).reshape(9, 9).T
    return variance * noise @ noise.T


class TestOrnsteinUhlenbeckIsGaussian:
    law = sf.OrnsteinUhlenbeck(MATRICES["anisotropic"], 0.7, 0.5, 0.9, quadrature=5)

    def fields(self, t, callables):
        law = self.law
        if callables:
            other = sf.GaussianHeads(
                law.mean, lambda s: symmetric_covariance(law.variance(s)), quadrature=5
            )
        else:
            covariance = symmetric_covariance(law.variance(t))
            other = sf.GaussianHeads(law.mean(t), covariance, quadrature=5)
        return sf.attention_field(DENSITY, law, t), sf.attention_field(DENSITY, other, t)

    @pytest.mark.parametrize("t", [0.0, 0.8])
    def test_same_field(self, t):
        one, two = self.fields(t, callables=False)
        np.testing.assert_allclose(one.velocity(POINTS), two.velocity(POINTS), atol=1e-12)
        np.testing.assert_allclose(
            one.effective_mobility(POINTS), two.effective_mobility(POINTS), rtol=1e-12
        )
        assert two.energy_rate() == 0.0

    def test_same_rate_from_callables(self):
        one, two = self.fields(0.8, callables=True)
        assert two.energy() == pytest.approx(one.energy(), rel=1e-12)
        assert two.energy_rate() == pytest.approx(one.energy_rate(), rel=1e-8)


def test_rate_of_a_general_moving_law():
    # Central differences of the closed form of E; their own error is about h² = 1e-6.
    d_mean = 0.3 * RNG.standard_normal((3, 3))
    extra = 0.1 * RNG.standard_normal((9, 9))

    def mean(t):
        return JOINT_MEAN[0] + np.sin(t) * d_mean

    def covariance(t):
        return JOINT_COVARIANCE[:9, :9] + t * extra @ extra.T

    law = sf.GaussianHeads(mean, covariance, quadrature=6)
    got = sf.attention_field(DENSITY, law, 0.4).energy_rate()
    h = 1e-3
    ends = [gaussian_energy(mean(s), covariance(s)) for s in (0.4 - h, 0.4 + h)]
    assert got == pytest.approx((ends[1] - ends[0]) / (2 * h), rel=1e-5)


def test_rate_of_a_law_that_starts_from_a_point():
    # dE/dt at t = 0 needs the spread that the noise is about to make.
    law = sf.OrnsteinUhlenbeck(MATRICES["anisotropic"], 1.0, 0.5, 0.0)
    mean = 0.5 * np.eye(3)
    expected = paper_energy(mean, 0.0, MATRICES["anisotropic"] - mean, 2.0)
    got = sf.attention_field(DENSITY, law, 0.0).energy_rate()
    assert got == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("mean", "covariance", "message"),
    [
        (np.eye(3), np.eye(18), "must have shapes"),
        (np.zeros((2, 3, 3)), np.eye(9), "must have shapes"),
        (np.eye(2), np.eye(9), "must have shapes"),
        (np.eye(3), np.triu(np.ones((9, 9))), "symmetric positive semidefinite"),
        (np.eye(3), -np.eye(9), "smallest eigenvalue -1"),
        (np.eye(3), np.full((9, 9), np.nan), "finite"),
        (lambda t: np.eye(2), np.eye(9), "must have shapes"),
    ],
)
def test_errors(mean, covariance, message):
    with pytest.raises(InputError, match=message):
        sf.GaussianHeads(mean, covariance)
