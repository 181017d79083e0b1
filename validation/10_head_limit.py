"""From H random heads to their Fokker–Planck law, and from a perturbed drift to the drift.

The density under H sampled Ornstein–Uhlenbeck heads (exact transitions, 16 draws for each H)
against the density under the law of infinitely many: the distance falls like H^(−1/2), eq. (147)
of arXiv:2605.18870 and the setting of its Theorem 5.5. Then the density under the law of a double
well whose drift is tilted by ε against that without tilt, and isotropic heads with their law on a
grid against the exact Gaussian law. Distances are negative Sobolev norms of order 3/2 of the
difference of the spectra at t = 0.5.
"""

# slow

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure

import sphereflow as sf
from sphereflow.heads.drifts import DoubleWell, MeanReversion
from sphereflow.heads.parametrisations import coordinates_of

COUNTS = np.array([8, 32, 128, 512, 2048])
DRAWS = 16
TILTS = np.array([0.4, 0.2, 0.1, 0.05, 0.025])
T_END, DT = 0.5, 0.125
SIGMA = 0.3  # small, since sampled heads are linear between their steps
DENSITY = sf.Mixture(
    [sf.VonMisesFisher([1, 0, 0], 6.0), sf.VonMisesFisher([0, 0.6, 0.8], 3.0)], [0.4, 0.6]
)


def spectrum(heads, **options):
    problem = sf.TransformerPDE(heads, DENSITY, flow="descent")
    scheme = sf.Spectral(lmax=31, lmax_max=31, resolution_limit=1.0, spectrum_degree=16, **options)
    run = sf.solve(problem, t_end=T_END, scheme=scheme, save_at=[T_END], rtol=1e-7)
    return run["spectrum"].isel(time=0)


def distance(first, second):
    degree = first["degree"]
    weights = (1.0 + degree * (degree + 1)) ** -1.5
    return float(np.sqrt((weights * (first - second) ** 2).sum()))


def many_heads(evidence):
    target = coordinates_of(np.eye(3))
    process = sf.HeadProcess(MeanReversion(target), np.sqrt(2.0) * SIGMA, sf.Symmetric())
    fokker_planck = sf.FokkerPlanckLaw(process, sf.Normal(0.0, 0.7))
    law = sf.OrnsteinUhlenbeck(np.eye(3), sigma=SIGMA, initial_std=0.7)
    limit = spectrum(fokker_planck, dt=DT)
    distances = np.empty((len(COUNTS), DRAWS))
    for row, count in enumerate(COUNTS):
        for draw in range(DRAWS):
            seed = 1000 * row + draw
            heads = law.sample(int(count), seed=seed, dt=DT, method="exact")
            distances[row, draw] = distance(spectrum(heads, dt=DT), limit)
        evidence.note(f"H = {count}: rms distance", np.sqrt((distances[row] ** 2).mean()))
    rng = np.random.default_rng(0)

    def exponent(values):
        root = np.sqrt((values**2).mean(axis=1))
        return np.polyfit(np.log(COUNTS), np.log(root), 1)[0]

    resampled = [exponent(rng.choice(distances, DRAWS, axis=1)) for _ in range(2000)]
    low, high = np.percentile(resampled, [2.5, 97.5])
    best = exponent(distances)
    evidence.interval("distance to infinitely many heads: exponent in H", best, (low, high))
    evidence.below("distance to infinitely many heads: |exponent + 1/2|", abs(best + 0.5), 0.08)
    return distances, best


def grid_against_gaussian(evidence):
    """Isotropic Ornstein–Uhlenbeck heads to t = 2: the law on a grid against the exact one."""
    process = sf.HeadProcess(MeanReversion(1.5), 0.6, sf.Isotropic())
    problem = sf.TransformerPDE(None, DENSITY, flow="descent")
    runs = []
    for options in ({"method": "gaussian", "nodes": 10}, {"method": "grid", "cells": 32000}):
        law = sf.FokkerPlanckLaw(process, sf.Normal(0.5, 0.4), **options)
        scheme = sf.Spectral(lmax=31, spectrum_degree=8)
        run = sf.solve(problem.with_heads(law), t_end=2.0, scheme=scheme, save_at=[0.0, 2.0])
        evidence.below(
            f"isotropic heads, {options['method']}: energy residual",
            abs(float(run["energy_residual"][-1])),
            1e-6,
        )
        runs.append(run["spectrum"].values[-1])
    change = np.abs(runs[0] - runs[1]).max()
    evidence.below("isotropic heads: coefficients to degree 8, grid against Gaussian", change, 1e-6)


def perturbed_drift(evidence):
    def run(tilt):
        process = sf.HeadProcess(DoubleWell(centre=1.0, tilt=tilt), 0.5, sf.Isotropic())
        return spectrum(sf.FokkerPlanckLaw(process, sf.Normal(1.0, 0.3)))

    limit = run(0.0)
    distances = np.array([distance(run(float(tilt)), limit) for tilt in TILTS])
    slope = np.polyfit(np.log(TILTS), np.log(distances), 1)[0]
    evidence.below("tilted drift: |exponent in ε − 1|", abs(slope - 1), 0.1)
    return distances


def main():
    evidence = Evidence(
        "10_head_limit",
        "From H heads to their law, from f + ε to f",
        claim="limit of many heads (147), perturbed drift of Theorem 5.5",
        method="spectral, sampled heads against their law",
    )
    by_count, exponent = many_heads(evidence)
    grid_against_gaussian(evidence)
    by_tilt = perturbed_drift(evidence)
    figure = Figure(figsize=(8.0, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for values in by_count.T:
        left.loglog(COUNTS, values, ".", color="0.75")
    root = np.sqrt((by_count**2).mean(axis=1))
    left.loglog(COUNTS, root, "o", color="C0", label="root mean square")
    middle = np.exp(np.log(root).mean())
    line = middle * (COUNTS / np.exp(np.log(COUNTS).mean())) ** exponent
    left.loglog(COUNTS, line, "-", color="C0", lw=1, label=f"fit, exponent {exponent:.2f}")
    left.set_xlabel("heads H")
    left.set_ylabel("distance to infinitely many heads")
    left.legend(frameon=False, fontsize=8)
    right.loglog(TILTS, by_tilt, "o", label="runs")
    right.loglog(TILTS, by_tilt[-1] * TILTS / TILTS[-1], "-", lw=1, color="0.6", label="order 1")
    right.set_xticks(TILTS, [f"{tilt:g}" for tilt in TILTS])
    right.minorticks_off()
    right.set_xlabel("tilt ε of the drift")
    right.set_ylabel("distance to ε = 0")
    right.legend(frameon=False, fontsize=8)
    dataset = xarray.Dataset(
        {"distance": (("heads", "draw"), by_count), "distance_tilt": ("tilt", by_tilt)},
        coords={"heads": COUNTS, "tilt": TILTS},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
