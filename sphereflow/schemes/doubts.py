"""What a run says of itself at the end where it is not certain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray

__all__ = ["doubts_about_earlier", "doubts_of_kernel", "doubts_of_resolution", "doubts_of_start"]

ROUND_OFF = 1e-13
WIDE_SPACING = 2.5  # |D| h² of a rule of spacing h, from which e^⟨x,Dy⟩ may fall between its points
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


def doubts_of_kernel(what: str, longest: float, spacing: float, remedy: str) -> list[str]:
    """A sentence where e^⟨x,Dy⟩ is narrower than points of this spacing in radians resolve."""
    width = longest * spacing**2
    if width <= WIDE_SPACING:
        return []
    return [
        f"with logits up to {longest:.3g} the kernel of the attention is narrower than {what} "
        f"resolve (|D| h² = {width:.2g}), so that velocities and energies are uncertain; raise "
        f"{remedy}"
    ]


def doubts_about_earlier(run: xarray.Dataset, rtol: float) -> list[str]:
    """A sentence where the run that this one goes on from was not resolved at its end."""
    if "resolution" not in run or ("token" in run.dims and "log_density" not in run):
        return []  # the resolution of tokens is their number
    resolution = float(np.max(np.atleast_1d(run["resolution"].values)[-1]))
    limit = COARSE_CELLS if "face" in run.dims else max(rtol, ROUND_OFF)
    if not resolution > limit:
        return []
    return [f"the earlier run ended with a resolution of {resolution:.1e}, which this one inherits"]
