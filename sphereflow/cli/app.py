"""The command `sphereflow`: all its commands, and the options before them.

Heavy modules are imported inside the commands, so that ``--help`` answers at once. Exit codes:
0 all is well, 1 a run ended early (also by Ctrl-C) or a validation failed, 2 the request was
refused; 143 a run was ended by SIGTERM, 129 by SIGHUP, with its state kept; a sweep was ended in
the same way, and 130 by Ctrl-C.
"""

from __future__ import annotations

import io
import logging
import sys
from typing import Annotated

import typer

from ..version import __version__
from .comparisons import compare
from .demonstration import demo
from .experiment_files import experiments, new, schema
from .figures import animate, plot, view
from .runs import run
from .sweeps import sweep
from .terminal import LogLines
from .validation import validate

__all__ = ["app", "main"]

COMMANDS = (run, sweep, plot, animate, view, compare, experiments, new, schema, validate, demo)

app = typer.Typer(
    help="Solve the mean-field transformer equation on the sphere.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command line; the entry point of the package."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what an encoding lacks is no error
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _common(
    log_level: Annotated[
        str, typer.Option("--log-level", help="debug, info, warning or error.")
    ] = "warning",
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    level = logging.getLevelNamesMapping().get(log_level.upper())
    if level is None:
        typer.echo(
            f"error: --log-level must be debug, info, warning or error, got {log_level!r}", err=True
        )
        raise typer.Exit(2)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogLines("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("sphereflow").setLevel(level)
