"""Runs of large arrays are repeated from their own file, to the last bit."""

import json
import shutil

import netCDF4
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import sphereflow as sf
from sphereflow.cli import app
from sphereflow.errors import ConfigurationError
from sphereflow.experiments.experiment import experiment_from_config, load_experiment
from sphereflow.output.arrays import with_arrays
from sphereflow.output.provenance import experiment_attribute
from sphereflow.output.reading import open_run

START = sf.VonMisesFisher([0, 0, 1], 2.0)
SHORT = {"t_end": 0.1, "save_every": 0.1}


def tokens():
    rng = np.random.default_rng(7)
    points = rng.standard_normal((20_001, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    density = sf.EmpiricalDensity(points, rng.dirichlet(np.ones(20_001)))
    problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), density)
    return problem, sf.Particles(dt=0.1), {"experiment_density_positions"}


def parts_of_a_mixture():
    problem, *_ = tokens()
    wide = sf.EmpiricalDensity(problem.density.positions, bandwidth=0.5)
    mixture = sf.Mixture([START, wide], [0.25, 0.75])
    problem = sf.TransformerPDE(None, mixture, diffusion=0.1)
    return problem, sf.Spectral(23), {"experiment_density_components_1_positions"}


def many_heads():
    rng = np.random.default_rng(8)
    logits, values = rng.normal(size=(2, 7000, 3, 3))
    heads = sf.FixedHeads(logits, values, rng.dirichlet(np.ones(7000)))
    names = {"experiment_heads_logits", "experiment_heads_values"}
    return sf.TransformerPDE(heads, START), sf.Particles(20, 0.1, seed=1), names


def tabulated_heads():
    logits = np.random.default_rng(9).normal(size=(700, 10, 3, 3))
    heads = sf.TabulatedHeads(np.linspace(0, 1, 700), logits)
    names = {"experiment_heads_logits", "experiment_heads_values"}
    return sf.TransformerPDE(heads, START), sf.Particles(20, 0.1, seed=1), names


def a_long_series():
    coefficients = np.zeros(251**2)
    coefficients[0] = 1 / np.sqrt(4 * np.pi)
    coefficients[1:16] = 0.01 * np.random.default_rng(10).normal(size=15)
    problem = sf.TransformerPDE(None, sf.HarmonicDensity(coefficients), diffusion=0.1)
    return problem, sf.Spectral(23, lmax_max=23), {"experiment_density_coefficients"}


CASES = [tokens, parts_of_a_mixture, many_heads, tabulated_heads, a_long_series]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_run_is_repeated_from_its_file(case, tmp_path):
    problem, scheme, names = case()
    first = sf.solve(problem, scheme=scheme, output=tmp_path / "run.nc", **SHORT)
    with xr.open_dataset(tmp_path / "run.nc") as saved:
        found = {name for name in saved.data_vars if name.startswith("experiment_")}
        assert found == names
        assert len(saved.attrs["experiment"]) < 3_000_000
    done = CliRunner().invoke(
        app, ["run", str(tmp_path / "run.nc"), "-o", str(tmp_path / "again.nc"), "-q"]
    )
    assert done.exit_code == 0, done.stderr
    again = open_run(tmp_path / "again.nc")
    for name in first.data_vars:
        np.testing.assert_array_equal(first[name], again[name], err_msg=str(name))
    assert first.attrs["experiment"] == again.attrs["experiment"]


def test_the_growing_file_and_a_resumed_run_have_them(tmp_path):
    problem, scheme, _ = tokens()
    seen = []

    def look(t, record):
        with xr.open_dataset(tmp_path / "run.nc") as growing:
            seen.append(growing["experiment_density_positions"].values)
        return "enough" if t > 0 else None

    look.status = "wall-time"
    options = {"scheme": scheme, "output": tmp_path / "run.nc", "checkpoint": 1.0, **SHORT}
    sf.solve(problem, stop=[look], **options)
    assert len(seen) == 2
    np.testing.assert_array_equal(seen[0], problem.density.positions)
    resumed = sf.solve(problem, resume=True, **options)
    assert resumed.attrs["status"] == "completed"
    np.testing.assert_array_equal(
        resumed["experiment_density_positions"], problem.density.positions
    )


def test_they_are_no_results(tmp_path):
    """Runs that were joined, cut or continued take them along and take nothing from them."""
    problem, scheme, _ = tokens()
    first = sf.solve(problem, scheme=scheme, **SHORT)
    more = {"t_end": 0.2, "save_every": 0.1, "scheme": scheme}
    second = sf.solve(problem, initial=first.isel(time=-1), **more)
    joined = sf.join([first, second])
    assert joined["experiment_density_positions"].dims[0] == "experiment_density_positions_0"
    by_hand = open_run(xr.concat([first, second.isel(time=[1])], "time", data_vars="all"))
    assert "time" not in by_hand["experiment_density_positions"].dims
    report = sf.compare(first, first, transport=False)
    assert report.attrs["different"] == ""
    assert not [name for name in report.variables if "experiment_" in str(name)]


def test_another_array_is_another_density(tmp_path):
    problem, scheme, _ = tokens()
    points = problem.density.positions.copy()
    points[0] = -points[0]
    other = sf.TransformerPDE(problem.heads, sf.EmpiricalDensity(points, problem.density.weights))
    runs = [sf.solve(one, scheme=scheme, **SHORT) for one in (problem, other)]
    assert sf.compare(*runs, transport=False).attrs["different"] == "density"


def test_an_array_that_changed_is_refused(tmp_path):
    problem, scheme, _ = tokens()
    sf.solve(problem, scheme=scheme, output=tmp_path / "run.nc", **SHORT)
    shutil.copy(tmp_path / "run.nc", tmp_path / "changed.nc")
    with netCDF4.Dataset(tmp_path / "changed.nc", "a") as file:
        file["experiment_density_positions"][5, 1] = 0.25
    with pytest.raises(ConfigurationError, match="'experiment_density_positions' has changed"):
        load_experiment(tmp_path / "changed.nc")
    with xr.open_dataset(tmp_path / "run.nc") as run:
        run.drop_vars("experiment_density_positions").to_netcdf(tmp_path / "without.nc")
        config = json.loads(run.attrs["experiment"])
    with pytest.raises(ConfigurationError, match="experiment_density_positions not found"):
        load_experiment(tmp_path / "without.nc")
    with pytest.raises(ConfigurationError, match="give that file to load_experiment"):
        experiment_from_config(config)


def test_a_run_is_swept_from_its_file(tmp_path):
    problem, scheme, _ = many_heads()
    sf.solve(problem, scheme=scheme, output=tmp_path / "run.nc", **SHORT)
    runs = sf.sweep(tmp_path / "run.nc", tmp_path / "out", vary={"scheme.seed": [1, 2]})
    assert (runs["status"] == "completed").all()
    assert not [name for name in runs.variables if str(name).startswith("experiment_")]
    once_more = sf.sweep(tmp_path / "run.nc", tmp_path / "out", vary={"scheme.seed": [1, 2]})
    np.testing.assert_array_equal(runs["energy"], once_more["energy"])


def test_small_arrays_stay_in_the_text_and_many_times_do_not():
    problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), START)
    times = np.linspace(0.0, 1.0, 60_001)
    text, arrays = experiment_attribute(problem, sf.Spectral(15), {"save_at": times.tolist()}, {})
    assert json.loads(text)["heads"]["logits"] == [np.eye(3).tolist()]
    assert list(arrays) == ["experiment_run_save_at"] and len(text) < 3000
    np.testing.assert_array_equal(arrays["experiment_run_save_at"], times)
    whole = with_arrays(json.loads(text), arrays.get)
    np.testing.assert_array_equal(whole["run"]["save_at"], times)
