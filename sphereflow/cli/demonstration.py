"""The command that runs two experiments to look at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ..errors import OutputError, printable
from ..machine.interruption import asked_to_stop, exit_code
from ..output.ends import is_good
from .options import Debug, Quiet
from .terminal import new_file, print_summary, progress_bar, reported, timed, write_figure

__all__ = ["DEMO", "demo"]

DEMO = {"ou": "paper_ou", "oscillating": "paper_oscillating"}


def demo(
    directory: Annotated[
        Path, typer.Option("--directory", help="Where to write; its demo files are replaced.")
    ] = Path("demo"),
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one key in both runs, as in scheme.lmax=63."),
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run two experiments of the paper, write datasets and figures, print a summary."""
    with reported(debug):
        from ..experiments.experiment import find_experiment, load_experiment

        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"The directory {str(directory)!r} cannot be made ({error.strerror}); "
                "name another with --directory."
            ) from error
        results = {}
        with progress_bar(quiet) as bar, asked_to_stop() as asked:
            for name, experiment in DEMO.items():
                loaded = load_experiment(find_experiment(experiment), change or ())
                target = new_file(directory / f"{name}.nc", overwrite=True)
                results[experiment] = timed(loaded, target, bar(experiment))
                if asked.is_set():
                    raise typer.Exit(exit_code(asked.name))
                write_figure(results[experiment][0], directory / f"{name}.png")
        if not quiet:
            print_summary(results)
            typer.echo(printable(f"datasets and figures are in {directory}{os.sep}"))
    if not all(is_good(dataset.attrs["status"]) for dataset, _ in results.values()):
        raise typer.Exit(1)
