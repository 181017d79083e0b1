"""Series of L, ∇L and ∇∇L at tokens, and the field of tokens and nodes that they give.

References are sums over all pairs by log-sum-exp, whose exponents of size |z| are rounded.
"""

import numpy as np
import pytest

import sphereflow as sf
from sphereflow.attention import PointField, TokenField, WeightedPoints, token_costs
from sphereflow.attention.measure import KeptMoments
from sphereflow.attention.target_sums import target_sums
from sphereflow.attention.token_series import LostSeries, TokenSeries
from sphereflow.sphere import PointTransform

TURN = np.linalg.qr(np.random.default_rng(7).standard_normal((3, 3)))[0]
HEADS = {
    "0": np.zeros((3, 3)),
    "25 I": 25.0 * np.eye(3),
    "−25 I": -25.0 * np.eye(3),
    "400 I": 400.0 * np.eye(3),
    "diagonal": 25.0 * np.diag([1.0, 0.7, 0.4]),
    "singular": 25.0 * np.outer(TURN[0], TURN[1]),
    "general": 20.0 * TURN @ np.diag([1.0, 0.5, -0.3]),
    "nearly isotropic": 3.0 * np.eye(3) + 1e-9 * TURN,
    "long": 100.0 * TURN @ np.diag([1.0, 0.7, 0.4]),
}


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def clustered(count, seed=0):
    """Twelve clusters of widths 1e-8 to 0.05, and one token in a hundred elsewhere."""
    rng = np.random.default_rng(seed)
    centres, widths = unit(rng.standard_normal((12, 3))), np.geomspace(1e-8, 0.05, 12)
    which = rng.integers(0, 12, count)
    x = centres[which] + widths[which, None] * rng.standard_normal((count, 3))
    stray = rng.random(count) < 0.01
    x[stray] = rng.standard_normal((stray.sum(), 3))
    return unit(x)


def spread(count, seed=0):
    return unit(np.random.default_rng(seed).standard_normal((count, 3)))


TOKENS = {"clustered": clustered, "spread": spread}


def series_of(x, w, targets=None, allowed=np.inf, threads=1, tolerance=1e-12):
    own = PointTransform(x)
    at = own if targets is None else PointTransform(targets, threads)
    moments = KeptMoments(lambda degree: own.moments(w, degree), 40)
    return TokenSeries(
        at,
        WeightedPoints(x, w),
        moments,
        tolerance,
        spread=1.0,
        allowed_pairs=allowed,
        threads=threads,
    )


def sums(logits, x, w, targets):
    """log L, ∇log L and ∇∇L / L at Dᵀ times the targets."""
    scores = targets @ logits @ x.T + np.log(w)
    top = scores.max(axis=1)
    share = np.exp(scores - top[:, None])
    total = share.sum(axis=1)
    share /= total[:, None]
    second = np.einsum("mn,na,nb->abm", share, x, x, optimize=True)
    return top + np.log(total), (share @ x).T, second


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("head", HEADS)
def test_series_equal_direct_sums(head, tokens):
    # Every token is trusted to 1e-12; log L itself is rounded to |z| · 1e-16.
    logits, x = HEADS[head], TOKENS[tokens](3000)
    w = np.random.default_rng(1).dirichlet(np.full(len(x), 5.0))
    found = series_of(x, w)(logits)
    some = slice(None, None, 7)
    log_l, mean, _ = sums(logits, x, w, x[some])
    assert np.abs((found.gradient / found.value)[:, some] - mean).max() < 1e-12
    error = np.abs(found.radius + np.log(found.value))[some] - np.abs(log_l)
    assert np.abs(error).max() < 1e-12 * max(1.0, np.linalg.norm(logits, 2) / 25)


@pytest.mark.parametrize("head", ["0", "25 I", "diagonal", "general", "long"])
def test_second_derivatives_at_other_points(head):
    x, targets = clustered(2000), np.concatenate([spread(300, seed=2), clustered(300)])
    w = np.full(len(x), 1.0 / len(x))
    found, hessian = series_of(x, w, targets).with_hessian(HEADS[head])
    _, mean, second = sums(HEADS[head], x, w, targets)
    assert np.abs(found.gradient / found.value - mean).max() < 1e-12
    for row, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
        assert np.abs(hessian[row] / found.value - second[a, b]).max() < 2e-12


def test_tokens_that_a_series_does_not_know_are_summed_directly():
    # At −25 I a token sees e^{−50} of a cluster around itself: below the round-off of the series.
    x, w = clustered(40), np.full(40, 1 / 40)
    x[1:] = x[0]
    series = series_of(x, w)
    found = series(HEADS["−25 I"])
    assert series.pairs > 0
    np.testing.assert_allclose(found.radius + np.log(found.value), -25.0, rtol=1e-12)
    with pytest.raises(LostSeries):
        series_of(x, w, allowed=30.0)(HEADS["−25 I"])


def test_tokens_that_coincide_are_summed_once():
    x = np.repeat(spread(30), 100, axis=0)
    w = np.random.default_rng(3).dirichlet(np.ones(len(x)))
    series = series_of(x, w, tolerance=1e-16)
    found = series(HEADS["diagonal"])
    assert series.pairs == 30 * len(x)
    log_l, mean, _ = sums(HEADS["diagonal"], x, w, x)
    np.testing.assert_allclose(found.gradient / found.value, mean, atol=1e-14)
    np.testing.assert_allclose(found.radius + np.log(found.value), log_l, rtol=1e-14)


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("length", [1e-3, 30.0, 1e4])
def test_target_sums(length, second):
    y, z = spread(501).T, length * spread(77, seed=1).T
    w = np.random.default_rng(0).dirichlet(np.ones(501))
    y, z = np.ascontiguousarray(y), np.ascontiguousarray(z)
    shift, found = target_sums(z, y, w, 1, second=second)
    again = target_sums(z, y, w, 2, second=second)
    np.testing.assert_array_equal(again[0], shift)
    np.testing.assert_array_equal(again[1], found)
    exponents = z.T @ y
    functions = [np.ones(501), *y]
    if second:
        functions += [y[a] * y[b] for a, b in ((0, 0), (1, 1), (0, 1), (0, 2), (1, 2))]
    terms = w * np.exp(exponents - shift[:, None])
    expected = np.array(functions) @ terms.T
    # The exponents are rounded to 1e-16 of the length.
    np.testing.assert_allclose(found, expected, atol=1e-15 + 2e-16 * length, rtol=1e-12)


def test_results_do_not_depend_on_threads():
    x, w = clustered(900), np.full(900, 1 / 900)
    for head in ("25 I", "general"):
        one, two = (series_of(x, w, threads=n, tolerance=1e-13)(HEADS[head]) for n in (1, 2))
        np.testing.assert_array_equal(one.value, two.value)
        np.testing.assert_array_equal(one.gradient, two.gradient)


@pytest.mark.parametrize("beta", [25.0, 400.0])
def test_auto_takes_series_through_clustering(beta):
    law = sf.FixedHeads(beta * np.eye(3), np.eye(3))
    problem = sf.TransformerPDE(law, sf.Uniform())
    x = clustered(20000)
    w = np.full(len(x), 1 / len(x))
    field = TokenField(problem.field_specification, w, "auto", 1)
    sample = field(0.0, np.ascontiguousarray(x.T)[None], [problem.heads.nodes(0.0)], [0])
    for _ in range(2):  # the first evaluation may find the velocity too steep for harmonics
        sample = field(0.0, np.ascontiguousarray(x.T)[None], [problem.heads.nodes(0.0)], [0])
    assert field.now.series_evaluations >= 2 and field.now.direct_evaluations == 0
    some = slice(None, None, 97)
    _, mean, _ = sums(beta * np.eye(3), x, w, x[some])
    along = np.sum(x[some].T * mean, axis=0)
    expected = mean - x[some].T * along
    speed = np.linalg.norm(sample.velocity[0], axis=0).max()
    assert np.abs(sample.velocity[0][:, some] - expected).max() < 1e-12 * max(speed, 0.1)


@pytest.mark.parametrize("attention", ["softmax", "unnormalised"])
@pytest.mark.parametrize("drift", [None, TURN])
def test_velocity_and_divergence_at_nodes(attention, drift, monkeypatch):
    # The reference is direct, with a divergence by differences of fourth order, to 1e-10.
    rng = np.random.default_rng(4)
    law = sf.FixedHeads(6.0 * rng.standard_normal((2, 3, 3)), rng.standard_normal((2, 3, 3)))
    problem = sf.TransformerPDE(law, sf.Uniform(), attention=attention, drift=drift)
    x = clustered(800)
    w = rng.dirichlet(np.full(600, 5.0))
    source = WeightedPoints(np.ascontiguousarray(x[:600]), w)
    direct = PointField(problem.field_specification, 1e-12, 1)
    direct.now.left = direct.now.lost = 10
    expected = direct(0.2, source, x)
    assert direct.now.direct_evaluations == 1
    monkeypatch.setattr("sphereflow.attention.point_field.cost_of_grid", lambda *a: np.inf)
    for targets in (x, np.ascontiguousarray(x[::-1])):
        field = PointField(problem.field_specification, 1e-10, 1)
        sample = field(0.2, source, targets)
        assert field.now.series_evaluations == 1
        order = slice(None, None, 1 if targets is x else -1)
        speed = np.abs(expected.velocity).max()
        assert np.abs(sample.velocity[order] - expected.velocity).max() < 1e-11 * speed
        steepest = np.abs(expected.divergence).max()
        assert np.abs(sample.divergence[order] - expected.divergence).max() < 1e-9 * steepest
        for name in ("energy", "dissipation", "slope_squared", "metric_slope_squared"):
            assert getattr(sample, name) == pytest.approx(getattr(expected, name), rel=1e-11)
        assert sample.drift_rate == pytest.approx(expected.drift_rate, rel=1e-11, abs=1e-14)


def test_costs_grow_as_the_routes_do():
    nodes = sf.FixedHeads(np.diag([25.0, 10.0, 5.0])).nodes(0.0)
    costs = [token_costs.cost_of_series(n, nodes, 25.0) for n in (10**5, 10**6)]
    assert 5.0 < costs[1] / costs[0] < 10.0
    assert token_costs.cost_of_pairs(10**4, nodes) > token_costs.cost_of_series(10**4, nodes, 25.0)
    assert token_costs.cost_of_series(10**4, nodes, 1e3) == np.inf
