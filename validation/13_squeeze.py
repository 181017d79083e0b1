"""A density squeezed by 10³: the closed form under a linear drift P_x M x.

The flow is x ↦ e^{tM}x/|e^{tM}x|, and log μ_t(X_t) = log μ_0 − tr(tM) + 3 log|e^{tM}x|.
Characteristics have to keep log μ to 1e-8, finite volumes the mass and the sign.
"""

import numpy as np
import xarray
from evidence import Evidence
from flows import cell_norms
from matplotlib.figure import Figure
from scipy.linalg import expm

import sphereflow as sf

SHAPE = np.array([[1.0, 0.6, 0.0], [-0.4, -0.2, 0.3], [0.2, 0.0, -0.8]])
DENSITY = sf.VonMisesFisher([0.3, -0.5, 0.8], 2.0)
SQUEEZE = 1e3
TIMES = np.linspace(0, 1, 11)


def gain(matrix):
    """Largest growth of log μ over a unit time: −tr M + 3 log of the largest singular value."""
    return -np.trace(matrix) + 3 * np.log(np.linalg.norm(expm(matrix), 2))


def scaled(shape):
    """The multiple of a matrix under which the largest growth is the squeeze asked for."""
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if gain(middle * shape) < np.log(SQUEEZE) else (low, middle)
    return high * shape


def exact(matrix, t):
    backward = expm(-t * matrix)

    def density(points):
        image = points @ backward.T
        length = np.linalg.norm(image, axis=-1)
        return DENSITY(image / length[..., None]) * np.linalg.det(backward) / length**3

    return density


def main():
    evidence = Evidence(
        "13_squeeze",
        "A density squeezed by 10³",
        claim="exact density under a squeeze by 10³",
        method="characteristics, finite volumes",
    )
    matrix = scaled(SHAPE)
    problem = sf.TransformerPDE(None, DENSITY, drift=matrix)
    scheme = sf.Characteristics(degree=31)
    run = sf.solve(problem, t_end=1.0, scheme=scheme, save_at=TIMES, rtol=1e-11)
    start = run.position.values[0]
    errors, places = [], []
    for row, t in enumerate(TIMES):
        moved = start @ expm(t * matrix).T
        length = np.linalg.norm(moved, axis=1)
        logs = DENSITY.log_density(start) - t * np.trace(matrix) + 3 * np.log(length)
        errors.append(np.abs(run.log_density.values[row] - logs).max())
        places.append(np.abs(run.position.values[row] - moved / length[:, None]).max())
    growth = run.log_density.values[-1] - run.log_density.values[0]
    evidence.above("characteristics: largest growth of the density", np.exp(growth.max()), 900.0)
    evidence.below("characteristics: largest relative error of the density", max(errors), 1e-8)
    evidence.below("characteristics: largest error of a position", max(places), 1e-9)
    resolution = float(run.resolution[-1])
    evidence.note("characteristics: error of the moments by their own check", resolution)

    levels, rows = (4, 5, 6), []
    for level in levels:
        run_fv = sf.solve(problem, t_end=1.0, scheme=sf.FiniteVolume(level), save_at=TIMES)
        result = cell_norms(run_fv, level, exact(matrix, 1.0))
        rows.append([result["l1"], result["l2"], result["linf"]])
        evidence.below(
            f"finite volumes, level {level}: mass error", float(abs(run_fv.mass - 1).max()), 1e-13
        )
        evidence.above(
            f"finite volumes, level {level}: smallest mean", float(run_fv.minimum.min()), 0.0
        )
        evidence.note(f"finite volumes, level {level}: relative l1 error", result["l1"])
        evidence.note(f"finite volumes, level {level}: resolution", float(run_fv.resolution[-1]))

    figure = Figure(figsize=(8.5, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy(TIMES, np.exp(run.log_density.max("token")), "o-")
    left.set_xlabel("time")
    left.set_ylabel("largest density along a node [sr$^{-1}$]")
    right.semilogy(TIMES[1:], errors[1:], "o-", label="log-density")
    right.semilogy(TIMES[1:], places[1:], "s--", label="position")
    right.set_xlabel("time")
    right.set_ylabel("largest error along a node")
    right.legend(frameon=False)
    dataset = xarray.Dataset(
        {
            "log_density_error": ("time", errors),
            "position_error": ("time", places),
            "finite_volume": (("level", "norm"), rows),
        },
        {"time": TIMES, "level": list(levels), "norm": ["l1", "l2", "linf"]},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
