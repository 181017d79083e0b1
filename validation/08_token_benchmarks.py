"""Cost of the token sums, as ratios measured in one run on one thread.

The direct sum against the batched einsum over arrays of H·n² numbers and against a loop over
heads in NumPy, both with the maximum subtracted; the harmonic summation against the direct one;
the cost of a step against n. Where direct sums would take minutes their time is extrapolated from
n = 10⁴ by their own n² law.
"""

# slow

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure

import sphereflow as sf

CASES = ((300, 100), (2000, 10))
SIZES = (1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
HEADS = 10


def random_heads(count, seed=0):
    noise = np.random.default_rng(seed).standard_normal((count, 3, 3))
    return (noise + np.swapaxes(noise, 1, 2)) / 2


def started(count, heads, summation, threads=1):
    """A token run at time 0; its steps are what is timed."""
    problem = sf.TransformerPDE(
        sf.FixedHeads(random_heads(heads)), sf.OctahedralClusters(spread=0.3), flow="descent"
    )
    scheme = sf.Particles(count, 1e-3, seed=1, summation=summation, threads=threads)
    return scheme.start(problem, 1e-6)


def step(run):
    run.advance(run.t + 1e-3)


def fastest(functions, repeats):
    """Shortest seconds of some functions, called in turn.

    Each is called once before: the field of the first step of a run may be known already.
    """
    for function in functions:
        function()
    seconds = np.full(len(functions), np.inf)
    for _ in range(repeats):
        for index, function in enumerate(functions):
            begin = time.perf_counter()
            function()
            seconds[index] = min(seconds[index], time.perf_counter() - begin)
    return seconds


def batched_einsum(x, matrices):
    """All heads at once, with arrays of shape (H, n, n)."""
    images = np.einsum("hij,nj->hni", matrices, x)
    attention = np.einsum("ni,hmi->hnm", x, images)
    attention -= attention.max(axis=-1, keepdims=True)
    attention = np.exp(attention)
    attention /= attention.sum(axis=-1, keepdims=True)
    return np.einsum("hnm,hmi->ni", attention, images) / len(matrices)


def loop_over_heads(x, matrices):
    total = np.zeros_like(x)
    for matrix in matrices:
        attention = x @ matrix @ x.T
        attention -= attention.max(axis=1, keepdims=True)
        attention = np.exp(attention)
        attention /= attention.sum(axis=1, keepdims=True)
        total += attention @ x @ matrix.T
    return total / len(matrices)


def direct_against_numpy(evidence):
    table = np.empty((len(CASES), 3))
    for row, (count, heads) in enumerate(CASES):
        run = started(count, heads, "direct")
        matrices = random_heads(heads)
        x = np.ascontiguousarray(run.positions[0].T)
        expected = loop_over_heads(x, matrices)
        error = np.abs(run.sample.step_direction[0].T - expected).max()
        evidence.below(f"n = {count}, H = {heads}: direct sum against NumPy", error, 1e-13)

        def ours(run=run):
            step(run)

        functions = (
            ours,
            lambda x=x, m=matrices: batched_einsum(x, m),
            lambda x=x, m=matrices: loop_over_heads(x, m),
        )
        table[row] = fastest(functions, 5) / (count**2 * heads) * 1e9
        nanoseconds, einsum, loop = table[row]
        evidence.note(f"n = {count}, H = {heads}: direct, ns per pair and head", nanoseconds)
        evidence.note(f"n = {count}, H = {heads}: batched einsum, the same", einsum)
        evidence.note(f"n = {count}, H = {heads}: NumPy loop over heads, the same", loop)
        evidence.below(f"n = {count}, H = {heads}: direct, ns per pair and head", nanoseconds, 2.0)
        evidence.above(f"n = {count}, H = {heads}: einsum over direct", einsum / nanoseconds, 15.0)
        evidence.above(f"n = {count}, H = {heads}: NumPy over direct", loop / nanoseconds, 2.0)
    return table


def harmonic_against_direct(evidence):
    """Ratios at n = 10⁴, and at 10⁵ with the direct side extrapolated."""
    direct, harmonic = (started(10_000, HEADS, route) for route in ("direct", "harmonic"))
    expected, got = (run.sample.step_direction for run in (direct, harmonic))
    error = np.abs(expected - got).max() / np.abs(expected).max()
    evidence.below("n = 10⁴: harmonic against direct, relative", error, 1e-10)
    seconds, quick = fastest([lambda: step(direct), lambda: step(harmonic)], 3)
    evidence.above("n = 10⁴, H = 10: direct over harmonic", seconds / quick, 50.0)
    larger = started(100_000, HEADS, "harmonic")
    step(larger)
    (at_larger,) = fastest([lambda: step(larger)], 3)
    ratio = 100 * seconds / at_larger
    evidence.above("n = 10⁵, H = 10: direct (extrapolated) over harmonic", ratio, 1000.0)
    return seconds / quick, ratio


def cost_against_size(evidence):
    seconds = np.empty(len(SIZES))
    for index, count in enumerate(SIZES):
        run = started(count, HEADS, "harmonic")
        step(run)
        (seconds[index],) = fastest([lambda run=run: step(run)], 3)
    large = np.array(SIZES) >= 10_000
    exponent = np.polyfit(np.log(np.array(SIZES)[large]), np.log(seconds[large]), 1)[0]
    evidence.below("exponent of the cost of a step beyond n = 10⁴", exponent, 1.05)
    return seconds, exponent


def a_million(evidence):
    """One step of 10⁶ tokens on two threads in a process of its own, with its memory."""
    program = (
        "import json, resource, runpy, time;"
        f"names = runpy.run_path({__file__!r}, run_name='benchmark');"
        f"run = names['started'](1_000_000, {HEADS}, 'harmonic', threads=2);"
        "names['step'](run); begin = time.perf_counter(); names['step'](run);"
        "seconds = time.perf_counter() - begin;"
        "memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20;"
        "print(json.dumps([seconds, memory]))"
    )
    folder = Path(__file__).parent  # from which the modules of the scripts are imported
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, check=True
    )
    seconds, memory = json.loads(result.stdout.splitlines()[-1])
    evidence.below("n = 10⁶, H = 10: seconds for a step on two threads", seconds, 2.0)
    evidence.below("n = 10⁶, H = 10: GiB of memory of the whole process", memory, 2.0)


def main():
    evidence = Evidence(
        "08_token_benchmarks",
        "Cost of the token sums, ratios in this run",
        claim="cost of the sums over tokens",
        method="tokens, against plain sums",
    )
    table = direct_against_numpy(evidence)
    ratios = harmonic_against_direct(evidence)
    seconds, exponent = cost_against_size(evidence)
    a_million(evidence)
    figure = Figure(figsize=(4.8, 3.4), layout="constrained")
    axis = figure.subplots()
    sizes = np.array(SIZES, dtype=float)
    axis.loglog(sizes, seconds / seconds[0], "o", label="harmonic summation")
    large = sizes[sizes >= 10_000]
    middle = np.exp(np.log(seconds[sizes >= 10_000] / seconds[0]).mean())
    line = middle * (large / np.exp(np.log(large).mean())) ** exponent
    axis.loglog(large, line, "-", color="C0", lw=1, label=f"fit, exponent {exponent:.2f}")
    axis.set_xlabel("tokens n")
    axis.set_ylabel("time of a step over that at n = 1000")
    axis.legend(frameon=False)
    dataset = xarray.Dataset(
        {
            "nanoseconds_per_pair_and_head": (("case", "method"), table),
            "direct_over_harmonic": ("large_n", list(ratios)),
            "step_over_first": ("n", seconds / seconds[0]),
            "exponent": exponent,
        },
        coords={
            "case": [f"n={count}, H={heads}" for count, heads in CASES],
            "method": ["direct", "batched einsum", "NumPy loop over heads"],
            "large_n": [10_000, 100_000],
            "n": list(SIZES),
        },
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
