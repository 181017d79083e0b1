"""The command that runs an experiment for many values of its parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import printable
from ..output.ends import is_good
from .options import (
    AllowCode,
    Debug,
    Overwrite,
    Quiet,
    told_when_ended,
)
from .terminal import (
    experiment_file,
    print_members,
    reported,
)

if TYPE_CHECKING:
    from ..experiments.sweep_plan import Member

__all__ = ["sweep"]


def sweep(
    experiment: Annotated[
        str, typer.Argument(help="TOML file with a section sweep, or a shipped name.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Directory, or zarr store that ends in .zarr.")
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", help="Vary one key, as in heads.sigma=0.5,1.0; may be repeated."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one key, as in sweep.mode=zip; may be repeated."),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", "-w", min=0, help="Processes; 0 or 1: this one.")
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", help="Dask scheduler to run on, as in tcp://host:8786."),
    ] = None,
    overwrite: Overwrite = False,
    allow_code: AllowCode = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run an experiment for many values of its parameters, or go on where a sweep was ended."""
    ended: dict[int, Member] = {}

    def report(member: Member, count: int) -> None:
        ended[member.number] = member
        if not quiet:
            took = f" ({member.seconds:.1f} s)" if member.seconds >= 0 else ""
            line = f"{len(ended)}/{count} {member.name}: {member.status}{took}"
            typer.echo(printable(line))

    with reported(debug):
        from ..experiments.sweep import sweep as run_sweep
        from ..experiments.sweep_plan import parse_values

        file, varied = experiment_file(experiment), dict(map(parse_values, vary or ()))
        with told_when_ended("interrupted; ended members are kept, run again to go on"):
            run_sweep(
                file,
                output,
                vary=varied,
                overrides=change or (),
                workers=workers,
                scheduler=scheduler,
                overwrite=overwrite,
                allow_code=allow_code,
                report=report,
            )
    bad = [member for _, member in sorted(ended.items()) if not is_good(member.status)]
    if bad:
        print_members(bad)
        raise typer.Exit(1)
