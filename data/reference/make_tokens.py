"""Make tokens_ou.nc: an ensemble of token runs by plain NumPy, without sphereflow.

Section 6 of arXiv:2605.18870 for Ornstein-Uhlenbeck heads on descent: projected explicit Euler
for the tokens, Euler-Maruyama for the heads, and the terms of the energy balance (148) with sums
over all pairs. The random numbers are those that sphereflow documents: generators seeded by
numpy.random.SeedSequence(seed, spawn_key=key), with the key (0, path) of the token seed for the
initial tokens, and of the head seed (0, path, head) for D(0) and (1, path, head, chunk) for the
normal increments of 64 steps each.

    python data/reference/make_tokens.py
"""

from pathlib import Path

import numpy as np
import xarray

TOKENS, HEADS, PATHS = 40, 10, 4
DT, STEPS, SAVE_EVERY = 1e-2, 200, 10
TOKEN_SEED, HEAD_SEED = 5, 7
SIGMA, SPREAD = 1.0, 0.05
CHUNK = 64
SQUARE_ROOT = np.sqrt(0.5)


def generator(seed, *key):
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def symmetric(parameters):
    """Matrix with orthonormal parameters: three diagonal entries, then 12, 13, 23 times √2."""
    a, b, c, d, e, f = parameters
    off = SQUARE_ROOT * np.array([[0, d, e], [d, 0, f], [e, f, 0]])
    return np.diag([a, b, c]) + off


def initial_tokens(path):
    """Six octahedral vertices, perturbed and normalised."""
    rng = generator(TOKEN_SEED, 0, path)
    vertices = np.concatenate([np.eye(3), -np.eye(3)])[rng.integers(6, size=TOKENS)]
    points = vertices + SPREAD * rng.standard_normal((TOKENS, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def terms(x, heads):
    """Attention, energy, R, G², and for each head the kernel matrix e^{⟨x_i, D x_j⟩}."""
    kernels = np.array([np.exp(x @ d @ x.T) for d in heads])
    mobility = kernels.mean(axis=2)  # (H, n)
    attention = np.zeros_like(x)
    slope = np.zeros_like(x)
    for d, kernel in zip(heads, kernels, strict=True):
        attention += kernel @ x @ d.T / kernel.sum(axis=1, keepdims=True) / HEADS
        slope += kernel @ x @ d.T / TOKENS / HEADS
    project = lambda v: v - x * np.sum(x * v, axis=1, keepdims=True)  # noqa: E731
    velocity, slope = project(attention), project(slope)
    effective = 1.0 / np.mean(1.0 / mobility, axis=0)
    return (
        attention,
        0.5 * mobility.mean(),
        np.sum(slope * velocity, axis=1).mean(),
        np.mean(effective * np.sum(velocity**2, axis=1)),
        kernels,
    )


def run(path):
    x = initial_tokens(path)
    heads = np.array(
        [symmetric(generator(HEAD_SEED, 0, path, h).standard_normal(6)) for h in range(HEADS)]
    )
    sums = dict.fromkeys(("heads", "ito", "martingale", "transport", "slope"), 0.0)
    saved = []
    for k in range(STEPS + 1):
        attention, energy, dissipation, slope_squared, kernels = terms(x, heads)
        if k % SAVE_EVERY == 0:
            saved.append((x.copy(), energy, dissipation, slope_squared, *sums.values()))
        chunk, position = divmod(k, CHUNK)
        if position == 0:
            noise = np.array(
                [
                    generator(HEAD_SEED, 1, path, h, chunk).standard_normal((CHUNK, 6))
                    for h in range(HEADS)
                ]
            )
        drift = np.eye(3) - heads
        random = np.array([np.sqrt(2 * SIGMA**2 * DT) * symmetric(one[position]) for one in noise])
        for h in range(HEADS):
            share = kernels[h] / (2 * HEADS * TOKENS**2)
            sums["heads"] += np.sum(share * (x @ drift[h] @ x.T)) * DT
            sums["ito"] += np.sum(share * (1 + (x @ x.T) ** 2)) * 2 * SIGMA**2 / 4 * DT
            sums["martingale"] += np.sum(share * (x @ random[h] @ x.T))
        sums["transport"] -= dissipation * DT
        sums["slope"] -= slope_squared * DT
        x = x - DT * attention
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        heads = heads + DT * drift + random
    return saved


def main():
    names = [
        "position",
        "energy",
        "dissipation",
        "slope_squared",
        "energy_heads_integral",
        "energy_ito_integral",
        "energy_martingale",
        "energy_transport_integral",
        "energy_slope_integral",
    ]
    runs = [run(path) for path in range(PATHS)]
    variables = {}
    for index, name in enumerate(names):
        values = np.array([[record[index] for record in saved] for saved in runs])
        variables[name] = (("path", "time", "token", "axis")[: values.ndim], values)
    dataset = xarray.Dataset(
        variables,
        coords={"path": range(PATHS), "time": DT * SAVE_EVERY * np.arange(len(runs[0]))},
        attrs={
            "title": "Token runs under Ornstein-Uhlenbeck heads, by plain NumPy",
            "source": "data/reference/make_tokens.py",
            "references": "arXiv:2605.18870, Section 6",
            "comment": f"n={TOKENS}, H={HEADS}, dt={DT}, sigma={SIGMA}, target I, D(0) entries "
            f"N(0, 1) on the diagonal and N(0, 1/2) off it, octahedral clusters of spread "
            f"{SPREAD}, descent; token seed {TOKEN_SEED}, head seed {HEAD_SEED}; "
            f"numpy {np.__version__}",
        },
    )
    dataset.to_netcdf(Path(__file__).with_name("tokens_ou.nc"))


if __name__ == "__main__":
    main()
