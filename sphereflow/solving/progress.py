"""Progress of a run: a bar, a line of text where there is no bar, or a function of the user."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

__all__ = ["Progress", "progress_report"]

Progress = Callable[[float, float, dict[str, object]], None]

BETWEEN_LINES = 0.5  # s


def progress_report(progress: bool | Progress) -> tuple[Progress, Callable[[], None]]:
    """A function to report progress to, and one that ends it."""
    if callable(progress):
        return progress, lambda: None
    if not progress:
        return (lambda t, t_end, information: None), (lambda: None)
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console()
    if console.is_jupyter and find_spec("ipywidgets") is None:
        return _line()
    bar = Bar(transient=True, console=console)
    task = bar.add_task("t = 0", total=1.0)
    bar.start()

    def report(t: float, t_end: float, information: dict[str, object]) -> None:
        bar.update(task, completed=t / t_end, description=f"t = {t:.3g}")

    return report, bar.stop


def _line() -> tuple[Progress, Callable[[], None]]:
    """A line that is written again and again."""
    shown = -BETWEEN_LINES

    def report(t: float, t_end: float, information: dict[str, object]) -> None:
        nonlocal shown
        if time.monotonic() < shown + BETWEEN_LINES and t < t_end:
            return
        shown = time.monotonic()
        sys.stdout.write(f"\rt = {t:.3g} of {t_end:.3g} ")
        sys.stdout.flush()

    return report, lambda: print()
