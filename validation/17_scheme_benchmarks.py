"""Time to accuracy of the schemes, and the cost of finite volumes per cell and stage.

CPU time of one thread in one run (OMP_NUM_THREADS=1, as `make validate` sets it: waiting threads
of a linear algebra library count as well); the first call of every scheme, which compiles and
reads meshes, is not counted. The deformational flow is measured by the relative l2 error after a
period, the problem of five heads by the largest error of the coefficients to degree 8 at T = 1.
"""

# slow

import time

import numpy as np
import xarray
from evidence import Evidence
from flows import PERIOD, cell_norms, five_heads, hills, spectral_norms, wind
from matplotlib.figure import Figure

import sphereflow as sf

FIVE = sf.TransformerPDE(*five_heads())
DEFORMATION = sf.TransformerPDE(None, hills, drift=wind)
# Published for orientation: SHTns with RK4 at lmax 63, Dedalus, and PyClaw on 51,000 cells.
ELSEWHERE = {"SHTns RK4": (1.4, 8.5e-5), "Dedalus": (57.0, 3.3e-3), "PyClaw": (13.6, 6.2e-2)}


def timed(problem, t_end, scheme, rtol):
    begin = time.process_time()
    run = sf.solve(problem, t_end=t_end, scheme=scheme, save_at=[t_end], rtol=rtol)
    return run, time.process_time() - begin


def deformation():
    results = {}
    rows = []
    for lmax, rtol in ((31, 1e-3), (42, 1e-4), (63, 1e-5), (95, 1e-7)):
        scheme = sf.Spectral(lmax, lmax, resolution_limit=1.0)
        timed(DEFORMATION, 0.1, scheme, rtol)
        run, seconds = timed(DEFORMATION, PERIOD, scheme, rtol)
        rows.append((seconds, spectral_norms(run, lmax, hills)["l2"]))
    results["Spectral"] = rows
    for degree in (1, 4):
        rows = []
        for level in (3, 4, 5, 6):
            scheme = sf.FiniteVolume(level, degree=degree)
            timed(DEFORMATION, 0.1, scheme, 1e-6)
            run, seconds = timed(DEFORMATION, PERIOD, scheme, 1e-6)
            rows.append((seconds, cell_norms(run, level, hills)["l2"]))
        results[f"FiniteVolume, degree {degree}"] = rows
    return results


def attention():
    def coefficients(scheme, rtol):
        timed(FIVE, 0.05, scheme, rtol)
        run, seconds = timed(FIVE, 1.0, scheme, rtol)
        return run.spectrum.values[0, :81], seconds

    reference, _ = coefficients(sf.Characteristics(degree=95), 1e-12)

    def row(scheme, rtol):
        values, seconds = coefficients(scheme, rtol)
        return seconds, np.abs(values - reference).max()

    return {
        "Spectral": [
            row(sf.Spectral(lmax, lmax, resolution_limit=1.0), rtol)
            for lmax, rtol in ((15, 1e-3), (23, 1e-5), (31, 1e-7), (47, 1e-9))
        ],
        "FiniteVolume, degree 4": [row(sf.FiniteVolume(level), 1e-6) for level in (3, 4, 5, 6)],
        "Characteristics": [
            row(sf.Characteristics(degree, degree), rtol)
            for degree, rtol in ((15, 1e-3), (23, 1e-5), (31, 1e-7), (39, 1e-9))
        ],
        "Particles": [
            row(
                sf.Particles(count, 0.05, seed=1, stepper="rk4", threads=1),
                1e-6,
            )
            for count in (10**3, 10**4, 10**5)
        ],
    }


def cost_per_cell():
    """Nanoseconds of CPU time per cell and stage, transport alone."""
    rows = []
    for level in (4, 5, 6):
        scheme = sf.FiniteVolume(level)
        problem = sf.TransformerPDE(None, hills, drift=np.diag([1.0, 0.0, -1.0]))
        timed(problem, 0.02, scheme, 1e-6)
        run, seconds = timed(problem, 1.0, scheme, 1e-6)
        start, setup = timed(problem, 1e-6, scheme, 1e-6)
        cells, stages = run.attrs["final_cells"], run.attrs["final_stages"]
        rows.append(1e9 * (seconds - setup) / (cells * (stages - start.attrs["final_stages"])))
    return rows


def main():
    evidence = Evidence(
        "17_scheme_benchmarks",
        "Time to accuracy of the schemes",
        claim="time to accuracy of the schemes",
        method="spectral, finite volumes, characteristics",
    )
    cases = {"deformational flow": deformation(), "five heads": attention()}
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, (case, results) in zip(figure.subplots(1, 2), cases.items(), strict=True):
        for name, rows in results.items():
            for seconds, error in rows:
                print(f"  {case}: {name:<24} error {error:.1e} in {seconds:7.2f} CPU s")
            axes.loglog(*np.array(rows).T, "o-", label=name)
        if case == "deformational flow":
            for name, (seconds, error) in ELSEWHERE.items():
                axes.loglog(seconds, error, "kx")
                axes.annotate(
                    name, (seconds, error), fontsize=8, textcoords="offset points", xytext=(5, 4)
                )
        axes.set_title(case)
        axes.set_xlabel("CPU seconds, one thread")
        axes.legend(frameon=False, fontsize=8)
        axes.grid(True, which="major", alpha=0.3)
    figure.axes[0].set_ylabel("relative l2 error")
    figure.axes[1].set_ylabel("largest error, degrees to 8")
    quick = [
        error
        for seconds, error in cases["deformational flow"]["FiniteVolume, degree 4"]
        if seconds <= ELSEWHERE["PyClaw"][0]
    ]
    evidence.note(
        "finite volumes: least error within the 13.6 s of PyClaw (6.2e-2 there)", min(quick)
    )
    linear = np.array(cases["deformational flow"]["FiniteVolume, degree 1"])
    quartic = np.array(cases["deformational flow"]["FiniteVolume, degree 4"])
    needed = np.exp(np.interp(np.log(6.2e-2), np.log(quartic[::-1, 1]), np.log(quartic[::-1, 0])))
    evidence.note("finite volumes: CPU seconds to the error 6.2e-2, interpolated", needed)
    ratio = (
        np.exp(np.interp(np.log(quartic[2, 0]), np.log(linear[:, 0]), np.log(linear[:, 1])))
        / quartic[2, 1]
    )
    evidence.above("error of degree 1 over that of degree 4 in equal time", ratio, 1.5)
    costs = cost_per_cell()
    for level, cost in zip((4, 5, 6), costs, strict=True):
        evidence.note(f"finite volumes: ns per cell and stage, level {level}", cost)
    rows = [
        (case, name, *row)
        for case, results in cases.items()
        for name, group in results.items()
        for row in group
    ]
    dataset = xarray.Dataset(
        {
            "seconds": ("run", [row[2] for row in rows]),
            "error": ("run", [row[3] for row in rows]),
            "case": ("run", [row[0] for row in rows]),
            "scheme": ("run", [row[1] for row in rows]),
            "nanoseconds_per_cell": ("level", costs),
        },
        {"level": [4, 5, 6]},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
