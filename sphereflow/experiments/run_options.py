"""The run options of an experiment file: what `sphereflow.solve` takes and a file can hold."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from numpy.typing import ArrayLike

from ..describe.fields import Array, Bounds, File, Kinds, Listed
from ..describe.registry import STOP_RULES
from ..solving.checkpoints import Checkpoint
from ..solving.stopping import StopRule

__all__ = ["RunOptions"]

PathLike = str | os.PathLike[str]
Positive = Annotated[float, Bounds(above=0)]


@dataclass(frozen=True)
class RunOptions:
    """Keys of the section ``[run]``, with the meaning that they have in `sphereflow.solve`.

    Parameters
    ----------
    t_end : float
        Final time.
    save_every : float, optional
        Interval of the outputs.
    save_at : array_like, optional
        Output times in place of `save_every`.
    rtol : float
        Relative tolerance of the time integration.
    max_step : float, optional
        Longest step in time.
    initial : path, optional
        A run from whose last time and density this one goes on.
    output : path, optional
        netCDF file to write.
    checkpoint : float or table, optional
        Minutes between checkpoints of the whole state.
    stop : list of tables
        Rules that end the run early.
    """

    t_end: Positive
    save_every: Positive | None = None
    save_at: Annotated[ArrayLike, Array((), (None,))] | None = None
    rtol: Annotated[float, Bounds(1e-14, 0.1)] = 1e-6
    max_step: Positive | None = None
    initial: Annotated[PathLike, File()] | None = None
    output: Annotated[PathLike, File()] | None = None
    checkpoint: Positive | Checkpoint | None = None
    stop: Annotated[Sequence[StopRule], Listed(Kinds(STOP_RULES))] = ()
