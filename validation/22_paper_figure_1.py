"""Figure 1 of arXiv:2605.18870: clouds of 150 tokens under 100 heads at t = 0, 16, 18 and 20.

Projected Euler with a step of 0.01, on descent, from the six clusters of the published script.
First row: Ornstein–Uhlenbeck heads, positions averaged over 20 paths that share their tokens, and
normalised. Then oscillating heads, with the phases of the paper and with one common phase.

What agrees with the paper: its mean cloud under Ornstein–Uhlenbeck heads hardly moves between
t = 16 and 20, and is that of infinitely many heads up to the error of drawn heads. Under
oscillating heads of a common phase the cloud keeps moving; tokens gather at the ends of an axis,
as at t = 16, where the second moment has one large eigenvalue, and part again.

What does not: under Ornstein–Uhlenbeck heads tokens do not cluster. On descent they repel one
another, and the six clusters widen. The mean cloud is not at rest at t = 20: under infinitely many
heads G² tends to 0 as Theorem 4.16 has it, with a time scale of about 10. The cloud of one path
moves more than the mean shows, since the field of 100 drawn heads fluctuates. With the phases of
the paper the targets of the heads cancel on average, and the cloud moves no more than that of one
Ornstein–Uhlenbeck path: oscillating heads alone do not keep it moving.
"""

# slow

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure

import sphereflow as sf

TOKENS, HEADS, PATHS = 150, 100, 20
TIMES = [0.0, 1.0, 16.0, 17.0, 18.0, 19.0, 20.0]
SHOWN = [0.0, 16.0, 18.0, 20.0]
LATE = [30.0, 45.0, 60.0]  # for infinitely many heads
VIEW = np.array([0.62, -0.62, 0.48])
COLOURS = np.array(["#0072b2", "#d55e00", "#009e73", "#aa4499", "#e69f00", "#555555"])
OU = "Ornstein–Uhlenbeck, mean of 20 paths"
SPREAD, COMMON = "oscillating, phases spread", "oscillating, common phase"


def solve(heads, paths=1):
    problem = sf.TransformerPDE(heads, sf.OctahedralClusters(spread=0.05), flow="descent")
    scheme = sf.Particles(TOKENS, 1e-2, seed=1, paths=paths, share_tokens=True)
    return sf.solve(problem, t_end=TIMES[-1], scheme=scheme, save_at=TIMES)


def infinitely_many(law, tokens):
    problem = sf.TransformerPDE(law, sf.EmpiricalDensity(tokens), flow="descent")
    scheme = sf.Particles(dt=None)
    return sf.solve(problem, t_end=LATE[-1], scheme=scheme, save_at=TIMES + LATE, rtol=1e-7)


def oscillating(phase):
    upper = np.triu(np.random.default_rng(1).standard_normal((HEADS, 3, 3)))
    initial = upper + np.swapaxes(np.triu(upper, 1), 1, 2)
    return solve(sf.OscillatingHeads(initial, phase=phase))


def normalised(positions):
    return positions / np.linalg.norm(positions, axis=-1, keepdims=True)


def apart(first, second):
    """Root mean square of the geodesic distance of tokens."""
    chord = np.linalg.norm(first - second, axis=-1)
    return float(np.sqrt(np.mean((2 * np.arcsin(np.minimum(0.5 * chord, 1.0))) ** 2)))


def width(cloud, group):
    """Root mean square of the angle of tokens from the middle of the group they started in."""
    return apart(cloud, normalised(np.stack([cloud[group == k].mean(axis=0) for k in group])))


def late_slope(run):
    """Mean of G² over the steps from t = 16 to 20, and over the paths."""
    integral = -run["energy_slope_integral"]
    return float((integral.sel(time=20.0) - integral.sel(time=16.0)).mean()) / 4


def draw(axes, cloud, group):
    """The sphere from VIEW: tokens in front filled, those behind faint."""
    ahead = VIEW / np.linalg.norm(VIEW)
    right = normalised(np.cross([0.0, 0.0, 1.0], ahead))
    frame = np.stack([right, np.cross(ahead, right), ahead], axis=1)
    turn = np.linspace(0, 2 * np.pi, 181)
    axes.fill(np.cos(turn), np.sin(turn), facecolor="0.97", edgecolor="0.4", lw=0.8)
    lines = [
        np.stack([np.cos(turn) * c, np.sin(turn) * c, 0 * turn + s], axis=1)
        for c, s in ((np.cos(a), np.sin(a)) for a in np.radians([-60, -30, 0, 30, 60]))
    ]
    lines += [
        np.stack([np.cos(a) * np.cos(turn), np.sin(a) * np.cos(turn), np.sin(turn)], axis=1)
        for a in np.radians(np.arange(0, 180, 30))
    ]
    for line in lines:
        x, y, depth = (line @ frame).T
        axes.plot(np.where(depth > 0, x, np.nan), y, color="0.85", lw=0.5)
    x, y, depth = (cloud @ frame).T
    for k, colour in enumerate(COLOURS):
        front, back = (group == k) & (depth > 0), (group == k) & (depth <= 0)
        axes.scatter(x[back], y[back], s=7, facecolor="none", edgecolor=colour, alpha=0.35, lw=0.6)
        axes.scatter(x[front], y[front], s=12, color=colour, lw=0, zorder=3)
    axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal", xticks=[], yticks=[])
    axes.set_frame_on(False)


def main():
    evidence = Evidence(
        "22_paper_figure_1",
        "Figure 1 of the paper: token clouds",
        claim="Figure 1: clouds under Ornstein–Uhlenbeck and oscillating heads",
        method="tokens, projected Euler; adaptive for infinitely many heads",
    )
    law = sf.OrnsteinUhlenbeck(np.eye(3), sigma=1.0, initial_std=1.0)
    ou = solve(law.sample(HEADS, seed=1), PATHS)
    paths = ou["position"].transpose("path", "time", "token", "axis").values
    infinite = infinitely_many(law, paths[0, 0])
    runs = {OU: ou, SPREAD: oscillating("spread"), COMMON: oscillating("common")}
    clouds = {name: run["position"].values for name, run in runs.items()}
    clouds[OU] = normalised(paths.mean(axis=0))
    clouds["infinitely many Ornstein–Uhlenbeck heads"] = infinite["position"].values
    group = np.argmax(paths[0, 0] @ np.concatenate([np.eye(3), -np.eye(3)]).T, axis=1)
    at = {t: TIMES.index(t) for t in TIMES}

    def moved(cloud, first, last):
        return apart(cloud[..., at[first], :, :], cloud[..., at[last], :, :])

    for name, cloud in {**clouds, "one Ornstein–Uhlenbeck path, all 20": paths}.items():
        for first, last in ((0.0, 1.0), (16.0, 18.0), (18.0, 20.0)):
            what = f"{name}: rms displacement, t = {first:g} to {last:g}"
            if name == COMMON and first > 0:
                evidence.above(what, moved(cloud, first, last), 0.1)
            else:
                evidence.note(what, moved(cloud, first, last))
    for name, cloud in clouds.items():
        for t in (0.0, 16.0, 20.0):
            evidence.note(f"{name}: rms width of the groups, t = {t:g}", width(cloud[at[t]], group))
    for name in runs:
        for t in SHOWN[1:]:
            now = clouds[name][at[t]]
            largest = np.linalg.eigvalsh(now.T @ now / TOKENS)[-1]
            evidence.note(f"{name}: largest eigenvalue of ∫xxᵀdμ, t = {t:g}", largest)
    for name, run in {**runs, "infinitely many Ornstein–Uhlenbeck heads": infinite}.items():
        evidence.note(f"{name}: mean G² over t = 16 to 20", late_slope(run))
    limit = infinite["position"].values
    mean_error = apart(clouds[OU][at[20.0]], limit[at[20.0]])
    path_error = apart(paths[:, at[20.0]], limit[at[20.0]])
    evidence.note("t = 20: rms distance of one path from infinitely many heads", path_error)
    evidence.note("t = 20: the same for the mean of 20 paths", mean_error)
    # Unbiased and independent paths would give 20^(-1/2).
    evidence.below("t = 20: ratio of the two", mean_error / path_error, 2 / np.sqrt(PATHS))
    slope = infinite["slope_squared"]
    evidence.below(
        "infinitely many heads: G² at t = 60 over that at t = 16",
        float(slope.sel(time=60.0) / slope.sel(time=16.0)),
        0.1,
    )
    evidence.below(
        "displacement from t = 16 to 20, mean of 20 paths over common phase",
        moved(clouds[OU], 16.0, 20.0) / moved(clouds[COMMON], 16.0, 20.0),
        0.1,
    )
    figure = Figure(figsize=(9.2, 7.4), layout="constrained")
    for row, name in zip(figure.subplots(len(runs), len(SHOWN)), runs, strict=True):
        row[0].set_ylabel(name.replace(", ", ",\n"), fontsize=10)
        for axes, t in zip(row, SHOWN, strict=True):
            draw(axes, clouds[name][at[t]], group)
            if name == OU:
                axes.set_title(f"t = {t:g}", fontsize=11)
    dataset = xarray.Dataset(
        {
            "position": (
                ("case", "time", "token", "axis"),
                np.stack([cloud[: len(TIMES)] for cloud in clouds.values()]),
            ),
            "group": ("token", group),
        },
        {"case": list(clouds), "time": TIMES},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
