"""Stability under perturbed weights: Lemma 5.4 and Theorem 5.5 of arXiv:2605.18870.

The law Θ^ε of perturbed drift and noise f^ε, g^ε from the same Θ_0 and μ_0, on descent, against the
law of f, g. Lemma 5.4 has lower limits of −E^ε, −∂_tE^ε and (G^ε)²; here the quantities themselves
converge, and the densities with them, the convergence (141). Each error is the largest over the
outputs in 0 < t ≤ 0.5; densities are compared in the negative Sobolev norm of order 2.

* Smooth: D' = I + εA − D with noise (1 + ε) times as strong. All errors are of order 1 in ε.
* A drift that converges weakly only, which hypothesis (S2) allows: isotropic heads θI under
  f^ε = 1 − θ + a cos(θ/ε), noise g = 1. The root mean square of f^ε − f stays at a/√2, but its
  potential is aε sin(θ/ε). By homogenisation Θ^ε is that of (1 − θ)/I_0² and g²/I_0², where I_0 is
  the modified Bessel function at 2aε/g²: I_0² = 1 + 2a²ε²/g⁴ + …, so that the errors are of
  order 2, and the errors against that law are smaller still.
* A noise that converges weakly only: g^ε = 1 + b cos(θ/ε). Its weak limit is g = 1, but Θ^ε tends
  to the law with the harmonic mean of g², (1 − b²)^{3/2}, not to the law of f and g. In that case
  the narrow convergence (S1) towards the law of the limits fails: (S2) does not imply it, so that
  the theorem needs (S1) as a hypothesis of its own.
"""

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure
from scipy.special import i0

import sphereflow as sf
from sphereflow.diagnostics.distances import sobolev_distance
from sphereflow.heads.drifts import MeanReversion
from sphereflow.heads.parametrisations import coordinates_of

SIZES = np.array([0.4, 0.2, 0.1, 0.05, 0.025])
TIMES = np.linspace(0.0, 0.5, 5)
SIGMA = 0.3
TILT = np.array([[1.0, 0.5, 0.0], [0.5, -0.5, 0.3], [0.0, 0.3, 0.4]])
AMPLITUDE = 1.0  # a
RIPPLE = 0.5  # b
QUANTITIES = ("density", "E", "∂ₜE", "G²")
DENSITY = sf.Mixture(
    [sf.VonMisesFisher([1, 0, 0], 6.0), sf.VonMisesFisher([0, 0.6, 0.8], 3.0)], [0.4, 0.6]
)


def solve(heads, dt=None):
    problem = sf.TransformerPDE(heads, DENSITY, flow="descent")
    scheme = sf.Spectral(lmax=31, lmax_max=31, resolution_limit=1.0, spectrum_degree=16, dt=dt)
    return sf.solve(problem, t_end=TIMES[-1], scheme=scheme, save_at=TIMES, rtol=1e-7)


def errors(run, limit):
    """The largest over 0 < t ≤ 0.5 for each of QUANTITIES."""
    pairs = zip(run["spectrum"].values[1:], limit["spectrum"].values[1:], strict=True)
    result = [max(sobolev_distance(*pair) for pair in pairs)]
    for name in ("energy", "energy_rate_heads", "slope_squared"):
        result.append(float(np.abs(run[name].values - limit[name].values)[1:].max()))
    return np.array(result)


def residual(runs):
    return max(float(abs(run["energy_residual"]).max()) for run in runs)


def order(values):
    return np.polyfit(np.log(SIZES[-len(values) :]), np.log(values), 1)[0]


def smooth(evidence):
    def law(size):
        drift = MeanReversion(coordinates_of(np.eye(3) + size * TILT))
        process = sf.HeadProcess(drift, np.sqrt(2.0) * SIGMA * (1 + size), sf.Symmetric())
        return sf.FokkerPlanckLaw(process, sf.Normal(0.0, 0.7))

    limit = solve(law(0.0), dt=0.125)
    runs = [solve(law(float(size)), dt=0.125) for size in SIZES]
    rows = np.array([errors(run, limit) for run in runs])
    for name, values in zip(QUANTITIES, rows.T, strict=True):
        evidence.note(f"smooth: error of {name} at ε = {SIZES[-1]}", values[-1])
        evidence.below(f"smooth: |order in ε − 1|, {name}", abs(order(values) - 1), 0.1)
    evidence.below("smooth: largest energy residual of the runs", residual([limit, *runs]), 1e-5)
    return rows


def isotropic(drift, noise):
    process = sf.HeadProcess(drift, noise, sf.Isotropic())
    return solve(sf.FokkerPlanckLaw(process, sf.Normal(0.5, 0.4)))


def weak_drift(evidence, limit):
    def perturbed(size):
        return isotropic(lambda theta, t: 1 - theta + AMPLITUDE * np.cos(theta / size), 1.0)

    def homogenised(size):
        share = i0(2 * AMPLITUDE * size) ** -2
        return isotropic(MeanReversion(1.0, share), np.sqrt(share))

    theta = np.linspace(-2.0, 4.0, 20001)
    for size in SIZES[[0, -1]]:
        ripple = AMPLITUDE * np.cos(theta / size)
        evidence.note(f"weak drift, ε = {size}: rms of f^ε − f", np.sqrt(np.mean(ripple**2)))
        test = np.exp(-((theta - 1) ** 2))
        evidence.note(
            f"weak drift, ε = {size}: |∫(f^ε − f) e^{{−(θ−1)²}} dθ|",
            abs(np.trapezoid(ripple * test, theta)),
        )
    runs = [perturbed(float(size)) for size in SIZES]
    rows = np.array([errors(run, limit) for run in runs])
    better = errors(runs[-1], homogenised(SIZES[-1]))
    for name, values, other in zip(QUANTITIES, rows.T, better, strict=True):
        evidence.below(
            f"weak drift: error of {name}, smallest ε over largest", values[-1] / values[0], 0.1
        )
        evidence.above(f"weak drift: order in ε, {name}", order(values), 1.0)
        evidence.below(
            f"weak drift: |order − 2| of the last three, {name}", abs(order(values[-3:]) - 2), 0.2
        )
        evidence.below(
            f"weak drift: error of {name} against the homogenised law over that against f",
            other / values[-1],
            0.1,
        )
    evidence.below("weak drift: largest energy residual of the runs", residual(runs), 1e-5)
    return rows


def weak_noise(evidence, limit):
    def perturbed(size):
        return isotropic(MeanReversion(1.0), lambda theta, t: 1 + RIPPLE * np.cos(theta / size))

    harmonic = isotropic(MeanReversion(1.0), (1 - RIPPLE**2) ** 0.75)
    gap = errors(harmonic, limit)
    runs = [perturbed(float(size)) for size in SIZES]
    rows = np.array([errors(run, harmonic) for run in runs])
    weak = np.array([errors(run, limit) for run in runs])
    for k, name in enumerate(QUANTITIES):
        evidence.below(
            f"weak noise: error of {name} against the harmonic mean, smallest ε over largest",
            rows[-1, k] / rows[0, k],
            0.1,
        )
        evidence.above(
            f"weak noise: error of {name} against g = 1 over the gap of both laws, smallest ε",
            weak[-1, k] / gap[k],
            0.9,
        )
    evidence.below("weak noise: largest energy residual of the runs", residual(runs), 1e-5)
    return rows, weak


def draw(axes, title, rows, power, hollow=None):
    for k, name in enumerate(QUANTITIES):
        axes.loglog(SIZES, rows[:, k], "os^D"[k], color=f"C{k}", label=name)
        if hollow is not None:
            axes.loglog(SIZES, hollow[:, k], "os^D"[k], color=f"C{k}", mfc="none")
    line = rows[-1].max() * (SIZES / SIZES[-1]) ** power
    axes.loglog(SIZES, line, "-", color="0.6", lw=1, label=f"order {power}")
    axes.set_xticks(SIZES, [f"{size:g}" for size in SIZES])
    axes.minorticks_off()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("ε")
    place = "upper left" if hollow is None else "lower right"
    axes.legend(frameon=False, fontsize=8, loc=place)


def main():
    evidence = Evidence(
        "21_weight_perturbation",
        "Stability under perturbed weights",
        claim="Lemma 5.4 and Theorem 5.5, convergence with f^ε and g^ε",
        method="spectral, laws of the heads by their Fokker–Planck equation",
    )
    limit = isotropic(MeanReversion(1.0), 1.0)
    by_case = {"smooth": smooth(evidence), "weak drift": weak_drift(evidence, limit)}
    by_case["weak noise, harmonic mean"], weak = weak_noise(evidence, limit)
    figure = Figure(figsize=(10.5, 3.5), layout="constrained")
    panels = figure.subplots(1, 3)
    draw(panels[0], "smooth", by_case["smooth"], 1)
    draw(panels[1], "weakly convergent drift", by_case["weak drift"], 2)
    title = "weakly convergent noise: against the\nharmonic mean, hollow: against g = 1"
    draw(panels[2], title, by_case["weak noise, harmonic mean"], 2, weak)
    panels[0].set_ylabel("largest error over 0 < t ≤ 0.5")
    by_case["weak noise, weak limit"] = weak
    dataset = xarray.Dataset(
        {"error": (("case", "size", "quantity"), np.stack(list(by_case.values())))},
        {"case": list(by_case), "size": SIZES, "quantity": list(QUANTITIES)},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
