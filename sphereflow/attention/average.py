"""Averages over the head law at points: velocity, mobility, interaction and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray

from ..heads import HeadNodes, Heads
from ..heads.nodes import Matrix
from ..machine.interruption import listen
from ..sphere import SphereGrid
from .transform import LaplaceTransform, ScaledTransform

__all__ = [
    "Averages",
    "HeadSeries",
    "HeadSums",
    "average_at_points",
    "average_of_heads",
    "average_on_grid",
    "tangential",
]

Real = NDArray[np.float64]

CHUNK = 65536  # arguments handled at a time: their arrays then stay in the cache


@dataclass(frozen=True)
class Averages:
    """Head averages at n points; the vectors are tangent. Not all are always computed.

    attention : (3, n)  ∫ P V ∇log L dΘ for softmax, ∫ P V ∇L dΘ for unnormalised attention
    interaction : (n,)  ∫ K[μ](x, θ) dΘ, symmetrised: ½(L(Dᵀx) + L(Dx))
    interaction_gradient : (3, n)  its surface gradient
    inverse_mobility : (n,)  ∫ dΘ / m
    interaction_rate : (n,)  ∂_t ∫ m dΘ at fixed μ
    radial : (n,)  the radial part of the average whose tangential part is `attention`
    """

    attention: Real
    interaction: Real
    interaction_gradient: Real
    inverse_mobility: Real
    interaction_rate: Real
    radial: Real

    def at(self, points: slice) -> Averages:
        """Those of some of the points."""
        return Averages(*(getattr(self, one.name)[..., points] for one in fields(Averages)))


class HeadSeries(Protocol):
    """L and ∇L at the images Dᵀx of some points, and ∇∇L, entries 00 11 22 01 02 12."""

    def __call__(self, logits: Real) -> ScaledTransform: ...

    def with_hessian(self, logits: Real) -> tuple[ScaledTransform, Real]: ...


@dataclass(eq=False)
class HeadSums:
    """Sums over μ for each of H heads, wanted by a balance with noisy heads.

    mass : (n,)  weights of the points at which the averages are taken
    slopes : (H, 3, 3)  ∫ x ∇L(Dᵀx)ᵀ dμ
    curvatures : (H, 3, 3, 3, 3) or None  ∫ x_a x_b ∂_c ∂_d L(Dᵀx) dμ
    """

    mass: Annotated[Real, "point"]
    slopes: Annotated[Real, "head 3 3"]
    curvatures: Annotated[Real, "head 3 3 3 3"] | None = None


PACKED = np.array([[0, 3, 4], [3, 1, 5], [4, 5, 2]])  # entries 00 11 22 01 02 12


def tangential(x: Real, vectors: Real) -> Real:
    """P_x a for x and a of shape (..., 3, n)."""
    along: Real = np.einsum("...in,...in->...n", x, vectors)
    return vectors - x * along[..., None, :]


class _Sums:
    """Running sums over the nodes of the head law, for one set of points."""

    def __init__(
        self, nodes: HeadNodes, x: Real, softmax: bool, heads: HeadSums | None, mass: Real | None
    ) -> None:
        self.nodes, self.x, self.softmax = nodes, x, softmax
        self.heads, self.mass = heads, mass
        count = x.shape[1]
        self.interaction = np.zeros(count)
        self.inverse = np.zeros(count)
        self.weight_rate = np.zeros(count)
        self.gathered: dict[Matrix, Real] = {}

    def add(self, part: ScaledTransform, nodes: slice, hessian: Real | None = None) -> None:
        """Add the nodes of one slice; arrays of `part` are ordered (node, point).

        Of logits beyond the range of an exponential the attention alone is of use.
        """
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            self._add(part, nodes, hessian)

    def _add(self, part: ScaledTransform, nodes: slice, hessian: Real | None) -> None:
        count = self.x.shape[1]
        weights = self.nodes.weights[nodes]
        scale = np.exp(part.radius)
        value = (scale * part.value).reshape(-1, count)
        plain = (scale * part.gradient).reshape(3, -1, count)
        self.interaction += weights @ value
        if self.softmax:
            self.inverse += weights @ (1.0 / value)
            mean = (part.gradient / part.value).reshape(3, -1, count)
        else:
            mean = plain
        vectors: dict[Matrix, Real] = {"values": mean, "logits": plain, "rates": plain}
        for matrix, vector in vectors.items():
            sums = self.nodes.gather(matrix, vector, nodes)
            self.gathered[matrix] = self.gathered.get(matrix, 0.0) + sums
        if self.nodes.weight_rates is not None:
            self.weight_rate += self.nodes.weight_rates[nodes] @ value
        if self.heads is not None and self.mass is not None:
            weighted = self.x * self.mass
            self.heads.slopes[nodes] += np.einsum("an,bqn->qab", weighted, plain, optimize=True)
            if hessian is not None and self.heads.curvatures is not None:
                full = (scale * hessian).reshape(6, -1, count)[PACKED]
                outer = np.einsum("an,bn->abn", weighted, self.x)
                self.heads.curvatures[nodes] += np.einsum(
                    "abn,cdqn->qabcd", outer, full, optimize=True
                )

    def result(self) -> Averages:
        x = self.x
        done = {name: self.nodes.finish(name, x, sums) for name, sums in self.gathered.items()}
        return Averages(
            attention=tangential(x, done["values"]),
            radial=np.einsum("in,in->n", x, done["values"]),
            interaction=self.interaction,
            interaction_gradient=tangential(x, done["logits"]),
            inverse_mobility=self.inverse if self.softmax else np.ones(x.shape[1]),
            interaction_rate=np.einsum("in,in->n", x, done["rates"]) + self.weight_rate,
        )


def _accumulate(
    transform: LaplaceTransform,
    nodes: HeadNodes,
    x: Real,
    softmax: bool,
    antipodal: bool,
    heads: HeadSums | None = None,
) -> Averages:
    """Averages at x; with `antipodal` the second half of x is minus the first half."""
    half = x.shape[1] // 2 if antipodal else x.shape[1]
    points = np.ascontiguousarray(x[:, :half])
    mass = None if heads is None else heads.mass[:half]
    sums = _Sums(nodes, points, softmax, heads, mass)
    mirror = None
    if antipodal:
        mass = None if heads is None else heads.mass[half:]
        mirror = _Sums(nodes, np.ascontiguousarray(x[:, half:]), softmax, heads, mass)
    order = np.arange(nodes.weights.size)
    mirrored = order if nodes.mirrored is None else order[nodes.mirrored]
    step = max(1, CHUNK // max(1, half))
    for low in range(0, nodes.weights.size, step):
        listen()
        part = slice(low, min(low + step, nodes.weights.size))
        z = nodes.arguments(points, part).reshape(3, -1)
        values = transform(z, antipodal=antipodal)
        bends = None
        if heads is not None and heads.curvatures is not None:
            bends = transform.hessian(z, values, antipodal=antipodal)
        here, there = slice(0, z.shape[1]), slice(z.shape[1], None)
        sums.add(_take(values, here), part, None if bends is None else bends[:, here])
        if mirror is not None:
            _add_mirrored(
                mirror,
                _take(values, there),
                mirrored[part],
                half,
                None if bends is None else bends[:, there],
            )
    first = sums.result()
    if mirror is None:
        return first
    second = mirror.result()
    return Averages(
        *(
            np.concatenate([getattr(first, name), getattr(second, name)], axis=-1)
            for name in Averages.__dataclass_fields__
        )
    )


def _take(values: ScaledTransform, part: slice) -> ScaledTransform:
    return ScaledTransform(values.radius[part], values.value[part], values.gradient[:, part])


def _add_mirrored(
    sums: _Sums,
    values: ScaledTransform,
    labels: NDArray[np.int64],
    count: int,
    hessian: Real | None,
) -> None:
    """Add values at −z_q(x), which belong to the node `labels[q]` at −x."""
    if len(labels) > 1 and labels[1] < labels[0]:
        shape = (-1, count)
        values = ScaledTransform(
            values.radius.reshape(shape)[::-1].ravel(),
            values.value.reshape(shape)[::-1].ravel(),
            values.gradient.reshape(3, -1, count)[:, ::-1].reshape(3, -1),
        )
    sums.add(values, slice(int(labels.min()), int(labels.max()) + 1), hessian)


def _symmetrised(
    transform: LaplaceTransform, nodes: HeadNodes, x: Real, own: Averages, antipodal: bool
) -> Averages:
    """`own` with the energy terms of logits that are not symmetric."""
    return _with_transposed(own, _accumulate(transform, nodes.transposed(), x, True, antipodal))


def _with_transposed(own: Averages, other: Averages) -> Averages:
    """For logits that are not symmetric the energy sees the mean of those of D and Dᵀ."""
    return Averages(
        own.attention,
        0.5 * (own.interaction + other.interaction),
        0.5 * (own.interaction_gradient + other.interaction_gradient),
        own.inverse_mobility,
        own.interaction_rate,
        own.radial,
    )


def average_at_points(
    transform: LaplaceTransform,
    nodes: HeadNodes,
    x: Real,
    *,
    softmax: bool = True,
    heads: HeadSums | None = None,
) -> Averages:
    """Head averages at unit vectors x of shape (3, n); `heads`, if given, gets its sums."""
    averages = _accumulate(transform, nodes, x, softmax, False, heads)
    if nodes.symmetric:
        return averages
    return _symmetrised(transform, nodes, x, averages, False)


def average_of_heads(
    series: HeadSeries,
    nodes: Heads,
    x: Real,
    *,
    softmax: bool = True,
    heads: HeadSums | None = None,
    also: Callable[[int, ScaledTransform, Real], None] | None = None,
) -> Averages:
    """As `average_at_points`, head by head; ``also(head, values, hessian)`` sees each of them."""

    def averages(of: Heads, softmax: bool, heads: HeadSums | None) -> Averages:
        sums = _Sums(of, x, softmax, heads, None if heads is None else heads.mass)
        for q, logits in enumerate(of.logits):
            listen()
            part = slice(q, q + 1)
            if of is not nodes or (also is None and (heads is None or heads.curvatures is None)):
                sums.add(series(logits), part)
                continue
            values, hessian = series.with_hessian(logits)
            sums.add(values, part, hessian)
            if also is not None:
                also(q, values, hessian)
        return sums.result()

    own = averages(nodes, softmax, heads)
    if nodes.symmetric:
        return own
    return _with_transposed(own, averages(nodes.transposed(), True, None))


def average_on_grid(
    transform: LaplaceTransform,
    nodes: HeadNodes,
    grid: SphereGrid,
    *,
    softmax: bool = True,
    radial: bool = False,
    heads: HeadSums | None = None,
) -> Averages:
    """Head averages at the points of a grid, in the order of grid.points.reshape(-1, 3).

    A grid with even numbers of rings and longitudes is its own antipode, which halves the
    work; isotropic heads need no sums over points at all. `heads`, if given, gets its sums
    with its mass at those points; without `radial` that part may be left out.
    """
    nlat, nlon = grid.shape
    if nodes.isotropic is not None and heads is None:
        tangent = nodes.only_tangential and not radial
        diagonal = _isotropic(transform, nodes, nodes.isotropic, grid, softmax, tangent)
        if diagonal is not None:
            return diagonal
    if nlat % 2 or nlon % 2 or nodes.mirrored is None:
        x = np.ascontiguousarray(grid.points.reshape(-1, 3).T)
        return average_at_points(transform, nodes, x, softmax=softmax, heads=heads)
    north = np.arange(nlat * nlon // 2).reshape(nlat // 2, nlon)
    turned = (np.arange(nlon) + nlon // 2) % nlon
    south = (nlat - 1 - np.arange(nlat // 2))[:, None] * nlon + turned
    order = np.concatenate([north.ravel(), south.ravel()])
    first = grid.points.reshape(-1, 3)[north.ravel()].T
    x = np.concatenate([first, -first], axis=1)
    if heads is not None:
        heads.mass = heads.mass[order]
    averages = _accumulate(transform, nodes, x, softmax, True, heads)
    if not nodes.symmetric:
        averages = _symmetrised(transform, nodes, x, averages, True)
    inverse = np.argsort(order)
    return Averages(
        *(getattr(averages, name)[..., inverse] for name in Averages.__dataclass_fields__)
    )


def _isotropic(
    transform: LaplaceTransform,
    nodes: HeadNodes,
    betas: Real,
    grid: SphereGrid,
    softmax: bool,
    tangent: bool,
) -> Averages | None:
    x = np.ascontiguousarray(grid.points.reshape(-1, 3).T)
    sums = _Sums(nodes, x, softmax, None, None)
    for q, beta in enumerate(betas):
        part = transform.on_sphere(grid, float(beta), tangent)
        if part is None:
            return None
        sums.add(part, slice(q, q + 1))
    return sums.result()
