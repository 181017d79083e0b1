"""The attention field where tokens cluster, logits are large or heads are many: cost and error.

CPU seconds of one thread (OMP_NUM_THREADS=1, as `make validate` sets it), medians of one run, each
version in a process of its own. With `--before CHECKOUT` the same tasks are measured with the
package in that folder. Tokens in clusters are states of runs that have clustered, the same ones for
both; errors of velocities are relative to the largest, against sums over all pairs by log-sum-exp,
or against the closed form for a von Mises–Fisher density. A task that a version refuses, or that
takes it minutes, has no figure.
"""

# slow

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure

import sphereflow as sf
from sphereflow.attention import GridField
from sphereflow.sphere import resize

EYE = np.eye(3)
MILD = np.diag([1.0, 0.7, 0.4])
SIZES = (1000, 10_000, 100_000, 1_000_000)
BETAS = (100.0, 300.0, 600.0)
STATES = {"smooth": 0.0, "clustering": 10.0, "clustered": 40.0}
LARGEST_BEFORE = 30_000  # tokens: with more of them direct sums take minutes


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def spread(count):
    return unit(np.random.default_rng(0).standard_normal((count, 3)))


def clusters(count):
    """Twelve clusters of widths 1e-8 to 0.05, and one token in a hundred elsewhere."""
    rng = np.random.default_rng(1)
    centres, widths = unit(rng.standard_normal((12, 3))), np.geomspace(1e-8, 0.05, 12)
    which = rng.integers(0, 12, count)
    x = centres[which] + widths[which, None] * rng.standard_normal((count, 3))
    stray = rng.random(count) < 0.01
    x[stray] = rng.standard_normal((stray.sum(), 3))
    return unit(x)


def general_heads(count, size):
    matrices = np.random.default_rng(2).standard_normal((count, 3, 3))
    return size * matrices / np.linalg.norm(matrices, 2, axis=(1, 2))[:, None, None]


def median_time(function, repeats):
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        function()
        seconds.append(time.process_time() - begin)
    return float(np.median(seconds))


def direct_velocity(x, logits, some):
    """Mean over the heads of P ∇log L, V = I, at some tokens."""
    total = np.zeros((len(some), 3))
    for matrix in logits:
        scores = x[some] @ matrix @ x.T
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        total += (shares @ x) / shares.sum(axis=1, keepdims=True) / len(logits)
    return total - x[some] * np.sum(total * x[some], axis=1, keepdims=True)


def tokens(x, logits, repeats=5):
    """A step of Euler's, and the error of the velocity."""
    logits = np.asarray(logits, dtype=float).reshape(-1, 3, 3)
    values = np.tile(EYE, (len(logits), 1, 1))
    problem = sf.TransformerPDE(sf.FixedHeads(logits, values), sf.EmpiricalDensity(x))
    run = sf.Particles(dt=1e-9, threads=1).start(problem, 1e-6)
    for _ in range(2):
        run.advance(1.0)
    seconds = median_time(lambda: run.advance(1.0), repeats)
    some = np.random.default_rng(3).choice(len(x), min(len(x), 50), replace=False)
    now = np.ascontiguousarray(run.now.positions[0].T)
    expected = direct_velocity(now, logits, some)
    velocity = run.sample.velocity[0].T
    return seconds, float(np.abs(velocity[some] - expected).max() / np.abs(velocity).max())


def spectral(beta):
    """One evaluation of the field on its grid, for coefficients to degree 63."""
    density = sf.VonMisesFisher([0.0, 0.6, 0.8], 4.0)
    coefficients = resize(density.resolved_spectrum(), 63)
    law = sf.FixedHeads(beta * MILD, EYE)
    field = GridField(sf.TransformerPDE(law, density).field_specification, 1e-8)
    for _ in range(2):
        sample = field(0.0, coefficients, 191)
    seconds = median_time(lambda: field(0.0, coefficients, 191), 5)
    grid = sf.SphereGrid(191)
    parts = (resize(part, 191) for part in (sample.spheroidal, sample.toroidal))
    velocity = grid.to_cartesian(grid.vector_synthesis(*parts))
    expected = von_mises_fisher_velocity(grid.points, beta)
    return seconds, float(np.abs(velocity - expected).max() / np.abs(expected).max())


def von_mises_fisher_velocity(x, beta):
    moved = x @ (beta * MILD) + 4.0 * np.array([0.0, 0.6, 0.8])
    length = np.linalg.norm(moved, axis=-1, keepdims=True)
    mean = moved / length * (1.0 / np.tanh(length) - 1.0 / length)
    return mean - x * np.sum(mean * x, axis=-1, keepdims=True)


def longest():
    """v̄ at the points of a grid of degree 95 at |D| = 10⁴."""
    x = sf.SphereGrid(95).points.reshape(-1, 3)
    density = sf.VonMisesFisher([0.0, 0.6, 0.8], 4.0)
    law = sf.FixedHeads(1e4 * MILD, EYE)
    transformed = sf.attention_field(_as_run(density), law, tolerance=1e-8)
    transformed.velocity(x)
    seconds = median_time(lambda: transformed.velocity(x), 5)
    expected = von_mises_fisher_velocity(x, 1e4)
    return seconds, float(np.abs(transformed.velocity(x) - expected).max() / np.abs(expected).max())


def _as_run(density):
    problem = sf.TransformerPDE(sf.FixedHeads(EYE), density)
    return sf.solve(problem, t_end=1e-6, scheme=sf.Spectral(63, 63, resolution_limit=1.0))


def kuramoto():
    """One head with D = 0, T = 6, characteristics; error of the mass, which is exact."""
    density = sf.VonMisesFisher([0.0, 0.0, 1.0], 2.0)
    problem = sf.TransformerPDE(sf.FixedHeads(np.zeros((3, 3)), EYE), density)
    begin = time.process_time()
    run = sf.solve(problem, t_end=6.0, scheme=sf.Characteristics(), save_every=3.0)
    residual = float(np.abs(run.energy_residual.values).max())
    return time.process_time() - begin, residual


def noisy(heads):
    law = sf.OrnsteinUhlenbeck(EYE, 1.0).sample(count=heads, seed=1)
    problem = sf.TransformerPDE(law, sf.OctahedralClusters(0.05), flow="descent")
    run = sf.Particles(100_000, 1e-2, seed=1, threads=1).start(problem, 1e-6)
    for _ in range(2):
        run.advance(1.0)
    seconds = median_time(lambda: run.advance(1.0), 3)
    nodes = run.system.nodes(run.t)[0]
    x = np.ascontiguousarray(run.now.positions[0].T)
    some = np.arange(0, len(x), 2000)
    expected = np.zeros((len(some), 3))
    for logits, values in zip(nodes.logits, nodes.values, strict=True):
        shares = np.exp(x[some] @ logits @ x.T)
        mean = (shares @ x) / shares.sum(axis=1, keepdims=True)
        expected += mean @ values.T / heads
    expected -= x[some] * np.sum(expected * x[some], axis=1, keepdims=True)
    velocity = run.sample.velocity[0].T
    return seconds, float(np.abs(velocity[some] - expected).max() / np.abs(velocity).max())


def curvatures():
    """Direct sums with Itô terms, in ns for a pair and head."""
    problem = sf.TransformerPDE(
        sf.FixedHeads(general_heads(4, 3.0), np.tile(EYE, (4, 1, 1))), sf.Uniform()
    )
    scheme = sf.Particles(3000, 1e-3, seed=1, summation="direct", threads=1)
    run = scheme.start(problem, 1e-6)
    nodes, x = [problem.heads.nodes(0.0)], run.now.positions

    def evaluate():
        return run.field(0.0, x, nodes, [0], curvatures=True)

    evaluate()
    sample = evaluate()
    seconds = median_time(evaluate, 5) / (4 * 3000**2) * 1e9
    expected = direct_velocity(np.ascontiguousarray(x[0].T), nodes[0].logits, np.arange(50))
    error = np.abs(sample.velocity[0].T[:50] - expected).max() / np.abs(sample.velocity).max()
    return seconds, float(error)


def tasks(folder):
    """Names of the tasks, the bound of the error of each, whether an earlier version is asked."""
    both, alone = True, False
    listed = []
    for name in STATES:
        for label, logits in (("25 I", 25 * EYE), ("25 diag(1, .7, .4)", 25 * MILD)):
            x = np.load(folder / f"{name} {label}.npy")
            task = f"step, n = 2·10⁴, D = {label}, {name}"
            listed.append((task, 1e-11, both, lambda x=x, d=logits: tokens(x, d)))
    x = clusters(20_000)
    listed.append(("step, n = 2·10⁴, D = 400 I", 1e-12, both, lambda: tokens(x, 400 * EYE)))
    for count in SIZES:
        ask = count <= LARGEST_BEFORE
        task = f"step, n = {count}, D = 25 I, clusters"
        listed.append((task, 1e-12, ask, lambda n=count: tokens(clusters(n), 25 * EYE, 3)))
    ten = general_heads(10, 25.0)
    task = "step, n = 10⁶, 10 general heads of size 25"
    listed.append((task, 1e-11, alone, lambda: tokens(spread(10**6), ten, 1)))
    for beta in BETAS:
        task = f"spectral field, D = {beta:g} diag(1, .7, .4)"
        listed.append((task, 1e-5, both, lambda b=beta: spectral(b)))
    listed.append(("velocity on a grid, D = 10⁴ diag(1, .7, .4)", 1e-8, both, longest))
    listed.append(("D = 0, characteristics, T = 6", 1e-5, both, kuramoto))
    for heads in (100, 1000):
        task = f"step, n = 10⁵, {heads} noisy heads"
        listed.append((task, 1e-10, both, lambda h=heads: noisy(h)))
    heads = general_heads(10, 4.0)
    task = "step, n = 10⁶, 10 fixed heads"
    listed.append((task, 1e-10, both, lambda: tokens(spread(10**6), heads, 3)))
    listed.append(("direct sums with curvatures, ns a pair", 1e-13, both, curvatures))
    return listed


def measure(folder, earlier):
    """Seconds and errors of all tasks, as JSON on the standard output."""
    found = {}
    for name, _, ask, function in tasks(folder):
        if earlier and not ask:
            continue
        try:
            found[name] = function()
        except sf.SphereflowError:
            continue
    print(json.dumps(found))


def measured(folder, package=None):
    """Those of this version, or of the one in another folder."""
    environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    arguments = [sys.executable, "-W", "ignore", __file__, "--measure", str(folder)]
    if package is not None:
        environment["PYTHONPATH"] = str(Path(package).resolve())
        arguments.append("--earlier")
    done = subprocess.run(arguments, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def save_states(folder):
    """Tokens of runs at the times of STATES, ascent, V = I, Euler steps of 0.05."""
    for label, logits in (("25 I", 25 * EYE), ("25 diag(1, .7, .4)", 25 * MILD)):
        problem = sf.TransformerPDE(sf.FixedHeads(logits, EYE), sf.EmpiricalDensity(spread(20_000)))
        scheme = sf.Particles(dt=0.05, threads=1)
        run = sf.solve(problem, t_end=40.0, scheme=scheme, save_at=list(STATES.values()))
        for name, t in STATES.items():
            np.save(folder / f"{name} {label}.npy", unit(run.position.sel(time=t).values))


def exponent(x, seconds):
    return float(np.polyfit(np.log(x), np.log(seconds), 1)[0])


def main(before):
    evidence = Evidence(
        "26_fast_fields",
        "Fields of clusters, of large logits and of many heads",
        claim="cost and error of the attention field",
        method="series at tokens and at long arguments, against sums over all pairs",
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_states(folder)
        after = measured(folder)
        earlier = {} if before is None else measured(folder, before)
        bounds = {task: bound for task, bound, *_ in tasks(folder)}
    print(f"  {'task':<50} {'before':>9} {'after':>9} {'ratio':>7} {'error':>9}")
    table = np.full((len(after), 3), np.nan)
    for row, (task, (seconds, error)) in enumerate(after.items()):
        table[row] = earlier.get(task, (np.nan,))[0], seconds, error
        ratio = table[row, 0] / seconds
        print(f"  {task:<50} {table[row, 0]:9.3g} {seconds:9.3g} {ratio:7.3g} {error:9.1e}")
    for task, (seconds, error) in after.items():
        evidence.note(f"{task}: seconds", seconds)
        if task in earlier:
            evidence.note(f"{task}: before over after", earlier[task][0] / seconds)
        evidence.below(f"{task}: error", error, bounds[task])
    by_size = [after[f"step, n = {count}, D = 25 I, clusters"][0] for count in SIZES]
    growth = exponent(SIZES[1:], by_size[1:])
    evidence.below("exponent in n of a step in clusters, from n = 10⁴ on", growth, 1.1)
    by_beta = [after[f"spectral field, D = {beta:g} diag(1, .7, .4)"][0] for beta in BETAS]
    evidence.below("exponent in β of the spectral field", exponent(BETAS, by_beta), 0.5)
    figure = Figure(figsize=(4.8, 3.4), layout="constrained")
    axis = figure.subplots()
    axis.loglog(SIZES, np.array(by_size) / by_size[0], "o-", label=f"exponent {growth:.2f}")
    axis.set_xlabel("tokens n")
    axis.set_ylabel("time of a step over that at n = 1000")
    axis.legend(frameon=False)
    dataset = xarray.Dataset(
        {"table": (("task", "column"), table)},
        coords={"task": list(after), "column": ["before", "after", "error"]},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", help="folder of an earlier version")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--earlier", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure is None:
        main(given.before)
    else:
        measure(Path(given.measure), given.earlier)
