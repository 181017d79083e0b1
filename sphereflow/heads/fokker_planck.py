"""The law Θ_t of a head process by its Fokker–Planck equation, second line of eq. (20)."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import finite_array, held, integer, one_of, positive_number, shown
from ..describe import to_config
from ..describe.fields import Array, Bounds, Function, Kinds, Words
from ..describe.registry import DYNAMICS, INITIAL_LAWS, LAWS, Registry
from ..errors import InputError
from .dense import LONGEST_STEP
from .densities_of_theta import as_array, dataset_of, normal_density, outer_density
from .fokker_planck_arguments import check_length, checked_cells, checked_domain, components
from .grid_law import GridLaw
from .initial_laws import Initial, InitialLaw, Normal, NormalMixture, Point
from .law import HeadLaw
from .mixture import MixtureNodes
from .nodes import HeadNodes, Heads
from .normal_rules import more_nodes, nodes_for
from .parametrisations import derivatives
from .processes import HeadProcess, separable
from .product_laws import GaussianLaw, is_linear, one_parameter, product_rule
from .quadrature import gauss_rule
from .sampled import HeadDynamics, SampledHeads

if TYPE_CHECKING:
    import xarray

__all__ = ["FokkerPlanckLaw"]

Real = NDArray[np.float64]

METHODS = ("auto", "grid", "gaussian", "product")
CELLS = {1: 4000, 2: 160, 3: 48}
MOST_CELLS = 20_000_000  # in all
NODES = {1: 16, 2: 8, 3: 6}
MOST_NODES = {1: 64, 2: 32, 3: 16}
PRODUCT_NODES = 3  # in more than three dimensions
PLANNED_TIMES = (0.0, 1.0, 4.0)  # at which the spread of a linear law is looked at for its nodes
MOMENT_TOLERANCE = 1e-3  # error of moments, relative to the standard deviation, that is announced
NARROW_DOMAIN = 1e-6  # density at the walls over the largest that is announced


@DYNAMICS.row()
@LAWS.row(references=("scharfetter1969",))
class FokkerPlanckLaw(HeadLaw, HeadDynamics):
    """Infinitely many heads under dθ = f dt + g dW: Θ_t from its Fokker–Planck equation.

    Θ_t is a Gaussian law where f is linear, g constant and the initial law normal (or a mixture of
    such), and a product of laws of one parameter where f and g act on each parameter by itself.
    Else the equation is solved on a grid, in one to three dimensions, whose cells follow the law
    as it narrows, widens and moves. `error` estimates what the cells are to blame for.

    Parameters
    ----------
    process : HeadProcess
    initial : Normal, NormalMixture, Point or callable
        Law of θ at t = 0, `Normal()` if left out; a density θ (n, p) → (n,) needs a domain.
    domain : array_like of shape (p, 2) or (2,), optional
        Box with no flux through its walls. Left out, the box follows the law.
    cells : int or sequence of int, optional
        Cells along each axis, which then keep their width. Left out, there are 4000, 160 or 48 at
        the start in one, two or three dimensions, and they follow the law.
    nodes : int, optional
        Nodes of the quadrature of Θ_t along each axis. Left out, at least 16, 8 or 6 in one, two
        or three dimensions, 3 for products in more, and as many as the spread of the law needs.
    rtol : float
        Tolerance of the time integration where f or g depend on time.
    max_step : float, optional
        Longest step of the time integration, for f or g that act for so short a time that no
        sampling finds it; steps of 0.5 are looked at every 0.03 or so.
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

    infinitely_many = True

    def __init__(
        self,
        process: Annotated[HeadProcess, Kinds(Registry(HeadProcess))],
        initial: Annotated[Initial, Kinds(INITIAL_LAWS), Function()] | None = None,
        domain: Annotated[ArrayLike, Array((2,), (None, 2))] | None = None,
        cells: Annotated[int | Sequence[int], Array((), (None,))] | None = None,
        nodes: Annotated[int, Bounds(1, 64)] | None = None,
        rtol: Annotated[float, Bounds(above=0)] = 1e-9,
        method: Annotated[str, Words(METHODS)] = "auto",
        max_step: Annotated[float, Bounds(above=0)] | None = None,
    ) -> None:
        if not isinstance(process, HeadProcess):
            raise InputError(
                f"process must be a HeadProcess, got {shown(process)}; make one of the drift, the "
                "noise and the parametrisation"
            )
        self._process = process
        self.initial: Initial = Normal() if initial is None else initial
        if not isinstance(self.initial, Normal | NormalMixture | Point) and (
            isinstance(initial, type) or not callable(initial)
        ):
            raise InputError(
                "initial must be Normal, NormalMixture, Point or a function of theta, got "
                f"{shown(initial)}"
            )
        check_length(self.initial, process.dimension)
        self.domain = None if domain is None else checked_domain(domain, process.dimension)
        self.cells = None if cells is None else checked_cells(cells, process.dimension)
        self.node_count = None if nodes is None else integer(nodes, "nodes", 1, 64)
        self.max_step = None if max_step is None else positive_number(max_step, "max_step")
        self.rtol = positive_number(rtol, "rtol")
        self.method = one_of(method, METHODS, "method")
        self._carrier = self._chosen_carrier()
        self._laws = self._make_laws()

    @property
    def process(self) -> HeadProcess:
        """The process of one head."""
        return self._process

    @property
    def initial_law(self) -> InitialLaw:
        """Law of θ at t = 0."""
        return cast(InitialLaw, self.initial)  # paths refuse a density

    def to_config(self) -> dict[str, object]:
        """Description for the attribute `experiment`."""
        fields = {
            "process": self.process,
            "initial": self.initial,
            "domain": self.domain,
            "cells": self.cells,
            "nodes": self.node_count,
            "rtol": self.rtol,
            "method": self.method,
            "max_step": self.max_step,
        }
        return {"kind": "fokker_planck_law", **to_config(fields)}

    @property
    def carrier(self) -> str:
        """How Θ_t is carried: "grid", "gaussian" or "product"."""
        return self._carrier

    def _chosen_carrier(self) -> str:
        if self.method != "auto":
            return self.method
        process, size = self.process, self.process.dimension
        free = self.domain is None and self.cells is None
        if is_linear(process, self.initial) and (free or size > 3):
            return "gaussian"
        apart = size > 1 and isinstance(self.initial, Normal | Point) and separable(process)
        return "product" if size > 3 or (apart and self.cells is None) else "grid"

    def _make_laws(self) -> Sequence[GridLaw | GaussianLaw]:
        process, size = self.process, self.process.dimension
        if self.carrier == "gaussian":
            if not is_linear(process, self.initial):
                raise InputError(
                    "method 'gaussian' needs a drift with a method `linear` such as MeanReversion, "
                    "a constant diffusion, an initial Normal or Point and a linear "
                    "parametrisation; use another method or .sample(count)"
                )
            return [
                GaussianLaw(process, one, self.max_step or LONGEST_STEP)
                for one in components(self.initial)[0]
            ]
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
            return [self._grid_law(process, self.initial, self.domain, cells)]
        if not separable(process) or not isinstance(self.initial, Normal | Point):
            raise InputError(
                f"the law of {size} parameters has a solution here where f is linear and g "
                "constant, or where f and g act on each parameter by itself, from an initial "
                "Normal or Point; this process is neither: use process.sample(count)"
            )
        return [self._one_law(axis) for axis in range(size)]

    def _one_law(self, axis: int) -> GridLaw:
        size = self.process.dimension
        (start,), _ = components(self.initial)
        mean, std = (np.broadcast_to(held(a), (size,))[axis] for a in (start.mean, start.std))
        initial = Normal(mean, std)
        box = None if self.domain is None else self.domain[axis : axis + 1]
        cells = (self.cells or (CELLS[1],) * size)[axis : axis + 1]
        return self._grid_law(one_parameter(self.process, axis), initial, box, cells)

    def _grid_law(
        self, process: HeadProcess, initial: Initial, box: Real | None, cells: Sequence[int]
    ) -> GridLaw:
        follows, longest = self.cells is None, self.max_step or np.inf
        return GridLaw(process, initial, box, cells, self.rtol, follows, longest)

    # What a user asks for

    def moments(self, t: float) -> tuple[Real, Real]:
        """Mean (p,) and covariance (p, p) of θ at time t.

        An estimated error above 1e-3 of the standard deviation is announced by a warning.
        """
        parts = [law.moments(t) for law in self._laws]
        error = max((law.error(t)[1] for law in self._grids()), default=0.0)
        if error > MOMENT_TOLERANCE:
            warnings.warn(
                f"the moments of the law of the heads at t = {t:g} may be off by {error:.1g} of "
                f"its standard deviation; {self.remedy}",
                stacklevel=2,
            )
        if self.carrier == "gaussian":
            shares = components(self.initial)[1]
            mean = np.sum([w * one for w, (one, _) in zip(shares, parts, strict=True)], axis=0)
            spreads = [c + np.outer(m - mean, m - mean) for m, c in parts]
            return mean, np.einsum("k,kab->ab", shares, np.stack(spreads))
        if self.carrier == "grid":
            return parts[0]
        mean = np.concatenate([one[0] for one in parts])
        return mean, np.diag([one[1][0, 0] for one in parts])

    def error(self, t: float) -> float:
        """Estimated relative error of averages over Θ_t at time t, by the cells that carry it.

        Of averages of e^{⟨x,Dy⟩}, and of the mean of θ; infinite where there are too few cells to
        tell. The nodes of the quadrature have an error besides.
        """
        return float(sum(law.error(t)[0] for law in self._grids()))

    def boundary(self, t: float) -> float | None:
        """Largest density at the walls of a domain until t over the maximum; None without one."""
        if self.domain is None:
            return None
        return max((law.at(t).boundary for law in self._grids()), default=0.0)

    def notices(self, t: float) -> list[str]:
        """What a user has to know of the law at time t: a domain that cuts it."""
        reached = self.boundary(t)
        if reached is None or not reached > NARROW_DOMAIN:
            return []
        return [
            f"the density of the heads at the walls of their domain reaches {reached:.1g} "
            "of its maximum: their law is that of a process kept inside; widen the domain, or "
            "leave it out"
        ]

    @property
    def remedy(self) -> str:
        """What makes the law more accurate."""
        if self.cells is not None:
            return "raise cells, or leave them out"
        return "raise cells, or use .sample(count)"

    def density(self, t: float) -> xarray.DataArray:
        """Density of θ at time t on cells, with the coordinate `theta` or `theta_1`, …

        Raises
        ------
        InputError
            In more than three dimensions, and for a law without a density.
        """
        size = self.process.dimension
        if size > 3:
            raise InputError(
                f"density is there in up to 3 dimensions, got {size} carried as "
                f"'{self.carrier}'; use moments(t)"
            )
        if self.carrier == "grid":
            solver = self._grids()[0].at(t)
            return as_array(solver.grid.axes, solver.masses / solver.grid.volume)
        most = CELLS[size]
        if self.carrier == "gaussian":
            parts = [law.moments(t) for law in self._laws]
            return normal_density(parts, components(self.initial)[1], most)
        return outer_density([law.at(t) for law in self._grids()], most)

    def to_dataset(self, times: ArrayLike) -> xarray.Dataset:
        """`head_density(time, theta)`, mean, covariance and boundary density at some times.

        The grid is the largest of all times; cells that a smaller one lacks hold 0.
        """
        return dataset_of(self, np.atleast_1d(finite_array(times, "times")))

    def sample(self, count: int, seed: int | None = None, *, dt: float = 1e-2) -> SampledHeads:
        """A law of `count` independent heads in place of infinitely many."""
        return self.process.sample(count, seed, initial=self.initial_law, dt=dt)

    # What a checkpoint keeps

    def solution_around(self, t: float) -> list[list[dict[str, object]]]:
        """What is solved about time t, of which later times depend in their last digits."""
        return [law.kept_around(t) for law in self._solved()]

    def resume(self, solution: Sequence[object]) -> None:
        """Go on from a solution that was kept."""
        for law, solvers in zip(self._solved(), solution, strict=True):
            if not isinstance(solvers, list | tuple):
                raise TypeError("no list of solvers")
            law.resume(solvers)

    def _grids(self) -> list[GridLaw]:
        return [law for law in self._laws if isinstance(law, GridLaw)]

    def _gaussians(self) -> list[GaussianLaw]:
        return [law for law in self._laws if isinstance(law, GaussianLaw)]

    def _solved(self) -> list[GridLaw]:
        """The laws on grids, and those on wider cells that give their errors."""
        coarse = [law.coarse for law in self._grids()]
        return [*self._grids(), *(law for law in coarse if law is not None)]

    # What the attention field asks for

    def driven_by(self, t: float) -> Real:
        """f and g at some θ: what makes the law change otherwise than by itself."""
        theta = self._probes
        drift, factor = self.process.drift_at(theta, t), self.process.factor_at(theta, t)
        return np.concatenate([drift.ravel(), factor.ravel()])

    @cached_property
    def _probes(self) -> Real:
        """Some θ at which the process is looked at, shape (16, p)."""
        size = self.process.dimension
        if self.domain is not None:
            low, high = self.domain.T
            shares = np.random.default_rng(0).random((16, size))
            spread: Real = low + shares * (high - low)
            return spread
        draws = [self.initial_law.sample(np.random.default_rng(k), size) for k in range(16)]
        return np.stack(draws)

    @property
    def automatic(self) -> bool:
        """Whether the number of nodes was left open."""
        return self.node_count is None

    def refined(self, t: float) -> FokkerPlanckLaw:
        """The same law by more nodes along each axis than at time t."""
        other = copy.copy(self)
        if self.carrier == "gaussian" and not self._few:
            used = [law.nodes(t, self.node_count).count for law in self._gaussians()]
            other.node_count = more_nodes(max(used))
        elif self.process.dimension > 3:
            other.node_count = self._counts[0][0] + 1
        else:
            other.node_count = more_nodes(max(max(one) for one in self._counts))
        return other

    @property
    def _few(self) -> bool:
        """Whether nodes are placed by the parameters themselves."""
        return self.process.dimension <= 3 and not (
            self.carrier == "gaussian" and self.method == "gaussian"
        )

    @property
    def _counts(self) -> list[list[int]]:
        """Nodes along the axes of each law that Θ_t consists of, the same at all times."""
        if self.node_count is not None:
            return [[self.node_count] * (len(self._planned[0]))] * len(self._laws)
        return self._planned

    @cached_property
    def _planned(self) -> list[list[int]]:
        """Nodes that the spread of the law at the start, or of a linear one later, needs."""
        size = self.process.dimension
        least, most = NODES.get(size, PRODUCT_NODES), MOST_NODES.get(size, PRODUCT_NODES)
        if self.carrier == "gaussian":
            times = PLANNED_TIMES
            spreads = [np.max([law.spreads(t) for t in times], axis=0) for law in self._gaussians()]
        elif self.carrier == "grid" and size > 1:
            return [[least] * size]
        else:
            (_, covariance), first = self._start()
            spreads = list((np.sqrt(np.diag(covariance)) * first)[:, None])
        return [[min(most, nodes_for(float(a), least)) for a in one] for one in spreads]

    def _start(self) -> tuple[tuple[Real, Real], Real]:
        """Moments of θ at t = 0, and ‖∂D/∂θ_a‖ of each parameter at the mean, (p,)."""
        parts = [law.moments(0.0) for law in self._laws]
        mean = np.concatenate([one[0] for one in parts])
        covariance = np.diag(np.concatenate([np.diag(one[1]) for one in parts]))
        first, _ = derivatives(self.process.parametrisation, mean[None])
        return (mean, covariance), np.linalg.norm(first[0], ord=2, axis=(1, 2))

    def nodes(self, t: float) -> HeadNodes:
        """Quadrature of Θ_t, with the rates of its nodes and weights."""
        parametrisation, size = self.process.parametrisation, self.process.dimension
        if self.carrier == "gaussian" and not self._few:
            quadratures = [law.nodes(t, self.node_count) for law in self._gaussians()]
            if len(quadratures) == 1:
                return quadratures[0]
            return MixtureNodes(quadratures, components(self.initial)[1])
        if self.carrier == "grid" and size > 1:
            theta, weights, motion, rates = self._grids()[0].rule(t, self._counts[0][0])
            logits, values = parametrisation(theta)
            first, _ = derivatives(parametrisation, theta)
            moved = np.einsum("na,naij->nij", motion, first)
            return Heads(logits, values, weights, moved, rates)
        if self.carrier == "gaussian":
            theta, weights, rates = self._normal_rule(t)
        else:
            theta, weights, rates = product_rule(
                [law.line_rule(t, n[0]) for law, n in zip(self._grids(), self._counts, strict=True)]
            )
        logits, values = parametrisation(theta)
        return Heads(logits, values, weights, None, rates)

    def _normal_rule(self, t: float) -> tuple[Real, Real, Real]:
        """Gauss–Hermite nodes of one to three parameters under normal laws, weights and rates."""
        shares = components(self.initial)[1]
        pairs = zip(self._gaussians(), self._counts, strict=True)
        rules = [law.theta_rule(t, counts) for law, counts in pairs]
        theta = np.concatenate([rule[0] for rule in rules])
        weights = np.concatenate([w * rule[1] for w, rule in zip(shares, rules, strict=True)])
        rates = np.concatenate([w * rule[2] for w, rule in zip(shares, rules, strict=True)])
        if self.process.dimension == 1 and len(rules) > 1:
            order = np.argsort(theta[:, 0])
            count = max(one[0] for one in self._counts)
            rule = gauss_rule(theta[order, 0], weights[order], count)
            theta, weights, rates = rule.nodes[:, None], rule.weights, rule.rates(rates[order])
        return theta, weights, rates
