"""The law of the head parameters by its Fokker–Planck equation.

References: closed moments of linear processes, exact stationary densities, and for a transient of
the double well a spectral discretisation of the symmetrised equation, written out here.
"""

import functools
import json

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import sphereflow as sf
from sphereflow.describe import experiment_config, to_config
from sphereflow.errors import ConfigurationError, InputError, ResolutionError
from sphereflow.experiments.experiment import (
    experiment_from_config,
    find_experiment,
    load_experiment,
)
from sphereflow.heads.drifts import (
    DoubleWell,
    Geometric,
    GeometricNoise,
    LinearDrift,
    MeanReversion,
    OscillatingTarget,
)
from sphereflow.heads.exponential import exponential_action
from sphereflow.heads.grid_solver import Grid, GridSolver

DENSITY = sf.Mixture(
    [sf.VonMisesFisher([0, 0, 1], 4.0), sf.VonMisesFisher([0.8, -0.6, 0], 2.0)], [0.6, 0.4]
)
POINTS = np.random.default_rng(5).standard_normal((7, 3))
POINTS /= np.linalg.norm(POINTS, axis=1, keepdims=True)


class Plane:
    """θ ∈ R², D = V = diag(θ₁, θ₂, 0)."""

    dimension = 2
    basis = np.stack([np.diag([1.0, 0.0, 0.0]), np.diag([0.0, 1.0, 0.0])])

    def __call__(self, theta):
        matrices = np.tensordot(theta, self.basis, axes=1)
        return matrices, matrices


def isotropic(drift, diffusion):
    return sf.HeadProcess(drift, diffusion, sf.Isotropic())


def ornstein_uhlenbeck(**options):
    """θ(0) ~ N(−1, ¼), target 1, g = √2."""
    process = isotropic(MeanReversion(1.0), np.sqrt(2.0))
    return sf.FokkerPlanckLaw(process, sf.Normal(-1.0, 0.5), **options)


def ornstein_uhlenbeck_moments(t):
    return 1 - 2 * np.exp(-t), 0.25 * np.exp(-2 * t) + 1 - np.exp(-2 * t)


def normal_density(x, mean, variance):
    return np.exp(-0.5 * (x - mean) ** 2 / variance) / np.sqrt(2 * np.pi * variance)


def order(sizes, errors):
    return -np.polyfit(np.log(sizes), np.log(errors), 1)[0]


def width_of(density):
    x = density.theta.values
    return (x[-1] - x[0]) / (len(x) - 1)


class TestExponential:
    @staticmethod
    def generator(size=24, seed=0, scale=1.0):
        ahead, back = scale * np.random.default_rng(seed).uniform(0.1, 3.0, (2, size - 1))
        bands = np.zeros((3, size))
        bands[0, 1:], bands[2, :-1] = back, ahead
        bands[1, :-1] -= ahead
        bands[1, 1:] -= back
        return bands, np.diag(back, 1) + np.diag(ahead, -1) + np.diag(bands[1])

    @pytest.mark.parametrize("step", [1e-6, 0.01, 0.5, 3.0, 40.0])
    def test_tridiagonal_generators_against_expm(self, step):
        bands, matrix = self.generator()
        v = np.random.default_rng(1).uniform(0, 1, 24)
        np.testing.assert_allclose(
            exponential_action(bands, step, v), expm(step * matrix) @ v, atol=1e-12
        )

    def test_sparse_generators_against_expm(self):
        from scipy import sparse

        _, matrix = self.generator()
        v = np.random.default_rng(1).uniform(0, 1, 24)
        found = exponential_action(sparse.csr_matrix(matrix), 0.7, v)
        np.testing.assert_allclose(found, expm(0.7 * matrix) @ v, atol=1e-13)

    def test_error_on_the_negative_axis_at_any_step(self):
        # Best approximation of order 16: 2e-16 in exact arithmetic; the residues of size 2e2
        # cost two more digits.
        x = np.concatenate([[0.0], -np.logspace(-12, 12, 200)])
        bands = np.zeros((3, len(x)))
        bands[1] = x
        found = exponential_action(bands, 1.0, np.ones(len(x)))
        assert np.abs(found - np.exp(x)).max() < 5e-14

    def test_a_huge_step_gives_the_stationary_masses(self):
        # The columns of a matrix of norm 1e9 sum to zero within 1e-7, which `GridSolver` takes
        # out of the mass again; the shape has no such error.
        bands, _ = self.generator(scale=1e6)
        stationary = np.concatenate([[1.0], np.cumprod(bands[2, :-1] / bands[0, 1:])])
        found = exponential_action(bands, 1e3, np.eye(24)[3])
        np.testing.assert_allclose(found / found.sum(), stationary / stationary.sum(), atol=1e-12)
        assert found.sum() == pytest.approx(1.0, abs=3e-6)


class TestOrnsteinUhlenbeck:
    def test_moments(self):
        mean, covariance = ornstein_uhlenbeck(cells=64000).moments(1.0)
        exact = ornstein_uhlenbeck_moments(1.0)
        assert mean[0] == pytest.approx(exact[0], abs=1e-8)
        assert covariance[0, 0] == pytest.approx(exact[1], abs=1e-8)

    def test_density_is_of_second_order(self):
        sizes = np.array([1000, 2000, 4000, 8000])
        errors = []
        for cells in sizes:
            density = ornstein_uhlenbeck(cells=int(cells)).density(1.0)
            exact = normal_density(density.theta.values, *ornstein_uhlenbeck_moments(1.0))
            errors.append(np.abs(density.values - exact).sum() * width_of(density))
        assert 1.95 < order(sizes, errors) < 2.05
        assert errors[2] < 1e-6

    def test_mass_is_kept_and_nothing_is_negative(self):
        law = ornstein_uhlenbeck(cells=2000)
        for t in (0.0, 0.01, 0.3, 1.0, 5.0):
            density = law.density(t)
            assert float(density.sum()) * width_of(density) == pytest.approx(1.0, abs=1e-13)
            assert density.values.min() > -1e-16 * density.values.max()

    def test_queries_back_in_time(self):
        times = [0.2, 0.7, 1.3, 2.0]
        forward, backward = ornstein_uhlenbeck(cells=1000), ornstein_uhlenbeck(cells=1000)
        expected = {t: forward.moments(t) for t in times}
        for t in reversed(times):
            found = backward.moments(t)
            np.testing.assert_allclose(found[0], expected[t][0], rtol=0, atol=1e-12)
            np.testing.assert_allclose(found[1], expected[t][1], rtol=0, atol=1e-12)

    def test_many_states_are_dropped_without_a_change(self, monkeypatch):
        monkeypatch.setattr("sphereflow.heads.grid_law.MOST_BYTES", 300_000)
        law, times = ornstein_uhlenbeck(cells=1000), np.linspace(0.01, 1.0, 60)
        for t in times:
            law.moments(t)
        assert len(law._laws[0]._solvers) < 40
        direct = ornstein_uhlenbeck(cells=1000)
        for t in (0.11, 0.995):
            np.testing.assert_allclose(law.moments(t)[1], direct.moments(t)[1], atol=1e-12)

    def test_initial_point(self):
        # Between two cells a point is two masses with its mean; their variance is below h²/4.
        process = isotropic(MeanReversion(1.0), 1.0)
        errors, sizes = [], np.array([1000, 2000, 4000])
        for cells in sizes:
            law = sf.FokkerPlanckLaw(process, sf.Point(-0.3), cells=int(cells))
            assert law.moments(0.0)[0][0] == pytest.approx(-0.3, abs=1e-13)
            mean, covariance = law.moments(0.8)
            assert mean[0] == pytest.approx(1 - 1.3 * np.exp(-0.8), abs=0.3 / cells)
            errors.append(abs(covariance[0, 0] - 0.5 * (1 - np.exp(-1.6))))
        assert order(sizes, errors) > 1.8 and errors[-1] < 1e-5

    @pytest.mark.parametrize("cells", [8, 16, 17, 30, 100])
    def test_moments_of_the_initial_law_on_coarse_cells(self, cells):
        # Sampled at spacing h ≤ s a normal law has its moments to e^{−2π²} = 3e-9; eight
        # standard deviations to each side make h = 16 s/cells. Below two cells per s the centres
        # share its mass between them, and its variance may not be off by more than h²/4.
        law = sf.FokkerPlanckLaw(isotropic(MeanReversion(), 1.0), sf.Normal(0.7, 0.3), cells=cells)
        mean, covariance = law.moments(0.0)
        width = 16 * 0.3 / cells
        assert mean[0] == pytest.approx(0.7, abs=1e-12)
        allowed = 1e-7 if cells >= 16 else width**2 / 4
        assert covariance[0, 0] == pytest.approx(0.09, abs=allowed)

    def test_initial_density_that_is_a_function(self):
        def two_bumps(theta):
            return np.exp(-8 * (theta[:, 0] - 1) ** 2) + np.exp(-8 * (theta[:, 0] + 2) ** 2)

        process = isotropic(MeanReversion(0.5), 1.0)
        law = sf.FokkerPlanckLaw(process, two_bumps, domain=(-7, 7), cells=8000)
        mean, covariance = law.moments(0.6)
        decay = np.exp(-0.6)
        variance = decay**2 * (1 / 16 + 1.5**2) + 0.5 * (1 - decay**2)
        assert mean[0] == pytest.approx(0.5 - decay, abs=2e-6)
        assert covariance[0, 0] == pytest.approx(variance, abs=4e-6)
        with pytest.raises(InputError, match="domain"):
            sf.FokkerPlanckLaw(process, two_bumps)

    def test_gaussian_law(self):
        law = ornstein_uhlenbeck(method="gaussian")
        for t in (3.0, 0.0, 0.4, 11.0):
            mean, covariance = law.moments(t)
            exact = ornstein_uhlenbeck_moments(t)
            assert mean[0] == pytest.approx(exact[0], abs=1e-11)
            assert covariance[0, 0] == pytest.approx(exact[1], abs=1e-11)


class TestDoubleWell:
    """f = θ − θ³."""

    def stationary(self, x, noise=1.0):
        values = np.exp(2 * (x**2 / 2 - x**4 / 4) / noise**2)
        return values / values.sum()

    @pytest.mark.parametrize("noise", [1.0, 0.4])
    @pytest.mark.parametrize("cells", [50, 801])
    def test_exact_stationary_masses_have_no_rate(self, noise, cells):
        # f is cubic, so its integral along an edge is exact by Gauss nodes.
        grid = Grid(np.array([-3.0]), np.array([6.0 / cells]), (cells,))
        masses = self.stationary(grid.axes[0], noise)
        process = isotropic(DoubleWell(), noise)
        solver = GridSolver(process, grid, masses, False, 1e-9)
        scale = (np.abs(solver.generator(0.0)[0][1]) * masses).max()
        assert np.abs(solver.mass_rates()).max() < 1e-12 * scale

    def test_long_run_reaches_the_stationary_density(self):
        # The spectral gap is about 0.6, so e^{-60·0.6} is below round-off.
        law = sf.FokkerPlanckLaw(isotropic(DoubleWell(), 1.0), sf.Normal(1.0, 0.3), cells=1000)
        density = law.density(60.0)
        masses = density.values * width_of(density)
        assert np.abs(masses - self.stationary(density.theta.values)).sum() < 1e-10

    @staticmethod
    @functools.lru_cache(maxsize=1)
    def transient():
        """Θ_1 from N(½, 0.04) with g = 1, at any points.

        u = Θ e^{−Φ}, Φ = θ²/2 − θ⁴/4, solves u' = ½u″ − ½(f² + f')u. On [−3.8, 3.8], where u is
        below 1e-20, 160 sinc functions (Colbert and Miller 1992) leave round-off only.
        """
        x = np.linspace(-3.8, 3.8, 160)
        h = x[1] - x[0]
        gap = np.subtract.outer(np.arange(160), np.arange(160))
        second = np.where(gap == 0, -(np.pi**2) / 3, -2.0 * (-1.0) ** gap / np.maximum(gap**2, 1))
        potential = 0.5 * ((x - x**3) ** 2 + 1 - 3 * x**2)
        values, vectors = np.linalg.eigh(0.5 * second / h**2 - np.diag(potential))
        start = normal_density(x, 0.5, 0.04) * np.exp(-(x**2) / 2 + x**4 / 4)
        u = vectors @ (np.exp(values) * (vectors.T @ start))

        def density(points):
            spread = np.sinc(np.subtract.outer(points, x) / h) @ u
            return spread * np.exp(points**2 / 2 - points**4 / 4)

        return density

    def test_transient_against_a_spectral_reference(self):
        reference = self.transient()
        fine = np.linspace(-3.8, 3.8, 4001)
        assert reference(fine).sum() * 0.0019 == pytest.approx(1.0, abs=1e-12)
        process = isotropic(DoubleWell(), 1.0)
        errors, sizes = [], np.array([1000, 2000, 4000, 8000])
        for cells in sizes:
            density = sf.FokkerPlanckLaw(process, sf.Normal(0.5, 0.2), cells=int(cells)).density(1)
            inside = np.abs(density.theta.values) < 3.8
            exact = np.where(inside, reference(density.theta.values * inside), 0.0)
            errors.append(np.abs(density.values - exact).sum() * width_of(density))
        assert 1.95 < order(sizes, errors) < 2.05
        assert errors[-1] < 1e-6

    def test_averaged_velocity_converges_spectrally_in_the_nodes(self):
        process, initial = isotropic(DoubleWell(slope=2.0), 0.7), sf.Normal(0.2, 0.5)

        def velocity(nodes):
            law = sf.FokkerPlanckLaw(process, initial, cells=1000, nodes=nodes)
            return sf.attention_field(DENSITY, law, 0.7).velocity(POINTS)

        best = velocity(32)
        errors = [np.abs(velocity(nodes) - best).max() for nodes in (2, 4, 8, 16)]
        assert errors[1] < 0.1 * errors[0] and errors[2] < 0.02 * errors[1]
        assert errors[2] < 1e-4 and errors[3] < 1e-8


class TestOtherProcesses:
    def test_state_dependent_noise_stationary_density(self):
        # f = θ − θ³, g² = 1 + θ²/2: g⁻² exp(∫2f/g²) = (1 + θ²/2)⁵ e^{−2θ²}.
        process = isotropic(DoubleWell(), lambda theta, t: np.sqrt(1 + theta**2 / 2))
        law = sf.FokkerPlanckLaw(process, sf.Normal(0.0, 0.4), cells=3000)
        density = law.density(40.0)
        x = density.theta.values
        exact = (1 + x**2 / 2) ** 5 * np.exp(-2 * x**2)
        exact /= exact.sum() * width_of(density)
        assert np.abs(density.values - exact).sum() * width_of(density) < 1e-6

    def test_geometric_brownian_motion(self):
        # E[θ] = m e^{rt}, E[θ²] = (m² + s²) e^{(2r + σ²)t}.
        process = isotropic(Geometric(0.4), GeometricNoise(0.3))
        law = sf.FokkerPlanckLaw(process, sf.Normal(2.0, 0.1), domain=(0.05, 25.0), cells=16000)
        mean, covariance = law.moments(1.0)
        assert mean[0] == pytest.approx(2 * np.exp(0.4), rel=1e-5)
        assert covariance[0, 0] + mean[0] ** 2 == pytest.approx(4.01 * np.exp(0.89), rel=1e-5)

    def test_time_dependent_drift_is_of_second_order_in_the_cells(self):
        target = OscillatingTarget(mean=0.5, amplitude=1.5, frequency=3.0, phase=0.4)
        process = isotropic(target, 1.0)
        t, w, phi = 1.2, 3.0, 0.4
        now = np.cos(w * t + phi) + w * np.sin(w * t + phi)
        past = np.exp(-t) * (np.cos(phi) + w * np.sin(phi))
        mean = 0.5 * (1 - np.exp(-t)) + 1.5 * (now - past) / (1 + w**2)
        variance = 0.5 + (1.0 - 0.5) * np.exp(-2 * t)
        sizes, errors = np.array([250, 500, 1000]), []
        for cells in sizes:
            law = sf.FokkerPlanckLaw(process, sf.Normal(0.0, 1.0), cells=int(cells))
            found = law.moments(t)
            errors.append([abs(found[0][0] - mean), abs(found[1][0, 0] - variance)])
        # Of the mean only the tolerance of the steps is left to see, or second order too.
        assert order(sizes, np.array(errors)[:, 1]) == pytest.approx(2.0, abs=0.1)
        assert errors[-1][0] < 1e-4 and errors[-1][1] < 1e-3
        assert errors[-1][0] < 1e-7 or order(sizes, np.array(errors)[:, 0]) > 1.9

    def test_tolerance_of_the_steps(self):
        # On one grid the steps make the only difference.
        process = isotropic(OscillatingTarget(amplitude=2.0, frequency=4.0), 0.5)
        options = {"domain": (-6, 6), "cells": 300}
        found = [
            sf.FokkerPlanckLaw(process, sf.Normal(), rtol=rtol, **options).density(1.0)
            for rtol in (1e-5, 1e-8, 1e-11)
        ]
        errors = [float(np.abs(one - found[2]).sum()) * 12 / 300 for one in found[:2]]
        assert errors[0] < 1e-4 and errors[1] < 1e-7

    def test_time_dependent_noise(self):
        # Var' = −2 Var + (1 + ½ sin 5t)².
        process = isotropic(
            MeanReversion(), lambda theta, t: np.full_like(theta, 1 + 0.5 * np.sin(5 * t))
        )
        law = sf.FokkerPlanckLaw(process, sf.Normal(0.0, 0.7), cells=2000)
        exact = solve_ivp(
            lambda t, v: -2 * v + (1 + 0.5 * np.sin(5 * t)) ** 2,
            (0, 1.1),
            [0.49],
            "DOP853",
            rtol=1e-12,
        ).y[0, -1]
        assert law.moments(1.1)[1][0, 0] == pytest.approx(exact, abs=1e-4)

    @pytest.mark.parametrize("noise", [0.3, 0.1, 0.03, 0.0])
    def test_little_noise(self, noise):
        # At 1000 cells of 0.0048 and a drift of 3 the jump w = fh/G is 0.3, 3, 30 and infinite:
        # upwind, so its numerical diffusion |f|h/2 is all the error there may be.
        process = isotropic(MeanReversion(1.0), noise)
        law = sf.FokkerPlanckLaw(process, sf.Normal(-1.0, 0.3), cells=1000)
        density = law.density(1.0)
        assert density.values.min() > -1e-16 * density.values.max()
        mean, covariance = law.moments(1.0)
        variance = 0.09 * np.exp(-2) + 0.5 * noise**2 * (1 - np.exp(-2))
        assert mean[0] == pytest.approx(1 - 2 * np.exp(-1), abs=0.005)
        assert covariance[0, 0] == pytest.approx(variance, abs=0.007)

    def test_box_grows_by_itself(self):
        # From a reach of 0.4 to a law of standard deviation 1 about 4.
        process = isotropic(MeanReversion(4.0), np.sqrt(2.0))
        law = sf.FokkerPlanckLaw(process, sf.Normal(0.0, 0.05), cells=100)
        first, last = law.density(0.0).theta.values, law.density(6.0).theta.values
        assert -0.4 <= first[0] and first[-1] <= 0.4
        assert last[0] < 4 - 6 and last[-1] > 4 + 7
        mean, covariance = law.moments(6.0)
        assert mean[0] == pytest.approx(4 * (1 - np.exp(-6.0)), abs=1e-4)
        assert covariance[0, 0] == pytest.approx(1 - np.exp(-12) * (1 - 0.0025), abs=1e-4)
        assert law.to_dataset([0.0, 6.0]).boundary_density.values.max() < 1e-12

    def test_a_box_that_is_too_small_is_reported(self):
        tight = ornstein_uhlenbeck(domain=(-3, 2), cells=500)
        values = tight.to_dataset([0.05, 1.0]).boundary_density.values
        # At t = 1 the wall is 1.8 standard deviations from the mean: e^{−1.7} or, piled up, more.
        assert values[0] < 1e-2 < 0.1 < values[1] <= 1.0
        wide = ornstein_uhlenbeck(domain=(-9, 9), cells=500)
        assert wide.to_dataset([1.0]).boundary_density.values.max() < 1e-12

    def test_a_box_that_cuts_the_initial_law_is_reported(self):
        law = ornstein_uhlenbeck(domain=(-1.5, 2), cells=500)
        assert law.to_dataset([0.0]).boundary_density.values[0] == pytest.approx(
            np.exp(-0.5), rel=0.02
        )

    def test_a_law_that_spreads_too_far(self, monkeypatch):
        monkeypatch.setattr("sphereflow.heads.grid_solver.MOST_CELLS", 5000)
        law = sf.FokkerPlanckLaw(
            isotropic(LinearDrift([[2.0]]), 1.0), sf.Normal(0.0, 0.05), cells=100
        )
        with pytest.raises(ResolutionError, match="sample"):
            law.moments(20.0)


class TestPlane:
    ROTATION = np.array([[-0.5, -1.0], [1.0, -0.5]])
    NOISE = np.array([[0.8, 0.0], [0.3, 0.75]])
    INITIAL = sf.Normal([0.5, -0.3], 0.3)

    @pytest.mark.parametrize("noise", [NOISE, NOISE * [[1], [-1]], np.array([0.8, 0.6])])
    def test_rotation_with_noise_against_the_gaussian_law(self, noise):
        process = sf.HeadProcess(LinearDrift(self.ROTATION, [0.2, 0.1]), noise, Plane())
        exact = sf.FokkerPlanckLaw(process, self.INITIAL, method="gaussian").moments(0.4)
        sizes, errors = np.array([20, 28, 40]), []
        for cells in sizes:
            law = sf.FokkerPlanckLaw(process, self.INITIAL, cells=int(cells))
            found = law.moments(0.4)
            errors.append([np.abs(a - b).max() for a, b in zip(found, exact)])
            density = law.density(0.4)
            assert density.values.min() > -1e-16 * density.values.max()
            volume = np.prod([float(a[1] - a[0]) for a in density.coords.values()])
            assert float(density.sum()) * volume == pytest.approx(1.0, abs=1e-13)
        for which in (0, 1):
            assert order(sizes, np.array(errors)[:, which]) == pytest.approx(2.0, abs=0.15)
        assert np.max(errors[-1]) < 4e-3

    def test_gaussian_law_against_expm(self):
        # m = e^{tA} m₀ + ∫e^{sA}c, C = e^{tA}C₀e^{tAᵀ} + ∫e^{sA}ggᵀe^{sAᵀ}.
        process = sf.HeadProcess(LinearDrift(self.ROTATION, [0.2, 0.1]), self.NOISE, Plane())
        mean, covariance = sf.FokkerPlanckLaw(process, self.INITIAL, method="gaussian").moments(1.4)
        s, w = np.polynomial.legendre.leggauss(30)
        flows = [expm(0.7 * (1 + one) * self.ROTATION) for one in s]
        flow = expm(1.4 * self.ROTATION)
        pushed = sum(0.7 * b * e @ [0.2, 0.1] for b, e in zip(w, flows))
        noise = self.NOISE @ self.NOISE.T
        spread = sum(0.7 * b * e @ noise @ e.T for b, e in zip(w, flows))
        np.testing.assert_allclose(mean, flow @ [0.5, -0.3] + pushed, atol=1e-11)
        np.testing.assert_allclose(covariance, 0.09 * flow @ flow.T + spread, atol=1e-11)

    def test_correlated_noise_keeps_the_stationary_density(self):
        # A = −(symmetric) with ggᵀ = 2: e^{−θᵀSθ/2}; correlated G with f = −G S θ has the same.
        potential = np.array([[1.2, 0.4], [0.4, 0.9]])
        noise = np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]])
        drift = LinearDrift(-0.5 * noise @ noise.T @ potential)
        grid = Grid(np.array([-6.0, -6.0]), np.array([0.2, 0.2]), (60, 60))
        points = grid.points
        masses = np.exp(-0.5 * np.einsum("na,ab,nb->n", points, potential, points)).reshape(60, 60)
        masses /= masses.sum()
        process = sf.HeadProcess(drift, noise, Plane())
        solver = GridSolver(process, grid, masses, False, 1e-9)
        scale = np.abs(solver.generator(0.0).diagonal()).max() * masses.max()
        assert np.abs(solver.mass_rates()).max() < 1e-12 * scale

    def test_correlated_state_dependent_noise_columns_sum_to_zero(self):
        def noise(theta, t):
            factor = np.zeros((len(theta), 2, 2))
            factor[:, 0, 0] = factor[:, 1, 1] = 1 + 0.1 * np.sin(theta[:, 0])
            factor[:, 1, 0] = 0.3
            return factor

        process = sf.HeadProcess(LinearDrift(self.ROTATION), noise, Plane())
        grid = Grid(np.array([-2.0, -2.0]), np.array([0.2, 0.2]), (20, 20))
        solver = GridSolver(process, grid, np.full((20, 20), 1 / 400), False, 1e-9)
        generator = solver.generator(0.0).toarray()
        assert np.abs(generator.sum(axis=0)).max() < 1e-12 * np.abs(generator).max()
        assert (generator - np.diag(np.diag(generator)) >= 0).all()

    def test_correlation_stronger_than_the_cells_allow(self):
        process = sf.HeadProcess(LinearDrift(self.ROTATION), [[1.0, 0.0], [3.0, 0.1]], Plane())
        law = sf.FokkerPlanckLaw(process, self.INITIAL, cells=20)
        with pytest.raises(InputError, match="cells"):
            law.moments(0.1)

    def test_dataset(self):
        process = sf.HeadProcess(LinearDrift(self.ROTATION), 0.6, Plane())
        law = sf.FokkerPlanckLaw(process, self.INITIAL, cells=24)
        dataset = law.to_dataset([0.0, 0.4])
        assert dataset.head_density.dims == ("time", "theta_1", "theta_2")
        assert not dataset.head_density.isnull().any()
        volume = float(dataset.theta_1[1] - dataset.theta_1[0]) * float(
            dataset.theta_2[1] - dataset.theta_2[0]
        )
        mass = dataset.head_density.sum(["theta_1", "theta_2"]) * volume
        np.testing.assert_allclose(mass, 1.0, atol=1e-13)
        assert dataset.head_mean.dims == ("time", "parameter")
        np.testing.assert_allclose(dataset.head_mean[1], law.moments(0.4)[0])
        np.testing.assert_allclose(dataset.head_covariance[1], law.moments(0.4)[1])


def test_three_dimensional_grid_against_the_gaussian_law():
    process = sf.HeadProcess(MeanReversion([0.5, 0.0, -0.5]), [0.5, 0.6, 0.7], sf.Diagonal())
    initial = sf.Normal([0.0, 0.2, 0.1], [0.3, 0.35, 0.4])
    exact = sf.FokkerPlanckLaw(process, initial, method="gaussian").moments(0.3)
    sizes, errors = np.array([18, 22]), []  # cells below the standard deviations
    for cells in sizes:
        found = sf.FokkerPlanckLaw(process, initial, cells=int(cells)).moments(0.3)
        errors.append([np.abs(a - b).max() for a, b in zip(found, exact)])
    for which in (0, 1):
        assert order(sizes, np.array(errors)[:, which]) == pytest.approx(2.0, abs=0.2)
    assert np.max(errors[-1]) < 0.01


def test_dataset_of_one_parameter():
    law = ornstein_uhlenbeck(cells=300)
    dataset = law.to_dataset([0.0, 0.5, 2.0])
    assert dataset.head_density.dims == ("time", "theta")
    # The box has grown; the common grid has equal cells and zeros where a smaller one ended.
    x = dataset.theta.values
    np.testing.assert_allclose(np.diff(x), 8 / 300, rtol=1e-9)
    np.testing.assert_allclose(dataset.head_density.sum("theta") * (8 / 300), 1.0, atol=1e-12)
    np.testing.assert_allclose(dataset.head_mean[:, 0], [law.moments(t)[0][0] for t in (0, 0.5, 2)])
    assert dataset.head_covariance.shape == (3, 1, 1)


class TestInsideTheField:
    def test_symmetric_gaussian_law_is_ornstein_uhlenbeck(self):
        target = np.array([[1.0, 0.4, -0.2], [0.4, -0.6, 0.3], [-0.2, 0.3, 0.5]])
        basis = sf.Symmetric().basis
        process = sf.HeadProcess(
            MeanReversion(np.einsum("aij,ij->a", basis, target)), np.sqrt(2) * 0.7, sf.Symmetric()
        )
        start = np.einsum("aij,ij->a", basis, 0.5 * np.eye(3))
        law = sf.FokkerPlanckLaw(process, sf.Normal(start, 0.8), nodes=6)
        assert law.carrier == "gaussian"
        exact = sf.OrnsteinUhlenbeck(target, 0.7, 0.5, 0.8, quadrature=6)
        for t in (0.0, 0.6):
            mean, covariance = law.moments(t)
            np.testing.assert_allclose(np.tensordot(mean, basis, axes=1), exact.mean(t), atol=1e-10)
            np.testing.assert_allclose(covariance, exact.variance(t) * np.eye(6), atol=1e-10)
            ours, theirs = (sf.attention_field(DENSITY, one, t) for one in (law, exact))
            assert ours.energy() == pytest.approx(theirs.energy(), rel=1e-10)
            assert ours.energy_rate() == pytest.approx(theirs.energy_rate(), rel=1e-10, abs=1e-10)
            np.testing.assert_allclose(ours.velocity(POINTS), theirs.velocity(POINTS), atol=1e-10)

    def test_product_law_agrees_with_the_gaussian_one(self):
        process = sf.HeadProcess(MeanReversion([1.0, 0.5, -0.5]), [0.6, 0.5, 0.4], sf.Diagonal())
        initial = sf.Normal([0.2, -0.3, 0.6], [0.3, 0.2, 0.4])
        product = sf.FokkerPlanckLaw(process, initial, cells=16000, nodes=8, method="product")
        exact = sf.FokkerPlanckLaw(process, initial, nodes=10, method="gaussian")
        np.testing.assert_allclose(product.moments(0.8)[0], exact.moments(0.8)[0], atol=3e-7)
        np.testing.assert_allclose(product.moments(0.8)[1], exact.moments(0.8)[1], atol=3e-7)
        ours, theirs = (sf.attention_field(DENSITY, one, 0.8) for one in (product, exact))
        assert ours.energy() == pytest.approx(theirs.energy(), rel=1e-6)
        assert ours.energy_rate() == pytest.approx(theirs.energy_rate(), rel=1e-5)
        np.testing.assert_allclose(ours.velocity(POINTS), theirs.velocity(POINTS), atol=1e-6)

    LAWS = {
        "line": lambda: sf.FokkerPlanckLaw(
            isotropic(DoubleWell(tilt=0.2), 0.6), sf.Normal(0.3, 0.4), cells=1000
        ),
        "oscillating": lambda: sf.FokkerPlanckLaw(
            isotropic(OscillatingTarget(mean=1.0, frequency=2.0), 0.6),
            sf.Normal(0.3, 0.4),
            cells=500,
        ),
        "product": lambda: sf.FokkerPlanckLaw(
            sf.HeadProcess(DoubleWell(), [0.5, 0.6, 0.7], sf.Diagonal()),
            sf.Normal([0.5, 0.0, -0.5], 0.3),
            cells=500,
            nodes=7,
            method="product",
        ),
        "plane": lambda: sf.FokkerPlanckLaw(
            sf.HeadProcess(LinearDrift(TestPlane.ROTATION), TestPlane.NOISE, Plane()),
            TestPlane.INITIAL,
            cells=24,
            nodes=8,
        ),
        "gaussian": lambda: sf.FokkerPlanckLaw(
            sf.HeadProcess(LinearDrift(TestPlane.ROTATION), TestPlane.NOISE, Plane()),
            TestPlane.INITIAL,
            nodes=8,
            method="gaussian",
        ),
    }

    @pytest.mark.parametrize("name", LAWS)
    def test_energy_rate_is_the_derivative_of_the_energy(self, name):
        law, t, h = self.LAWS[name](), 0.4, 0.02
        energies = [
            sf.attention_field(DENSITY, law, t + k * h).energy() for k in (-2, -1, 1, 2)
        ]  # fourth-order difference: h⁴/30 E⁽⁵⁾ is about 1e-8
        difference = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * h)
        rate = sf.attention_field(DENSITY, law, t).energy_rate()
        assert abs(rate) > 1e-3
        assert rate == pytest.approx(difference, abs=1e-6)


class TestCoupled:
    def test_spectrum_under_the_grid_law_and_the_gaussian_one(self):
        spectra = []
        for options in ({"method": "gaussian", "nodes": 8}, {"method": "grid", "cells": 16000}):
            problem = sf.TransformerPDE(ornstein_uhlenbeck(**options), DENSITY, flow="descent")
            run = sf.solve(
                problem, t_end=0.5, scheme=sf.Spectral(lmax=31), save_at=[0.5], rtol=1e-7
            )
            spectra.append(run.spectrum.isel(time=-1).values[run.degree.values <= 8])
            assert np.abs(run.energy_residual).max() < 1e-6
        np.testing.assert_allclose(spectra[0], spectra[1], atol=1e-6)
        assert np.abs(spectra[0]).max() > 0.01

    def test_energy_balance_of_a_double_well(self):
        law = sf.FokkerPlanckLaw(
            isotropic(DoubleWell(centre=1.0), 0.7), sf.Normal(1.2, 0.2), cells=1000
        )
        problem = sf.TransformerPDE(law, DENSITY, flow="ascent", diffusion=0.05)
        run = sf.solve(problem, t_end=0.5, scheme=sf.Spectral(lmax=31), save_every=0.1, rtol=1e-7)
        assert np.abs(run.energy_residual).max() < 1e-6
        assert abs(float(run.energy[-1] - run.energy[0])) > 0.01


class TestArguments:
    PROCESS = isotropic(MeanReversion(), 1.0)

    @staticmethod
    def coupled(theta, t):
        return theta * (1 - np.sum(theta**2, axis=-1, keepdims=True))

    def test_law_without_a_solution_points_to_samples(self):
        process = sf.HeadProcess(self.coupled, 1.0, sf.Symmetric())
        for method in ("auto", "product"):
            with pytest.raises(InputError, match=r"sample\(count\)"):
                sf.FokkerPlanckLaw(process, method=method)
        with pytest.raises(InputError, match=r"3 dimensions.*sample\(count\)"):
            sf.FokkerPlanckLaw(process, method="grid")
        heads = sf.FokkerPlanckLaw(self.PROCESS, sf.Normal(2.0, 0.1)).sample(5, 1)
        assert heads.nodes(0.0).logits.shape == (5, 3, 3)

    def test_gaussian_method_needs_a_linear_drift_and_constant_noise(self):
        for process in (isotropic(DoubleWell(), 1.0), isotropic(Geometric(), GeometricNoise())):
            with pytest.raises(InputError, match="linear"):
                sf.FokkerPlanckLaw(process, sf.Normal(1.0, 0.1), method="gaussian")

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            ({"domain": (2, -2)}, "domain"),
            ({"domain": (0, 1, 2)}, "domain"),
            ({"domain": [(-1, 1), (-1, 1)]}, "domain"),
            ({"domain": (-np.inf, 1)}, "domain"),
            ({"domain": (3, 4)}, "domain"),
            ({"cells": 4}, "cells"),
            ({"cells": 100.5}, "cells"),
            ({"cells": (100, 100)}, "cells"),
            ({"nodes": 0}, "nodes"),
            ({"nodes": 65}, "nodes"),
            ({"rtol": 0.0}, "rtol"),
            ({"method": "grids"}, "method"),
            ({"initial": 2.0}, "initial"),
            ({"initial": sf.Normal}, "initial"),
            ({"initial": lambda theta: -np.ones(len(theta)), "domain": (-1, 1)}, "initial"),
            ({"initial": lambda theta: np.ones(3), "domain": (-1, 1)}, "initial"),
        ],
    )
    def test_bad_arguments(self, options, word):
        with pytest.raises(InputError, match=word):
            sf.FokkerPlanckLaw(self.PROCESS, **options)

    @pytest.mark.parametrize("initial", [sf.Normal([0.0, 1.0], 1.0), sf.Point([0.0, 1.0])])
    @pytest.mark.parametrize("method", ["grid", "gaussian", "product"])
    def test_initial_law_of_another_dimension(self, initial, method):
        process = sf.HeadProcess(MeanReversion(), 1.0, sf.Diagonal())
        with pytest.raises(InputError, match="3"):
            sf.FokkerPlanckLaw(process, initial, method=method, cells=10)

    def test_process_time_and_density(self):
        with pytest.raises(InputError, match="process"):
            sf.FokkerPlanckLaw(MeanReversion())
        for method in ("grid", "gaussian", "product"):
            law = sf.FokkerPlanckLaw(self.PROCESS, method=method)
            for t in (-0.1, np.nan):
                with pytest.raises(InputError, match="time"):
                    law.moments(t)
        process = sf.HeadProcess(MeanReversion(), 1.0, sf.Symmetric())
        for method in ("gaussian", "product"):
            with pytest.raises(InputError, match="moments"):
                sf.FokkerPlanckLaw(process, method=method).density(0.0)


class TestExperimentFiles:
    @staticmethod
    def config(**process):
        return {
            "density": {"kind": "uniform"},
            "heads": {
                "kind": "fokker_planck_law",
                "cells": 500,
                "process": {
                    "kind": "head_process",
                    "drift": {"kind": "double_well", "centre": 2.0, "tilt": 0.1},
                    "diffusion": 0.6,
                    "parametrisation": "isotropic",
                    **process,
                },
                "initial": {"kind": "normal", "mean": 1.1, "std": 0.1},
            },
            "scheme": {"kind": "spectral", "lmax": 15},
            "run": {"t_end": 0.1},
        }

    @pytest.mark.parametrize(
        ("process", "expected"),
        [
            ({}, isotropic(DoubleWell(tilt=0.1, centre=2.0), 0.6)),
            ({"drift": "double_well"}, isotropic(DoubleWell(), 0.6)),
            (
                {"drift": "geometric", "diffusion": {"kind": "geometric", "scale": 0.2}},
                isotropic(Geometric(), GeometricNoise(0.2)),
            ),
            (
                {"drift": {"kind": "ornstein_uhlenbeck", "target": 2}},
                isotropic(MeanReversion(2.0), 0.6),
            ),
            (
                {"drift": {"kind": "oscillating", "mean": 1.0, "frequency": 3.0}},
                isotropic(OscillatingTarget(1.0, 1.0, 3.0), 0.6),
            ),
            (
                {"drift": {"kind": "linear", "matrix": [[-1.0]], "offset": 0.3}},
                isotropic(LinearDrift([[-1.0]], 0.3), 0.6),
            ),
        ],
    )
    def test_laws_by_name(self, process, expected):
        config = self.config(**process)
        config["heads"]["domain"] = [-1.0, 6.0]
        law = experiment_from_config(config).problem.heads
        direct = sf.FokkerPlanckLaw(expected, sf.Normal(1.1, 0.1), domain=(-1, 6), cells=500)
        assert np.array_equal(law.density(0.2), direct.density(0.2))

    @pytest.mark.parametrize("name", ["annealed_temperature", "oscillating_mean_field"])
    def test_shipped_experiment_and_its_description(self, name):
        experiment = load_experiment(find_experiment(name))
        config = experiment_config(experiment.problem, experiment.scheme, experiment.run)
        again = experiment_from_config(json.loads(json.dumps(config)))
        law, rebuilt = experiment.problem.heads, again.problem.heads
        assert isinstance(rebuilt, sf.FokkerPlanckLaw) and rebuilt.carrier == law.carrier
        assert to_config(rebuilt) == to_config(law)
        found, expected = rebuilt.nodes(0.1), law.nodes(0.1)
        assert np.array_equal(found.logits, expected.logits)
        assert np.array_equal(found.weights, expected.weights)

    def test_law_of_a_shipped_experiment(self):
        # Cells of 0.016 under a drift of 4 have (0.016·4/½)²/12 = 1e-3 of G as numerical noise.
        law = load_experiment(find_experiment("oscillating_mean_field")).problem.heads
        # θ' = F(t) − θ + noise from N(0, 1) with g = 1: the variance is ½(1 + e^{−2t}).
        phases, t = np.array([0.0, -np.pi / 2, np.pi / 4]), 0.5
        waves = np.cos(t + phases) + np.sin(t + phases)
        waves = 0.75 * (waves - np.exp(-t) * (np.cos(phases) + np.sin(phases)))
        mean, covariance = law.moments(t)
        np.testing.assert_allclose(mean, 2 * (1 - np.exp(-t)) + waves, atol=1e-4)
        np.testing.assert_allclose(covariance, 0.5 * (1 + np.exp(-2 * t)) * np.eye(3), atol=3e-4)

    def test_unknown_names(self):
        with pytest.raises(ConfigurationError, match=r"heads\.process\.drift.*'double_well'"):
            experiment_from_config(self.config(drift={"kind": "duble_well"}))
        with pytest.raises(ConfigurationError, match="cubic"):
            experiment_from_config(self.config(drift={"kind": "double_well", "cubik": 1.0}))
        with pytest.raises(ConfigurationError, match="drift"):
            experiment_from_config(self.config(drift="duble_well"))


class TestMixture:
    """A mixture under a linear drift: closed form against the grid and against its parts."""

    PROCESS = sf.HeadProcess(MeanReversion(1.0), 0.8, sf.Isotropic())
    INITIAL = sf.NormalMixture([0.0, 2.0], [0.3, 0.2], [0.3, 0.7])
    DENSITY = sf.VonMisesFisher([0, 0.6, 0.8], 3.0)

    def test_moments_against_the_grid(self):
        # 16000 cells have a second-order error of about 1e-7.
        exact = sf.FokkerPlanckLaw(self.PROCESS, self.INITIAL, method="gaussian").moments(0.7)
        grid = sf.FokkerPlanckLaw(self.PROCESS, self.INITIAL, cells=16000).moments(0.7)
        np.testing.assert_allclose(exact[0], grid[0], atol=1e-6)
        np.testing.assert_allclose(exact[1], grid[1], atol=1e-6)

    def test_field_is_that_of_the_law_on_a_grid(self):
        fields = [
            sf.attention_field(
                self.DENSITY, sf.FokkerPlanckLaw(self.PROCESS, self.INITIAL, **options), 0.7
            )
            for options in ({"method": "gaussian", "nodes": 12}, {"cells": 16000})
        ]
        points = [[1.0, 0, 0], [0, 0.6, -0.8]]
        for name in ("energy", "energy_rate", "slope_squared"):
            first, second = (getattr(field, name)() for field in fields)
            assert first == pytest.approx(second, abs=1e-6), name
        np.testing.assert_allclose(
            fields[0].velocity(points), fields[1].velocity(points), atol=1e-6
        )

    def test_one_component_is_the_gaussian_law(self):
        single = sf.NormalMixture([[0.5] * 6], [0.4])
        process = sf.HeadProcess(MeanReversion(1.0), 0.5, sf.Symmetric())
        twice = sf.NormalMixture([[0.5] * 6] * 2, [0.4, 0.4], [0.2, 0.8])
        laws = [sf.FokkerPlanckLaw(process, one) for one in (single, twice)]
        values = [sf.attention_field(self.DENSITY, law, 0.4).energy() for law in laws]
        assert values[0] == pytest.approx(values[1], rel=1e-13)

    def test_runs_in_the_spectral_scheme(self):
        law = sf.FokkerPlanckLaw(self.PROCESS, self.INITIAL, method="gaussian", nodes=4)
        problem = sf.TransformerPDE(law, self.DENSITY, flow="descent")
        run = sf.solve(problem, t_end=0.2, scheme=sf.Spectral(lmax=31), save_at=[0.2])
        assert abs(float(run.energy_residual[-1])) < 1e-6
        np.testing.assert_allclose(
            run.head_mean.values[0], law.moments(0.2)[0][0] * np.eye(3), atol=1e-12
        )
