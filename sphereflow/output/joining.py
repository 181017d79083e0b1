"""Runs that go on from each other as one run."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .reading import open_run

if TYPE_CHECKING:
    import xarray

__all__ = ["join"]

SAME_TIME = 1e-9  # of the last time


def join(runs: Sequence[xarray.Dataset | str | os.PathLike[str]]) -> xarray.Dataset:
    """One dataset of runs of which each goes on where the one before ended.

    Parameters
    ----------
    runs : sequence of datasets or paths
        In the order of time. The time at which a run begins is that at which the one before ended;
        its record there is left out.

    Returns
    -------
    xarray.Dataset
        Of all times, with NaN where a run lacks a variable. What does not depend on time, and the
        attributes, are those of the last run, which another one may go on from.

    Raises
    ------
    InputError
        If a run does not go on from the one before, or has other cells, tokens or degrees.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 2.0))
    >>> options = {"scheme": sf.Spectral(lmax=31), "save_every": 0.1}
    >>> first = sf.solve(problem, t_end=0.2, **options)
    >>> second = sf.solve(problem, t_end=0.3, initial=first, **options)
    >>> sf.join([first, second]).time.values
    array([0. , 0.1, 0.2, 0.3])
    """
    import xarray

    if isinstance(runs, str) or not isinstance(runs, Sequence) or not runs:
        raise InputError(
            f"runs must be a list of at least one dataset or path, got a {type(runs).__name__}; "
            "pass for example [first, second]"
        )
    opened = [open_run(run, f"run {number}") for number, run in enumerate(runs)]
    last = opened[-1]
    parts: list[xarray.Dataset] = []
    for number, run in enumerate(opened):
        timed = run.drop_vars([name for name, v in run.data_vars.items() if "time" not in v.dims])
        if parts:
            end = float(parts[-1]["time"][-1])
            near = SAME_TIME * max(1.0, abs(end))
            begin = float(timed["time"][0])
            if begin < end - near:
                raise InputError(
                    f"run {number} must begin where run {number - 1} ends, at t = {end:g}, got "
                    f"t = {begin:g}; pass them in the order of time, cut to times that do not "
                    "overlap"
                )
            timed = timed.isel(time=slice(1 if begin <= end + near else 0, None))
        for name, size in last.sizes.items():
            if name in timed.dims and name != "time" and timed.sizes[name] != size:
                raise InputError(
                    f"all runs must have the same {name}, got {timed.sizes[name]} of them in run "
                    f"{number} and {size} in the last; join runs of one scheme and resolution"
                )
        parts.append(timed)
    names = list(dict.fromkeys(name for part in parts for name in part.data_vars))
    whole = [part.assign(_missing(part, parts, names)) for part in parts if part.sizes["time"]]
    joined = xarray.concat(
        whole,
        "time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
    fixed = {name: v for name, v in last.variables.items() if "time" not in v.dims}
    joined = joined.assign({name: v for name, v in fixed.items() if name in last.data_vars})
    joined.attrs = dict(last.attrs)
    return joined


def _missing(
    part: xarray.Dataset, parts: Sequence[xarray.Dataset], names: Sequence[Hashable]
) -> dict[Hashable, xarray.Variable]:
    """NaN for what another run has and this one has not."""
    import xarray

    found = {}
    for name in names:
        if name not in part:
            like = next(one[name].variable for one in parts if name in one)
            sizes = {**dict(zip(like.dims, like.shape)), "time": part.sizes["time"]}
            values = np.full(tuple(sizes.values()), np.nan)
            found[name] = xarray.Variable(like.dims, values, like.attrs)
    return found
