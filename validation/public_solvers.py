"""Public Fokker–Planck solvers on the problems of 11_fokker_planck_benchmarks.py.

Runs in an environment of its own with fplanck, py-pde and FiPy, and prints as JSON for one
solver, problem and resolution the density, the CPU seconds of the second of two runs (compilation
and imports are not counted), the error of the mass and the smallest value.
"""

import json
import sys
import time

import numpy as np

BOLTZMANN = 1.380649e-23
setattr(np, "product", np.prod)  # noqa: B010, fplanck 0.2.2 uses the name that NumPy 2 dropped


def normal(x, mean, variance):
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def ou_exact(x, start, target):
    mean = target + (start - target) * np.exp(-1.0)
    return normal(x, mean, 0.25 * np.exp(-2.0) + 1 - np.exp(-2.0))


# name → half width, drift, half of g², initial density, exact density at the end, end
PROBLEMS = {
    "OU": (8.0, lambda x: 1 - x, 1.0, lambda x: normal(x, -1, 0.25), 1.0),
    "double well": (3.0, lambda x: x - x**3, 0.5, lambda x: normal(x, 0.2, 0.09), 1.0),
    "double well, wide box": (6.0, lambda x: x - x**3, 0.5, lambda x: normal(x, 0.2, 0.09), 1.0),
}


def timed(function):
    function()
    begin = time.process_time()
    result = function()
    return result, time.process_time() - begin


def entry(solver, problem, cells, x, values, seconds, volume):
    return {
        "solver": solver,
        "problem": problem,
        "cells": cells,
        "x": np.asarray(x).tolist(),
        "values": np.asarray(values).tolist(),
        "seconds": seconds,
        "mass": float(np.sum(values) * volume),
        "minimum": float(np.min(values)),
    }


def with_fplanck(problem, cells):
    from fplanck import boundary, fokker_planck

    half, drift, diffusion, start, end = PROBLEMS[problem]
    width = 2 * half / cells

    def run():
        solver = fokker_planck(
            temperature=diffusion / BOLTZMANN,
            drag=1.0,
            extent=2 * half,
            resolution=width,
            boundary=boundary.reflecting,
            force=lambda x: drift(x),
        )
        return solver.grid[0], solver.propagate(start, end)

    (x, values), seconds = timed(run)
    values = np.real(values)
    return entry("fplanck", problem, cells, x, values / values.sum() / width, seconds, width)


def with_py_pde(problem, cells):
    from pde import PDE, CartesianGrid, ScalarField

    half, _, diffusion, start, end = PROBLEMS[problem]
    drift = {"OU": "(1 - x)"}.get(problem, "(x - x**3)")
    grid = CartesianGrid([[-half, half]], cells)
    equation = PDE({"c": f"{diffusion} * laplace(c) - d_dx({drift} * c)"}, bc={"value": 0})
    x = grid.axes_coords[0]
    state = ScalarField(grid, start(x))

    def run():
        return equation.solve(
            state, t_range=end, solver="scipy", method="BDF", rtol=1e-8, atol=1e-12, tracker=None
        )

    result, seconds = timed(run)
    return entry("py-pde", problem, cells, x, result.data, seconds, 2 * half / cells)


def with_fipy(problem, cells):
    from fipy import (
        CellVariable,
        DiffusionTerm,
        ExponentialConvectionTerm,
        FaceVariable,
        Grid1D,
        TransientTerm,
    )

    half, drift, diffusion, start, end = PROBLEMS[problem]
    width = 2 * half / cells
    steps = 200

    def run():
        mesh = Grid1D(nx=cells, dx=width) + [[-half]]
        x = mesh.cellCenters.value[0]
        density = CellVariable(mesh=mesh, value=start(x))
        velocity = FaceVariable(mesh=mesh, rank=1)
        velocity.setValue(drift(mesh.faceCenters.value))
        equation = TransientTerm() == DiffusionTerm(diffusion) - ExponentialConvectionTerm(velocity)
        for _ in range(steps):
            equation.solve(var=density, dt=end / steps)
        return x, density.value.copy()

    (x, values), seconds = timed(run)
    return entry("FiPy", problem, cells, x, values, seconds, width)


def plane_fplanck(cells):
    from fplanck import boundary, fokker_planck

    width = 12.0 / cells

    def run():
        solver = fokker_planck(
            temperature=1.0 / BOLTZMANN,
            drag=1.0,
            extent=[12.0, 12.0],
            resolution=width,
            boundary=boundary.reflecting,
            force=lambda x, y: (1 - x, -0.5 - y),
        )
        pdf = lambda x, y: normal(x, -1, 0.25) * normal(y, 0.5, 0.25)  # noqa: E731
        return solver.grid[0], solver.propagate(pdf, 1.0)

    (grid, values), seconds = timed(run)
    values = np.real(values)
    axis = grid[:, 0] if np.ndim(grid) == 2 else grid
    return entry(
        "fplanck", "OU in 2-D", cells, axis, values / values.sum() / width**2, seconds, width**2
    )


TASKS = [
    (solver, problem, cells)
    for problem in PROBLEMS
    for solver, sizes in (
        (with_fplanck, (100, 200, 400)),
        (with_py_pde, (128, 512)),
        (with_fipy, (200, 400)),
    )
    for cells in sizes
] + [(plane_fplanck, None, cells) for cells in (48, 96, 144)]


def main():
    """Run the task with the number given on the command line, or print how many there are."""
    if len(sys.argv) == 1:
        print(len(TASKS))
        return
    solver, problem, cells = TASKS[int(sys.argv[1])]
    print(json.dumps(solver(cells) if problem is None else solver(problem, cells)))


if __name__ == "__main__":
    main()
