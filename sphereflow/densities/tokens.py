"""Tokens that a user brings: weighted points on the sphere, from arrays or files."""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from ..checks import file_of, held, integer, path_of, positive_number, real_array, weights_of
from ..describe import to_config
from ..describe.fields import Array, Bounds, File
from ..describe.registry import DENSITIES
from ..errors import InputError
from ..machine.memory import check_memory
from ..machine.threads import opened_dataset
from ..seeds import Seed, parts_of
from ..sphere import Extent, PointTransform, degrees_and_orders
from .base import Cap, Density, NodeRule
from .closed_forms import VonMisesFisher, bessel_factors
from .projection import FINEST_PROJECTION, directions
from .token_files import ENDINGS, from_table, from_text, is_table

__all__ = ["EmpiricalDensity", "read_tokens"]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

UNIT_TOLERANCE = 1e-6  # lengths that differ from 1 by less are round-off
REACH = 9.0  # bandwidths, beyond which there is nothing of a kernel
COPIES = 3.0  # of tokens that are read and normalised
CHUNK = 4_000_000  # exponentials held at a time


@DENSITIES.row()
@dataclass(frozen=True, eq=False)
class EmpiricalDensity(Density):
    """Σ_i w_i δ_{x_i}, and with a bandwidth its smoothing by von Mises–Fisher densities.

    Parameters
    ----------
    positions : array_like of shape (n, 3), or path
        Vectors that are not of unit length are normalised with a warning. A path names a file
        ``.npy``, ``.npz`` (`positions`, `weights`), ``.csv`` or another table of text (columns
        x, y, z, or lat, lon, and if wanted weight) or ``.nc`` (a token run, of which the last
        time is taken); see `read_tokens`. A DataFrame is read by the names of its columns.
    weights : array_like, shape (n,), optional
        Equal, or those of the file, if left out; normalised to sum 1.
    bandwidth : float, optional
        Standard deviation h of the smoothing in radians, by a concentration of 1/h². Schemes
        that need a smooth density ask for it; `Particles` takes the points as they are.
    digest : str, optional
        SHA-256 of the positions that are expected, as a run keeps it beside the name of a file;
        others are refused.

    Raises
    ------
    InputError
        On a wrong shape, or on vectors that are zero or not finite, with their row.

    Examples
    --------
    >>> import numpy as np, sphereflow as sf
    >>> density = sf.EmpiricalDensity(np.eye(3), bandwidth=0.3)
    >>> bool(density([1.0, 0, 0]) > density([-1.0, 0, 0]))
    True
    """

    positions: Annotated[ArrayLike | os.PathLike[str], Array((3,), (None, 3)), File()]
    weights: Annotated[ArrayLike, Array((None,))] | None = None
    bandwidth: Annotated[float, Bounds(above=0)] | None = None
    digest: str | None = None
    _path: str | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        positions, weights = self.positions, self.weights
        if isinstance(positions, str | os.PathLike):
            object.__setattr__(self, "_path", os.path.realpath(path_of(positions, "positions")))
            positions, from_file = read_tokens(positions)
            weights = from_file if weights is None else weights
        elif is_table(positions):
            try:
                positions, from_file = from_table(positions)
            except ValueError as error:
                raise InputError(f"positions cannot be read from the table: {error}") from error
            weights = from_file if weights is None else weights
        points = _unit_rows(positions)
        points.setflags(write=False)
        object.__setattr__(self, "positions", points)
        object.__setattr__(self, "weights", weights_of(weights, len(points), "weights"))
        digest = hashlib.sha256(points.tobytes()).hexdigest()
        if self.digest not in (None, digest):
            where = "positions" if self._path is None else f"the tokens in '{self._path}'"
            raise InputError(
                f"{where} have changed: their SHA-256 is {digest:.12}… in place of "
                f"{self.digest!s:.12}…; restore them, or leave digest out to take the new ones"
            )
        object.__setattr__(self, "digest", digest)
        if self.bandwidth is not None:
            width = positive_number(self.bandwidth, "bandwidth")
            object.__setattr__(self, "bandwidth", width)

    def to_config(self) -> dict[str, object]:
        """Description for the attribute `experiment`: the file and its digest, or the points."""
        fields = {"positions": self._path or self.positions, "weights": self.weights}
        described: dict[str, object] = {
            "kind": "empirical_density",
            "bandwidth": self.bandwidth,
            **to_config(fields),
        }
        return described if self._path is None else {**described, "digest": self.digest}

    def _kernel(self) -> VonMisesFisher:
        if self.bandwidth is None:
            raise InputError(
                "an EmpiricalDensity is a smooth density only with a bandwidth; give for example "
                "bandwidth=0.2, or use the scheme Particles, which takes points"
            )
        return VonMisesFisher([0.0, 0.0, 1.0], self.bandwidth**-2)

    def log_density(self, points: ArrayLike) -> Real:
        """Logarithm of the smoothed density at points of shape (..., 3)."""
        kernel = self._kernel()
        points = directions(points)
        flat = points.reshape(-1, 3)
        result = np.empty(len(flat))
        with np.errstate(divide="ignore"):
            shares = np.log(held(self.weights)) + float(kernel.log_density([0.0, 0.0, 1.0]))
        centres = held(self.positions)
        step = max(1, CHUNK // len(centres))
        for low in range(0, len(flat), step):
            cosine = flat[low : low + step] @ centres.T
            exponents = kernel.concentration * (cosine - 1.0) + shares
            result[low : low + step] = logsumexp(exponents, axis=1)
        return result.reshape(points.shape[:-1])

    def tokens(self) -> tuple[Real, Real]:
        """The points and their weights."""
        return held(self.positions), held(self.weights)

    def nodes(self) -> NodeRule | None:
        """The points, unless they are smoothed."""
        if self.bandwidth is not None:
            return None
        positions, weights = self.tokens()
        return NodeRule(np.array(positions), weights, np.full(len(positions), np.nan))

    def extent(self) -> Extent:
        """The bandwidth, about the points."""
        width = 1.0 / np.sqrt(self._kernel().concentration)
        return Extent(min(width, 1.0), held(self.positions), min(np.pi, REACH * width))

    def caps(self) -> list[Cap]:
        """The cap of each kernel that no series to degree 1023 resolves; none for wide ones."""
        kernel = self._kernel()
        if self.extent().scale >= 8.0 / FINEST_PROJECTION:
            return []
        (cap,) = kernel.caps()
        peak = float(kernel.log_density([0.0, 0.0, 1.0]))

        def about(share: float, centre: Real) -> Cap:
            def log_density(points: ArrayLike) -> Real:
                # ⟨x, y⟩ − 1 from the distance: nothing cancels for a narrow kernel.
                square = np.sum((directions(points) - centre) ** 2, axis=-1)
                logs: Real = peak - 0.5 * kernel.concentration * square
                return logs

            return Cap(share, log_density, centre, cap.angle)

        positions, weights = self.tokens()
        used = weights > 0
        pairs = zip(weights[used], positions[used], strict=True)
        return [about(float(share), centre) for share, centre in pairs]

    def resolved_spectrum(self) -> Complex:
        """Complex coefficients: the moments of the points times i_l(κ)/i_0(κ)."""
        kappa = self._kernel().concentration
        factors = bessel_factors(kappa)
        last = max(1, int(np.flatnonzero(factors > 1e-17).max(initial=1)))
        moments = PointTransform(held(self.positions)).moments(held(self.weights), last)
        return moments * factors[degrees_and_orders(last)[0]]

    def sample(self, n: int, seed: Seed = None) -> Real:
        """n independent points, shape (n, 3): tokens by their weights, smoothed if asked for."""
        chosen, smooth = parts_of(seed, 2)
        n = integer(n, "n", 0)
        rng = np.random.default_rng(chosen)
        positions, weights = self.tokens()
        centres = positions[rng.choice(len(positions), size=n, p=weights)]
        if self.bandwidth is None:
            return centres
        about_pole = self._kernel().sample(n, smooth)
        # The reflection that takes the pole to the centre.
        normal = centres - np.array([0.0, 0.0, 1.0])
        square = np.maximum(np.einsum("ni,ni->n", normal, normal), 1e-300)
        along = np.einsum("ni,ni->n", normal, about_pole) / square
        drawn: Real = about_pole - 2.0 * along[:, None] * normal
        return drawn


def _unit_rows(positions: object) -> Real:
    """Rows of unit length; other lengths are normalised with a warning."""
    array = np.array(np.atleast_2d(real_array(positions, "positions")), dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        raise InputError(
            f"positions must have shape (n, 3) with n at least 1, got {array.shape}; pass one "
            "token in each row"
        )
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise InputError(
            f"positions must be finite, row {row} is {array[row].tolist()}; remove that row"
        )
    largest = np.abs(array).max(axis=1)
    if not largest.all():
        row = int(np.flatnonzero(largest == 0)[0])
        raise InputError(f"positions must not be zero, row {row} is; remove that row")
    scaled = array / largest[:, None]
    length = np.linalg.norm(scaled, axis=1)
    off = np.abs(length * largest - 1.0) > UNIT_TOLERANCE
    if off.any():
        row = int(np.flatnonzero(off)[0])
        warnings.warn(
            f"{int(off.sum())} of {len(array)} positions are not of unit length and were "
            f"normalised; the first is row {row} of length {length[row] * largest[row]:.6g}",
            stacklevel=4,
        )
    # Rows that were normalised before are kept to the last bit.
    unit = np.abs(np.einsum("ni,ni->n", array, array) - 1.0) < 1e-15
    return np.where(unit[:, None], array, scaled / length[:, None])


def read_tokens(path: str | os.PathLike[str]) -> tuple[Real, Real | None]:
    """Positions and weights of tokens in a file.

    Parameters
    ----------
    path : path-like
        ``.npy``: an array of shape (n, 3). ``.npz``: arrays `positions` and if wanted
        `weights`. ``.csv``, ``.tsv``, ``.txt`` or ``.dat``, also packed as ``.gz``: columns
        x, y, z, or lat and lon in degrees, and if wanted weight, by the names in a heading;
        without one x, y, z and if there is a fourth weight. ``.nc``: `position(..., token,
        axis)`, of which the last time of the first path is taken, and if there `token_weight`.

    Returns
    -------
    positions : ndarray, shape (n, 3)
    weights : ndarray, shape (n,), or None

    Raises
    ------
    InputError
        If the file cannot be read or holds no tokens.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "tokens.csv")
    ...     _ = file.write_text("x,y,z\\n1,0,0\\n0,1,0\\n")
    ...     read_tokens(file)[0].shape
    (2, 3)
    """
    file = file_of(path, "positions")
    readers = {".npy": _from_npy, ".npz": _from_npz, ".nc": _from_netcdf}
    readers |= dict.fromkeys(ENDINGS, from_text)
    endings = [suffix.lower() for suffix in file.suffixes]
    ending = "".join(endings[-2:-1] if endings[-1:] == [".gz"] else endings[-1:])
    if ending not in readers or (endings[-1] == ".gz" and ending not in ENDINGS):
        raise InputError(
            f"tokens must be in a file {', '.join(readers)}, got '{file}'; convert it to one"
        )
    try:
        return readers[ending](file)
    except InputError:
        raise
    except (
        OSError,
        EOFError,
        BadZipFile,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"tokens cannot be read from '{file}': {reason}") from error


def _check_tokens(file: Path, size: int) -> None:
    """Refuse arrays that the memory cannot hold with the copies that are made of them."""
    check_memory({f"the tokens of '{file}'": COPIES * size}, "take a part of them")


def _from_npy(file: Path) -> tuple[Real, Real | None]:
    array = np.load(file, allow_pickle=False, mmap_mode="r")
    _check_tokens(file, array.nbytes)
    return np.array(array), None


def _from_npz(file: Path) -> tuple[Real, Real | None]:
    with ZipFile(file) as members:
        sizes = {one.filename: one.file_size for one in members.infolist()}
    _check_tokens(file, sum(sizes.get(name, 0) for name in ("positions.npy", "weights.npy")))
    with np.load(file, allow_pickle=False) as arrays:
        if "positions" not in arrays:
            raise KeyError(f"it has no array 'positions' but {', '.join(arrays) or 'none'}")
        return arrays["positions"], arrays.get("weights")


def _from_netcdf(file: Path) -> tuple[Real, Real | None]:
    with opened_dataset(file) as dataset:
        if "position" not in dataset or {"token", "axis"} - set(dataset["position"].dims):
            raise KeyError("it has no variable position(token, axis)")
        position = dataset["position"]
        for name in position.dims:
            if name not in ("token", "axis"):
                position = position.isel({name: -1 if name == "time" else 0})
        weights = dataset["token_weight"].values if "token_weight" in dataset else None
        return position.transpose("token", "axis").values, weights
