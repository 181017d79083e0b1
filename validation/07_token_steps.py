"""Accuracy of token runs: orders in the step, two tokens, the two summations, noisy heads.

Orders are regressions of the error of the positions of 40 tokens against a Dormand-Prince
solution at relative 1e-13. Two tokens under one head D = βI have the inner product c with
dc/dt = 2s(1 − c²) (e^{βc} − …), here integrated by itself as a reference. The harmonic summation
is compared with the direct one, and the energy balance (148) of noisy heads is refined in the step.
"""

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp

import sphereflow as sf

STEPS = np.array([0.2, 0.1, 0.05, 0.025])
NOISY_STEPS = np.array([0.04, 0.02, 0.01, 0.005])
ORDERS = {"euler": 1, "heun": 2, "rk4": 4}


def order_of(steps, errors):
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


def positions(problem, scheme, t_end, rtol=1e-6):
    return sf.solve(problem, t_end=t_end, scheme=scheme, save_at=[t_end], rtol=rtol)


def orders(evidence):
    """Errors of each stepper at t = 1, for oscillating heads on ascent."""
    noise = np.random.default_rng(3).standard_normal((5, 3, 3))
    heads = sf.OscillatingHeads((noise + np.swapaxes(noise, 1, 2)) / 2)
    problem = sf.TransformerPDE(heads, sf.OctahedralClusters(), flow="ascent")
    exact = positions(problem, sf.Particles(40, None, seed=1), 1.0, rtol=1e-13).position
    errors = np.empty((len(ORDERS), len(STEPS)))
    for row, (stepper, order) in enumerate(ORDERS.items()):
        for column, dt in enumerate(STEPS):
            scheme = sf.Particles(40, dt, seed=1, stepper=stepper)
            errors[row, column] = np.abs(positions(problem, scheme, 1.0).position - exact).max()
        slope = order_of(STEPS[1:], errors[row, 1:])
        evidence.below(f"{stepper}: |order − {order}|", abs(slope - order), 0.15)
    return errors


def two_tokens(evidence):
    """⟨x, y⟩ of two tokens under D = V = βI: c' = 2s β (1 − c²) e^{βc} / (e^β + e^{βc})."""
    beta, start, t_end = 1.5, 0.3, 2.0
    points = [[1.0, 0.0, 0.0], [start, np.sqrt(1 - start**2), 0.0]]
    for flow, sign in (("ascent", 1.0), ("descent", -1.0)):
        problem = sf.TransformerPDE(
            sf.FixedHeads(beta * np.eye(3)), sf.EmpiricalDensity(points), flow=flow
        )
        reference = solve_ivp(
            lambda t, c, s=sign: 2 * s * beta * (1 - c**2) / (1 + np.exp(beta * (1 - c))),
            (0.0, t_end),
            [start],
            method="DOP853",
            rtol=1e-13,
            atol=1e-14,
        ).y[0, -1]
        for name, scheme, rtol in (
            ("rk4, dt = 0.002", sf.Particles(dt=2e-3, stepper="rk4"), 1e-6),
            ("adaptive", sf.Particles(dt=None), 1e-12),
        ):
            x, y = positions(problem, scheme, t_end, rtol).position.values[0]
            evidence.below(
                f"two tokens, {flow}, {name}: error of ⟨x, y⟩", abs(x @ y - reference), 1e-10
            )


def summations(evidence):
    """Positions and energy terms after 20 steps by both routes, 2000 tokens, 10 heads."""
    heads = sf.OrnsteinUhlenbeck(np.eye(3), 1.0).sample(10, seed=1)
    problem = sf.TransformerPDE(heads, sf.OctahedralClusters(), flow="descent")
    direct, harmonic = (
        positions(problem, sf.Particles(2000, 1e-2, seed=1, summation=route), 0.2)
        for route in ("direct", "harmonic")
    )
    for name in ("position", "energy", "dissipation", "slope_squared", "energy_ito_integral"):
        scale = float(np.abs(direct[name]).max())
        change = float(np.abs(direct[name] - harmonic[name]).max()) / scale
        evidence.below(f"harmonic against direct: {name}, relative", change, 1e-10)


def noisy_balance(evidence):
    """Root mean square over 100 paths of both residuals at t = 1, H = 10, 40 tokens."""
    heads = sf.OrnsteinUhlenbeck(np.eye(3), 1.0).sample(10, seed=2)
    problem = sf.TransformerPDE(heads, sf.OctahedralClusters(), flow="descent")
    residuals = np.empty((2, len(NOISY_STEPS)))
    for column, dt in enumerate(NOISY_STEPS):
        scheme = sf.Particles(40, dt, seed=1, paths=100, store="statistics")
        run = sf.solve(problem, t_end=1.0, scheme=scheme, save_at=[1.0])
        for row, name in enumerate(("energy_residual", "energy_residual_slope")):
            residuals[row, column] = np.sqrt(float((run[name] ** 2).mean()))
    strong = order_of(NOISY_STEPS, residuals[0])
    evidence.below("noisy heads: |order − 1/2| of the residual with R", abs(strong - 0.5), 0.15)
    evidence.note("noisy heads: residual with R at the smallest step", residuals[0, -1])
    evidence.note("noisy heads: residual with G² at the smallest step", residuals[1, -1])
    return residuals


def main():
    evidence = Evidence(
        "07_token_steps",
        "Accuracy of token runs",
        claim="orders of the token steps, eq. (10)",
        method="tokens, against dense references",
    )
    errors = orders(evidence)
    two_tokens(evidence)
    summations(evidence)
    residuals = noisy_balance(evidence)
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for row, (stepper, order) in enumerate(ORDERS.items()):
        left.loglog(STEPS, errors[row], "o", color=f"C{row}", label=stepper)
        left.loglog(STEPS, errors[row, 0] * (STEPS / STEPS[0]) ** order, color=f"C{row}", lw=1)
    left.set_ylabel("largest error of a position")
    left.set_title("Circles: runs. Lines: orders 1, 2, 4.", fontsize=10)
    for row, label in enumerate(("with R", "with G²")):
        right.loglog(NOISY_STEPS, residuals[row], "o-", color=f"C{row}", lw=1, label=label)
    right.loglog(
        NOISY_STEPS,
        residuals[0, 0] * (NOISY_STEPS / NOISY_STEPS[0]) ** 0.5,
        "--",
        color="0.6",
        lw=1,
        label="order 1/2",
    )
    right.set_yticks([0.01, 0.02, 0.03], ["0.01", "0.02", "0.03"])
    right.set_ylabel("rms residual of (148)")
    right.set_title("Ornstein–Uhlenbeck heads, H = 10", fontsize=10)
    for axis, steps in ((left, STEPS), (right, NOISY_STEPS)):
        axis.set_xticks(steps, [f"{step:g}" for step in steps])
        axis.minorticks_off()
        axis.set_xlabel("step dt")
        axis.legend(frameon=False, fontsize=8)
    dataset = xarray.Dataset(
        {"error": (("stepper", "dt"), errors), "residual": (("term", "noisy_dt"), residuals)},
        coords={
            "stepper": list(ORDERS),
            "dt": STEPS,
            "term": ["dissipation", "slope_squared"],
            "noisy_dt": NOISY_STEPS,
        },
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
