"""The command that runs the validation of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Debug
from .terminal import reported

__all__ = ["validate"]


def validate(
    pattern: Annotated[
        str, typer.Argument(help="Run only the scripts whose name contains this.")
    ] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the scripts that take minutes each.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the tables.")] = False,
    debug: Debug = False,
) -> None:
    """Run the numbered validation scripts of the source tree and write results/report.md."""
    with reported(debug):
        from .validation_report import run_script, validation_scripts, write_report

        # The scripts are no part of an installed package.
        directory = Path(__file__).resolve().parents[2] / "validation"
        scripts = validation_scripts(directory, pattern, quick)
        failed = []
        for script in scripts:
            code = run_script(script, typer.echo, verbose=verbose)
            if code != 0:
                typer.echo(f"{script.name} ended with exit code {code}", err=True)
                failed.append(script.name)
        write_report(directory / "results")
    typer.echo(f"{len(scripts) - len(failed)} passed, {len(failed)} failed")
    if failed:
        raise typer.Exit(1)
