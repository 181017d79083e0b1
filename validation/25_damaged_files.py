"""Damaged files through every reader: a right result, or one sentence, and nothing else.

Each draw of `damaged_files.py` damages one file and gives it to one reader: bits that flip, files
that are cut, blocks that are lost, repeated or noise, and datasets with wrong dimensions, sizes,
types, units, values and foreign attributes, of each scheme; checkpoints, experiments and tables of
tokens. A flipped bit of a number that is still a number cannot be noticed. A damaged file on which
the netCDF library itself ends the process is counted, as no program can refuse it then.
"""
# slow

import tempfile
from pathlib import Path

import numpy as np
import xarray
from damaged_files import FAMILIES, OUTCOMES, outcomes
from evidence import Evidence
from matplotlib.figure import Figure

CASES = 1000

evidence = Evidence(
    "25_damaged_files",
    "Damaged files",
    claim="a file that cannot be right is refused with one sentence",
    method="seeded damage of outputs, checkpoints, experiments and tables",
)
with tempfile.TemporaryDirectory() as folder:
    found = outcomes(range(CASES), Path(folder))
counts = np.array([
    [sum(one[:2] == (family, outcome) for one in found) for outcome in OUTCOMES]
    for family in FAMILIES
])  # fmt: skip
for _, outcome, what in found:
    if outcome not in ("used", "refused", "unread"):
        print(f"  {outcome}: {what}")
total = dict(zip(OUTCOMES, counts.sum(axis=0).astype(float), strict=True))
evidence.note("files that were used", total["used"])
evidence.note("files that were refused with a sentence", total["refused"])
evidence.note("files that xarray does not write or read", total["unread"])
evidence.above("damaged files", float(counts.sum()), CASES)
evidence.below("errors other than a sentence, or wrong results", total["escaped"], 0.0)
evidence.below("files used that cannot be right", total["accepted"], 0.0)
evidence.note("processes ended by the netCDF library", total["ended"])

figure = Figure(figsize=(7, 3.2))
axes = figure.add_subplot()
left = np.zeros(len(FAMILIES))
for column, outcome in enumerate(OUTCOMES):
    axes.barh(list(FAMILIES), counts[:, column], left=left, label=outcome)
    left += counts[:, column]
axes.invert_yaxis()
axes.set_xlabel("damaged files")
axes.legend(frameon=False, fontsize=9)
dataset = xarray.Dataset(
    {"count": (("family", "outcome"), counts)},
    {"family": list(FAMILIES), "outcome": list(OUTCOMES)},
)
evidence.save(dataset, figure)
evidence.verdict()
