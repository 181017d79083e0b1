"""Transport under prescribed velocities: exactness, orders, and cost beside bare SHTns calls.

Linear drift P_x M x against its push-forward (relative L2 ≤ 1e-8 at lmax 127), and the
deformational flow of Nair and Lauritzen (2010), case 4, Gaussian hills, T = 5: error ≤ 1e-3 in
at most 1.5 times the time of a fixed-step RK4 loop on bare SHTns calls at lmax 42.
"""

import time

import numpy as np
import xarray
from evidence import Evidence
from flows import PERIOD as T_END
from flows import hills, wind
from matplotlib.figure import Figure
from scipy.linalg import expm

import sphereflow as sf
from sphereflow.sphere import SphereGrid, real_to_complex

MATRIX = 0.3 * np.array([[1.0, 0.5, -0.2], [-0.8, -0.4, 0.3], [0.6, 0.9, -0.6]])
START = sf.VonMisesFisher([0.3, -0.5, 0.8], 3.0)
LMAX, RINGS = 42, 64


def exact(points):
    backward = expm(-MATRIX)
    image = points @ backward.T
    length = np.linalg.norm(image, axis=-1)
    return START(image / length[..., None]) * np.linalg.det(backward) / length**3


def linear_drift_error(lmax, dt=None, rtol=1e-10):
    problem = sf.TransformerPDE(None, START, drift=MATRIX)
    scheme = sf.Spectral(
        lmax=lmax, lmax_max=lmax, dt=dt, spectrum_degree=lmax, resolution_limit=1.0
    )
    run = sf.solve(problem, t_end=1.0, scheme=scheme, save_at=[1.0], rtol=rtol)
    grid = SphereGrid(lmax)
    values, reference = grid.synthesis(real_to_complex(run.spectrum.values[0])), exact(grid.points)
    square = grid.integrate((values - reference) ** 2) / grid.integrate(reference**2)
    return np.sqrt(square), abs(float(run.mass[0]) - 1)


def deformation(rtol):
    problem = sf.TransformerPDE(None, hills, drift=wind)
    scheme = sf.Spectral(lmax=LMAX, lmax_max=LMAX, resolution_limit=1.0, spectrum_degree=LMAX)
    begin = time.process_time()
    run = sf.solve(problem, t_end=T_END, scheme=scheme, save_at=[0, T_END], rtol=rtol)
    seconds = time.process_time() - begin
    first, last = run.spectrum.values
    return np.linalg.norm(last - first) / np.linalg.norm(first), seconds


def bare_loop(steps):
    """Classical RK4 with a fixed step on bare SHTns calls, one wind evaluation a stage."""
    import shtns

    begin = time.process_time()
    plan = shtns.sht(LMAX, LMAX, 1, shtns.sht_orthonormal, nthreads=1)
    plan.set_grid(RINGS, 2 * RINGS, flags=shtns.sht_gauss | shtns.SHT_PHI_CONTIGUOUS, polar_opt=0)
    cosine = np.asarray(plan.cos_theta)[:, None]
    sine, phi = np.sqrt(1 - cosine**2), np.arange(2 * RINGS) * np.pi / RINGS
    ones = np.ones_like(phi)
    x = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine * ones], -1)
    south = np.stack([cosine * np.cos(phi), cosine * np.sin(phi), -sine * ones], -1)
    east = np.stack([-np.sin(phi) + 0 * sine, np.cos(phi) + 0 * sine, 0 * sine * ones], -1)
    points, south, east = (np.ascontiguousarray(a.reshape(-1, 3)) for a in (x, south, east))
    field, theta_flux, phi_flux = (plan.spat_array() for _ in range(3))
    mu, spheroidal, toroidal = (plan.spec_array() for _ in range(3))
    eigenvalue = plan.l * (plan.l + 1.0)
    field[:] = hills(x)
    plan.spat_to_SH(field, mu)
    start = mu.copy()

    def slope(t, coefficients):
        values = wind(points, t)
        v_theta = np.einsum("ni,ni->n", values, south).reshape(field.shape)
        v_phi = np.einsum("ni,ni->n", values, east).reshape(field.shape)
        plan.SH_to_spat(coefficients, field)
        np.multiply(field, v_theta, out=theta_flux)
        np.multiply(field, v_phi, out=phi_flux)
        plan.spat_to_SHsphtor(theta_flux, phi_flux, spheroidal, toroidal)
        return eigenvalue * spheroidal

    h = T_END / steps
    for k in range(steps):
        t = k * h
        k1 = slope(t, mu)
        k2 = slope(t + h / 2, mu + h / 2 * k1)
        k3 = slope(t + h / 2, mu + h / 2 * k2)
        k4 = slope(t + h, mu + h * k3)
        mu = mu + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    seconds = time.process_time() - begin
    return np.linalg.norm(mu - start) / np.linalg.norm(start), seconds


def main():
    evidence = Evidence(
        "03_transport",
        "Transport under prescribed velocities",
        claim="transport by prescribed drifts, closed forms and published tests",
        method="spectral",
    )
    degrees = np.array([15, 23, 31, 47, 63, 127])
    errors = np.array([linear_drift_error(int(n))[0] for n in degrees])
    error, mass = linear_drift_error(127)
    evidence.below("linear drift, lmax 127: relative L2 error", error, 1e-8)
    evidence.below("linear drift: mass error", mass, 1e-13)
    steps = np.array([0.1, 0.05, 0.025, 0.0125])
    by_step = np.array([linear_drift_error(63, dt=dt)[0] for dt in steps])
    order = np.polyfit(np.log(steps), np.log(by_step), 1)[0]
    evidence.above("order of the fixed-step path", order, 3.85)
    deformation(1e-2)  # compiled and cached code, warm plans
    rows = {rtol: deformation(rtol) for rtol in (1e-3, 1e-4, 3e-5)}
    bare = {steps: bare_loop(steps) for steps in (400, 550, 700)}
    for rtol, (e, s) in rows.items():
        print(f"  deformational flow, rtol {rtol:7.0e}: error {e:.2e} in {s:.2f} CPU s")
    for count, (e, s) in bare.items():
        print(f"  bare SHTns RK4, {count} steps:       error {e:.2e} in {s:.2f} CPU s")
    # Medians of three, in turns: both at an error below 1e-3.
    pairs = [(deformation(1e-4), bare_loop(550)) for _ in range(3)]
    evidence.below("deformational flow: relative L2 error", pairs[0][0][0], 1e-3)
    evidence.below("deformational flow: error of the bare loop", pairs[0][1][0], 1e-3)
    ratio = float(np.median([ours[1] / theirs[1] for ours, theirs in pairs]))
    evidence.below("deformational flow: CPU time over that of the bare loop", ratio, 1.5)
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.semilogy(degrees, errors, "o-")
    left.set_xlabel("lmax")
    left.set_ylabel("relative L2 error, linear drift")
    middle.loglog(steps, by_step, "o-", label=f"order {order:.2f}")
    middle.set_xlabel("fixed step")
    middle.set_ylabel("relative L2 error, linear drift")
    middle.set_xticks(steps, [f"{step:g}" for step in steps])
    middle.minorticks_off()
    middle.legend(frameon=False)
    right.semilogy(*np.array(list(rows.values())).T[::-1], "o-", label="sphereflow, adaptive")
    right.semilogy(*np.array(list(bare.values())).T[::-1], "s--", label="bare SHTns RK4")
    right.set_xlabel("CPU seconds, deformational flow")
    right.set_ylabel("relative L2 error")
    right.legend(frameon=False, fontsize=8)
    dataset = xarray.Dataset(
        {"error_by_lmax": ("lmax", errors), "error_by_step": ("step", by_step)},
        coords={"lmax": degrees, "step": steps},
    )
    evidence.save(dataset, figure)
    evidence.verdict()


if __name__ == "__main__":
    main()
