"""Figures of whole sweeps show the numbers of the members."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import QuadMesh
from matplotlib.colors import BoundaryNorm, LogNorm, SymLogNorm
from typer.testing import CliRunner

import sphereflow as sf
from sphereflow.cli import app
from sphereflow.diagnostics import clusters
from sphereflow.errors import InputError
from sphereflow.figures.sweep_quantities import numbers, over_time

CONFIG: dict[str, Any] = {
    "title": "Tokens",
    "density": {"kind": "von_mises_fisher", "mean": [0, 0, 1], "concentration": 2.0},
    "heads": {"kind": "fixed_heads", "logits": {"random": "identity", "scale": 1.0}},
    "scheme": {"kind": "particles", "count": 100, "dt": 0.1, "seed": 1},
    "run": {"t_end": 0.6, "save_every": 0.3},
    # Neither in the order of their values nor of equal lengths.
    "sweep": {"heads.logits.scale": [4.0, 1.0, 16.0], "problem.diffusion": [0.1, 0.0]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sweep") / "out"
    sf.sweep(CONFIG, target)
    return target


@pytest.fixture(scope="module")
def sweep(folder: Path) -> xr.Dataset:
    return xr.load_dataset(folder / "sweep.nc")


def of_files(folder: Path, number: Any) -> np.ndarray:
    """A number of each run, by scale and diffusion in increasing order."""
    values = []
    for k in range(6):
        with xr.open_dataset(folder / f"member_{k:05d}.nc") as run:
            values.append(number(run.load()))
    return np.array(values, dtype=float).reshape(3, 2)[[1, 0, 2]][:, ::-1]


def mesh_of(figure: Any) -> QuadMesh:
    (mesh,) = [one for one in figure.axes[0].collections if isinstance(one, QuadMesh)]
    return mesh


def synthetic(energy: Any, time: Any, **swept: Any) -> xr.Dataset:
    """A sweep whose members have energies; NaN where a member lacks a time."""
    energy = np.asarray(energy, dtype=float)
    shape = energy.shape[:-1]
    about = np.full(shape, '{"attributes": {}, "kinds": {}, "variables": {}}', dtype=object)
    dims = tuple(swept)
    return xr.Dataset(
        {
            "energy": ((*dims, "time"), energy),
            "member_attributes": (dims, about),
            "status": (dims, np.full(shape, "completed", dtype=object)),
            "recorded": ((*dims, "time"), np.isfinite(energy).astype(np.int8)),
        },
        {
            "time": time,
            **{name: (name, values, {"parameter": f"x.{name}"}) for name, values in swept.items()},
        },
    )


@pytest.mark.parametrize(
    ("quantity", "of_run"),
    [
        (None, lambda run: np.linalg.norm(run["first_moment"][-1])),
        ("clusters", lambda run: clusters(run)["number"][-1]),
        ("energy", lambda run: run["energy"][-1]),
        ("slope_squared", lambda run: run["slope_squared"][-1]),
    ],
)
def test_a_map_shows_the_numbers_of_the_runs(
    folder: Path, sweep: xr.Dataset, quantity: Any, of_run: Any
) -> None:
    figure = sf.plot(sweep, "phase", quantity=quantity)
    wanted = of_files(folder, of_run)
    shown = mesh_of(figure).get_array()
    # Rows go upwards with the diffusion.
    np.testing.assert_allclose(np.asarray(shown), wanted.T, rtol=1e-15)
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("scale", "diffusion")
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")
    assert axes.get_title() == "Tokens\nat the end, $t = 0.6$"
    # Every value lies within its cell.
    corners = mesh_of(figure).get_coordinates()
    assert (corners[0, :-1, 0] < [1, 4, 16]).all() and (corners[0, 1:, 0] > [1, 4, 16]).all()
    assert sf.plot(sweep, quantity=quantity).axes[0].get_xlabel() == "scale"


def test_numbers_at_a_time_and_without_time(folder: Path, sweep: xr.Dataset) -> None:
    shown = mesh_of(sf.plot(sweep, "phase", quantity="energy", times=[0.31])).get_array()
    np.testing.assert_array_equal(shown, of_files(folder, lambda run: run["energy"][1]).T)
    shown = mesh_of(sf.plot(sweep, "phase", quantity="wall_time")).get_array()
    by_value = sweep["wall_time"].sortby(["scale", "diffusion"]).values.T
    np.testing.assert_array_equal(shown, by_value)
    at_once = numbers(sweep, "clusters", 0.3).values
    np.testing.assert_array_equal(at_once, over_time(sweep, "clusters").values[..., 1])


def test_one_parameter_makes_a_curve(folder: Path, sweep: xr.Dataset) -> None:
    axes = sf.plot(sweep.sel(diffusion=[0.0]), quantity="energy").axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [1.0, 4.0, 16.0])
    wanted = of_files(folder, lambda run: run["energy"][-1])[:, 0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), wanted)
    assert axes.get_ylabel() == "energy $E$ [1]"
    labels = [sf.plot(sweep, quantity=name).axes[1].get_ylabel() for name in ("mass", "resolution")]
    assert labels == ["total mass of the token density [1]", "resolution [1]"]


def test_families_are_the_series_of_the_runs(folder: Path, sweep: xr.Dataset) -> None:
    figure = sf.plot(sweep, "family")
    panels = figure.axes[:2]
    assert [axes.get_title() for axes in panels] == ["diffusion = 0", "diffusion = 0.1"]
    assert [axes.get_title(loc="left") for axes in panels] == ["(a)", "(b)"]
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "scale"
    assert [text.get_text() for text in legend.get_texts()] == ["1", "4", "16"]
    for axes, member in zip(panels, (1, 0), strict=True):
        for drawn, number in zip(axes.lines, (2 + member, member, 4 + member), strict=True):
            with xr.open_dataset(folder / f"member_{number:05d}.nc") as run:
                np.testing.assert_array_equal(drawn.get_xdata(), run["time"])
                order = np.linalg.norm(run["first_moment"], axis=1)
                np.testing.assert_allclose(drawn.get_ydata(), order, rtol=1e-15)


def test_members_that_ended_at_other_times_and_early() -> None:
    energy = [[1.0, 2.0, 3.0], [1.0, 4.0, np.nan], [np.nan] * 3]
    runs = synthetic(energy, [0.0, 1.0, 2.0], beta=[1.0, 2.0, 3.0])
    runs["status"][1], runs["status"][2] = "under-resolved", "failed"
    axes = sf.plot(runs, quantity="energy").axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [3.0, 4.0, np.nan])
    crosses = axes.lines[1]
    assert crosses.get_label() == "ended early" and crosses.get_xdata().tolist() == [2.0]
    assert "1 of 3 without a value" in [text.get_text() for text in axes.texts]
    assert axes.get_title() == "at the end of each run"
    drawn = sf.plot(runs, "family", quantity="energy").axes[0].lines
    assert [line.get_xdata().tolist() for line in drawn] == [[0, 1, 2], [0, 1], []]


def test_time_to_cluster_is_linear_between_outputs() -> None:
    runs = synthetic(np.zeros((3, 3)), [0.0, 1.0, 2.0], beta=[1.0, 2.0, 3.0])
    moments = np.zeros((3, 3, 3))
    moments[..., 2] = [[0.5, 0.8, 1.0], [0.95, 1.0, 1.0], [0.1, 0.2, 0.3]]
    runs["first_moment"] = (("beta", "time", "axis"), moments)
    # From 0.8 to 1 the order parameter passes 0.9 half way.
    np.testing.assert_allclose(numbers(runs, "time_to_cluster"), [1.5, 0.0, np.nan], rtol=1e-12)


def test_ensembles_are_means_with_their_spread(tmp_path: Path) -> None:
    scheme = {**CONFIG["scheme"], "paths": 3}
    config = {**CONFIG, "scheme": scheme, "sweep": {"heads.logits.scale": [1.0, 4.0]}}
    runs = sf.sweep(config, tmp_path / "out")
    axes = sf.plot(runs, quantity="energy").axes[0]
    last = runs["energy"].isel(time=-1)
    curve = next(one for one in axes.lines if one.get_marker() == "o")
    np.testing.assert_allclose(curve.get_ydata(), last.mean("path"), rtol=1e-14)
    bars = axes.collections[0].get_segments()
    lengths = [segment[1, 1] - segment[0, 1] for segment in bars]
    np.testing.assert_allclose(lengths, 2.0 * last.std("path"), rtol=1e-12)
    by_hand = [
        [clusters(runs.isel(scale=k).isel(path=p))["number"].values for p in range(3)]
        for k in range(2)
    ]
    np.testing.assert_array_equal(over_time(runs, "clusters"), by_hand)


def test_scales_of_axes_and_colours() -> None:
    beta, width = np.geomspace(0.1, 10.0, 5), [0.0, 1.0]
    energy = np.geomspace(1e-3, 1e3, 10).reshape(5, 2, 1)
    runs = synthetic(energy, [0.0], beta=beta, width=width)
    figure = sf.plot(runs, quantity="energy")
    assert figure.axes[0].get_xscale() == "log" and figure.axes[0].get_yscale() == "linear"
    assert isinstance(mesh_of(figure).norm, LogNorm)
    # In logarithms the cells are of equal widths.
    edges = np.log(mesh_of(figure).get_coordinates()[0, :, 0])
    np.testing.assert_allclose(np.diff(edges), np.log(100.0) / 4, rtol=1e-12)
    figure = sf.plot(runs, quantity="energy", scale="linear", vmin=0.0, vmax=10.0)
    mesh = mesh_of(figure)
    assert (mesh.norm.vmin, mesh.norm.vmax) == (0.0, 10.0) and type(mesh.norm) is not LogNorm
    assert mesh.colorbar.extend == "max"
    symmetric = mesh_of(sf.plot(runs, quantity="energy", scale="symlog"))
    assert isinstance(symmetric.norm, SymLogNorm)
    axes = sf.plot(runs.isel(width=0), quantity="energy", vmax=5.0).axes[0]
    assert axes.get_yscale() == "log" and axes.get_ylim()[1] == 5.0
    counted = synthetic([[[1.0], [3.0]], [[2.0], [1.0]]], [0.0], beta=[1, 2], width=width)
    mesh = mesh_of(sf.plot(counted, quantity="energy"))
    assert isinstance(mesh.norm, BoundaryNorm)
    assert mesh.norm.boundaries.tolist() == [0.5, 1.5, 2.5, 3.5]


def test_names_of_what_is_no_number() -> None:
    def names(values: list[Any]) -> list[str]:
        texts = [json.dumps(value) for value in values]
        runs = synthetic([[1.0]] * len(values), [0.0], density=texts)
        figure = sf.plot(runs, quantity="energy")
        return [text.get_text() for text in figure.axes[0].get_xticklabels()]

    assert names([{"kind": "uniform"}, {"kind": "series", "a": 1}]) == ["uniform", "series"]
    same = [{"kind": "a", "b": 1, "c": 2}, {"kind": "a", "b": 3, "c": 2}]
    assert names(same) == ["b = 1", "b = 3"]


def test_a_sweep_in_step_is_drawn_over_its_first_parameter() -> None:
    runs = synthetic([[1.0], [2.0], [4.0]], [0.0], member=[0, 1, 2]).drop_vars("member")
    runs = runs.assign_coords(
        beta=("member", [3.0, 1.0, 2.0], {"parameter": "heads.beta"}),
        seed=("member", [5, 6, 7], {"parameter": "scheme.seed"}),
    )
    axes = sf.plot(runs, quantity="energy").axes[0]
    assert axes.get_xlabel() == "beta (with it seed)"
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[1, 2], [2, 4], [3, 1]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantity": "heat"}, "choose one of order_parameter, clusters, .*energy"),
        ({"quantity": "first_moment"}, "choose one of"),
        ({"kind": "family", "quantity": "wall_time"}, "over time"),
        ({"kind": "density"}, "isel"),
        ({"kind": "budget", "quantity": "energy"}, "left out of the kind 'budget'"),
        ({"kind": "family", "times": [0.3]}, "times must be left out"),
        ({"times": [0.0, 0.3]}, "must be one for the kind 'phase'"),
        ({"scale": "cubic"}, "scale"),
        ({"vmin": np.nan}, "finite"),
        ({"vmin": 2.0, "vmax": 1.0}, "vmin must be below vmax"),
        ({"scale": "log", "vmin": -1.0}, "above 0"),
        ({"kind": "budget", "scale": "log"}, "left out"),
    ],
)
def test_refusals(sweep: xr.Dataset, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sf.plot(sweep, **options)


def test_a_run_is_no_sweep_and_three_parameters_are_too_many(sweep: xr.Dataset) -> None:
    for kind in ("phase", "family"):
        with pytest.raises(InputError, match="dataset of a sweep"):
            sf.plot(sweep.isel(scale=0, diffusion=0), kind)
    runs = synthetic(np.ones((2, 2, 2, 1)), [0.0], a=[1, 2], b=[1, 2], c=[1, 2])
    with pytest.raises(InputError, match=r"isel\(c=0\)"):
        sf.plot(runs, quantity="energy")


@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_command_draws_sweeps(folder: Path, tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"phase.{ending}"
    arguments = ["plot", str(folder / "sweep.nc"), "-o", str(target)]
    options = ["--kind", "phase", "--quantity", "order_parameter", "--vmin", "0", "--vmax", "1"]
    result = CliRunner().invoke(app, [*arguments, *options])
    assert result.exit_code == 0, result.output
    assert target.read_bytes()[:4] == (b"%PDF" if ending == "pdf" else b"\x89PNG")
    result = CliRunner().invoke(app, [*arguments, "--times", "0.31"])
    assert result.exit_code == 0 and "Drawn at the output times t = 0.3." in result.output
    assert CliRunner().invoke(app, [*arguments, "--quantity", "heat"]).exit_code == 2
