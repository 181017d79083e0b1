"""Transport tests of the literature with their error norms, and a problem of five heads."""

import numpy as np

import sphereflow as sf
from sphereflow.densities.base import as_density
from sphereflow.densities.cell_means import cell_means
from sphereflow.sphere import SphereGrid, real_to_complex, voronoi_mesh

PERIOD = 5.0


def wind(x, t):
    """Deformational flow of Nair and Lauritzen (2010), case 4, in Cartesian form.

    ∇ψ × x with ψ = −2 y'² cos(πt/T) + 2πz/T, y' turning along.
    """
    angle = 2 * np.pi * t / PERIOD
    c, s = np.cos(angle), np.sin(angle)
    slope = (-4.0 * np.cos(np.pi * t / PERIOD)) * (c * x[:, 1] - s * x[:, 0])
    g0, g1, g2 = -s * slope, c * slope, 2 * np.pi / PERIOD
    out = np.empty_like(x)
    out[:, 0] = g1 * x[:, 2] - g2 * x[:, 1]
    out[:, 1] = g2 * x[:, 0] - g0 * x[:, 2]
    out[:, 2] = g0 * x[:, 1] - g1 * x[:, 0]
    return out


def hills(x):
    """Two Gaussian hills on the equator."""
    centres = [[np.cos(a), np.sin(a), 0.0] for a in (5 * np.pi / 6, 7 * np.pi / 6)]
    return sum(0.95 * np.exp(-5 * np.sum((x - c) ** 2, axis=-1)) for c in np.array(centres))


CENTRE = np.array([0.0, -1.0, 0.0])


def gaussian(x):
    """One Gaussian hill."""
    return np.exp(-5 * np.sum((x - CENTRE) ** 2, axis=-1))


def cosine_bell(x):
    """Cosine bell of radius 1/3 (Williamson et al. 1992), with one continuous derivative."""
    distance = 2 * np.arcsin(np.minimum(1.0, 0.5 * np.linalg.norm(x - CENTRE, axis=-1)))
    return np.where(distance < 1 / 3, 0.5 * (1 + np.cos(3 * np.pi * distance)), 0.0)


def rotation(angle=np.pi / 4):
    """Matrix of one turn in a time 1 about an axis tilted by this angle."""
    a, c = 2 * np.pi * np.sin(angle), 2 * np.pi * np.cos(angle)
    return np.array([[0.0, -c, 0.0], [c, 0.0, -a], [0.0, a, 0.0]])


def five_heads():
    """Five random symmetric heads and a density with two maxima."""
    square = np.random.default_rng(5).standard_normal((5, 3, 3))
    heads = sf.FixedHeads(0.5 * (square + square.swapaxes(1, 2)))
    maxima = [sf.VonMisesFisher([1, 0, 0], 3.0), sf.VonMisesFisher([0, 0.6, 0.8], 2.0)]
    return heads, sf.Mixture(maxima)


def norms(values, exact, weights):
    """Relative l1, l2 and l∞ errors, and the smallest value over the largest exact one."""
    error, size = np.abs(values - exact), np.abs(exact)
    return {
        "l1": float(weights @ error / (weights @ size)),
        "l2": float(np.sqrt(weights @ error**2 / (weights @ size**2))),
        "linf": float(error.max() / size.max()),
        "minimum": float(values.min() / size.max()),
    }


def cell_norms(run, level, exact):
    """Norms of the last density of a finite-volume run against the means of `exact`."""
    mesh = voronoi_mesh(level)
    return norms(run.density.values[-1], cell_means(as_density(exact), mesh), mesh.areas)


def spectral_norms(run, lmax, exact):
    """Norms of the last density of a spectral run on a grid of three times its degree."""
    grid = SphereGrid(lmax, dealias=3.0)
    values = grid.synthesis(grid.resized(real_to_complex(run.final_spectrum.values)))
    weights = np.broadcast_to(grid.weights, grid.shape).ravel()
    reference = exact(grid.points) / as_density(exact).mass
    return norms(values.ravel(), reference.ravel(), weights)
