"""Outputs: whole or not at all, regular files only, by one process at a time."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

import sphereflow as sf
from sphereflow.errors import InputError, OutputError
from sphereflow.machine.files import locked, read_regular, replaced
from sphereflow.output.netcdf import write_netcdf

PROBLEM = sf.TransformerPDE(
    sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 2.0), flow="descent"
)
OPTIONS = {"scheme": sf.Spectral(lmax=15, lmax_max=15, resolution_limit=1.0), "save_every": 0.1}


def solve(output, **options):
    return sf.solve(PROBLEM, **{"t_end": 0.2, **OPTIONS, **options}, output=output)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class TestReplaced:
    def test_the_file_is_whole_or_as_before(self, tmp_path):
        target = tmp_path / "a.txt"
        target.write_text("before")
        with pytest.raises(RuntimeError), replaced(target, "text") as partial:
            partial.write_text("half")
            assert target.read_text() == "before"
            raise RuntimeError
        assert target.read_text() == "before" and names(tmp_path) == ["a.txt"]
        with replaced(target, "text") as partial:
            partial.write_text("after")
        assert target.read_text() == "after" and names(tmp_path) == ["a.txt"]

    def test_names_differ_and_are_made_exclusively(self, tmp_path):
        target = tmp_path / "a.txt"
        with replaced(target, "text") as first, replaced(target, "text") as second:
            assert first != second and first.exists() and second.exists()
            assert len(first.name) > len("..a.txt.part") + 15

    def test_a_link_stays_and_its_target_is_replaced(self, tmp_path):
        (tmp_path / "real").mkdir()
        target, link = tmp_path / "real" / "a.txt", tmp_path / "link.txt"
        target.write_text("before")
        link.symlink_to(target)
        with replaced(link, "text") as partial:
            partial.write_text("after")
        assert link.is_symlink() and target.read_text() == "after"
        assert names(tmp_path / "real") == ["a.txt"]

    def test_a_failure_names_the_file_and_the_cause(self, tmp_path):
        with (
            pytest.raises(OutputError, match=r"text '.*a\.txt' could not be written"),
            replaced(tmp_path / "missing" / "a.txt", "text"),
        ):
            pass


class TestLock:
    def test_a_second_one_is_refused_and_a_later_one_not(self, tmp_path):
        path = tmp_path / "a.nc"
        for _ in range(2):
            with locked(path, "output"):
                with pytest.raises(OutputError, match=f"another run .process {os.getpid()} on"):
                    with locked(path, "output"):
                        pass
                with locked(tmp_path / "b.nc", "output"):
                    pass
        assert names(tmp_path) == []

    def test_links_to_one_file_are_one(self, tmp_path):
        (tmp_path / "link.nc").symlink_to(tmp_path / "a.nc")
        with (
            locked(tmp_path / "a.nc", "output"),
            pytest.raises(OutputError),
            locked(tmp_path / "link.nc", "output"),
        ):
            pass

    def test_it_ends_with_a_killed_process_whose_remains_go(self, tmp_path):
        path = tmp_path / "a.nc"
        script = (
            "import os, sys, pathlib\n"
            "from sphereflow.machine.files import locked, replaced\n"
            "path = pathlib.Path(sys.argv[1])\n"
            "with locked(path, 'output'), replaced(path, 'output'):\n"
            "    os.kill(os.getpid(), 9)\n"
        )
        subprocess.run([sys.executable, "-c", script, str(path)], check=False, cwd=os.getcwd())
        assert len(names(tmp_path)) == 2
        (tmp_path / ".a.nc.not-hexadecimal.part").touch()
        with locked(path, "output"):
            pass
        assert names(tmp_path) == [".a.nc.not-hexadecimal.part"]

    def test_many_threads_take_it_in_turn_or_are_refused(self, tmp_path):
        inside, most, refused = 0, 0, 0
        count = threading.Lock()

        def work():
            nonlocal inside, most, refused
            for _ in range(50):
                try:
                    with locked(tmp_path / "a.nc", "output"):
                        with count:
                            inside += 1
                            most = max(most, inside)
                        with count:
                            inside -= 1
                except OutputError:
                    refused += 1

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == 1


def test_two_runs_into_one_file(tmp_path):
    """The second is refused, and the file of the first is what it would be alone."""
    output, seen = tmp_path / "a.nc", []

    def progress(t, t_end, information):
        if not seen:
            seen.append(t)
            with pytest.raises(OutputError, match="is being written by another run"):
                solve(output)

    solve(output, progress=progress)
    assert seen and names(tmp_path) == ["a.nc"]
    assert xr.load_dataset(output).attrs["status"] == "completed"


def test_output_by_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "run.nc"
    link.symlink_to(tmp_path / "real" / "a.nc")
    for t_end in (0.2, 0.3):
        solve(link, t_end=t_end, checkpoint=sf.Checkpoint(steps=1))
        assert link.is_symlink()
        assert xr.load_dataset(tmp_path / "real" / "a.nc")["time"][-1] == t_end
    assert names(tmp_path) == ["real", "run.nc"] and names(tmp_path / "real") == ["a.nc"]


@pytest.mark.parametrize("ending", [".part", ".checkpoint", ".checkpoint.part", ".first"])
def test_links_with_names_that_can_be_guessed_are_left_alone(tmp_path, ending):
    """Nobody who may write into the folder makes a run write over another file."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "out").mkdir()
    for name in (f"run.nc{ending}", f".run.nc{ending}"):
        (tmp_path / "out" / name).symlink_to(victim)
    solve(tmp_path / "out" / "run.nc", checkpoint=sf.Checkpoint(steps=1))
    assert victim.read_text() == "mine"


def test_output_over_the_initial_run(tmp_path):
    output = tmp_path / "a.nc"
    solve(output)
    before = output.read_bytes()
    (tmp_path / "link.nc").symlink_to(output)
    for source, target in [
        (output, output),
        (output, tmp_path / "link.nc"),
        (tmp_path / "link.nc", output),
        (xr.open_dataset(output), output),
    ]:
        with pytest.raises(InputError, match="must not be the file of the initial run"):
            solve(target, t_end=0.4, initial=source)
    assert output.read_bytes() == before


def test_pipes_are_refused_at_once(tmp_path):
    pipe = tmp_path / "pipe.nc"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="no regular file"):
        read_regular(pipe, "checkpoint")
    with pytest.raises(OutputError, match="regular file"):
        solve(pipe)
    with pytest.raises(InputError, match="regular file"):
        solve(None, t_end=0.4, initial=pipe)
    os.mkfifo(tmp_path / "a.nc.checkpoint")
    with pytest.raises(InputError, match="no regular file"):
        solve(tmp_path / "a.nc", resume=True)


FULL_DISK = """
import resource, signal, sys
import numpy as np, sphereflow as sf
from sphereflow.cli import app
from sphereflow.output.netcdf import write_netcdf
from typer.testing import CliRunner

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing beyond the limit is an error then
problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 2.0))
options = dict(t_end=0.3, scheme=sf.Spectral(lmax=31), save_every=0.1)
run = sf.solve(problem, **options, output="whole.nc")
sf.plot(run), sf.view(run, "whole.html")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
for action in (
    lambda: write_netcdf(run, "a.nc"),
    lambda: sf.solve(problem, **options, output="b.nc"),
    lambda: sf.solve(problem, **options, output="c.nc", checkpoint=sf.Checkpoint(steps=1)),
    lambda: sf.view(run, "d.html"),
    lambda: sf.animate(run, "e.gif"),
):
    try:
        action()
    except sf.SphereflowError as error:
        print(type(error).__name__, error)
done = CliRunner().invoke(app, ["plot", "whole.nc", "-o", "f.pdf"])
print(done.exit_code, done.stderr)
"""


@pytest.mark.parametrize("limit", [1000, 150_000])
def test_a_full_disk_is_said_as_what_it_is(tmp_path, limit):
    """HDF5 would end the process when it closes a file that did not fit."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(limit)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *lines, last, _ = done.stdout.splitlines()
    assert len(lines) >= (5 if limit < 10_000 else 2)
    for line in lines:
        assert line.startswith("OutputError ") and "(File too large)" in line and "space" in line
    if limit < 10_000:
        assert last.startswith("2 error: figure 'f.pdf' could not be written (File too large)")
    assert not [name for name in names(tmp_path) if name.endswith((".part", ".lock"))]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_is_full_at_the_last_write(tmp_path, monkeypatch, call):
    run = solve(None)

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    output = tmp_path / "a.nc"
    output.write_text("before")
    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
    with pytest.raises(OutputError, match=r"could not be written \(No space left on device\)"):
        write_netcdf(run, output)
    with pytest.raises(OutputError, match=r"\(No space left on device\)"):
        sf.view(run, tmp_path / "a.html")
    monkeypatch.undo()
    assert output.read_text() == "before" and names(tmp_path) == ["a.nc"]


def test_outputs_can_be_edited(tmp_path):
    # As users do with netCDF tools: a file that lacks the order of its names refuses it.
    path = tmp_path / "run.nc"
    problem = sf.TransformerPDE(None, sf.Uniform())
    sf.solve(problem, t_end=1.0, scheme=sf.Spectral(15), save_every=0.5, output=path)
    with netCDF4.Dataset(path, "a") as file:
        file["mass"][0] = 0.5
    with netCDF4.Dataset(path) as file:
        assert file["mass"][0] == 0.5
