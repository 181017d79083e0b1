"""Maps θ ↦ (D, V) from the parameters of a head to its matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ..checks import shown
from ..describe.registry import PARAMETRISATIONS
from ..errors import InputError

__all__ = ["Diagonal", "Isotropic", "Parametrisation", "Symmetric", "coordinates_of", "derivatives"]

Real = NDArray[np.float64]

MOST_PARAMETERS = 1000
DIFFERENCE_STEP = 1e-3  # for the derivatives of a map that a user brings


class Parametrisation(Protocol):
    """A map θ ↦ (D, V)."""

    @property
    def dimension(self) -> int:
        """p, the number of parameters of one head."""

    def __call__(self, theta: Real) -> tuple[Real, Real]:
        """D and V, shapes (..., 3, 3), of parameters of shape (..., p)."""


class _Linear:
    """D = V = Σ_a θ_a B_a."""

    basis: ClassVar[Real]  # B_a, shape (p, 3, 3)

    @property
    def dimension(self) -> int:
        return len(self.basis)

    def __call__(self, theta: Real) -> tuple[Real, Real]:
        logits = np.tensordot(theta, self.basis, axes=1)
        return logits, logits


@PARAMETRISATIONS.row()
@dataclass(frozen=True)
class Isotropic(_Linear):
    """θ ∈ R, D = V = θ I.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> sf.Isotropic()(np.array([2.0]))[0].tolist()
    [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]]
    """

    basis: ClassVar[Real] = np.eye(3)[None]


@PARAMETRISATIONS.row()
@dataclass(frozen=True)
class Diagonal(_Linear):
    """θ ∈ R³, D = V = diag θ.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> float(sf.Diagonal()(np.array([1.0, 2.0, 3.0]))[0].trace())
    6.0
    """

    basis: ClassVar[Real] = np.einsum("ai,aj->aij", np.eye(3), np.eye(3))


def _orthonormal_basis() -> Real:
    """Of the symmetric matrices under the Frobenius product, shape (6, 3, 3)."""
    basis = np.zeros((6, 3, 3))
    basis[range(3), range(3), range(3)] = 1.0
    for a, (i, j) in enumerate(((0, 1), (0, 2), (1, 2)), start=3):
        basis[a, i, j] = basis[a, j, i] = np.sqrt(0.5)
    return basis


@PARAMETRISATIONS.row()
@dataclass(frozen=True)
class Symmetric(_Linear):
    """θ ∈ R⁶, D = V symmetric, in an orthonormal basis for the Frobenius product.

    D = θ₁ e₁e₁ᵀ + θ₂ e₂e₂ᵀ + θ₃ e₃e₃ᵀ + (θ₄ (e₁e₂ᵀ + e₂e₁ᵀ) + θ₅ (13) + θ₆ (23)) / √2, so six
    standard normal parameters give the symmetrised noise (Z + Zᵀ)/2 of the paper.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> logits, _ = sf.Symmetric()(np.array([0, 0, 0, np.sqrt(2.0), 0, 0]))
    >>> bool(np.isclose(logits[0, 1], 1.0) and np.isclose(logits[1, 0], 1.0))
    True
    """

    basis: ClassVar[Real] = _orthonormal_basis()


def coordinates_of(matrices: Real) -> Real:
    """Parameters in `Symmetric` of symmetric matrices (..., 3, 3), shape (..., 6)."""
    theta: Real = np.einsum("...ij,aij->...a", matrices, Symmetric.basis)
    return theta


def checked(parametrisation: Parametrisation) -> Parametrisation:
    """The parametrisation, if it is one: an object with `dimension` that maps θ to (D, V)."""
    dimension = getattr(parametrisation, "dimension", None)
    if (
        isinstance(parametrisation, type)
        or not callable(parametrisation)
        or not isinstance(dimension, int | np.integer)
        or not 1 <= dimension <= MOST_PARAMETERS
    ):
        raise InputError(
            "parametrisation must map parameters to (D, V) and have an integer `dimension` of at "
            f"most {MOST_PARAMETERS}, got {shown(parametrisation)}; use Isotropic(), Diagonal(), "
            "Symmetric() or such an object"
        )
    theta = np.zeros((2, int(dimension)))
    try:
        shapes = [np.shape(matrix) for matrix in parametrisation(theta)]
    except Exception as error:
        raise InputError(
            f"parametrisation must take parameters of shape (n, {dimension}) and return (D, V), "
            f"got {type(error).__name__}: {error}; correct the map"
        ) from error
    if shapes != [(2, 3, 3)] * 2:
        raise InputError(
            f"parametrisation must return (D, V) of shapes (n, 3, 3) for parameters of shape "
            f"(n, {dimension}), got {shapes} for n = 2; correct the map"
        )
    return parametrisation


def derivatives(parametrisation: Parametrisation, theta: Real) -> tuple[Real, Real | None]:
    """First derivatives of D by θ, shape (n, p, 3, 3), and second ones (n, p, p, 3, 3).

    Exact for the linear maps of this module, whose second derivatives are None; central
    differences, with an error of about 1e-6, for a map that a user brings.
    """
    basis: Real | None = getattr(parametrisation, "basis", None)
    count, dimension = theta.shape
    if basis is not None:
        return np.broadcast_to(basis, (count, *np.shape(basis))), None
    steps = DIFFERENCE_STEP * np.eye(dimension)

    def logits(shift: Real) -> Real:
        return np.asarray(parametrisation(theta + shift)[0], dtype=np.float64)

    first = np.stack([logits(e) - logits(-e) for e in steps], axis=1) / (2 * DIFFERENCE_STEP)
    second = np.empty((count, dimension, dimension, 3, 3))
    for a, ea in enumerate(steps):
        for b, eb in enumerate(steps[: a + 1]):
            mixed = logits(ea + eb) - logits(ea - eb) - logits(eb - ea) + logits(-ea - eb)
            second[:, a, b] = second[:, b, a] = mixed / (4 * DIFFERENCE_STEP**2)
    return first, second
