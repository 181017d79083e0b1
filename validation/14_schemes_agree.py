"""One problem by all schemes: five random heads, both flows, T = 1.

Coefficients to degree 8. Characteristics and harmonics have nothing in common but the field;
finite volumes are compared at their order, tokens of equal weights at their sampling error.
"""

import numpy as np
import xarray
from evidence import Evidence
from flows import five_heads
from matplotlib.figure import Figure

import sphereflow as sf

HEADS, DENSITY = five_heads()
KEPT = 81
LEVELS = (4, 5, 6)
TOKENS, DRAWS = 20_000, 4


def coefficients(problem, scheme, rtol=1e-10):
    run = sf.solve(problem, t_end=1.0, scheme=scheme, save_at=[1.0], rtol=rtol)
    return run.spectrum.values[..., 0, :KEPT], run


def main():
    evidence = Evidence(
        "14_schemes_agree",
        "Five heads by all schemes",
        claim="one solution of (20) by all schemes",
        method="spectral, finite volumes, characteristics, tokens",
    )
    figure = Figure(figsize=(8.5, 3.4), layout="constrained")
    errors = {}
    for axes, flow in zip(figure.subplots(1, 2, sharey=True), ("ascent", "descent"), strict=True):
        problem = sf.TransformerPDE(HEADS, DENSITY, flow=flow)
        harmonics, _ = coefficients(problem, sf.Spectral(lmax=127))
        moving, run = coefficients(problem, sf.Characteristics())
        degree = run.degree.values[:KEPT]

        def by_degree(other, reference=harmonics, degree=degree):
            return [np.abs(other - reference)[degree == l].max() for l in range(9)]

        errors[flow, "characteristics"] = by_degree(moving)
        difference = np.abs(moving - harmonics).max()
        evidence.below(f"{flow}: characteristics against harmonics", difference, 1e-8)
        cells = []
        for level in LEVELS:
            values, _ = coefficients(problem, sf.FiniteVolume(level), 1e-6)
            cells.append(np.abs(values - harmonics).max())
            errors[flow, f"cells, level {level}"] = by_degree(values)
        order = np.log2(cells[-2] / cells[-1])
        evidence.below(f"{flow}: finite volumes, level {LEVELS[-1]}", cells[-1], 1e-4)
        evidence.above(f"{flow}: order of finite volumes, two finest levels", order, 1.9)
        tokens = sf.Particles(TOKENS, 0.02, seed=3, paths=DRAWS, stepper="rk4", store="statistics")
        sample = sf.solve(problem, t_end=1.0, scheme=tokens, save_at=[1.0])
        mean = sample.spectrum_mean.values[0, :KEPT]
        spread = sample.spectrum_std.values[0, 1:KEPT] * np.sqrt(DRAWS / (DRAWS - 1))
        error = np.sqrt(np.mean((mean - harmonics)[1:] ** 2))
        expected = np.sqrt(np.mean(spread**2) / DRAWS)
        evidence.below(
            f"{flow}: tokens, rms difference over its standard error", error / expected, 2.0
        )
        errors[flow, f"tokens, {DRAWS} × {TOKENS}"] = by_degree(mean)
        for (of, name), values in errors.items():
            if of == flow:
                axes.semilogy(range(9), np.maximum(values, 1e-17), "o-", label=name)
        axes.set_title(flow)
        axes.set_xlabel("degree")
    figure.axes[0].set_ylabel("largest difference from harmonics")
    figure.axes[1].legend(frameon=False, fontsize=8, bbox_to_anchor=(1.0, 1.0), loc="upper left")
    names = list(dict.fromkeys(name for _, name in errors))
    values = [[errors[flow, name] for name in names] for flow in ("ascent", "descent")]
    dataset = xarray.Dataset(
        {"difference": (("flow", "scheme", "degree"), values)},
        {"flow": ["ascent", "descent"], "scheme": names, "degree": range(9)},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
