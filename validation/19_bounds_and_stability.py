"""Bounds on the effective mobility b, and stability of the flow, of arXiv:2605.18870.

* (34): e^{−|D|} ≤ b ≤ e^{|D|}, |D| the largest spectral norm of the heads, also for point masses.
* (42), (44): of all U of mean w over the heads Σ w_h m_h |U_h|² is least, b|w|², at U_h = b w/m_h.
* (33): e^{−|D|/2} W2 ≤ W_{m,2} ≤ e^{|D|/2} W2. The length ℓ = ∫ (∫ b |x'|² dμ)^{1/2} ds of a curve
  is at least W_{m,2}; W2 geodesics keep both bounds, shorter curves by descent the lower one.
* Two solutions: W2(t) ≤ W2(0) e^{∫C}. The velocity P_x V ∇log L(Dᵀx) has the Lipschitz constants
  |V|(2 + |D|) in x and |V|(1 + 2|D|) e^{2|D|} in μ (Wasserstein), so that C is their sum, averaged
  over the heads. Tokens from perturbed starts, W2 exact; the least C that serves is printed beside.
* Remark 5.2 has C2 M in place of ∫C, (137), with M = ∫∫ |D|² dΘ dτ, (138). Let D = V = δI and
  nearly all mass be at a. On descent a token at a small angle φ from a has φ' = δ sin φ: the
  distance to the solution δ_a grows at the rate δ, while M = δ²t. If C1 does not depend on the time
  C2 is at least 1/δ: one C2 needs weights bounded from below, or a term linear in |D|, as in ∫C.
"""

import numpy as np
import ot
import xarray
from evidence import Evidence
from matplotlib.figure import Figure
from scipy.integrate import cumulative_simpson
from scipy.optimize import minimize

import sphereflow as sf

RNG = np.random.default_rng(4)
TOKENS, START = 200, sf.VonMisesFisher([0, 0, 1], 2.0)
TIMES = np.linspace(0, 2, 9)
PERTURBATIONS = (0.3, 0.03, 0.003)
RATES = np.array([0.1, 0.3, 1.0, 3.0])  # δ
SCALES = np.array([0.25, 0.5, 1.0, 2.0])


def random_heads(count, scale):
    square = scale * RNG.standard_normal((count, 3, 3))
    return 0.5 * (square + square.swapaxes(1, 2))


def bounds(evidence):
    lower, upper = np.inf, 0.0
    directions = sf.Uniform().sample(400, 1)
    for trial in range(12):
        logits = random_heads(6, 0.5 + 0.25 * trial)
        largest = np.abs(np.linalg.eigvalsh(logits)).max()
        cap = sf.VonMisesFisher(RNG.standard_normal(3), 2.0 * trial)
        for source in (cap, directions[:1], directions[:20]):  # the second is a point mass
            b = sf.attention_field(source, sf.FixedHeads(logits)).effective_mobility(directions)
            lower = min(lower, b.min() * np.exp(largest))
            upper = max(upper, b.max() / np.exp(largest))
    evidence.above("smallest b over its bound e^{-|D|}, 36 measures", lower, 1.0)
    evidence.below("largest b over its bound e^{|D|}", upper, 1.0)


def least_cost(evidence):
    heads = sf.FixedHeads(random_heads(6, 1.0))
    field = sf.attention_field(sf.VonMisesFisher([0, 0, 1], 3.0), heads)
    x = sf.Uniform().sample(50, 2)
    mobility, b = field.mobility(x), field.effective_mobility(x)
    w = RNG.standard_normal((50, 3))
    best = b[:, None, None] * w[:, None] / mobility[..., None]

    def cost(u):
        total = np.sum(heads.weights * mobility * np.sum(u**2, axis=-1), axis=-1)
        return total / (b * np.sum(w**2, axis=1))

    evidence.below("cost of b w/m against b|w|², relative", np.abs(cost(best) - 1).max(), 1e-12)
    other = RNG.standard_normal((200, *best.shape))
    other -= np.einsum("h,...hi->...i", heads.weights, other)[..., None, :]
    least = cost(best + 0.1 * other).min()
    evidence.above("least cost of 200 other U of the same mean, over b|w|²", least, 1.0)


def on_arcs(x, y, shares):
    """Points at these shares of the arcs from x to y (..., 3), shape (q, ..., 3), and angles."""
    angle = 2 * np.arcsin(np.minimum(0.5 * np.linalg.norm(x - y, axis=-1), 1.0))
    s = shares.reshape(-1, *np.ones(x.ndim, dtype=int))
    wide = angle[..., None] / np.pi
    points = np.sinc((1 - s) * wide) * (1 - s) * x + np.sinc(s * wide) * s * y
    return points / np.sinc(wide), angle


def own_mobility(points, logits):
    """b of clouds of equal weights at their own tokens, (..., n, 3) → (..., n)."""
    x = points[..., None, :, :]
    return 1 / np.mean(1 / np.exp(x @ logits @ x.mT).mean(axis=-1), axis=-2)


def length_of(curve, logits):
    """ℓ of a curve of arcs between clouds at equal steps, shape (k + 1, n, 3)."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    points, angle = on_arcs(curve[:-1], curve[1:], 0.5 * (nodes + 1))
    speed = np.sqrt(np.mean(own_mobility(points, logits) * (len(angle) * angle) ** 2, axis=-1))
    return 0.5 * weights @ speed.mean(axis=1)


def shortened(curve, logits):
    """A curve of smaller action with the same ends; b at the middle of its arcs."""

    def nodes(inner):
        inner = inner.reshape(-1, *curve.shape[1:])
        inner = inner / np.linalg.norm(inner, axis=-1, keepdims=True)
        return np.concatenate([curve[:1], inner, curve[-1:]])

    def action(inner):
        middle, angle = on_arcs(nodes(inner)[:-1], nodes(inner)[1:], np.array([0.5]))
        return len(angle) * np.sum(own_mobility(middle[0], logits) * angle**2)

    return nodes(minimize(action, curve[1:-1].ravel(), method="L-BFGS-B", tol=1e-5).x)


def geodesic(first, second, count, seed):
    """The W2 geodesic between draws of two densities, and W2."""
    x, y = first.sample(count, seed), second.sample(count, seed + 50)
    square = on_arcs(x[:, None] + 0 * y, y + 0 * x[:, None], np.zeros(1))[1] ** 2
    plan = ot.emd([], [], square)
    curve = on_arcs(x, y[plan.argmax(axis=1)], np.linspace(0, 1, 8))[0]
    return curve, np.sqrt(np.sum(plan * square))


def distances(evidence):
    """|D|, and ℓ/W2 of W2 geodesics, and of curves by descent where that was done."""
    rows = []
    for trial in range(12):
        logits = random_heads(1 + trial % 6, 0.25 * (1 + trial))
        ends = [sf.VonMisesFisher(RNG.standard_normal(3), kappa) for kappa in (3.0, 1.0)]
        descends = trial % 3 == 2
        curve, w2 = geodesic(*ends, 8 if descends else 60, trial)
        last = length_of(shortened(curve, logits), logits) if descends else np.nan
        norms = np.linalg.norm(logits, 2, axis=(1, 2))
        rows.append((norms.max(), length_of(curve, logits) / w2, last / w2))
    norm, ratio, shorter = np.array(rows).T
    b = sf.attention_field(curve[0], sf.FixedHeads(logits)).effective_mobility(curve[0])
    error = np.abs(own_mobility(curve[0], logits) / b - 1).max()
    evidence.below("b by plain sums against the package, relative", error, 1e-12)
    evidence.below("W2 geodesics: largest ℓ/W2 over e^{|D|/2}", (ratio / np.exp(norm / 2)).max(), 1)
    lowest = np.fmin(ratio, shorter) * np.exp(norm / 2)
    evidence.above("all curves: smallest ℓ/W2 over e^{−|D|/2}", lowest.min(), 1)
    gain = shorter / ratio
    evidence.note("curves by descent: smallest ℓ over that of the geodesic", np.nanmin(gain))
    evidence.below("curves by descent: largest ℓ over that of the geodesic", np.nanmax(gain), 1)
    return norm, ratio, shorter


def solved(heads, points, flow, times=TIMES, weights=None, rtol=1e-9):
    problem = sf.TransformerPDE(heads, sf.EmpiricalDensity(points, weights), flow=flow)
    adaptive = sf.Particles(dt=None)
    return sf.solve(problem, t_end=times[-1], scheme=adaptive, save_at=times, rtol=rtol)


def growth(heads, start, shift, flow):
    moved = (start + shift) / np.linalg.norm(start + shift, axis=1, keepdims=True)
    runs = [solved(heads, points, flow) for points in (start, moved)]
    w2 = sf.compare(*runs, mobility=False).w2.values
    return w2 / w2[0]


def rates_of(nodes):
    norms = np.linalg.norm(nodes.logits, 2, axis=(1, 2))
    lipschitz = norms * (2 + norms + (1 + 2 * norms) * np.exp(2 * norms))
    return nodes.weights @ norms**2, nodes.weights @ lipschitz  # of M and of ∫C


def stability(evidence, axes):
    heads = sf.FixedHeads(random_heads(3, 0.5))
    constant = float(rates_of(heads.nodes(0.0))[1])
    evidence.note("constant C of the estimate", constant)
    start, noise = START.sample(TOKENS, 5), RNG.standard_normal((TOKENS, 3))
    for flow, style in (("ascent", "o-"), ("descent", "s--")):
        for size in PERTURBATIONS:
            ratio = growth(heads, start, size * noise, flow)
            served = (np.log(ratio[1:]) / TIMES[1:]).max()
            evidence.below(f"{flow}, perturbation {size}: least C that serves", served, constant)
            axes.plot(TIMES, ratio, style, label=f"{flow}, {size}")
    return heads


def linear_growth(evidence):
    """The distance to δ_a of a solution with a small share of its mass close to a."""
    share, angle = 1e-9, 1e-4
    points = np.array([[0, 0, 1], [np.sin(angle), 0, np.cos(angle)]])
    weights = np.array([1 - share, share])
    measured = []
    for rate in RATES:
        run = solved(sf.FixedHeads(rate * np.eye(3)), points, "descent", [2 / rate], weights, 1e-12)
        angles = on_arcs(run["position"].values[-1], points[[0, 0]], np.zeros(1))[1]
        ratio = weights @ angles**2 / (share * angle**2)  # of W2²: there is one plan to δ_a
        measured.append(0.5 * np.log(ratio) * rate / 2)
        evidence.note(f"δ = {rate}: log of the growth over M", measured[-1] / rate**2)
    evidence.below("rate of W2 against δ, relative", np.abs(measured / RATES - 1).max(), 1e-6)
    return measured / RATES**2


def scaled_laws(evidence, fixed):
    fine = np.linspace(0, TIMES[-1], 25 * (len(TIMES) - 1) + 1)
    start, shift = START.sample(100, 6), 0.03 * RNG.standard_normal((100, 3))
    oscillating = sf.OscillatingHeads(random_heads(3, 0.5))
    least = {"fixed heads": [], "oscillating heads": []}
    for (name, values), law in zip(least.items(), (fixed, oscillating), strict=True):
        table, worst = np.stack([law.nodes(float(t)).logits for t in fine]), -np.inf
        for scale in SCALES:
            heads = sf.TabulatedHeads(fine, scale * table)
            rates = np.transpose([rates_of(heads.nodes(float(t))) for t in fine])
            squares, constants = cumulative_simpson(rates, x=fine, initial=0)[:, 25::25]
            both = [growth(heads, start, shift, flow)[1:] for flow in ("ascent", "descent")]
            values.append((np.log(both) / squares).max())
            worst = max(worst, (np.log(both) / constants).max())
            evidence.note(f"{name} × {scale}: least C2 of (137) with C1 = 1", values[-1])
        evidence.below(f"{name}, all scales: largest log of the growth over ∫C", worst, 1.0)
    return least


def main():
    evidence = Evidence(
        "19_bounds_and_stability",
        "Bounds on b and stability of the flow",
        claim="(34), (42), (44), Proposition 3.7, Theorem 5.1, Remark 5.2",
        method="attention field; tokens, adaptive, and exact optimal transport",
    )
    bounds(evidence)
    least_cost(evidence)
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    fixed = stability(evidence, middle)
    middle.set(xlabel="time", ylabel="$W_2(t)/W_2(0)$")
    norm, ratio, shorter = distances(evidence)
    line = np.linspace(0, 1.05 * norm.max(), 50)
    left.fill_between(line, np.exp(-line / 2), np.exp(line / 2), color="0.92", label="bounds, (33)")
    left.semilogy(norm, ratio, "o", mfc="none", label="W2 geodesics")
    left.semilogy(norm, shorter, "x", color="C3", label="shorter curves")
    left.set(xlabel="|D|", ylabel="length over $W_2$")
    quotients, least = linear_growth(evidence), scaled_laws(evidence, fixed)
    right.loglog(RATES, quotients, "o", label="δI, token near a point mass")
    right.loglog(RATES, 1 / RATES, "-", color="0.6", label="1/δ")
    for (name, values), style in zip(least.items(), ("s-", "^-"), strict=True):
        right.loglog(SCALES, values, style, label=f"{name}: least $C_2$")
    right.set(xlabel="δ or scale of the heads", ylabel="log of the growth over $M_\\theta$")
    for axes in figure.axes:
        axes.legend(frameon=False, fontsize=8)
    dataset = xarray.Dataset(coords={"rate": RATES, "scale": SCALES, "time": TIMES})
    dataset["length_over_w2"] = ("curve", "column"), np.stack([norm, ratio, shorter], axis=1)
    dataset["growth_over_strength"] = "rate", quotients
    dataset["least_constant"] = ("heads", "scale"), list(least.values())
    dataset["growth"] = ("run", "time"), [line.get_ydata() for line in middle.lines]
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
