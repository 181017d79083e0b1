"""Some draws of `validation/25_damaged_files.py`, and what a run must be, value by value."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import sphereflow as sf
from sphereflow.diagnostics import clusters
from sphereflow.errors import InputError
from sphereflow.figures.slopes import head_count
from sphereflow.output.reading import open_run

SCRIPT = Path(__file__).parents[2] / "validation" / "damaged_files.py"
spec = importlib.util.spec_from_file_location("damaged_files", SCRIPT)
cases = importlib.util.module_from_spec(spec)
sys.modules["damaged_files"] = cases
spec.loader.exec_module(cases)


def test_damaged_files_give_a_right_result_or_a_sentence(tmp_path):
    # Draws after those of the script, so that the two do not see the same cases.
    found = cases.outcomes(range(100_000, 100_030), tmp_path)
    assert len(found) == 30
    assert {outcome for _, outcome, _ in found} >= {"used", "refused"}
    # The netCDF library may end a process on a file whose bytes are damaged.
    wrong = [one for one in found if one[1] in ("escaped", "accepted")]
    assert not wrong
    assert not [one for one in found if one[1] == "ended" and one[0] != "bytes"]


@pytest.fixture(scope="module")
def runs():
    return {name: cases.solved(scheme) for name, scheme in cases.SCHEMES.items()}


READERS = {
    "initial": lambda run: cases.solved(sf.Spectral(lmax=15), 0.2, initial=run),
    "compare": lambda run: sf.compare(run, run, transport=False),
    "clusters": clusters,
    "plot": sf.plot,
    "join": lambda run: sf.join([run]),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("scheme", "change", "reason"),
    [
        ("cells", lambda run: {"density": -run.density}, "cell means of at least 0"),
        ("cells", lambda run: {"density": run.density - 0.1}, "cell means of at least 0"),
        ("cells", lambda run: {"density": run.density * np.inf}, "finite values"),
        ("spectral", lambda run: {"density": -run.density}, "not negative everywhere"),
        ("tokens", lambda run: {"token_weight": ("token", -np.ones(40))}, "weights of at least 0"),
        ("tokens", lambda run: {"token_weight": ("token", np.full(40, np.nan))}, "finite weights"),
        ("tokens", lambda run: {"token_weight": ("token", np.zeros(40))}, "not all 0"),
        ("tokens", lambda run: {"position": 2.0 * run.position}, "unit vectors"),
        ("tokens", lambda run: {"position": 0.0 * run.position}, "unit vectors"),
        ("spectral", lambda run: {"spectrum": 2.0 * run.spectrum}, "mass 1"),
        (
            "spectral",
            lambda run: {"spectrum": run.spectrum.where(run.degree != 1)},
            "finite coefficients",
        ),
        ("spectral", lambda run: {"spectrum": run.spectrum > 0}, "the type bool"),
        ("spectral", lambda run: {"energy": run.energy.astype(str)}, "the type <U"),
        ("spectral", lambda run: {"energy": run.energy[-1].drop_vars("time")}, "dimensions"),
        (
            "cells",
            lambda run: {"density": run.density.assign_attrs(units="m-2")},
            "units 'sr-1', got 'm-2'",
        ),
    ],
)
def test_what_no_run_holds_is_refused(runs, reader, scheme, change, reason):
    run = runs[scheme]
    with pytest.raises(InputError, match=reason):
        READERS[reader](run.assign(change(run)))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("scheme", "select", "reason"),
    [
        ("tokens", {"axis": slice(2)}, "3 entries of 'axis', got 2"),
        ("tokens", {"axis": [1, 0, 2]}, "x, y and z as 'axis' in this order"),
        ("spectral", {"axis": slice(2)}, "3 entries of 'axis', got 2"),
        ("spectral", {"axis2": slice(2)}, "3 entries of 'axis2', got 2"),
        ("characteristics", {"row": slice(2)}, "3 entries of 'row', got 2"),
        ("spectral", {"harmonic": slice(5)}, "all orders of each degree"),
        ("spectral", {"lat": 3}, r"isel\(lat=\[0\]\)"),
    ],
)
def test_parts_that_are_no_run_are_refused(runs, reader, scheme, select, reason):
    with pytest.raises(InputError, match=reason):
        READERS[reader](runs[scheme].isel(select))


@pytest.mark.parametrize("name", ["lat", "lon"])
def test_places_in_radians_are_refused(runs, name):
    run = runs["spectral"].copy()
    run[name].attrs["units"] = "radians"
    with pytest.raises(InputError, match="in degrees, got the units 'radians'"):
        open_run(run)


def test_harmonics_in_another_order_are_sorted(runs):
    run = runs["spectral"]
    mixed = run.isel(harmonic=np.random.default_rng(0).permutation(run.sizes["harmonic"]))
    np.testing.assert_array_equal(open_run(mixed)["spectrum"], run["spectrum"])


def test_weights_of_another_sum_are_normalised(runs):
    run = runs["tokens"]
    part = run.isel(token=slice(10))
    np.testing.assert_allclose(clusters(part)["mass"].sum("cluster"), 1.0, rtol=1e-12)
    scaled = run.assign_coords(token_weight=7.0 * run.token_weight)
    report, expected = (sf.compare(one, runs["spectral"]) for one in (scaled, run))
    for name in ("sobolev", "sobolev_expected", "w2", "clusters"):
        np.testing.assert_allclose(report[name], expected[name], rtol=1e-12)


@pytest.mark.parametrize(
    "text", ["x", "[]", "3", '{"heads": 3}', '{"heads": {"logits": [[1], 2]}}']
)
def test_foreign_experiments(runs, text):
    for run in (runs["spectral"], runs["tokens"]):
        run = run.assign_attrs(experiment=text).drop_vars("energy_transport_integral")
        same = sf.compare(run, run, transport=False)
        assert float(same["sobolev"].max()) == 0.0
        sf.plot(run)
        assert head_count(run) == 1
        assert head_count(xr.Dataset(attrs=run.attrs)) in (None, 1)


def test_foreign_times_of_the_full_spectrum(runs):
    run = runs["spectral"].isel(time=slice(2)).copy()
    run["final_spectrum"].attrs["time"] = "long ago"
    with pytest.raises(InputError, match="at t = 'long ago'"):
        cases.solved(sf.Spectral(lmax=15), 0.2, initial=run)


def test_nodes_without_places_are_drawn_by_their_spectrum(runs, tmp_path):
    bare = runs["characteristics"].drop_vars("position")
    assert "smoothed" in sf.plot(bare, "density").axes[-1].get_ylabel()
    assert "smoothed" in sf.view(bare, tmp_path / "a.html").read_text("utf-8")


def test_too_few_cells_are_no_start(runs):
    with pytest.raises(InputError, match="must hold all cells of a mesh"):
        cases.solved(sf.FiniteVolume(level=2), 0.2, initial=runs["cells"].isel(face=slice(100)))
