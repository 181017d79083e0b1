"""Numbers of the members of a sweep: over time, and one for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..diagnostics.clusters import clusters
from ..diagnostics.moments import order_parameter
from ..errors import InputError
from ..output.swept import ATTRIBUTES, RECORDED, member_of, swept_dims

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CLUSTERED", "ORDER_PARAMETER", "TIME_TO_CLUSTER", "label_of", "numbers", "over_time"]

Real = NDArray[np.float64]

ORDER_PARAMETER, CLUSTERS, TIME_TO_CLUSTER = "order_parameter", "clusters", "time_to_cluster"
CLUSTERED = 0.9  # order parameter of tokens that have gathered: cos 26° of a ring around the mean
_LONGEST = 50  # letters of a label
_LABELS = {
    ORDER_PARAMETER: r"order parameter $|\int x\,\mathrm{d}\mu|$ [1]",
    CLUSTERS: "number of clusters [1]",
    TIME_TO_CLUSTER: rf"time to $|\int x\,\mathrm{{d}}\mu| \geq {CLUSTERED:g}$ [1]",
    "energy": "energy $E$ [1]",
    "slope_squared": "slope $G^2$ [1]",
    "dissipation": "dissipation $R$ [1]",
}


def label_of(sweep: xr.Dataset, quantity: str) -> str:
    """Name and units of a quantity, for an axis."""
    if quantity in _LABELS:
        return _LABELS[quantity]
    attributes = sweep[quantity].attrs
    name = str(attributes.get("long_name", quantity))
    name = name if len(name) <= _LONGEST else quantity
    return f"{name} [{attributes.get('units', '1')}]"


def over_time(sweep: xr.Dataset, quantity: str) -> xr.DataArray:
    """A number of each member over the swept dimensions, `path` in ensembles, and `time`.

    Parameters
    ----------
    sweep : xarray.Dataset
    quantity : str
        "order_parameter", "clusters", or a variable that has no other dimensions.

    Returns
    -------
    xarray.DataArray
        NaN at times that a member does not have, or at which it does not hold what is needed.

    Raises
    ------
    InputError
        If there is no such quantity over time.
    """
    dims = swept_dims(sweep)
    if quantity == CLUSTERS:
        return _numbers_of_clusters(sweep, dims)
    if quantity == ORDER_PARAMETER and "first_moment" in sweep:
        found = order_parameter(sweep)
    elif quantity in sweep and set(sweep[quantity].dims) - {*dims, "path"} == {"time"}:
        found = sweep[quantity].astype(float)
    else:
        raise InputError(
            f"quantity must be a number of the members over time, got {quantity!r}; choose one of "
            f"{', '.join(_choices(sweep, dims))}"
        )
    missing = [dim for dim in dims if dim not in found.dims]
    if missing:  # such as what is the same in all members
        found = found.expand_dims({dim: sweep.sizes[dim] for dim in missing})
    if RECORDED in sweep:
        found = found.where(sweep[RECORDED] > 0)
    rest = [dim for dim in ("path", "time") if dim in found.dims]
    return found.transpose(*dims, *rest)


def _choices(sweep: xr.Dataset, dims: tuple[str, ...]) -> list[str]:
    own = [ORDER_PARAMETER, CLUSTERS] if "first_moment" in sweep else [CLUSTERS]
    plain = [
        str(name)
        for name, variable in sweep.data_vars.items()
        if name != RECORDED
        and variable.dtype.kind in "iuf"
        and set(variable.dims) - {*dims, "path"} == {"time"}
    ]
    return [*own, *plain]


def numbers(sweep: xr.Dataset, quantity: str, time: float | None = None) -> xr.DataArray:
    """One number of each member over the swept dimensions, and `path` in ensembles.

    Parameters
    ----------
    sweep : xarray.Dataset
    quantity : str
        As in `over_time`, or "time_to_cluster": the first time at which the order parameter is
        `CLUSTERED`, linear between outputs, NaN if it never is. A variable over the swept
        dimensions alone, such as `wall_time`, is taken as it is.
    time : float, optional
        One of the output times; the last one that each member has if left out.

    Raises
    ------
    InputError
        If there is no such quantity.
    """
    dims = swept_dims(sweep)
    if quantity == TIME_TO_CLUSTER:
        order = over_time(sweep, ORDER_PARAMETER)
        return _first_times(order)
    if quantity in sweep and sweep[quantity].dims and set(sweep[quantity].dims) <= {*dims}:
        if sweep[quantity].dtype.kind in "iuf":
            full = sweep[quantity].broadcast_like(sweep[ATTRIBUTES])
            return full.astype(float).transpose(*dims)
    if time is not None:
        chosen = sweep.isel(time=[int(np.abs(sweep["time"].values - time).argmin())])
        return over_time(chosen, quantity).isel(time=0)
    if quantity == CLUSTERS:
        return _numbers_of_clusters(sweep, dims, last=True).isel(time=-1)
    found = over_time(sweep, quantity)
    if RECORDED not in sweep:
        return found.isel(time=-1)
    own = sweep[RECORDED].transpose(*dims, "time").values > 0
    last = sweep[ATTRIBUTES].copy(data=own.shape[-1] - 1 - own[..., ::-1].argmax(axis=-1))
    return found.isel(time=last)


def _numbers_of_clusters(
    sweep: xr.Dataset, dims: tuple[str, ...], last: bool = False
) -> xr.DataArray:
    """The number of clusters; with `last` only that of each member's last time, at the end."""
    paths = sweep.sizes.get("path", 1)
    shape = tuple(sweep.sizes[dim] for dim in dims)
    values = np.full((*shape, paths, sweep.sizes["time"]), np.nan)
    for index in np.ndindex(*shape):
        selected = sweep.isel(dict(zip(dims, index, strict=True)))
        own = selected[RECORDED].values > 0 if RECORDED in selected else np.ones(1, dtype=bool)
        if not str(selected[ATTRIBUTES].item()) or not own.any():
            continue  # it failed, or has none of these times
        run = member_of(selected)
        run = run.isel(time=[-1]) if last else run
        places = [-1] if last else np.searchsorted(sweep["time"].values, run["time"].values)
        for path in range(paths):
            one = run.isel(path=path) if "path" in run.dims else run
            values[(*index, path, places)] = clusters(one)["number"].values
    found = sweep["time"].copy(deep=False).expand_dims({"path": paths}).astype(float)
    found = found.expand_dims(dict(zip(dims, shape, strict=True))).copy(data=values)
    found = found.assign_coords({dim: sweep[dim] for dim in dims if dim in sweep.coords})
    return found if "path" in sweep.dims else found.isel(path=0, drop=True)


def _first_times(order: xr.DataArray) -> xr.DataArray:
    time = order["time"].values
    found = order.isel(time=0, drop=True)
    values = np.full(found.shape, np.nan)
    for index in np.ndindex(*found.shape):
        here = order.values[index]
        known = np.isfinite(here)
        t, size = time[known], here[known]
        above = np.flatnonzero(size >= CLUSTERED)
        if above.size:
            k = int(above[0])
            values[index] = (
                t[k] if k == 0 else np.interp(CLUSTERED, size[k - 1 : k + 1], t[k - 1 : k + 1])
            )
    return found.copy(data=values)
