"""Make five_heads.nc: one solution of the Transformer PDE by plain NumPy, without sphereflow.

Five symmetric heads, a mixture of two von Mises-Fisher densities, both flows, T = 1. The density
is the push-forward of its values at Gauss-Legendre nodes, moving as tokens of fixed weight under
softmax attention with sums over all pairs, by Dormand-Prince steps of order 8 at rtol 1e-12. Saved
are the real harmonic moments to degree 8 (from scipy) and the energy. The rule is exact to degree
63, which the moments of the initial density need to about 1e-13.

    python data/reference/make_five_heads.py
"""

from pathlib import Path

import numpy as np
import scipy
import xarray
from scipy.integrate import solve_ivp
from scipy.special import sph_harm_y

RINGS = 32
DEGREE = 8
TIMES = np.array([0.0, 0.5, 1.0])
UPPER = np.random.default_rng(11).standard_normal((5, 3, 3))
HEADS = 0.5 * (UPPER + np.swapaxes(UPPER, 1, 2))
MEANS = np.array([[1.0, 0.0, 0.0], [0.0, 0.6, 0.8]])
CONCENTRATIONS = np.array([4.0, 2.0])
SHARES = np.array([0.4, 0.6])


def nodes():
    """Gauss-Legendre nodes (n, 3) with the mass of the density at each."""
    z, weights = np.polynomial.legendre.leggauss(RINGS)
    phi = 2 * np.pi * np.arange(2 * RINGS) / (2 * RINGS)
    radius = np.sqrt(1 - z**2)[:, None]
    x = np.stack([radius * np.cos(phi), radius * np.sin(phi), z[:, None] + 0 * phi], axis=-1)
    x = x.reshape(-1, 3)
    area = np.repeat(weights * np.pi / RINGS, 2 * RINGS)
    density = sum(
        share * kappa / (4 * np.pi * np.sinh(kappa)) * np.exp(kappa * (x @ mean))
        for share, kappa, mean in zip(SHARES, CONCENTRATIONS, MEANS, strict=True)
    )
    mass = density * area
    return x, mass / mass.sum()


def velocity_and_energy(x, mass):
    velocity, energy = np.zeros_like(x), 0.0
    for head in HEADS:
        kernel = np.exp(x @ head @ x.T) * mass
        mobility = kernel.sum(axis=1)
        velocity += (kernel @ x @ head) / mobility[:, None] / len(HEADS)
        energy += 0.5 * (mass @ mobility) / len(HEADS)
    return velocity - x * np.sum(x * velocity, axis=1, keepdims=True), energy


def moments(x, mass):
    """Real orthonormal harmonics without Condon-Shortley phase, order m at l(l+1) + m."""
    theta, phi = np.arccos(np.clip(x[:, 2], -1, 1)), np.arctan2(x[:, 1], x[:, 0])
    found = np.empty((DEGREE + 1) ** 2)
    for degree in range(DEGREE + 1):
        for order in range(degree + 1):
            values = (-1) ** order * sph_harm_y(degree, order, theta, phi)
            centre = degree * (degree + 1)
            if order == 0:
                found[centre] = mass @ values.real
            else:
                found[centre + order] = np.sqrt(2) * (mass @ values.real)
                found[centre - order] = np.sqrt(2) * (mass @ values.imag)
    return found


def solve(sign):
    start, mass = nodes()

    def rate(t, flat):
        return sign * velocity_and_energy(flat.reshape(-1, 3), mass)[0].ravel()

    options = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-13}
    solution = solve_ivp(rate, (0.0, 1.0), start.ravel(), t_eval=TIMES, **options)
    states = [row.reshape(-1, 3) for row in solution.y.T]
    states = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in states]
    spectra = np.array([moments(x, mass) for x in states])
    return spectra, np.array([velocity_and_energy(x, mass)[1] for x in states])


def main():
    runs = {"ascent": solve(1.0), "descent": solve(-1.0)}
    dataset = xarray.Dataset(
        {
            "spectrum": (("flow", "time", "harmonic"), np.stack([r[0] for r in runs.values()])),
            "energy": (("flow", "time"), np.stack([r[1] for r in runs.values()])),
            "head_logits": (("head", "row", "column"), HEADS),
            "mean": (("component", "axis"), MEANS),
            "concentration": ("component", CONCENTRATIONS),
            "share": ("component", SHARES),
        },
        coords={"flow": list(runs), "time": TIMES},
        attrs={
            "title": "Five heads on a mixture of two densities, by plain NumPy",
            "source": "data/reference/make_five_heads.py",
            "comment": f"numpy {np.__version__}, scipy {scipy.__version__}",
        },
    )
    dataset.to_netcdf(Path(__file__).with_name("five_heads.nc"))


if __name__ == "__main__":
    main()
