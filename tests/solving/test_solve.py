"""The solve loop: output times, statuses, stop rules, errors before the run, the dataset."""

import json
import os

import numpy as np
import pytest
import xarray

import sphereflow as sf
from sphereflow.errors import InputError, OutputError, ResolutionError

START = sf.VonMisesFisher([0, 0, 1], 2.0)
PROBLEM = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), START, flow="descent")
SMALL = sf.Spectral(lmax=15)


def test_output_times_are_hit_exactly():
    run = sf.solve(PROBLEM, t_end=0.25, scheme=SMALL, save_every=0.1)
    assert np.allclose(run.time, [0.0, 0.1, 0.2, 0.25], rtol=0, atol=1e-15)
    times = [0.03, 0.11, 0.2]
    assert np.array_equal(
        sf.solve(PROBLEM, t_end=0.25, scheme=SMALL, save_at=times).time.values, times
    )


def test_outputs_do_not_change_the_solution():
    sparse = sf.solve(PROBLEM, t_end=0.3, scheme=SMALL, save_at=[0.3], rtol=1e-9)
    dense = sf.solve(PROBLEM, t_end=0.3, scheme=SMALL, save_every=0.01, rtol=1e-9)
    assert np.abs(sparse.spectrum[-1] - dense.spectrum[-1]).max() < 1e-10


def test_output_times_may_be_close_together():
    times = [0.1, 0.1 + 1e-12, 0.1 + 2e-9, 0.2, 0.3]
    plain = sf.solve(PROBLEM, t_end=0.3, scheme=SMALL, save_at=[0.1, 0.2, 0.3], rtol=1e-9)
    close = sf.solve(PROBLEM, t_end=0.3, scheme=SMALL, save_at=times, rtol=1e-9)
    assert np.array_equal(close.time, times)
    assert np.abs(close.spectrum[-1] - plain.spectrum[-1]).max() < 1e-10
    assert close.attrs["final_field_evaluations"] < plain.attrs["final_field_evaluations"] + 8
    assert np.abs(close.energy_residual).max() < 1e-9


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"t_end": 0.0}, "t_end"),
        ({"t_end": np.nan}, "t_end"),
        ({"t_end": 1.0, "save_every": -0.1}, "save_every"),
        ({"t_end": 1.0, "save_every": 2.0}, "save_every"),
        ({"t_end": 1.0, "save_at": [0.5, 1.5]}, "save_at"),
        ({"t_end": 1.0, "save_at": []}, "save_at"),
        ({"t_end": 1.0, "save_at": [0.5], "save_every": 0.1}, "save_at"),
        ({"t_end": 1.0, "rtol": 0.5}, "rtol"),
    ],
)
def test_bad_run_options_are_refused(options, word):
    with pytest.raises(InputError, match=word):
        sf.solve(PROBLEM, scheme=SMALL, **options)


def test_bad_problems_are_refused():
    with pytest.raises(InputError, match="flow"):
        sf.TransformerPDE(None, START, flow="up")
    with pytest.raises(InputError, match="diffusion"):
        sf.TransformerPDE(None, START, diffusion=-1.0)
    with pytest.raises(InputError, match="drift"):
        sf.TransformerPDE(None, START, drift=np.eye(2))
    with pytest.raises(InputError, match="heads"):
        sf.TransformerPDE(np.eye(3), START)
    with pytest.raises(InputError, match="density"):
        sf.TransformerPDE(None, 3.0)
    with pytest.raises(InputError, match="negative"):
        bad = sf.TransformerPDE(None, lambda x: x[..., 2])
        sf.solve(bad, t_end=1.0, scheme=SMALL)
    with pytest.raises(InputError, match="integral"):
        bad = sf.TransformerPDE(None, lambda x: 0.0 * x[..., 2])
        sf.solve(bad, t_end=1.0, scheme=SMALL)
    with pytest.raises(InputError, match="drift"):
        bad = sf.TransformerPDE(None, START, drift=lambda x, t: x[:, 0])
        sf.solve(bad, t_end=1.0, scheme=SMALL)
    with pytest.raises(InputError, match="tabulated"):
        heads = sf.TabulatedHeads([0.0, 0.5], np.zeros((2, 1, 3, 3)))
        sf.solve(PROBLEM.with_heads(heads), t_end=1.0, scheme=SMALL)


def test_unwritable_output_is_found_before_the_run(tmp_path):
    called = []
    for path in (tmp_path / "missing" / "run.nc", tmp_path):
        with pytest.raises(OutputError):
            sf.solve(
                PROBLEM,
                t_end=0.1,
                scheme=SMALL,
                output=path,
                progress=lambda *report: called.append(report),
            )
    assert not called


def test_a_device_is_not_replaced_by_a_file():
    with pytest.raises(OutputError, match="regular file"):
        sf.solve(PROBLEM, t_end=0.1, scheme=SMALL, output=os.devnull)


def test_progress_and_stop_rules():
    reports = []

    def half_way(t, record):
        return "half way" if t > 0.045 else None

    run = sf.solve(
        PROBLEM,
        t_end=0.1,
        scheme=SMALL,
        save_every=0.01,
        progress=lambda t, t_end, information: reports.append((t, information["lmax"])),
        stop=[half_way],
    )
    assert run.attrs["status"] == "stopped"
    assert run.attrs["status_reason"].startswith("half way at t = 0.05")
    assert float(run.time[-1]) == pytest.approx(0.05)
    assert [t for t, _ in reports] == sorted(t for t, _ in reports)


def test_an_interrupted_run_keeps_its_output(tmp_path):
    def interrupt(t, t_end, information):
        if t > 0.05:
            raise KeyboardInterrupt

    path = tmp_path / "run.nc"
    run = sf.solve(
        PROBLEM, t_end=0.1, scheme=SMALL, save_every=0.01, progress=interrupt, output=path
    )
    assert run.attrs["status"] == "interrupted"
    with xarray.open_dataset(path) as stored:
        assert stored.sizes["time"] == run.sizes["time"] >= 5


def test_the_file_has_the_documented_layout(tmp_path):
    path = tmp_path / "run.nc"
    run = sf.solve(PROBLEM, t_end=0.1, scheme=SMALL, save_every=0.05, output=path)
    with xarray.open_dataset(path) as stored:
        assert stored.density.dims == ("time", "lat", "lon")
        assert stored.density.attrs["units"] == "sr-1"
        assert stored.lat.attrs["units"] == "degrees_north"
        assert stored.spectrum.dims == ("time", "harmonic")
        assert stored.head_logits.dims == ("time", "head", "row", "column")
        assert stored.first_moment.dims == ("time", "axis")
        assert stored.second_moment.dims == ("time", "axis", "axis2")
        assert stored.attrs["Conventions"] == "CF-1.11"
        for name in ("title", "source", "history", "references", "date_created", "backend"):
            assert stored.attrs[name]
        for name in stored.data_vars:
            assert stored[name].attrs["units"] and stored[name].attrs["long_name"]
        assert np.array_equal(stored.density, run.density)
        configuration = json.loads(stored.attrs["experiment"])
    assert configuration["scheme"]["lmax"] == 15
    assert configuration["problem"]["flow"] == "descent"
    # Degree 1 of the spectrum is √(3/4π) times the first moment in the order y, z, x.
    scaled = np.sqrt(3 / (4 * np.pi)) * run.first_moment.values[:, [1, 2, 0]]
    assert np.abs(run.spectrum.values[:, 1:4] - scaled).max() < 1e-14


def test_the_run_can_be_repeated_from_its_attribute():
    from sphereflow.experiments.experiment import experiment_from_config

    run = sf.solve(PROBLEM, t_end=0.1, scheme=SMALL, save_every=0.05)
    again = experiment_from_config(json.loads(run.attrs["experiment"]))
    repeated = sf.solve(again.problem, scheme=again.scheme, **again.run)
    assert np.array_equal(run.spectrum, repeated.spectrum)


def test_the_dataset_gives_back_its_field():
    run = sf.solve(PROBLEM, t_end=0.1, scheme=SMALL, save_every=0.05, rtol=1e-9)
    field = sf.attention_field(run, PROBLEM.heads, t=0.1)
    assert field.energy() == pytest.approx(float(run.energy[-1]), rel=1e-8)
    assert field.slope_squared() == pytest.approx(float(run.slope_squared[-1]), rel=1e-7)


def test_a_truncated_spectrum_is_not_taken_for_the_density():
    narrow = sf.TransformerPDE(None, sf.VonMisesFisher([0, 0, 1], 200.0))
    run = sf.solve(narrow, t_end=0.1, scheme=sf.Spectral(lmax=63), save_at=[0.0])
    unit = sf.attention_field(run, sf.FixedHeads(np.eye(3)))
    exact = sf.attention_field(narrow.density, sf.FixedHeads(np.eye(3)))
    points = np.eye(3)
    assert np.abs(unit.mobility(points) / exact.mobility(points) - 1).max() < 1e-12
    with pytest.raises(ResolutionError, match="degree 32"):
        sf.attention_field(run, sf.FixedHeads(20 * np.eye(3))).velocity(points)


def test_import_is_quick_because_it_is_lazy():
    import subprocess
    import sys

    heavy = ("numba", "xarray", "shtns", "matplotlib", "scipy.sparse", "scipy.spatial")
    code = f"import sys, sphereflow; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
