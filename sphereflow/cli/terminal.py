"""What the commands share: files they read and write, errors, progress bars, summaries."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ..describe.registry import SCHEMES
from ..errors import InputError, OutputError, SphereflowError, printable

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from ..experiments.experiment import Experiment
    from ..experiments.sweep_plan import Member

__all__ = [
    "LogLines",
    "cell",
    "figure_file",
    "new_file",
    "numbers_of",
    "print_comparison",
    "print_members",
    "print_summary",
    "progress_bar",
    "reported",
    "save_figure",
    "timed",
    "write_figure",
]


Progressed = Callable[[float, float, Mapping[str, object]], None]


class LogLines(logging.Formatter):
    """One printable line for each message, whatever values it names."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def cell(text: object) -> str:
    """Text for a table or a progress bar, where rich would read brackets as commands."""
    return escape(printable(str(text)))


@contextmanager
def reported(debug: bool) -> Iterator[None]:
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
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if debug:
            raise
        text = printable(" ".join(str(error).split()))[:500]
        typer.echo(
            f"error: unexpected {type(error).__name__}: {text}; --debug shows where", err=True
        )
        raise typer.Exit(2) from error


def new_file(path: Path, overwrite: bool) -> Path:
    from ..machine.files import check_writable

    if os.path.exists(path) and not overwrite:
        raise OutputError(
            f"The output {str(path)!r} exists already; give --overwrite or another name."
        )
    return check_writable(path)


def numbers_of(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"--times must be numbers between commas, got {text!r}; write as in --times 0,1,5"
        ) from error


def figure_file(path: Path) -> Path:
    from matplotlib.backend_bases import FigureCanvasBase

    from ..machine.files import check_writable

    formats = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in formats:
        raise OutputError(
            f"The figure {str(path)!r} has the ending {path.suffix!r}; "
            f"name one of {', '.join(sorted(formats))}."
        )
    return check_writable(path)


def write_figure(dataset: xr.Dataset, path: Path) -> None:
    from ..figures.plot import plot as draw

    save_figure(draw(dataset), path)


def save_figure(figure: Figure, path: Path) -> None:
    from ..machine.files import replaced

    with replaced(path, "figure", path.suffix) as partial:
        figure.savefig(partial, dpi=150)


def timed(
    loaded: Experiment, target: Path, progress: bool | Progressed, **options: Any
) -> tuple[xr.Dataset, float]:
    start = time.perf_counter()
    dataset = loaded.solve(output=target, progress=progress, **options)
    return dataset, time.perf_counter() - start


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[str], bool | Progressed]]:
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

    def add(title: str) -> Progressed:
        task = bar.add_task(cell(title), total=1.0, detail="starting")
        started: dict[str, float] = {}
        shown = dict.fromkeys(name for row in SCHEMES.rows() for name in row.shows)

        def report(t: float, t_end: float, information: Mapping[str, object]) -> None:
            known = {name: information[name] for name in shown if name in information}
            detail = ", ".join(f"{name} {_short(value)}" for name, value in known.items())
            seconds = time.perf_counter() - started.setdefault("clock", time.perf_counter())
            done = t - started.setdefault("t", t)
            if done > 0:
                detail += f", {done / seconds:.2g} time units per second"
            bar.update(task, completed=t, total=t_end, detail=detail)

        return report

    with bar:
        yield add


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def print_summary(results: dict[str, tuple[xr.Dataset, float]]) -> None:
    table = Table("", *map(cell, results), box=None)
    columns = [_numbers(dataset, seconds) for dataset, seconds in results.values()]
    for quantity in columns[0]:
        table.add_row(cell(quantity), *(cell(column[quantity]) for column in columns))
    Console().print(table)


def print_members(members: Iterable[Member]) -> None:
    """Members of a sweep, each with what became of it."""
    table = Table("member", "parameters", "status", "reason", box=None)
    for one in members:
        table.add_row(*map(cell, (one.number, one.name, one.status, one.reason)))
    Console().print(table)


def print_comparison(report: xr.Dataset) -> None:
    """The rows of the verdict on two runs, and what to know about them."""
    from ..diagnostics.comparison import verdict

    table = Table("quantity", "largest", "rms", "rms of sampling", "verdict", box=None)
    for quantity, largest, size, expected, word in verdict(report):
        known = "" if not expected > 0 else f"{expected:.2e}"
        table.add_row(cell(quantity), f"{largest:.2e}", f"{size:.2e}", known, word)
    Console().print(table)
    if report.attrs["different"]:
        parts = report.attrs["different"].replace(" ", ", ")
        Console().print(f"The runs are of different {cell(parts)}.")
    if report.attrs["interpolated"]:
        Console().print("B was interpolated to the times of A, which adds an error of its own.")


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
