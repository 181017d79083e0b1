"""Cost, as ratios measured in one run on one thread.

Field kernel against the dense NumPy sum exp(X D Yᵀ) of the same accuracy (882 grid points, 100
heads); the transport part of a right-hand side against the bare transforms that it needs; and
the multirate steps against one field evaluation for every stage.
"""

# slow

import time

import numpy as np
import xarray
from evidence import Evidence
from matplotlib.figure import Figure

import sphereflow as sf
from sphereflow.attention.average import average_on_grid
from sphereflow.attention.measure import transform_of_coefficients
from sphereflow.schemes.spectral_transport import Transport
from sphereflow.sphere import SphereGrid

DENSITY = sf.VonMisesFisher([0.3, -0.5, 0.8], 3.0)


def alternate(first, second, repeats):
    """Medians of seconds of two functions, called in turn."""
    seconds = np.empty((repeats, 2))
    for row in range(repeats):
        for column, function in enumerate((first, second)):
            begin = time.perf_counter()
            function()
            seconds[row, column] = time.perf_counter() - begin
    return np.median(seconds, axis=0)


def closed_form_velocity(matrices, x):
    """P_x Σ D ∇log L(Dx) / H with L of the von Mises-Fisher density in closed form."""
    shifted = np.einsum("hij,nj->nhi", matrices, x) + DENSITY.concentration * DENSITY.mean
    radius = np.linalg.norm(shifted, axis=-1, keepdims=True)
    slope = (1 / np.tanh(radius) - 1 / radius) * shifted / radius
    velocity = np.einsum("hij,nhj->ni", matrices, slope) / len(matrices)
    return velocity - x * np.sum(x * velocity, axis=1, keepdims=True)


def field_against_dense(evidence):
    """Both give L and ∇L for 100 heads at the 882 points of a grid of degree 20."""
    noise = np.random.default_rng(0).standard_normal((100, 3, 3))
    heads = sf.FixedHeads((noise + np.swapaxes(noise, 1, 2)) / 2)
    grid = SphereGrid(20, nlat=21, engine="ducc0")
    points = grid.points.reshape(-1, 3)
    mass = (DENSITY(grid.points) * grid.weights).ravel()
    factors = np.concatenate([mass[:, None], mass[:, None] * points], axis=1)
    coefficients = DENSITY.coefficients_to(63)

    def dense():
        velocity = np.zeros_like(points)
        for matrix in heads.logits:
            sums = np.exp(points @ matrix @ points.T) @ factors
            velocity += (sums[:, 1:] / sums[:, :1]) @ matrix.T
        velocity /= len(heads.logits)
        return velocity - points * np.sum(points * velocity, axis=1, keepdims=True)

    def series():
        transform = transform_of_coefficients(coefficients, 1e-13)
        return average_on_grid(transform, heads.nodes(0.0), grid).attention.T

    reference = closed_form_velocity(heads.logits, points)
    largest = np.abs(reference).max()
    evidence.below(
        "dense sum: error of the velocity", np.abs(dense() - reference).max() / largest, 2e-14
    )
    evidence.below(
        "field kernel: error of the velocity", np.abs(series() - reference).max() / largest, 2e-14
    )
    ours, theirs = alternate(series, dense, 7)
    evidence.above("dense sum over field kernel, time", theirs / ours, 5.0)
    return theirs / ours


def transport_against_transforms(evidence):
    ratios = {}
    for lmax in (42, 63, 127, 255):
        transport = Transport(lmax, 0.0, "auto", 1)
        grid, engine = transport.grid, transport.grid.engine
        mu = DENSITY.coefficients_to(lmax)
        velocity = np.random.default_rng(1).standard_normal((2, *grid.shape))
        values, spheroidal, toroidal = np.empty(grid.shape), mu.copy(), mu.copy()
        flux = velocity.copy()

        def bare(engine=engine, mu=mu, values=values, flux=flux, out=(spheroidal, toroidal)):
            engine.synthesis(mu, values)
            engine.vector_analysis(*flux, *out)

        def ours(transport=transport, mu=mu, velocity=velocity):
            transport.tendency(mu, velocity)

        own, least = alternate(ours, bare, max(9, 200000 // lmax**2))
        ratios[lmax] = own / least
        evidence.below(f"lmax {lmax}: transport over its bare transforms", own / least, 1.5)
    return ratios


def multirate(evidence):
    """Field evaluations and stages of one adaptive run, and its time beside fixed steps."""
    noise = np.random.default_rng(2).standard_normal((100, 3, 3))
    heads = sf.OscillatingHeads((noise + np.swapaxes(noise, 1, 2)) / 2)
    problem = sf.TransformerPDE(
        heads, DENSITY, flow="ascent", drift=[[0, -4, 0], [4, 0, 0], [0, 0, 0]]
    )
    timings = {}

    def run(name, **options):
        begin = time.perf_counter()
        scheme = sf.Spectral(lmax=63, lmax_max=63, resolution_limit=1.0, **options)
        result = sf.solve(problem, t_end=0.5, scheme=scheme, save_at=[0.5], rtol=1e-6)
        timings[name] = time.perf_counter() - begin
        return result

    run("warm up")
    adaptive = run("adaptive")
    fixed = run("fixed", dt=0.01)
    change = np.abs(adaptive.spectrum.values - fixed.spectrum.values).max()
    evidence.below("multirate against fixed steps: coefficients", change, 1e-6)
    evaluations = adaptive.attrs["final_field_evaluations"]
    stages = adaptive.attrs["final_transport_evaluations"]
    evidence.note("multirate: field evaluations", evaluations)
    evidence.note("multirate: transport stages", stages)
    evidence.above(
        "fixed step 0.01 over multirate, time", timings["fixed"] / timings["adaptive"], 1.0
    )
    return stages / evaluations


def main():
    import numba

    numba.set_num_threads(1)
    evidence = Evidence(
        "05_benchmarks",
        "Cost, as ratios in this run on one thread",
        claim="cost of the attention field and of transport",
        method="spectral, against plain transforms",
    )
    speedup = field_against_dense(evidence)
    ratios = transport_against_transforms(evidence)
    saved = multirate(evidence)
    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.semilogx(list(ratios), list(ratios.values()), "o-", label="transport / bare transforms")
    axis.axhline(1.5, color="0.6", ls="--", lw=1, label="bound")
    axis.set_ylim(0.9, 1.6)
    axis.set_xticks(list(ratios), [str(lmax) for lmax in ratios])
    axis.minorticks_off()
    axis.set_xlabel("lmax")
    axis.set_ylabel("ratio of times")
    axis.legend(frameon=False)
    dataset = xarray.Dataset(
        {
            "transport_over_transforms": ("lmax", list(ratios.values())),
            "dense_over_kernel": speedup,
            "stages_per_field_evaluation": saved,
        },
        coords={"lmax": list(ratios)},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
