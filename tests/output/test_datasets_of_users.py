"""Runs that were joined, cut, cast or stripped, and `join`."""

import numpy as np
import pytest
import xarray as xr

import sphereflow as sf
from sphereflow.diagnostics import clusters
from sphereflow.errors import InputError

PROBLEM = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 2.0))
SCHEMES = {
    "spectral": sf.Spectral(lmax=31),
    "cells": sf.FiniteVolume(level=2),
    "tokens": sf.Particles(60, dt=0.05, seed=1),
    "characteristics": sf.Characteristics(23, 35),
}


def goes_on(scheme):
    """The scheme that goes on: tokens are taken as they are."""
    return sf.Particles(dt=0.05, seed=1) if isinstance(scheme, sf.Particles) else scheme


def solve(scheme, t_end, initial=None):
    scheme = scheme if initial is None else goes_on(scheme)
    return sf.solve(PROBLEM, t_end=t_end, scheme=scheme, save_every=0.1, initial=initial)


@pytest.fixture(scope="module", params=SCHEMES)
def runs(request):
    scheme = SCHEMES[request.param]
    first = solve(scheme, 0.2)
    second = solve(scheme, 0.4, first)
    return scheme, first, second, solve(scheme, 0.5, second)


def assert_goes_on(runs, start, tolerance=1e-14):
    """The run from this start is the one from the dataset that `solve` returned."""
    scheme, *_, expected = runs
    found = solve(scheme, 0.5, start)
    for name in ("energy", "energy_transport_integral", "spectrum"):
        np.testing.assert_allclose(found[name], expected[name], atol=tolerance, rtol=0)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_runs_joined_by_xarray(runs):
    _, first, second, _ = runs
    rest = second.isel(time=slice(1, None))
    for how in ({"data_vars": "all"}, {"data_vars": "minimal", "coords": "minimal"}):
        how = {"compat": "override", **how} if "coords" in how else how
        if how["data_vars"] == "minimal" and "final_spectrum" in first:
            continue  # it keeps that of the first
        assert_goes_on(runs, xr.concat([first, rest], "time", **how))


def test_one_time(runs):
    assert_goes_on(runs, runs[2].sel(time=0.4))
    assert_goes_on(runs, runs[2].isel(time=[-1]))


def test_without_attributes(runs):
    assert_goes_on(runs, runs[2].drop_attrs())


def test_another_order_of_dimensions(runs):
    assert_goes_on(runs, runs[2].transpose(*reversed(list(runs[2].dims))))


def test_a_path_of_length_one(runs):
    moving = runs[2][[name for name, v in runs[2].data_vars.items() if "time" in v.dims]]
    assert_goes_on(runs, runs[2].assign(moving.expand_dims("path").data_vars))


def test_single_precision(runs):
    assert_goes_on(runs, runs[2].astype("float32"), 1e-6)


def test_they_are_compared_drawn_and_clustered(runs):
    _, first, second, _ = runs
    for run in (second.drop_attrs(), second.sel(time=0.4), sf.join([first, second])):
        same = sf.compare(run, second, transport=False)
        assert float(np.abs(same["sobolev"]).max()) < 1e-14
        sf.plot(run)
        clusters(run)


class TestJoin:
    def test_it_is_the_run_that_was_not_interrupted(self, runs):
        _, first, second, _ = runs
        whole = sf.join([first, second])
        np.testing.assert_allclose(whole["time"], [0.0, 0.1, 0.2, 0.3, 0.4])
        for name, variable in second.data_vars.items():
            if "time" in variable.dims:
                np.testing.assert_array_equal(whole[name].isel(time=slice(0, 3)), first[name])
                np.testing.assert_array_equal(whole[name].isel(time=slice(2, 5))[1:], variable[1:])
        assert whole.attrs == second.attrs
        assert_goes_on(runs, whole)

    def test_from_files(self, runs, tmp_path):
        files = []
        for number, run in enumerate(runs[1:3]):
            run.to_netcdf(tmp_path / f"{number}.nc")
            files.append(tmp_path / f"{number}.nc")
        sf.join(files).to_netcdf(tmp_path / "whole.nc")
        assert_goes_on(runs, tmp_path / "whole.nc")

    def test_gaps_stay_and_one_run_is_itself(self, runs):
        _, first, second, _ = runs
        cut = sf.join([first.isel(time=slice(2)), second.isel(time=slice(1, None))])
        np.testing.assert_allclose(cut["time"], [0.0, 0.1, 0.3, 0.4])
        np.testing.assert_array_equal(sf.join([first])["energy"], first["energy"])

    def test_what_does_not_fit_is_said(self, runs):
        _, first, second, _ = runs
        with pytest.raises(InputError, match="in the order of time"):
            sf.join([second, first])
        with pytest.raises(InputError, match="list of at least one dataset"):
            sf.join([])
        with pytest.raises(InputError, match="list of at least one dataset"):
            sf.join("a.nc")
        coarse = sf.solve(PROBLEM, t_end=0.2, scheme=sf.FiniteVolume(1), save_every=0.1)
        if "face" in first.dims:
            with pytest.raises(InputError, match=r"must have the same (harmonic|face|node)"):
                sf.join([coarse, second])


def test_a_full_spectrum_of_another_time_is_not_taken():
    """Only where it begins as the spectrum of that time is it the end of the run."""
    run = solve(SCHEMES["spectral"], 0.2)
    with pytest.raises(InputError, match="initial must end where its run ended"):
        solve(SCHEMES["spectral"], 0.5, run.isel(time=slice(2)))
    with pytest.raises(InputError, match="initial must end where its run ended"):
        solve(SCHEMES["spectral"], 0.5, run.drop_attrs().isel(time=slice(2)))


def test_several_runs_in_one_dataset_are_refused_with_a_sentence():
    tokens = solve(SCHEMES["tokens"], 0.2)
    many = xr.concat([tokens, tokens], "seed")
    for use in (sf.plot, clusters, lambda run: solve(SCHEMES["tokens"], 0.5, run)):
        with pytest.raises(InputError, match=r"isel\(seed=0\)"):
            use(many)
