"""The field at the tokens: plain double sums, the harmonic route and Gaussian laws.

Errors of a quantity are relative to its size: the same sum with norms of matrices in place of
their action, so that tokens at which the velocity happens to vanish count too.
"""

import numpy as np
import pytest
from scipy.special import logsumexp

import sphereflow as sf
from sphereflow.attention import (
    TokenField,
    kernels,
    token_field,
    transform_of_coefficients,
    transform_of_density,
    transform_of_points,
)
from sphereflow.attention.token_field import RETRY_AFTER
from sphereflow.densities.base import as_density
from sphereflow.errors import InputError

NAMES = (
    "step_direction",
    "velocity",
    "energy",
    "dissipation",
    "slope_squared",
    "metric_slope_squared",
    "drift_rate",
    "slopes",
    "curvatures",
    "energy_rate_heads",
    "gradient",
)
OPTIONS = {
    "softmax": {},
    "gradient": {"velocity": "gradient"},
    "unnormalised": {"attention": "unnormalised"},
    "unnormalised gradient": {"attention": "unnormalised", "velocity": "gradient"},
}
DRIFT = np.array([[0.3, -0.8, 0.1], [0.5, 0.2, 0.4], [-0.6, 0.1, -0.7]])


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def spread_tokens(count, seed=0):
    return unit(np.random.default_rng(seed).standard_normal((count, 3)))


def clusters(count, spread, axes, seed=0):
    centres = np.array(axes, dtype=float)[np.arange(count) % len(axes)]
    return unit(centres + spread * np.random.default_rng(seed).standard_normal((count, 3)))


def random_weights(count, seed=0):
    weights = 0.1 + np.random.default_rng(seed).random(count)
    return weights / weights.sum()


def random_heads(count, norm, seed, symmetric=False):
    matrices = np.random.default_rng(seed).standard_normal((count, 3, 3))
    if symmetric:
        matrices = matrices + np.swapaxes(matrices, 1, 2)
    return norm * matrices / np.linalg.norm(matrices, 2, axis=(1, 2)).max()


def field_of(problem, weights, summation, threads=1):
    return TokenField(problem.field_specification, weights, summation, threads)


def evaluate(field, problem, points, t=0.0, curvatures=True):
    """The sample of one path at points (n, 3)."""
    positions = np.ascontiguousarray(points.T)[None]
    return field(t, positions, [problem.heads.nodes(t)], [0], curvatures=curvatures)


def sample_of(problem, points, weights, summation, t=0.0):
    return evaluate(field_of(problem, weights, summation), problem, points, t)


def double_sums(problem, x, w, t=0.0):
    """Every entry of the sample, and its size, by plain sums over pairs for each head."""
    nodes = problem.heads.nodes(t)
    d, v, shares = nodes.logits, nodes.values, nodes.weights
    kernel = np.exp(np.einsum("na,hab,mb->hnm", x, d, x))
    level = kernel @ w
    slope = (kernel * w) @ x
    softmax = problem.attention == "softmax"
    mean = slope / level[:, :, None] if softmax else slope
    direction = np.einsum("h,hab,hnb->na", shares, v, mean)
    turned = np.swapaxes(kernel, 1, 2)
    interaction = 0.5 * shares @ (level + turned @ w)
    pull = np.einsum("h,hab,hnb->na", shares, d, slope)
    pull = pull + np.einsum("h,hba,hnb->na", shares, d, (turned * w) @ x)
    gradient = 0.5 * tangential(x, pull)
    inverse = shares @ (1 / level) if softmax else np.ones(len(x))
    if problem.velocity == "gradient":
        direction = inverse[:, None] * gradient
    velocity = tangential(x, direction)
    hessian = np.einsum("hnm,m,mc,md->hncd", kernel, w, x, x, optimize=True)
    rate = 0.0
    if nodes.logit_rates is not None:
        rate = 0.5 * shares @ np.einsum("n,na,hab,hnb->h", w, x, nodes.logit_rates, slope)
    exact = {
        "step_direction": direction.T,
        "velocity": velocity.T,
        "energy": 0.5 * w @ interaction,
        "dissipation": w @ np.sum(gradient * velocity, axis=1),
        "slope_squared": w @ (np.sum(velocity**2, axis=1) / inverse),
        "metric_slope_squared": w @ (np.sum(gradient**2, axis=1) * inverse),
        "drift_rate": 0.0
        if problem.drift is None
        else w @ np.sum(gradient * (x @ DRIFT.T), axis=1),
        "slopes": np.einsum("n,na,hnb->hab", w, x, slope),
        "curvatures": np.einsum("n,na,nb,hncd->habcd", w, x, x, hessian, optimize=True),
        "energy_rate_heads": rate,
        "gradient": gradient.T,
    }
    steep = interaction * np.linalg.norm(d, 2, axis=(1, 2)).max()
    fast = np.linalg.norm(v, 2, axis=(1, 2)).max() * (
        np.ones(len(x)) if softmax else shares @ level
    )
    if problem.velocity == "gradient":
        fast = inverse * steep
    rates = 0.0 if nodes.logit_rates is None else np.linalg.norm(nodes.logit_rates, 2, (1, 2)).max()
    size = {
        "step_direction": fast.max(),
        "velocity": fast.max(),
        "energy": exact["energy"],
        "dissipation": w @ (steep * fast),
        "slope_squared": w @ (fast**2 / inverse),
        "metric_slope_squared": w @ (steep**2 * inverse),
        "drift_rate": w @ steep,
        "slopes": (level @ w).max(),
        "curvatures": (level @ w).max(),
        "energy_rate_heads": max(rates, 1.0) * (level @ w).max(),
        "gradient": steep.max(),
    }
    return exact, size


def tangential(x, vectors):
    return vectors - x * np.sum(x * vectors, axis=-1, keepdims=True)


def errors(sample, exact, size):
    """Largest error of each entry of a sample of one path, relative to its size."""
    found = {}
    for name in NAMES:
        value = getattr(sample, name)
        if value is not None:
            found[name] = np.abs(value[0] - exact[name]).max() / size[name]
    return found


def assert_close(sample, exact, size, tolerance):
    found = errors(sample, exact, size)
    assert set(found) == set(NAMES)
    wrong = {name: error for name, error in found.items() if not error < tolerance}
    assert not wrong


def heads_of(kind):
    if kind == "oscillating":
        return sf.OscillatingHeads(random_heads(3, 2.0, 5, symmetric=True))
    if kind == "symmetric":
        return sf.FixedHeads(random_heads(3, 4.0, 6, symmetric=True), weights=[1, 2, 3])
    return sf.FixedHeads(random_heads(3, 4.0, 7), random_heads(3, 2.0, 8), [3, 2, 1])


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", ["general", "symmetric", "oscillating"])
class TestAgainstDoubleSums:
    """E (21), G² (113), R, S², the velocity and the sums of each head."""

    def problem(self, kind, options):
        return sf.TransformerPDE(
            heads_of(kind), sf.Uniform(), drift=DRIFT, diffusion=0.1, **options
        )

    def test_direct(self, kind, options):
        # Sums of 77 positive terms, each with an exponent of up to 4: a few roundings.
        problem = self.problem(kind, options)
        x, w = spread_tokens(77), random_weights(77)
        exact = double_sums(problem, x, w, 0.3)
        assert_close(sample_of(problem, x, w, "direct", 0.3), *exact, 2e-14)

    @pytest.mark.parametrize("tokens", ["spread", "clusters"])
    def test_harmonic(self, kind, options, tokens):
        # The route is asked for 1e-11; its degree settles in the second evaluation.
        problem = self.problem(kind, options)
        x = spread_tokens(300)
        if tokens == "clusters":
            x = clusters(300, 0.05, np.concatenate([np.eye(3), -np.eye(3)]))
        w = random_weights(300)
        exact = double_sums(problem, x, w, 0.3)
        field = field_of(problem, w, "harmonic")
        for _ in range(2):
            assert_close(evaluate(field, problem, x, 0.3), *exact, 1e-10)
        assert field.route == "harmonic"

    @pytest.mark.parametrize("curvatures", [True, False])
    def test_series(self, kind, options, curvatures, monkeypatch):
        # Every L and ∇L is known to 1e-12 of L; one token in ten is far from the clusters.
        monkeypatch.setattr(token_field, "cost_of_grid", lambda *arguments: np.inf)
        problem = self.problem(kind, options)
        x, w = clusters(300, 1e-3, np.eye(3)), random_weights(300)
        x[::10] = spread_tokens(30)
        field = field_of(problem, w, "harmonic")
        found = errors(
            evaluate(field, problem, x, 0.3, curvatures), *double_sums(problem, x, w, 0.3)
        )
        assert field.now.series_evaluations == 1 and field.route == "harmonic"
        assert len(found) == len(NAMES) - (not curvatures) and max(found.values()) < 1e-11

    def test_harmonic_without_curvatures(self, kind, options):
        problem = self.problem(kind, options)
        x, w = spread_tokens(300), random_weights(300)
        field = field_of(problem, w, "harmonic")
        plain = evaluate(field, problem, x, curvatures=False)
        assert plain.curvatures is None
        found = errors(plain, *double_sums(problem, x, w))
        assert len(found) == len(NAMES) - 1 and max(found.values()) < 1e-10


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_two_routes_agree_for_many_tokens(options):
    problem = sf.TransformerPDE(heads_of("general"), sf.Uniform(), drift=DRIFT, **options)
    x, w = spread_tokens(2000), random_weights(2000)
    direct, harmonic = (sample_of(problem, x, w, s) for s in ("direct", "harmonic"))
    for name in NAMES[:-1]:
        expected = getattr(direct, name)
        error = np.abs(getattr(harmonic, name) - expected).max()
        assert error <= 1e-10 * np.abs(expected).max(), name


@pytest.mark.parametrize("options", list(OPTIONS)[:3])
@pytest.mark.parametrize(("number", "norm"), [(1, 5.1), (1, 12.1), (1, 61.0), (2, 12.1), (2, 20.1)])
def test_harmonic_route_keeps_its_accuracy_or_is_left(number, norm, options):
    """One cluster or two opposite ones: L spans e^{±|D|} over the sphere, and b its square."""
    x = clusters(60, 0.02, [[0, 0, 1], [0, 0, -1]][:number])
    w = random_weights(60)
    logits = random_heads(2, norm, 9, symmetric=True)
    law = sf.FixedHeads(logits, random_heads(2, 1.0, 10))
    problem = sf.TransformerPDE(law, sf.Uniform(), drift=DRIFT, **OPTIONS[options])
    exact, size = double_sums(problem, x, w)
    field = field_of(problem, w, "harmonic")
    for _ in range(2):
        found = errors(evaluate(field, problem, x), exact, size)
        # Direct sums round exponents of size |D|, hence the last term.
        assert {n: e for n, e in found.items() if not e < 1e-10 + 1e-14 * norm} == {}


class TestChoiceOfTheRoute:
    def test_a_lost_series_is_left_and_tried_again_later(self):
        # |z| = 320 needs more degrees than a grid of a general head has; direct sums are the
        # same to the last bit.
        logits = np.diag([320.0, 310.0, 300.0])
        problem = sf.TransformerPDE(sf.FixedHeads(logits), sf.Uniform())
        x, w = clusters(40, 1e-3, [[0, 0, 1], [0, 0, -1]]), random_weights(40)
        field = field_of(problem, w, "harmonic")
        direct = sample_of(problem, x, w, "direct")
        for _ in range(3):
            sample = evaluate(field, problem, x)
            np.testing.assert_array_equal(sample.velocity, direct.velocity)
        assert field.route == "direct" and field.now.direct_evaluations == 3
        mild = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.Uniform())
        field.specification = mild.field_specification
        for _ in range(RETRY_AFTER):
            evaluate(field, mild, x)
        assert field.route == "mixed"

    def test_paths_may_take_different_routes(self):
        # Path 0 is in two clusters, for which the series of D = 12 I is lost; path 1 is spread.
        problem = sf.TransformerPDE(sf.FixedHeads(12.12 * np.eye(3)), sf.Uniform())
        points = [clusters(40, 1e-3, [[0, 0, 1], [0, 0, -1]], seed=1), spread_tokens(40, seed=1)]
        w = np.full(40, 1 / 40)
        field = field_of(problem, w, "harmonic")
        positions = np.ascontiguousarray(np.stack([x.T for x in points]))
        both = field(0.0, positions, [problem.heads.nodes(0.0)] * 2, [0, 1])
        for row, x in enumerate(points):
            exact, size = double_sums(problem, x, w)
            error = np.abs(both.velocity[row] - exact["velocity"]).max()
            assert error < 1e-10 * size["velocity"]

    def test_auto_takes_what_is_cheaper(self):
        problem = sf.TransformerPDE(heads_of("general"), sf.Uniform())
        for count, route in ((100, "direct"), (6000, "harmonic")):
            field = field_of(problem, np.full(count, 1 / count), "auto")
            evaluate(field, problem, spread_tokens(count), curvatures=False)
            assert field.route == route

    def test_direct_sums_do_not_depend_on_threads(self):
        problem = sf.TransformerPDE(heads_of("general"), sf.Uniform())
        x, w = spread_tokens(200), random_weights(200)
        one, two = (
            evaluate(field_of(problem, w, "direct", threads), problem, x) for threads in (1, 2)
        )
        for name in NAMES:
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_results_do_not_depend_on_the_memory_layout_of_what_is_given():
    points, weights = spread_tokens(50), random_weights(50)
    heads = sf.FixedHeads(random_heads(3, 2.0, 1), random_heads(3, 1.0, 2))
    locked = weights.copy()
    locked.flags.writeable = False
    strided = np.repeat(weights, 2)[::2]
    turned = sf.FixedHeads(np.asfortranarray(heads.logits), np.asfortranarray(heads.values))
    problem = sf.TransformerPDE(heads, sf.Uniform())
    expected = sample_of(problem, points, weights, "direct")
    for other, own in [(heads, locked), (heads, strided), (turned, weights)]:
        sample = sample_of(sf.TransformerPDE(other, sf.Uniform()), points, own, "direct")
        np.testing.assert_array_equal(sample.velocity, expected.velocity)
        np.testing.assert_array_equal(sample.energy, expected.energy)


@pytest.mark.parametrize("beta", [3.0, 60.0])
def test_arguments_at_the_edge_of_a_radius_bin(beta, monkeypatch):
    """Isotropic heads put all |z| on one radius up to rounding: no bin beyond is looked up."""
    compiled = kernels.harmonic_sums

    def guarded(*arguments):
        # The entry that follows the table in memory is degree 0, and would be seen.
        *others, degree_of_bin, out = arguments
        table = np.append(degree_of_bin, 0)
        compiled(*others, table[:-1], out)

    monkeypatch.setattr(kernels, "harmonic_sums", guarded)
    points = clusters(5, 0.05, [[0, 0, 1]])
    transform = transform_of_points(points, np.full(5, 0.2), 1e-11)
    rng = np.random.default_rng(0)
    for _ in range(300):
        x = rng.standard_normal((3, 1))
        z = beta * x / np.sqrt(np.sum(x * x, axis=0))
        expected = np.exp(z.T @ points.T - beta).mean(axis=1)
        np.testing.assert_allclose(transform(z).value, expected, rtol=1e-9)


def hermite_sums(law, t, x, w, count):
    """v̄ before projection, ∫K dΘ, ∫dΘ/m and ∫∇K dΘ by Gauss–Hermite nodes for z at each token.

    z ~ N(Mx, (v/2)(I + xxᵀ)), whose symmetric root is √(v/2) (I + (√2 − 1) xxᵀ), and
    E[D | z] = M + u xᵀ + x uᵀ − ⟨x,u⟩ xxᵀ with u = z − Mx (MODEL.md section 5).
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    weights = weights / weights.sum()
    grid = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 3)
    shares = np.einsum("i,j,k->ijk", weights, weights, weights).ravel()
    mean, variance = law.mean(t), law.variance(t)
    average, interaction, inverse, gradient = [], [], [], []
    for one in x:
        root = np.sqrt(variance / 2) * (np.eye(3) + (np.sqrt(2) - 1) * np.outer(one, one))
        u = grid @ root
        scores = (mean @ one + u) @ x.T + np.log(w)
        log_l = logsumexp(scores, axis=1)
        g = np.exp(scores - log_l[:, None]) @ x
        d = mean + u[:, :, None] * one + one[:, None] * u[:, None, :]
        d = d - (u @ one)[:, None, None] * np.outer(one, one)
        dg = np.einsum("qab,qb->qa", d, g)
        average.append(shares @ dg)
        gradient.append((shares * np.exp(log_l)) @ dg)
        interaction.append(shares @ np.exp(log_l))
        inverse.append(shares @ np.exp(-log_l))
    gradient = tangential(x, np.array(gradient))
    return np.array(average), np.array(interaction), np.array(inverse), gradient


LAW = sf.OrnsteinUhlenbeck(np.diag([1.0, -0.5, 0.3]), 0.8, 0.4, 0.6, quadrature=6)


@pytest.mark.parametrize("summation", ["direct", "harmonic"])
class TestGaussianLaw:
    """Infinitely many heads at the tokens."""

    def test_against_dense_quadrature(self, summation):
        x, w, t = spread_tokens(50), random_weights(50), 0.4
        problem = sf.TransformerPDE(LAW, sf.Uniform(), drift=DRIFT, diffusion=0.1)
        average, interaction, inverse, gradient = hermite_sums(LAW, t, x, w, 6)
        velocity = tangential(x, average)
        expected = {
            "step_direction": average.T,
            "velocity": velocity.T,
            "energy": 0.5 * w @ interaction,
            "dissipation": w @ np.sum(gradient * velocity, axis=1),
            "slope_squared": w @ (np.sum(velocity**2, axis=1) / inverse),
            "metric_slope_squared": w @ (np.sum(gradient**2, axis=1) * inverse),
            "drift_rate": w @ np.sum(gradient * (x @ DRIFT.T), axis=1),
            "gradient": gradient.T,
        }
        sample = sample_of(problem, x, w, summation, t)
        for name, value in expected.items():
            # The harmonic route differentiates the quadrature of ∫K dΘ, of error 1e-8 itself.
            tolerance = 1e-7 if (summation, name) == ("harmonic", "gradient") else 1e-10
            got = getattr(sample, name)[0]
            assert np.abs(got - value).max() < tolerance * np.abs(value).max(), name
        assert sample.slopes is None and sample.curvatures is None

    def test_energy_and_its_rate_have_closed_forms(self, summation):
        # ∫ e^{⟨x,Dy⟩} dΘ = exp(⟨x,My⟩ + ¼ v (1 + ⟨x,y⟩²)); 10 nodes per axis have 1e-8.
        law = sf.OrnsteinUhlenbeck(LAW.target, LAW.sigma, LAW.initial_mean, 0.6, quadrature=10)
        x, w, t = spread_tokens(40), random_weights(40), 0.4
        sample = sample_of(sf.TransformerPDE(law, sf.Uniform()), x, w, summation, t)
        square = 0.25 * (1 + (x @ x.T) ** 2)
        kernel = np.exp(x @ law.mean(t) @ x.T + law.variance(t) * square)
        changes = x @ (law.target - law.mean(t)) @ x.T
        changes = changes + 2 * (law.sigma**2 - law.variance(t)) * square
        assert sample.energy[0] == pytest.approx(0.5 * w @ kernel @ w, rel=1e-8)
        assert sample.energy_rate_heads[0] == pytest.approx(
            0.5 * w @ (kernel * changes) @ w, rel=1e-7
        )


PACKING = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


class TestHessian:
    """∇∇L, entries 00 11 22 01 02 12, relative to L."""

    def compare(self, transform, z, log_value, hessian, tolerance):
        values = transform(z.T)
        got = transform.hessian(z.T, values)
        scale = np.exp(log_value - np.linalg.norm(z, axis=1))
        expected = np.stack([hessian[:, a, b] for a, b in PACKING])
        assert np.abs(got / scale - expected).max() < tolerance

    def arguments(self, largest, count=150):
        rng = np.random.default_rng(11)
        z = unit(rng.standard_normal((count, 3))) * (largest * rng.random((count, 1)))
        z[:2] = largest * np.array([[0, 0, 1.0], [0, 0, -1.0]])
        z[2] = 0.0
        return z

    @pytest.mark.parametrize("largest", [0.5, 4.0, 12.0, 60.0, 300.0])
    @pytest.mark.parametrize("tokens", ["spread", "cluster", "one"])
    def test_points(self, tokens, largest):
        points = {
            "spread": spread_tokens(200),
            "cluster": clusters(100, 0.05, [[0, 0, 1]]),
            "one": np.array([[0, 0, 1.0]]),
        }[tokens]
        w, z = random_weights(len(points)), self.arguments(largest)
        scores = z @ points.T + np.log(w)
        logs = logsumexp(scores, axis=1)
        share = np.exp(scores - logs[:, None])
        hessian = np.einsum("nk,ka,kb->nab", share, points, points)
        # The tolerance asked for, with the condition of its check, and rounded exponents.
        for tolerance in (1e-11, 1e-13):
            transform = transform_of_points(points, w, tolerance)
            self.compare(transform, z, logs, hessian, 20 * tolerance + 4e-15 * largest)

    @pytest.mark.parametrize("source", ["density", "coefficients"])
    def test_von_mises_fisher(self, source):
        # L = c sinh(s)/s with s = |z + κa|: ∇∇L = (f'/s) I + (f'' − f'/s) uuᵀ/s².
        kappa, axis = 6.0, np.array([0, 0.6, 0.8])
        density = sf.VonMisesFisher(axis, kappa)
        z = self.arguments(4.0)
        if source == "density":
            transform = transform_of_density(density, 1e-13)
        else:
            transform = transform_of_coefficients(as_density(density).resolved_spectrum(), 1e-13)
        u = z + kappa * axis
        s = np.linalg.norm(u, axis=1)
        first = 1 / np.tanh(s) - 1 / s  # f'/f
        second = 1 - 2 * first / s  # f''/f, from f'' + 2f'/s = f
        outer = np.einsum("na,nb->nab", u, u) / (s**2)[:, None, None]
        hessian = (first / s)[:, None, None] * np.eye(3) + (second - first / s)[
            :, None, None
        ] * outer
        log_value = np.log(np.sinh(s) / s * kappa / np.sinh(kappa))
        self.compare(transform, z, log_value, hessian, 1e-12)


@pytest.mark.parametrize("summation", ["direct", "harmonic"])
@pytest.mark.parametrize("norm", [701.0, np.nan, np.inf])
def test_logits_out_of_range_are_refused(norm, summation):
    logits = np.stack([np.eye(3), np.diag([1.0, norm, 0.0])])
    law = sf.FixedHeads(np.eye(3))
    problem = sf.TransformerPDE(law, sf.Uniform())
    nodes = type(law.nodes(0.0))(logits, logits, np.array([0.5, 0.5]))
    field = field_of(problem, np.full(5, 0.2), summation)
    with pytest.raises(InputError, match="at most 700"):
        field(0.0, np.ascontiguousarray(spread_tokens(5).T)[None], [nodes], [0])
