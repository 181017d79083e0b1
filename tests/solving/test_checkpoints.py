"""Checkpoints, growing output files, and runs that are killed and resumed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import sphereflow as sf
from sphereflow.errors import InputError, OutputError
from sphereflow.solving.checkpoint_format import from_bytes, to_bytes

HEADS = sf.FixedHeads([np.diag([1.0, 0.5, -0.5]), np.diag([-0.3, 0.8, 0.2])])
DENSITY = sf.VonMisesFisher([0.0, 0.0, 1.0], 3.0)
LAW = sf.OrnsteinUhlenbeck(np.eye(3), 0.5)


def wind(x, t):
    return np.stack([-x[:, 1], x[:, 0], 0 * x[:, 0]], axis=1) * np.cos(t)


def bistable():
    process = sf.HeadProcess(lambda theta, t: theta - theta**3, 0.5, sf.Isotropic())
    return sf.FokkerPlanckLaw(process, sf.Normal(0.5, 0.3), cells=[100])


COARSE = {"lmax_max": 31, "resolution_limit": 1.0}
# Problem, scheme, end and output times of each case, from a fresh law each time.
CASES = {
    "spectral": lambda: (sf.TransformerPDE(LAW, DENSITY, flow="descent"), sf.Spectral(31), 0.6),
    "spectral, raised": lambda: (
        sf.TransformerPDE(HEADS, sf.VonMisesFisher([0, 0, 1], 5.0)),
        sf.Spectral(31, 95),
        1.0,
    ),
    "spectral, fixed steps": lambda: (
        sf.TransformerPDE(HEADS, DENSITY, diffusion=0.1),
        sf.Spectral(31, dt=0.02),
        0.6,
    ),
    "spectral, tabulated": lambda: (
        sf.TransformerPDE(
            sf.TabulatedHeads(
                [0.0, 0.25, 1.0], np.stack([np.eye(3), -np.eye(3), np.eye(3)])[:, None]
            ),
            DENSITY,
        ),
        sf.Spectral(31, **COARSE),
        0.6,
    ),
    "Fokker-Planck": lambda: (
        sf.TransformerPDE(bistable(), DENSITY),
        sf.Spectral(23, lmax_max=23, resolution_limit=1.0),
        0.4,
    ),
    "finite volumes": lambda: (
        sf.TransformerPDE(HEADS, DENSITY, diffusion=0.05, drift=wind),
        sf.FiniteVolume(3),
        0.6,
    ),
    "characteristics": lambda: (sf.TransformerPDE(HEADS, DENSITY), sf.Characteristics(23, 35), 1.0),
    "tokens": lambda: (
        sf.TransformerPDE(LAW.sample(4, seed=3), DENSITY, diffusion=0.02),
        sf.Particles(60, 1e-2, seed=2, paths=2),
        0.6,
    ),
    "tokens, adaptive": lambda: (
        sf.TransformerPDE(HEADS, DENSITY),
        sf.Particles(60, None, seed=2, paths=2),
        0.6,
    ),
    "tokens, statistics": lambda: (
        sf.TransformerPDE(LAW.sample(4, seed=3), DENSITY),
        sf.Particles(60, 1e-2, seed=2, paths=3, store="statistics"),
        0.3,
    ),
    "auto": lambda: (
        sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 4.0)),
        sf.Auto(lmax=31, lmax_max=31, degree=31, degree_max=31),
        2.0,
    ),
}


def test_no_file_is_read_by_what_can_run_code():
    """Pickles run code, and NumPy reads them only where it is told to."""
    for file in Path(sf.__file__).parent.rglob("*.py"):
        text = file.read_text("utf-8")
        imported = r"import (pickle|marshal|shelve|dill|joblib)\b|from (pickle|marshal|shelve)\b"
        assert not re.search(imported, text), file
        loads = len(re.findall(r"\b(?:np|numpy)\.load\(", text))
        assert text.count("allow_pickle=False") == loads, file


class Killed(Exception):
    pass


def solve(case, output, *, die_after=None, **options):
    """A run of one case, ended by an exception after so many advances."""
    problem, scheme, t_end = CASES[case]()
    count = 0

    def progress(t, end, information):
        nonlocal count
        count += 1
        if die_after is not None and count >= die_after:
            raise Killed

    options = {"save_every": t_end / 6, "rtol": 1e-5} | options
    return sf.solve(
        problem, t_end=t_end, scheme=scheme, output=output, progress=progress, **options
    )


def advances(case):
    count = 0

    def progress(t, end, information):
        nonlocal count
        count += 1

    problem, scheme, t_end = CASES[case]()
    options = {"save_every": t_end / 6, "rtol": 1e-5}
    run = sf.solve(problem, t_end=t_end, scheme=scheme, progress=progress, **options)
    return run, count


def assert_identical(first, second):
    assert set(first.variables) == set(second.variables)
    for name in first.variables:
        if name != "face_nodes":  # with missing corners
            np.testing.assert_array_equal(first[name], second[name], err_msg=str(name))


@pytest.mark.parametrize("case", CASES)
def test_resumed_runs_are_identical_to_the_last_bit(case, tmp_path):
    whole, count = advances(case)
    output = tmp_path / "run.nc"
    # Ended at three places; the last checkpoint lies up to two advances before.
    for share in (0.3, 0.3, 0.2):
        with pytest.raises(Killed):
            after = max(2, int(share * count))
            solve(case, output, die_after=after, checkpoint=sf.Checkpoint(steps=3), resume=True)
        with xr.open_dataset(output) as partial:
            assert partial.attrs["status"] == "running"
            saved = partial["time"].values
            np.testing.assert_array_equal(saved, whole["time"].values[: len(saved)])
            np.testing.assert_array_equal(partial["mass"], whole["mass"][..., : len(saved)].T)
    resumed = solve(case, output, checkpoint=sf.Checkpoint(steps=3), resume=True)
    assert_identical(resumed, whole)
    with xr.open_dataset(output) as written:
        assert_identical(written.load(), whole)
        assert written.attrs["status"] == whole.attrs["status"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.nc"]


def test_nothing_to_resume_starts_fresh(tmp_path):
    run = solve("spectral", tmp_path / "run.nc", resume=True)
    assert_identical(run, advances("spectral")[0])


def test_a_run_that_has_ended_is_left_as_it_is(tmp_path):
    output = tmp_path / "run.nc"
    first = solve("spectral", output, checkpoint=5.0, resume=True)
    written = output.stat().st_mtime_ns
    again = solve("spectral", output, checkpoint=5.0, resume=True)
    assert output.stat().st_mtime_ns == written
    assert_identical(again, first)
    with pytest.raises(sf.SphereflowError, match="another configuration that has ended"):
        solve("spectral", output, resume=True, rtol=1e-4)
    assert output.stat().st_mtime_ns == written


def test_a_run_that_goes_on_from_another_resumes_with_its_integrals(tmp_path):
    problem, scheme, _ = CASES["spectral"]()
    first = sf.solve(problem, t_end=0.3, scheme=scheme, save_every=0.1, rtol=1e-5)
    options = {"t_end": 0.6, "scheme": sf.FiniteVolume(3), "save_every": 0.1, "initial": first}
    whole = sf.solve(problem, **options)
    count = 0

    def progress(t, end, information):
        nonlocal count
        count += 1
        if count == 4:
            raise Killed

    more = {"output": tmp_path / "run.nc", "checkpoint": sf.Checkpoint(steps=2), "resume": True}
    with pytest.raises(Killed):
        sf.solve(problem, **options, **more, progress=progress)
    assert_identical(sf.solve(problem, **options, **more), whole)


def test_wall_time_leaves_a_run_to_resume(tmp_path):
    output = tmp_path / "run.nc"
    ended = solve("tokens", output, stop=[sf.WallTime(1e-6)], checkpoint=10.0)
    assert ended.attrs["status"] == "wall-time"
    # The rule is part of the configuration.
    with pytest.raises(InputError, match="another configuration"):
        solve("tokens", output, resume=True)
    for _ in range(100):
        run = solve("tokens", output, stop=[sf.WallTime(1e-6)], resume=True)
        if run.attrs["status"] == "completed":
            break
    assert_identical(run, advances("tokens")[0])


SCRIPT = """
import sys
sys.path.insert(0, {root!r})
import sphereflow as sf
from tests.solving.test_checkpoints import solve
solve(sys.argv[1], sys.argv[2], checkpoint=sf.Checkpoint(steps=2), resume=True)
"""


@pytest.mark.parametrize("case", ["finite volumes", "tokens"])
def test_killed_processes_leave_valid_files(case, tmp_path):
    whole, _ = advances(case)
    output = tmp_path / "run.nc"
    script = SCRIPT.format(root=str(Path(__file__).parents[2]))
    command = [sys.executable, "-c", script, case, str(output)]
    rng = np.random.default_rng(1)
    for _ in range(3):
        process = subprocess.Popen(command, cwd=tmp_path)
        before = output.stat().st_mtime_ns if output.exists() else 0
        while process.poll() is None and (
            not output.exists() or output.stat().st_mtime_ns == before
        ):
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        with xr.open_dataset(output) as partial:
            saved = partial["mass"].sizes["time"]
            assert saved > 0
            times = partial["time"].values
            np.testing.assert_array_equal(times, whole["time"].values[:saved])
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
    with xr.open_dataset(output) as written:
        assert_identical(written.load(), whole)


def test_interrupted_command_ends_cleanly_and_resumes(tmp_path):
    command = [
        *(sys.executable, "-c", "from sphereflow.cli import main; main()"),
        *("run", "tokens_ou", "-o", "run.nc", "--quiet"),
        *("--resume", "--set", "run.t_end=2.0", "--set", "scheme.paths=2"),
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "run.nc").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in errors
    with xr.open_dataset(tmp_path / "run.nc") as ended:
        assert ended.attrs["status"] == "interrupted"
    assert subprocess.run(command, cwd=tmp_path, check=False, timeout=120).returncode == 0
    with xr.open_dataset(tmp_path / "run.nc") as ended:
        assert ended.attrs["status"] == "completed"
        assert np.all(np.diff(ended["time"]) > 0)
    # Once more, as a queue may do: nothing is left to do, and that is no error.
    written = (tmp_path / "run.nc").stat().st_mtime_ns
    assert subprocess.run(command, cwd=tmp_path, check=False, timeout=60).returncode == 0
    assert (tmp_path / "run.nc").stat().st_mtime_ns == written


def test_only_a_run_that_begins_replaces_one_that_has_ended(tmp_path):
    from typer.testing import CliRunner

    from sphereflow.cli import app

    def run(*more):
        command = ["run", "rotation", "-o", str(tmp_path / "run.nc"), "--quiet", "--resume"]
        short = ["--set", "run.t_end=0.1", "--set", "scheme.lmax=15"]
        return CliRunner().invoke(app, [*command, *short, *more]).exit_code

    assert run() == 0
    first = (tmp_path / "run.nc").read_bytes()
    assert run("--set", "run.t_end=0.2") == 2
    assert run("--overwrite", "--checkpoint", "-1") == 2
    assert run("--overwrite", "--plot", str(tmp_path / "run.unknown")) == 2
    assert (tmp_path / "run.nc").read_bytes() == first
    assert run("--overwrite", "--set", "run.t_end=0.2") == 0
    with xr.open_dataset(tmp_path / "run.nc") as later:
        assert later["time"].values[-1] == 0.2
    assert [path.name for path in tmp_path.iterdir()] == ["run.nc"]


def test_seeds_that_were_drawn_are_kept_on_the_command_line(tmp_path):
    import json

    from typer.testing import CliRunner

    from sphereflow.cli import app
    from sphereflow.experiments.experiment import experiment_from_config

    (tmp_path / "run.toml").write_text(
        """
        density = { kind = "uniform" }
        heads = { kind = "sampled_heads", count = 3, law = { kind = "ornstein_uhlenbeck", """
        """target = [[1, 0, 0], [0, 1, 0], [0, 0, 1]], sigma = 1.0 } }
        scheme = { kind = "particles", count = 20, dt = 0.01 }
        run = { t_end = 0.06, save_every = 0.03, stop = [{ kind = "wall_time", seconds = 1e-6 }] }
        """
    )
    command = ["run", str(tmp_path / "run.toml"), "-o", str(tmp_path / "run.nc"), "--resume"]
    for _ in range(40):
        done = CliRunner().invoke(app, [*command, "--quiet"])
        assert done.exit_code == 0, done.output
        with xr.open_dataset(tmp_path / "run.nc") as run:
            if run.attrs["status"] == "completed":
                break
    config = json.loads(run.attrs["experiment"])
    del config["run"]["stop"]
    whole = experiment_from_config(config).solve()
    np.testing.assert_array_equal(xr.load_dataset(tmp_path / "run.nc").position, whole.position)


class TestRefusals:
    def checkpoint(self, tmp_path):
        with pytest.raises(Killed):
            solve("tokens", tmp_path / "run.nc", die_after=20, checkpoint=sf.Checkpoint(steps=3))
        return tmp_path / "run.nc.checkpoint"

    def resumed(self, tmp_path, **options):
        return solve("tokens", tmp_path / "run.nc", resume=True, **options)

    def test_another_configuration(self, tmp_path):
        self.checkpoint(tmp_path)
        with pytest.raises(InputError, match=r"where run\.rtol is 1e-05 in place of 0\.001"):
            self.resumed(tmp_path, rtol=1e-3)

    @pytest.mark.parametrize("keep", [0, 10, 30, 100, 200, -1])
    def test_a_cut_file(self, tmp_path, keep):
        file = self.checkpoint(tmp_path)
        file.write_bytes(file.read_bytes()[:keep])
        with pytest.raises(InputError, match="damaged"):
            self.resumed(tmp_path)

    def test_every_changed_bit_is_refused(self, tmp_path):
        """The digest covers the name of the format, the header and the arrays."""
        file = self.checkpoint(tmp_path)
        content = file.read_bytes()
        head = content.index(b"\n", 100)  # the end of the JSON
        rng = np.random.default_rng(1)
        places = [*range(120), *rng.integers(120, head + 1, 60), *rng.integers(0, len(content), 60)]
        for place in places:
            changed = bytearray(content)
            changed[place] ^= 1 << int(rng.integers(8))
            file.write_bytes(changed)
            with pytest.raises(InputError, match=r"damaged|of another version"):
                self.resumed(tmp_path)
        for digit in (b"0", b"1", b"9"):
            forged = content.replace(b'"saved": ', b'"saved": ' + digit, 1)
            assert forged != content
            file.write_bytes(forged)
            with pytest.raises(InputError, match="damaged"):
                self.resumed(tmp_path)

    def test_an_older_format(self, tmp_path):
        file = self.checkpoint(tmp_path)
        file.write_bytes(b"sphereflow checkpoint 1\n{}\n")
        with pytest.raises(InputError, match=r"format 1 of another version.*reads format 2 only"):
            self.resumed(tmp_path)

    def test_a_state_of_something_else(self, tmp_path):
        """One with a right digest, which only somebody who wants to can make."""
        file = self.checkpoint(tmp_path)
        tree = from_bytes(file.read_bytes())
        state = tree["state"]
        run = state["run"]
        for forged in (
            {"state": {}},
            {"state": None},
            {"experiment": 3},
            {"version": None},
            {"state": state | {"run": []}},
            {"state": state | {"saved": "many"}},
            {"state": state | {"run": run | {"positions": np.zeros(3)}}},
            {"state": state | {"run": run | {"latest": {"__class__": "os.system"}}}},
        ):
            file.write_bytes(to_bytes(tree | forged))
            with pytest.raises(InputError, match=r"remove it to start anew"):
                self.resumed(tmp_path)

    def test_a_pipe(self, tmp_path):
        file = self.checkpoint(tmp_path)
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(InputError, match="no regular file"):
            self.resumed(tmp_path)

    def test_output_that_lacks_times(self, tmp_path):
        self.checkpoint(tmp_path)
        with xr.open_dataset(tmp_path / "run.nc") as partial:
            shorter = partial.isel(time=slice(1)).load()
        shorter.to_netcdf(tmp_path / "run.nc")
        with pytest.raises(InputError, match="lacks times"):
            self.resumed(tmp_path)

    def test_no_output(self):
        with pytest.raises(InputError, match="need an output"):
            solve("tokens", None, checkpoint=1.0)

    @pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, "often"])
    def test_nonsense(self, tmp_path, wrong):
        with pytest.raises(InputError, match="minutes"):
            solve("tokens", tmp_path / "run.nc", checkpoint=wrong)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_says_what_was_saved(tmp_path, monkeypatch):
    from sphereflow.solving import recording

    extend = recording.Recording._extend

    def full(self):
        if len(self.times) == 4:
            with open("/dev/full", "wb", buffering=0) as device:
                device.write(b"x")
        extend(self)

    monkeypatch.setattr(recording.Recording, "_extend", full)
    with pytest.raises(OutputError, match=r"No space left.*holds the times to t = 0\.2;"):
        solve("tokens", tmp_path / "run.nc", checkpoint=sf.Checkpoint(steps=3))
    with xr.open_dataset(tmp_path / "run.nc") as partial:
        assert partial.sizes["time"] == 3
    monkeypatch.setattr(recording.Recording, "_extend", extend)
    resumed = solve("tokens", tmp_path / "run.nc", resume=True)
    assert_identical(resumed, advances("tokens")[0])
