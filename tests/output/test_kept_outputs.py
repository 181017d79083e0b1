"""Outputs that an earlier version wrote, one of each scheme: read, repeated and continued."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import sphereflow as sf
from sphereflow.diagnostics import clusters
from sphereflow.output.reading import open_run

DATA = Path(__file__).parent.parent / "data"
SCHEMES = ("spectral", "finite_volume", "characteristics", "particles", "auto")


@pytest.fixture(params=SCHEMES)
def kept(request):
    return DATA / f"kept_{request.param}.nc"


def one_path(run):
    return run.isel(path=0) if "path" in run.dims else run


def test_a_repeat_gives_the_same_variables(kept):
    before = xr.load_dataset(kept)
    after = sf.load_experiment(kept).solve()
    assert set(before.variables) <= set(after.variables)
    for name, variable in before.variables.items():
        assert after[name].dims == variable.dims
        if after[name].dtype.kind != "f":
            continue
        size = max(1.0, float(np.abs(variable).max()))
        np.testing.assert_allclose(after[name], variable, 1e-11, 1e-11 * size, err_msg=name)


def test_it_is_continued_compared_drawn_and_clustered(kept):
    before = one_path(open_run(kept))
    experiment = sf.load_experiment(kept)
    scheme = experiment.scheme if kept.stem == "kept_particles" else sf.Spectral(15)
    options = {"t_end": 0.3, "scheme": scheme, "save_every": 0.05, "rtol": 1e-4}
    after = one_path(sf.solve(experiment.problem, initial=before, **options))
    np.testing.assert_allclose(
        after.first_moment[0], before.first_moment[-1], atol=5e-3, err_msg="of the taken start"
    )
    assert float(sf.compare(before, before).sobolev.max()) == 0.0
    assert clusters(before).sizes["time"] == before.sizes["time"]
    plt.close(sf.plot(before))
