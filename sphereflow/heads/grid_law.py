"""The law Θ_t of one to three parameters of a head on a grid, with an estimate of its error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..checks import called, finite_array, held
from ..errors import InputError
from ..machine.threads import in_turn
from .fokker_planck_arguments import components
from .generators import Grid
from .grid_solver import GridSolver
from .initial_laws import Initial, Normal, NormalMixture, Point
from .processes import HeadProcess
from .quadrature import gauss_rule, nested_rule
from .regrid import cells_per_width

__all__ = ["GridLaw"]

Real = NDArray[np.float64]

REACH = 8.0  # standard deviations of the initial law inside the box
MOST_BYTES = 200_000_000  # of states kept for later
RATE_STEP = 1e-4  # in time, for the rates of the nodes of a nested rule
COARSER = 4  # times the width: cells of the solution in one dimension that gives the error
COARSE_TOLERANCE = 1e-7  # of the steps of that solution
RESOLVED = 3.0  # cells per width of the law that show its shape
POINTLIKE = 1e-4  # of the size of θ: a standard deviation below this is not looked at more closely
POINT_SPREAD = 3e-4  # of the noise in unit time: width that stands for a point
_AXES = np.concatenate([np.eye(3), np.full((1, 3), 3.0**-0.5)])
# x yᵀ of some unit vectors, shape (k, 3, 3)
_PAIRS = np.concatenate(
    [sign * np.einsum("ai,bj->abij", _AXES, _AXES).reshape(-1, 3, 3) for sign in (1.0, -1.0)]
)


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
    adapts : bool
        Whether the cells follow the width of the law.
    max_step : float
        Longest step in time.
    """

    def __init__(
        self,
        process: HeadProcess,
        initial: Initial,
        domain: Real | None,
        cells: Sequence[int],
        tolerance: float,
        adapts: bool = False,
        max_step: float = np.inf,
    ) -> None:
        self.process = process
        self._arguments = initial, domain, tuple(cells), tolerance, adapts, max_step
        grows = domain is None
        started = _with_width(process, initial) if adapts and grows else initial
        self._added = _variance_added(initial, started, process.dimension)
        box = _box(process, started) if domain is None else domain
        widths = (box[:, 1] - box[:, 0]) / np.array(cells)
        grid = Grid(box[:, 0], widths, tuple(cells))
        masses = _initial_masses(started, grid)
        wanted = min(cells) / (2.0 * REACH) if adapts else None
        solver = GridSolver(process, grid, masses, grows, tolerance, wanted, max_step)
        self._solvers = [solver]
        self._coarse: GridLaw | None = None

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

    def kept_around(self, t: float) -> list[dict[str, object]]:
        """Solvers as plain data: the start, the last ones before t, and all later ones.

        Times after t are solved for from these.
        """
        ordered = sorted(self._solvers, key=lambda one: one.t)
        earlier = [one for one in ordered if one.t <= t]
        around = [*earlier[:1], *earlier[1:][-3:], *(one for one in ordered if one.t > t)]
        return [one.kept() for one in around]

    def resume(self, kept: Sequence[object]) -> None:
        """Go on from solvers that were kept."""
        start = self._solvers[0]
        self._solvers = [start.resumed(one) for one in kept]

    def moments(self, t: float) -> tuple[Real, Real]:
        """Mean (p,) and covariance (p, p) of θ."""
        solver = self.at(t)
        points, masses = solver.grid.points, solver.masses.ravel()
        mean = masses @ points
        centred = points - mean
        return mean, centred.T @ (masses[:, None] * centred)

    # How far the cells can be trusted

    @property
    def coarse(self) -> GridLaw | None:
        """The law on wider cells, by which the error is estimated; None if there are too few."""
        if self._coarse is None:
            initial, domain, cells, tolerance, adapts, max_step = self._arguments
            ratio = COARSER if len(cells) == 1 else 2
            if min(cells) < 8 * ratio:
                return None
            fewer = [count // ratio for count in cells]
            self._coarse = GridLaw(
                self.process,
                initial,
                domain,
                fewer,
                max(tolerance, COARSE_TOLERANCE),
                adapts,
                max_step,
            )
        return self._coarse

    def error(self, t: float) -> tuple[float, float]:
        """Estimated errors by the cells: of averages over Θ_t, and of its moments.

        The first is that of averages of e^{⟨x,Dy⟩} relative to them, and of the mean relative to
        the root mean square of θ; the second is relative to the standard deviation. They come
        from a solution on wider cells: its difference over (r² − 1)/2 for cells of r times the
        width where the scheme is of second order, over r − 1 where the drift across a cell
        outweighs the noise.
        """
        if t == 0.0 and isinstance(self._arguments[0], Normal | NormalMixture | Point):
            # The nodes of the start are its cells too, but its moments are known.
            return 0.0, 0.0
        coarse = self.coarse
        if coarse is None:
            return np.inf, np.inf
        fine, wide = self.at(t), coarse.at(t)
        ratio = float(np.max(wide.grid.widths / fine.grid.widths))
        ratio = max(ratio, 2.0)
        share = 1.0 / (ratio - 1.0) if fine.upwind else 2.0 / (ratio**2 - 1.0)
        (m1, c1), (m2, c2) = self.moments(t), coarse.moments(t)
        size = np.sqrt(m1 @ m1 + np.trace(c1)) + 1e-300
        std = np.sqrt(np.maximum(np.diag(c1), (POINTLIKE * size) ** 2))
        averages = [self._exponentials(solver) for solver in (fine, wide)]
        of_averages = max(
            float(np.abs(averages[1] / averages[0] - 1.0).max()),
            float(np.abs(m1 - m2).max() / size),
            float(np.abs(c1 - c2).max() / size**2),
        )
        of_moments = max(
            float(np.abs((m1 - m2) / std).max()),
            float(np.abs((c1 - c2) / np.multiply.outer(std, std)).max()),
        )
        of_averages, of_moments = share * of_averages, share * of_moments
        for axis, h in enumerate(fine.grid.widths):
            if cells_per_width(fine.masses, axis) < RESOLVED:
                # Two solutions that are both too coarse may agree.
                of_averages = max(of_averages, float(h / size) ** 2 / 8.0)
                of_moments = max(of_moments, float(h / std[axis]) ** 2 / 8.0)
        # A point was given a width, of which little is left where the drift contracts.
        of_averages += float(self._added.sum()) / 2.0
        of_moments += float((self._added / np.maximum(std**2, self._added + 1e-300)).max()) / 2.0
        return of_averages, of_moments

    def _exponentials(self, solver: GridSolver) -> Real:
        """∫e^{⟨x,Dy⟩} dΘ for some x and y."""
        masses = solver.masses.ravel()
        heavy = masses > 1e-20 * masses.max()
        logits, _ = self.process.parametrisation(solver.grid.points[heavy])
        exponents = np.einsum("nij,kij->kn", np.asarray(logits, dtype=np.float64), _PAIRS)
        exponents += np.log(masses[heavy])
        largest = exponents.max(axis=1, keepdims=True)
        return np.asarray(
            np.exp(np.minimum(largest[:, 0], 700.0)) * np.exp(exponents - largest).sum(axis=1),
            dtype=np.float64,
        )

    def line_rule(self, t: float, count: int) -> tuple[Real, Real, Real]:
        """Gauss nodes (q, 1), weights and weight rates of a law of one parameter.

        Where fewer cells hold mass than there are nodes, the last node is repeated without weight.
        """
        solver = self.at(t)
        rule = gauss_rule(solver.grid.axes[0], solver.masses, count)
        missing = (0, count - len(rule.nodes))
        nodes = np.pad(rule.nodes, missing, mode="edge")
        rates = rule.rates(solver.mass_rates())
        return nodes[:, None], np.pad(rule.weights, missing), np.pad(rates, missing)

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


def _noise_at(process: HeadProcess, theta: Real) -> Real:
    """Standard deviation of the noise in unit time at one θ, shape (p,)."""
    factor = process.factor_at(np.array(theta, dtype=np.float64)[None], 0.0)[0]
    return np.asarray(np.linalg.norm(factor, axis=1), dtype=np.float64)


def _with_width(process: HeadProcess, initial: Initial) -> Initial:
    """The initial law, with a negligible width where it has none and noise is about to make one."""
    if isinstance(initial, NormalMixture):
        parts = [_widened(process, one) for one in initial.components]
        return NormalMixture(
            np.stack([np.broadcast_to(held(one.mean), (process.dimension,)) for one in parts]),
            np.stack([np.broadcast_to(held(one.std), (process.dimension,)) for one in parts]),
            held(initial.weights),
        )
    return _widened(process, initial) if isinstance(initial, Normal | Point) else initial


def _widened(process: HeadProcess, initial: Normal | Point) -> Normal:
    shape = (process.dimension,)
    mean = np.broadcast_to(held(initial.mean), shape)
    std = np.broadcast_to(held(initial.std), shape)
    return Normal(mean, np.where(std > 0, std, POINT_SPREAD * _noise_at(process, mean)))


def _variance_added(initial: Initial, started: Initial, size: int) -> Real:
    """Largest variance that `_with_width` has added to a parameter, (p,)."""
    if started is initial:
        return np.zeros(size)
    pairs = zip(components(initial)[0], components(started)[0], strict=True)
    added = [np.broadcast_to(held(b.std) ** 2 - held(a.std) ** 2, (size,)) for a, b in pairs]
    return np.asarray(np.max(added, axis=0), dtype=np.float64)


def _box(process: HeadProcess, initial: Initial) -> Real:
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
    mean = np.broadcast_to(held(initial.mean), shape)
    std = np.broadcast_to(held(initial.std), shape)
    spread = _noise_at(process, mean)
    half = np.where(std > 0, REACH * std, np.maximum(4.0 * spread, 0.5))
    return np.stack([mean - half, mean + half], axis=1)


def _initial_masses(initial: Initial, grid: Grid) -> Real:
    """Masses of the cells, of sum 1."""
    if isinstance(initial, NormalMixture):
        parts = [_initial_masses(one, grid) for one in initial.components]
        return np.tensordot(held(initial.weights), np.stack(parts), axes=1)
    dimension = len(grid.shape)
    if isinstance(initial, Normal | Point):
        factors = []
        for axis, centre, width, m, s in zip(
            range(dimension),
            grid.axes,
            grid.widths,
            np.broadcast_to(held(initial.mean), (dimension,)),
            np.broadcast_to(held(initial.std), (dimension,)),
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
        masses: Real = factors[0]
        for values in factors[1:]:
            masses = masses[..., None] * values
        return masses
    values = finite_array(called(initial, "initial", grid.points), "initial(theta)")
    if values.shape != (int(np.prod(grid.shape)),) or (values < 0).any() or not values.any():
        raise InputError(
            "initial(theta) must return one density of at least 0 for each row of theta, got shape "
            f"{values.shape} and smallest value {values.min():g}"
        )
    shares: Real = (values / values.sum()).reshape(grid.shape)
    return shares
