"""What a run says of itself at the end where it is not certain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray

__all__ = ["doubts_about_earlier", "doubts_of_resolution", "doubts_of_start"]

ROUND_OFF = 1e-13
COARSE_CELLS = 0.1  # deviation of cells from their neighbours that shows a peak within a cell


def doubts_of_start(error: float, rtol: float) -> list[str]:
    """A sentence on the error with which a density was taken over, where it exceeds `rtol`."""
    if error <= rtol:
        return []
    return [
        f"the density of the earlier run was taken over with an error of {error:.1e} of its "
        "largest value, since harmonics are all that the two schemes share; go on with the scheme "
        "of that run to avoid it"
    ]


def doubts_of_resolution(what: str, resolution: float, rtol: float, remedy: str) -> list[str]:
    """A sentence on a resolution at the end that exceeds `rtol`."""
    if resolution <= max(rtol, ROUND_OFF):
        return []
    return [f"{what} are at {resolution:.1e} at the end (resolution), beyond rtol; raise {remedy}"]


def doubts_about_earlier(run: xarray.Dataset, rtol: float) -> list[str]:
    """A sentence where the run that this one goes on from was not resolved at its end."""
    if "resolution" not in run or ("token" in run.dims and "log_density" not in run):
        return []  # the resolution of tokens is their number
    resolution = float(np.max(np.atleast_1d(run["resolution"].values)[-1]))
    limit = COARSE_CELLS if "face" in run.dims else max(rtol, ROUND_OFF)
    if not resolution > limit:
        return []
    return [f"the earlier run ended with a resolution of {resolution:.1e}, which this one inherits"]
