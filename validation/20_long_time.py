"""Long times on descent, Theorem 4.16 and its condition (122) that ∫₀ᵗ ∂_τE dτ stays bounded above.

Infinitely many Ornstein–Uhlenbeck heads: the law settles exponentially, the integral converges and
G² → 0. Oscillating heads with one common phase: the energy that the heads bring in is dissipated in
every period, the integral grows by the same amount each time and G² does not decay.
"""

# slow

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure

from sphereflow.experiment import find_experiment, load_experiment

CHANGES = ["scheme.lmax=63", "density.spread=0.2", "run.rtol=1e-4", "run.save_every=0.1"]
CASES = {
    "Ornstein–Uhlenbeck, infinitely many": ("paper_ou", []),
    "oscillating, common phase": ("paper_oscillating_common", ["heads.initial.count=1"]),
}


def main():
    evidence = Evidence("20_long_time", "Long times and the condition (122)")
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    data = {}
    for name, (experiment, changes) in CASES.items():
        run = load_experiment(find_experiment(experiment), CHANGES + changes).solve()
        t, slope = run.time.values, run.slope_squared.values
        brought = run.energy_heads_integral.values
        at = {moment: float(np.interp(moment, t, brought)) for moment in (10.0, 15.0, 20.0)}
        late = slope[t >= 15].mean()
        if experiment == "paper_ou":
            evidence.below(f"{name}: G² at T over its largest value", slope[-1] / slope.max(), 1e-2)
            rest = abs(at[20.0] - at[15.0]) / np.ptp(brought)
            evidence.below(f"{name}: change of the integral, t = 15 to 20, relative", rest, 1e-3)
        else:
            evidence.above(f"{name}: mean G², t = 15 to 20", late, 0.1)
            growth = [(at[15.0] - at[10.0]) / 5, (at[20.0] - at[15.0]) / 5]
            evidence.above(f"{name}: least growth of the integral per unit time", min(growth), 0.1)
        evidence.note(f"{name}: ∫ ∂_tE dt to t = 20", at[20.0])
        evidence.note(f"{name}: largest energy residual", float(abs(run.energy_residual).max()))
        left.plot(t, brought, label=name)
        right.semilogy(t, np.maximum(slope, 1e-16), label=name)
        data[name] = (brought, slope)
    left.set_xlabel("time")
    left.set_ylabel(r"$\int_0^t \partial_\tau E\,\mathrm{d}\tau$")
    left.legend(frameon=False, fontsize=8)
    right.set_xlabel("time")
    right.set_ylabel("$G^2$")
    dataset = xarray.Dataset(
        {
            "heads_integral": (("case", "time"), [pair[0] for pair in data.values()]),
            "slope_squared": (("case", "time"), [pair[1] for pair in data.values()]),
        },
        {"case": list(data), "time": t},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
