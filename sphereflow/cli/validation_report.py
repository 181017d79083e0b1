"""Runs the numbered validation scripts of a source tree and joins their results to one report."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import InputError
from ..version import __version__

__all__ = ["run_script", "validation_scripts", "write_report"]

SLOW = "\n# slow\n"
COLUMNS = ("Claim", "Method", "Checks", "Time")
# One thread of linear algebra: waiting ones count as time of the processor.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def validation_scripts(directory: Path, pattern: str, quick: bool) -> list[Path]:
    """The scripts whose name contains the pattern, without those of minutes if `quick`.

    Raises
    ------
    InputError
        If there is none.
    """
    scripts = [path for path in sorted(directory.glob("[0-9]*.py")) if pattern in path.name]
    if not scripts:
        raise InputError(
            f"No validation script has {pattern!r} in its name; they lie in the folder "
            "validation/ of the source tree and are run from a checkout."
        )
    if quick:
        scripts = [path for path in scripts if SLOW not in path.read_text("utf-8")]
    return scripts


def run_script(script: Path, show: Callable[[str], None], *, verbose: bool) -> int:
    """Exit code of one script; shown are its verdict and what failed, or all that it prints."""
    environment = dict.fromkeys(THREADS, "1") | os.environ
    command = [sys.executable, "-u", str(script)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if verbose or line.startswith("verdict ") or line.rstrip().endswith("FAILED"):
                show(line.rstrip())
    return process.returncode


def write_report(directory: Path) -> Path:
    """Join the tables that the scripts left in `directory` to report.md, with a table of claims."""
    parts = [path.read_text("utf-8") for path in sorted(directory.glob("[0-9]*.md"))]
    rows = [_summary(part) for part in parts]
    head = [
        "# Validation report",
        "",
        f"sphereflow {__version__}, Python {platform.python_version()}, {platform.machine()}. "
        "Every section is the output of one script in `validation/`, which also writes its numbers "
        "as netCDF.",
        "",
        "| | " + " | ".join(("Subject", *COLUMNS, "Verdict")) + " |",
        "|---" * (len(COLUMNS) + 3) + "|",
        *rows,
        "",
    ]
    report = directory / "report.md"
    directory.mkdir(exist_ok=True)
    report.write_text("\n".join([*head, *parts]), "utf-8")
    return report


def _summary(part: str) -> str:
    """One row of the table of claims."""
    heading = re.match(r"## (\S+) (.*): (\w+)$", part.splitlines()[0])
    number, title, word = heading.groups() if heading else ("", part.splitlines()[0], "")
    found = dict(re.findall(r"^\* (\w+): (.*)$", part, flags=re.MULTILINE))
    cells = [number, title, *(found.get(name, "") for name in COLUMNS), word]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
