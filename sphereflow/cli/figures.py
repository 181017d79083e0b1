"""Commands that draw runs: figures, movies and pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .options import (
    Debug,
    EnsemblePath,
    Overwrite,
    Quiet,
    ViewLat,
    ViewLon,
)
from .terminal import (
    cell,
    figure_file,
    new_file,
    numbers_of,
    reported,
    save_figure,
)

__all__ = ["animate", "plot", "view"]


def plot(
    dataset: Annotated[
        list[Path],
        typer.Argument(help="netCDF file of a run or a sweep; of several runs for slope."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Figure to write; replaced if it is there.")
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            "-k",
            help="overview, density, tokens, mobility, velocity, budget, slope or heads; of a "
            "sweep phase, its default, or family.",
        ),
    ] = "overview",
    times: Annotated[
        str | None,
        typer.Option("--times", help="Times of the maps, as in 0,1,5; of a phase diagram one."),
    ] = None,
    projection: Annotated[
        str, typer.Option("--projection", help="mollweide or orthographic.")
    ] = "mollweide",
    path: EnsemblePath = None,
    lon: ViewLon = 30.0,
    lat: ViewLat = 20.0,
    quantity: Annotated[
        str | None,
        typer.Option(
            "--quantity",
            help="Of a sweep: order_parameter, the default, clusters, time_to_cluster, or a "
            "variable such as energy or slope_squared.",
        ),
    ] = None,
    scale: Annotated[
        str,
        typer.Option("--scale", help="Of maps and sweeps: auto, linear, log or symlog."),
    ] = "auto",
    vmin: Annotated[
        float | None, typer.Option("--vmin", help="Lower end of the colours, or of the curves.")
    ] = None,
    vmax: Annotated[
        float | None, typer.Option("--vmax", help="Upper end of the colours, or of the curves.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Draw a run: an overview, maps at some times, its budget, its slope or its heads.

    Of a sweep it draws a phase diagram, or families of curves over time.
    """
    with reported(debug):
        from ..figures.fields import nearest_times
        from ..figures.plot import plot as draw
        from ..output.reading import open_runs

        target = figure_file(output)
        runs = [open_runs(file, "run") for file in dataset]
        at = None if times is None else numbers_of(times)
        figure = draw(
            runs[0] if len(runs) == 1 else runs,
            kind,
            times=at,
            projection=projection,
            path=path,
            lon=lon,
            lat=lat,
            quantity=quantity,
            scale=scale,
            vmin=vmin,
            vmax=vmax,
        )
        save_figure(figure, target)
        if at is not None:
            drawn = nearest_times(runs[0], at, 1)
            listed = ", ".join(f"{time:.6g}" for time in runs[0]["time"].values[drawn])
            typer.echo(f"Drawn at the output times t = {listed}.")


def animate(
    dataset: Annotated[Path, typer.Argument(help="netCDF file of a run.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Movie to write: .gif, or .mp4 with ffmpeg.")
    ],
    kind: Annotated[
        str, typer.Option("--kind", "-k", help="density, tokens, mobility or velocity.")
    ] = "density",
    projection: Annotated[
        str, typer.Option("--projection", help="orthographic or mollweide.")
    ] = "orthographic",
    fps: Annotated[float, typer.Option("--fps", help="Frames per second.")] = 12.0,
    rotate: Annotated[
        float, typer.Option("--rotate", help="Degrees that the globe turns in all.")
    ] = 0.0,
    frames: Annotated[
        int | None, typer.Option("--frames", help="Number of frames, at evenly taken output times.")
    ] = None,
    path: EnsemblePath = None,
    lon: ViewLon = 30.0,
    lat: ViewLat = 20.0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a movie of a run."""
    with reported(debug):
        from ..figures.animation import animate as write_movie
        from ..figures.animation import check_movie
        from ..output.reading import open_run

        target = check_movie(new_file(output, overwrite))
        run = open_run(dataset, "run")
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("frame {task.completed} of {task.total}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=quiet or not Console(stderr=True).is_terminal,
            transient=True,
        ) as bar:
            task = bar.add_task(cell(output.name), total=None)
            write_movie(
                run,
                target,
                kind=kind,
                projection=projection,
                fps=fps,
                rotate=rotate,
                frames=frames,
                path=path,
                lon=lon,
                lat=lat,
                progress=lambda done, count: bar.update(task, completed=done, total=count),
            )


def view(
    dataset: Annotated[Path, typer.Argument(help="netCDF file of a run.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")],
    path: EnsemblePath = None,
    lon: ViewLon = 30.0,
    lat: ViewLat = 20.0,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Write a page that shows a run on a globe in any browser, with a slider for the time."""
    with reported(debug):
        from ..figures.sphere_view import view as write_page
        from ..output.reading import open_run

        target = new_file(output, overwrite)
        write_page(open_run(dataset, "run"), target, path=path, lon=lon, lat=lat)
