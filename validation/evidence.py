"""Verdict tables, figures and netCDF files of the numbered validation scripts."""

from __future__ import annotations

import sys
from pathlib import Path

import xarray
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"


class Evidence:
    """Collects measured figures against their bounds and prints one verdict.

    Parameters
    ----------
    name : str
        File name of the results, without its ending.
    title : str
    """

    def __init__(self, name: str, title: str) -> None:
        self.name = name
        self.passed = True
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

    def _row(self, what: str, value: float, bound: float, good: bool, sign: str) -> None:
        self.passed &= bool(good)
        print(f"  {what:<66} {value:10.3e} {sign} {bound:8.1e}  {'ok' if good else 'FAILED'}")

    def save(self, dataset: xarray.Dataset, figure: Figure) -> None:
        """Write the numbers and the figure to validation/results."""
        dataset.to_netcdf(RESULTS / f"{self.name}.nc")
        figure.savefig(RESULTS / f"{self.name}.png", dpi=150, bbox_inches="tight")

    def verdict(self) -> None:
        """Print the verdict and leave with 0 if every bound held."""
        print(f"verdict {self.name}: {'PASSED' if self.passed else 'FAILED'}")
        sys.exit(0 if self.passed else 1)
