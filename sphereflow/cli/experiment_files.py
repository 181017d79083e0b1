"""Commands about experiment files: those that are shipped, and their schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from .options import (
    Debug,
)
from .terminal import (
    cell,
    reported,
)

__all__ = ["experiments", "schema"]


def experiments(debug: Debug = False) -> None:
    """List the experiments that come with the package."""
    with reported(debug):
        from ..experiments.experiment import list_experiments

        table = Table("name", "title", box=None)
        for shipped in list_experiments():
            table.add_row(cell(shipped.name), cell(shipped.title))
        Console().print(table)


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
