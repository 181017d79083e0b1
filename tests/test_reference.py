"""Runs against the datasets in data/reference, made by plain NumPy and SciPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import sphereflow as sf
from sphereflow.errors import InputError
from sphereflow.experiments.experiment import load_experiment

FOLDER = Path(__file__).parent.parent / "data" / "reference"


@pytest.fixture(scope="module")
def reference() -> xr.Dataset:
    return xr.load_dataset(FOLDER / "tokens_ou.nc")


@pytest.mark.parametrize(
    ("summation", "paths", "t_end"), [("direct", 4, 2.0), ("harmonic", 1, 0.5)]
)
def test_reference_ensemble(
    reference: xr.Dataset, summation: str, paths: int, t_end: float
) -> None:
    # Round-off of up to 200 steps, amplified by the flow; 1e-10 is asked of the two sums.
    heads = sf.OrnsteinUhlenbeck(np.eye(3), sigma=1.0).sample(10, seed=7)
    problem = sf.TransformerPDE(heads, sf.OctahedralClusters(spread=0.05), flow="descent")
    scheme = sf.Particles(40, 1e-2, seed=5, paths=paths, summation=summation)
    run = sf.solve(problem, t_end=t_end, scheme=scheme, save_every=0.1)
    expected = reference.sel(time=slice(0.0, t_end + 1e-9))
    expected = expected if paths == 4 else expected.isel(path=0)
    for name in reference.data_vars:
        np.testing.assert_allclose(
            run[name].values, expected[name].values, rtol=0, atol=1e-10, err_msg=str(name)
        )
    assert run.attrs["final_summation"] == summation


# Spectral and characteristics: their tolerance. Finite volumes: second order, the error at level 4.
SCHEMES = {
    "spectral": (sf.Spectral(lmax=63), 1e-8),
    "characteristics": (sf.Characteristics(63, 63), 1e-8),
    "finite_volume": (sf.FiniteVolume(level=4), 2e-3),
}


@pytest.mark.parametrize("flow", ["ascent", "descent"])
@pytest.mark.parametrize("name", SCHEMES)
def test_five_heads_by_every_scheme(name: str, flow: str) -> None:
    reference = xr.load_dataset(FOLDER / "five_heads.nc")
    parts = zip(reference["mean"].values, reference["concentration"].values, strict=True)
    density = sf.Mixture(
        [sf.VonMisesFisher(mean, float(kappa)) for mean, kappa in parts], reference["share"].values
    )
    problem = sf.TransformerPDE(sf.FixedHeads(reference["head_logits"].values), density, flow=flow)
    scheme, tolerance = SCHEMES[name]
    run = sf.solve(problem, t_end=1.0, scheme=scheme, save_every=0.5, rtol=1e-10)
    expected = reference.sel(flow=flow)
    found = run["spectrum"].values[:, : expected.sizes["harmonic"]]
    np.testing.assert_allclose(found, expected["spectrum"].values, rtol=0, atol=tolerance)
    np.testing.assert_allclose(run["energy"].values, expected["energy"].values, rtol=tolerance)


@pytest.mark.parametrize("name", ["annealed_temperature", "polar_state"])
def test_runs_from_files_keep_their_results(name: str) -> None:
    # Made by the commands in README.md there; other machines round differently.
    expected = xr.load_dataset(FOLDER / f"{name}.nc")
    run = load_experiment(FOLDER / f"{name}.nc").solve()
    compared = [str(key) for key in expected.data_vars if run[key].dtype.kind == "f"]
    assert {"density", "spectrum", "energy", "energy_residual", "entropy"} <= set(compared)
    for key in compared:
        np.testing.assert_allclose(run[key], expected[key], rtol=1e-8, atol=1e-9, err_msg=key)


def test_layouts_of_before_and_after(tmp_path: Path) -> None:
    # The kept runs are older than the attribute; a later layout is refused.
    old = xr.load_dataset(FOLDER / "polar_state.nc")
    assert "layout_version" not in old.attrs
    problem = load_experiment(FOLDER / "polar_state.nc").problem
    run = sf.solve(problem, t_end=1.1, scheme=sf.FiniteVolume(3), save_at=[1.1], initial=old)
    assert run.attrs["layout_version"] == 1
    assert sf.compare(old, old, transport=False).sobolev.max() == 0.0
    with pytest.raises(InputError, match="newer sphereflow"):
        sf.compare(old, old.assign_attrs(layout_version=2))
