"""Outputs as others read them: xarray, cf-xarray and the compliance checker of CF 1.11."""

from pathlib import Path
from typing import Any

import cf_xarray  # noqa: F401, the accessor .cf
import numpy as np
import pytest
import xarray as xr
from compliance_checker.suite import CheckSuite

import sphereflow as sf
from sphereflow.heads.drifts import MeanReversion

START = sf.VonMisesFisher([0.0, 0.6, 0.8], 3.0)
LAW = sf.OrnsteinUhlenbeck(np.eye(3), sigma=0.5)
GRID_LAW = sf.FokkerPlanckLaw(
    sf.HeadProcess(MeanReversion(1.0), 0.5, sf.Isotropic()), sf.Normal(0.5, 0.4)
)
SCHEMES = {
    "spectral": (LAW.sample(3, seed=1, dt=0.05), sf.Spectral(lmax=15, resolution_limit=1.0)),
    "fokker_planck": (GRID_LAW, sf.Spectral(lmax=15, resolution_limit=1.0)),
    "finite_volume": (sf.FixedHeads(np.eye(3)), sf.FiniteVolume(level=3)),
    "characteristics": (sf.FixedHeads(np.eye(3)), sf.Characteristics(degree=7, degree_max=7)),
    "tokens": (LAW.sample(3, seed=1, dt=0.05), sf.Particles(40, 0.05, seed=1, paths=2)),
}
# What the checker says of files that keep to CF 1.11. It asks any dimension named "time" for the
# standard name of calendar time, which section 4.4 ties to a reference date; the time of this
# model is a number without unit. And it does not know the roles of UGRID, which section 5.9 and
# appendix K of CF 1.11 take over.
NOT_OF_CF = {
    "Coordinate variable 'time' should have standard_name='time', found: 'None'",
    "There may only be one variable containing the cf_role attribute. Currently the following "
    "variables have cf_role attributes: ['mesh', 'face_nodes']",
    "face_node_connectivity is not a valid cf_role value. It must be one of timeseries_id, "
    "profile_id, trajectory_id",
    "mesh_topology is not a valid cf_role value. It must be one of timeseries_id, profile_id, "
    "trajectory_id",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("outputs")
    for name, (heads, scheme) in SCHEMES.items():
        problem = sf.TransformerPDE(heads, START)
        run = sf.solve(problem, t_end=0.1, scheme=scheme, save_every=0.05)
        run.to_netcdf(folder / f"{name}.nc")
    return {name: folder / f"{name}.nc" for name in SCHEMES}


def complaints(results: list[Any]) -> set[str]:
    """What a tree of results finds missing, errors and warnings alike."""
    found = set()
    for result in results:
        points = result.value
        passed = points[0] == points[1] if isinstance(points, tuple) else bool(points)
        found |= complaints(result.children or []) | (set() if passed else set(result.msgs or ()))
    return found


@pytest.mark.filterwarnings("ignore:The ioos_sos checker")
@pytest.mark.parametrize("name", SCHEMES)
def test_compliance_checker_has_no_errors(outputs: dict[str, Path], name: str) -> None:
    suite = CheckSuite()
    suite.load_all_available_checkers()
    dataset = suite.load_dataset(str(outputs[name]))
    ((results, exceptions),) = suite.run_all(dataset, ["cf:1.11"], None, None).values()
    assert len(results) > 20 and not exceptions
    assert complaints(results) <= NOT_OF_CF


@pytest.mark.parametrize("name", SCHEMES)
def test_xarray_opens_every_output(outputs: dict[str, Path], name: str) -> None:
    with xr.open_dataset(outputs[name]) as run:
        assert run["time"].values.tolist() == [0.0, 0.05, 0.1]
        for key, variable in run.data_vars.items():
            if key not in ("mesh", "face_nodes"):
                assert {"units", "long_name"} <= set(variable.attrs), key
        assert run["first_moment"].sel(axis="z").dims == run["energy"].dims
        assert run.attrs["Conventions"].split()[0] == "CF-1.11"


@pytest.mark.parametrize(
    ("name", "area"), [("spectral", "cell_area"), ("finite_volume", "face_area")]
)
def test_the_density_is_integrated_with_the_areas(
    outputs: dict[str, Path], name: str, area: str
) -> None:
    with xr.open_dataset(outputs[name]) as run:
        np.testing.assert_allclose(run[area].sum(), 4 * np.pi, rtol=1e-13)
        density, places = run["density"], run[area].dims
        mass = density.weighted(run[area]).sum(places)
        np.testing.assert_allclose(mass, run["mass"], rtol=1e-13)
        # Harmonics of degree 16 and less are integrated exactly, cells to second order.
        z = (density * np.sin(np.radians(density.cf["latitude"]))).weighted(run[area])
        tolerance = 1e-13 if name == "spectral" else 1e-3
        expected = run["first_moment"].sel(axis="z")
        np.testing.assert_allclose(z.sum(places), expected, atol=tolerance)


def test_cf_xarray_finds_the_axes(outputs: dict[str, Path]) -> None:
    with xr.open_dataset(outputs["spectral"]) as run:
        assert run.cf.axes == {"X": ["lon"], "Y": ["lat"]}
        ring = run["density"].cf.sel(latitude=0.0, method="nearest").cf.isel(X=0)
        assert ring.dims == ("time",)
