"""The command that runs an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..checks import path_of
from ..errors import ConfigurationError
from ..machine.interruption import asked_to_stop, exit_code
from ..output.ends import End, is_good
from .options import (
    AllowCode,
    Debug,
    Overwrite,
    Quiet,
    told_when_ended,
)
from .terminal import (
    experiment_file,
    figure_file,
    new_file,
    print_summary,
    progress_bar,
    reported,
    timed,
    write_figure,
)

__all__ = ["run"]


def run(
    experiment: Annotated[
        str, typer.Argument(help="TOML file, netCDF file of an earlier run, or a shipped name.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="netCDF file to write.")
    ] = None,
    overwrite: Overwrite = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Figure to write as well; replaced if there.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one key, as in scheme.lmax=63; may be repeated."),
    ] = None,
    checkpoint: Annotated[
        float | None,
        typer.Option("--checkpoint", help="Keep the whole state every so many minutes."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from a checkpoint of the same run, if any.")
    ] = False,
    allow_code: AllowCode = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run an experiment and write its dataset."""
    with reported(debug):
        from ..experiments.experiment import load_experiment, with_kept_seeds
        from ..solving.checkpoints import (
            Checkpoint,
            ended_attributes,
            has_checkpoint,
            kept_configuration,
        )

        file = experiment_file(experiment)
        loaded = load_experiment(file, change or (), allow_code=allow_code)
        named = output or loaded.run.get("output")
        if named is None:
            raise ConfigurationError(
                "No output file was named; give one with -o OUT.nc or as the key run.output."
            )
        target = path_of(named, "run.output")
        ended = resume and ended_attributes(target) is not None
        going_on = resume and (has_checkpoint(target) or (ended and not overwrite))
        if going_on:
            loaded = with_kept_seeds(loaded, kept_configuration(target), allow_code)
        target = new_file(target, overwrite or going_on)
        figure = None if plot is None else figure_file(plot)
        options: dict[str, object] = {"resume": resume and not (ended and overwrite)}
        if checkpoint is not None:
            options["checkpoint"] = checkpoint
        elif resume:
            options["checkpoint"] = loaded.run.get("checkpoint") or Checkpoint()
        lost = "ended before a time was saved; resume from the checkpoint, if there is one"
        with progress_bar(quiet) as bar, told_when_ended(lost), asked_to_stop() as asked:
            report = bar(loaded.title or experiment)
            dataset, seconds = timed(loaded, target, report, **options)
        if figure is not None:
            write_figure(dataset, figure)
        if not quiet:
            print_summary({experiment: (dataset, seconds)})
    if not is_good(dataset.attrs["status"]):
        raise typer.Exit(exit_code(asked.name) if dataset.attrs["status"] == End.TERMINATED else 1)
