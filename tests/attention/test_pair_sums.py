"""The compiled direct sums over pairs against dense NumPy by log-sum-exp.

Errors are relative to the positive sums that they belong to: of vectors to L times the norm of
the matrix in front, however small L is.
"""

import numpy as np
import pytest
from scipy.special import logsumexp

from sphereflow.attention import pair_sums as module
from sphereflow.attention.average import PACKED
from sphereflow.attention.pair_sums import BLOCK, _power_of_two, pair_sums
from sphereflow.machine.compiled import numba_threads

NAMES = ("attention", "interaction", "gradient", "inverse", "slopes", "curvatures")


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def scaled(matrices, norm):
    """Matrices whose largest singular values are `norm`."""
    return norm * matrices / np.linalg.norm(matrices, 2, axis=(-2, -1))[..., None, None]


def compiled(x, weights, logits, values, shares, softmax=True, curvatures=True):
    """Sums at tokens x (P, n, 3) of heads (P, H, 3, 3), added up over blocks of rows."""
    paths, count, _ = x.shape
    heads, blocks = logits.shape[1], -(-count // BLOCK)
    out = [np.full(s, np.nan) for s in ((paths, 3, count), (paths, count)) * 2]
    slopes = np.full((paths, blocks, heads, 3, 3), np.nan)
    bends = np.full((paths, blocks, heads, 6, 6) if curvatures else (0, 0, 0, 6, 6), np.nan)
    positions = np.ascontiguousarray(np.swapaxes(x, 1, 2))
    pair_sums(positions, weights, logits, values, shares, softmax, *out, slopes, bends)
    full = bends.sum(axis=1)[:, :, PACKED[:, :, None, None], PACKED] if curvatures else None
    vectors = [np.swapaxes(a, 1, 2) if a.ndim == 3 else a for a in out]
    return dict(zip(NAMES, [*vectors, slopes.sum(axis=1), full]))


def dense(x, weights, logits, values, shares, softmax=True):
    """The same for one path, x (n, 3) and heads (H, 3, 3); also log L, shape (H, n)."""
    scores = np.einsum("na,hab,mb->hnm", x, logits, x) + np.log(weights)
    log_l = logsumexp(scores, axis=2)
    share = np.exp(scores - log_l[:, :, None])
    mean = share @ x
    level = np.exp(log_l)
    slope = level[:, :, None] * mean
    hessian = level[:, :, None, None] * np.einsum("hnm,mc,md->hncd", share, x, x, optimize=True)
    return {
        "attention": np.einsum("h,hab,hnb->na", shares, values, mean if softmax else slope),
        "interaction": shares @ level,
        "gradient": np.einsum("h,hab,hnb->na", shares, logits, slope),
        "inverse": shares @ np.exp(-log_l),
        "slopes": np.einsum("n,na,hnb->hab", weights, x, slope),
        "curvatures": np.einsum("n,na,nb,hncd->habcd", weights, x, x, hessian, optimize=True),
        "log_l": log_l,
    }


def compare(got, expected, weights, logits, values, shares, softmax, tolerance):
    """Largest error of each sum relative to that of the sizes of its terms."""
    level = np.exp(expected["log_l"])
    of_values, of_logits = (shares * np.linalg.norm(m, 2, axis=(1, 2)) for m in (values, logits))
    size = {
        "attention": of_values.sum() if softmax else (of_values @ level)[:, None],
        "interaction": expected["interaction"],
        "gradient": (of_logits @ level)[:, None],
        "inverse": expected["inverse"],
        "slopes": (level @ weights)[:, None, None],
        "curvatures": (level @ weights)[:, None, None, None, None],
    }
    for name, scale in size.items():
        error = np.abs(got[name] - expected[name]) / scale
        assert error.max() < tolerance, (name, error.max())


def test_power_of_two_is_accurate_to_the_round_off():
    # Half an ulp of the rounded product, the polynomial's 2e-16 and the rounding of its sum.
    t = np.concatenate(
        [np.linspace(-980.0, 0.0, 20_011), -np.arange(981.0), 0.5 - np.arange(1.0, 980.0)]
    )
    exact = np.exp2(t.astype(np.longdouble))
    error = [abs(np.longdouble(_power_of_two(one)) / e - 1) for one, e in zip(t, exact)]
    assert max(error) < 5e-16


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("count", [1, 31, 32, 77])
@pytest.mark.parametrize("norm", [1e-3, 3.0, 40.0])
def test_general_heads_and_weights_of_several_paths(norm, count, softmax):
    # Fifteen roundings of exponents of size |z| and of sums of positive terms.
    rng = np.random.default_rng(count)
    x = unit(rng.standard_normal((3, count, 3)))
    weights = rng.random(count) + 0.01
    weights /= weights.sum()
    logits, values = (scaled(rng.standard_normal((3, 4, 3, 3)), n) for n in (norm, 2.0))
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    got = compiled(x, weights, logits, values, shares, softmax)
    for path in range(3):
        heads = (weights, logits[path], values[path], shares, softmax)
        one = {name: sums[path] for name, sums in got.items()}
        compare(one, dense(x[path], *heads), *heads, 4e-15 + 1e-15 * norm)


def test_head_sums_without_curvatures_are_the_same():
    rng = np.random.default_rng(3)
    x = unit(rng.standard_normal((2, 45, 3)))
    heads = (np.full(45, 1 / 45), *rng.standard_normal((2, 2, 3, 3, 3)), np.full(3, 1 / 3))
    with_them, without = (compiled(x, *heads, curvatures=c) for c in (True, False))
    for name in NAMES[:-1]:
        np.testing.assert_allclose(without[name], with_them[name], rtol=1e-13, atol=1e-14)


CLUSTER = unit(np.array([0.3, -0.5, 0.8]) + 1e-3 * np.random.default_rng(1).normal(size=(70, 3)))
TWO = np.concatenate([CLUSTER[:35], -CLUSTER[35:]])
LARGE = np.stack([300.0 * np.eye(3), -300.0 * np.eye(3), np.diag([300.0, -200.0, 10.0])])


@pytest.mark.parametrize("points", [CLUSTER, TWO], ids=["one cluster", "two opposite clusters"])
@pytest.mark.parametrize("head", range(3))
def test_large_logits(head, points):
    # Exponents are rounded to 300 · 2^-53 in both sums. With −300 I the cluster is opposite
    # to z: L is about e^{−300} where e^{|z|} is e^{300}.
    weights = np.random.default_rng(2).random(70)
    weights /= weights.sum()
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]
    logits = LARGE[head : head + 1] @ (turn if head == 2 else np.eye(3))
    heads = (weights, logits, np.diag([1.0, 2.0, -1.0])[None], np.ones(1))
    got = compiled(points[None], *(h[None] if h.ndim == 3 else h for h in heads))
    expected = dense(points, *heads)
    one = {name: sums[0] for name, sums in got.items()}
    compare(one, expected, *heads, True, 4e-15 * 300)
    if head == 1 and points is CLUSTER:
        # ⟨x, y⟩ = 1 − O(1e-5) in the cluster.
        np.testing.assert_allclose(np.log(one["interaction"]), -300.0, atol=0.01)


def test_results_do_not_depend_on_threads_or_on_other_paths():
    rng = np.random.default_rng(4)
    x = unit(rng.standard_normal((3, 101, 3)))
    weights = np.full(101, 1 / 101)
    logits, values = rng.standard_normal((2, 3, 5, 3, 3))
    shares = np.full(5, 0.2)
    results = []
    for threads in (1, 2, 64):
        with numba_threads(threads):
            results.append(compiled(x, weights, logits, values, shares))
    alone = [
        compiled(x[p : p + 1], weights, logits[p : p + 1], values[p : p + 1], shares)
        for p in range(3)
    ]
    for name in NAMES:
        for other in results[1:]:
            np.testing.assert_array_equal(results[0][name], other[name])
        joined = np.concatenate([one[name] for one in alone])
        np.testing.assert_array_equal(results[0][name], joined)


def test_order_of_the_tokens_does_not_matter():
    # Sums are taken in another order: round-off only.
    rng = np.random.default_rng(5)
    x = unit(rng.standard_normal((1, 90, 3)))
    weights = rng.random(90)
    weights /= weights.sum()
    heads = (*rng.standard_normal((2, 1, 2, 3, 3)), np.array([0.3, 0.7]))
    order = rng.permutation(90)
    plain = compiled(x, weights, *heads)
    mixed = compiled(x[:, order], weights[order], *heads)
    for name in ("attention", "interaction", "gradient", "inverse"):
        np.testing.assert_allclose(mixed[name], plain[name][:, order], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(mixed["slopes"], plain["slopes"], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("at_once", [1, 20_000])
def test_sums_of_a_few_blocks_at_a_time_are_the_same_to_the_last_bit(at_once, monkeypatch):
    rng = np.random.default_rng(5)
    x = unit(rng.normal(size=(3, 5 * BLOCK + 7, 3)))
    weights = rng.dirichlet(np.ones(x.shape[1]))
    logits, values = rng.normal(size=(2, 3, 2, 3, 3))
    arguments = (x, weights, logits, values, np.array([0.25, 0.75]))
    whole = compiled(*arguments)
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    parts = compiled(*arguments)
    for name in NAMES:
        np.testing.assert_array_equal(parts[name], whole[name])
