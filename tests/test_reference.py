"""Token runs against the reference ensemble in data/reference, made by plain NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import sphereflow as sf

REFERENCE = Path(__file__).parent.parent / "data" / "reference" / "tokens_ou.nc"


@pytest.fixture(scope="module")
def reference() -> xr.Dataset:
    return xr.load_dataset(REFERENCE)


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
