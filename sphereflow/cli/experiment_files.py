"""Commands about experiment files: those that are shipped, and their schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from .options import Debug, Overwrite
from .terminal import cell, new_file, reported

__all__ = ["experiments", "new", "schema"]


def experiments(
    show: Annotated[
        str | None, typer.Option("--show", help="Print the file of this one in place of the list.")
    ] = None,
    debug: Debug = False,
) -> None:
    """List the experiments that come with the package."""
    with reported(debug):
        from ..experiments.experiment import find_experiment, list_experiments

        if show is not None:
            typer.echo(find_experiment(show).read_text("utf-8"), nl=False)
            return
        table = Table("name", "title", box=None)
        for shipped in list_experiments():
            table.add_row(cell(shipped.name), cell(shipped.title))
        Console().print(table)


def new(
    name: Annotated[str, typer.Argument(help="Experiment to start from, of `experiments`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="TOML file to write.")],
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Write an experiment to start from, with every key that it leaves out as a comment."""
    with reported(debug):
        from ..experiments.template import commented_experiment
        from ..machine.files import replaced

        text = commented_experiment(name)
        target = new_file(output, overwrite)
        with replaced(target, "experiment") as partial:
            partial.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {output}; run it by: sphereflow run {output} -o {output.stem}.nc")


def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; replaced if there.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Write the JSON schema of experiment files, by which editors complete and check them."""
    with reported(debug):
        from ..experiments.schema import schema_text
        from ..machine.files import check_writable, replaced

        text = schema_text()
        if output is None:
            typer.echo(text, nl=False)
            return
        target = check_writable(output)
        with replaced(target, "schema") as partial:
            partial.write_text(text, encoding="utf-8")
