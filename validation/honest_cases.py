"""Random comparisons of results with closed forms and dense references, for `24_honesty.py`.

A family draws its options from a generator and returns comparisons. One of them is *right* if
value and reference differ by less than a bound that follows from the tolerance of the run, its
stated error or the order of the scheme; *announced* if status, warning or error estimate say that
the value is not certain; and *silent* if it is neither.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm

import sphereflow as sf

GENERATOR = np.random.Generator
LEVEL = 4  # of the cells
CELLS = 1e-2  # what cells of that level are expected to reach, relative to the sphere


@dataclass(frozen=True)
class Comparison:
    """One number beside its right value."""

    family: str
    what: str
    value: float
    right: float
    bound: float
    announced: bool

    @property
    def is_right(self) -> bool:
        return bool(abs(self.value - self.right) <= self.bound)

    @property
    def silent(self) -> bool:
        return not self.is_right and not self.announced


def direction(rng):
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)


def solved(problem, **options):
    """The run, and whether it says that its numbers are not certain."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = sf.solve(problem, **options)
    said = "; " in run.attrs["status_reason"] or run.attrs["status"] != "completed"
    return run, said or bool(caught)


def output_times(rng, t_end):
    """The end alone, the start and the end, or some times between."""
    choice = rng.integers(3)
    if choice == 0:
        return [t_end]
    inside = np.sort(rng.uniform(0.05, 0.95, rng.integers(1, 6))) * t_end if choice == 2 else []
    return [0.0, *inside, t_end]


def compared(family, what, values, rights, bound, announced):
    """One comparison of two vectors, by their largest difference."""
    worst = float(np.abs(np.asarray(values) - np.asarray(rights)).max())
    return Comparison(family, what, worst, 0.0, bound, announced)


def scheme_of(rng, *, points=None):
    """A scheme, a factor of its tolerance, and an absolute error that its grid may add."""
    choice = rng.integers(4 if points is not None else 3)
    if choice == 0:
        return sf.Spectral(int(rng.choice([31, 47]))), 0.0
    if choice == 1:
        norm = str(rng.choice(["largest", "mean"]))
        return sf.Characteristics(int(rng.choice([31, 47])), 127, error_norm=norm), 0.0
    if choice == 2:
        return sf.FiniteVolume(LEVEL), CELLS
    return sf.Particles(dt=None, threads=1), 0.0


def mean_of_flow(density, matrix):
    """∫ x dμ after the flow map of a matrix, by nodes of a fine quadrature."""
    grid = sf.SphereGrid(255)
    moved = grid.points @ matrix.T
    moved /= np.linalg.norm(moved, axis=-1, keepdims=True)
    values = density(grid.points)
    mass = grid.integrate(values)
    return np.array([grid.integrate(values * moved[..., k]) for k in range(3)]) / mass


# Families


def pulsed_drifts(rng):
    """P_x a(t) M x with a(t) that acts for a short time: the flow map is e^{∫a M}."""
    matrix = rng.standard_normal((3, 3)) * 0.5
    t_end = float(rng.uniform(2.0, 10.0))
    width = float(rng.uniform(0.15, 0.4)) * 0.2 * t_end
    begin = float(rng.uniform(0.1, 0.7)) * t_end
    smooth = rng.random() < 0.5

    def drift(x, t):
        s = (t - begin) / width
        if not 0.0 < s < 1.0:
            return 0.0 * x
        return (2.0 * np.sin(np.pi * s) ** 2 if smooth else 1.0) / width * (x @ matrix.T)

    density = sf.VonMisesFisher(direction(rng), float(rng.uniform(1.0, 6.0)))
    rtol = float(10.0 ** rng.uniform(-7, -4))
    scheme, of_grid = scheme_of(rng)
    run, said = solved(
        sf.TransformerPDE(None, density, drift=drift),
        t_end=t_end,
        scheme=scheme,
        save_at=output_times(rng, t_end),
        rtol=rtol,
    )
    right = mean_of_flow(density, expm(matrix))
    what = f"{type(scheme).__name__} {'smooth' if smooth else 'jumping'} drift"
    bound = 100 * rtol + of_grid
    return [compared("pulsed drifts", what, run.first_moment[-1], right, bound, said)]


def pulsed_tables(rng):
    """Values a(t) V of a table with constant logits: μ depends on ∫a dt alone."""
    rows = int(rng.choice([21, 41]))
    times = np.linspace(0, 8.0, rows)
    first = int(rng.integers(3, rows - 9))
    heights = rng.uniform(0.5, 3.0, int(rng.integers(2, 5))) * (rows / 40)
    amplitude = np.zeros(rows)
    amplitude[first : first + len(heights)] = heights
    logits = rng.standard_normal((3, 3))
    values = 0.6 * rng.standard_normal((3, 3))
    interpolation = str(rng.choice(["linear", "cubic"]))
    stack = np.broadcast_to(logits, (rows, 1, 3, 3))
    table = sf.TabulatedHeads(
        times, stack, amplitude[:, None, None, None] * values, interpolation=interpolation
    )
    if interpolation == "linear":
        action = np.trapezoid(amplitude, times)
    else:
        from scipy.interpolate import CubicSpline

        action = float(CubicSpline(times, amplitude).integrate(0, 8.0))
    density = sf.VonMisesFisher(direction(rng), float(rng.uniform(1.0, 5.0)))
    rtol = float(10.0 ** rng.uniform(-6, -4))
    scheme, of_grid = scheme_of(rng)
    run, said = solved(
        sf.TransformerPDE(table, density),
        t_end=8.0,
        scheme=scheme,
        save_at=output_times(rng, 8.0),
        rtol=rtol,
    )
    steady = sf.TransformerPDE(sf.FixedHeads(logits, values), density)
    if action < 0:
        steady = sf.TransformerPDE(sf.FixedHeads(logits, -values), density)
    # The reference differs from the run in its start and scale of time; it steps by constant heads.
    right = sf.solve(
        steady, t_end=abs(action), scheme=sf.Characteristics(47, 127), save_at=[abs(action)],
        rtol=1e-9,
    )  # fmt: skip
    what = f"{type(scheme).__name__} {interpolation} table"
    bound = 100 * rtol + of_grid
    return [
        compared("pulsed tables", what, run.first_moment[-1], right.first_moment[-1], bound, said)
    ]


def still_budgets(rng):
    """The uniform density under β(t) I: nothing moves, E = sinh β/(2β)."""
    rows = int(rng.choice([21, 101]))
    times = np.linspace(0, 10.0, rows)
    beta = 1.0 + rng.uniform(0.2, 1.5) * np.sin(rng.uniform(0.3, 1.0) * times) ** 2
    values = None if rng.random() < 0.5 else np.zeros((rows, 1, 3, 3))
    interpolation = str(rng.choice(["linear", "cubic"]))
    law = sf.TabulatedHeads(
        times, (beta[:, None, None] * np.eye(3))[:, None], values, interpolation=interpolation
    )
    scheme, _ = scheme_of(rng)
    run, said = solved(
        sf.TransformerPDE(law, sf.Uniform()),
        t_end=10.0,
        scheme=scheme,
        save_at=output_times(rng, 10.0),
    )
    end = float(beta[-1])
    right = np.sinh(end) / (2 * end)
    start = float(run.energy[0]) if float(run.time[0]) == 0 else np.sinh(1.0) / 2
    what = f"{type(scheme).__name__} {interpolation}"
    grid = 2e-3 if isinstance(scheme, sf.FiniteVolume) else 0.0
    return [
        compared("still budgets", f"{what} E", run.energy[-1], right, 1e-6 + grid, said),
        compared(
            "still budgets", f"{what} ∫∂_tE", run.energy_heads_integral[-1], right - start,
            1e-4 + grid, said,
        ),
        compared("still budgets", f"{what} ∫R", run.energy_transport_integral[-1], 0, 1e-6, said),
    ]  # fmt: skip


def long_rotations(rng):
    """Rigid rotation over many turns, with few and many outputs."""
    axis, t_end = direction(rng), float(rng.uniform(20, 120))
    cross = np.cross(np.eye(3), axis)
    points = np.stack([direction(rng) for _ in range(4)])
    scheme = sf.Particles(dt=None) if rng.random() < 0.5 else sf.Characteristics()
    rtol = float(10.0 ** rng.uniform(-8, -5))
    times = [0, t_end] if rng.random() < 0.5 else np.linspace(0, t_end, 40)
    run, said = solved(
        sf.TransformerPDE(None, sf.EmpiricalDensity(points), drift=cross),
        t_end=t_end, scheme=scheme, save_at=times, rtol=rtol,
    )  # fmt: skip
    right = points @ expm(t_end * cross).T
    what = f"{type(scheme).__name__} {len(times)} outputs"
    # Errors of steps, of which there is about one a radian, add up.
    return [compared("long rotations", what, run.position[-1], right, 3 * rtol * t_end, said)]


def growth(rng):
    """Out of a nearly uniform density, MODEL.md §6.2."""
    from scipy.special import spherical_in

    degree, beta = int(rng.integers(1, 5)), float(rng.uniform(1.0, 6.0))
    delta = float(10.0 ** rng.uniform(-8, -4))
    coefficients = np.zeros((degree + 1) ** 2)
    coefficients[0] = 1 / np.sqrt(4 * np.pi)
    coefficients[degree**2 + degree + int(rng.integers(-degree, degree + 1))] = delta
    rate = degree * (degree + 1) * spherical_in(degree, beta) / (beta * spherical_in(0, beta))
    t_end = float(rng.uniform(1.0, 3.0))
    rtol = float(10.0 ** rng.uniform(-7, -4))
    scheme, of_grid = scheme_of(rng)
    run, said = solved(
        sf.TransformerPDE(
            sf.FixedHeads(beta * np.eye(3), np.eye(3)), sf.HarmonicDensity(coefficients)
        ),
        t_end=t_end, scheme=scheme, save_at=output_times(rng, t_end), rtol=rtol,
    )  # fmt: skip
    part = run.spectrum.values[-1, degree**2 : (degree + 1) ** 2]
    value = np.linalg.norm(part) / (delta * np.exp(rate * t_end))
    # Quadratic terms, and for cells the square of the degree times a cell.
    bound = 30 * rtol + 30 * delta * np.exp(rate * t_end) + (1e-3 if of_grid else 0) + 1e-14 / delta
    return [compared("growth", f"{type(scheme).__name__} l = {degree}", value, 1.0, bound, said)]


def handovers(rng):
    """Heat and rotation carried on from one scheme by another."""
    kappa = float(rng.uniform(1.0, 40.0))
    axis, mean = direction(rng), direction(rng)
    cross = np.cross(np.eye(3), axis)
    density = sf.VonMisesFisher(mean, kappa)
    problem = sf.TransformerPDE(None, density, drift=cross)
    makers = [
        lambda: (sf.Spectral(int(rng.choice([31, 63]))), 0.0),
        lambda: (sf.Characteristics(), 0.0),
        lambda: (sf.FiniteVolume(LEVEL), CELLS),
    ]
    (first, grid_1), (second, grid_2) = (makers[rng.integers(3)]() for _ in range(2))
    middle, t_end = 0.4, 1.0
    earlier, said_1 = solved(problem, t_end=0.7, scheme=first, save_at=[0.0, middle])
    try:
        run, said_2 = solved(
            problem, t_end=t_end, scheme=second, initial=earlier, save_at=[middle, t_end]
        )
    except sf.SphereflowError:  # refused with a sentence
        return [Comparison("handovers", "refused", 1.0, 0.0, 0.0, True)]
    length = 1 / np.tanh(kappa) - 1 / kappa
    what = f"{type(first).__name__} to {type(second).__name__}"
    bound = 1e-4 + grid_1 + grid_2
    return [
        compared(
            "handovers", f"{what} t = {t}", run.first_moment[row],
            length * expm(t * cross) @ mean, bound, said_1 or said_2,
        )
        for row, t in enumerate((middle, t_end))
    ]  # fmt: skip


def heat(rng):
    """Decay of the mean by diffusion."""
    density = sf.Mixture([sf.VonMisesFisher(direction(rng), float(rng.uniform(1, 30)))], [1.0])
    epsilon, t_end = float(10.0 ** rng.uniform(-2, 0)), float(rng.uniform(0.2, 2.0))
    scheme = sf.Spectral(63) if rng.random() < 0.5 else sf.FiniteVolume(LEVEL)
    run, said = solved(
        sf.TransformerPDE(None, density, diffusion=epsilon),
        t_end=t_end, scheme=scheme, save_at=output_times(rng, t_end),
    )  # fmt: skip
    kappa = density.components[0].concentration
    start = (1 / np.tanh(kappa) - 1 / kappa) * density.components[0].mean
    right = start * np.exp(-2 * epsilon * t_end)
    grid = CELLS if isinstance(scheme, sf.FiniteVolume) else 0.0
    return [compared("heat", type(scheme).__name__, run.first_moment[-1], right, 1e-5 + grid, said)]


def narrow_starts(rng):
    """Half of the mass in a peak that no cell sees, by library densities and functions."""
    kappa, centre = float(10.0 ** rng.uniform(2, 9)), direction(rng)
    peak = sf.VonMisesFisher(centre, kappa)
    share = float(rng.uniform(0.2, 0.8))
    mixture = sf.Mixture([sf.Uniform(), peak], [1 - share, share])
    function = rng.random() < 0.5

    def user(x):
        return (1 - share) / (4 * np.pi) + share * peak(x)

    scheme = [sf.FiniteVolume(3), sf.FiniteVolume(5), sf.Spectral(31, 63)][rng.integers(3)]
    run, said = solved(
        sf.TransformerPDE(None, user if function else mixture, drift=np.zeros((3, 3))),
        t_end=1e-6, scheme=scheme, save_at=[0.0],
    )  # fmt: skip
    right = share * (1 / np.tanh(kappa) - 1 / kappa)
    value = float(run.first_moment.values[0] @ centre)
    bound = 5e-3 if isinstance(scheme, sf.FiniteVolume) else 1e-6
    what = f"{type(scheme).__name__} {'function' if function else 'mixture'}"
    return [compared("narrow starts", what, value, right, bound, said)]


def gaussian_laws(rng):
    """One token under a wide Gaussian law: E = e^{v/2}/2, b = e^{−v/2}."""
    sigma = float(rng.uniform(0.5, 5.0))
    law = sf.OrnsteinUhlenbeck(np.zeros((3, 3)), sigma, initial_std=sigma)
    x = direction(rng)[None]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        field = sf.attention_field(x, law)
        energy, mobility = field.energy(), float(field.effective_mobility(x)[0])
    said = bool(caught)
    half = 0.5 * sigma**2
    return [
        compared("Gaussian laws", "E", energy / (0.5 * np.exp(half)), 1.0, 1e-4, said),
        compared("Gaussian laws", "b", mobility * np.exp(half), 1.0, 1e-4, said),
    ]


def head_equations(rng):
    """Mean and spread of a linear process on grids, with and without a pulse of its drift."""
    rate, target = float(rng.uniform(0.5, 2.0)), float(rng.uniform(-1, 1))
    noise, std = float(10.0 ** rng.uniform(-2, 0)), float(10.0 ** rng.uniform(-1.5, 0))
    parametrisation = sf.Isotropic() if rng.random() < 0.7 else sf.Diagonal()
    begin, width = float(rng.uniform(0.5, 2.5)), float(rng.uniform(0.1, 0.4))
    push = float(rng.choice([0.0, 4.0]))

    def drift(theta, t):
        return rate * (target - theta) + (push if begin < t < begin + width else 0.0)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        law = sf.FokkerPlanckLaw(sf.HeadProcess(drift, noise, parametrisation), sf.Normal(0.2, std))
        t = 3.0
        mean, covariance = law.moments(t)
    decay = np.exp(-rate * t)
    moved = push / rate * (np.exp(-rate * (t - begin - width)) - np.exp(-rate * (t - begin)))
    right_mean = target + decay * (0.2 - target) + moved
    right_std = np.sqrt(decay**2 * std**2 + noise**2 / (2 * rate) * (1 - decay**2))
    estimated = law.error(t) if hasattr(law, "error") else 0.0
    said = bool(caught)
    bound = 1e-3 + estimated
    what = f"{parametrisation.dimension} dimensions"
    spread = float(np.sqrt(covariance[0, 0])) / right_std
    return [
        compared("head equations", f"{what} mean", mean[0], right_mean, bound, said),
        compared("head equations", f"{what} spread", spread, 1.0, 0.02 + 20 * estimated, said),
    ]


def distances(rng):
    """W1 and W2 of a rotated density are at most its angle; total variation at most 1."""
    kappa, angle = float(rng.uniform(2, 20)), float(10.0 ** rng.uniform(-3, 0))
    mean = direction(rng)
    other = np.cross(mean, direction(rng))
    other /= np.linalg.norm(other)
    turned = np.cos(angle) * mean + np.sin(angle) * other

    def still(direction_of):
        problem = sf.TransformerPDE(
            None, sf.VonMisesFisher(direction_of, kappa), drift=np.zeros((3, 3))
        )
        return sf.solve(problem, t_end=1.0, scheme=sf.Spectral(47), save_at=[0.0])

    report = sf.compare(still(mean), still(turned))
    w1, w2 = float(report.w1[0]), float(report.w2[0])
    # The chord of the means over the mean length is at most W1, by the linear functions.
    length = 1 / np.tanh(kappa) - 1 / kappa
    least = 2 * np.sin(angle / 2) * length
    found = []
    for name, value, error in (
        ("w1", w1, float(report.w1_error[0])),
        ("w2", w2, float(report.w2_error[0])),
    ):
        unknown = not np.isfinite(value)
        found += [
            Comparison("distances", f"{name} above", max(0.0, least - value), 0, error, unknown),
            Comparison("distances", f"{name} below", max(0.0, value - angle), 0, error, unknown),
        ]
    variation = float(report.total_variation[0])
    found.append(
        Comparison(
            "distances", "total variation", max(0.0, variation - 1), 0, 1e-12,
            not np.isfinite(variation),
        )
    )  # fmt: skip
    return found


def one_of_many(rng):
    """One token that turns fast among many that rest, with any outputs and batch."""
    count = int(rng.choice([1, 30, 3000]))
    points = rng.standard_normal((count, 3))
    points[:, 0] = -np.abs(points[:, 0])
    points[0] = [1, 0, 0]
    points /= np.linalg.norm(points, axis=1)[:, None]
    omega = float(rng.uniform(15, 40))  # slower ones would turn it out of its half space

    def drift(x, t):
        turning = (10 * np.sin(omega * t) * (x[:, 0] > 0))[:, None]
        return turning * np.stack([-x[:, 1], x[:, 0], 0 * x[:, 0]], 1)

    rtol = float(10.0 ** rng.uniform(-8, -5))
    run, said = solved(
        sf.TransformerPDE(None, sf.EmpiricalDensity(points), drift=drift),
        t_end=1.0, scheme=sf.Particles(dt=None), save_at=output_times(rng, 1.0), rtol=rtol,
    )  # fmt: skip
    angle = 10 / omega * (1 - np.cos(omega))
    right = [np.cos(angle), np.sin(angle), 0.0]
    return [compared("one of many", f"{count}", run.position[-1, 0], right, 100 * rtol, said)]


def drift_power(rng):
    """∫⟨∇∫K, u⟩dμ of drifts with large wave numbers closes the budget."""
    wave = float(rng.uniform(5, 35))
    first, second = direction(rng), direction(rng)

    def drift(x, t):
        return 0.3 * np.sin(wave * (x @ first))[:, None] * second

    density = sf.VonMisesFisher(direction(rng), float(rng.uniform(1, 4)))
    scheme = sf.Spectral(95, 255) if rng.random() < 0.5 else sf.Characteristics(63, 127)
    run, said = solved(
        sf.TransformerPDE(sf.FixedHeads(np.diag([1.5, 0.5, -1.0])), density, drift=drift),
        t_end=0.2, scheme=scheme, save_at=[0, 0.2],
    )  # fmt: skip
    what = f"{type(scheme).__name__}"
    return [compared("drift power", what, run.energy_residual[-1], 0.0, 1e-5, said)]


FAMILIES: dict[str, tuple[Callable, int]] = {
    "pulsed drifts": (pulsed_drifts, 24),
    "pulsed tables": (pulsed_tables, 10),
    "still budgets": (still_budgets, 12),
    "long rotations": (long_rotations, 12),
    "growth": (growth, 20),
    "handovers": (handovers, 20),
    "heat": (heat, 16),
    "narrow starts": (narrow_starts, 30),
    "Gaussian laws": (gaussian_laws, 10),
    "head equations": (head_equations, 16),
    "distances": (distances, 8),
    "one of many": (one_of_many, 12),
    "drift power": (drift_power, 8),
}


def drawn(family: str, draw: int, seed: int = 0) -> list[Comparison]:
    """The comparisons of one draw, which depends on its number and nothing else."""
    make = FAMILIES[family][0]
    key = list(FAMILIES).index(family)
    return make(np.random.default_rng([seed, key, draw]))
