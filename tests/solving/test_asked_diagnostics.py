"""Diagnostics that a user asks for: in every scheme, in files, after a break, and refused."""

import signal

import numpy as np
import pytest
import xarray as xr

import sphereflow as sf
from sphereflow.errors import ConfigurationError, InputError

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
EDGES = np.linspace(-1.0, 1.0, 3)


def trace(state):
    diagonal = state.second_moment.values.diagonal(axis1=-2, axis2=-1)
    return xr.DataArray(diagonal.sum(-1), dims=("path",) if "path" in state.dims else ())


def by_axis(state):
    return xr.DataArray(
        np.abs(state.first_moment.transpose(..., "axis").values),
        dims=("path", "component") if "path" in state.dims else ("component",),
        coords={"component": [1, 2, 3]},
        attrs={"units": "rad", "long_name": "mine"},
    )


RECORD = {
    "trace": trace,
    "by_axis": by_axis,
    "with_unit": (trace, "m"),
    "R": "order_parameter",
    "cluster_count": "cluster_count",
}


def solved(scheme, **options):
    problem = sf.TransformerPDE(HEADS, START)
    given = {"t_end": 0.5, "record": RECORD, "save_every": 0.1, **options}
    return sf.solve(problem, scheme=scheme, **given)


def interrupted(scheme, **options):
    """A run that a signal has ended."""

    def progress(t, t_end, information):
        if t > 0.25:
            signal.raise_signal(signal.SIGTERM)

    return solved(scheme, progress=progress, **options)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("in_file", [False, True])
def test_they_stand_beside_what_the_scheme_records(scheme, in_file, tmp_path):
    run = solved(SCHEMES[scheme], **({"output": tmp_path / "run.nc"} if in_file else {}))
    first = run.trace.dims
    assert first == (("path", "time") if scheme == "paths" else ("time",))
    tolerance = 1e-3 if scheme == "cells" else 1e-9
    np.testing.assert_allclose(run.trace, 1.0, atol=tolerance)  # |x| = 1
    assert run.with_unit.attrs["units"] == "m"
    assert run.by_axis.dims == (*first, "component")
    assert run.by_axis.attrs == {"units": "rad", "long_name": "mine"}
    assert run.component.values.tolist() == [1, 2, 3]
    np.testing.assert_allclose(run.by_axis, np.abs(run.first_moment.values), rtol=1e-15)
    length = np.sqrt((run.first_moment**2).sum("axis"))
    np.testing.assert_allclose(run.R, length, rtol=1e-14)
    assert "first moment" in run.R.attrs["long_name"]
    assert ((run.cluster_count >= 0) & (run.cluster_count <= 20)).all()


def test_the_number_of_clusters_falls_as_tokens_merge():
    problem = sf.TransformerPDE(sf.FixedHeads(9.0), sf.OctahedralClusters(0.05))
    scheme = sf.Particles(60, None, seed=1)
    run = sf.solve(problem, t_end=2.0, scheme=scheme, save_every=1.0, record=["cluster_count"])
    assert run.cluster_count[0] == 6.0


@pytest.mark.parametrize("scheme", ["spectral", "paths", "auto"])
def test_they_go_on_after_a_break(scheme, tmp_path):
    whole = solved(SCHEMES[scheme])
    options = {"output": tmp_path / "run.nc", "checkpoint": sf.Checkpoint(steps=1), "resume": True}
    part = interrupted(SCHEMES[scheme], **options)
    assert part.attrs["status"] == "terminated" and part.sizes["time"] < 6
    after = solved(SCHEMES[scheme], **options)
    for name in (*RECORD, "energy"):
        np.testing.assert_array_equal(after[name], whole[name])
        assert after[name].dims == whole[name].dims


def test_others_than_before_the_break_are_refused(tmp_path):
    options = {"output": tmp_path / "run.nc", "checkpoint": sf.Checkpoint(steps=1), "resume": True}
    interrupted(SCHEMES["tokens"], **options)
    with pytest.raises(InputError, match="has no 'new'"):
        solved(SCHEMES["tokens"], **{**options, "record": {**RECORD, "new": trace}})


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("order_parameter", "record must be a mapping"),
        ({"energy": trace}, "'energy', a variable of every run"),
        ({"time": trace}, "'time', a variable of every run"),
        ({"two words": trace}, "must be identifiers"),
        ({"x": 3}, r"record\['x'\] must be a function"),
        (["unknown"], r"record\['unknown'\] must be a function"),
        ({"x": lambda state: "text"}, "a real number or an xarray.DataArray"),
        ({"x": lambda state: np.ones(3)}, "name the dimensions"),
        ({"x": lambda state: 1j}, "a real number"),
        ({"x": lambda state: xr.DataArray(np.ones(3), dims="axis2x")}, None),
        ({"x": lambda state: xr.DataArray(np.ones(2), dims="axis")}, "'axis' of length 2"),
        ({"x": lambda state: xr.DataArray(np.ones(2), dims="time")}, "'time' of length 2"),
        ({"x": lambda state: 1 / 0}, "record"),
    ],
)
def test_what_cannot_be_recorded_is_said(record, said):
    if said is None:
        assert solved(SCHEMES["tokens"], record=record).x.shape == (6, 3)
        return
    with pytest.raises(sf.SphereflowError, match=said):
        solved(SCHEMES["tokens"], record=record)


def test_shapes_do_not_change():
    def growing(state):
        return xr.DataArray(np.ones(2 if state.time > 0.3 else 3), dims="n")

    with pytest.raises(InputError, match="same dimensions at all times"):
        solved(SCHEMES["tokens"], record={"growing": growing})


def test_experiment_files_name_those_that_are_there():
    changes = ["run.t_end=0.2", "run.save_every=0.1", "run.record=['order_parameter']"]
    run = sf.load_experiment("rotation", changes).solve()
    assert run.order_parameter.sizes["time"] == 3
    assert '"record": ["order_parameter"]' in run.attrs["experiment"]
    with pytest.raises((ConfigurationError, InputError), match="record"):
        sf.load_experiment("rotation", ["run.record=3"]).solve()
