"""Figures 2 and 3 of arXiv:2605.18870 by its own scheme: G² against H, and the energy balance.

Projected Euler for the tokens and Euler–Maruyama for the heads, on descent, with the parameters of
the text and, for the Ornstein–Uhlenbeck heads, also those of the published script. Every path has
its own tokens, initial heads and noise. The fit of a·H^b to the mean of G² over the second half
of the run is made on the means over the paths; its 95 % interval is a bootstrap over the paths.
"""

# slow

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure

import sphereflow as sf

HEADS = (1, 10, 100)
T_END = 20.0
STEPS = np.array([1e-2, 5e-3, 2.5e-3])
DRAWS = 5  # of the initial heads of the oscillating case
PUBLISHED = {
    "OU": ((0.384, 0.28, 0.53), (-0.933, -1.04, -0.83)),
    "oscillating": ((0.373, 0.27, 0.54), (0.005, -0.06, 0.07)),
}


def solve(heads, scheme):
    problem = sf.TransformerPDE(heads, sf.OctahedralClusters(spread=0.05), flow="descent")
    run = sf.solve(problem, t_end=T_END, scheme=scheme, save_every=0.1)
    keep = [name for name in run.data_vars if run[name].dims in (("path", "time"), ("time",))]
    return run[keep]


def ornstein_uhlenbeck(count, *, tokens, paths, dt, std):
    heads = sf.OrnsteinUhlenbeck(np.eye(3), sigma=1.0, initial_std=std).sample(count, seed=count)
    scheme = sf.Particles(tokens, dt, seed=1, paths=paths, store="statistics")
    return solve(heads, scheme)


def oscillating(count, *, phase):
    runs = []
    for draw in range(DRAWS):
        upper = np.triu(np.random.default_rng([count, draw]).standard_normal((count, 3, 3)))
        initial = upper + np.swapaxes(np.triu(upper, 1), 1, 2)
        scheme = sf.Particles(500, 1e-2, seed=1, first_path=draw, store="statistics")
        runs.append(solve(sf.OscillatingHeads(initial, phase=phase), scheme))
    return xarray.concat(runs, "path")


CASES = {
    "OU, text": (
        "OU",
        lambda count: ornstein_uhlenbeck(count, tokens=300, paths=20, dt=1e-2, std=1.0),
    ),
    "OU, script": (
        "OU",
        lambda count: ornstein_uhlenbeck(count, tokens=200, paths=10, dt=5e-3, std=2.0),
    ),
    "oscillating, phases spread": ("oscillating", lambda count: oscillating(count, phase="spread")),
    "oscillating, common phase": ("oscillating", lambda count: oscillating(count, phase="common")),
}


def mean_slope(run):
    """Mean of G² over the steps of the second half, for each path."""
    integral = -run["energy_slope_integral"]
    return ((integral.isel(time=-1) - integral.sel(time=T_END / 2)) / (T_END / 2)).values


def fit(means):
    """a and b of a·H^b by least squares of the logarithms."""
    b, log_a = np.polyfit(np.log(HEADS), np.log(means), 1)
    return np.array([np.exp(log_a), b])


def fit_with_interval(slopes, rng):
    """Fit of the means over the paths, and its 95 % bootstrap interval."""
    resampled = [
        fit([rng.choice(values, len(values)).mean() for values in slopes]) for _ in range(4000)
    ]
    return fit([values.mean() for values in slopes]), np.percentile(resampled, [2.5, 97.5], axis=0)


def report_fit(evidence, case, kind, slopes, rng):
    best, interval = fit_with_interval(slopes, rng)
    for index, letter in enumerate("ab"):
        value, low, high = PUBLISHED[kind][index]
        overlap = interval[0, index] <= high and interval[1, index] >= low
        verdict = "intervals overlap" if overlap else "do not agree"
        beside = f"paper {value} [{low}, {high}]: {verdict}"
        ends = (interval[0, index], interval[1, index])
        evidence.interval(f"{case}: {letter} of the fit a·H^b", best[index], ends, beside)
    for count, values in zip(HEADS, slopes, strict=True):
        evidence.note(f"{case}: mean G² of the second half at H = {count}", values.mean())
    return best, interval


def balance(evidence, case, run):
    """The residual with R beside the one with G², at H = 100 and the step of the paper."""
    change = (run["energy"] - run["energy"].isel(time=0)).isel(time=-1)
    evidence.note(f"{case}, H = 100: E(T) − E(0)", float(change.mean()))
    for label, name in (("R", "energy_residual"), ("G²", "energy_residual_slope")):
        last = run[name].isel(time=-1)
        evidence.note(f"{case}, H = 100: residual with {label}", float(last.mean()))


def refined_balance(evidence):
    """Mean residuals at T of 10 paths of 32 tokens under 100 OU heads, against the step.

    Itô's formula leaves terms of order dt in the mean, as E e^X − 1 − ½E X² of the noise X.
    """
    heads = sf.OrnsteinUhlenbeck(np.eye(3), sigma=1.0).sample(100, seed=100)
    means = np.empty((2, len(STEPS)))
    for column, dt in enumerate(STEPS):
        run = solve(heads, sf.Particles(32, dt, seed=1, paths=10, store="statistics"))
        for row, name in enumerate(("energy_residual", "energy_residual_slope")):
            means[row, column] = float(run[name].isel(time=-1).mean())
    order = np.polyfit(np.log(STEPS), np.log(means[0]), 1)[0]
    evidence.below(
        "OU, H = 100: |order in dt − 1| of the mean residual with R", abs(order - 1), 0.2
    )
    for column, dt in enumerate(STEPS):
        evidence.note(f"OU, H = 100, dt = {dt:g}: mean residual with R", means[0, column])
        evidence.note(f"OU, H = 100, dt = {dt:g}: mean residual with G²", means[1, column])
    evidence.above(
        "OU, H = 100, smallest dt: residual with G² over that with R",
        abs(means[1, -1]) / abs(means[0, -1]),
        2.0,
    )


def draw_slopes(figure, results):
    for row, (case, (runs, slopes, best, interval, kind)) in enumerate(results.items()):
        left, right = figure.axes[2 * row : 2 * row + 2]
        for index, (count, run) in enumerate(zip(HEADS, runs, strict=True)):
            mean = run["slope_squared"].mean("path")
            left.semilogy(run["time"], mean, color=f"C{index}", lw=1.2, label=f"H = {count}")
        left.set_ylabel("G²")
        left.set_title(case, fontsize=10, loc="left")
        low, high = left.get_ylim()
        left.set_ylim(low, 4.0 * high)  # room for the legend
        left.legend(fontsize=8, frameon=False, ncols=3, loc="upper right")
        for count, values in zip(HEADS, slopes, strict=True):
            right.loglog(np.full(len(values), count), values, ".", color="0.75", ms=4)
        means = [values.mean() for values in slopes]
        right.loglog(HEADS, means, "o", color="C0", label="mean over the paths")
        heads = np.array([0.8, 125.0])
        right.loglog(heads, best[0] * heads ** best[1], "-", color="C0", lw=1, label="fit")
        (a, *_), (b, *_) = PUBLISHED[kind]
        right.loglog(heads, a * heads**b, "--", color="C3", lw=1, label="paper's fit")
        right.set_title(
            f"b = {best[1]:.3f} in [{interval[0, 1]:.3f}, {interval[1, 1]:.3f}], paper {b}",
            fontsize=9,
        )
        low, high = right.get_ylim()
        right.set_ylim(min(low, 0.3 * max(means)), max(high, 3.0 * max(means)))
        right.set_ylabel("mean G², second half")
        right.legend(fontsize=8, frameon=False)
    for axis in figure.axes[-2:-1]:
        axis.set_xlabel("time")
    figure.axes[-1].set_xlabel("heads H")


def draw_balance(figure, cases):
    terms = {
        "E(t) − E(0)": lambda run: run["energy"] - run["energy"].isel(time=0),
        "∫∂ₜE dt (drift and Itô part)": lambda run: (
            run["energy_heads_integral"] + run["energy_ito_integral"]
        ),
        "−∫R dt": lambda run: run["energy_transport_integral"],
        "−∫G² dt": lambda run: run["energy_slope_integral"],
        "martingale M": lambda run: run["energy_martingale"],
        "residual with R": lambda run: run["energy_residual"],
        "residual with G²": lambda run: run["energy_residual_slope"],
    }
    for axis, (case, run) in zip(figure.axes, cases.items(), strict=True):
        for index, (label, term) in enumerate(terms.items()):
            values = term(run)
            if not values.any():
                continue
            mean, spread = values.mean("path"), values.std("path")
            style = "--" if label.startswith("residual") else "-"
            axis.plot(run["time"], mean, style, color=f"C{index}", lw=1.4, label=label)
            axis.fill_between(
                run["time"], mean - spread, mean + spread, color=f"C{index}", alpha=0.12, lw=0
            )
        axis.set_title(f"{case}, H = 100", fontsize=10)
        axis.set_xlabel("time")
        axis.axhline(0, color="0.6", lw=0.6)
    figure.axes[0].set_ylabel("energy")
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)


def main():
    evidence = Evidence(
        "06_paper_figures",
        "Figures 2 and 3 of the paper, by its own scheme",
        claim="Figures 2 and 3: G² against H, energy balance (148)",
        method="tokens, projected Euler",
    )
    rng = np.random.default_rng(0)
    results, datasets = {}, []
    for case, (kind, run_with) in CASES.items():
        runs = [run_with(count) for count in HEADS]
        slopes = [mean_slope(run) for run in runs]
        best, interval = report_fit(evidence, case, kind, slopes, rng)
        results[case] = (runs, slopes, best, interval, kind)
        mean = xarray.concat([run.mean("path") for run in runs], "heads")
        spread = xarray.concat([run.std("path") for run in runs], "heads")
        spread = spread.rename({name: f"{name}_std" for name in spread.data_vars})
        datasets.append(xarray.merge([mean, spread], combine_attrs="drop"))
    ou_exponent = results["OU, text"][2][1]
    evidence.below("OU, text: |b − (−0.933)|, the paper's fit", abs(ou_exponent + 0.933), 0.11)
    energies = {case: results[case][0][-1] for case in ("OU, text", "oscillating, phases spread")}
    for case, run in energies.items():
        balance(evidence, case, run)
    refined_balance(evidence)

    figure = Figure(figsize=(9.0, 2.6 * len(results)), layout="constrained")
    figure.subplots(len(results), 2)
    draw_slopes(figure, results)
    balances = Figure(figsize=(9.5, 4.0), layout="constrained")
    balances.subplots(1, 2)
    draw_balance(balances, energies)
    dataset = xarray.concat(datasets, "case").assign_coords(case=list(CASES), heads=list(HEADS))
    evidence.save(dataset, figure)
    evidence.picture(balances, "06_energy_balance", "Terms of the energy balance (148)")
    evidence.verdict()


if __name__ == "__main__":
    main()
