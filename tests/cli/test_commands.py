"""The command line: files written, words printed, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from typer.testing import CliRunner

import sphereflow
from sphereflow.cli import app
from sphereflow.cli import validation as validation_command
from sphereflow.errors import SphereflowError

SMALL = ["--set", "scheme.lmax=15", "--set", "run.t_end=0.05", "--set", "run.save_every=0.05"]
# A start that degree 15 resolves; the clusters of the paper need a degree above 100.
DIFFUSE = ["--set", 'density={kind="von_mises_fisher", mean=[0, 0, 1], concentration=1.0}']


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    file = tmp_path / "small.toml"
    file.write_text(
        """
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
lmax = 15
[run]
t_end = 0.05
save_every = 0.025
"""
    )
    return file


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_run_writes_dataset_and_figure(toml: Path, tmp_path: Path) -> None:
    done = invoke("run", toml, "-o", tmp_path / "run.nc", "--plot", tmp_path / "run.png")
    assert done.exit_code == 0, done.output
    with xr.open_dataset(tmp_path / "run.nc") as run:
        assert run.attrs["title"] == "A small run"
        assert run["time"].values.tolist() == [0.0, 0.025, 0.05]
        assert float(abs(run["mass"] - 1).max()) < 1e-12
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    assert "completed" in done.stdout and "wall time [s]" in done.stdout


def test_run_of_a_shipped_experiment_with_changes(tmp_path: Path) -> None:
    done = invoke("run", "deformation", "-o", tmp_path / "run.nc", *SMALL, "--quiet")
    assert done.exit_code == 0, done.output
    assert done.output == ""
    with xr.open_dataset(tmp_path / "run.nc") as run:
        assert float(run["time"][-1]) == 0.05
        assert float(run["lmax"][-1]) >= 15


def test_existing_output_is_kept_unless_told_otherwise(toml: Path, tmp_path: Path) -> None:
    target = tmp_path / "run.nc"
    target.write_text("precious")
    refused = invoke("run", toml, "-o", target)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert target.read_text() == "precious"
    assert invoke("run", toml, "-o", target, "--overwrite", "-q").exit_code == 0
    with xr.open_dataset(target) as run:
        assert run.attrs["status"] == "completed"


def test_a_run_that_ends_early_keeps_its_output_and_exits_with_1(tmp_path: Path) -> None:
    arguments = ["--set", "scheme.lmax=15", "--set", "scheme.lmax_max=15"]
    done = invoke("run", "clustering", "-o", tmp_path / "run.nc", *arguments)
    assert done.exit_code == 1
    assert "under-resolved" in done.stdout
    with xr.open_dataset(tmp_path / "run.nc") as run:
        assert run.attrs["status"] == "under-resolved"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "paper_uo", "-o", "x.nc"], ["paper_uo", "nearest"]),
        (["run", "absent.toml", "-o", "x.nc"], ["absent.toml", "cannot be read"]),
        (["run", "rotation"], ["-o OUT.nc"]),
        (["run", "rotation", "-o", "absent/x.nc"], ["absent"]),
        (["run", "rotation", "-o", "x.nc", "--set", "scheme.lmx=3"], ["nearest: 'lmax'"]),
        (["run", "rotation", "-o", "x.nc", "--set", "run.rtol=-1"], ["rtol", "-1"]),
        (["run", "rotation", "-o", "x.nc", "--plot", "x.tiff8"], ["'.tiff8'", "png"]),
        (["plot", "absent.nc", "-o", "x.png"], ["absent.nc"]),
        (["validate", "no such script"], ["no such script"]),
    ],
)
def test_errors_are_one_line_with_exit_code_2(
    arguments: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_exception() -> None:
    done = invoke("run", "rotation", "--debug")
    assert isinstance(done.exception, SphereflowError)


def test_plot_of_a_written_run(toml: Path, tmp_path: Path) -> None:
    assert invoke("run", toml, "-o", tmp_path / "run.nc", "-q").exit_code == 0
    assert invoke("plot", tmp_path / "run.nc", "-o", tmp_path / "run.pdf").exit_code == 0
    assert (tmp_path / "run.pdf").read_bytes().startswith(b"%PDF")


def test_experiments_are_listed() -> None:
    done = invoke("experiments")
    assert done.exit_code == 0
    assert "paper_ou" in done.stdout and "rotation" in done.stdout


def test_schema_is_written(tmp_path: Path) -> None:
    shown = invoke("schema")
    assert json.loads(shown.stdout)["required"] == ["density", "scheme", "run"]
    assert invoke("schema", "-o", str(tmp_path / "schema.json")).exit_code == 0
    assert (tmp_path / "schema.json").read_text(encoding="utf-8") == shown.stdout


def test_demo_writes_four_files_and_a_summary(tmp_path: Path) -> None:
    done = invoke("demo", "--directory", tmp_path / "demo", *SMALL, *DIFFUSE)
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert names == {"ou.nc", "ou.png", "oscillating.nc", "oscillating.png"}
    assert done.stdout.count("completed") == 2


def test_quick_validation_leaves_out_slow_scripts_and_the_report_joins_all_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "validation" / "results"
    results.mkdir(parents=True)
    lines = ["## 01 Good: PASSED", "", "* Claim: (37) of |D|", "* Time: 3 s", ""]
    (results / "01_good.md").write_text("\n".join(lines))
    (results / "02_slow.md").write_text("## 02 Slow: PASSED\n")
    good = "print('verdict 01_good: PASSED')\n"
    (tmp_path / "validation" / "01_good.py").write_text(good)
    slow = '"""Title."""\n\n# slow\n\nraise SystemExit(1)\n'
    (tmp_path / "validation" / "02_slow.py").write_text(slow)
    file = tmp_path / "sphereflow" / "cli" / "validation.py"
    monkeypatch.setattr(validation_command, "__file__", str(file))
    done = invoke("validate", "--quick")
    assert done.exit_code == 0
    assert "1 passed, 0 failed" in done.stdout
    report = (results / "report.md").read_text()
    assert report.splitlines()[0] == "# Validation report"
    assert report.index("01 Good") < report.index("02 Slow")
    assert "| 01 | Good | (37) of \\|D\\| |  |  | 3 s | PASSED |" in report.splitlines()
    assert "| 02 | Slow |  |  |  |  | PASSED |" in report.splitlines()


def test_validate_runs_scripts_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "01_good.py").write_text(
        "print('  error 1e-9  ok')\nprint('verdict 01_good: PASSED')\n"
    )
    (tmp_path / "validation" / "02_bad.py").write_text(
        "print('  error 1e-1  FAILED')\nprint('verdict 02_bad: FAILED')\nraise SystemExit(1)\n"
    )
    file = tmp_path / "sphereflow" / "cli" / "validation.py"
    monkeypatch.setattr(validation_command, "__file__", str(file))
    done = invoke("validate")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "verdict 01_good: PASSED",
        "  error 1e-1  FAILED",
        "verdict 02_bad: FAILED",
        "1 passed, 1 failed",
    ]
    assert "02_bad.py ended with exit code 1" in done.stderr
    good = invoke("validate", "good", "--verbose")
    assert good.exit_code == 0
    assert good.stdout.splitlines()[0] == "  error 1e-9  ok"


def test_version_and_light_import() -> None:
    assert invoke("--version").stdout.strip() == sphereflow.__version__
    code = "import sys, sphereflow.cli; print({'xarray', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
