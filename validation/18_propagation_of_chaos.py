"""Tokens drawn from μ_0 against the PDE: the exponent of the distance in their number.

Three heads, ascent, T = 1, 16 draws for each n from 10² to 10⁵, tokens by fourth-order steps whose
error is far below that of sampling. Beside independent draws: quasi-random points (Sobol' points
through the inverse distribution of the von Mises–Fisher density, 16 scramblings) and weighted
quadrature nodes. The distance is that of `sphereflow.compare`, negative Sobolev of order 2.
"""

# slow

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure
from scipy.stats import qmc

import sphereflow as sf
from sphereflow.densities.node_rules import node_rule
from sphereflow.diagnostics.distances import sobolev_distance

DRAWS = 16
COUNTS = np.array([100, 316, 1000, 3162, 10_000, 31_623, 100_000])
KAPPA = 3.0
DENSITY = sf.VonMisesFisher([0, 0, 1], KAPPA)
RNG = np.random.default_rng(2)
UPPER = RNG.standard_normal((3, 3, 3))
HEADS = sf.FixedHeads(0.5 * (UPPER + UPPER.swapaxes(1, 2)))


def spectrum(density, scheme):
    problem = sf.TransformerPDE(HEADS, density)
    run = sf.solve(problem, t_end=1.0, scheme=scheme, save_at=[1.0], rtol=1e-9)
    name = "spectrum" if "spectrum" in run else "spectrum_mean"
    return run[name].values[0]


def tokens(count=None, draw=0):
    return sf.Particles(count, 0.1, seed=7, first_path=draw, stepper="rk4", store="statistics")


def quasi_random(count, draw):
    with np.errstate(all="ignore"):
        u, v = qmc.Sobol(2, seed=draw).random(count).T
    cosine = 1 + np.log(u + (1 - u) * np.exp(-2 * KAPPA)) / KAPPA
    sine, phi = np.sqrt(np.maximum(0, 1 - cosine**2)), 2 * np.pi * v
    return np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=1)


def exponent(counts, distances):
    """Slope of log root mean square against log n, and its 95 % bootstrap interval over draws."""

    def slope(sample):
        size = np.sqrt(np.mean(sample**2, axis=1))
        return np.polyfit(np.log(counts), np.log(size), 1)[0]

    rng = np.random.default_rng(0)
    several = [slope(distances[:, rng.integers(DRAWS, size=DRAWS)]) for _ in range(2000)]
    return slope(distances), *np.quantile(several, [0.025, 0.975])


def main():
    import warnings

    warnings.filterwarnings("ignore", message="The balance properties")
    evidence = Evidence(
        "18_propagation_of_chaos",
        "Tokens against the PDE",
        claim="mean-field limit: (10) tends to (20) like n^(−1/2)",
        method="tokens against spectral",
    )
    reference = spectrum(DENSITY, sf.Spectral(lmax=95))

    def distance(other):
        return sobolev_distance(reference, other)

    random = np.array(
        [[distance(spectrum(DENSITY, tokens(int(n), k))) for k in range(DRAWS)] for n in COUNTS]
    )
    slope, low, high = exponent(COUNTS, random)
    evidence.interval("independent tokens: exponent", slope, (low, high))
    evidence.below("independent tokens: |exponent + ½|", abs(slope + 0.5), 0.05)
    some = 2 ** np.arange(7, 17, 3)
    quasi = np.array(
        [
            [
                distance(spectrum(sf.EmpiricalDensity(quasi_random(int(n), k)), tokens()))
                for k in range(DRAWS)
            ]
            for n in some
        ]
    )
    better, low, high = exponent(some, quasi)
    evidence.interval("quasi-random tokens: exponent", better, (low, high))
    evidence.below("quasi-random tokens: exponent", better, -0.7)
    rules = [node_rule(DENSITY, degree) for degree in (7, 11, 15, 19, 23)]
    sizes = np.array([len(rule.weights) for rule in rules])
    weighted = np.array(
        [
            distance(spectrum(sf.EmpiricalDensity(rule.positions, rule.weights), tokens()))
            for rule in rules
        ]
    )
    for n, value in zip(sizes, weighted, strict=True):
        evidence.note(f"{n} weighted nodes: distance", value)
    at = np.sqrt(np.mean(random[2] ** 2))
    evidence.note("1000 independent tokens: distance", at)
    figure = Figure(figsize=(5.5, 4), layout="constrained")
    axes = figure.subplots()
    axes.loglog(COUNTS, random, ".", color="C0", alpha=0.3, markersize=4)
    axes.loglog(COUNTS, np.sqrt(np.mean(random**2, axis=1)), "o-", label="independent tokens")
    axes.loglog(some, np.sqrt(np.mean(quasi**2, axis=1)), "s-", label="quasi-random tokens")
    axes.loglog(sizes, weighted, "^-", label="weighted quadrature nodes")
    axes.loglog(COUNTS, at * np.sqrt(1000 / COUNTS), "k--", linewidth=1, label="$n^{-1/2}$")
    axes.set_xlabel("number of tokens")
    axes.set_ylabel("negative Sobolev distance to the PDE, T = 1")
    axes.legend(frameon=False)
    dataset = xarray.Dataset(
        {
            "independent": (("count", "draw"), random),
            "quasi_random": (("quasi_count", "draw"), quasi),
            "weighted": ("node_count", weighted),
        },
        {"count": COUNTS, "quasi_count": some, "node_count": sizes},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
