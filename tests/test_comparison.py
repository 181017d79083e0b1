"""Comparison of runs: identities, closed forms and the expected sampling error."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import sphereflow as sf
from sphereflow.cli import app
from sphereflow.comparison import verdict
from sphereflow.diagnostics.distances import (
    expected_sampling_error,
    sobolev_distance,
    wasserstein,
)
from sphereflow.errors import InputError
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
    bounds = {"w1": 1e-4, "w2": 1e-2}  # W₂ is the root of the mass that rounding moves
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


def test_wasserstein_of_two_points_is_their_angle():
    x, y = np.array([[0.0, 0.0, 1.0]]), np.array([[np.sin(0.3), 0.0, np.cos(0.3)]])
    found = wasserstein((x, np.ones(1)), (y, np.ones(1)))
    assert found.w1 == pytest.approx(0.3, rel=1e-12)
    assert found.w2 == pytest.approx(0.3, rel=1e-12)
    near = np.array([[np.sin(1e-9), 0.0, np.cos(1e-9)]])
    assert wasserstein((x, np.ones(1)), (near, np.ones(1))).w1 == pytest.approx(1e-9, rel=1e-6)


def test_wasserstein_of_zonal_densities_is_that_on_the_meridian():
    # Rings at colatitudes θ_i of one measure and 0.1 further of the other, with the same masses.
    theta = np.linspace(0.3, 2.0, 12)
    phi = 2 * np.pi * np.arange(24) / 24

    def rings(angles):
        sine, cosine = np.sin(angles)[:, None], np.cos(angles)[:, None] + 0 * phi
        return np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=-1).reshape(-1, 3)

    weights = np.full(12 * 24, 1.0)
    found = wasserstein((rings(theta), weights), (rings(theta + 0.1), weights))
    assert found.method == "exact"
    assert found.w1 == pytest.approx(0.1, rel=1e-9)


def test_sliced_distances_beyond_the_limit_of_points():
    x, y = DENSITY.sample(600, 1), DENSITY.sample(600, 2)
    weights = np.full(600, 1 / 600)
    exact = wasserstein((x, weights), (y, weights))
    sliced = wasserstein((x, weights), (y, weights), most=500)
    assert (exact.method, sliced.method) == ("exact", "sliced")
    assert 0 < sliced.w2_error < 0.1 * sliced.w2
    assert sliced.w2 < exact.w2  # projections do not lengthen


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
