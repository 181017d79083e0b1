"""Options that several commands have, and how a run or sweep tells its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ..machine.interruption import exit_code

__all__ = [
    "AllowCode",
    "Debug",
    "EnsemblePath",
    "Overwrite",
    "Quiet",
    "ViewLat",
    "ViewLon",
    "told_when_ended",
]


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary.")]
AllowCode = Annotated[
    bool,
    typer.Option("--allow-code", help="Import the functions that the file names; trust it first."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it is there.")]
EnsemblePath = Annotated[
    int | None, typer.Option("--path", help="Number of the path of an ensemble; else the first.")
]
ViewLon = Annotated[float, typer.Option("--lon", help="Longitude above which the eye is.")]
ViewLat = Annotated[float, typer.Option("--lat", help="Latitude above which the eye is.")]


@contextmanager
def told_when_ended(text: str) -> Iterator[None]:
    """Say this and exit with the code of the signal where one has ended what is done in here."""
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo(text, err=True)
        raise typer.Exit(exit_code(getattr(error, "name", "SIGINT"))) from None
