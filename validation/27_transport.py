"""Wasserstein distances: CPU seconds, brackets and true errors, where the answer is known.

Densities against tokens by the cells of a convex hull, clouds by transport between neighbours,
densities by fluxes. `--before CHECKOUT` times the comparisons with tokens by the package in another
checkout as well, in a process of its own.
"""

# slow

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure

import sphereflow as sf
from sphereflow.diagnostics.distances import wasserstein

NORTH = [0.0, 0.0, 1.0]
COUNTS = (400, 1600, 6400)
MANY = 100_000
TIMING = """
import json, sys, time
import sphereflow as sf
def still(d, scheme):
    problem = sf.TransformerPDE(None, d, drift=[[0.0] * 3] * 3)
    return sf.solve(problem, t_end=1e-9, scheme=scheme, save_at=[0.0])
d = sf.VonMisesFisher([0.0, 0.0, 1.0], 5.0)
a = still(d, sf.Spectral(31))
sf.compare(a, still(d, sf.Particles(50, seed=1)))
rows = []
for count in json.loads(sys.argv[1]):
    b = still(d, sf.Particles(count, seed=3))
    start = time.process_time()
    r = sf.compare(a, b, mobility=False)
    spent = time.process_time() - start
    rows.append([spent] + [float(r[k][0]) for k in ("w1", "w1_error", "w2", "w2_error")])
print(json.dumps(rows))
"""


def timed(checkout, counts):
    """Rows of (CPU seconds, w1, w1_error, w2, w2_error) of sf.compare in a fresh process."""
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    if checkout is not None:
        variables["PYTHONPATH"] = checkout
    command = [sys.executable, "-c", TIMING, json.dumps(counts)]
    found = subprocess.run(command, env=variables, check=True, capture_output=True, text=True)
    return json.loads(found.stdout.splitlines()[-1])


def turned(points, angle):
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T


def still(density):
    problem = sf.TransformerPDE(None, density, drift=np.zeros((3, 3)))
    return sf.solve(problem, t_end=1e-9, scheme=sf.Spectral(31), save_at=[0.0])


def outside(value, error, low, high):
    """By how much an interval misses another one, relative to the value."""
    return max(0.0, low - (value + error), (value - error) - high) / value


parser = argparse.ArgumentParser()
parser.add_argument("--before", help="another checkout of the package")
# What other options a runner of all scripts gives is not for this one.
arguments = parser.parse_known_args()[0]
evidence = Evidence(
    "27_transport",
    "Wasserstein distances and their bounds",
    claim="reported errors of W1 and W2 bound the true ones",
    method="semi-discrete transport, neighbours, fluxes; closed forms",
)
root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
counts = [*COUNTS, MANY]
now = np.array(timed(root, counts))
for count, (spent, w1, w1_error, w2, w2_error) in zip(counts, now, strict=True):
    evidence.note(f"density against {count} tokens: CPU seconds", spent)
    evidence.below(f"density against {count} tokens: bound of W1, relative", w1_error / w1, 0.05)
    evidence.below(f"density against {count} tokens: bound of W2, relative", w2_error / w2, 0.01)
if arguments.before:
    for count, row in zip(COUNTS, timed(arguments.before, list(COUNTS)), strict=True):
        evidence.note(f"density against {count} tokens, before: CPU seconds", row[0])
        evidence.note(f"density against {count} tokens, before: bound of W1", row[2] / row[1])
        evidence.note(f"density against {count} tokens, before: bound of W2", row[4] / row[3])

k = 5.0
mean = 1 / np.tanh(k) - 1 / k
for angle in (0.3, 0.03, 0.003):
    # The rotation is a plan, and the means are so far from each other.
    report = sf.compare(
        *(still(sf.VonMisesFisher(turned(np.array(NORTH), a), k)) for a in (0, angle))
    )
    for name in ("w1", "w2"):
        value, error = float(report[name][0]), float(report[f"{name}_error"][0])
        least = 2 * np.sin(angle / 2) * mean
        missed = outside(value, error, least, angle)
        evidence.below(f"rotation by {angle}: {name} misses its bounds", missed, 0.0)
        evidence.note(f"rotation by {angle}: bound of {name}, relative", error / value)
u = (np.arange(200_000) + 0.5) / 200_000
first, second = (np.arccos(1 + np.log1p(-u * (1 - np.exp(-2 * k))) / k) for k in (5.0, 5.05))
report = sf.compare(*(still(sf.VonMisesFisher(NORTH, k)) for k in (5.0, 5.05)))
truth = {"w1": np.mean(np.abs(first - second)), "w2": np.sqrt(np.mean((first - second) ** 2))}
for name, right in truth.items():
    value, error = float(report[name][0]), float(report[f"{name}_error"][0])
    share = abs(value - right) / error
    evidence.below(f"κ = 5 and 5.05: true error of {name} by its bound", share, 1.0)
x = sf.VonMisesFisher(NORTH, 5.0).sample(4000, 1)
w = np.full(4000, 1 / 4000)
for angle in (0.3, 0.003, 1e-5):
    y = turned(x, angle)
    moved = 2 * np.arcsin(0.5 * np.linalg.norm(x - y, axis=1))
    start = time.process_time()
    found = wasserstein((x, w), (y, w))
    evidence.note(f"4000 tokens turned by {angle}: CPU seconds", time.process_time() - start)
    excess = max(found.w1 / np.mean(moved), found.w2 / np.sqrt(np.mean(moved**2))) - 1
    evidence.below(f"4000 tokens turned by {angle}: above the plan of the rotation", excess, 1e-7)
    share = found.w2_error / found.w2
    evidence.below(f"4000 tokens turned by {angle}: bound of W2, relative", share, 1e-4)

figure = Figure(figsize=(5, 3.2))
axes = figure.add_subplot()
axes.loglog(counts, now[:, 1], "o-", label="W1")
axes.loglog(counts, now[:, 3], "s-", label="W2")
axes.set_xlabel("tokens drawn from the density")
axes.set_ylabel("distance [rad]")
axes.legend(frameon=False)
names = ("seconds", "w1", "w1_error", "w2", "w2_error")
evidence.save(
    xarray.Dataset({name: ("count", now[:, i]) for i, name in enumerate(names)}, {"count": counts}),
    figure,
)
evidence.verdict()
