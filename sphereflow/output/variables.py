"""The one table of output variables: what they are, where they live, who writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["COORDINATES", "VARIABLES", "Record", "Value", "Variable", "variable_of"]

Value = NDArray[np.float64] | float
Record = Mapping[str, Value]  # of one time

SCHEMES = ("spectral", "finite_volume", "characteristics", "particles")


@dataclass(frozen=True)
class Variable:
    """A variable of the dataset of a run.

    Parameters
    ----------
    name : str
    dims : tuple of str
        After `time`, and after `path` in ensembles; on a mesh ("lat", "lon") is ("face",).
    units, long_name : str
    writers : tuple of str
        Kinds of the schemes that write it.
    timeless : bool
        Known at the last time only, from which another run may go on.
    per_path : bool
        Of each path of an ensemble, not of all together.
    compared : bool
        A number whose difference `compare` reports.
    """

    name: str
    dims: tuple[str, ...]
    units: str
    long_name: str
    writers: tuple[str, ...] = SCHEMES
    timeless: bool = False
    per_path: bool = True
    compared: bool = False

    @property
    def on_sphere(self) -> bool:
        """Whether it is a field on the grid or mesh of the output."""
        return self.dims == ("lat", "lon")

    @property
    def attributes(self) -> dict[str, str | float]:
        """CF attributes."""
        return {"units": self.units, "long_name": self.long_name}


_TABLE = (
    Variable(
        "density", ("lat", "lon"), "sr-1", "token density", writers=("spectral", "finite_volume")
    ),
    Variable(
        "effective_mobility",
        ("lat", "lon"),
        "1",
        "effective (harmonic mean) mobility b, eq. (37)",
        writers=("spectral", "finite_volume"),
    ),
    Variable(
        "velocity_eastward",
        ("lat", "lon"),
        "1",
        "eastward mean attention velocity, without s",
        writers=("spectral", "finite_volume"),
    ),
    Variable(
        "velocity_northward",
        ("lat", "lon"),
        "1",
        "northward mean attention velocity, without s",
        writers=("spectral", "finite_volume"),
    ),
    Variable(
        "density_rate",
        (),
        "sr-1",
        "L2 norm over the sphere of the rate of the density",
        writers=("spectral", "finite_volume"),
    ),
    Variable("spectrum", ("harmonic",), "1", "real orthonormal spherical harmonic coefficients"),
    Variable(
        "final_spectrum",
        ("final_harmonic",),
        "1",
        "all real coefficients at the last time, in the order l*l + l + m",
        writers=("spectral",),
        timeless=True,
    ),
    Variable(
        "mass",
        (),
        "1",
        "total mass of the token density",
    ),
    Variable(
        "minimum",
        (),
        "sr-1",
        "smallest value of the token density on the grid, mesh or nodes",
        writers=("spectral", "finite_volume", "characteristics"),
    ),
    Variable(
        "speed",
        (),
        "1",
        "root mean square velocity of the tokens, with minus diffusion times grad log density",
    ),
    Variable(
        "entropy",
        (),
        "1",
        "differential entropy, minus the integral of density times log density",
        writers=("spectral", "finite_volume", "characteristics"),
        compared=True,
    ),
    Variable("first_moment", ("axis",), "1", "mean token"),
    Variable("second_moment", ("axis", "axis2"), "1", "mean of token times token transposed"),
    Variable(
        "resolution",
        (),
        "1",
        "0 resolved, 1 lost; spectral: last degrees over largest; cells: mean deviation "
        "from the neighbours; characteristics: error of the moments; tokens: one over the "
        "root of their effective number",
    ),
    Variable(
        "position",
        ("token", "axis"),
        "1",
        "tokens, unit vectors",
        writers=("characteristics", "particles"),
    ),
    Variable(
        "log_density",
        ("token",),
        "1",
        "natural logarithm of the density in sr-1 along each node",
        writers=("characteristics",),
    ),
    Variable("lmax", (), "1", "degree at which the density is carried", writers=("spectral",)),
    Variable("energy", (), "1", "interaction energy E, eq. (21)", compared=True),
    Variable(
        "energy_rate_heads",
        (),
        "1",
        "rate of E by the change of the head law at fixed density",
        compared=True,
    ),
    Variable("dissipation", (), "1", "exact dissipation rate R", compared=True),
    Variable(
        "slope_squared", (), "1", "squared strong upper gradient G2, eq. (113)", compared=True
    ),
    Variable(
        "metric_slope_squared",
        (),
        "1",
        "squared slope S2 of E in the metric b",
    ),
    Variable("energy_heads_integral", (), "1", "time integral of energy_rate_heads"),
    Variable("energy_transport_integral", (), "1", "time integral of s times dissipation"),
    Variable("energy_slope_integral", (), "1", "time integral of s times slope_squared"),
    Variable(
        "energy_ito_integral",
        (),
        "1",
        "time integral of the Ito part of dE/dt of noisy heads",
        writers=("particles",),
    ),
    Variable(
        "energy_martingale",
        (),
        "1",
        "martingale part of E by the noise, M_T of eq. (148)",
        writers=("particles",),
    ),
    Variable(
        "energy_drift_integral", (), "1", "time integral of the power of the prescribed drift"
    ),
    Variable("energy_diffusion_integral", (), "1", "time integral of the diffusion part of dE/dt"),
    Variable("energy_residual", (), "1", "E(t) - E(0) minus all time integrals of its rates"),
    Variable(
        "energy_residual_slope", (), "1", "the residual with slope_squared in place of dissipation"
    ),
    Variable("head_logits", ("head", "row", "column"), "1", "logit matrix D of each head"),
    Variable("head_values", ("head", "row", "column"), "1", "value matrix V of each head"),
    Variable("head_weight", ("head",), "1", "weight of each head"),
    Variable("head_mean", ("row", "column"), "1", "mean logit matrix of the law of the heads"),
    Variable(
        "head_covariance",
        ("entry", "entry2"),
        "1",
        "covariance of the logit entries, row by row, over the law of the heads",
    ),
    Variable(
        "head_law_error",
        (),
        "1",
        "estimated relative error of averages over the head law, by its cells and its nodes",
        per_path=False,
    ),
    Variable(
        "head_boundary_density",
        (),
        "1",
        "largest density of the head law so far at the walls of its domain over the maximum",
        per_path=False,
    ),
)
VARIABLES = {one.name: one for one in _TABLE}
_OVER_PATHS = {"mean": "mean over the paths of ", "std": "standard deviation over the paths of "}


def variable_of(name: str) -> Variable | None:
    """The variable of this name, or its mean or spread over the paths; None if there is none."""
    if name in VARIABLES:
        return VARIABLES[name]
    base, _, ending = name.rpartition("_")
    if ending not in _OVER_PATHS or base not in VARIABLES:
        return None
    known = VARIABLES[base]
    long_name = _OVER_PATHS[ending] + known.long_name
    return Variable(name, known.dims, known.units, long_name, ("particles",), per_path=False)


COORDINATES: dict[str, dict[str, str]] = {
    "time": {"units": "1", "long_name": "dimensionless time (depth)"},
    "lat": {
        "units": "degrees_north",
        "standard_name": "latitude",
        "long_name": "latitude",
        "axis": "Y",
    },
    "lon": {
        "units": "degrees_east",
        "standard_name": "longitude",
        "long_name": "longitude",
        "axis": "X",
    },
    "path": {"units": "1", "long_name": "number of the independent path"},
    "token_weight": {"units": "1", "long_name": "weight of each token"},
    "degree": {"units": "1", "long_name": "degree l"},
    "order": {
        "units": "1",
        "long_name": "order m",
        "comment": "positive: cosine, negative: sine; no Condon-Shortley phase",
    },
}
