"""Checks of what a `FokkerPlanckLaw` is given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..checks import finite_array, held, integer, shown
from ..errors import InputError
from .initial_laws import Initial, Normal, NormalMixture, Point

__all__ = ["check_length", "checked_cells", "checked_domain", "components"]

Real = NDArray[np.float64]


def components(initial: Initial) -> tuple[list[Normal | Point], Real]:
    """The parts of an initial law and their weights; one part for a law that is no mixture."""
    if isinstance(initial, NormalMixture):
        return [*initial.components], held(initial.weights)
    assert isinstance(initial, Normal | Point)
    return [initial], np.ones(1)


def check_length(initial: object, dimension: int) -> None:
    """A Normal or Point must fit the number of parameters."""
    if isinstance(initial, NormalMixture):
        for one in initial.components:
            check_length(one, dimension)
        return
    for name in ("theta", "mean", "std"):
        shape = np.shape(getattr(initial, name, 0.0))
        if shape not in ((), (1,), (dimension,)):
            raise InputError(
                f"initial.{name} must be a number or have {dimension} entries, got shape {shape}"
            )


def checked_domain(domain: object, dimension: int) -> Real:
    array = np.atleast_2d(finite_array(domain, "domain"))
    if array.shape != (dimension, 2) or not (array[:, 0] < array[:, 1]).all():
        raise InputError(
            f"domain must have shape ({dimension}, 2) with lower before upper ends, got "
            f"{shown(array)}"
        )
    return array


def checked_cells(cells: object, dimension: int) -> tuple[int, ...]:
    counts = [cells] * dimension
    if isinstance(cells, list | tuple) or (isinstance(cells, np.ndarray) and cells.ndim == 1):
        counts = list(cells)
    if len(counts) != dimension:
        raise InputError(
            f"cells must be one number or {dimension}, got {shown(cells)}; give one for each axis"
        )
    return tuple(integer(one, "cells", 8, 1_000_000) for one in counts)
