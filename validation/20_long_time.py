"""Long times on descent, Theorem 4.16 and its condition (122) that ∫₀ᵗ ∂_τE dτ stays bounded above.

Infinitely many Ornstein–Uhlenbeck heads: the law settles exponentially, the integral converges and
G² → 0. Oscillating heads with one common phase: the energy that the heads bring in is dissipated in
every period, the integral grows by the same amount each time and G² does not decay.
"""

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure

import sphereflow as sf

DENSITY = sf.OctahedralClusters(spread=0.2)


def solved(heads, t_end, scheme, rtol):
    problem = sf.TransformerPDE(heads, DENSITY, flow="descent")
    return sf.solve(problem, t_end=t_end, scheme=scheme, save_every=t_end / 200, rtol=rtol)


def main():
    evidence = Evidence(
        "20_long_time",
        "Long times and the condition (122)",
        claim="Theorem 4.16 and its condition (122)",
        method="spectral, characteristics",
    )
    law = sf.OrnsteinUhlenbeck(np.eye(3), sigma=1.0)
    settled = solved(law, 60.0, sf.Spectral(63, 63, resolution_limit=1.0), 1e-4)
    one = sf.OscillatingHeads(np.zeros((1, 3, 3)))  # heads with a common phase are one head
    driven = solved(one, 20.0, sf.Characteristics(31, 31), 1e-5)

    slope, brought = settled.slope_squared.values, settled.energy_heads_integral.values
    what = "Ornstein–Uhlenbeck"
    evidence.below(f"{what}: G² at t = 60 over its largest value", slope[-1] / slope.max(), 1e-2)
    rest = abs(brought[-1] - brought[100]) / abs(brought[-1])
    evidence.below(f"{what}: change of ∫∂_tE from t = 30 to 60, relative", rest, 1e-6)
    evidence.note(f"{what}: ∫∂_tE to t = 60", brought[-1])
    late = settled.time.values >= 30
    decay = np.polyfit(settled.time.values[late], np.log(slope[late]), 1)[0]
    evidence.below(f"{what}: rate of G² after t = 30", decay, -0.05)
    slope, brought = driven.slope_squared.values, driven.energy_heads_integral.values
    what = "oscillating, common phase"
    evidence.above(f"{what}: mean G², t = 15 to 20", slope[150:].mean(), 0.1)
    growth = np.diff(brought[[50, 100, 150, 200]]) / 5
    evidence.above(f"{what}: least growth of ∫∂_tE per unit time", growth.min(), 0.1)
    evidence.note(f"{what}: ∫∂_tE to t = 20", brought[-1])

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, run in (("Ornstein–Uhlenbeck", settled), ("oscillating, common phase", driven)):
        left.plot(run.time, run.energy_heads_integral, label=name)
        right.semilogy(run.time, run.slope_squared, label=name)
    left.set_xlabel("time")
    left.set_ylabel(r"$\int_0^t \partial_\tau E\,\mathrm{d}\tau$")
    left.legend(frameon=False, fontsize=8)
    right.set_xlabel("time")
    right.set_ylabel("$G^2$")
    kept = ["slope_squared", "energy_heads_integral"]
    dataset = xarray.merge(
        [
            settled[kept].rename({name: f"settled_{name}" for name in (*kept, "time")}),
            driven[kept].rename({name: f"driven_{name}" for name in (*kept, "time")}),
        ],
        combine_attrs="drop",
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
