"""Verdict tables, figures and netCDF files of the numbered validation scripts.

A script that takes minutes says so in a line of its own, `# slow`, and is left out of
`sphereflow validate --quick`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import xarray
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"


def _cell(text: str) -> str:
    """Text that may stand in a cell of a Markdown table."""
    return text.replace("|", "\\|")


class Evidence:
    """Collects measured figures against their bounds and prints one verdict.

    Parameters
    ----------
    name : str
        File name of the results, without its ending.
    title : str
    claim : str
        Equation or theorem that is checked, for the first table of the report.
    method : str
        Schemes and references by which.
    """

    def __init__(self, name: str, title: str, *, claim: str, method: str) -> None:
        self.name = name
        self.title = title
        self.claim = claim
        self.method = method
        self.checks = 0
        self.failed = 0
        self.started = time.monotonic()
        self._rows: list[str] = []
        self._pictures: list[str] = []
        RESULTS.mkdir(exist_ok=True)
        print(title)

    def below(self, what: str, value: float, bound: float) -> None:
        """A measured value that must not exceed its bound."""
        self._row(what, value, bound, value <= bound, "≤")

    def above(self, what: str, value: float, bound: float) -> None:
        """A measured value that must reach its bound."""
        self._row(what, value, bound, value >= bound, "≥")

    def note(self, what: str, value: float) -> None:
        """A measured value without a bound."""
        print(f"  {what:<66} {value:10.3e}")
        self._rows.append(f"| {_cell(what)} | {value:.3g} | | |")

    def interval(
        self, what: str, value: float, ends: tuple[float, float], beside: str = ""
    ) -> None:
        """A fitted value with its 95 % interval, and what it is to be read beside."""
        shown = f"{value:.3g} [{ends[0]:.3g}, {ends[1]:.3g}]"
        print(f"  {what:<66} {shown} {beside}")
        self._rows.append(f"| {_cell(what)} | {shown} | {_cell(beside)} | |")

    def _row(self, what: str, value: float, bound: float, good: bool, sign: str) -> None:
        self.checks += 1
        self.failed += not good
        word = "ok" if good else "FAILED"
        print(f"  {what:<66} {value:10.3e} {sign} {bound:8.1e}  {word}")
        self._rows.append(f"| {_cell(what)} | {value:.3g} | {sign} {bound:.2g} | {word} |")

    def save(self, dataset: xarray.Dataset, figure: Figure) -> None:
        """Write the numbers and the figure to validation/results."""
        dataset.to_netcdf(RESULTS / f"{self.name}.nc")
        self.picture(figure, self.name, self.title)

    def picture(self, figure: Figure, name: str, caption: str) -> None:
        """Write a figure to validation/results and show it in the report."""
        figure.savefig(RESULTS / f"{name}.png", dpi=150, bbox_inches="tight")
        self._pictures += [f"![{caption}]({name}.png)", ""]

    def verdict(self) -> None:
        """Print the verdict, write the table, and leave with 0 if every bound held."""
        word = "FAILED" if self.failed else "PASSED"
        print(f"verdict {self.name}: {word}")
        table = ["| quantity | measured | bound | verdict |", "|---|---|---|---|", *self._rows]
        about = (sys.modules["__main__"].__doc__ or "").strip()
        summary = {
            "Claim": self.claim,
            "Method": self.method,
            "Checks": f"{self.checks - self.failed} of {self.checks} within their bounds",
            "Time": f"{time.monotonic() - self.started:.0f} s",
        }
        lines = [f"* {name}: {value}" for name, value in summary.items()]
        head = [f"## {self.name[:2]} {self.title}: {word}", "", *lines, "", about, ""]
        text = [*head, *table, "", *self._pictures]
        (RESULTS / f"{self.name}.md").write_text("\n".join(text), encoding="utf-8")
        sys.exit(1 if self.failed else 0)
