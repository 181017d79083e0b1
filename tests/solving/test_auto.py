"""The scheme that changes itself, and what experiment files say about it and its run."""

import json

import numpy as np
import pytest
import xarray

import sphereflow as sf
from sphereflow.errors import ConfigurationError, InputError
from sphereflow.experiments.experiment import experiment_from_config, load_experiment

WIDE = sf.VonMisesFisher([0.3, -0.5, 0.8], 1.5)
SPECTRAL = sf.Spectral(lmax=31, spectrum_degree=8)
TIMES = [0.0, 0.25, 0.5, 0.75, 1.0]


def go(problem, scheme, save_at, rtol=1e-6, **options):
    return sf.solve(
        problem, t_end=save_at[-1], scheme=scheme, save_at=save_at, rtol=rtol, **options
    )


SQUEEZED = sf.TransformerPDE(sf.FixedHeads(2 * np.eye(3)), WIDE)
MILD = sf.TransformerPDE(sf.FixedHeads(0.5 * np.eye(3)), WIDE)
SMALL = sf.Auto(lmax=23, lmax_max=23, degree=39, degree_max=39, spectrum_degree=8)


@pytest.fixture(scope="module")
def switched(tmp_path_factory):
    path = tmp_path_factory.mktemp("auto") / "run.nc"
    return go(SQUEEZED, SMALL, TIMES, output=path), path


def test_auto_changes_to_characteristics_when_degrees_run_out(switched):
    run, _ = switched
    assert run.attrs["status"] == "completed"
    stage, switch = run.stage.values, run.attrs["switch_time"]
    assert stage.dtype == np.int8 and set(stage) == {0, 1} and (np.diff(stage) >= 0).all()
    # Harmonics up to the time of the change, which is among the outputs, and nodes beyond.
    assert run.time.values[stage == 0][-1] == switch < run.time.values[stage == 1][0]
    assert set(run.time.values) - {switch} == set(TIMES)
    for name, own in (("density", 0), ("lmax", 0), ("position", 1), ("log_density", 1)):
        values = run[name].values.reshape(len(stage), -1)
        assert np.isfinite(values[stage == own]).all() and np.isnan(values[stage != own]).all()
    assert float(run.resolution[stage == 0][-1]) > 1e-6  # why it changed


def test_auto_agrees_with_characteristics_alone(switched):
    run, _ = switched
    scheme = sf.Characteristics(degree=47, degree_max=47, spectrum_degree=8)
    alone = go(SQUEEZED, scheme, TIMES, rtol=1e-7)
    chosen = run.sel(time=TIMES)
    assert np.abs(chosen.spectrum.values - alone.spectrum.values).max() < 1e-6
    for name in ("energy", "energy_transport_integral", "entropy"):
        assert np.abs(chosen[name] - alone[name]).max() < 1e-6, name
    assert np.abs(run.energy_residual).max() < 1e-6


def test_an_automatic_run_goes_on_from_its_file(switched):
    run, path = switched
    with xarray.open_dataset(path) as stored:
        assert stored.stage.dtype == np.int8 and np.array_equal(stored.stage, run.stage)
    further = go(SQUEEZED, sf.Characteristics(degree=39), [1.0, 1.1], initial=path)
    assert np.array_equal(further.position.values[0], run.position.values[-1])
    early = run.isel(time=run.stage.values == 0)  # the end of the first stage holds its state
    again = go(SQUEEZED, SPECTRAL, [early.time.values[-1], 0.9], initial=early)
    assert np.abs(again.spectrum.values[0] - early.spectrum.values[-1]).max() < 1e-14


def test_a_density_too_narrow_for_harmonics_goes_to_characteristics_at_once():
    narrow = sf.VonMisesFisher([0, 0, 1], 1000.0)
    problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), narrow)
    run = go(problem, SMALL, [0.0, 0.1, 0.2])
    assert run.attrs["status"] == "completed" and (run.stage == 1).all()
    assert "density" not in run and "switch_time" not in run.attrs
    # The nodes carry the density itself, not what harmonics to degree 23 know of it.
    exact = narrow.log_density(run.position.values[0])
    assert np.abs(run.log_density.values[0] - exact).max() < 1e-11


def test_auto_without_need_is_the_spectral_scheme_and_with_diffusion_ends_like_it():
    resolved = go(MILD, sf.Auto(lmax=31, spectrum_degree=8), [0.0, 0.2])
    spectral = sf.Auto(lmax=31, spectrum_degree=8).spectral(1e-6)
    assert np.array_equal(resolved.spectrum, go(MILD, spectral, [0.0, 0.2]).spectrum)
    assert (resolved.stage == 0).all() and "switch_time" not in resolved.attrs
    problem = sf.TransformerPDE(sf.FixedHeads(4 * np.eye(3)), WIDE, diffusion=1e-3)
    ended = go(problem, SMALL, [0.0, 0.5, 3.0])
    assert ended.attrs["status"] == "under-resolved" and (ended.stage == 0).all()
    assert "add diffusion" in ended.attrs["status_reason"]


def test_the_word_auto_is_that_scheme():
    problem = sf.TransformerPDE(None, WIDE, diffusion=1.0)
    word = go(problem, "auto", [0.0, 0.1])
    assert np.array_equal(word.spectrum, go(problem, sf.Auto(), [0.0, 0.1]).spectrum)
    assert json.loads(word.attrs["experiment"])["scheme"]["kind"] == "auto"
    for bad in ("automatic", sf.Auto, None):
        with pytest.raises(InputError, match="scheme"):
            go(problem, bad, [0.1])


# Experiment files

TOML = """
[density]
kind = "von_mises_fisher"
mean = [0.3, -0.5, 0.8]
concentration = 1.5

[heads]
kind = "fixed_heads"
logits = [[[2, 0, 0], [0, 2, 0], [0, 0, 2]]]

[scheme]
kind = "auto"
lmax = 23
lmax_max = 23
degree = 9
degree_max = 9

[run]
t_end = 3.0
save_every = 0.5
rtol = 1e-4
initial = "first.nc"

[[run.stop]]
kind = "clustered"
radius = 0.2

[[run.stop]]
kind = "wall_time"
seconds = 1000
"""


def test_auto_stop_rules_and_initial_runs_in_files(tmp_path):
    (tmp_path / "run.toml").write_text(TOML, encoding="utf-8")
    first = go(SQUEEZED, SPECTRAL, [0.0, 0.25], output=tmp_path / "first.nc")
    experiment = load_experiment(tmp_path / "run.toml")
    assert experiment.scheme == sf.Auto(lmax=23, lmax_max=23, degree=9, degree_max=9)
    assert experiment.run["stop"] == [sf.Clustered(0.2), sf.WallTime(1000)]
    run = experiment.solve(output=tmp_path / "second.nc")
    assert run.attrs["status"] == "clustered" and float(run.time[0]) == 0.25
    assert np.abs(run.spectrum.values[0, :81] - first.spectrum.values[-1]).max() < 1e-12
    # The file of the run repeats it, rules and initial run included.
    again = load_experiment(tmp_path / "second.nc")
    assert again.scheme == experiment.scheme and again.run["stop"] == experiment.run["stop"]
    repeated = again.solve()
    for name in ("spectrum", "position", "energy_residual"):
        assert np.array_equal(run[name], repeated[name], equal_nan=True), name
    assert np.array_equal(run.time, repeated.time)


@pytest.mark.parametrize(
    ("run", "word"),
    [
        ({"stop": {"kind": "clustered"}}, "run.stop"),
        ({"stop": [{"kind": "clusterd"}]}, "clustered"),
        ({"stop": [{"kind": "clustered", "radius": -1.0}]}, "radius"),
        ({"stop": [{"kind": "clustered", "raduis": 0.1}]}, "radius"),
    ],
)
def test_bad_run_tables_are_refused(run, word):
    config = {"density": {"kind": "uniform"}, "scheme": {"kind": "auto"}}
    config["run"] = {"t_end": 1.0, **run}
    with pytest.raises(ConfigurationError, match=word):
        experiment_from_config(config)
