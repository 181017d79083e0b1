"""The run options of an experiment file: what `sphereflow.solve` takes and a file can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from ..describe.fields import Array, Bounds, File, Kinds, Listed
from ..describe.registry import STOP_RULES
from ..solving.checkpoints import Checkpoint

__all__ = ["RunOptions"]

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
    save_at: Annotated[Any, Array((), (None,))] = None
    rtol: Annotated[float, Bounds(1e-14, 0.1)] = 1e-6
    max_step: Positive | None = None
    initial: Annotated[Any, File()] = None
    output: Annotated[Any, File()] = None
    checkpoint: Positive | Checkpoint | None = None
    stop: Annotated[Any, Listed(Kinds(STOP_RULES))] = ()
