"""What a run or a file takes of the memory is said before it is taken."""

import gzip
import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import sphereflow as sf
from sphereflow.densities.tokens import read_tokens
from sphereflow.errors import InputError
from sphereflow.machine import memory
from sphereflow.machine.memory import TooLargeError, available, check_memory
from sphereflow.output.reading import open_run

START = sf.VonMisesFisher([0, 0, 1], 2.0)
PROBLEM = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), START)


@pytest.fixture
def there(monkeypatch):
    """Sets how many bytes are there, in memory and on the disk."""

    def set_to(count):
        usage = SimpleNamespace(free=count)
        monkeypatch.setattr(memory.shutil, "disk_usage", lambda folder: usage)
        for name, found in (("_of_machine", [count]), ("_of_groups", []), ("_of_limit", [])):
            monkeypatch.setattr(memory, name, lambda found=found: found)

    return set_to


@pytest.mark.parametrize(
    ("scheme", "options", "size"),
    [
        # 10⁵ outputs of four fields on 256 × 512 points: 420 GB, twice
        (sf.Spectral(255, output_lmax=255), {"save_every": 1e-5}, "[0-9]+ GB for 100001 outputs"),
        (sf.Spectral(4095, lmax_max=4095), {"save_every": 1.0}, "26 GB for the work of Spectral"),
        (sf.Particles(10**8, seed=1), {"save_every": 1.0}, "36 GB for the work of Particles"),
        (sf.FiniteVolume(8), {"save_every": 1e-4}, "420 GB for 10001 outputs"),
        ("auto", {"save_every": 1e-6}, "GB for 1000001 outputs"),
    ],
)
def test_runs_that_cannot_be_held_are_refused_at_once(scheme, options, size, there, tmp_path):
    there(20e9)
    said = f"are needed .*{size}.* 20 GB are there; save fewer"
    for output in (None, tmp_path / "run.nc"):
        with pytest.raises(TooLargeError, match=said):
            sf.solve(PROBLEM, t_end=1.0, scheme=scheme, output=output, **options)
    assert not list(tmp_path.iterdir())


def test_outputs_of_laws_that_tell_no_size_are_refused_at_the_first(there, monkeypatch):
    monkeypatch.setattr(sf.Particles, "memory", lambda scheme, problem: (0.0, 0.0))
    there(1e6)
    with pytest.raises(TooLargeError, match="for 1001 outputs"):
        sf.solve(PROBLEM, t_end=1.0, scheme=sf.Particles(100, seed=1), save_every=1e-3)


def test_near_the_limit_there_is_a_warning_and_where_nothing_is_known_nothing(
    there, caplog, monkeypatch
):
    there(1e9)
    check_memory({"a": 0.69e9}, "less")
    assert not caplog.records
    with caplog.at_level(logging.WARNING, "sphereflow"):
        check_memory({"a": 0.1e9, "b": 0.7e9}, "take less")
    assert "some 800 MB of memory are needed (700 MB for b, 100 MB for a)" in caplog.text
    monkeypatch.setattr(memory, "_of_machine", lambda: [])
    assert available() is None
    check_memory({"a": 1e30}, "less")


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize("version", [1, 2])
def test_the_narrowest_limit_counts(tmp_path, monkeypatch, version):
    write(tmp_path, meminfo="MemTotal: 99 kB\nMemAvailable: 4000000 kB\nSwapFree: 1000000 kB\n")
    monkeypatch.setattr(memory, "MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "PROCESS", tmp_path)
    monkeypatch.setattr(memory, "CONTROL_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_of_limit", lambda: [])
    assert available() == 5_000_000 * 1024
    if version == 2:
        write(tmp_path, cgroup="0::/job/step\n")
        names, top = ("memory__max", "memory__current", "inactive_file"), tmp_path / "groups"
        write(top / "job/step", memory__max="max\n", memory__current="5\n")
    else:
        write(tmp_path, cgroup="3:cpu:/x\n4:memory,hugetlb:/job/step\n")
        names = ("memory__limit_in_bytes", "memory__usage_in_bytes", "total_inactive_file")
        top = tmp_path / "groups/memory"
    limits = {names[0]: "2000000\n", names[1]: "1500000\n"}
    write(top / "job", **limits, memory__stat=f"anon 7\n{names[2]} 300000\n")
    assert available() == 2_000_000 - 1_500_000 + 300_000


def test_a_limit_of_the_process_counts():
    code = (
        "import resource; from sphereflow.machine.memory import available;"
        "resource.setrlimit(resource.RLIMIT_AS, (3 * 10**9,) * 2); print(available())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < float(done.stdout) < 3e9


def test_files_are_looked_at_before_they_are_loaded(tmp_path, there):
    shape = (400_000, 3)
    np.save(tmp_path / "a.npy", np.zeros(shape))
    np.savez_compressed(tmp_path / "a.npz", positions=np.zeros(shape))
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("x,y,z\n" + "1.0,0.0,0.0\n" * 400_000)
    run = xr.Dataset(
        {"position": (("time", "token", "axis"), np.zeros((1, *shape)))}, {"time": [0.0]}
    )
    run.to_netcdf(tmp_path / "a.nc", encoding={"position": {"zlib": True}})
    assert (tmp_path / "a.npz").stat().st_size < 30_000
    assert (tmp_path / "a.nc").stat().st_size < 60_000
    there(9e6)
    for name in ("a.npy", "a.npz", "a.nc", "a.csv.gz"):
        with pytest.raises(InputError, match=rf"{name}.* 9 MB are there|more than 0.00105 GB"):
            read_tokens(tmp_path / name)
    with pytest.raises(InputError, match=r"9.6 MB for the variables of .* 9 MB are there"):
        open_run(tmp_path / "a.nc")
    there(1e9)
    assert read_tokens(tmp_path / "a.csv.gz")[0].shape == shape


MEASURE = """
import gc, sys, numpy as np, sphereflow as sf
def line(key):
    with open("/proc/self/status") as file:
        return next(1024 * int(one.split()[1]) for one in file if one.startswith(key))
heads = sf.FixedHeads(np.stack([np.eye(3), np.diag([1, -1, 0.5])]))
problem = sf.TransformerPDE(heads, sf.VonMisesFisher([0, 0, 1], 2.0))
small, large, outputs = eval(sys.argv[1])
options = {"t_end": 0.02, "rtol": 1e-4}
sf.solve(problem, scheme=small, save_at=[0.02], **options)
gc.collect()
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = line("VmRSS")
sf.solve(problem, scheme=large, save_at=np.linspace(0.0, 0.02, outputs), **options)
work, record = large.memory(problem)
print(line("VmHWM") - before, work + 2 * record * outputs)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="no peak of its own")
@pytest.mark.parametrize(
    "case",
    [
        "sf.Spectral(31), sf.Spectral(383, lmax_max=383), 2",
        "sf.Spectral(15), sf.Spectral(31, output_lmax=191), 60",
        "sf.FiniteVolume(4), sf.FiniteVolume(6), 2",
        "sf.Characteristics(15, 15), sf.Characteristics(127, 127), 2",
        "sf.Particles(1000, 0.02, seed=1), sf.Particles(600_000, 0.02, seed=1), 2",
    ],
)
def test_estimates_are_within_a_factor_of_two_of_what_is_taken(case):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, case], capture_output=True, text=True, check=True
    )
    measured, estimated = map(float, done.stdout.split())
    assert 0.5 < estimated / measured < 2.0, (estimated, measured)
