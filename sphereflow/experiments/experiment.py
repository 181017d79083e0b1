"""Experiments: a problem, a scheme and run options, read from a TOML file.

A file has the sections ``[density]``, ``[heads]``, ``[problem]``, ``[scheme]`` and ``[run]``,
whose keys are the fields of the classes they describe and the arguments of `sphereflow.solve`.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import importlib.resources
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..checks import path_of, shown
from ..densities.closed_forms import (
    Mixture,
    OctahedralClusters,
    Uniform,
    VonMisesFisher,
)
from ..densities.series import HarmonicDensity
from ..densities.tokens import EmpiricalDensity
from ..errors import ConfigurationError, InputError
from ..heads import (
    Diagonal,
    FixedHeads,
    FokkerPlanckLaw,
    GaussianHeads,
    HeadProcess,
    Isotropic,
    Normal,
    NormalMixture,
    OrnsteinUhlenbeck,
    OscillatingHeads,
    Point,
    SampledHeads,
    Symmetric,
    TabulatedHeads,
)
from ..problem import TransformerPDE
from ..schemes import Auto, Characteristics, FiniteVolume, Particles, Spectral
from ..solving.checkpoints import Checkpoint
from ..solving.solve import solve
from ..solving.stopping import Clustered, SteadyState, WallTime
from .configuration import (
    build_object,
    call_options,
    check_keys,
    check_type,
    code_allowed,
    construct,
    import_callable,
    make_registry,
)
from .files import apply_overrides, read_configuration, read_toml
from .random_matrices import draw_matrices

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Experiment",
    "ShippedExperiment",
    "apply_overrides",
    "experiment_from_config",
    "experiment_in_folder",
    "find_experiment",
    "list_experiments",
    "load_experiment",
    "read_configuration",
    "with_kept_seeds",
]

DENSITIES = make_registry(
    Uniform, VonMisesFisher, Mixture, OctahedralClusters, HarmonicDensity, EmpiricalDensity
)
HEADS = make_registry(
    FixedHeads,
    OscillatingHeads,
    TabulatedHeads,
    OrnsteinUhlenbeck,
    GaussianHeads,
    SampledHeads,
    FokkerPlanckLaw,
)
PARTS_OF_HEADS = make_registry(
    HeadProcess, Isotropic, Diagonal, Symmetric, Normal, NormalMixture, Point
)
SCHEMES = make_registry(Spectral, FiniteVolume, Characteristics, Particles, Auto)
STOP_RULES = make_registry(SteadyState, Clustered, WallTime)

_TEXTS = ("title", "description", "references")
_SECTIONS = ("density", "heads", "problem", "scheme", "run")
# What `solve` takes from elsewhere, or what no file can hold.
_NOT_IN_FILE = ("scheme", "progress", "resume", "texts")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A problem, a scheme and run options, ready to be solved.

    Parameters
    ----------
    problem : TransformerPDE
        The equation and its initial density.
    scheme : object
        Options of the scheme, such as `Spectral`.
    run : dict
        Other keyword arguments of `sphereflow.solve`, at least `t_end`.
    title, description, references : str
        What the experiment is and where it comes from.
    config : dict
        The configuration that it was built from.

    Examples
    --------
    >>> experiment = load_experiment(find_experiment("rotation"))
    >>> experiment.problem.heads is None
    True
    """

    problem: TransformerPDE
    scheme: Any
    run: dict[str, Any]
    title: str = ""
    description: str = ""
    references: str = ""
    config: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)

    def solve(self, **options: Any) -> xr.Dataset:
        """Run the experiment.

        Parameters
        ----------
        **options
            Arguments of `sphereflow.solve`, which go before the run options of the experiment.

        Returns
        -------
        xarray.Dataset
            With the texts of the experiment in its attributes, also in the file `output`.
        """
        options = {**self.run, **options}
        # The references of the data remain those of the equations; the experiment has its own.
        texts = {key: getattr(self, key) for key in _TEXTS if getattr(self, key)}
        return solve(self.problem, scheme=self.scheme, texts=texts, **options)


class ShippedExperiment(NamedTuple):
    """Name, title and file of an experiment that comes with the package."""

    name: str
    title: str
    path: Path


def load_experiment(
    path: str | Path, overrides: Iterable[str] = (), *, allow_code: bool = False
) -> Experiment:
    """Read an experiment from a TOML file, or from the netCDF file of an earlier run.

    Parameters
    ----------
    path : path-like
        File ending in ``.toml``, or in ``.nc`` with an attribute `experiment`.
    overrides : iterable of str, optional
        Changes such as ``"scheme.lmax=63"``, with values in TOML syntax; a value that is none is
        taken as a string.
    allow_code : bool
        Whether functions that the file names as ``"module:function"`` are imported. Importing
        runs code: allow it for files that you trust.

    Returns
    -------
    Experiment

    Raises
    ------
    ConfigurationError
        If the file cannot be read or holds something that is not understood.

    Examples
    --------
    >>> file = find_experiment("paper_ou")
    >>> load_experiment(file, ["scheme.lmax=31"]).scheme.lmax
    31
    """
    with _understood("the experiment file"):
        config, path = read_configuration(path)
        apply_overrides(config, overrides)
        return experiment_in_folder(config, path.parent, allow_code)


def experiment_in_folder(config: Mapping[str, Any], folder: Path, allow_code: bool) -> Experiment:
    """The experiment whose files and modules lie in this folder."""
    config = dict(config)
    if "density" in config:
        config["density"] = _beside(config["density"], folder)
    run = config.get("run")
    if isinstance(run, Mapping) and isinstance(run.get("initial"), str):
        config["run"] = {**run, "initial": str(folder / run["initial"])}
    with _importable(folder, allow_code):
        return experiment_from_config(config, allow_code=allow_code)


def experiment_from_config(config: Mapping[str, Any], *, allow_code: bool = False) -> Experiment:
    """Build an experiment from a dictionary laid out as an experiment file.

    Parameters
    ----------
    config : mapping
        Sections `density`, `scheme` and `run`, and if wanted `heads`, `problem`, `title`,
        `description`, `references`.
    allow_code : bool
        Whether functions that it names are imported.

    Returns
    -------
    Experiment

    Raises
    ------
    ConfigurationError
        If a key or value is unknown, missing or of a wrong type.

    Examples
    --------
    >>> experiment = experiment_from_config({
    ...     "density": {"kind": "uniform"},
    ...     "scheme": {"kind": "spectral", "lmax": 15},
    ...     "run": {"t_end": 1.0},
    ... })
    >>> experiment.scheme.lmax
    15
    """
    check_keys(config, _TEXTS + _SECTIONS, "experiment")
    for key in _TEXTS:
        check_type(config.get(key, ""), str, key)
    for section in ("density", "scheme", "run"):
        if section not in config:
            raise ConfigurationError(
                f"The experiment lacks the section [{section}], got the sections "
                f"{', '.join(map(repr, config)) or 'none'}; add it."
            )
    with code_allowed(allow_code), _understood("the experiment"):
        return Experiment(
            problem=_build_problem(config),
            scheme=build_object(config["scheme"], SCHEMES, "scheme"),
            run=_build_run(config["run"]),
            config=dict(config),
            **{key: config.get(key, "") for key in _TEXTS},
        )


def list_experiments() -> list[ShippedExperiment]:
    """Return the experiments that come with the package, sorted by name.

    Examples
    --------
    >>> "paper_ou" in [experiment.name for experiment in list_experiments()]
    True
    """
    return [
        ShippedExperiment(path.stem, read_toml(path).get("title", ""), path)
        for path in sorted(_shipped_directory().glob("*.toml"))
    ]


def find_experiment(name: str) -> Path:
    """Return the file of an experiment that comes with the package.

    Raises
    ------
    ConfigurationError
        If there is none of this name.

    Examples
    --------
    >>> find_experiment("paper_ou").name
    'paper_ou.toml'
    """
    names = {path.stem: path for path in sorted(_shipped_directory().glob("*.toml"))}
    if not isinstance(name, str):
        raise ConfigurationError(
            f"The name of an experiment must be a string, got {shown(name)}; name one of "
            f"{', '.join(names)}."
        )
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        nearest = f" (nearest: {close[0]!r})" if close else ""
        raise ConfigurationError(
            f"There is no experiment {name!r}{nearest}; name a file or one of {', '.join(names)}."
        )
    return names[name]


def _shipped_directory() -> Path:
    # In a wheel the files are inside the package, in a source tree in data/.
    package = Path(str(importlib.resources.files("sphereflow")))
    inside = package / "_experiments"
    return inside if inside.is_dir() else package.parent / "data" / "experiments"


def _beside(value: Any, directory: Path) -> Any:
    """The value with files of tokens looked for beside the experiment file."""
    if isinstance(value, list):
        return [_beside(item, directory) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: str(directory / item)
        if key == "positions" and isinstance(item, str)
        else _beside(item, directory)
        for key, item in value.items()
    }


@contextmanager
def _understood(what: str) -> Iterator[None]:
    """Turn what passes the checks of single values into a `ConfigurationError`."""
    try:
        yield
    except InputError as error:
        raise ConfigurationError(str(error)) from error
    except RecursionError as error:
        raise ConfigurationError(f"{what} is nested too deeply; flatten its tables.") from error


@contextmanager
def _importable(directory: Path, allow_code: bool) -> Iterator[None]:
    """Let functions that an experiment names lie in a module beside its file.

    Without leave to run code no module there is found, not even in place of another package.
    """
    if not allow_code:
        yield
        return
    entry = str(directory.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def _build_problem(config: Mapping[str, Any]) -> TransformerPDE:
    density = config["density"]
    if isinstance(density, str):
        density = import_callable(density, "density")
    else:
        density = build_object(density, DENSITIES, "density")

    heads = config.get("heads")
    if isinstance(heads, Mapping):
        kind = heads.get("kind")
        if isinstance(kind, str) and kind == "none":
            check_keys(heads, ["kind"], "heads")
            heads = None
    if heads is not None:
        heads = build_object(draw_matrices(heads, "heads"), HEADS | PARTS_OF_HEADS, "heads")

    options = config.get("problem", {})
    fields = {field.name for field in dataclasses.fields(TransformerPDE)}
    check_keys(_table(options, "problem"), sorted(fields - {"heads", "density"}), "problem")
    # The two objects pass through `construct` as they are: no type of theirs is a table.
    return construct(TransformerPDE, {"heads": heads, "density": density, **options}, {}, "problem")


def with_kept_seeds(
    experiment: Experiment, kept: Mapping[str, Any], allow_code: bool
) -> Experiment:
    """The experiment with the seeds of an earlier run where it leaves them to be drawn."""
    config = copy.deepcopy(experiment.config)

    def fill(table: Any, earlier: Any) -> None:
        if not isinstance(table, dict) or not isinstance(earlier, Mapping):
            return
        if "seed" in earlier:
            table.setdefault("seed", earlier["seed"])
        for key, value in table.items():
            fill(value, earlier.get(key))

    fill(config, kept)
    return experiment_from_config(config, allow_code=allow_code)


def _build_run(options: Any) -> dict[str, Any]:
    allowed = call_options(solve, exclude=_NOT_IN_FILE)
    check_keys(_table(options, "run"), allowed, "run")
    if "t_end" not in options:
        raise ConfigurationError(
            f"[run] lacks 't_end', got {', '.join(map(repr, options)) or 'no key'}; "
            "set it to the final time."
        )
    run = dict(options)
    if "stop" in run:
        if not isinstance(run["stop"], list | tuple):
            raise ConfigurationError(
                f"[run.stop] must be a list of tables, got {shown(run['stop'])}; write it as one."
            )
        run["stop"] = [build_object(rule, STOP_RULES, "run.stop") for rule in run["stop"]]
    if isinstance(run.get("checkpoint"), Mapping):
        run["checkpoint"] = construct(Checkpoint, run["checkpoint"], {}, "run.checkpoint")
    for key in ("output", "initial"):
        if run.get(key) is not None and not hasattr(run[key], "data_vars"):
            path_of(run[key], f"run.{key}")
    for key, value in run.items():
        if key not in ("stop", "checkpoint"):
            check_type(value, allowed[key], f"run.{key}")
    return run


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"[{where}] must be a table, got {shown(value)}; write it as one.")
    return value
