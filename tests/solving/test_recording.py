"""The records of a run in memory, and in a file that grows with them."""

import tracemalloc

import numpy as np
import pytest
import xarray as xr

import sphereflow as sf
from sphereflow.output import netcdf
from sphereflow.solving import recording

START = sf.VonMisesFisher([0, 0.6, 0.8], 2.0)
HEADS = sf.FixedHeads(np.diag([1.0, 0.5, 2.0]))
SCHEMES = {
    "spectral": sf.Spectral(15),
    "cells": sf.FiniteVolume(1),
    "nodes": sf.Characteristics(15, 15, None),
    "tokens": sf.Particles(20, 0.05, seed=1),
    "paths": sf.Particles(20, 0.05, seed=1, paths=3),
    "auto": sf.Auto(lmax=15, lmax_max=15),
}


def solved(scheme, **options):
    problem = sf.TransformerPDE(HEADS, START)
    return sf.solve(problem, scheme=scheme, save_every=0.1, **{"t_end": 1.0, **options})


def assert_same(first, second):
    """Apart from the corners that pentagons lack, which xarray reads as NaN."""
    first, second = (
        run.drop_vars("face_nodes", errors="ignore").drop_attrs(deep=False)
        for run in (first, second)
    )
    xr.testing.assert_identical(first, second)
    for name, variable in first.variables.items():
        if variable.dtype.kind != "O":  # the labels of axes
            assert variable.dtype == second[name].dtype, name


@pytest.mark.parametrize("pause", [0.0, 1e9])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_file_holds_what_memory_holds(tmp_path, monkeypatch, scheme, pause):
    """However many times are written together."""
    monkeypatch.setattr(recording, "PAUSE", pause)
    run = solved(SCHEMES[scheme], output=tmp_path / "run.nc")
    assert_same(run, solved(SCHEMES[scheme]))
    assert_same(xr.load_dataset(tmp_path / "run.nc"), run)


def test_the_dataset_of_a_file_is_read_where_it_is_used(tmp_path):
    run = solved(SCHEMES["spectral"], output=tmp_path / "run.nc")
    assert not run["density"].variable._in_memory
    assert run.encoding["source"] == str(tmp_path / "run.nc")
    assert run["density"].isel(time=3).shape == (32, 64)


def test_memory_does_not_grow_with_the_number_of_outputs(tmp_path, monkeypatch):
    """Of 400 outputs little more is held than of 100."""
    monkeypatch.setattr(recording, "WAITING", 1 << 18)
    monkeypatch.setattr(netcdf, "CHUNK", 1 << 15)

    def peak(outputs):
        times = np.linspace(0.0, 1.0, outputs)
        problem = sf.TransformerPDE(None, START, diffusion=0.1)
        options = {"scheme": sf.Spectral(31), "save_at": times, "output": tmp_path / "run.nc"}
        tracemalloc.start()
        run = sf.solve(problem, t_end=1.0, **options)
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert run.sizes["time"] == outputs
        return held, run.nbytes

    peak(3)  # what is imported and kept in caches is there then
    (few, _), (many, size) = peak(100), peak(400)
    assert many - few < 0.1 * size


def test_records_that_wait_are_written_before_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "PAUSE", 1e9)
    output = tmp_path / "run.nc"
    options = {"output": output, "checkpoint": sf.Checkpoint(steps=1), "resume": True}
    part = solved(
        SCHEMES["tokens"], stop=[lambda t, record: "enough" if t > 0.55 else None], **options
    )
    assert part.sizes["time"] == 7 and part.attrs["status"] == "stopped"
