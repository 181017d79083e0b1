"""The attention field against closed forms: velocity, mobility, energy and its budgets.

For mixtures of von Mises–Fisher densities L is elementary, so every quantity of the field has
an independent reference here: sums over heads, and a product rule on the sphere for the
integrals over μ.
"""

import functools

import numpy as np
import pytest
import xarray as xr
from scipy.special import logsumexp

import sphereflow as sf
from sphereflow.attention import transform_of_density
from sphereflow.attention.average import Averages, average_at_points, average_on_grid
from sphereflow.densities.base import as_density
from sphereflow.errors import InputError
from sphereflow.sphere import SphereGrid, complex_to_real

AXES = np.array([[2.0, -1.0, 2.0], [0.0, 3.0, 0.0], [-1.0, -2.0, -2.0]]) / 3.0


def random_points(n, seed=0):
    points = np.random.default_rng(seed).standard_normal((n, 3))
    points[:6] = [*AXES, *(-AXES)]
    return points / np.linalg.norm(points, axis=1, keepdims=True)


POINTS = random_points(60)


def random_matrices(count, norm, seed):
    """General matrices whose largest singular value is `norm`."""
    matrices = np.random.default_rng(seed).standard_normal((count, 3, 3))
    return norm * matrices / np.linalg.norm(matrices, 2, axis=(1, 2))[:, None, None]


def symmetrised(matrices):
    return 0.5 * (matrices + np.swapaxes(matrices, 1, 2))


def log_sinhc(s):
    """log(sinh s / s)."""
    safe = np.maximum(s, 1e-4)
    return np.where(
        s < 1e-4, s**2 / 6, safe + np.log1p(-np.exp(-2 * safe)) - np.log(2.0) - np.log(safe)
    )


class Mixture:
    """Σ w vMF(a, κ) with its own transform: log L and ∇log L at z (..., 3)."""

    def __init__(self, kappas, shares, axes=AXES):
        self.kappas = np.array(kappas, dtype=float)
        self.shares = np.array(shares)
        self.axes = axes[: len(kappas)]
        self.density = sf.Mixture(
            [sf.VonMisesFisher(a, k) for a, k in zip(self.axes, kappas)], self.shares
        )

    def transform(self, z):
        u = z[..., None, :] + self.kappas[:, None] * self.axes
        s = np.linalg.norm(u, axis=-1)
        logs = np.log(self.shares) + log_sinhc(s) - log_sinhc(self.kappas)
        safe = np.maximum(s, 1e-2)
        slope = np.where(
            s < 1e-2, 1 / 3 - s**2 / 45 + 2 * s**4 / 945, (1 / np.tanh(safe) - 1 / safe) / safe
        )
        total = logsumexp(logs, axis=-1)
        weights = np.exp(logs - total[..., None])
        return total, np.einsum("...k,...ki->...i", weights * slope, u)

    @functools.cached_property
    def rule(self):
        """Points and weights of μ, exact to degree 111."""
        cosine, w = np.polynomial.legendre.leggauss(56)
        phi = np.arange(112) * (2 * np.pi / 112)
        sine = np.sqrt(1 - cosine**2)
        x = np.stack(
            [
                np.outer(sine, np.cos(phi)),
                np.outer(sine, np.sin(phi)),
                np.outer(cosine, np.ones(112)),
            ],
            axis=-1,
        ).reshape(-1, 3)
        log_norm = -np.log(4 * np.pi) - log_sinhc(self.kappas)
        exponents = self.kappas * (x @ self.axes.T) + log_norm
        return x, np.exp(exponents) @ self.shares * np.repeat(w, 112) * (2 * np.pi / 112)


def tangential(x, vectors):
    return vectors - x * np.sum(x * vectors, axis=-1, keepdims=True)


def reference(mixture, logits, values, weights, x):
    """m (n, H), v̄ (n, 3), b (n,) and ∫∇K dΘ (n, 3) from the closed form."""
    log_l, slope = mixture.transform(np.einsum("hij,ni->nhj", logits, x))
    velocity = tangential(x, np.einsum("h,hij,nhj->ni", weights, values, slope))
    mobility = np.exp(log_l)
    pull = 0.0
    for d in (logits, np.swapaxes(logits, 1, 2)):
        log_own, own = mixture.transform(np.einsum("hij,ni->nhj", d, x))
        pull = pull + 0.5 * np.einsum("h,hij,nh,nhj->ni", weights, d, np.exp(log_own), own)
    return mobility, velocity, 1 / ((1 / mobility) @ weights), tangential(x, pull)


def integrals(mixture, logits, values, weights):
    """E, G², R and S²."""
    x, w = mixture.rule
    mobility, velocity, b, pull = reference(mixture, logits, values, weights, x)
    return {
        "energy": 0.5 * w @ (mobility @ weights),
        "slope_squared": w @ (b * np.sum(velocity**2, axis=1)),
        "dissipation": w @ np.sum(pull * velocity, axis=1),
        "metric": w @ (np.sum(pull**2, axis=1) / b),
    }


MIXTURES = [
    Mixture([0.5], [1.0]),
    Mixture([20.0], [1.0]),
    Mixture([20.0, 1.0, 7.0], [0.5, 0.2, 0.3]),
]
HEADS = {
    "general": (random_matrices(5, 4.0, 1), random_matrices(5, 2.0, 2)),
    "symmetric": (symmetrised(random_matrices(5, 4.0, 3)),) * 2,
    "zero and small": (
        np.stack([np.zeros((3, 3)), 1e-3 * np.eye(3), 4.0 * np.eye(3)]),
        random_matrices(3, 1.0, 4),
    ),
    "singular": (np.diag([4.0, 0.0, 0.0])[None], random_matrices(1, 1.0, 5)),
}


def head_weights(count):
    return np.arange(1.0, count + 1) / np.arange(1.0, count + 1).sum()


def field_of(source, heads, **options):
    logits, values = heads
    law = sf.FixedHeads(logits, values, head_weights(len(logits)))
    return sf.attention_field(source, law, **options)


@pytest.mark.parametrize("mixture", MIXTURES, ids=["0.5", "20", "mixture"])
@pytest.mark.parametrize("name", HEADS)
class TestClosedForm:
    """|D| ≤ 4 and κ ≤ 20: 1e-12 relative."""

    def test_velocity_and_mobility(self, name, mixture):
        logits, values = HEADS[name]
        weights = head_weights(len(logits))
        mobility, velocity, b, _ = reference(mixture, logits, values, weights, POINTS)
        field = field_of(mixture.density, HEADS[name])
        np.testing.assert_allclose(field.mobility(POINTS), mobility, rtol=1e-12)
        np.testing.assert_allclose(field.effective_mobility(POINTS), b, rtol=1e-12)
        assert np.abs(field.velocity(POINTS) - velocity).max() < 1e-12 * np.abs(velocity).max()

    def test_gradient_velocity(self, name, mixture):
        logits, values = HEADS[name]
        weights = head_weights(len(logits))
        _, _, b, pull = reference(mixture, logits, values, weights, POINTS)
        got = field_of(mixture.density, HEADS[name], velocity="gradient").velocity(POINTS)
        expected = pull / b[:, None]
        error = np.linalg.norm(got - expected, axis=1)
        # Against |∫∇K|/b with the norms inside, since the heads cancel at some points.
        scale = np.linalg.norm(logits, 2, axis=(1, 2)).max() * np.exp(4.0) / b
        assert (error < 1e-12 * scale).all()

    def test_energy_and_budgets(self, name, mixture):
        logits, values = HEADS[name]
        expected = integrals(mixture, logits, values, head_weights(len(logits)))
        field = field_of(mixture.density, HEADS[name])
        assert field.energy() == pytest.approx(expected["energy"], rel=1e-11)
        scale = np.sqrt(abs(expected["slope_squared"] * expected["metric"]))
        assert field.slope_squared() == pytest.approx(expected["slope_squared"], rel=1e-11)
        assert field.dissipation() == pytest.approx(expected["dissipation"], abs=1e-11 * scale)
        assert field.energy_rate() == 0.0


@pytest.mark.parametrize("kappa", [1.0, 50.0, 2000.0])
@pytest.mark.parametrize("norm", [20.0, 80.0, 300.0])
def test_large_logits(kappa, norm):
    # Opposite to the mass L falls to e^{−300}: relative 1e-8 in m, b and v̄, no NaN.
    mixture = Mixture([kappa], [1.0])
    logits = np.concatenate([norm * np.eye(3)[None], random_matrices(2, norm, 6)])
    values = random_matrices(3, 1.0, 7)
    weights = head_weights(3)
    x = POINTS[:12]
    mobility, velocity, b, _ = reference(mixture, logits, values, weights, x)
    field = field_of(mixture.density, (logits, values))
    np.testing.assert_allclose(field.mobility(x), mobility, rtol=1e-8)
    np.testing.assert_allclose(field.effective_mobility(x), b, rtol=1e-8)
    assert np.abs(field.velocity(x) - velocity).max() < 1e-8


@pytest.mark.parametrize("norm", [0.5, 5.0, 25.0, 300.0])
@pytest.mark.parametrize("kappa", [0.1, 10.0, 400.0])
def test_bounds(norm, kappa):
    # The average is convex: |v̄| ≤ ‖V‖; e^{−|z|} ≤ m ≤ e^{|z|}; |∇K|/b is finite.
    logits, values = random_matrices(4, norm, 8), random_matrices(4, 3.0, 9)
    x = random_points(200, seed=2)
    field = field_of(sf.VonMisesFisher(AXES[0], kappa), (logits, values))
    speed = np.linalg.norm(field.velocity(x), axis=1)
    assert speed.max() <= 3.0 * (1 + 1e-12)
    length = np.linalg.norm(np.einsum("hij,ni->nhj", logits, x), axis=-1)
    logs = np.log(field.mobility(x))  # NaN and negative values would fail below
    assert (np.abs(logs) <= length + 1e-9).all()


@pytest.mark.parametrize("norm", [1.0, 4.0, 40.0])
def test_tokens_against_a_plain_softmax(norm):
    rng = np.random.default_rng(3)
    tokens = random_points(300, seed=5)
    share = rng.random(300)
    share /= share.sum()
    logits, values = random_matrices(4, norm, 10), random_matrices(4, 1.0, 11)
    weights = head_weights(4)
    scores = np.einsum("ni,hij,mj->nhm", POINTS, logits, tokens) + np.log(share)
    log_m = logsumexp(scores, axis=-1)
    means = np.exp(scores - log_m[..., None]) @ tokens
    velocity = tangential(POINTS, np.einsum("h,hij,nhj->ni", weights, values, means))
    field = field_of(tokens, (logits, values), weights=share)
    np.testing.assert_allclose(field.mobility(POINTS), np.exp(log_m), rtol=1e-12)
    assert np.abs(field.velocity(POINTS) - velocity).max() < 1e-12
    np.testing.assert_allclose(
        field.effective_mobility(POINTS), 1 / (np.exp(-log_m) @ weights), rtol=1e-12
    )
    pairs = np.einsum("ni,hij,mj->hnm", tokens, logits, tokens)
    energy = 0.5 * np.einsum("h,n,m,hnm->", weights, share, share, np.exp(pairs))
    assert field.energy() == pytest.approx(energy, rel=1e-12)


def test_tokens_with_equal_weights():
    tokens = random_points(50, seed=5)
    equal = field_of(tokens, HEADS["general"])
    given = field_of(tokens, HEADS["general"], weights=np.full(50, 3.0))
    np.testing.assert_allclose(equal.velocity(POINTS), given.velocity(POINTS), atol=1e-15)


class TestBudgets:
    """G² = R = S² for one head; not for several."""

    @pytest.mark.parametrize("mixture", MIXTURES, ids=["0.5", "20", "mixture"])
    def test_one_symmetric_head(self, mixture):
        field = field_of(mixture.density, (symmetrised(random_matrices(1, 4.0, 12)),) * 2)
        assert field.dissipation() == pytest.approx(field.slope_squared(), rel=1e-12)

    def test_identical_heads(self):
        matrices = np.repeat(symmetrised(random_matrices(1, 3.0, 13)), 4, axis=0)
        field = field_of(MIXTURES[2].density, (matrices, matrices))
        assert field.dissipation() == pytest.approx(field.slope_squared(), rel=1e-12)

    def test_several_heads_differ(self):
        # R ≤ G S always; here R = 1.3638 and G² = 1.1962.
        field = field_of(MIXTURES[2].density, HEADS["symmetric"])
        expected = integrals(MIXTURES[2], *HEADS["symmetric"], head_weights(5))
        gap = field.dissipation() / field.slope_squared() - 1
        assert gap == pytest.approx(
            expected["dissipation"] / expected["slope_squared"] - 1, rel=1e-9
        )
        assert abs(gap) > 0.1
        bound = np.sqrt(expected["slope_squared"] * expected["metric"])
        assert field.dissipation() <= bound

    @pytest.mark.parametrize("c", [0.0, 1.0])
    def test_one_token_and_two_heads(self, c):
        # Heads cI + M and −2M, M = diag(1, 0, 0), token p with q = p₁²: with |PMp|² = q(1 − q)
        # v̄ = −½ PMp, ∫∇K = ½ (e^{c+q} − 2e^{−2q}) PMp, 1/b = ½ (e^{−c−q} + e^{2q}).
        # R < 0 where c + 3q > log 2: the energy falls on ascent.
        m = np.diag([1.0, 0.0, 0.0])
        heads = sf.FixedHeads([c * np.eye(3) + m, -2 * m])
        p = np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
        q = 0.5
        field = sf.attention_field(p[None], heads)
        square = q * (1 - q)
        expected = -0.25 * square * (np.exp(c + q) - 2 * np.exp(-2 * q))
        assert expected < 0
        assert field.dissipation() == pytest.approx(expected, rel=1e-12)
        slope = 0.25 * square / (0.5 * (np.exp(-c - q) + np.exp(2 * q)))
        assert field.slope_squared() == pytest.approx(slope, rel=1e-12)

    def test_concentrated_density_and_two_heads(self):
        # The same with a von Mises–Fisher density, κ = 40, in place of the token:
        # R = −0.153, G² = 0.035.
        m = np.diag([1.0, 0.0, 0.0])
        logits = np.stack([np.eye(3) + m, -2 * m])
        p = np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
        mixture = Mixture([40.0], [1.0], axes=p[None])
        expected = integrals(mixture, logits, logits, np.full(2, 0.5))
        field = sf.attention_field(mixture.density, sf.FixedHeads(logits))
        assert field.dissipation() == pytest.approx(expected["dissipation"], rel=1e-11)
        assert field.slope_squared() == pytest.approx(expected["slope_squared"], rel=1e-11)
        assert field.dissipation() == pytest.approx(-0.153327, abs=1e-6)
        assert field.slope_squared() == pytest.approx(0.035483, abs=1e-6)

    @pytest.mark.parametrize("source", ["density", "tokens"])
    @pytest.mark.parametrize(
        "options", [{"attention": "unnormalised"}, {"velocity": "gradient"}], ids=str
    )
    def test_gradient_flows_close_for_several_heads(self, source, options):
        # Unnormalised attention is ∫∇K dΘ with b = 1; "gradient" is b⁻¹ ∫∇K dΘ.
        density = MIXTURES[2].density
        points = density if source == "density" else density.sample(200, seed=1)
        field = field_of(points, HEADS["symmetric"], **options)
        assert field.slope_squared() == pytest.approx(field.dissipation(), rel=1e-12)
        if source == "density" and "velocity" in options:
            expected = integrals(MIXTURES[2], *HEADS["symmetric"], head_weights(5))
            assert field.dissipation() == pytest.approx(expected["metric"], rel=1e-11)


def test_unnormalised_attention():
    # v = P V ∇L(Dᵀx), mobility 1.
    mixture, (logits, values) = MIXTURES[2], HEADS["general"]
    log_l, slope = mixture.transform(np.einsum("hij,ni->nhj", logits, POINTS))
    plain = np.exp(log_l)[..., None] * slope
    expected = tangential(POINTS, np.einsum("h,hij,nhj->ni", head_weights(5), values, plain))
    field = field_of(mixture.density, HEADS["general"], attention="unnormalised")
    scale = np.exp(log_l.max())
    assert np.abs(field.velocity(POINTS) - expected).max() < 1e-12 * scale
    assert (field.mobility(POINTS) == 1).all()
    assert (field.effective_mobility(POINTS) == 1).all()


def test_energy_rate_of_moving_heads():
    # Linear interpolation: ∂_tE is the derivative of E(D(t)), exact central difference of it.
    table = random_matrices(6, 2.0, 14).reshape(2, 3, 3, 3)
    heads = sf.TabulatedHeads([0.0, 1.0], table, weights=[1, 2, 3], interpolation="linear")
    mixture = MIXTURES[2]
    h = 1e-4
    ends = [
        integrals(mixture, *(heads.nodes(t).logits,) * 2, heads.weights)["energy"]
        for t in (0.3 - h, 0.3 + h)
    ]
    rate = sf.attention_field(mixture.density, heads, 0.3).energy_rate()
    assert rate == pytest.approx((ends[1] - ends[0]) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("velocity", ["attention", "gradient"])
def test_rotation_equivariance(velocity):
    # (μ∘Oᵀ, O D Oᵀ, O V Oᵀ) rotates the field: v(O x) = O v(x).
    rotation, _ = np.linalg.qr(np.random.default_rng(4).standard_normal((3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    mixture = MIXTURES[2]
    turned = Mixture(mixture.kappas, mixture.shares, mixture.axes @ rotation.T)
    logits, values = HEADS["general"]
    turned_heads = tuple(rotation @ m @ rotation.T for m in (logits, values))
    one = field_of(mixture.density, (logits, values), velocity=velocity)
    two = field_of(turned.density, turned_heads, velocity=velocity)
    expected = one.velocity(POINTS) @ rotation.T
    got = two.velocity(POINTS @ rotation.T)
    assert np.abs(got - expected).max() < 1e-10 * np.abs(expected).max()
    for name in ("energy", "slope_squared", "dissipation"):
        assert getattr(two, name)() == pytest.approx(getattr(one, name)(), rel=1e-10)


def test_permutation_of_heads():
    logits, values = HEADS["general"]
    weights = head_weights(5)
    order = np.array([3, 0, 4, 1, 2])
    density = MIXTURES[2].density
    one = sf.attention_field(density, sf.FixedHeads(logits, values, weights))
    two = sf.attention_field(density, sf.FixedHeads(logits[order], values[order], weights[order]))
    scale = np.linalg.norm(values, 2, axis=(1, 2)).max()
    assert np.abs(one.velocity(POINTS) - two.velocity(POINTS)).max() < 1e-14 * scale
    np.testing.assert_allclose(one.mobility(POINTS)[:, order], two.mobility(POINTS), rtol=1e-14)
    assert two.energy() == pytest.approx(one.energy(), rel=1e-14)


def test_head_of_weight_zero_counts_for_nothing():
    logits, values = HEADS["general"]
    density = MIXTURES[0].density
    with_it = sf.FixedHeads(logits, values, [1, 1, 0, 1, 1])
    keep = [0, 1, 3, 4]
    without = sf.FixedHeads(logits[keep], values[keep])
    one, two = (sf.attention_field(density, law) for law in (with_it, without))
    np.testing.assert_allclose(one.velocity(POINTS), two.velocity(POINTS), atol=1e-14)


class TestGridAverages:
    """The grid route (antipodes, Funk–Hecke) against the averages point by point."""

    LAWS = {
        "general": sf.FixedHeads(*HEADS["general"]),
        "symmetric": sf.FixedHeads(HEADS["symmetric"][0]),
        "isotropic": sf.FixedHeads([2 * np.eye(3), -np.eye(3)], random_matrices(2, 1, 15)),
        "isotropic, V = D": sf.FixedHeads([2 * np.eye(3), -np.eye(3), 0 * np.eye(3)]),
        "moving": sf.OscillatingHeads(symmetrised(random_matrices(3, 2.0, 16))),
        "Gaussian": sf.OrnsteinUhlenbeck(np.eye(3), 0.7, 0.5, 0.4, quadrature=3),
        "Gaussian, even": sf.OrnsteinUhlenbeck(np.eye(3), 0.7, 0.5, 0.4, quadrature=4),
    }

    @pytest.mark.parametrize("softmax", [True, False])
    @pytest.mark.parametrize("nlat", [32, 33])
    @pytest.mark.parametrize("name", LAWS)
    def test_same_averages(self, name, nlat, softmax):
        transform = transform_of_density(Mixture([3.0, 2.0], [0.6, 0.4]).density, 1e-13)
        nodes = self.LAWS[name].nodes(0.5)
        grid = SphereGrid(31, nlat=nlat)
        x = grid.points.reshape(-1, 3).T
        on_grid = average_on_grid(transform, nodes, grid, softmax=softmax, radial=True)
        at_points = average_at_points(transform, nodes, x, softmax=softmax)
        for entry in Averages.__dataclass_fields__:
            got, expected = getattr(on_grid, entry), getattr(at_points, entry)
            scale = max(1.0, np.abs(expected).max())
            assert np.abs(got - expected).max() < 1e-12 * scale, entry


class TestDatasetAsSource:
    density = Mixture([3.0, 2.0], [0.6, 0.4]).density

    def spectra(self):
        spectrum = complex_to_real(as_density(self.density).resolved_spectrum())
        uniform = np.zeros_like(spectrum)
        uniform[0] = 1 / np.sqrt(4 * np.pi)
        return xr.Dataset(
            {"spectrum": (("time", "harmonic"), np.stack([uniform, spectrum]))},
            coords={"time": [0.0, 1.0]},
        )

    def test_spectrum_at_the_nearest_time(self):
        heads = sf.FixedHeads(*HEADS["general"])
        expected = sf.attention_field(self.density, heads)
        got = sf.attention_field(self.spectra(), heads, t=0.8)
        assert np.abs(got.velocity(POINTS) - expected.velocity(POINTS)).max() < 1e-12
        assert got.energy() == pytest.approx(expected.energy(), rel=1e-12)
        one_time = sf.attention_field(self.spectra().isel(time=1), heads)
        np.testing.assert_array_equal(one_time.velocity(POINTS), got.velocity(POINTS))
        start = sf.attention_field(self.spectra(), heads, t=0.2)
        uniform = sf.attention_field(sf.Uniform(), heads)
        assert np.abs(start.velocity(POINTS) - uniform.velocity(POINTS)).max() < 1e-12

    @pytest.mark.parametrize("weighted", [True, False])
    def test_positions(self, weighted):
        tokens = random_points(40, seed=9)
        share = np.random.default_rng(0).random(40)
        data = {"position": (("time", "token", "axis"), tokens[None])}
        if weighted:
            data["token_weight"] = ("token", share)
        dataset = xr.Dataset(data, coords={"time": [0.0]})
        heads = sf.FixedHeads(*HEADS["general"])
        expected = sf.attention_field(tokens, heads, weights=share if weighted else None)
        got = sf.attention_field(dataset, heads)
        np.testing.assert_array_equal(got.velocity(POINTS), expected.velocity(POINTS))

    def test_run(self):
        problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), self.density)
        run = sf.solve(problem, t_end=0.1, scheme=sf.Spectral(lmax=31))
        field = sf.attention_field(run, problem.heads, t=0.1)
        assert field.energy() == pytest.approx(float(run["energy"][-1]), rel=1e-8)

    def test_nothing_to_take(self):
        with pytest.raises(InputError, match="'position' or 'spectrum'"):
            sf.attention_field(xr.Dataset({"other": 1.0}), sf.FixedHeads(np.eye(3)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": np.eye(3)}, "head law"),
        ({"velocity": "fast"}, "velocity"),
        ({"attention": "linear"}, "attention"),
        ({"source": [[0.0, 0.0, 2.0]]}, "row 0 has length 2"),
        ({"source": [[np.nan, 0.0, 1.0]]}, "finite"),
        ({"source": "text"}, "real numbers"),
        ({"source": POINTS, "weights": [1.0]}, "weights must be 60"),
        ({"source": lambda p: p[..., 0]}, "negative"),
    ],
)
def test_errors(change, message):
    arguments = {"source": sf.Uniform(), "heads": sf.FixedHeads(np.eye(3)), **change}
    source, heads = arguments.pop("source"), arguments.pop("heads")
    with pytest.raises(InputError, match=message):
        sf.attention_field(source, heads, **arguments)


def test_logits_beyond_the_range_are_refused():
    field = sf.attention_field(sf.Uniform(), sf.FixedHeads(2e4 * np.eye(3)))
    with pytest.raises(InputError, match="rescale the heads"):
        field.velocity(POINTS)
