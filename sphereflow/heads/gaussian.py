"""Gaussian laws of the heads: infinitely many heads through a three-dimensional integral.

For a fixed token x only z = Dᵀx enters L[μ], and z is Gaussian on R³, whatever the covariance
of the entries of (D, V). Gauss–Hermite nodes for z are placed per x with the symmetric square
root of its covariance, so that the averaged field stays smooth in x; the conditional means
E[V | z] and E[D | z] are affine in z.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import called, finite_array, held, integer, positive_number, shown
from ..describe.fields import Array, Bounds, Function
from ..describe.registry import DYNAMICS, LAWS
from ..errors import InputError
from .initial_laws import Normal
from .law import HeadLaw
from .nodes import Matrix
from .normal_rules import SMALLEST_VARIANCE, hermite_rule, more_nodes, nodes_for
from .parametrisations import Symmetric, coordinates_of
from .processes import HeadProcess
from .sampled import HeadDynamics, SampledHeads

__all__ = ["GaussianHeads", "GaussianNodes", "OrnsteinUhlenbeck"]

Real = NDArray[np.float64]
OfTime = Callable[[float], ArrayLike]
Law = TypeVar("Law", bound=HeadLaw)

LEAST_NODES = 8  # per axis
MOST_NODES = 64
NodesPerAxis = Annotated[int, Bounds(1, MOST_NODES)] | None
STEP = 1e-3  # in time, for the rates of functions
# Fourth-order differences: of functions that come without their derivative, and at t = 0.
CENTRAL = {1: 8.0, -1: -8.0, 2: -1.0, -2: 1.0}
FORWARD = {0: -25.0, 1: 48.0, 2: -36.0, 3: 16.0, 4: -3.0}


@lru_cache(maxsize=16)
def _gauss_hermite(count: int) -> tuple[Real, Real]:
    """Tensor rule for the standard normal law on R³: nodes (3, count³), weights."""
    nodes, weights = hermite_rule(count)
    grid = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij")).reshape(3, -1)
    return grid, np.einsum("i,j,k->ijk", weights, weights, weights).ravel()


def _largest_spread(covariance: Real) -> float:
    """Largest standard deviation of ⟨x, Dy⟩ over unit vectors x and y, but for a few per cent."""
    x = _directions()
    of_z = np.einsum("ni,ijkl,nk->njl", x, covariance, x)
    return float(np.sqrt(max(np.linalg.eigvalsh(of_z).max(), 0.0)))


@lru_cache(maxsize=1)
def _directions() -> Real:
    """The unit vectors along (a, b, c) for a, b, c in −2 … 2, shape (n, 3)."""
    steps = np.arange(-2.0, 3.0)
    mesh = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    mesh = mesh[np.linalg.norm(mesh, axis=1) > 0]
    return np.asarray(mesh / np.linalg.norm(mesh, axis=1, keepdims=True), dtype=np.float64)


class GaussianNodes:
    """Gauss–Hermite quadrature of a Gaussian law of (D, V) at one time.

    Parameters
    ----------
    mean : ndarray, shape (2, 3, 3)
        Means of D and V.
    covariance : ndarray, shape (2, 3, 3, 3, 3)
        Cov(D_ab, D_cd) and Cov(V_ab, D_cd).
    count : int or None
        Nodes per axis; as many as the spread of the law needs, at least 8, if None.
    mean_rate, covariance_rate : ndarray, shapes (3, 3) and (3, 3, 3, 3), optional
        Time derivatives of the mean and the covariance of D.
    """

    def __init__(
        self,
        mean: Real,
        covariance: Real,
        count: int | None,
        mean_rate: Real | None = None,
        covariance_rate: Real | None = None,
    ) -> None:
        self.mean = mean
        self.covariance = covariance
        if count is None:
            count = nodes_for(_largest_spread(covariance[0]), LEAST_NODES)
        self.count = count
        self.mean_rate = np.zeros((3, 3)) if mean_rate is None else mean_rate
        self.covariance_rate = (
            np.zeros((3, 3, 3, 3)) if covariance_rate is None else covariance_rate
        )
        self._nodes, self._weights = _gauss_hermite(count)
        self._frame_of: tuple[Real, Real, Real] | None = None

    weight_rates = None
    isotropic = None
    only_tangential = False
    mirrored = slice(None, None, -1)

    @property
    def weights(self) -> Real:
        return self._weights

    @cached_property
    def symmetric(self) -> bool:
        swapped = np.swapaxes(self.covariance[0], 2, 3)
        return bool(
            np.allclose(self.mean[0], self.mean[0].T, rtol=1e-14, atol=1e-14)
            and np.allclose(self.covariance[0], swapped, rtol=1e-14, atol=1e-14)
        )

    def _frame(self, x: Real) -> tuple[Real, Real]:
        """Symmetric square root of Cov(z) at each x, and its inverse: shapes (n, 3, 3)."""
        kept = self._frame_of  # which another thread may replace
        if kept is None or kept[0] is not x:
            covariance = np.einsum("in,ijkl,kn->njl", x, self.covariance[0], x)
            values, vectors = np.linalg.eigh(covariance)
            floor = SMALLEST_VARIANCE if self.covariance_rate.any() else 0.0
            roots = np.sqrt(np.maximum(values, floor))
            inverses = np.where(roots > 1e-10, 1.0 / np.maximum(roots, 1e-10), 0.0)
            root = np.einsum("nik,nk,njk->nij", vectors, roots, vectors)
            inverse = np.einsum("nik,nk,njk->nij", vectors, inverses, vectors)
            self._frame_of = kept = x, root, inverse
        return kept[1:]

    def arguments(self, x: Real, nodes: slice) -> Real:
        root, _ = self._frame(x)
        spread = np.tensordot(root, self._nodes[:, nodes], axes=(2, 0))  # n, 3, q
        z: Real = (self.mean[0].T @ x)[:, None, :] + np.transpose(spread, (1, 2, 0))
        return z

    def gather(self, matrix: Matrix, vectors: Real, nodes: slice) -> Real:
        factors = np.concatenate([np.ones((1, self._weights.size)), self._nodes])[:, nodes]
        sums: Real = np.matmul(factors * self._weights[nodes], vectors)  # 3, 4, n
        return sums

    def finish(self, matrix: Matrix, x: Real, sums: Real) -> Real:
        """Contract E[a] and E[ξ a] with the affine conditional means."""
        plain, moments = sums[:, 0], sums[:, 1:]
        _, inverse = self._frame(x)
        if matrix == "rates":
            # d/dt E[φ(z)] = E[⟨dMᵀ/dt x, ∇φ⟩] + ½ tr(dC/dt E[∇∇φ]), by parts on the Hessian;
            # it is a derivative of ⟨x, D a⟩, so the result is returned along x.
            rate = np.einsum("in,ijkl,kn->njl", x, self.covariance_rate, x)
            by_mean = np.einsum("in,ij,jn->n", x, self.mean_rate, plain)
            by_spread = 0.5 * np.einsum("njl,nlk,jkn->n", rate, inverse, moments)
            along: Real = x * (by_mean + by_spread)
            return along
        index = 0 if matrix == "logits" else 1
        with_z = np.einsum("abij,in->nabj", self.covariance[index], x)
        slope = np.einsum("nabj,njk->nabk", with_z, inverse)
        contracted: Real = self.mean[index] @ plain + np.einsum("nabk,bkn->an", slope, moments)
        return contracted

    def transposed(self) -> GaussianNodes:
        of_logits = np.transpose(self.covariance[0], (1, 0, 3, 2))
        of_values = np.swapaxes(self.covariance[1], 2, 3)
        return GaussianNodes(
            np.stack([self.mean[0].T, self.mean[1]]),
            np.stack([of_logits, of_values]),
            self.count,
            self.mean_rate.T,
            np.transpose(self.covariance_rate, (1, 0, 3, 2)),
        )

    def record(self) -> dict[str, Real]:
        return {
            "head_mean": self.mean[0],
            "head_covariance": self.covariance[0].reshape(9, 9),
        }

    def summary(self) -> Real:
        return np.concatenate([self.mean.ravel(), self.covariance.ravel()])


def _symmetric_covariance(variance: float) -> Real:
    """Cov(D_ab, D_cd) of a symmetric D: `variance` on the diagonal, half of it off it."""
    one = np.eye(3)
    pairs = np.einsum("ac,bd->abcd", one, one) + np.einsum("ad,bc->abcd", one, one)
    covariance: Real = 0.5 * variance * pairs
    return covariance


def _with_nodes(law: Law, count: int) -> Law:
    """A copy of a law with this number of nodes per axis."""
    other = copy.copy(law)
    object.__setattr__(other, "quadrature", count)
    return other


def _towards(target: Real, theta: Real, t: float) -> Real:
    """The drift of an Ornstein–Uhlenbeck process."""
    return target - theta


@DYNAMICS.row()
@LAWS.row()
@dataclass(frozen=True, eq=False)
class OrnsteinUhlenbeck(HeadLaw, HeadDynamics):
    """Infinitely many symmetric heads under dD = (F − D) dt + √(2σ²) dW, V = D.

    dW is the symmetrised noise (Z + Zᵀ)/2 with Z entries N(0, dt), so the stationary variance
    is σ² for a diagonal and σ²/2 for an off-diagonal entry. The law is Gaussian at all times.

    Parameters
    ----------
    target : array_like, shape (3, 3)
        F, symmetric.
    sigma : float
        σ ≥ 0.
    initial_mean : float or array_like, shape (3, 3)
        Mean of D(0); a number stands for that multiple of the identity.
    initial_std : float
        Standard deviation of a diagonal entry at t = 0; off-diagonal ones have it over √2.
    quadrature : int, optional
        Gauss–Hermite nodes per axis of z. Left out, as many as E and b of one token need to
        1e-6, at least 8.

    Raises
    ------
    InputError
        On a wrong shape, an asymmetric matrix or a negative standard deviation.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> heads = sf.OrnsteinUhlenbeck(target=np.eye(3), sigma=1.0)
    >>> float(round(heads.mean(1.0)[0, 0], 6)), heads.variance(1.0)
    (0.632121, 1.0)
    """

    infinitely_many = True

    target: Annotated[ArrayLike, Array((), (3, 3))]
    sigma: Annotated[float, Bounds(0)]
    initial_mean: Annotated[ArrayLike, Array((), (3, 3))] = 0.0
    initial_std: Annotated[float, Bounds(0)] = 1.0
    quadrature: NodesPerAxis = None

    gaussian = True
    more_nodes = "raise quadrature="

    def __post_init__(self) -> None:
        for name in ("target", "initial_mean"):
            array = finite_array(getattr(self, name), name)
            if array.ndim == 0:
                array = array * np.eye(3)
            if array.shape != (3, 3) or not np.allclose(array, array.T, rtol=0, atol=1e-12):
                raise InputError(
                    f"{name} must be a symmetric 3 by 3 matrix, got {shown(array)}; use (F + Fᵀ)/2"
                )
            object.__setattr__(self, name, array)
        for name in ("sigma", "initial_std"):
            object.__setattr__(self, name, positive_number(getattr(self, name), name, zero=True))
        if self.quadrature is not None:
            object.__setattr__(
                self, "quadrature", integer(self.quadrature, "quadrature", 1, MOST_NODES)
            )

    def mean(self, t: float) -> Real:
        """E[D(t)], shape (3, 3)."""
        target = held(self.target)
        mean: Real = target + np.exp(-t) * (held(self.initial_mean) - target)
        return mean

    def variance(self, t: float) -> float:
        """Variance of a diagonal entry; an off-diagonal one has half of it."""
        decay = np.exp(-2 * t)
        return float(decay * self.initial_std**2 + (1 - decay) * self.sigma**2)

    @property
    def automatic(self) -> bool:
        """Whether the number of nodes was left open."""
        return self.quadrature is None

    def nodes(self, t: float) -> GaussianNodes:
        """Quadrature of the law at time t, with its rate of change."""
        mean = self.mean(t)
        covariance = _symmetric_covariance(self.variance(t))
        variance_rate = 2 * np.exp(-2 * t) * (self.sigma**2 - self.initial_std**2)
        return GaussianNodes(
            np.stack([mean, mean]),
            np.stack([covariance, covariance]),
            self.quadrature,
            held(self.target) - mean,
            _symmetric_covariance(variance_rate),
        )

    def refined(self, t: float) -> OrnsteinUhlenbeck:
        """The same law by more nodes per axis than at time t."""
        return _with_nodes(self, more_nodes(self.nodes(t).count))

    # A finite number of heads, in the coordinates of `Symmetric`

    @cached_property
    def process(self) -> HeadProcess:
        """The process of one head: dθ = (F − θ) dt + √2 σ dW."""
        target = coordinates_of(held(self.target))
        return HeadProcess(partial(_towards, target), np.sqrt(2.0) * self.sigma, Symmetric())

    @property
    def initial_law(self) -> Normal:
        """Law of θ at t = 0."""
        return Normal(coordinates_of(held(self.initial_mean)), self.initial_std)

    exact = True

    def exact_transition(self, theta: Real, step: float, noise: Real) -> tuple[Real, Real]:
        """Mean and random part of θ(t + step) − θ(t), without error in the step."""
        decay = np.exp(-step)
        spread = self.sigma * np.sqrt(-np.expm1(-2.0 * step))
        return (1.0 - decay) * (coordinates_of(held(self.target)) - theta), spread * noise

    def exact_covariance(self, count: int, step: float) -> Real:
        """Covariance of the random part, shape (count, 6, 6)."""
        variance = self.sigma**2 * -np.expm1(-2.0 * step)
        return np.broadcast_to(variance * np.eye(6), (count, 6, 6))

    def sample(
        self, count: int, seed: int | None = None, *, dt: float = 1e-2, method: str = "euler"
    ) -> SampledHeads:
        """A law of `count` independent heads in place of infinitely many.

        Parameters
        ----------
        count : int
            H, at least 1. The first heads do not depend on it.
        seed : int, optional
            Drawn from the operating system if left out, and then kept.
        dt : float
            Step of the paths that `nodes` gives; a token run takes its own steps.
        method : {"euler", "exact"}
            Euler–Maruyama as in the paper, or the exact transition of the process.
        """
        return SampledHeads(self, count, seed, None, dt, method)


@LAWS.row()
@dataclass(frozen=True, eq=False)
class GaussianHeads(HeadLaw):
    """Infinitely many heads with any Gaussian law of D, or of D and V jointly.

    Parameters
    ----------
    mean : array_like or callable of t
        Shape (3, 3) for D with V = D, or (2, 3, 3) for the means of D and V.
    covariance : array_like or callable of t
        Shape (9, 9), entries of D in row-major order, or (18, 18), those of D then of V.
    quadrature : int, optional
        Gauss–Hermite nodes per axis of z = Dᵀx. Left out, as many as E and b of one token need to
        1e-6, at least 8.

    Raises
    ------
    InputError
        On shapes that do not fit, or a covariance that is not symmetric positive semidefinite.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> heads = sf.GaussianHeads(np.eye(3), 0.25 * np.eye(9))
    >>> field = sf.attention_field(sf.Uniform(), heads)
    >>> bool(np.allclose(field.velocity([[0, 0, 1.0]]), 0))
    True
    """

    infinitely_many = True

    mean: Annotated[ArrayLike | OfTime, Array((3, 3), (2, 3, 3)), Function()]
    covariance: Annotated[ArrayLike | OfTime, Array((9, 9), (18, 18)), Function()]
    quadrature: NodesPerAxis = None

    gaussian = True
    more_nodes = "raise quadrature="

    def __post_init__(self) -> None:
        if self.quadrature is not None:
            object.__setattr__(
                self, "quadrature", integer(self.quadrature, "quadrature", 1, MOST_NODES)
            )
        for name in ("mean", "covariance"):
            value = getattr(self, name)
            object.__setattr__(self, name, value if callable(value) else finite_array(value, name))
        self._moments(0.0)

    @staticmethod
    def _at(value: ArrayLike | OfTime, t: float, name: str) -> Real:
        return finite_array(called(value, name, t), name) if callable(value) else held(value)

    def _moments(self, t: float) -> tuple[Real, Real]:
        """Mean (2, 3, 3) and covariance (2, 3, 3, 3, 3) of (D, V) with D."""
        mean = self._at(self.mean, t, "mean")
        covariance = self._at(self.covariance, t, "covariance")
        size = {(3, 3): 9, (2, 3, 3): 18}.get(mean.shape)
        if size is None or covariance.shape != (size, size):
            raise InputError(
                "mean and covariance must have shapes (3, 3) and (9, 9), or (2, 3, 3) and "
                f"(18, 18), got {mean.shape} and {covariance.shape}; order the entries row by row"
            )
        scale = max(1.0, float(np.abs(covariance).max()))
        if not np.allclose(covariance, covariance.T, rtol=0, atol=1e-10 * scale) or (
            np.linalg.eigvalsh(covariance).min() < -1e-10 * scale
        ):
            raise InputError(
                "covariance must be symmetric positive semidefinite, got smallest eigenvalue "
                f"{np.linalg.eigvalsh((covariance + covariance.T) / 2).min():.3g}; "
                "check the order of its entries"
            )
        blocks = covariance.reshape(size // 9, 9, size // 9, 9)[:, :, 0]
        if size == 9:
            mean, blocks = np.stack([mean, mean]), np.concatenate([blocks, blocks])
        return mean, blocks.reshape(2, 3, 3, 3, 3)

    @property
    def automatic(self) -> bool:
        """Whether the number of nodes was left open."""
        return self.quadrature is None

    def nodes(self, t: float) -> GaussianNodes:
        """Quadrature of the law at time t, with its rate of change."""
        mean, covariance = self._moments(t)
        if not callable(self.mean) and not callable(self.covariance):
            return GaussianNodes(mean, covariance, self.quadrature)
        # A law need not be there before t = 0.
        weights = CENTRAL if t >= 2 * STEP else FORWARD
        moments = {k: self._moments(t + k * STEP) for k in weights}
        rates = [
            sum(weight * moments[k][i][0] for k, weight in weights.items()) / (12 * STEP)
            for i in (0, 1)
        ]
        return GaussianNodes(mean, covariance, self.quadrature, rates[0], rates[1])

    def refined(self, t: float) -> GaussianHeads:
        """The same law by more nodes per axis than at time t."""
        return _with_nodes(self, more_nodes(self.nodes(t).count))
