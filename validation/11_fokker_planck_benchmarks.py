"""Time to accuracy of the Fokker–Planck solver beside public ones, in one run on one thread.

fplanck, py-pde and FiPy are installed into validation/.bench on the first run, which needs the
package index; they are no dependencies. Every solver and sphereflow run the same problem twice and
the CPU time of the second run counts. For each public result there has to be one of sphereflow
that is ten times as accurate in no more time, or as accurate in a tenth of the time.
"""

# slow

import json
import runpy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure

import sphereflow as sf
from sphereflow.heads.drifts import DoubleWell, MeanReversion

FOLDER = Path(__file__).parent
ENVIRONMENT = FOLDER / ".bench"
PACKAGES = ("fplanck==0.2.2", "py-pde==0.59.0", "fipy==4.0.3")
PROGRAM = FOLDER / "public_solvers.py"
LIMIT = 40.0  # seconds for one public run
CELLS = (50, 100, 200, 400, 800, 1600, 3200)
PLANE_CELLS = (24, 48, 96, 192, 384, 768)
CHEBYSHEV = runpy.run_path(str(FOLDER / "09_fokker_planck.py"))["chebyshev_reference"]


def normal(x, mean, variance):
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def ou_exact(x, start, target):
    variance = 0.25 * np.exp(-2.0) + 1 - np.exp(-2.0)
    return normal(x, target + (start - target) * np.exp(-1.0), variance)


def exact(problem, x):
    if problem == "OU":
        return ou_exact(x, -1.0, 1.0)
    if problem == "OU in 2-D":
        return np.multiply.outer(ou_exact(x, -1.0, 1.0), ou_exact(x, 0.5, -0.5))
    values = np.zeros_like(x)
    inside = np.abs(x) < 4.0
    values[inside] = CHEBYSHEV(
        x[inside], lambda y: y - y**3, 1.0, lambda y: normal(y, 0.2, 0.09), 4.0, 1.0
    )
    return values


def error_of(problem, x, values):
    width = x[1] - x[0]
    return np.abs(values - exact(problem, x)).sum() * width**values.ndim


def own(problem, cells):
    """x, density, CPU seconds."""
    if problem == "OU in 2-D":
        process = sf.HeadProcess(MeanReversion([1.0, -0.5]), np.sqrt(2.0), Pair())
        start, domain = sf.Normal([-1.0, 0.5], 0.5), [[-6, 6], [-6, 6]]
    elif problem == "OU":
        process = sf.HeadProcess(MeanReversion(1.0), np.sqrt(2.0), sf.Isotropic())
        start, domain = sf.Normal(-1.0, 0.5), [-8, 8]
    else:
        process = sf.HeadProcess(DoubleWell(), 1.0, sf.Isotropic())
        half = 6 if "wide" in problem else 3
        start, domain = sf.Normal(0.2, 0.3), [-half, half]
    for _ in range(2):
        begin = time.process_time()
        density = sf.FokkerPlanckLaw(process, start, domain, cells).density(1.0)
        seconds = time.process_time() - begin
    return density[density.dims[0]].values, density.values, seconds


class Pair:
    """Two parameters for the logits; only their law matters here."""

    dimension = 2
    basis = np.stack([np.eye(3), np.ones((3, 3))])

    def __call__(self, theta):
        logits = np.tensordot(theta, self.basis, axes=1)
        return logits, logits


def public_results():
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *PACKAGES]
        subprocess.run(install, check=True)
    count = int(subprocess.run([python, PROGRAM], capture_output=True, text=True).stdout)
    for task in range(count):
        try:
            done = subprocess.run(
                [python, PROGRAM, str(task)], capture_output=True, text=True, timeout=LIMIT
            )
            yield json.loads(done.stdout.splitlines()[-1])
        except (subprocess.TimeoutExpired, IndexError, ValueError):
            print(f"  public run {task} failed or took more than {LIMIT:g} s")


def main():
    evidence = Evidence(
        "11_fokker_planck_benchmarks",
        "Fokker–Planck: time to accuracy",
        claim="time to accuracy of the Fokker–Planck solver",
        method="finite volumes, against public solvers",
    )
    ours = {}
    for problem in ("OU", "double well", "double well, wide box", "OU in 2-D"):
        rows = []
        for cells in PLANE_CELLS if "2-D" in problem else CELLS:
            x, values, seconds = own(problem, cells)
            width = (x[1] - x[0]) ** values.ndim
            evidence.below(
                f"{problem}, {cells} cells: error of the mass", abs(values.sum() * width - 1), 1e-13
            )
            evidence.above(f"{problem}, {cells} cells: smallest value", values.min(), 0.0)
            rows.append((error_of(problem, x, values), seconds))
        ours[problem] = np.array(rows)
        for cells, (error, seconds) in zip(
            PLANE_CELLS if "2-D" in problem else CELLS, rows, strict=True
        ):
            print(f"  {problem}: sphereflow, {cells} cells: error {error:.1e}, {seconds:.3f} s")
    public = []
    for result in public_results():
        problem, x = result["problem"], np.array(result["x"])
        error = error_of(problem, x, np.array(result["values"]))
        seconds = result["seconds"]
        errors, times = ours[problem].T
        more_accurate = (error / errors[times <= seconds]).max(initial=0.0)
        faster = (seconds / times[errors <= error]).max(initial=0.0)
        label = f"{problem}: {result['solver']}, {result['cells']} cells"
        print(
            f"  {label}: error {error:.1e}, {seconds:.3f} s; in that time ours has an error "
            f"{more_accurate:.0f} × smaller, that error {faster:.0f} × faster"
        )
        evidence.above(f"{label}: the larger of the two", max(more_accurate, faster), 10.0)
        public.append((problem, result["solver"], error, seconds))

    figure = Figure(figsize=(9.0, 6.0), layout="constrained")
    for axis, (problem, rows) in zip(figure.subplots(2, 2).ravel(), ours.items(), strict=True):
        axis.loglog(rows[:, 1], rows[:, 0], "o-", lw=1, label="sphereflow")
        for index, solver in enumerate(("fplanck", "py-pde", "FiPy")):
            points = [(s, e) for p, name, e, s in public if (p, name) == (problem, solver)]
            if points:
                axis.loglog(*np.array(points).T, "s", color=f"C{index + 1}", ms=5, label=solver)
        axis.set_title(problem, fontsize=10)
        axis.set_xlabel("CPU seconds")
        axis.set_ylabel("L1 error at t = 1")
        axis.legend(frameon=False, fontsize=8)
    dataset = xarray.Dataset(
        {
            "error": ("run", [row[2] for row in public]),
            "seconds": ("run", [row[3] for row in public]),
        },
        coords={"run": [f"{row[0]}: {row[1]}" for row in public]},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
