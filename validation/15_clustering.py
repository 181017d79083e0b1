"""Through clustering and beyond, along characteristics.

Ascent, D = V = I, von Mises–Fisher start: one cluster. Let x_i = a + ξ_i be close to a point a.
Then ⟨x_i, x_j⟩ = 1 − |ξ_i − ξ_j|²/2, so that the weights of the attention average are equal up to
second order, v_i = P_{x_i} x̄ = ξ̄ − ξ_i, and deviations from the mean decay like e^{−t}, whatever
the density: the area contracts at twice that rate, and log μ grows by 2 per unit time.

Descent from a small concentration: decay to the uniform density at the rates
−l(l+1) i_l(β)/(β i_0(β)) of each degree l.

Ascent, D = βI with β = 8, V = I, from a density with several modes: clusters form in a time of
order 1 and merge in times of order e^{β(1 − cos γ)}, γ the angle between two of them. In between
the energy is that of point masses m_k at c_k, ½ Σ m_k m_l e^{β⟨c_k, c_l⟩}.
"""

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure
from scipy.special import ive

import sphereflow as sf
from sphereflow.diagnostics import clusters

BETA = 8.0
MODES = 14


def one_cluster(evidence):
    problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0.2, 0.3, 0.9], 4.0))
    run = sf.solve(problem, t_end=15.0, scheme=sf.Characteristics(), save_every=0.5, rtol=1e-9)
    found = clusters(run)
    half = found.half_mass_radius.values[:, 0]
    t = run.time.values
    late = t >= 8
    rate = np.polyfit(t[late], np.log(half[late]), 1)[0]
    growth = np.polyfit(t[late], run.log_density.max("token").values[late], 1)[0]
    moment = np.linalg.norm(run.first_moment.values[-1])
    evidence.below("one cluster: |number − 1|", float(abs(found.number[-1] - 1)), 0.0)
    evidence.below("one cluster: 1 − |first moment| at T = 15", 1 - moment, 1e-11)
    energy = float(run.energy[-1])
    evidence.below(
        "one cluster: relative distance of E from e/2", abs(energy / (np.e / 2) - 1), 1e-11
    )
    evidence.below("one cluster: rate of the radius against −1", abs(rate + 1), 1e-4)
    evidence.below("one cluster: rate of the log-density against 2", abs(growth - 2), 1e-4)
    residual = float(abs(run.energy_residual).max())
    evidence.below("one cluster: energy residual", residual, 1e-7)
    return t, half, run.log_density.max("token").values


def relaxation(evidence):
    heads = sf.FixedHeads(np.eye(3))
    # Beside amplitudes of 1e-5 the interaction of the degrees does not count.
    coefficients = np.array([1, 0, 1e-5, 0, 0, 0, 1e-5, 0, 0]) / np.sqrt(4 * np.pi)
    problem = sf.TransformerPDE(heads, sf.HarmonicDensity(coefficients), flow="descent")
    run = sf.solve(problem, t_end=10.0, scheme=sf.Spectral(lmax=31), save_every=0.5, rtol=1e-12)
    late = run.time.values >= 5
    for l in (1, 2):
        amplitude = run.spectrum.values[late, l * (l + 1)]
        measured = np.polyfit(run.time.values[late], np.log(np.abs(amplitude)), 1)[0]
        expected = -l * (l + 1) * ive(l + 0.5, 1.0) / ive(0.5, 1.0)
        error = abs(measured / expected - 1)
        evidence.below(f"descent: relative error of the rate of degree {l}", error, 1e-4)


def several(evidence):
    rng = np.random.default_rng(11)
    means = rng.standard_normal((MODES, 3))
    start = sf.Mixture([sf.VonMisesFisher(mean, 12.0) for mean in means], rng.uniform(1, 2, MODES))
    problem = sf.TransformerPDE(sf.FixedHeads(BETA * np.eye(3), np.eye(3)), start)
    times = np.concatenate([[0.0], np.geomspace(0.1, 1e3, 81)])
    scheme = sf.Characteristics(degree=31, degree_max=31)
    run = sf.solve(problem, t_end=1e3, scheme=scheme, save_at=times, rtol=1e-7)
    found = clusters(run)
    scale = 0.5 * np.exp(BETA)
    energy = run.energy.values / scale
    predicted = np.full(len(times), np.nan)
    for k in range(len(times)):
        m, c = found.mass.values[k], found.centre.values[k]
        real = np.isfinite(m)
        cosine = c[real] @ c[real].T
        predicted[k] = m[real] @ np.exp(BETA * (cosine - 1)) @ m[real]
    narrow = (found.half_mass_radius.max("cluster") < 1e-3).values & (
        found.radius.max("cluster") < 0.02
    ).values
    error = np.abs(predicted / energy - 1)[narrow].max()
    evidence.above("β = 8: largest number of clusters", float(found.number.max()), 3.0)
    drop = int(found.number.max() - found.number[-1])
    evidence.above("β = 8: mergers", float(drop), 1.0)
    evidence.above("β = 8: outputs with narrow clusters", float(narrow.sum()), 10.0)
    evidence.below("β = 8: energy of point masses there, relative", error, 1e-2)
    growing = np.diff(run.energy.values) >= -1e-6 * scale
    evidence.above("β = 8: share of outputs at which E does not fall", float(growing.mean()), 1.0)
    slope = np.gradient(energy[1:], np.log(times[1:]))
    evidence.below("β = 8: smallest dE/dlog t between mergers", float(slope[20:70].min()), 1e-3)
    print("  t       " + " ".join(f"{t:8.2g}" for t in times[1::10]))
    print("  clusters" + " ".join(f"{n:8d}" for n in found.number.values[1::10]))
    print("  E/(e^β/2)" + " ".join(f"{e:8.4f}" for e in energy[1::10]))
    return run, found, energy, np.where(narrow, predicted, np.nan)


def main():
    evidence = Evidence(
        "15_clustering",
        "Clustering along characteristics",
        claim="clustering, rates of the linearised flow, plateaus of the energy",
        method="characteristics",
    )
    t, half, top = one_cluster(evidence)
    relaxation(evidence)
    run, found, energy, predicted = several(evidence)
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    grid = figure.add_gridspec(2, 12)
    axes = figure.add_subplot(grid[0, :6])
    axes.semilogy(t, half, "o", markersize=4, label="radius that holds half of the mass")
    axes.semilogy(t, half[16] * np.exp(-(t - t[16])), "k--", linewidth=1, label="$e^{-t}$")
    axes.set_xlabel("time")
    axes.set_ylabel("radius [rad]")
    axes.set_title("one cluster, D = V = I")
    axes.legend(frameon=False)
    axes = figure.add_subplot(grid[0, 6:])
    axes.semilogx(run.time[1:], energy[1:], label="run")
    axes.semilogx(run.time, predicted, "k:", label="point masses at narrow clusters")
    axes.set_xlabel("time")
    axes.set_ylabel(r"$E\,/\,(\frac{1}{2}e^{\beta})$")
    axes.set_title("D = 8 I, V = I")
    counts = axes.twinx()
    counts.semilogx(run.time[1:], found.number[1:], "C1", drawstyle="steps-mid", linewidth=1)
    counts.set_ylabel("clusters", color="C1")
    counts.set_ylim(0, float(found.number.max()) + 1)
    axes.legend(frameon=False, loc="lower right")
    for column, wanted in enumerate((0.0, 2.0, 30.0, 1e3)):
        index = int(np.abs(run.time.values - wanted).argmin())
        axes = figure.add_subplot(grid[1, 3 * column : 3 * column + 3], projection="mollweide")
        x, y, z = run.position.values[index].T
        size = 4e4 / len(x) * run.token_weight / run.token_weight.max()
        axes.scatter(
            np.arctan2(y, x), np.arcsin(np.clip(z, -1, 1)), s=size, alpha=0.5, linewidths=0
        )
        real = found.mass.values[index] > 0
        cx, cy, cz = found.centre.values[index][real].T
        axes.plot(np.arctan2(cy, cx), np.arcsin(cz), "r+", markersize=9)
        axes.set_title(f"t = {run.time.values[index]:.3g}", fontsize=10)
        axes.set_xticklabels([])
        axes.set_yticklabels([])
        axes.grid(True, alpha=0.3)
    dataset = xarray.Dataset(
        {
            "half_mass_radius": ("time", half),
            "largest_log_density": ("time", top),
            "energy": ("late_time", energy),
            "energy_of_points": ("late_time", predicted),
            "number": ("late_time", found.number.values),
        },
        {"time": t, "late_time": run.time.values},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
