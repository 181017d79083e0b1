"""Sweeps: what varies, what is run, what is kept, and the combined dataset."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import sphereflow as sf
from sphereflow.cli import app
from sphereflow.errors import ConfigurationError, InputError, OutputError
from sphereflow.experiments import sweep as sweeps
from sphereflow.experiments.experiment import experiment_from_config
from sphereflow.experiments.sweep_dataset import combine
from sphereflow.experiments.sweep_plan import parse_values, plan_sweep

SMALL: dict[str, Any] = {
    "title": "A small run",
    "density": {
        "kind": "mixture",
        "components": [
            {"kind": "von_mises_fisher", "mean": [0, 0, 1], "concentration": 1.0},
            {"kind": "von_mises_fisher", "mean": [1, 0, 0], "concentration": 2.0},
        ],
    },
    "problem": {"diffusion": 0.1},
    "scheme": {"kind": "spectral", "lmax": 23},
    "run": {"t_end": 0.1, "save_every": 0.05},
}
TOML = """
title = "A small run"
[density]
kind = "von_mises_fisher"
mean = [0, 0, 1]
concentration = 1.0
[heads]
kind = "fixed_heads"
logits = { random = "identity", scale = 1.0 }
[scheme]
kind = "spectral"
lmax = 23
[run]
t_end = 0.1
save_every = 0.05
[sweep]
"problem.diffusion" = [0.0, 0.5]
heads.logits.scale = { start = 0.5, stop = 1.5, count = 2 }
"""


def swept(**table: Any) -> dict[str, Any]:
    return {**SMALL, "sweep": table}


def values_of(text: str) -> list[Any]:
    return plan_sweep(SMALL, dict([parse_values(f"run.t_end={text}")])).parameters["run.t_end"]


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    file = tmp_path / "small.toml"
    file.write_text(TOML)
    return file


def same(a: xr.Dataset, b: xr.Dataset) -> bool:
    """Whether two combined datasets agree in all but clocks."""
    return all(a.attrs[key] == b.attrs[key] for key in ("experiment", "left_out")) and a.drop_attrs(
        deep=False
    ).drop_vars("wall_time").identical(b.drop_attrs(deep=False).drop_vars("wall_time"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.5,1", [0.5, 1]),
        ("[0.5, 1.0]", [0.5, 1.0]),
        ("2", [2]),
        ("{start=1, stop=2, count=3}", [1.0, 1.5, 2.0]),
        ("{start=1, stop=5, count=3}", [1, 3, 5]),
        ("{start=0.1, stop=0.5, step=0.1}", [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("{start=3, stop=1, step=-1}", [3, 2, 1]),
        ("{start=7, count=3}", [7, 8, 9]),
        ("{start=1, count=3, step=0.25}", [1.0, 1.25, 1.5]),
        ("{start=1, stop=64, count=4, spacing='log'}", [1, 4, 16, 64]),
        ("{start=0.01, stop=1.0, count=3, spacing='log'}", [0.01, 0.1, 1.0]),
    ],
)
def test_lists_and_ranges(text: str, values: list[Any]) -> None:
    found = values_of(text)
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


def test_product_has_the_values_of_single_runs(tmp_path: Path) -> None:
    table = {"problem.diffusion": [0.1, 0.2], "density.components.1.concentration": [1, 2, 3]}
    runs = sf.sweep(swept(**table), tmp_path / "out")
    assert runs["entropy"].dims == ("diffusion", "concentration", "time")
    assert runs["density"].sizes["concentration"] == 3
    assert runs["diffusion"].values.tolist() == [0.1, 0.2]
    assert runs["concentration"].attrs["parameter"] == "density.components.1.concentration"
    assert (runs["status"] == "completed").all() and runs.attrs["left_out"] == ""
    # What all members share is there once; the grid still is a grid.
    assert runs["lat"].dims == ("lat",) and runs["degree"].dims == ("harmonic",)
    for i, diffusion in enumerate(table["problem.diffusion"]):
        for j, concentration in enumerate(table["density.components.1.concentration"]):
            config = json.loads(json.dumps(SMALL))
            config["problem"]["diffusion"] = diffusion
            config["density"]["components"][1]["concentration"] = concentration
            alone = experiment_from_config(config).solve()
            member = runs.isel(diffusion=i, concentration=j)
            for name in alone.data_vars:
                np.testing.assert_array_equal(member[name].values, alone[name].values)
            with xr.open_dataset(tmp_path / "out" / f"member_{3 * i + j:05d}.nc") as stored:
                assert stored.drop_attrs().equals(alone.drop_attrs())
    with xr.open_dataset(tmp_path / "out" / "sweep.nc") as written:
        assert same(written, runs)
        # The file repeats the sweep.
        again = plan_sweep(tmp_path / "out" / "sweep.nc")
        assert again.digest == plan_sweep(swept(**table)).digest


def test_zip_has_one_dimension(tmp_path: Path) -> None:
    table = {"problem.diffusion": [0.0, 0.5, 1.0], "run.rtol": [1e-4, 1e-5, 1e-6]}
    runs = sf.sweep(swept(mode="zip", **table), tmp_path / "out")
    assert runs["entropy"].dims == ("member", "time")
    assert runs["diffusion"].dims == runs["rtol"].dims == ("member",)
    assert runs["rtol"].values.tolist() == table["run.rtol"]
    config = {**SMALL, "problem": {"diffusion": 0.5}}
    config["run"] = {**SMALL["run"], "rtol": 1e-5}
    alone = experiment_from_config(config).solve()
    np.testing.assert_array_equal(runs["spectrum"][1].values, alone["spectrum"].values)


def test_names_that_clash_and_values_that_are_no_scalars(tmp_path: Path) -> None:
    densities = [{"kind": "uniform"}, {"kind": "octahedral_clusters", "spread": 0.5}]
    runs = sf.sweep(swept(**{"scheme.lmax": [31, 63], "density": densities}), tmp_path / "out")
    # `lmax` and `density` are variables of a run; grids of two sizes cannot be one array.
    assert runs["mass"].dims[0] == "scheme_lmax"
    assert {"density", "lat", "lon"} <= set(runs.attrs["left_out"].split())
    assert {"mass", "spectrum", "lmax"} <= set(runs.data_vars)
    (dimension,) = set(runs["mass"].dims) - {"scheme_lmax", "time"}
    assert [json.loads(text) for text in runs[dimension].values.tolist()] == densities


def test_times_are_those_of_all_members_and_gaps_are_nan(tmp_path: Path) -> None:
    runs = sf.sweep(swept(**{"run.t_end": [0.1, 0.15]}), tmp_path / "out")
    np.testing.assert_allclose(runs["time"], [0, 0.05, 0.1, 0.15], atol=1e-15)
    assert np.isnan(runs["mass"].values).tolist() == [[False] * 3 + [True], [False] * 4]


def test_a_failed_member_is_recorded_and_the_others_run(tmp_path: Path) -> None:
    table = {"run.rtol": [1e-4, 7.0, 1e-6]}  # a tolerance of 7 is refused by `solve` only
    runs = sf.sweep(swept(**table), tmp_path / "out")
    assert runs["status"].values.tolist() == ["completed", "failed", "completed"]
    assert "rtol must lie between" in str(runs["status_reason"][1].values)
    assert np.isfinite(runs["mass"][[0, 2]]).all() and np.isnan(runs["mass"][1]).all()
    index = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert [entry["file"] for entry in index["members"]] == [
        "member_00000.nc",
        None,
        "member_00002.nc",
    ]


def test_all_members_may_fail(tmp_path: Path) -> None:
    runs = sf.sweep(swept(**{"run.rtol": [7.0, 8.0]}), tmp_path / "out")
    assert runs["status"].values.tolist() == ["failed", "failed"]
    assert "mass" not in runs


def test_output_and_checkpoints_of_the_file_are_not_used(tmp_path: Path) -> None:
    run = {**SMALL["run"], "output": str(tmp_path / "run.nc"), "checkpoint": 1.0}
    config = {**swept(**{"problem.diffusion": [0.0, 0.1]}), "run": run}
    runs = sf.sweep(config, tmp_path / "out")
    assert (runs["status"] == "completed").all()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_large_fields_stay_in_the_files_of_the_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = swept(**{"problem.diffusion": [0.0, 0.1]})
    sf.sweep(config, tmp_path / "out")
    plan = plan_sweep(config)
    monkeypatch.setattr("sphereflow.experiments.sweep_dataset.MOST_BYTES", 50_000)
    runs = combine(plan, tmp_path / "out")
    assert "density" in runs.attrs["left_out"].split() and "mass" in runs
    assert runs.nbytes < 100_000


def test_members_that_are_done_are_kept_and_damaged_ones_are_not(tmp_path: Path) -> None:
    config = swept(**{"problem.diffusion": [0.0, 0.1, 0.2, 0.3]})
    out = tmp_path / "out"
    first = sf.sweep(config, out)
    files = sorted(out.glob("member_*.nc"))
    times = [path.stat().st_mtime_ns for path in files]
    files[1].write_bytes(files[1].read_bytes()[:-1000])
    files[2].rename(out / "member_00002.nc.part")  # as a kill during writing leaves it
    content = bytearray(files[3].read_bytes())
    content[len(content) // 3 : len(content) // 3 + 2000] = bytes(2000)
    files[3].write_bytes(content)
    seen: list[int] = []
    second = sf.sweep(config, out, report=lambda member, count: seen.append(member.number))
    assert seen == [0, 1, 2, 3]
    assert files[0].stat().st_mtime_ns == times[0]
    assert all(path.stat().st_mtime_ns > t for path, t in zip(files[1:], times[1:]))
    assert same(first, second)
    assert not list(out.glob("*.part"))


def test_a_member_of_another_configuration_is_solved_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    config = swept(**{"problem.diffusion": [0.0, 0.1, 0.2]})
    first = sf.sweep(config, out)
    shutil.copy(out / "member_00000.nc", out / "member_00001.nc")
    kept = (out / "member_00000.nc").stat().st_mtime_ns
    assert same(first, sf.sweep(config, out))
    assert (out / "member_00000.nc").stat().st_mtime_ns == kept
    with xr.open_dataset(out / "member_00001.nc") as member:
        assert json.loads(member.attrs["experiment"])["problem"]["diffusion"] == 0.1


def test_what_failed_is_not_combined_from_an_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged member whose new run fails is named so, and its old file is not removed."""
    out = tmp_path / "out"
    config = swept(**{"problem.diffusion": [0.0, 0.1]})
    first = sf.sweep(config, out)
    path = out / "member_00001.nc"
    path.write_bytes(path.read_bytes()[:-1000])
    content = path.read_bytes()

    def broken(*arguments: Any, **options: Any) -> None:
        raise ValueError("broken")

    with monkeypatch.context() as patch:
        patch.setattr("sphereflow.experiments.experiment.Experiment.solve", broken)
        runs = sf.sweep(config, out)
    assert runs["status"].values.tolist() == ["completed", "failed"]
    assert runs["mass"].isnull().all("time").values.tolist() == [False, True]
    assert path.read_bytes() == content
    assert same(first, sf.sweep(config, out))


@pytest.mark.parametrize("number", ["EACCES", "EIO", "EMFILE", "ESTALE"])
@pytest.mark.parametrize("place", ["open", "library"])
def test_errors_that_may_pass_leave_all_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, number: str
) -> None:
    out = tmp_path / "out"
    config = swept(**{"problem.diffusion": [0.0, 0.1]})
    first = sf.sweep(config, out)
    files = {path: path.read_bytes() for path in out.glob("member_*.nc")}
    code = getattr(errno, number)

    def failing(*arguments: Any, **options: Any) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        if place == "open":
            patch.setattr(sweeps, "open", failing, raising=False)
        else:
            patch.setattr(sweeps, "opened_dataset", failing)
        with pytest.raises(OutputError, match=rf"member .* cannot be read \({os.strerror(code)}"):
            sf.sweep(config, out)
    assert {path: path.read_bytes() for path in out.glob("member_*.nc")} == files
    assert same(first, sf.sweep(config, out))


def test_too_many_open_files_leave_all_members(tmp_path: Path) -> None:
    """What the library then says may be anything: no file is lost by it."""
    out = tmp_path / "out"
    config = swept(**{"problem.diffusion": [0.0, 0.1]})
    first = sf.sweep(config, out)
    files = {path: path.read_bytes() for path in out.glob("member_*.nc")}
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd"))) + 1
    for more in range(4):
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + more, before[1]))
        try:
            sf.sweep(config, out)
        except OSError:
            pass
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert files.keys() == set(out.glob("member_*.nc"))
    assert same(first, sf.sweep(config, out))


def test_a_lock_of_a_killed_sweep_does_not_last(toml: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sphereflow", "sweep", str(toml), "-o", str(out)]
    long = ["--vary", "problem.diffusion={start=0.0, stop=1.0, count=50}"]
    with subprocess.Popen([*command, *long], stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + 60
        while not list(out.glob("member_*.nc")) and time.monotonic() < end:
            time.sleep(0.01)
        second = subprocess.run([*command, *long, "-q"], capture_output=True, text=True)
        process.kill()
    assert second.returncode == 2
    assert "is being written by another run (process" in second.stderr
    assert str(process.pid) in second.stderr
    (lock,) = out.glob(".*.lock")
    assert invoke("sweep", toml, "-o", out, "--overwrite", "-q").exit_code == 0
    assert not lock.exists()


def test_another_sweep_is_replaced_only_if_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    sf.sweep(swept(**{"problem.diffusion": [0.0, 0.1]}), out)
    other = swept(**{"problem.diffusion": [0.2]})
    with pytest.raises(OutputError, match="--overwrite"):
        sf.sweep(other, out)
    assert sf.sweep(other, out, overwrite=True).sizes["diffusion"] == 1
    assert len(list(out.glob("member_*.nc"))) == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_directories_and_files_are_left_alone(tmp_path: Path, overwrite: bool) -> None:
    config = swept(**{"problem.diffusion": [0.0]})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "out.zarr").mkdir()
    (tmp_path / "out.zarr" / "precious").write_text("mine")
    for name in ("out", "file", "out.zarr", "absent/out", "run.nc"):
        with pytest.raises(OutputError):
            sf.sweep(config, tmp_path / name, overwrite=overwrite)
    left = sorted(path.name for path in tmp_path.rglob("*"))
    assert left == ["file", "out", "out.zarr", "precious", "precious"]


def test_zarr_store_holds_what_netcdf_holds(tmp_path: Path) -> None:
    config = swept(**{"problem.diffusion": [0.0, 0.1], "problem.flow": ["ascent", "descent"]})
    runs = sf.sweep(config, tmp_path / "out.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.members", "out.zarr"]
    with xr.open_zarr(tmp_path / "out.zarr") as stored:
        assert stored["flow"].values.tolist() == ["ascent", "descent"]
        assert same(stored.load(), runs)
    assert same(sf.sweep(config, tmp_path / "out.zarr"), runs)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, ["Nothing varies", "--vary"]),
        ({"problem.diffusion": 0.5}, ["'problem.diffusion' = 0.5", "neither a list"]),
        ({"problem.diffusion": []}, ["= []", "neither a list"]),
        ({"problem.difusion": [1.0]}, ["'difusion'", "nearest: 'diffusion'"]),
        ({"problm.diffusion": [1.0]}, ["'problm'", "nearest: 'problem'"]),
        ({"problem.diffusion": [0.1, -1.0]}, ["problem.diffusion = -1.0", "diffusion must"]),
        ({"scheme.lmax": ["many"]}, ["scheme.lmax", "'many'"]),
        ({"title.x": [1]}, ["'title' is 'A small run'"]),
        ({"density.components.2.kind": ["uniform"]}, ["a list of 2 entries", "'2'"]),
        ({"problem.diffusion": {"start": 0, "stp": 1}}, ["'stp'", "nearest: 'stop'"]),
        ({"problem.diffusion": {"start": 0, "stop": 1}}, ["no range"]),
        ({"problem.diffusion": {"start": 0, "stop": 1, "step": 0}}, ["no range"]),
        ({"problem.diffusion": {"start": 0, "stop": 1, "step": -1}}, ["no range"]),
        ({"problem.diffusion": {"start": 0, "stop": 1, "count": 0}}, ["no range"]),
        ({"problem.diffusion": {"start": "a", "stop": 1, "count": 2}}, ["no range"]),
        ({"problem.diffusion": {"start": 0, "stop": 1, "count": 2, "spacing": "log"}}, ["above 0"]),
        ({"mode": "sum", "problem.diffusion": [0.0]}, ["'sum'", "'zip'"]),
        ({"mode": "zip", "problem.diffusion": [0.0], "run.rtol": [1e-3, 1e-4]}, ["equal numbers"]),
        (
            {"run.t_end": {"start": 1, "count": 1000}, "run.rtol": {"start": 1, "count": 1000}},
            ["1000000 members"],
        ),
    ],
)
def test_nonsense_is_refused_before_anything_is_made(
    table: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        sf.sweep(swept(**table), tmp_path / "out")
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_other_arguments_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = swept(**{"problem.diffusion": [0.0]})
    with pytest.raises(InputError, match="workers"):
        sf.sweep(config, tmp_path / "out", workers=-1)
    with pytest.raises(ConfigurationError, match="must be a table"):
        sf.sweep({**SMALL, "sweep": 3}, tmp_path / "out")
    with pytest.raises(ConfigurationError, match="not of the form"):
        parse_values("problem.diffusion")
    monkeypatch.setattr(sweeps.importlib.util, "find_spec", lambda name: None)
    for name, options in (("out.zarr", {}), ("out", {"workers": 2})):
        with pytest.raises(ConfigurationError, match=r"sphereflow\[sweep\]"):
            sf.sweep(config, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_files_and_modules_are_looked_for_beside_the_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    np.save(tmp_path / "files" / "tokens.npy", np.eye(3))
    (tmp_path / "files" / "sweep_drift_of_this_test.py").write_text(
        "import numpy as np\ndef turn(x, t):\n    return np.cross([0.0, 0.0, 1.0], x)\n"
    )
    (tmp_path / "files" / "own.toml").write_text(
        '[density]\nkind = "empirical_density"\npositions = "tokens.npy"\n'
        '[problem]\ndrift = "sweep_drift_of_this_test:turn"\n'
        '[scheme]\nkind = "particles"\ncount = 3\n'
        "[run]\nt_end = 0.1\nsave_every = 0.1\n"
    )
    monkeypatch.chdir(tmp_path)
    seeds = {"scheme.seed": {"start": 0, "count": 2}}
    with pytest.raises(ConfigurationError, match="allow_code"):
        sf.sweep("files/own.toml", "out", vary=seeds)
    runs = sf.sweep("files/own.toml", "out", vary=seeds, allow_code=True)
    assert runs["status"].values.tolist() == ["completed"] * 2
    # e₁ turned about the third axis by the angle 0.1
    turned = runs["position"][0, -1].values
    assert abs(turned - [np.cos(0.1), np.sin(0.1), 0]).max(axis=1).min() < 1e-5


def test_command_and_its_exit_codes(toml: Path, tmp_path: Path) -> None:
    done = invoke("sweep", toml, "-o", tmp_path / "out", "--vary", "run.rtol=1e-4,7.0")
    assert done.exit_code == 1, done.output
    assert "8/8 " in done.stdout and "rtol must lie between" in " ".join(done.stdout.split())
    good = ["--set", "sweep.mode=zip", "--quiet", "--overwrite"]
    done = invoke("sweep", toml, "-o", tmp_path / "out", *good)
    assert (done.exit_code, done.output) == (0, "")
    with xr.open_dataset(tmp_path / "out" / "sweep.nc") as runs:
        assert runs["scale"].dims == ("member",)
    done = invoke("sweep", toml, "-o", tmp_path / "new", "--vary", "heads.logits.scal=1")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ") and "nearest: 'scale'" in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_sweep_ends_with_the_code_of_the_signal(
    toml: Path, tmp_path: Path, name: str, workers: int
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sphereflow", "sweep", str(toml), "-o", str(out)]
    long = ["--vary", "problem.diffusion={start=0.0, stop=1.0, count=400}", f"-w{workers}"]
    with subprocess.Popen(
        [*command, *long], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        end = time.monotonic() + 60
        while not list(out.glob("member_*.nc")) and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, name), errors
    assert errors.splitlines()[-1] == "interrupted; ended members are kept, run again to go on"
    assert 0 < len(list(out.glob("member_*.nc"))) < 800
    assert not (out / "sweep.nc").exists() and not list(out.glob(".*.lock"))


def test_a_killed_sweep_goes_on_and_an_interrupted_one_ends_with_130(
    toml: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", "from sphereflow.cli import main; main()"]
    long = ["--vary", "problem.diffusion={start=0.0, stop=1.0, count=150}"]
    kept: list[Path] = []
    for number in (signal.SIGKILL, signal.SIGINT):
        before = len(kept)
        with subprocess.Popen(
            [*command, "sweep", str(toml), "-o", str(out), *long],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            end = time.monotonic() + 60
            while len(list(out.glob("member_*.nc"))) < before + 3 and time.monotonic() < end:
                time.sleep(0.01)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        # The files are read in order, so those of before have not changed.
        kept = sorted(out.glob("member_*.nc"))
        assert before + 3 <= len(kept) < 300
        assert not (out / "sweep.nc").exists()
        if number == signal.SIGINT:
            assert process.returncode == 130
            assert (
                errors.splitlines()[-1] == "interrupted; ended members are kept, run again to go on"
            )
    index = json.loads((out / "sweep.json").read_text())
    assert sum(entry["status"] == "completed" for entry in index["members"]) == len(kept)


def test_an_interruption_in_a_destructor_is_heard(toml: Path, tmp_path: Path) -> None:
    class Late:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)  # Python ignores what is raised here

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        sf.sweep(toml, tmp_path / "out", report=lambda member, count: Late() and None)
    assert len(list((tmp_path / "out").glob("member_*.nc"))) == 1
    assert signal.getsignal(signal.SIGINT) is handler


def test_two_workers_give_the_serial_results_to_the_last_bit(toml: Path, tmp_path: Path) -> None:
    serial = sf.sweep(toml, tmp_path / "serial", vary={"run.rtol": [1e-5, 7.0]})
    parallel = sf.sweep(toml, tmp_path / "two", vary={"run.rtol": [1e-5, 7.0]}, workers=2)
    assert (parallel["status"] == "failed").sum() == 4
    assert same(serial, parallel)


def test_a_scheduler_that_runs_and_one_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import LocalCluster

    config = swept(**{"problem.diffusion": [0.0, 0.1]})
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=":0"
    ) as cluster:
        runs = sf.sweep(config, tmp_path / "out", scheduler=cluster.scheduler_address)
    assert same(runs, sf.sweep(config, tmp_path / "serial"))
    monkeypatch.setattr("sphereflow.experiments.workers.SCHEDULER_TIMEOUT", 0.5)
    with pytest.raises(ConfigurationError, match="No dask scheduler answers at 'tcp://127"):
        sf.sweep(config, tmp_path / "none", scheduler="tcp://127.0.0.1:1")


def test_a_sweep_in_this_process_needs_nothing_more(toml: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['dask', 'distributed', 'zarr'])); "
        "import sphereflow as sf; "
        f"print(sf.sweep({str(toml)!r}, {str(tmp_path / 'out')!r}).sizes['scale'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2"
