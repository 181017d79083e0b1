"""The Fokker–Planck solver for the law of the head parameters, by itself.

Ornstein–Uhlenbeck against its Gaussian law, with the order in the cell width; a double well at
t = 1 against Chebyshev collocation, and its stationary state; the stationary state under a noise
that depends on the state; a rotation with correlated noise in two dimensions and periodic
targets against the mean and covariance equations; the averaged velocity against the number of
nodes of the quadrature of Θ.
"""

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp

import sphereflow as sf
from sphereflow.heads.drifts import DoubleWell, LinearDrift, MeanReversion, OscillatingTarget

CELLS = np.array([500, 1000, 2000, 4000, 8000])
PLANE_CELLS = np.array([40, 60, 90, 135])
NODE_COUNTS = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 16])


def order_of(cells, errors):
    return -np.polyfit(np.log(cells), np.log(errors), 1)[0]


def normal(x, mean, variance):
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def ornstein_uhlenbeck(evidence):
    """From N(−1, ¼) towards 1 with g = √2; mean and variance at t = 1 are known."""
    process = sf.HeadProcess(MeanReversion(1.0), np.sqrt(2.0), sf.Isotropic())
    mean, variance = 1 - 2 * np.exp(-1), 0.25 * np.exp(-2) + 1 - np.exp(-2)
    errors = np.empty(len(CELLS))
    for index, cells in enumerate(CELLS):
        law = sf.FokkerPlanckLaw(process, sf.Normal(-1, 0.5), [-8, 8], int(cells))
        density = law.density(1.0)
        x = density["theta"].values
        errors[index] = np.abs(density.values - normal(x, mean, variance)).sum() * (x[1] - x[0])
    evidence.below("OU: |order − 2| of the L1 error", abs(order_of(CELLS, errors) - 2), 0.05)
    law = sf.FokkerPlanckLaw(process, sf.Normal(-1, 0.5), [-8, 8], 64000)
    got_mean, got_covariance = law.moments(1.0)
    evidence.below("OU, 64000 cells: error of the mean", abs(got_mean[0] - mean), 1e-8)
    evidence.below(
        "OU, 64000 cells: error of the variance", abs(got_covariance[0, 0] - variance), 1e-8
    )
    values = law.density(1.0).values * 16 / 64000
    evidence.below("OU: error of the mass", abs(values.sum() - 1), 1e-13)
    evidence.above("OU: smallest value over the largest", values.min() / values.max(), -1e-15)
    return errors


def chebyshev_reference(x, drift, noise, start, reach, t_end):
    """Density at t_end by collocation at Chebyshev points of [−reach, reach], zero outside."""
    count = 200
    nodes = np.cos(np.pi * np.arange(count + 1) / count)
    scale = np.ones(count + 1)
    scale[[0, -1]] = 2.0
    scale *= (-1.0) ** np.arange(count + 1)
    gaps = nodes[:, None] - nodes[None, :] + np.eye(count + 1)
    first = scale[:, None] / scale[None, :] / gaps
    first -= np.diag(first.sum(axis=1))
    first /= reach
    grid = reach * nodes
    operator = 0.5 * noise**2 * first @ first - first @ np.diag(drift(grid))
    inside = slice(1, -1)
    operator = operator[inside, inside]
    solution = solve_ivp(
        lambda t, y: operator @ y,
        (0.0, t_end),
        start(grid[inside]),
        method="Radau",
        jac=operator,
        rtol=1e-11,
        atol=1e-13,
    ).y[:, -1]
    values = np.concatenate([[0.0], solution, [0.0]])
    weights = (-1.0) ** np.arange(count + 1)
    weights[[0, -1]] *= 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        kernel = weights / (x[:, None] - grid)
        result = kernel @ values / kernel.sum(axis=1)
    exact = np.isclose(x[:, None], grid, rtol=0, atol=1e-14)
    hit = exact.any(axis=1)
    result[hit] = values[exact[hit].argmax(axis=1)]
    return result


def double_well(evidence):
    """f = θ − θ³ with g = 1 from N(0.2, 0.3²): transient at t = 1, stationary state at t = 60."""
    process = sf.HeadProcess(DoubleWell(), 1.0, sf.Isotropic())
    law = sf.FokkerPlanckLaw(process, sf.Normal(0.2, 0.3), [-4, 4], 32000)
    density = law.density(1.0)
    x = density["theta"].values
    reference = chebyshev_reference(
        x, lambda y: y - y**3, 1.0, lambda y: normal(y, 0.2, 0.09), 4.0, 1.0
    )
    width = x[1] - x[0]
    evidence.below(
        "double well, t = 1: L1 distance to Chebyshev collocation",
        np.abs(density.values - reference).sum() * width,
        1e-6,
    )
    late = law.density(60.0)
    exact = np.exp(2 * (x**2 / 2 - x**4 / 4))
    exact /= exact.sum() * width
    evidence.below(
        "double well, t = 60: L1 distance to the stationary state",
        np.abs(late.values - exact).sum() * width,
        1e-10,
    )
    return x, density.values, late.values


def state_dependent_noise(evidence):
    """f = −θ, g = √(1 + θ²/2): Θ ∝ g⁻² exp(∫ 2f/g²) = (1 + θ²/2)⁻³."""
    process = sf.HeadProcess(
        lambda theta, t: -theta, lambda theta, t: np.sqrt(1 + theta**2 / 2), sf.Isotropic()
    )
    law = sf.FokkerPlanckLaw(process, sf.Normal(0.5, 0.5), [-12, 12], 4000)
    density = law.density(40.0)
    x = density["theta"].values
    exact = (1 + x**2 / 2) ** -3.0
    exact /= exact.sum() * (x[1] - x[0])
    error = np.abs(density.values - exact).sum() * (x[1] - x[0])
    evidence.below("noise that depends on the state: stationary L1 error", error, 1e-6)


def rotation(evidence):
    """f = Aθ with a rotation and a correlated g, against the covariance equation."""
    drift = LinearDrift([[-0.5, -2.0], [2.0, -0.5]])
    noise = np.array([[0.8, 0.0], [0.3, 0.7]])

    class Pair:
        dimension = 2

        def __call__(self, theta):
            logits = theta[..., 0, None, None] * np.eye(3) + theta[..., 1, None, None] * np.ones(3)
            return logits, logits

        basis = np.stack([np.eye(3), np.ones((3, 3))])

    process = sf.HeadProcess(drift, noise, Pair())
    start = sf.Normal([1.0, 0.0], 0.4)
    exact = sf.FokkerPlanckLaw(process, start, method="gaussian").moments(1.0)
    errors = np.empty(len(PLANE_CELLS))
    for index, cells in enumerate(PLANE_CELLS):
        law = sf.FokkerPlanckLaw(process, start, [[-5, 5], [-5, 5]], int(cells))
        moments = law.moments(1.0)
        errors[index] = max(np.abs(a - b).max() for a, b in zip(moments, exact, strict=True))
        density = law.density(1.0).values * (10 / cells) ** 2
        evidence.below(f"rotation, {cells}²: error of the mass", abs(density.sum() - 1), 1e-13)
    slope = order_of(PLANE_CELLS, errors)
    evidence.below("rotation, correlated noise: |order − 2| of the moments", abs(slope - 2), 0.2)
    return errors


def periodic_target(evidence):
    process = sf.HeadProcess(OscillatingTarget(0.5, 1.0, 2.0), 1.0, sf.Isotropic())
    start = sf.Normal(0.0, 0.5)
    exact = sf.FokkerPlanckLaw(process, start, method="gaussian").moments(3.0)
    errors = []
    for cells in (500, 1000, 2000):
        law = sf.FokkerPlanckLaw(process, start, [-6, 6], cells, rtol=1e-10)
        errors.append(abs(law.moments(3.0)[0][0] - exact[0][0]))
    slope = order_of((500, 1000, 2000), errors)
    evidence.below("periodic target: |order − 2| of the mean at t = 3", abs(slope - 2), 0.1)


def node_counts(evidence):
    """Error of the averaged velocity at 200 points against 40 nodes, double-well law at t = 1."""
    process = sf.HeadProcess(DoubleWell(slope=1.0, cubic=1.0, centre=1.0), 1.0, sf.Isotropic())
    density = sf.VonMisesFisher([0, 0.6, 0.8], 4.0)
    points = sf.Uniform().sample(200, seed=0)

    def velocity(count):
        law = sf.FokkerPlanckLaw(process, sf.Normal(1.2, 0.3), nodes=int(count))
        return sf.attention_field(density, law, 1.0).velocity(points)

    reference = velocity(40)
    errors = np.array([np.abs(velocity(count) - reference).max() for count in NODE_COUNTS])
    errors /= np.abs(reference).max()
    evidence.below("velocity with 16 nodes: error relative to the largest", errors[-1], 1e-8)
    return errors


def main():
    evidence = Evidence(
        "09_fokker_planck",
        "Fokker–Planck solver for the head parameters",
        claim="Fokker–Planck equation of the heads, second line of (20)",
        method="finite volumes, against closed forms",
    )
    errors = ornstein_uhlenbeck(evidence)
    x, transient, late = double_well(evidence)
    state_dependent_noise(evidence)
    plane = rotation(evidence)
    periodic_target(evidence)
    by_nodes = node_counts(evidence)
    figure = Figure(figsize=(10.5, 3.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.loglog(CELLS, errors, "o-", lw=1, label="OU, L1 error")
    left.loglog(PLANE_CELLS, plane, "s-", lw=1, label="rotation in 2-D, moments")
    left.loglog(CELLS, errors[0] * (CELLS / CELLS[0]) ** -2.0, "--", color="0.6", label="order 2")
    left.set_xlabel("cells along an axis")
    left.set_ylabel("error")
    left.legend(frameon=False, fontsize=8)
    middle.plot(x, transient, label="t = 1")
    middle.plot(x, late, "--", label="t = 60")
    middle.set_xlim(-2.8, 2.8)
    middle.set_xlabel("θ")
    middle.set_ylabel("density of θ, double well")
    middle.legend(frameon=False, fontsize=8)
    right.semilogy(NODE_COUNTS, np.maximum(by_nodes, 1e-17), "o-", lw=1)
    right.set_xlabel("nodes of the quadrature of Θ")
    right.set_ylabel("relative error of the velocity")
    dataset = xarray.Dataset(
        {
            "ou_error": ("cells", errors),
            "rotation_error": ("plane_cells", plane),
            "velocity_error": ("nodes", by_nodes),
        },
        coords={"cells": CELLS, "plane_cells": PLANE_CELLS, "nodes": NODE_COUNTS},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
