"""The command `sphereflow`.

Heavy modules are imported inside the commands, so that ``--help`` answers at once. Exit codes:
0 all is well, 1 a run ended early (also by Ctrl-C) or a validation failed, 2 the request was
refused, 130 a sweep was ended by Ctrl-C.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from .errors import ConfigurationError, InputError, OutputError, SphereflowError
from .version import __version__

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["app", "main"]

app = typer.Typer(
    help="Solve the mean-field transformer equation on the sphere.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DEMO = {"ou": "paper_ou", "oscillating": "paper_oscillating"}
_SHOWN = ("step", "steps", "lmax", "cells", "nodes", "summation")  # of a run in its progress bar
_GOOD_ENDS = ("completed", "stopped", "steady", "clustered", "wall-time")

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary.")]
AllowCode = Annotated[
    bool,
    typer.Option("--allow-code", help="Import the functions that the file names; trust it first."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it is there.")]


def main() -> None:
    """Run the command line; the entry point of the package."""
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
    logging.basicConfig(format="%(levelname)s: %(message)s", stream=sys.stderr)
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
    with _reported(debug):
        from .checkpoints import has_checkpoint
        from .experiment import load_experiment

        file = _experiment_file(experiment)
        loaded = load_experiment(file, change or (), allow_code=allow_code)
        named = output or loaded.run.get("output")
        if named is None:
            raise ConfigurationError(
                "No output file was named; give one with -o OUT.nc or as the key run.output."
            )
        target = _new_file(Path(named), overwrite or (resume and has_checkpoint(Path(named))))
        figure = None if plot is None else _figure_file(plot)
        options: dict[str, Any] = {"resume": resume}
        if checkpoint is not None:
            options["checkpoint"] = checkpoint
        with _progress_bar(quiet) as bar:
            report = bar(loaded.title or experiment)
            dataset, seconds = _timed(loaded, target, report, **options)
        if figure is not None:
            _write_figure(dataset, figure)
        if not quiet:
            _print_summary({experiment: (dataset, seconds)})
    if dataset.attrs["status"] not in _GOOD_ENDS:
        raise typer.Exit(1)


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
            typer.echo(f"{len(ended)}/{count} {member.name}: {member.status}{took}")

    with _reported(debug):
        from .sweep_members import parse_values
        from .sweeps import sweep as run_sweep

        options: dict[str, Any] = {
            "vary": dict(map(parse_values, vary or ())),
            "overrides": change or (),
            "workers": workers,
            "scheduler": scheduler,
            "overwrite": overwrite,
            "allow_code": allow_code,
        }
        try:
            run_sweep(_experiment_file(experiment), output, **options, report=report)
        except KeyboardInterrupt:
            typer.echo("interrupted; ended members are kept, run again to go on", err=True)
            raise typer.Exit(130) from None
    bad = [member for _, member in sorted(ended.items()) if member.status not in _GOOD_ENDS]
    if bad:
        table = Table("member", "parameters", "status", "reason", box=None)
        for member in bad:
            row = (str(member.number), member.name, member.status, member.reason)
            table.add_row(*map(escape, row))
        Console().print(table)
        raise typer.Exit(1)


@app.command()
def plot(
    dataset: Annotated[Path, typer.Argument(help="netCDF file of a run.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Figure to write; replaced if it is there.")
    ],
    debug: Debug = False,
) -> None:
    """Draw the density, the slope and the energy budget of a run."""
    with _reported(debug):
        import xarray as xr

        target = _figure_file(output)
        try:
            opened = xr.open_dataset(dataset, engine="netcdf4")
        except (OSError, ValueError) as error:
            raise InputError(
                f"{str(dataset)!r} cannot be read as netCDF ({error}); give a file that "
                "'sphereflow run' wrote."
            ) from error
        with opened:
            _write_figure(opened, target)


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
    with _reported(debug):
        from .carried import open_run
        from .comparison import compare as compare_runs
        from .comparison import verdict
        from .comparison_figure import plot_comparison
        from .dataset import write_netcdf

        target = None if output is None else _new_file(output, overwrite)
        figure = None if plot is None else _figure_file(plot)
        first, second = open_run(a), open_run(b)
        report = compare_runs(first, second, interpolate=interpolate, transport=transport)
        if target is not None:
            write_netcdf(report, target)
        if figure is not None:
            _save_figure(plot_comparison(report, first, second), figure)
        table = Table("quantity", "largest", "expected of sampling", "verdict", box=None)
        for quantity, largest, expected, word in verdict(report):
            known = "" if not expected > 0 else f"{expected:.2e}"
            table.add_row(quantity, f"{largest:.2e}", known, word)
        Console().print(table)


@app.command()
def experiments(debug: Debug = False) -> None:
    """List the experiments that come with the package."""
    with _reported(debug):
        from .experiment import list_experiments

        table = Table("name", "title", box=None)
        for shipped in list_experiments():
            table.add_row(shipped.name, shipped.title)
        Console().print(table)


@app.command()
def validate(
    pattern: Annotated[
        str, typer.Argument(help="Run only the scripts whose name contains this.")
    ] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the scripts that take minutes each.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the tables.")] = False,
    debug: Debug = False,
) -> None:
    """Run the numbered validation scripts of the source tree and write results/report.md."""
    with _reported(debug):
        from .validation_report import run_script, validation_scripts, write_report

        # The scripts are no part of an installed package.
        directory = Path(__file__).resolve().parent.parent / "validation"
        scripts = validation_scripts(directory, pattern, quick)
        failed = []
        for script in scripts:
            code = run_script(script, typer.echo, verbose=verbose)
            if code != 0:
                typer.echo(f"{script.name} ended with exit code {code}", err=True)
                failed.append(script.name)
        write_report(directory / "results")
    typer.echo(f"{len(scripts) - len(failed)} passed, {len(failed)} failed")
    if failed:
        raise typer.Exit(1)


@app.command()
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
    with _reported(debug):
        from .experiment import find_experiment, load_experiment

        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"The directory {str(directory)!r} cannot be made ({error.strerror}); "
                "name another with --directory."
            ) from error
        results = {}
        with _progress_bar(quiet) as bar:
            for name, experiment in DEMO.items():
                loaded = load_experiment(find_experiment(experiment), change or ())
                target = _new_file(directory / f"{name}.nc", overwrite=True)
                results[experiment] = _timed(loaded, target, bar(experiment))
                _write_figure(results[experiment][0], directory / f"{name}.png")
        if not quiet:
            _print_summary(results)
            typer.echo(f"datasets and figures are in {directory}{os.sep}")
    if any(dataset.attrs["status"] not in _GOOD_ENDS for dataset, _ in results.values()):
        raise typer.Exit(1)


@contextmanager
def _reported(debug: bool) -> Iterator[None]:
    """Turn an error that is meant for the user into one line and exit code 2."""
    try:
        yield
    except SphereflowError as error:
        if debug:
            raise
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    except MemoryError as error:
        if debug:
            raise
        typer.echo(
            f"error: not enough memory ({error}); lower degrees, counts or outputs", err=True
        )
        raise typer.Exit(2) from error


def _experiment_file(name: str) -> Path:
    from .experiment import find_experiment

    path = Path(name)
    if path.exists() or path.suffix in (".toml", ".nc") or path.name != name:
        return path
    return find_experiment(name)


def _new_file(path: Path, overwrite: bool) -> Path:
    from .dataset import check_writable

    if path.exists() and not overwrite:
        raise OutputError(
            f"The output {str(path)!r} exists already; give --overwrite or another name."
        )
    return check_writable(path)


def _figure_file(path: Path) -> Path:
    from matplotlib.backend_bases import FigureCanvasBase

    from .dataset import check_writable

    formats = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in formats:
        raise OutputError(
            f"The figure {str(path)!r} has the ending {path.suffix!r}; "
            f"name one of {', '.join(sorted(formats))}."
        )
    return check_writable(path)


def _write_figure(dataset: xr.Dataset, path: Path) -> None:
    from .plotting import plot as draw

    _save_figure(draw(dataset), path)


def _save_figure(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise OutputError(
            f"The figure {str(path)!r} could not be written ({error}); check space and permissions."
        ) from error


def _timed(loaded: Any, target: Path, progress: Any, **options: Any) -> tuple[xr.Dataset, float]:
    start = time.perf_counter()
    dataset = loaded.solve(output=target, progress=progress, **options)
    return dataset, time.perf_counter() - start


@contextmanager
def _progress_bar(quiet: bool) -> Iterator[Callable[[str], Any]]:
    """Yield a function that adds a bar and returns what `solve` calls with its progress."""
    if quiet:
        yield lambda title: False
        return
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("t = {task.completed:.4g} of {task.total:.4g}, {task.fields[detail]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )

    def add(title: str) -> Callable[[float, float, dict[str, Any]], None]:
        task = bar.add_task(title, total=1.0, detail="starting")
        started: dict[str, float] = {}

        def report(t: float, t_end: float, information: dict[str, Any]) -> None:
            known = {name: information[name] for name in _SHOWN if name in information}
            detail = ", ".join(f"{name} {_short(value)}" for name, value in known.items())
            seconds = time.perf_counter() - started.setdefault("clock", time.perf_counter())
            done = t - started.setdefault("t", t)
            if done > 0:
                detail += f", {done / seconds:.2g} time units per second"
            bar.update(task, completed=t, total=t_end, detail=detail)

        return report

    with bar:
        yield add


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _print_summary(results: dict[str, tuple[xr.Dataset, float]]) -> None:
    table = Table("", *results, box=None)
    columns = [_numbers(dataset, seconds) for dataset, seconds in results.values()]
    for quantity in columns[0]:
        table.add_row(escape(quantity), *(column[quantity] for column in columns))
    Console().print(table)


def _numbers(dataset: xr.Dataset, seconds: float) -> dict[str, str]:
    """What tells at a glance whether a run is sound."""
    numbers = {
        "status": str(dataset.attrs["status"]),
        "wall time [s]": f"{seconds:.1f}",
        "largest error of the mass": f"{float(abs(dataset['mass'] - 1.0).max()):.1e}",
        "mean G², second half": "-",
        "largest energy residual": "-",
        "worst resolution (0 good)": "-",
        "lmax at the end": "-",
    }
    times = dataset["time"].values
    late = dataset.sel(time=slice(0.5 * (times[0] + times[-1]), None))
    if "slope_squared" in dataset and late.sizes["time"] > 1:
        span = float(late["time"][-1] - late["time"][0])
        mean = float(late["slope_squared"].integrate("time").mean()) / span
        numbers["mean G², second half"] = f"{mean:.4g}"
    if "energy_residual" in dataset:
        largest = float(abs(dataset["energy_residual"]).max())
        numbers["largest energy residual"] = f"{largest:.1e}"
    if "resolution" in dataset:
        numbers["worst resolution (0 good)"] = f"{float(dataset['resolution'].max()):.1e}"
    if "final_lmax" in dataset.attrs:
        numbers["lmax at the end"] = str(dataset.attrs["final_lmax"])
    return numbers
