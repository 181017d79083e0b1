"""The energy budget: it closes with the dissipation R, not in general with G² of eq. (113).

Random symmetric heads, von Mises-Fisher start with κ = 3, T = 1. Bounds: |energy_residual| and
the change of the coefficients to degree 8 from lmax 63 to 127.
"""

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure
from scipy.integrate import simpson

import sphereflow as sf

DENSITY = sf.VonMisesFisher([0.3, -0.5, 0.8], 3.0)
SIGN = {"ascent": 1.0, "descent": -1.0}


def symmetric(count, seed, scale=0.5):
    noise = np.random.default_rng(seed).standard_normal((count, 3, 3))
    return scale * (noise + np.swapaxes(noise, 1, 2))


def solve(heads, flow, lmax=63, rtol=1e-8, **options):
    problem = sf.TransformerPDE(sf.FixedHeads(heads), DENSITY, flow=flow, **options)
    return sf.solve(problem, t_end=1.0, scheme=sf.Spectral(lmax=lmax), save_every=0.05, rtol=rtol)


def gap(run, flow):
    """E(T) − E(0) − s ∫ G² dt by Simpson's rule on the outputs, and E(T) − E(0)."""
    change = float(run.energy[-1] - run.energy[0])
    return change - SIGN[flow] * float(simpson(run.slope_squared, x=run.time)), change


def main():
    evidence = Evidence(
        "02_energy_budget",
        "Energy budget of 5 random symmetric heads",
        claim="energy balance (117), with R and with G², and the velocity for which it closes",
        method="spectral",
    )
    runs = {}
    for flow in SIGN:
        run = runs[flow] = solve(symmetric(5, 0), flow)
        fine = solve(symmetric(5, 0), flow, lmax=127)
        change = np.abs(run.spectrum.values - fine.spectrum.values)[:, :81].max()
        evidence.below(f"{flow}: largest |energy residual|", abs(run.energy_residual).max(), 1e-7)
        evidence.below(f"{flow}: mass error", abs(run.mass - 1).max(), 1e-13)
        evidence.below(f"{flow}: coefficients to degree 8, lmax 63 to 127", change, 1e-8)
        missing, total = gap(run, flow)
        evidence.note(f"{flow}: change of energy", total)
        evidence.note(f"{flow}: what the budget with G² misses", missing)
        for label, heads, options in (
            ("one head", symmetric(1, 1), {}),
            ("unnormalised attention", symmetric(5, 0), {"attention": "unnormalised"}),
            ("gradient velocity", symmetric(5, 0), {"velocity": "gradient"}),
        ):
            missing, _ = gap(solve(heads, flow, **options), flow)
            evidence.below(f"{flow}, {label}: |budget with G²|", abs(missing), 1e-7)
    counts, parts = (1, 2, 10, 100), []
    for count in counts:
        missing, total = gap(solve(symmetric(count, 7, 1.0), "descent"), "descent")
        evidence.note(
            f"D = Z + Zᵀ, {count} heads, descent: missing part of the change", missing / total
        )
        parts.append(missing / total)
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for flow, run in runs.items():
        left.plot(run.time, run.energy - run.energy[0], label=f"E(t) − E(0), {flow}")
        sign = SIGN[flow]
        steps = np.diff(run.time) * (run.slope_squared.values[1:] + run.slope_squared.values[:-1])
        left.plot(
            run.time,
            sign * np.append(0, np.cumsum(steps / 2)),
            "--",
            color=left.lines[-1].get_color(),
            label=f"{'+' if sign > 0 else '−'}∫G² dt",
        )
    left.set_xlabel("time t")
    left.set_ylabel("energy")
    left.legend(frameon=False, fontsize=8)
    right.semilogx(counts, parts, "o-")
    right.set_xlabel("number of heads H")
    right.set_ylabel("(ΔE + ∫G² dt) / ΔE, descent")
    right.axhline(0, color="0.7", lw=0.8, zorder=0)
    dataset = xarray.concat(
        [
            run[["energy", "dissipation", "slope_squared", "energy_residual"]]
            for run in runs.values()
        ],
        dim=xarray.Variable("flow", list(runs)),
        combine_attrs="drop",
    ).assign(missing_part=("heads", parts), head_count=("heads", list(counts)))
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
