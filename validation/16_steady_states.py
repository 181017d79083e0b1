"""Steady states with diffusion against an independent fixed point.

For D = βI, V = I on ascent a steady state obeys μ ∝ L(βx)^{1/(εβ)} with softmax attention and
μ ∝ exp(L(βx)/(εβ)) without the denominator, L(z) = ∫ e^{⟨z,y⟩} dμ. About an axis both are equations
for a function of u = ⟨x, e⟩, solved here by iteration on Gauss–Legendre nodes:
L(βx) = 2π ∫ e^{βuu'} I_0(β √(1−u²) √(1−u'²)) μ(u') du'. The polar state of softmax attention exists
below ε_c = (coth β − 1/β)/β.
"""

# slow

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure
from numpy.polynomial.legendre import leggauss, legvander
from scipy.special import ive

import sphereflow as sf

NODES, WEIGHTS = leggauss(200)
SINE = np.sqrt(1 - NODES**2)
DEGREE = 24


def fixed_point(beta, eps, softmax, start):
    """Density on the nodes, by damped iteration until it changes by less than 1e-14."""
    product = beta * SINE[:, None] * SINE
    kernel = 2 * np.pi * np.exp(beta * NODES[:, None] * NODES + product) * ive(0, product)
    density = start / (2 * np.pi * WEIGHTS @ start)
    for _ in range(20_000):
        transform = kernel @ (WEIGHTS * density)
        logs = (np.log(transform) if softmax else transform) / (eps * beta)
        new = np.exp(logs - logs.max())
        new /= 2 * np.pi * WEIGHTS @ new
        change = np.abs(new - density).max() / new.max()
        density = 0.5 * density + 0.5 * new
        if change < 1e-14:
            return density
    raise RuntimeError("the fixed point was not reached")


def zonal(density):
    """Orthonormal zonal coefficients of a density on the nodes, degrees 0 to DEGREE."""
    scale = np.sqrt((2 * np.arange(DEGREE + 1) + 1) / (4 * np.pi))
    return scale * (2 * np.pi * legvander(NODES, DEGREE).T @ (WEIGHTS * density))


def steady(beta, eps, attention, start, scheme, speed=1e-9, rtol=1e-10):
    problem = sf.TransformerPDE(
        sf.FixedHeads(beta * np.eye(3), np.eye(3)), start, attention=attention, diffusion=eps
    )
    rules = [sf.SteadyState(speed)]
    return sf.solve(problem, t_end=2000, scheme=scheme, save_every=5.0, rtol=rtol, stop=rules)


def zonal_of(run):
    l = np.arange(DEGREE + 1)
    return run.spectrum.values[-1][l * (l + 1)]


def main():
    evidence = Evidence(
        "16_steady_states",
        "Steady states with diffusion",
        claim="steady states of the regularised equation of Section 7.1",
        method="spectral, finite volumes, against a fixed point",
    )
    narrow = sf.VonMisesFisher([0, 0, 1], 3.0)
    angle = np.degrees(np.arccos(NODES))
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    critical = (1 / np.tanh(2.0) - 1 / 2.0) / 2.0
    evidence.note("softmax, β = 2: ε_c", critical)
    data = {}
    for eps in (0.1, 0.2, 0.25):
        reference = fixed_point(2.0, eps, True, np.exp(3 * NODES))
        run = steady(2.0, eps, "softmax", narrow, sf.Spectral(lmax=47))
        error = np.abs(zonal_of(run) - zonal(reference)).max()
        what = f"softmax, β = 2, ε = {eps}"
        evidence.below(f"{what}: harmonics against the fixed point", error, 1e-6)
        evidence.below(f"{what}: steady at time", float(run.time[-1]), 1999.0)
        left.plot(angle, reference, label=f"ε = {eps}")
        shown = run.density.isel(time=-1, lon=0)
        left.plot(90 - run.lat, shown, "k.", markersize=2)
        data[what] = zonal_of(run)
    run = steady(2.0, 0.3, "softmax", narrow, sf.Spectral(lmax=31))
    evidence.below(
        "softmax, β = 2, ε = 0.3 > ε_c: first moment", float(abs(run.first_moment[-1]).max()), 1e-6
    )

    errors = []
    reference = zonal(fixed_point(2.0, 0.1, True, np.exp(3 * NODES)))
    for level in (3, 4, 5):
        cells = steady(2.0, 0.1, "softmax", narrow, sf.FiniteVolume(level), 1e-7, 1e-8)
        errors.append(np.abs(zonal_of(cells) - reference).max())
        evidence.note(f"softmax, β = 2, ε = 0.1: finite volumes, level {level}", errors[-1])
    order = np.log2(errors[0] / errors[-1]) / 2
    evidence.above("finite volumes: order of the steady state", order, 1.9)

    # Unnormalised attention beyond β ≈ 1.82: above the threshold both states are stable.
    beta = 3.0
    threshold = (beta * np.cosh(beta) - np.sinh(beta)) / beta**3
    eps = 1.03 * threshold
    reference = fixed_point(beta, eps, False, np.exp(6 * NODES))
    polar = steady(
        beta, eps, "unnormalised", sf.VonMisesFisher([0, 0, 1], 6.0), sf.Spectral(lmax=47)
    )
    error = np.abs(zonal_of(polar) - zonal(reference)).max()
    evidence.below("unnormalised, β = 3, 3 % above threshold, narrow start: error", error, 1e-6)
    evidence.above("the same: first moment", float(polar.first_moment[-1, 2]), 0.1)
    flat = steady(
        beta, eps, "unnormalised", sf.VonMisesFisher([0, 0, 1], 0.1), sf.Spectral(lmax=47)
    )
    moment = float(abs(flat.first_moment[-1]).max())
    evidence.below("the same from a nearly uniform start: first moment", moment, 1e-6)
    right.plot(angle, reference, label="narrow start")
    right.plot(90 - polar.lat, polar.density.isel(time=-1, lon=0), "k.", markersize=2)
    right.plot(90 - flat.lat, flat.density.isel(time=-1, lon=0), "k.", markersize=2)
    right.axhline(0.25 / np.pi, color="C1", label="nearly uniform start")
    for axes, title in ((left, "softmax, β = 2"), (right, f"unnormalised, β = 3, ε = {eps:.3f}")):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("angle from the axis [°]")
        axes.legend(frameon=False, fontsize=8)
    left.set_ylabel("density [sr$^{-1}$]; dots: runs")
    dataset = xarray.Dataset(
        {"zonal": (("case", "degree"), list(data.values()))},
        {"case": list(data), "degree": np.arange(DEGREE + 1)},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
