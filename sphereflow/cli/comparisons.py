"""The command that compares two runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    Debug,
    Overwrite,
)
from .terminal import (
    figure_file,
    new_file,
    print_comparison,
    reported,
    save_figure,
)

__all__ = ["compare"]


def compare(
    a: Annotated[Path, typer.Argument(help="netCDF file of a run.")],
    b: Annotated[Path, typer.Argument(help="netCDF file of another run.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="netCDF report to write.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Figure to write as well.")] = None,
    interpolate: Annotated[
        bool, typer.Option("--interpolate", help="Interpolate B to the times of A.")
    ] = False,
    transport: Annotated[
        bool, typer.Option("--transport/--no-transport", help="Wasserstein distances or not.")
    ] = True,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Compare two runs over their common times: distances, differences, sampling error."""
    with reported(debug):
        from ..diagnostics.comparison import compare as compare_runs
        from ..figures.comparison_figure import plot_comparison
        from ..output.netcdf import write_netcdf
        from ..output.reading import open_run

        target = None if output is None else new_file(output, overwrite)
        figure = None if plot is None else figure_file(plot)
        first, second = open_run(a, "a"), open_run(b, "b")
        report = compare_runs(first, second, interpolate=interpolate, transport=transport)
        if target is not None:
            write_netcdf(report, target)
        if figure is not None:
            save_figure(plot_comparison(report, first, second), figure)
        print_comparison(report)
