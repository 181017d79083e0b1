"""An experiment from the plain dictionary of its sections."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from ..checks import path_of, shown
from ..describe.building import (
    build_object,
    check_keys,
    check_type,
    code_allowed,
    construct,
    import_callable,
)
from ..describe.fields import types_of_fields
from ..describe.registry import DENSITIES, LAWS, SCHEMES, STOP_RULES
from ..errors import ConfigurationError, InputError
from ..problem import TransformerPDE
from ..schemes import Auto, Scheme
from ..solving.checkpoints import Checkpoint
from ..solving.solve import solve
from .random_matrices import draw_matrices
from .run_options import RunOptions

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SECTIONS", "TEXTS", "Experiment", "experiment_from_config", "understood"]

TEXTS = ("title", "description", "references")
SECTIONS = ("density", "heads", "problem", "scheme", "run")


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
    >>> import sphereflow as sf
    >>> from sphereflow.experiments.shipped import find_experiment
    >>> experiment = sf.load_experiment(find_experiment("rotation"))
    >>> experiment.problem.heads is None
    True
    """

    problem: TransformerPDE
    scheme: Scheme | Auto
    run: dict[str, object]
    title: str = ""
    description: str = ""
    references: str = ""
    config: dict[str, object] = dataclasses.field(default_factory=dict, repr=False)

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
        texts = {key: getattr(self, key) for key in TEXTS if getattr(self, key)}
        return solve(self.problem, scheme=self.scheme, texts=texts, **options)


def experiment_from_config(config: Mapping[str, object], *, allow_code: bool = False) -> Experiment:
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
    check_keys(config, TEXTS + SECTIONS, "experiment")
    for key in TEXTS:
        check_type(config.get(key, ""), str, key)
    for section in ("density", "scheme", "run"):
        if section not in config:
            raise ConfigurationError(
                f"The experiment lacks the section [{section}], got the sections "
                f"{', '.join(map(repr, config)) or 'none'}; add it."
            )
    with code_allowed(allow_code), understood("the experiment"):
        problem = _build_problem(config)
        scheme = build_object(config["scheme"], SCHEMES, "scheme")
        return Experiment(
            problem=problem,
            scheme=cast(Scheme | Auto, scheme),  # or what a user has added to SCHEMES
            run=_build_run(config["run"]),
            config=dict(config),
            **{key: str(config.get(key, "")) for key in TEXTS},
        )


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Turn what passes the checks of single values into a `ConfigurationError`."""
    try:
        yield
    except InputError as error:
        raise ConfigurationError(str(error)) from error
    except RecursionError as error:
        raise ConfigurationError(f"{what} is nested too deeply; flatten its tables.") from error


def _build_problem(config: Mapping[str, object]) -> TransformerPDE:
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
        heads = build_object(draw_matrices(heads, "heads"), LAWS, "heads")

    options = _table(config.get("problem", {}), "problem")
    fields = {field.name for field in dataclasses.fields(TransformerPDE)}
    check_keys(options, sorted(fields - {"heads", "density"}), "problem")
    # The two objects pass through `construct` as they are: no type of theirs is a table.
    objects = {"heads": heads, "density": density}
    return construct(TransformerPDE, {**objects, **options}, {}, "problem")


def _build_run(options: object) -> dict[str, object]:
    allowed = types_of_fields(RunOptions)
    given = _table(options, "run")
    check_keys(given, allowed, "run")
    if "t_end" not in given:
        raise ConfigurationError(
            f"[run] lacks 't_end', got {', '.join(map(repr, given)) or 'no key'}; "
            "set it to the final time."
        )
    run: dict[str, object] = dict(given)
    if "stop" in run:
        if not isinstance(run["stop"], list | tuple):
            raise ConfigurationError(
                f"[run.stop] must be a list of tables, got {shown(run['stop'])}; write it as one."
            )
        run["stop"] = [build_object(rule, STOP_RULES, "run.stop") for rule in run["stop"]]
    checkpoint = run.get("checkpoint")
    if isinstance(checkpoint, Mapping):
        run["checkpoint"] = construct(Checkpoint, checkpoint, {}, "run.checkpoint")
    for key in ("output", "initial"):
        if run.get(key) is not None and not hasattr(run[key], "data_vars"):
            path_of(run[key], f"run.{key}")
    for key, value in run.items():
        if key not in ("stop", "checkpoint"):
            check_type(value, allowed[key], f"run.{key}")
    return run


def _table(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"[{where}] must be a table, got {shown(value)}; write it as one.")
    return value
