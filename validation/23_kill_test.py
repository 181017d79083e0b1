"""Runs that are killed at random times and resumed, against runs without a break.

Each case is run in a process of its own, which is ended by SIGKILL at a random moment between its
first saved time and its end, and started again with `resume=True`, four times over; then it is run
to its end. Every output that a kill leaves must open with all times that it holds equal to those
of the run without a break, and the last one must be equal to the last bit in every variable.
(Characteristics may start again with more nodes and then write their times anew; the degrees here
are such that they do not.)
"""

# slow

import signal
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

KILLS = 4
DEADLINE = 120.0
HEADS = sf.FixedHeads([np.diag([1.0, 0.5, -0.5]), np.diag([-0.3, 0.8, 0.2])])
DENSITY = sf.VonMisesFisher([0, 0, 1], 3.0)
LAW = sf.OrnsteinUhlenbeck(np.eye(3), 0.5)


def bistable():
    process = sf.HeadProcess(lambda theta, t: theta - theta**3, 0.5, sf.Isotropic())
    return sf.FokkerPlanckLaw(process, sf.Normal(0.5, 0.3), cells=[200])


CASES = {
    "spectral": lambda: (sf.TransformerPDE(LAW, DENSITY, flow="descent"), sf.Spectral(63), 3.0),
    "Fokker–Planck": lambda: (
        sf.TransformerPDE(bistable(), DENSITY, diffusion=0.1),
        sf.Spectral(47),
        2.0,
    ),
    "finite volumes": lambda: (
        sf.TransformerPDE(HEADS, DENSITY, diffusion=0.05),
        sf.FiniteVolume(4),
        4.0,
    ),
    "characteristics": lambda: (sf.TransformerPDE(HEADS, DENSITY), sf.Characteristics(47), 2.0),
    "tokens with noise": lambda: (
        sf.TransformerPDE(LAW.sample(10, seed=3), DENSITY, diffusion=0.02),
        sf.Particles(200, 5e-3, seed=2, paths=4),
        4.0,
    ),
    "tokens, adaptive": lambda: (
        sf.TransformerPDE(HEADS, DENSITY),
        sf.Particles(400, None, seed=2, paths=4),
        4.0,
    ),
    "auto": lambda: (
        sf.TransformerPDE(sf.FixedHeads(np.eye(3)), DENSITY),
        sf.Auto(lmax=63, lmax_max=63, degree=63, degree_max=63),
        4.0,
    ),
}


def solve(case, output):
    problem, scheme, t_end = CASES[case]()
    options = {"checkpoint": sf.Checkpoint(steps=3), "resume": True, "rtol": 1e-7}
    sf.solve(problem, t_end=t_end, scheme=scheme, save_every=t_end / 40, output=output, **options)


def identical(first, second, count=None):
    """Whether all variables over time agree to the last bit in the first times of `second`."""
    rows = slice(count)
    for name in first.variables:
        if name not in second.variables:
            return False
        one, other = first[name], second[name]
        if "time" in one.dims:
            one, other = one.isel(time=rows), other.isel(time=rows).transpose(*one.dims)
        if one.dtype.kind == "f" and not np.array_equal(one, other, equal_nan=True):
            return False
    return True


def killed(command, output, seconds, rng):
    """Start the run, kill it at a random time after it goes on; returns the times in its file."""
    before = output.stat().st_mtime_ns if output.exists() else 0
    started = time.monotonic()
    process = subprocess.Popen(command)
    while process.poll() is None and time.monotonic() - started < DEADLINE:
        if output.exists() and output.stat().st_mtime_ns != before:
            break
        time.sleep(0.002)
    time.sleep(rng.uniform(0.0, seconds / (KILLS + 1)))
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    with xarray.open_dataset(output) as left:
        return left.load(), alive


def main():
    evidence = Evidence(
        "23_kill_test",
        "Runs that are killed and resumed",
        claim="a run resumed from its checkpoint is the run without a break",
        method="all schemes, SIGKILL at random times",
    )
    rng = np.random.default_rng(5)
    counts = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            whole_file, output = Path(folder) / "whole.nc", Path(folder) / "run.nc"
            command = [sys.executable, __file__, case]
            started = time.monotonic()
            subprocess.run([*command, str(whole_file)], check=True)
            seconds = time.monotonic() - started
            whole = xarray.load_dataset(whole_file)
            alive, readable = 0, 0
            for _ in range(KILLS):
                left, hit = killed([*command, str(output)], output, seconds, rng)
                alive += hit
                readable += identical(left, whole, left.sizes["time"])
            subprocess.run([*command, str(output)], check=True)
            same = identical(whole, xarray.load_dataset(output))
        counts[case] = alive
        what = f"{case}: outputs whose times are those of the whole run, of {KILLS}"
        evidence.above(what, readable, KILLS)
        evidence.above(f"{case}: kills that hit a running process", alive, 1)
        evidence.above(f"{case}: end equal to the last bit (1: yes)", float(same), 1)
    total = sum(counts.values())
    evidence.above("kills of running processes altogether", total, 20)
    figure = Figure(figsize=(5.5, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(counts), list(counts.values()), color="C0")
    axes.set_xlabel("kills, each resumed to an identical end")
    dataset = xarray.Dataset({"kills": ("case", list(counts.values()))}, {"case": list(counts)})
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        solve(*sys.argv[1:])
    else:
        main()
