"""Saving often: time and memory with and without a file, and a fine mesh for the second time.

CPU seconds are those of one thread, medians of three processes that take turns. A file should cost
little beside the run, and what it takes of the memory should not depend on the number of times.
"""
# slow

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure

OUTPUTS = (125, 250, 500, 1000)
PROGRAM = """
import json, resource, sys, time
import numpy as np
import sphereflow as sf
count, path = int(sys.argv[1]), sys.argv[2] or None
heads = sf.FixedHeads(np.diag([1.0, 0.5, 1.5]))
problem = sf.TransformerPDE(heads, sf.VonMisesFisher([0, 0, 1], 2.0), diffusion=0.05)
options = {"scheme": sf.Spectral(63), "save_at": np.linspace(0, 5, count), "rtol": 1e-6}
sf.solve(problem, t_end=0.01, scheme=sf.Spectral(63), save_every=0.01)
start = time.process_time()
run = sf.solve(problem, t_end=5.0, output=path, **options)
used = time.process_time() - start
first = [float(np.abs(run.first_moment).sum()), float(run.density[-1].max())]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(json.dumps([used, peak, *first]))
"""
MESH = """
import json, time
import numpy as np
import sphereflow as sf
from sphereflow.sphere import voronoi_mesh
problem = sf.TransformerPDE(None, sf.VonMisesFisher([0, 0, 1], 2.0), diffusion=0.05)
voronoi_mesh(6)
start = time.process_time()
sf.FiniteVolume(6).start(problem, 1e-4)
print(json.dumps([time.process_time() - start]))
"""


def measured(program, *arguments, **environment):
    surroundings = os.environ | {"OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=surroundings,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


evidence = Evidence(
    "28_long_records",
    "Saving often",
    claim="a file costs little, and its memory does not depend on the number of outputs",
    method="one run of degree 63 with 125 to 1000 outputs, in memory and into a file",
)
with tempfile.TemporaryDirectory() as folder:
    runs = np.array([
        [
            [measured(PROGRAM, count, path) for path in ("", Path(folder) / "run.nc")]
            for count in OUTPUTS
        ]
        for _ in range(3)
    ])  # fmt: skip
    first, second = (
        np.median([measured(MESH, XDG_CACHE_HOME=f"{folder}/{part}") for part in parts])
        for parts in (("a", "b", "c"), ("a", "b", "c"))
    )
seconds, peak = np.median(runs[..., 0], axis=0), np.median(runs[..., 1], axis=0)
for count, (plain, saved), (held, kept) in zip(OUTPUTS, seconds, peak, strict=True):
    print(f"  {count:5d} outputs: {plain:.1f} and {saved:.1f} s, {held:.0f} and {kept:.0f} MB")
growth = np.polyfit(OUTPUTS, peak, 1)[0]
evidence.note(
    "time with a file over that without, 1000 outputs", float(np.divide(*seconds[-1, ::-1]))
)
evidence.note("MB an output in memory", float(growth[0]))
evidence.below("MB an output with a file", float(growth[1]), 0.1 * float(growth[0]))
evidence.below("difference of the two runs", float(np.ptp(runs[..., 2:], axis=2).max()), 0.0)
evidence.note("set-up of level 6, first time over second", float(first / second))

figure = Figure(figsize=(7, 3))
for axes, values, label in zip(
    figure.subplots(1, 2), (seconds, peak), ("CPU time in s", "largest memory in MB"), strict=True
):
    axes.plot(OUTPUTS, values, "o-", label=["in memory", "into a file"])
    axes.set_xlabel("saved times")
    axes.set_ylabel(label)
    axes.set_ylim(0)
    axes.legend(frameon=False, fontsize=9)
dataset = xarray.Dataset(
    {
        "cpu_time": (("outputs", "place"), seconds, {"units": "s"}),
        "memory": (("outputs", "place"), peak, {"units": "MB"}),
    },
    {"outputs": list(OUTPUTS), "place": ["memory", "file"]},
)
evidence.save(dataset, figure)
evidence.verdict()
