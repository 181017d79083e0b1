"""Members selected from the dataset of a sweep are the runs that they came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import sphereflow as sf
from sphereflow.diagnostics import clusters
from sphereflow.errors import InputError
from sphereflow.experiments.sweep_dataset import combine
from sphereflow.experiments.sweep_plan import plan_sweep
from sphereflow.output.netcdf import write_netcdf
from sphereflow.output.reading import open_run

TOKENS: dict[str, Any] = {
    "title": "Tokens",
    "density": {"kind": "von_mises_fisher", "mean": [0, 0, 1], "concentration": 2.0},
    "heads": {"kind": "fixed_heads", "logits": [[4, 0, 0], [0, 4, 0], [0, 0, 4]]},
    "scheme": {"kind": "particles", "count": 150, "dt": 0.1, "seed": 1},
    "run": {"t_end": 0.4, "save_every": 0.2},
    "sweep": {"density.concentration": [2.0, 20.0], "run.t_end": [0.4, 0.6]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sweep") / "out"
    sf.sweep(TOKENS, target)
    return target


def of_file(folder: Path, number: int) -> xr.Dataset:
    run = open_run(folder / f"member_{number:05d}.nc")
    return run.drop_attrs(deep=False).assign_attrs(
        {key: v for key, v in run.attrs.items() if key not in CLOCKS}
    )


CLOCKS = ("history", "date_created", "sweep_member")
ADDED = ("swept", "member_file", "left_out", "history")


@pytest.mark.parametrize("number", range(4))
def test_members_equal_their_files(folder: Path, number: int) -> None:
    with xr.open_dataset(folder / "sweep.nc") as sweep:
        selected = open_run(sweep.load().isel(concentration=number // 2, t_end=number % 2))
    alone = of_file(folder, number)
    assert {*selected.variables} == {*alone.variables}
    xr.testing.assert_equal(selected, alone)
    for name, variable in alone.variables.items():
        if variable.dtype.kind in "iuf":
            assert selected[name].dtype == variable.dtype
    assert {k: v for k, v in selected.attrs.items() if k not in ADDED} == alone.attrs
    assert selected.attrs["member_file"] == f"member_{number:05d}.nc"
    assert selected.attrs["swept"].startswith(f"concentration = {[2, 20][number // 2]}, ")


def test_tools_take_members_as_they_take_runs(folder: Path, tmp_path: Path) -> None:
    with xr.open_dataset(folder / "sweep.nc") as sweep:
        member = sweep.load().sel(concentration=20.0, t_end=0.4)
    alone = of_file(folder, 2)
    xr.testing.assert_identical(clusters(member), clusters(alone))
    report = sf.compare(member, alone, transport=False)
    assert report.sizes["time"] == 3 and float(report["sobolev"].max()) == 0.0
    titles = [axes.get_title() for axes in sf.plot(member, "tokens").axes]
    assert titles == [axes.get_title() for axes in sf.plot(alone, "tokens").axes]
    sf.view(member, tmp_path / "member.html")
    sf.animate(member, tmp_path / "member.gif", frames=2)
    # A member that was written is read as well.
    member.to_netcdf(tmp_path / "member.nc")
    xr.testing.assert_equal(open_run(tmp_path / "member.nc"), open_run(member))


def test_several_members_are_no_run(folder: Path) -> None:
    sweep = xr.load_dataset(folder / "sweep.nc")
    for tool in (clusters, lambda run: sf.compare(run, run), lambda run: sf.plot(run, "tokens")):
        with pytest.raises(InputError, match=r"isel\(concentration=0, t_end=0\)"):
            tool(sweep)
    # One of a list is one.
    assert open_run(sweep.isel(concentration=[1], t_end=[0])).sizes["time"] == 3
    with pytest.raises(InputError, match="times of its own"):
        open_run(sweep.isel(concentration=0, t_end=0, time=-1))


def test_a_failed_member_says_why(tmp_path: Path) -> None:
    config = {**TOKENS, "sweep": {"run.rtol": [1e-4, 7.0]}}  # which `solve` alone refuses
    sweep = sf.sweep(config, tmp_path / "out")
    assert open_run(sweep.isel(rtol=0)).sizes["time"] == 3
    with pytest.raises(InputError, match=r"failed.*rtol"):
        open_run(sweep.isel(rtol=1))


def relay(times: list[float], switch: float, asked: list[float], tokens: int) -> xr.Dataset:
    """What a relay that changed its scheme at some time writes, as far as combining goes."""
    position = np.tile([0.0, 0.0, 1.0], (len(times), tokens, 1))
    position[: times.index(switch)] = np.nan
    spectrum = np.full((len(times), 1), 0.5 / np.sqrt(np.pi))
    return xr.Dataset(
        {
            "energy": ("time", np.array(times) ** 2),
            "position": (("time", "token", "axis"), position),
            "spectrum": (("time", "harmonic"), spectrum),
        },
        {"time": times},
        {"switch_time": switch, "experiment": f'{{"run": {{"save_at": {asked}}}}}'},
    )


@pytest.mark.parametrize("tokens", [(5, 5), (5, 6)])
def test_times_are_those_asked_for_and_positions_stay(
    tmp_path: Path, tokens: tuple[int, int]
) -> None:
    plan = plan_sweep({**TOKENS, "sweep": {"problem.diffusion": [0.0, 0.1]}})
    asked = [0.0, 0.5, 1.0]
    # The second changes at an output.
    runs = [
        relay([0.0, 0.3, 0.5, 1.0], 0.3, asked, tokens[0]),
        relay([0.0, 0.5, 1.0], 0.5, asked, tokens[1]),
    ]
    for member, run in zip(plan.members, runs, strict=True):
        member.status = "completed"
        write_netcdf(run, tmp_path / member.file)
    sweep = combine(plan, tmp_path)
    assert sweep["time"].values.tolist() == asked
    np.testing.assert_array_equal(sweep["energy"], [[0.0, 0.25, 1.0]] * 2)
    alike = tokens[0] == tokens[1]
    assert sweep.attrs["left_out"] == ("" if alike else "position")
    assert sweep["member_file"].values.tolist() == [one.file for one in plan.members]
    first = sweep.isel(diffusion=0)
    if alike:
        later = open_run(first)["position"].isel(time=[1, 2])
        np.testing.assert_array_equal(later, runs[0]["position"].isel(time=[2, 3]))
    else:
        with pytest.raises(InputError, match=r"left out position, which member_00000\.nc"):
            clusters(first)
        with pytest.raises(InputError, match=r"left out position, which member_00000\.nc"):
            sf.plot(first, "tokens")
