"""Random comparisons over schemes, options, laws, drifts, outputs and starts: none may be silent.

Each draw of `honest_cases.py` sets a result beside a closed form or a dense reference. It is right
if it keeps a bound that follows from its tolerance or its stated error, announced if status,
warning or error estimate say that it is not certain, and silent else.
"""

import logging

import numpy as np
import xarray
from evidence import Evidence
from honest_cases import FAMILIES, drawn
from matplotlib.figure import Figure

logging.disable(logging.WARNING)
evidence = Evidence(
    "24_honesty",
    "Honesty",
    claim="a run that is completed is right, or says where it is not",
    method="closed forms and dense references, seeded draws",
)
found = {name: [c for draw in range(count) for c in drawn(name, draw)]
         for name, (_, count) in FAMILIES.items()}  # fmt: skip
for comparisons in found.values():
    for one in comparisons:
        if one.silent:
            print(f"  silent: {one}")
counts = np.array([
    [sum(c.is_right for c in cs), sum(not c.is_right and c.announced for c in cs),
     sum(c.silent for c in cs)]
    for cs in found.values()
])  # fmt: skip
for (name, _), row in zip(found.items(), counts, strict=True):
    evidence.note(f"{name}: right", float(row[0]))
    evidence.below(f"{name}: silent", float(row[2]), 0.0)
evidence.above("comparisons", float(counts.sum()), 200)
evidence.note("announced", float(counts[:, 1].sum()))
evidence.below("silent", float(counts[:, 2].sum()), 0.0)

figure = Figure(figsize=(8, 4.2))
axes = figure.add_subplot()
for row, comparisons in enumerate(found.values()):
    for one in comparisons:
        excess = abs(one.value - one.right) / max(one.bound, 1e-300)
        axes.plot(
            np.clip(excess, 1e-7, 1e3), row + np.random.default_rng(row).uniform(-0.25, 0.25),
            "o" if one.is_right else "^", color="C0" if one.is_right else "C1", ms=4, alpha=0.6,
        )  # fmt: skip
axes.set_xscale("log")
axes.axvline(1.0, color="k", lw=0.8)
axes.set_yticks(range(len(found)), list(found))
axes.invert_yaxis()
axes.set_xlabel("difference from the right value over its bound")
axes.set_title("circles: right; triangles: announced", fontsize=10)
dataset = xarray.Dataset(
    {"count": (("family", "outcome"), counts)},
    {"family": list(found), "outcome": ["right", "announced", "silent"]},
)
evidence.save(dataset, figure)
evidence.verdict()
