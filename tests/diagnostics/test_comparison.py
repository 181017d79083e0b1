"""Comparison of runs: identities, closed forms and the expected sampling error."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from typer.testing import CliRunner

import sphereflow as sf
from sphereflow.cli import app
from sphereflow.diagnostics import clusters
from sphereflow.diagnostics.comparison import verdict
from sphereflow.diagnostics.distances import (
    expected_sampling_error,
    sobolev_distance,
    wasserstein,
)
from sphereflow.errors import InputError
from sphereflow.heads.drifts import MeanReversion
from sphereflow.sphere import PointTransform, complex_to_real, resize

HEADS = sf.FixedHeads(np.diag([1.0, 0.5, -0.5]))
DENSITY = sf.VonMisesFisher([0.0, 0.0, 1.0], 2.0)
ROTATION = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]) @ np.array(
    [[1.0, 0.0, 0.0], [0.0, 0.8, -0.6], [0.0, 0.6, 0.8]]
)


def solved(scheme, density=DENSITY, heads=HEADS, **options):
    problem = sf.TransformerPDE(heads, density)
    options = {"t_end": 0.4, "save_every": 0.2, "rtol": 1e-9} | options
    return sf.solve(problem, scheme=scheme, **options)


@pytest.fixture(scope="module")
def runs():
    return {
        "spectral": solved(sf.Spectral(lmax=31)),
        "characteristics": solved(sf.Characteristics(47, 47)),
        "tokens": solved(sf.Particles(400, 0.05, seed=1, stepper="rk4")),
        "ensemble": solved(sf.Particles(300, 0.05, seed=2, paths=3, stepper="rk4")),
    }


@pytest.mark.parametrize("name", ["spectral", "characteristics", "tokens", "ensemble"])
def test_a_run_equals_itself_exactly(runs, name):
    report = sf.compare(runs[name], runs[name])
    for quantity in report.data_vars:
        if quantity in ("sobolev_expected", "sobolev_spread"):
            continue
        values = report[quantity].values
        assert np.all((values == 0.0) | np.isnan(values)), quantity
    assert np.isfinite(report.w2).all()


def test_arguments_may_change_places(runs):
    density, tokens = runs["spectral"].isel(time=[2]), runs["tokens"].isel(time=[2])
    forth, back = sf.compare(density, tokens), sf.compare(tokens, density)
    for name in ("sobolev", "sobolev_expected", "w1", "w2", "mobility", "first_moment"):
        np.testing.assert_allclose(forth[name], back[name], rtol=1e-10)
    np.testing.assert_allclose(forth.energy_difference, -back.energy_difference, rtol=1e-12)


def test_two_independent_schemes_agree_in_every_quantity(runs):
    report = sf.compare(runs["spectral"], runs["characteristics"])
    # W₂ is the root of the mass that rounding moves, and its bound that of what could move.
    bounds = {"w1": 1e-4, "w2": 1e-2, "w2_error": 1e-3, "total_variation_error": 1e-6}
    for name in report.data_vars:
        largest = np.abs(report[name].values).max()
        assert not largest > bounds.get(name, 1e-7), name


def test_rotated_run_is_at_the_distance_of_the_rotation(runs):
    turned = solved(
        sf.Particles(400, 0.05, seed=1, stepper="rk4"),
        sf.EmpiricalDensity(runs["tokens"].position.values[0] @ ROTATION.T),
        sf.FixedHeads(ROTATION @ HEADS.logits[0] @ ROTATION.T),
    )
    report = sf.compare(runs["tokens"], turned)
    x = runs["tokens"].position.values
    moment = x.mean(axis=1)
    expected = np.linalg.norm(moment @ ROTATION.T - moment, axis=1)
    np.testing.assert_allclose(report.first_moment, expected, rtol=1e-8)
    np.testing.assert_allclose(report.energy_difference, 0.0, atol=1e-9)
    # W₂ is at most the cost of turning every token, and at least that of the means in R³.
    cost = np.sqrt(np.mean(np.arccos(np.sum(x * (x @ ROTATION.T), axis=-1)) ** 2, axis=1))
    assert (report.w2.values <= cost * (1 + 1e-9)).all()
    assert (report.w2.values >= expected).all()


def test_tokens_drawn_from_the_density_are_sampling_noise(runs):
    report = sf.compare(runs["spectral"], runs["ensemble"], transport=False)
    assert report.sobolev.dims == ("path", "time")
    assert dict((row[0], row[-1]) for row in verdict(report))["sobolev"] == "sampling noise"
    wrong = solved(sf.Particles(400, 0.05, seed=1), sf.VonMisesFisher([1.0, 0, 0], 2.0))
    report = sf.compare(runs["spectral"], wrong, transport=False)
    found = dict((row[0], row[-1]) for row in verdict(report))
    assert found["sobolev"] == "discrepancy"


def test_runs_of_different_problems_are_named(runs):
    assert sf.compare(runs["spectral"], runs["ensemble"], transport=False).different == ""
    other = sf.TransformerPDE(sf.FixedHeads(3 * np.eye(3)), DENSITY, flow="descent", diffusion=0.1)
    run = sf.solve(other, t_end=1.0, scheme=sf.Spectral(31), save_at=runs["spectral"].time.values)
    assert sf.compare(runs["spectral"], run, transport=False).different == "heads problem"


def test_expected_error_is_that_of_many_draws():
    spectrum = complex_to_real(resize(DENSITY.resolved_spectrum(), 32))
    count, draws = 200, 300
    squares = []
    for draw in range(draws):
        points = DENSITY.sample(count, draw)
        moments = PointTransform(points).moments(np.full(count, 1 / count), 32)
        squares.append(sobolev_distance(complex_to_real(moments), spectrum) ** 2)
    expected = expected_sampling_error(spectrum, 1 / count) ** 2
    standard_error = np.std(squares) / np.sqrt(draws)
    assert abs(np.mean(squares) - expected) < 4 * standard_error


def test_expected_error_of_few_heads_and_the_spread_over_paths_explain_the_distance():
    law = sf.OrnsteinUhlenbeck(np.eye(3), 0.5, initial_std=0.7)

    def run(heads, scheme):
        return solved(scheme, heads=heads, save_every=0.1, t_end=0.1, rtol=1e-6)

    coarse = {"lmax_max": 31, "resolution_limit": 1.0}
    limit = run(law, sf.Spectral(31, **coarse))
    measured, expected = [], []
    for seed in range(12):
        heads = law.sample(12, seed=seed, dt=0.05)
        report = sf.compare(limit, run(heads, sf.Spectral(31, dt=0.05, **coarse)), transport=False)
        measured.append(float(report.sobolev[-1]))
        expected.append(float(report.sobolev_expected_heads[-1]))
        assert report.mobility.notnull().all()
    # 12 squared distances of a few significant directions: their mean is within 40 %.
    ratio = np.sqrt(np.mean(np.square(measured)) / np.mean(np.square(expected)))
    assert abs(ratio - 1) < 0.4
    ensemble = sf.Particles(200, 0.05, seed=1, paths=24)
    paths = run(law.sample(12, seed=1, dt=0.05), ensemble)
    report = sf.compare(limit, paths, transport=False, mobility=False)
    distance = np.sqrt((report.sobolev**2).mean("path"))
    np.testing.assert_allclose(distance, report.sobolev_spread.isel(path=0), rtol=0.2)
    noise = np.hypot(report.sobolev_expected, report.sobolev_expected_heads).isel(path=0)
    np.testing.assert_allclose(distance, noise, rtol=0.3)
    same = sf.compare(paths, paths, transport=False, mobility=False)
    np.testing.assert_array_equal(same.sobolev_expected_heads, 0.0)


def test_mobility_of_any_law_is_that_of_many_heads(runs):
    process = sf.HeadProcess(lambda theta, t: -theta, 0.5, sf.Isotropic())
    law = sf.FokkerPlanckLaw(process, sf.Normal(0.3, 0.4))
    coarse = {"lmax_max": 31, "resolution_limit": 1.0}
    run = solved(sf.Spectral(31, **coarse), heads=law, t_end=0.01, save_every=0.01, rtol=1e-6)
    many = law.nodes(0.0)
    heads = sf.FixedHeads(many.logits, many.values, many.weights)
    other = solved(sf.Spectral(31), heads=heads, t_end=0.01, save_every=0.01)
    assert sf.compare(run, other, transport=False).mobility[0] < 1e-9


LAWS = {
    "Gaussian": sf.OrnsteinUhlenbeck(0.3, 0.4, quadrature=6),
    "linear": sf.FokkerPlanckLaw(
        sf.HeadProcess(MeanReversion(0.3), 0.5, sf.Symmetric()), sf.Normal(0.2, 0.3), nodes=6
    ),
    "mixture": sf.FokkerPlanckLaw(
        sf.HeadProcess(MeanReversion(0.3), 0.5, sf.Symmetric()),
        sf.NormalMixture([0.5, -0.5], [0.2, 0.3]),
        nodes=4,
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_mobility_of_runs_of_a_law_of_infinitely_many_heads(name):
    # (∫ (b_a − b_b)² (μ_a + μ_b)/2 dσ)^½ by the fields of the densities, on cells too.
    law = LAWS[name]
    densities = [sf.VonMisesFisher([0, 0, 1], kappa) for kappa in (2.0, 1.0)]
    grid = sf.SphereGrid(31)
    fields = [sf.attention_field(one, law).effective_mobility for one in densities]
    mobilities = [b(grid.points.reshape(-1, 3)).reshape(grid.shape) for b in fields]
    mean = sum(one(grid.points) for one in densities) / 2
    expected = np.sqrt(grid.integrate(mean * (mobilities[0] - mobilities[1]) ** 2))
    options = {"t_end": 0.01, "save_every": 0.01}
    first, second = (
        sf.solve(sf.TransformerPDE(law, one), scheme=scheme, **options)
        for one, scheme in zip(densities, (sf.Spectral(31), sf.FiniteVolume(4)))
    )
    found = sf.compare(first, second, transport=False).mobility.values
    assert found[0] == pytest.approx(expected, rel=2e-3)  # the mesh of level 4
    assert np.isfinite(found).all()


def test_times_are_matched_exactly_or_interpolated(runs):
    other = solved(sf.Spectral(lmax=31), save_every=0.1)
    assert sf.compare(runs["spectral"], other).time.values.tolist() == [0.0, 0.2, 0.4]
    assert sf.compare(other, runs["spectral"], transport=False).sizes["time"] == 3
    between = sf.compare(other, runs["spectral"], interpolate=True, transport=False)
    assert between.sizes["time"] == 5
    assert between.sobolev.values[[0, 2, 4]].max() < 1e-9 < between.sobolev.values[1] < 1e-3


def test_errors_say_what_to_do(runs):
    with pytest.raises(InputError, match="time in common"):
        sf.compare(runs["spectral"], runs["spectral"].assign_coords(time=[5.0, 6.0, 7.0]))
    with pytest.raises(InputError, match="equal numbers of paths"):
        sf.compare(runs["ensemble"], runs["ensemble"].isel(path=[0, 1]))
    with pytest.raises(InputError, match="must be a run"):
        sf.compare(runs["spectral"].drop_vars("spectrum"), runs["spectral"])


def test_command_writes_report_and_figure(runs, tmp_path):
    a, b = tmp_path / "a.nc", tmp_path / "b.nc"
    runs["spectral"].isel(time=[0]).to_netcdf(a)
    runs["tokens"].isel(time=[0]).to_netcdf(b)
    report, figure = tmp_path / "report.nc", tmp_path / "figure.png"
    command = ["compare", str(a), str(b), "-o", str(report), "--plot", str(figure)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "sampling noise" in result.output
    assert figure.stat().st_size > 10_000
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2  # nothing is replaced without --overwrite


def still(density, scheme=None):
    problem = sf.TransformerPDE(None, density, drift=np.zeros((3, 3)))
    return sf.solve(problem, t_end=1e-9, scheme=scheme or sf.Spectral(31), save_at=[0.0])


@pytest.mark.parametrize("count", [300, 4100])
def test_distance_to_tokens_is_above_that_to_the_nearest(count):
    density = sf.VonMisesFisher([0, 0, 1], 5.0)
    tokens = still(density, sf.Particles(count, seed=3))
    report = sf.compare(still(density), tokens)
    nearest = cKDTree(tokens.position.values[0]).query(density.sample(50_000, seed=1))[0]
    assert report.w1[0] > nearest.mean()
    assert report.w2[0] > np.sqrt(np.mean(nearest**2))
    # A sample of the density itself, at a distance known from exact transport in part.
    fresh = density.sample(2000, seed=5), np.full(2000, 1 / 2000)
    part = tokens.position.values[0][:2000]
    between = wasserstein(fresh, (part, np.full(len(part), 1 / len(part))))
    assert report.w1[0] - report.w1_error[0] < between.w1 + 0.1


@pytest.mark.parametrize("concentration", [20.0, 200.0, 1000.0])
def test_total_variation_of_apart_densities_is_one(concentration):
    runs = [still(sf.VonMisesFisher(mean, concentration)) for mean in ([0, 0, 1], [1, 0, 0])]
    overlap = 0.5 * np.exp(-concentration * (1 - np.sqrt(0.5)))  # less than that is common
    k = concentration
    product = np.sqrt(2) * k * np.exp((np.sqrt(2) - 2) * k)
    l2 = np.sqrt((k / np.tanh(k) - product / (1 - np.exp(-2 * k)) ** 2) / (2 * np.pi))
    # With and without the full spectrum, of which a run keeps that of its end only.
    for pair in (runs, [run.drop_vars("final_spectrum") for run in runs]):
        report = sf.compare(*pair, transport=False)
        found, error = float(report.total_variation[0]), float(report.total_variation_error[0])
        assert 1 - overlap - error <= found <= 1
        assert error < 0.1
        if np.isfinite(report.l2[0]):
            assert abs(report.l2[0] - l2) <= report.l2_error[0] + 1e-9 * l2
    assert np.isnan(report.l2[0]) == (concentration == 1000.0)


def test_densities_on_one_mesh_have_bounds_for_what_its_cells_hide():
    densities = sf.VonMisesFisher([0, 0, 1], 5.0), sf.VonMisesFisher([0.6, 0, 0.8], 5.0)
    coarse = sf.compare(*(still(one, sf.FiniteVolume(level=3)) for one in densities))
    exact = sf.compare(*(still(one) for one in densities))
    for name in ("total_variation", "l2", "w1", "w2"):
        allowed = coarse[f"{name}_error"] + exact[f"{name}_error"]
        assert abs(coarse[name] - exact[name])[0] <= allowed[0], name
        assert exact[f"{name}_error"][0] < 0.1 * exact[name][0], name


def test_order_of_dimensions_and_coordinates_does_not_matter():
    process = sf.HeadProcess(lambda theta, t: -theta, 0.5, sf.Isotropic())
    law = sf.FokkerPlanckLaw(process, sf.Normal(0.3, 0.4))
    problem = sf.TransformerPDE(law, sf.VonMisesFisher([0.6, 0, 0.8], 3.0))
    run = sf.solve(problem, t_end=0.2, scheme=sf.Spectral(31), save_every=0.2)
    tokens = solved(sf.Particles(50, 0.1, seed=1))
    cells = solved(sf.FiniteVolume(level=2))
    by_order = run.isel(harmonic=np.argsort(run.order.values, kind="stable"))
    shifted = run.assign_coords(lon=(run.lon + 180) % 360 - 180).sortby("lon")
    for one, other in (
        (run, shifted),
        (run, run.sortby("lat")),
        (run, shifted.transpose("lon", "harmonic", ...)),
        (run, run.roll(lon=7, roll_coords=True)),
        (run, by_order),
        (cells, cells.transpose("face", "harmonic", ...)),
        (tokens, tokens.transpose("axis", "token", ...)),
    ):
        report = sf.compare(one, other)
        for name in ("mobility", "w1", "w1_error", "w2", "total_variation", "sobolev", "clusters"):
            values = report[name].values
            assert ((values == 0) | np.isnan(values)).all(), name
        expected = clusters(one).centre.values
        np.testing.assert_array_equal(clusters(other).centre.values, expected)


def test_a_region_has_no_clusters_and_is_compared_by_its_spectrum(runs):
    north = runs["spectral"].sel(lat=slice(90, 0))
    with pytest.raises(InputError, match="whole sphere"):
        clusters(north)
    report = sf.compare(runs["spectral"], north)
    assert report.w1.max() < 1e-6 and report.total_variation.max() < 1e-9
    cells = solved(sf.FiniteVolume(level=2))
    with pytest.raises(InputError, match="whole sphere"):
        clusters(cells.isel(face=slice(50)))


def test_cells_in_another_order_are_compared_by_their_spectrum_and_no_start():
    cells, density = solved(sf.FiniteVolume(level=3)), solved(sf.Spectral(31))
    reverse = cells.isel(face=slice(None, None, -1))
    report = sf.compare(cells, reverse)
    assert (report.total_variation <= report.total_variation_error).all()
    assert (report.w1 <= report.w1_error).all()
    moved = sf.compare(density, reverse).total_variation
    np.testing.assert_allclose(moved, sf.compare(density, cells).total_variation, rtol=1e-9)
    with pytest.raises(InputError, match="in their order"):
        solved(sf.FiniteVolume(level=3), t_end=0.5, save_every=0.05, initial=reverse)
