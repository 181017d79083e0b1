"""Linear growth rates about the uniform density under isotropic heads.

For μ = (1 + δ Y_lm)/4π and D = V = βI the amplitude grows at the rate
s·l(l+1)·i_l(β)/i_0(β) − ε l(l+1) (Funk–Hecke). Measured at δ = 1e-6, tolerance 1e-6 relative.
"""

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure
from scipy.special import ive

import sphereflow as sf

BETAS, DEGREES, DIFFUSIONS = (0.5, 2.0, 8.0), range(1, 7), (0.0, 0.1)
FLOWS = {"ascent": 1.0, "descent": -1.0}
T_END = 0.2


def measured(beta, degree, flow, diffusion):
    index = degree * (degree + 1) + 1
    coefficients = np.zeros(49)
    coefficients[0] = 1 / np.sqrt(4 * np.pi)
    coefficients[index] = 1e-6 / (4 * np.pi)
    problem = sf.TransformerPDE(
        sf.FixedHeads(beta * np.eye(3)),
        sf.HarmonicDensity(coefficients),
        flow=flow,
        diffusion=diffusion,
    )
    scheme = sf.Spectral(lmax=15, lmax_max=15, spectrum_degree=8)
    run = sf.solve(problem, t_end=T_END, scheme=scheme, save_at=[0, T_END], rtol=1e-13)
    start, end = run.spectrum.values[:, index]
    return np.log(end / start) / T_END


def main():
    evidence = Evidence(
        "01_growth_rates",
        "Growth rates about the uniform density",
        claim="growth rates of (20) about the uniform density, closed form",
        method="spectral",
    )
    shape = (len(BETAS), len(FLOWS), len(DIFFUSIONS), len(DEGREES))
    rates, theory = np.empty(shape), np.empty(shape)
    for i, beta in enumerate(BETAS):
        for j, (flow, sign) in enumerate(FLOWS.items()):
            for k, diffusion in enumerate(DIFFUSIONS):
                for n, degree in enumerate(DEGREES):
                    ratio = ive(degree + 0.5, beta) / ive(0.5, beta)
                    theory[i, j, k, n] = degree * (degree + 1) * (sign * ratio - diffusion)
                    rates[i, j, k, n] = measured(beta, degree, flow, diffusion)
                error = np.abs(rates[i, j, k] / theory[i, j, k] - 1).max()
                label = f"beta={beta:g} {flow} diffusion={diffusion:g}: largest relative error"
                evidence.below(label, error, 1e-6)
    dims = ("beta", "flow", "diffusion", "degree")
    dataset = xarray.Dataset(
        {"rate": (dims, rates), "theory": (dims, theory)},
        coords={
            "beta": list(BETAS),
            "flow": list(FLOWS),
            "diffusion": list(DIFFUSIONS),
            "degree": list(DEGREES),
        },
    )
    figure = Figure(figsize=(8, 4.0), layout="constrained")
    for axis, k in zip(figure.subplots(1, 2, sharey=True), (0, 1), strict=True):
        for i, beta in enumerate(BETAS):
            colour = f"C{i}"
            for j, style in ((0, "-"), (1, "--")):
                axis.plot(DEGREES, theory[i, j, k], style, color=colour, lw=1)
                axis.plot(DEGREES, rates[i, j, k], "o", color=colour, mfc="none", ms=5)
            axis.plot([], [], "o-", color=colour, mfc="none", label=f"β = {beta:g}")
        axis.set_xlabel("degree l")
        axis.set_title(f"ε = {DIFFUSIONS[k]:g}")
        axis.axhline(0, color="0.7", lw=0.8, zorder=0)
    figure.axes[0].set_ylabel("growth rate")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle("Circles: runs. Lines: theory, ascent solid, descent dashed.", fontsize=10)
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
