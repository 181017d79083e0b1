"""Two runs against each other: distances, differences, and what sampling explains of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_trapezoid

from ..checks import boolean, integer, shown
from ..errors import InputError
from ..output.reading import experiment_of, open_run, section_of
from ..output.variables import VARIABLES
from .between import NO_TRANSPORT, between_densities, mobility_difference, transported
from .distances import (
    SOBOLEV_ORDER,
    expected_sampling_error,
    sobolev_distance,
    sobolev_weights,
)
from .instants import Instant
from .transport import MOST_POINTS

if TYPE_CHECKING:
    import xarray

__all__ = ["compare", "sampling_error", "verdict"]

Real = NDArray[np.float64]

Part = TypeVar("Part")

SAME_TIME = 1e-9
NUMBERS = tuple(name for name, one in VARIABLES.items() if one.compared)
NOISE = 3.0  # a distance above so many times the expected one is no sampling error
UNITS = {"w1": "rad", "w2": "rad", "w1_error": "rad", "w2_error": "rad"}
UNITS |= {"l2": "sr-0.5", "l2_error": "sr-0.5"}
LONG_NAMES = {
    "sobolev": "negative Sobolev distance of the spectra",
    "sobolev_expected": "largest root mean square of it up to this time for independent tokens",
    "sobolev_expected_heads": "root mean square of it by independent draws of the heads",
    "sobolev_spread": "root mean square of it by the spread over the paths of the runs",
    "w1": "Wasserstein distance of order 1, geodesic cost",
    "w2": "Wasserstein distance of order 2, geodesic cost",
    "w1_error": "bound of the error of w1",
    "w2_error": "bound of the error of w2",
    "total_variation_error": "bound of the error of total_variation",
    "l2_error": "bound of the error of l2",
    "total_variation": "half of the integral of the absolute difference of the densities",
    "l2": "L2 distance of the densities",
    "mobility": "root mean square difference of b, weighted by the mean of both densities",
    "first_moment": "length of the difference of the mean tokens",
    "second_moment": "Frobenius norm of the difference of the second moments",
    "clusters": "difference of the numbers of clusters, b minus a",
}


class _Path(NamedTuple):
    """One path of a run, and whether its tokens are a random sample."""

    dataset: xarray.Dataset
    sampled: bool


def compare(
    a: xarray.Dataset | str | os.PathLike[str],
    b: xarray.Dataset | str | os.PathLike[str],
    *,
    interpolate: bool = False,
    transport: bool = True,
    mobility: bool = True,
    most_points: int = MOST_POINTS,
    seed: int = 0,
) -> xarray.Dataset:
    """Distances and differences of two runs over their common times.

    Parameters
    ----------
    a, b : xarray.Dataset or path
        Runs of any scheme, or ensembles; a run with one path is compared with every path of the
        other, ensembles of equal size path by path.
    interpolate : bool
        Also at the times of `a` that `b` does not have, between its times, by linear
        interpolation of spectra and numbers; distances of tokens are NaN there. Without it only
        times that both have count.
    transport : bool
        Whether to compute Wasserstein distances, the most expensive part.
    mobility : bool
        Whether to compute the difference of the effective mobilities.
    most_points : int
        More tokens than that are grouped for the Wasserstein distances, whose errors grow by it.
    seed : int
        Accepted for scripts that gave one; nothing is random.

    Returns
    -------
    xarray.Dataset
        Over `time`, and `path` if there are several: `sobolev`, `sobolev_expected`,
        `sobolev_expected_heads`, `sobolev_spread`, `w1`, `w2`, `total_variation` and `l2` with
        a bound of the error of each, `w1_error` and so on, `mobility`, `first_moment`,
        `second_moment`, `clusters`, and `…_difference` (b minus a) of energy, R, G², ∂_tE and
        entropy. NaN where a run does not hold what is needed, or not well enough. The
        attributes say how the distances were computed, and in `different` which of heads,
        density and problem are not those of the other run.

    Raises
    ------
    InputError
        If the runs have no common time or different numbers of paths.

    Notes
    -----
    `sobolev` is (Σ (1 + l(l+1))^{−2} (Δμ_lm)²)^½ to the common degree, a maximum mean
    discrepancy. For n tokens drawn from μ its expected square is (k(x, x) − ‖μ‖²)/n;
    `sobolev_expected` is the largest root of that up to each time. For H heads drawn from a law
    `sobolev_expected_heads` is the time integral of the scatter, of order H^(−1/2), of the
    tendency −div(μ v̄). Neither knows by how much the flow amplifies these errors: an ensemble
    does, and `sobolev_spread` is its measured spread (of its mean, for an ensemble that keeps
    statistics only).

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 2.0))
    >>> run = sf.solve(problem, t_end=0.2, scheme=sf.Spectral(lmax=31), save_every=0.1)
    >>> tokens = sf.solve(problem, t_end=0.2, scheme=sf.Particles(200, 0.1, seed=1), save_every=0.1)
    >>> report = sf.compare(run, tokens)
    >>> bool((report.sobolev < 3 * report.sobolev_expected).all())
    True
    """
    import xarray

    most_points = integer(most_points, "most_points", 1)
    integer(seed, "seed", 0)
    interpolate = boolean(interpolate, "interpolate")
    transport = boolean(transport, "transport")
    mobility = boolean(mobility, "mobility")
    first, second = open_run(a, "a"), open_run(b, "b")
    for name, run in (("a", first), ("b", second)):
        if "time" not in run.dims or not ("spectrum" in run or "spectrum_mean" in run):
            raise InputError(
                f"{name} must be a run with 'spectrum' over time, got a dataset of "
                f"{shown(list(map(str, run.data_vars)))}; pass what solve returned or its file"
            )
    times = _common_times(first, second, interpolate)
    pairs = list(_paired(_instants(first, times), _instants(second, times)))
    rows = [
        [
            _differences(one, other, transport, mobility, most_points)
            for one, other in zip(here, there, strict=True)
        ]
        for here, there in pairs
    ]
    for row in rows:
        # The error of the initial draws is carried along where that of fresh draws would shrink.
        tokens = np.maximum.accumulate([record["sobolev_expected"] for record in row])
        rates = np.array([record["sobolev_expected_heads"] for record in row])
        heads = rates[0] * times[0] + cumulative_trapezoid(rates, times, initial=0.0)
        for record, by_tokens, by_heads in zip(row, tokens, heads, strict=True):
            record["sobolev_expected"] = float(by_tokens)
            record["sobolev_expected_heads"] = float(by_heads)
    methods = sorted({str(record.pop("method")) for row in rows for record in row} - {"none"})
    data = {}
    for name in rows[0][0]:
        values = np.array([[record[name] for record in row] for row in rows])
        attributes = {"long_name": LONG_NAMES.get(name, name.replace("_", " ") + ", b minus a")}
        attributes["units"] = UNITS.get(name, "1")
        dims = ("path", "time") if len(pairs) > 1 else ("time",)
        data[name] = (dims, values if len(pairs) > 1 else values[0], attributes)
    about: dict[str, object] = {
        "title": "Comparison of two runs",
        "a": str(first.attrs.get("experiment", "")),
        "b": str(second.attrs.get("experiment", "")),
        "sobolev_kernel": f"sum over l of (2l+1)/(4 pi) (1+l(l+1))^-{SOBOLEV_ORDER:g} P_l",
        "sobolev_degree": _common_degree(first, second),
        "transport_method": ", ".join(methods) or "none",
        "interpolated": int(interpolate),
        "different": " ".join(_different_parts(first, second)),
        "rtol_a": _rtol(first),
        "rtol_b": _rtol(second),
    }
    return xarray.Dataset(data, {"time": ("time", times, first["time"].attrs)}, about)


def verdict(report: xarray.Dataset) -> list[tuple[str, float, float, float, str]]:
    """Rows of (quantity, largest, root mean square, what sampling explains of that, verdict).

    Over time and paths. What sampling explains is the spread over the paths, or the estimate for
    tokens and heads if that is larger. The verdict on the Sobolev distance is "sampling noise" up
    to `NOISE` times that, beyond it "discrepancy" and, without random draws, none; the other rows
    only state the values.

    Parameters
    ----------
    report : xarray.Dataset
        Of `compare`.
    """
    rows = []
    for name in report.data_vars:
        values = np.abs(report[name].values)
        if str(name).endswith("_error") or np.isnan(values).all():
            continue
        size = float(np.sqrt(np.nanmean(values**2)))
        expected, word = np.nan, ""
        if name == "sobolev":
            expected = float(np.sqrt(np.mean(sampling_error(report) ** 2)))
            if expected > 0:
                word = "sampling noise" if size <= NOISE * expected else "discrepancy"
        rows.append((str(name), float(np.nanmax(values)), size, expected, word))
    return rows


def sampling_error(report: xarray.Dataset) -> Real:
    """What draws explain of the Sobolev distance: as estimated, or the spread if that is larger."""
    known = ("sobolev_expected", "sobolev_expected_heads", "sobolev_spread")
    tokens, heads, spread = (np.nan_to_num(report[name].values) for name in known)
    return np.asarray(np.maximum(np.hypot(tokens, heads), spread))


def _rtol(run: xarray.Dataset) -> float:
    rtol = section_of(run.attrs, "run").get("rtol")
    return float(rtol) if isinstance(rtol, int | float) else np.nan


def _paths(run: xarray.Dataset) -> list[_Path]:
    scheme = section_of(run.attrs, "scheme")
    sampled = "position" in run and "log_density" not in run
    sampled = sampled or scheme.get("kind") == "particles"
    spread = _spread(run)
    if "spectrum" not in run:
        named = {f"{name}_mean": name for name in ("spectrum", "position") if f"{name}_mean" in run}
        mean = run.rename(named)
        if "path" in run.dims:
            mean = mean.mean("path", keep_attrs=True)
            if not scheme.get("share_tokens", False):
                mean["resolution"] = mean["resolution"] / np.sqrt(run.sizes["path"])
            spread = spread / np.sqrt(run.sizes["path"])
        return [_Path(mean.assign(spread=spread), sampled)]
    run = run.assign(spread=spread)
    if "path" not in run.dims:
        return [_Path(run, sampled)]
    return [_Path(run.isel(path=k), sampled) for k in range(run.sizes["path"])]


def _spread(run: xarray.Dataset) -> xarray.DataArray:
    """Root mean square distance of one path from the mean of infinitely many, over time."""
    paths = run.sizes.get("path", 1)
    if paths < 2:
        return run["time"].copy(data=np.full(run.sizes["time"], np.nan))
    if "spectrum" in run:
        variance = run["spectrum"].var("path", ddof=1)
    else:
        variance = run["spectrum_std"] ** 2 * (paths / (paths - 1))
    weights = sobolev_weights(round(np.sqrt(run.sizes["harmonic"])) - 1)
    square = variance.transpose("time", "harmonic").values @ weights
    return run["time"].copy(data=np.sqrt(square))


def _instants(run: xarray.Dataset, times: Real) -> list[list[Instant]]:
    """Each path of a run at these times."""
    instants = []
    for path in _paths(run):
        dataset = _at(path.dataset, times)
        instants.append([Instant(dataset.isel(time=k), path.sampled) for k in range(len(times))])
    return instants


def _paired(first: Sequence[Part], second: Sequence[Part]) -> Iterator[tuple[Part, Part]]:
    if len(first) != len(second) and 1 not in (len(first), len(second)):
        raise InputError(
            f"runs must have equal numbers of paths or one of them a single path, got "
            f"{len(first)} and {len(second)}; select paths with isel(path=...)"
        )
    count = max(len(first), len(second))
    return zip(
        first if len(first) == count else [first[0]] * count,
        second if len(second) == count else [second[0]] * count,
        strict=True,
    )


def _common_times(first: xarray.Dataset, second: xarray.Dataset, interpolate: bool) -> Real:
    mine, theirs = first["time"].values, second["time"].values
    scale = SAME_TIME * max(1.0, float(np.abs(mine).max()))
    same = np.abs(mine[:, None] - theirs).min(axis=1) <= scale
    if interpolate:
        same |= (mine >= theirs.min()) & (mine <= theirs.max())
    if not same.any():
        raise InputError(
            f"runs must have a time in common, got {mine[0]:g} to {mine[-1]:g} and {theirs[0]:g} "
            f"to {theirs[-1]:g}; save at the same times, or interpolate (interpolate=True, "
            "--interpolate)"
        )
    common: Real = mine[same]
    return common


def _at(run: xarray.Dataset, times: Real) -> xarray.Dataset:
    """The run at these times; between its own times spectra and numbers by interpolation."""
    own = run["time"].values
    nearest = np.abs(own[:, None] - times).argmin(axis=0)
    at_own = run.isel(time=nearest).assign_coords(time=times)
    between = np.abs(own[nearest] - times) > SAME_TIME * max(1.0, float(np.abs(own).max()))
    if not between.any():
        return at_own
    for name in run.data_vars:
        variable = run[name]
        if "time" not in variable.dims or variable.dtype.kind != "f":
            continue
        if name in ("position", "log_density"):
            at_own[name] = at_own[name].where(~_mask(at_own, between))
        else:
            at_own[name] = variable.interp(time=times)
    return at_own


def _different_parts(first: xarray.Dataset, second: xarray.Dataset) -> list[str]:
    """Sections of the experiments of two runs that say what is solved, and differ."""
    try:
        one, other = (experiment_of(run.attrs) for run in (first, second))
    except InputError:  # of another program
        return []
    return [part for part in ("heads", "density", "problem") if one.get(part) != other.get(part)]


def _mask(run: xarray.Dataset, between: NDArray[np.bool_]) -> xarray.DataArray:
    import xarray

    return xarray.DataArray(between, {"time": run["time"]}, ("time",))


def _common_degree(first: xarray.Dataset, second: xarray.Dataset) -> int:
    return int(min(np.sqrt(run.sizes["harmonic"]) for run in (first, second))) - 1


def _differences(
    one: Instant, other: Instant, transport: bool, mobility: bool, most: int
) -> dict[str, float]:
    """All distances and differences at one time."""
    a, b = one.dataset, other.dataset
    degree = _common_degree(a, b)
    kept = (degree + 1) ** 2
    first, second = a["spectrum"].values[:kept], b["spectrum"].values[:kept]
    record: dict[str, float] = {"sobolev": sobolev_distance(first, second)}
    by_tokens = [
        expected_sampling_error(reference, _sum_of_squares(path.dataset)) if path.sampled else 0.0
        for path, reference in ((one, second), (other, first))
    ]
    record["sobolev_expected"] = float(np.linalg.norm(by_tokens))
    record["sobolev_expected_heads"] = _head_scatter(one, other)
    spreads = [float(a["spread"]), float(b["spread"])]
    known = not np.isnan(spreads).all()
    record["sobolev_spread"] = float(np.sqrt(np.nansum(np.square(spreads)))) if known else np.nan
    record |= (transported(one, other, most) if transport else NO_TRANSPORT)._asdict()
    record |= between_densities(one, other, first, second)
    record["mobility"] = mobility_difference(one, other) if mobility else np.nan
    record["first_moment"] = _norm_of_difference(a, b, "first_moment")
    record["second_moment"] = _norm_of_difference(a, b, "second_moment")
    record["clusters"] = other.clusters - one.clusters
    for name in NUMBERS:
        known = name in a and name in b
        record[f"{name}_difference"] = float(b[name] - a[name]) if known else np.nan
    return record


def _head_scatter(one: Instant, other: Instant) -> float:
    """Rate of the error by the draws of the heads, of which equal ones have none."""
    laws = [section_of(instant.dataset.attrs, "heads") for instant in (one, other)]
    if laws[0] == laws[1]:
        return 0.0
    rates = [
        instant.head_scatter if law.get("kind") == "sampled_heads" else 0.0
        for instant, law in zip((one, other), laws, strict=True)
    ]
    return float(np.linalg.norm(rates))


def _sum_of_squares(run: xarray.Dataset) -> float:
    if "token_weight" in run:
        weights = run["token_weight"].values
        return float(np.sum(weights**2) / np.sum(weights) ** 2)
    return float(run["resolution"]) ** 2  # what token runs record as it


def _norm_of_difference(a: xarray.Dataset, b: xarray.Dataset, name: str) -> float:
    if name not in a or name not in b:
        return np.nan
    return float(np.linalg.norm(b[name].values - a[name].values))
