"""Masked, missing and unwritten entries are refused with their row, wherever arrays enter."""

from __future__ import annotations

import netCDF4
import numpy as np
import pandas
import pytest
import xarray

import sphereflow as sf
from sphereflow.errors import InputError

EYE = np.eye(3)
ROW = np.ma.array(EYE, mask=[[False] * 3, [True] * 3, [False] * 3])
LAST = np.ma.array([0.2, 0.3, 0.5], mask=[False, False, True])
GRID = sf.SphereGrid(7)
TABLE = pandas.DataFrame({"x": [1.0, 0.0, 0.0], "y": [0.0, 1.0, 0.0], "z": [0.0, 0.0, 1.0]})
HEADS = sf.FixedHeads(EYE)


def still(density=None, **options):
    problem = sf.TransformerPDE(None, density or sf.Uniform(), drift=options.pop("drift", EYE))
    return sf.solve(problem, t_end=1.0, scheme=sf.Spectral(31), **options)


@pytest.mark.parametrize(
    ("row", "make"),
    [
        (1, lambda: sf.EmpiricalDensity(ROW)),
        (1, lambda: sf.EmpiricalDensity([ROW[0], ROW[1]])),
        (1, lambda: sf.EmpiricalDensity([[1, 0, 0], [0, None, 0]])),
        (1, lambda: sf.EmpiricalDensity(xarray.DataArray(EYE).where([[True], [False], [True]]))),
        (2, lambda: sf.EmpiricalDensity(TABLE.convert_dtypes().mask(TABLE.z == 1))),
        (2, lambda: sf.EmpiricalDensity(EYE, LAST)),
        (1, lambda: sf.EmpiricalDensity(EYE, [1.0, np.ma.masked, 2.0])),
        (2, lambda: sf.EmpiricalDensity(EYE, pandas.array([1, 2, None], dtype="Int64"))),
        (2, lambda: sf.EmpiricalDensity(EYE, pandas.Series([1.0, 2.0, None]))),
        (1, lambda: sf.FixedHeads(ROW)),
        (1, lambda: sf.FixedHeads(EYE, ROW)),
        (2, lambda: sf.FixedHeads(np.stack([EYE] * 3), weights=LAST)),
        (2, lambda: sf.TabulatedHeads(LAST, np.stack([EYE] * 3))),
        (1, lambda: sf.OrnsteinUhlenbeck(ROW, 1.0)),
        (1, lambda: sf.GaussianHeads(ROW, 1.0)),
        (2, lambda: sf.Normal(LAST, 1.0)),
        (2, lambda: sf.Point(LAST)),
        (1, lambda: sf.TransformerPDE(None, sf.Uniform(), drift=ROW)),
        (2, lambda: sf.Mixture([sf.Uniform()] * 3, LAST)),
        (3, lambda: sf.HarmonicDensity(np.ma.array([1.0, 0, 0, 0], mask=[0, 0, 0, 1]))),
        (2, lambda: sf.VonMisesFisher(LAST, 1.0)),
        (1, lambda: sf.VonMisesFisher(EYE[2], 2.0)(ROW)),
        (1, lambda: sf.attention_field(sf.Uniform(), HEADS).velocity(ROW)),
        (1, lambda: sf.attention_field(ROW, HEADS)),
        (2, lambda: sf.attention_field(EYE, HEADS, weights=LAST)),
        (1, lambda: GRID.at(ROW)),
        (2, lambda: GRID.at(EYE).moments(LAST, 3)),
        (16, lambda: GRID.analysis(np.ma.masked_less(GRID.points[..., 2], 0.0))),
        (1, lambda: still(save_at=np.ma.array([0.0, 0.5, 1.0], mask=[0, 1, 0]))),
        (32, lambda: still(lambda x: np.ma.masked_less(1 + 0.1 * x[..., 2], 1.0))),
        (1, lambda: still(drift=lambda x, t: np.ma.masked_less(np.cross(EYE[2], x), 0.0))),
    ],
)
def test_missing_entries_are_refused_with_their_row(row, make):
    with pytest.raises(InputError, match=rf"row {row} is|at index \({row},"):
        make()


@pytest.mark.parametrize("number", [np.ma.masked, pandas.NA, None])
def test_a_missing_number_is_no_number(number):
    with pytest.raises(InputError, match="concentration must be"):
        sf.VonMisesFisher(EYE[2], number)


def test_whole_tables_and_unmasked_arrays_are_taken():
    for positions in (TABLE, TABLE.convert_dtypes(), TABLE.astype("Float64"), np.ma.array(EYE)):
        np.testing.assert_array_equal(sf.EmpiricalDensity(positions).positions, EYE)


@pytest.mark.parametrize("kind", ["f8", "f4", "i4", "i2"])
@pytest.mark.parametrize("fill", [None, -5])
@pytest.mark.parametrize("form", ["NETCDF4", "NETCDF3_64BIT_OFFSET"])
def test_entries_never_written_to_a_file_are_missing(tmp_path, kind, fill, form):
    path = tmp_path / "tokens.nc"
    for whole in (True, False):
        with netCDF4.Dataset(path, "w", format=form) as file:
            file.createDimension("token", 4)
            file.createDimension("axis", 3)
            position = file.createVariable("position", kind, ("token", "axis"), fill_value=fill)
            weight = file.createVariable("token_weight", kind, ("token",), fill_value=fill)
            position[: 4 if whole else 3] = EYE[[0, 1, 2, 0]][: 4 if whole else 3]
            weight[:3] = 1
        with pytest.raises(InputError, match=r"row 3 is|index \(3,\)"):
            sf.EmpiricalDensity(path)


def test_a_run_whose_last_record_was_not_finished_ends_before_it(tmp_path):
    path = tmp_path / "run.nc"
    run = still(save_every=0.5).drop_encoding()
    run.to_netcdf(path, format="NETCDF3_64BIT", unlimited_dims=["time"])
    with netCDF4.Dataset(path, "a") as file:
        file["mass"][3] = 1.0
    report = sf.compare(path, run, transport=False)
    assert report.time.values.tolist() == [0.0, 0.5, 1.0]


def test_a_run_with_a_missing_token_is_no_start():
    problem = sf.TransformerPDE(HEADS, sf.Uniform())
    scheme = sf.Particles(20, 0.1, seed=1)
    run = sf.solve(problem, t_end=0.1, scheme=scheme, save_every=0.1)
    run["position"][-1, 7] = np.nan
    with pytest.raises(InputError, match="row 7 is"):
        sf.solve(problem, t_end=0.2, scheme=scheme, initial=run)
