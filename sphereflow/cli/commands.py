"""The command `sphereflow`.

Heavy modules are imported inside the commands, so that ``--help`` answers at once. Exit codes:
0 all is well, 1 a run ended early (also by Ctrl-C) or a validation failed, 2 the request was
refused; 143 a run was ended by SIGTERM, 129 by SIGHUP, with its state kept; a sweep was ended in
the same way, and 130 by Ctrl-C.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..errors import ConfigurationError, printable
from ..machine.interruption import asked_to_stop, exit_code
from ..output.ends import End, is_good
from ..version import __version__
from .project import Debug, Quiet, demo, validate
from .terminal import (
    LogLines,
    cell,
    experiment_file,
    figure_file,
    new_file,
    numbers_of,
    print_comparison,
    print_members,
    print_summary,
    progress_bar,
    reported,
    save_figure,
    timed,
    write_figure,
)

__all__ = ["app", "main"]

app = typer.Typer(
    help="Solve the mean-field transformer equation on the sphere.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

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


def main() -> None:
    """Run the command line; the entry point of the package."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what an encoding lacks is no error
    app()


@contextmanager
def _ended(text: str) -> Iterator[None]:
    """Say this and exit with the code of the signal where one has ended what is done in here."""
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo(text, err=True)
        raise typer.Exit(exit_code(getattr(error, "name", "SIGINT"))) from None


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


@app.command()
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
        ended = resume and ended_attributes(Path(named)) is not None
        going_on = resume and (has_checkpoint(Path(named)) or (ended and not overwrite))
        if going_on:
            loaded = with_kept_seeds(loaded, kept_configuration(Path(named)), allow_code)
        target = new_file(Path(named), overwrite or going_on)
        figure = None if plot is None else figure_file(plot)
        options: dict[str, Any] = {"resume": resume and not (ended and overwrite)}
        if checkpoint is not None:
            options["checkpoint"] = checkpoint
        elif resume:
            options["checkpoint"] = loaded.run.get("checkpoint") or Checkpoint()
        lost = "ended before a time was saved; resume from the checkpoint, if there is one"
        with progress_bar(quiet) as bar, _ended(lost), asked_to_stop() as asked:
            report = bar(loaded.title or experiment)
            dataset, seconds = timed(loaded, target, report, **options)
        if figure is not None:
            write_figure(dataset, figure)
        if not quiet:
            print_summary({experiment: (dataset, seconds)})
    if not is_good(dataset.attrs["status"]):
        raise typer.Exit(exit_code(asked.name) if dataset.attrs["status"] == End.TERMINATED else 1)


@app.command()
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
    ended: dict[int, Any] = {}

    def report(member: Any, count: int) -> None:
        ended[member.number] = member
        if not quiet:
            took = f" ({member.seconds:.1f} s)" if member.seconds >= 0 else ""
            line = f"{len(ended)}/{count} {member.name}: {member.status}{took}"
            typer.echo(printable(line))

    with reported(debug):
        from ..experiments.sweep import sweep as run_sweep
        from ..experiments.sweep_plan import parse_values

        options: dict[str, Any] = {
            "vary": dict(map(parse_values, vary or ())),
            "overrides": change or (),
            "workers": workers,
            "scheduler": scheduler,
            "overwrite": overwrite,
            "allow_code": allow_code,
        }
        with _ended("interrupted; ended members are kept, run again to go on"):
            run_sweep(experiment_file(experiment), output, **options, report=report)
    bad = [member for _, member in sorted(ended.items()) if not is_good(member.status)]
    if bad:
        print_members(bad)
        raise typer.Exit(1)


@app.command()
def plot(
    dataset: Annotated[
        list[Path], typer.Argument(help="netCDF file of a run; of several for the kind slope.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Figure to write; replaced if it is there.")
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            "-k",
            help="overview, density, tokens, mobility, velocity, budget, slope or heads.",
        ),
    ] = "overview",
    times: Annotated[
        str | None, typer.Option("--times", help="Times of the maps, as in 0,1,5.")
    ] = None,
    projection: Annotated[
        str, typer.Option("--projection", help="mollweide or orthographic.")
    ] = "mollweide",
    path: EnsemblePath = None,
    lon: ViewLon = 30.0,
    lat: ViewLat = 20.0,
    debug: Debug = False,
) -> None:
    """Draw a run: an overview, maps at some times, its budget, its slope or its heads."""
    with reported(debug):
        from ..figures.plot import plot as draw
        from ..output.reading import open_run

        target = figure_file(output)
        runs = [open_run(file, "run") for file in dataset]
        options: dict[str, Any] = {"projection": projection, "path": path, "lon": lon, "lat": lat}
        figure = draw(runs, kind, times=None if times is None else numbers_of(times), **options)
        save_figure(figure, target)


@app.command()
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
                which=path,
                lon=lon,
                lat=lat,
                progress=lambda done, count: bar.update(task, completed=done, total=count),
            )


@app.command()
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
        write_page(open_run(dataset, "run"), target, which=path, lon=lon, lat=lat)


@app.command()
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


@app.command()
def experiments(debug: Debug = False) -> None:
    """List the experiments that come with the package."""
    with reported(debug):
        from ..experiments.experiment import list_experiments

        table = Table("name", "title", box=None)
        for shipped in list_experiments():
            table.add_row(cell(shipped.name), cell(shipped.title))
        Console().print(table)


app.command()(validate)
app.command()(demo)
