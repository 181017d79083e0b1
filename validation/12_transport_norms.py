"""Transport tests of the literature: error norms of finite volumes and of harmonics.

Solid-body rotation of a cosine bell and of a Gaussian hill about an axis tilted by 45°, one turn,
and the deformational flow of Nair and Lauritzen (J. Comput. Phys. 229 (2010) 8868), case 4, with
Gaussian hills, one period. Means over the cells are compared with means, values with values.

A rotation keeps each degree, and the deformational flow comes back by itself: what truncation takes
out of the harmonics in between comes back as well, so that their error is that of the start and of
the time steps.
"""

# slow

import numpy as np
import xarray
from evidence import Evidence
from flows import (
    PERIOD,
    cell_norms,
    cosine_bell,
    gaussian,
    hills,
    rotation,
    spectral_norms,
    wind,
)
from matplotlib.figure import Figure

import sphereflow as sf
from sphereflow.sphere import voronoi_mesh

CASES = {
    "cosine bell, rotation": (cosine_bell, rotation(), 1.0),
    "Gaussian hill, rotation": (gaussian, rotation(), 1.0),
    "Gaussian hills, deformation": (hills, wind, PERIOD),
}
LEVELS = (3, 4, 5, 6)
DEGREES = (7, 11, 15, 23, 31, 63)
NAMES = ("l1", "l2", "linf", "minimum", "mass")


def solved(case, scheme, rtol):
    density, drift, t_end = CASES[case]
    problem = sf.TransformerPDE(None, density, drift=drift)
    return sf.solve(problem, t_end=t_end, scheme=scheme, save_at=[t_end], rtol=rtol)


def finite_volume(case, level, degree):
    run = solved(case, sf.FiniteVolume(level, degree=degree), 1e-6)
    result = cell_norms(run, level, CASES[case][0])
    return result | {"mass": float(run.mass[-1]) - 1}


def spectral(case, lmax):
    scheme = sf.Spectral(lmax, lmax, resolution_limit=1.0)
    run = solved(case, scheme, 1e-8)
    return spectral_norms(run, lmax, CASES[case][0]) | {"mass": float(run.mass[-1]) - 1}


def row(what, result):
    shown = "  ".join(f"{name} {result[name]:9.2e}" for name in NAMES)
    print(f"  {what:<30} {shown}")


def main():
    evidence = Evidence(
        "12_transport_norms",
        "Error norms of transport",
        claim="error norms of transport tests of the literature",
        method="finite volumes, spectral, characteristics",
    )
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    data = {}
    spacing = np.array([voronoi_mesh(level).spacing for level in LEVELS])
    for axes, case in zip(figure.subplots(1, 3), CASES, strict=True):
        print(f"  {case}")
        for degree, style in ((1, "s--"), (4, "o-")):
            rows = [finite_volume(case, level, degree) for level in LEVELS]
            for level, result in zip(LEVELS, rows, strict=True):
                row(f"finite volumes, degree {degree}, level {level}", result)
            l2 = np.array([result["l2"] for result in rows])
            order = np.log(l2[-2] / l2[-1]) / np.log(spacing[-2] / spacing[-1])
            smooth = case == "Gaussian hill, rotation"
            if smooth:
                evidence.above(f"{case}: order of degree {degree} in l2", order, 1.9)
            else:
                evidence.note(f"{case}: order of degree {degree} in l2, finest levels", order)
            worst = np.max([abs(result["mass"]) for result in rows])
            evidence.below(f"{case}: mass error, degree {degree}", worst, 1e-13)
            least = np.min([result["minimum"] for result in rows])
            evidence.above(f"{case}: smallest mean, degree {degree}", least, 0.0)
            axes.loglog(np.degrees(spacing), l2, style, label=f"finite volumes, degree {degree}")
            data[f"finite_volume_{degree}", case] = rows
        rows = [spectral(case, lmax) for lmax in DEGREES]
        for lmax, result in zip(DEGREES, rows, strict=True):
            row(f"harmonics, lmax {lmax}", result)
        l2 = np.array([result["l2"] for result in rows])
        axes.loglog(180.0 / np.array(DEGREES), l2, "^-", label="harmonics")
        data["spectral", case] = rows
        if case == "Gaussian hill, rotation":
            evidence.below(f"{case}: l2 of harmonics at lmax 63", rows[-1]["l2"], 1e-7)
        axes.set_title(case, fontsize=10)
        axes.set_xlabel("width of a cell or half wave [°]")
        axes.grid(True, which="both", alpha=0.3, linewidth=0.5)
    first = figure.axes[0]
    first.set_ylabel("relative l2 error")
    first.legend(frameon=False, fontsize=8)

    def table(scheme, sizes, dimension):
        values = [
            [[result[name] for name in NAMES] for result in data[scheme, case]] for case in CASES
        ]
        return xarray.DataArray(
            values,
            dims=("case", dimension, "norm"),
            coords={"case": list(CASES), dimension: list(sizes), "norm": list(NAMES)},
        )

    dataset = xarray.Dataset(
        {
            "linear": table("finite_volume_1", LEVELS, "level"),
            "quartic": table("finite_volume_4", LEVELS, "level"),
            "harmonics": table("spectral", DEGREES, "lmax"),
        }
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
