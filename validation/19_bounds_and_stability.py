"""Bounds on the effective mobility, (34), (42) and (44), and stability of the flow, Theorem 5.1.

* e^{−|D|} ≤ b ≤ e^{|D|} with the largest spectral norm |D| of the heads, also for point masses.
* Among all U with mean w over the heads Σ w_h m_h |U_h|² is least, b|w|², at U_h = b w/m_h.
* Two solutions: W2(t) ≤ W2(0) e^{Ct}. The velocity P_x V ∇log L(Dᵀx) has the Lipschitz constants
  |V|(2 + |D|) in x and |V|(1 + 2|D|) e^{2|D|} in μ (Wasserstein), so that C is their sum, averaged
  over the heads. Tokens from perturbed starts, W2 exact; the least C that serves is printed beside.
"""

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure

import sphereflow as sf

RNG = np.random.default_rng(4)
TOKENS = 200
TIMES = np.linspace(0, 2, 9)
PERTURBATIONS = (0.3, 0.03, 0.003)


def random_heads(count, scale):
    square = scale * RNG.standard_normal((count, 3, 3))
    return 0.5 * (square + square.swapaxes(1, 2))


def bounds(evidence):
    lower, upper = np.inf, 0.0
    directions = sf.Uniform().sample(400, 1)
    for trial in range(12):
        logits = random_heads(6, 0.5 + 0.25 * trial)
        largest = np.abs(np.linalg.eigvalsh(logits)).max()
        for source in (
            sf.VonMisesFisher(RNG.standard_normal(3), 2.0 * trial),
            directions[:1],  # a point mass
            directions[:20],
        ):
            b = sf.attention_field(source, sf.FixedHeads(logits)).effective_mobility(directions)
            lower = min(lower, b.min() / np.exp(-largest))
            upper = max(upper, b.max() / np.exp(largest))
    evidence.above("smallest b over its bound e^{-|D|}, 36 measures", lower, 1.0)
    evidence.below("largest b over its bound e^{|D|}", upper, 1.0)


def least_cost(evidence):
    heads = sf.FixedHeads(random_heads(6, 1.0))
    field = sf.attention_field(sf.VonMisesFisher([0, 0, 1], 3.0), heads)
    x = sf.Uniform().sample(50, 2)
    mobility, b = field.mobility(x), field.effective_mobility(x)
    w = RNG.standard_normal((50, 3))
    square = np.sum(w**2, axis=1)
    best = b[:, None, None] * w[:, None] / mobility[..., None]
    weights = heads.weights

    def cost(u):
        return np.sum(weights * mobility * np.sum(u**2, axis=-1), axis=1)

    error = np.abs(cost(best) / (b * square) - 1).max()
    evidence.below("cost of b w/m against b|w|², relative", error, 1e-12)
    smallest = np.inf
    for _ in range(200):
        other = RNG.standard_normal(best.shape)
        other -= np.einsum("h,nhi->ni", weights, other)[:, None]
        smallest = min(smallest, float((cost(best + 0.1 * other) / (b * square)).min()))
    evidence.above("least cost of 200 other U of the same mean, over b|w|²", smallest, 1.0)


def stability(evidence, axes):
    heads = sf.FixedHeads(random_heads(3, 0.5))
    norms = np.abs(np.linalg.eigvalsh(heads.logits)).max(axis=1)
    constant = float(np.mean(norms * (2 + norms + (1 + 2 * norms) * np.exp(2 * norms))))
    evidence.note("constant C of the estimate", constant)
    start = sf.VonMisesFisher([0, 0, 1], 2.0).sample(TOKENS, 5)
    noise = RNG.standard_normal(start.shape)
    rows = {}
    for flow in ("ascent", "descent"):

        def solved(points, flow=flow):
            problem = sf.TransformerPDE(heads, sf.EmpiricalDensity(points), flow=flow)
            scheme = sf.Particles(dt=None)
            return sf.solve(problem, t_end=TIMES[-1], scheme=scheme, save_at=TIMES, rtol=1e-9)

        reference = solved(start)
        for size in PERTURBATIONS:
            moved = start + size * noise
            moved /= np.linalg.norm(moved, axis=1, keepdims=True)
            distance = sf.compare(reference, solved(moved), mobility=False).w2.values
            ratio = distance / distance[0]
            rows[flow, size] = ratio
            served = float((np.log(ratio[1:]) / TIMES[1:]).max())
            evidence.below(f"{flow}, perturbation {size}: least C that serves", served, constant)
            axes.semilogy(
                TIMES, ratio, "o-" if flow == "ascent" else "s--", label=f"{flow}, {size}"
            )
    return rows


def main():
    evidence = Evidence("19_bounds_and_stability", "Bounds on b and stability of the flow")
    bounds(evidence)
    least_cost(evidence)
    figure = Figure(figsize=(5.5, 3.8), layout="constrained")
    axes = figure.subplots()
    rows = stability(evidence, axes)
    axes.set_xlabel("time")
    axes.set_ylabel("$W_2(t)/W_2(0)$")
    axes.legend(frameon=False, fontsize=8)
    values = [[rows[flow, size] for size in PERTURBATIONS] for flow in ("ascent", "descent")]
    dataset = xarray.Dataset(
        {"ratio": (("flow", "perturbation", "time"), values)},
        {"flow": ["ascent", "descent"], "perturbation": list(PERTURBATIONS), "time": TIMES},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
