"""The law Θ_t of a head process by its Fokker–Planck equation, second line of eq. (20)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import called, finite_array, integer, one_of, positive_number, shown
from ..errors import InputError
from ..threads import in_turn
from .grid_solver import Grid, GridSolver
from .mixture import MixtureNodes
from .nodes import HeadNodes, Heads
from .parametrisations import derivatives
from .processes import HeadProcess, Normal, NormalMixture, Point, separable
from .product_laws import GaussianLaw, is_linear, one_parameter, product_rule
from .quadrature import gauss_rule, nested_rule

if TYPE_CHECKING:
    import xarray

__all__ = ["FokkerPlanckLaw", "GridLaw"]

Real = NDArray[np.float64]

CELLS = {1: 4000, 2: 160, 3: 48}
MOST_CELLS = 20_000_000  # in all
NODES = {1: 16, 2: 8, 3: 6}
REACH = 8.0  # standard deviations of the initial law inside the box
MOST_BYTES = 200_000_000  # of states kept for later
RATE_STEP = 1e-4  # in time, for the rates of the nodes of a nested rule


class GridLaw:
    """Θ_t on a grid of one to three dimensions, at any time; states are kept for later.

    Parameters
    ----------
    process : HeadProcess
    initial : Normal, Point or callable density of θ (n, p) → (n,)
    domain : array_like of shape (p, 2), or None
        Box that stays as it is; None lets it follow the law.
    cells : sequence of int
        Cells along each axis of the box at t = 0.
    tolerance : float
        Of the time integration.
    """

    def __init__(
        self,
        process: HeadProcess,
        initial: Any,
        domain: Real | None,
        cells: Sequence[int],
        tolerance: float,
    ) -> None:
        self.process = process
        grows = domain is None
        box = _box(process, initial) if domain is None else domain
        widths = (box[:, 1] - box[:, 0]) / np.array(cells)
        grid = Grid(box[:, 0], widths, tuple(cells))
        solver = GridSolver(process, grid, _initial_masses(initial, grid), grows, tolerance)
        self._solvers = [solver]

    @in_turn
    def at(self, t: float) -> GridSolver:
        """The solver at time t ≥ 0; not to be advanced by the caller."""
        if not t >= 0:
            raise InputError(f"time must be at least 0, got {t:g}")
        earlier = [one for one in self._solvers if one.t <= t]
        nearest = max(earlier, key=lambda one: one.t)
        if nearest.t == t:
            return nearest
        solver = nearest.copy()
        solver.advance(t)
        self._solvers.append(solver)
        if sum(one.masses.nbytes for one in self._solvers) > MOST_BYTES:
            ordered = sorted(self._solvers, key=lambda one: one.t)
            self._solvers = [ordered[0], *ordered[1:-20:2], *ordered[-20:]]
        return solver

    def solvers_around(self, t: float) -> list[GridSolver]:
        """Those from which times after t are solved for: the start, the last ones, later ones."""
        ordered = sorted(self._solvers, key=lambda one: one.t)
        earlier = [one for one in ordered if one.t <= t]
        return [*earlier[:1], *earlier[1:][-3:], *(one for one in ordered if one.t > t)]

    def resume(self, solvers: list[GridSolver]) -> None:
        """Go on from these solvers."""
        self._solvers = solvers

    def moments(self, t: float) -> tuple[Real, Real]:
        """Mean (p,) and covariance (p, p) of θ."""
        solver = self.at(t)
        points, masses = solver.grid.points, solver.masses.ravel()
        mean = masses @ points
        centred = points - mean
        return mean, centred.T @ (masses[:, None] * centred)

    def line_rule(self, t: float, count: int) -> tuple[Real, Real, Real]:
        """Gauss nodes (q,), weights and weight rates of a law of one parameter."""
        solver = self.at(t)
        rule = gauss_rule(solver.grid.axes[0], solver.masses, count)
        return rule.nodes, rule.weights, rule.rates(solver.mass_rates())

    def rule(self, t: float, count: int) -> tuple[Real, Real, Real, Real]:
        """Nodes (q, p) and weights of a nested rule, and how fast both change."""
        solver = self.at(t)
        axes, masses, rates = solver.grid.axes, solver.masses, solver.mass_rates()
        nodes, weights = nested_rule(axes, masses, count)
        (n1, w1), (n0, w0) = (
            nested_rule(axes, np.maximum(masses + sign * RATE_STEP * rates, 0.0), count)
            for sign in (1.0, -1.0)
        )
        return nodes, weights, (n1 - n0) / (2 * RATE_STEP), (w1 - w0) / (2 * RATE_STEP)


def _box(process: HeadProcess, initial: Any) -> Real:
    """A first box around the initial law, shape (p, 2)."""
    if isinstance(initial, NormalMixture):
        boxes = np.stack([_box(process, one) for one in initial.components])
        return np.stack([boxes[:, :, 0].min(axis=0), boxes[:, :, 1].max(axis=0)], axis=1)
    if not isinstance(initial, Normal | Point):
        raise InputError(
            "domain must be given with an initial density that is a function, got None; give the "
            "lower and upper end of each parameter"
        )
    shape = (process.dimension,)
    mean, std = np.broadcast_to(initial.mean, shape), np.broadcast_to(initial.std, shape)
    spread = np.sqrt(np.einsum("ab,ab->a", *[process.factor_at(mean[None].copy(), 0.0)[0]] * 2))
    half = np.where(std > 0, REACH * std, np.maximum(4.0 * spread, 0.5))
    return np.stack([mean - half, mean + half], axis=1)


def _initial_masses(initial: Any, grid: Grid) -> Real:
    """Masses of the cells, of sum 1."""
    if isinstance(initial, NormalMixture):
        parts = [_initial_masses(one, grid) for one in initial.components]
        return np.tensordot(initial.weights, np.stack(parts), axes=1)
    dimension = len(grid.shape)
    if isinstance(initial, Normal | Point):
        factors = []
        for axis, centre, width, m, s in zip(
            range(dimension),
            grid.axes,
            grid.widths,
            np.broadcast_to(initial.mean, (dimension,)),
            np.broadcast_to(initial.std, (dimension,)),
            strict=True,
        ):
            if not centre[0] < m < centre[-1]:
                raise InputError(
                    f"domain must contain the initial law, whose mean on axis {axis} is {m:g}, got "
                    f"{centre[0] - width / 2:g} to {centre[-1] + width / 2:g}; widen it"
                )
            # A law narrower than the cells is split between the two nearest centres.
            hat = np.maximum(0.0, 1.0 - np.abs(centre - m) / width)
            if s > 0.5 * width:
                values = np.exp(-0.5 * ((centre - m) / s) ** 2)
            else:
                values = hat
            factors.append(values / values.sum())
        masses = factors[0]
        for values in factors[1:]:
            masses = masses[..., None] * values
        return masses
    values = finite_array(called(initial, "initial", grid.points), "initial(theta)")
    if values.shape != (int(np.prod(grid.shape)),) or (values < 0).any() or not values.any():
        raise InputError(
            "initial(theta) must return one density of at least 0 for each row of theta, got shape "
            f"{values.shape} and smallest value {values.min():g}"
        )
    return (values / values.sum()).reshape(grid.shape)


class FokkerPlanckLaw:
    """Infinitely many heads under dθ = f dt + g dW: Θ_t from its Fokker–Planck equation.

    In one to three dimensions the equation is solved on a grid. In higher ones Θ_t is a Gaussian
    law where f is linear, g constant and the initial law normal, and a product of laws of one
    parameter where f and g act on each parameter by itself.

    Parameters
    ----------
    process : HeadProcess
    initial : Normal, NormalMixture, Point or callable
        Law of θ at t = 0, `Normal()` if left out; a density θ (n, p) → (n,) needs a domain.
    domain : array_like of shape (p, 2) or (2,), optional
        Box with no flux through its walls. Left out, the box follows the law.
    cells : int or sequence of int, optional
        Cells along each axis: 4000, 160 or 48 in one, two or three dimensions if left out.
    nodes : int, optional
        Nodes of the quadrature of Θ_t along each axis: 16, 8 or 6 in one, two or three
        dimensions, 8 for Gaussian laws and 3 for products if left out.
    rtol : float
        Tolerance of the time integration where f or g depend on time.
    method : {"auto", "grid", "gaussian", "product"}

    Raises
    ------
    InputError
        On arguments out of range, or a process that is none of the above.

    Examples
    --------
    >>> import sphereflow as sf
    >>> process = sf.HeadProcess(lambda theta, t: -theta, 1.0, sf.Isotropic())
    >>> law = sf.FokkerPlanckLaw(process, sf.Normal(2.0, 0.5))
    >>> mean, covariance = law.moments(1.0)
    >>> float(mean[0].round(4)), float(covariance[0, 0].round(4))
    (0.7358, 0.4662)
    """

    def __init__(
        self,
        process: HeadProcess,
        initial: Any = None,
        domain: Any = None,
        cells: Any = None,
        nodes: int | None = None,
        rtol: float = 1e-9,
        method: str = "auto",
    ) -> None:
        if not isinstance(process, HeadProcess):
            raise InputError(
                f"process must be a HeadProcess, got {shown(process)}; make one of the drift, the "
                "noise and the parametrisation"
            )
        self.process = process
        self.initial = Normal() if initial is None else initial
        if not isinstance(self.initial, Normal | NormalMixture | Point) and (
            isinstance(initial, type) or not callable(initial)
        ):
            raise InputError(
                "initial must be Normal, NormalMixture, Point or a function of theta, got "
                f"{shown(initial)}"
            )
        _check_length(self.initial, process.dimension)
        self.domain = None if domain is None else _checked_domain(domain, process.dimension)
        self.cells = None if cells is None else _checked_cells(cells, process.dimension)
        self.node_count = None if nodes is None else integer(nodes, "nodes", 1, 64)
        self.rtol = positive_number(rtol, "rtol")
        self.method = one_of(method, ("auto", "grid", "gaussian", "product"), "method")
        self._laws: list[Any] = self._make_laws()

    def to_config(self) -> dict[str, Any]:
        """Description for the attribute `experiment`."""
        from ..configuration import to_config

        fields = {
            "process": self.process,
            "initial": self.initial,
            "domain": self.domain,
            "cells": self.cells,
            "nodes": self.node_count,
            "rtol": self.rtol,
            "method": self.method,
        }
        return {"kind": "fokker_planck_law", **to_config(fields)}

    @property
    def carrier(self) -> str:
        """How Θ_t is carried: "grid", "gaussian" or "product"."""
        if self.method != "auto":
            return self.method
        if self.process.dimension <= 3:
            return "grid"
        return "gaussian" if is_linear(self.process, self.initial) else "product"

    def _make_laws(self) -> list[Any]:
        process, size = self.process, self.process.dimension
        if self.carrier == "gaussian":
            if not is_linear(process, self.initial):
                raise InputError(
                    "method 'gaussian' needs a drift with a method `linear` such as MeanReversion, "
                    "a constant diffusion, an initial Normal or Point and a linear "
                    "parametrisation; use another method or .sample(count)"
                )
            return [GaussianLaw(process, one) for one in _components(self.initial)[0]]
        if self.carrier == "grid":
            if size > 3:
                raise InputError(
                    f"method 'grid' solves in up to 3 dimensions, got {size}; use .sample(count)"
                )
            cells = self.cells or (CELLS[size],) * size
            if math.prod(cells) > MOST_CELLS:
                raise InputError(
                    f"cells must be at most {MOST_CELLS} in all, got {cells}; lower their numbers"
                )
            return [GridLaw(process, self.initial, self.domain, cells, self.rtol)]
        if not separable(process) or not isinstance(self.initial, Normal | Point):
            raise InputError(
                f"the law of {size} parameters has a solution here where f is linear and g "
                "constant, or where f and g act on each parameter by itself, from an initial "
                "Normal or Point; this process is neither: use process.sample(count)"
            )
        return [self._one_law(axis) for axis in range(size)]

    def _one_law(self, axis: int) -> GridLaw:
        size = self.process.dimension
        start = self.initial
        mean, std = (np.broadcast_to(a, (size,))[axis] for a in (start.mean, start.std))
        initial = Normal(mean, std)
        box = None if self.domain is None else self.domain[axis : axis + 1]
        cells = (self.cells or (CELLS[1],) * size)[axis : axis + 1]
        return GridLaw(one_parameter(self.process, axis), initial, box, cells, self.rtol)

    # What a user asks for

    def moments(self, t: float) -> tuple[Real, Real]:
        """Mean (p,) and covariance (p, p) of θ at time t."""
        if self.carrier == "gaussian":
            shares = _components(self.initial)[1]
            parts = [law.moments(t) for law in self._laws]
            mean = np.sum([w * one for w, (one, _) in zip(shares, parts, strict=True)], axis=0)
            spreads = [c + np.outer(m - mean, m - mean) for m, c in parts]
            return mean, np.einsum("k,kab->ab", shares, np.stack(spreads))
        if self.carrier == "grid":
            return self._laws[0].moments(t)
        parts = [law.moments(t) for law in self._laws]
        mean = np.concatenate([one[0] for one in parts])
        return mean, np.diag([one[1][0, 0] for one in parts])

    def density(self, t: float) -> xarray.DataArray:
        """Density of θ at time t on the grid, with the coordinate `theta` or `theta_1`, …

        Raises
        ------
        InputError
            For a law that is not carried on one grid.
        """
        import xarray

        if self.carrier != "grid":
            raise InputError(
                f"density is there for a law on a grid, got one carried as '{self.carrier}'; use "
                "moments(t)"
            )
        solver = self._laws[0].at(t)
        names = _axis_names(len(solver.grid.shape))
        return xarray.DataArray(
            solver.masses / solver.grid.volume,
            dims=names,
            coords=dict(zip(names, solver.grid.axes, strict=True)),
            name="head_density",
            attrs={"long_name": "density of the head parameters", "units": "1"},
        )

    def to_dataset(self, times: ArrayLike) -> xarray.Dataset:
        """`head_density(time, theta)`, mean, covariance and boundary density at some times.

        The grid is the largest of all times; cells that a smaller one lacks hold 0.
        """
        import xarray

        times = np.atleast_1d(finite_array(times, "times"))
        densities = [self.density(float(t)) for t in times]
        joined = xarray.concat(
            densities, xarray.IndexVariable("time", times), join="outer", fill_value=0.0
        )
        moments = [self.moments(float(t)) for t in times]
        return xarray.Dataset(
            {
                "head_density": joined,
                "head_mean": (("time", "parameter"), np.stack([m for m, _ in moments])),
                "head_covariance": (
                    ("time", "parameter", "parameter2"),
                    np.stack([c for _, c in moments]),
                ),
                "boundary_density": (
                    "time",
                    [self._laws[0].at(float(t)).boundary for t in times],
                    {"long_name": "largest density at the walls of the box over the maximum"},
                ),
            }
        )

    def sample(self, count: int, seed: int | None = None, *, dt: float = 1e-2) -> Any:
        """A law of `count` independent heads in place of infinitely many."""
        return self.process.sample(count, seed, initial=self.initial, dt=dt)

    # What a checkpoint keeps

    def shared_parts(self) -> dict[str, Any]:
        """The processes, which may hold functions of the user and are not saved."""
        return {f"process {k}": law.process for k, law in enumerate(self._grids())}

    def solution_around(self, t: float) -> list[list[GridSolver]]:
        """What is solved about time t, of which later times depend in their last digits."""
        return [law.solvers_around(t) for law in self._grids()]

    def resume(self, solution: list[list[GridSolver]]) -> None:
        """Go on from a solution that was kept."""
        for law, solvers in zip(self._grids(), solution, strict=True):
            law.resume(solvers)

    def _grids(self) -> list[GridLaw]:
        return [law for law in self._laws if isinstance(law, GridLaw)]

    # What the attention field asks for

    def nodes(self, t: float) -> HeadNodes:
        """Quadrature of Θ_t, with the rates of its nodes and weights."""
        parametrisation = self.process.parametrisation
        if self.carrier == "gaussian":
            quadratures = [law.nodes(t, self.node_count or 8) for law in self._laws]
            if len(quadratures) == 1:
                return quadratures[0]
            return MixtureNodes(quadratures, _components(self.initial)[1])
        if self.carrier == "product":
            count = self.node_count or 3
            theta, weights, rates = product_rule([law.line_rule(t, count) for law in self._laws])
            logits, values = parametrisation(theta)
            return Heads(logits, values, weights, None, rates)
        size = self.process.dimension
        count = self.node_count or NODES[size]
        if size == 1:
            line, weights, rates = self._laws[0].line_rule(t, count)
            logits, values = parametrisation(line[:, None])
            return Heads(logits, values, weights, None, rates)
        theta, weights, motion, rates = self._laws[0].rule(t, count)
        logits, values = parametrisation(theta)
        first, _ = derivatives(parametrisation, theta)
        return Heads(logits, values, weights, np.einsum("na,naij->nij", motion, first), rates)


def _axis_names(dimension: int) -> list[str]:
    return ["theta"] if dimension == 1 else [f"theta_{k + 1}" for k in range(dimension)]


def _components(initial: Any) -> tuple[list[Normal | Point], Real]:
    """The parts of an initial law and their weights; one part for a law that is no mixture."""
    if isinstance(initial, NormalMixture):
        return [*initial.components], initial.weights
    return [initial], np.ones(1)


def _check_length(initial: Any, dimension: int) -> None:
    """A Normal or Point must fit the number of parameters."""
    if isinstance(initial, NormalMixture):
        for one in initial.components:
            _check_length(one, dimension)
        return
    for name in ("theta", "mean", "std"):
        shape = np.shape(getattr(initial, name, 0.0))
        if shape not in ((), (1,), (dimension,)):
            raise InputError(
                f"initial.{name} must be a number or have {dimension} entries, got shape {shape}"
            )


def _checked_domain(domain: Any, dimension: int) -> Real:
    array = np.atleast_2d(finite_array(domain, "domain"))
    if array.shape != (dimension, 2) or not (array[:, 0] < array[:, 1]).all():
        raise InputError(
            f"domain must have shape ({dimension}, 2) with lower before upper ends, got "
            f"{shown(array)}"
        )
    return array


def _checked_cells(cells: Any, dimension: int) -> tuple[int, ...]:
    several = isinstance(cells, list | tuple) or (isinstance(cells, np.ndarray) and cells.ndim == 1)
    counts = cells if several else [cells] * dimension
    if len(counts) != dimension:
        raise InputError(
            f"cells must be one number or {dimension}, got {shown(cells)}; give one for each axis"
        )
    return tuple(integer(one, "cells", 8, 1_000_000) for one in counts)
