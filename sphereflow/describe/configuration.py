"""Frozen dataclasses as plain dictionaries.

Densities, laws of heads, schemes and the problem are frozen dataclasses, so their fields are the
schema of the configuration: nothing is declared twice. A dictionary that names its class by
``kind``, the class name in snake case, stands for an object.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import overload

import numpy as np

__all__ = ["arrays_kept", "experiment_config", "kind_of", "to_config"]

_SCALARS = (bool, int, float, str, type(None))


def kind_of(cls: type) -> str:
    """Return the name of a class in a configuration: its `kind`, or its name in snake case.

    Examples
    --------
    >>> class VonMisesFisher: ...
    >>> kind_of(VonMisesFisher)
    'von_mises_fisher'
    """
    named = getattr(cls, "kind", None)
    if isinstance(named, str):
        return named
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()


@overload
def to_config(value: Mapping[str, object]) -> dict[str, object]: ...
@overload
def to_config(value: object) -> object: ...
def to_config(value: object) -> object:
    """Return a JSON-able description of a configurable object.

    Parameters
    ----------
    value : object
        A dataclass instance, an array, a callable, a scalar, or a sequence or mapping of these.

    Returns
    -------
    object
        A dataclass becomes a dictionary of ``kind`` and all its fields, an array a nested list,
        a complex array a dictionary with ``real`` and ``imag``, a callable the string
        ``"module:name"``. `build_object` rebuilds the object.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True)
    ... class Tophat:
    ...     centre: tuple
    ...     width: float = 0.5
    >>> to_config(Tophat(centre=(0, 0, 1)))
    {'kind': 'tophat', 'centre': [0, 0, 1], 'width': 0.5}
    """
    if hasattr(value, "to_config") and not isinstance(value, type):
        return value.to_config()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: to_config(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init
        }
        return {"kind": kind_of(type(value)), **fields}
    if isinstance(value, np.ndarray | np.generic):
        if np.iscomplexobj(value):
            return {"real": to_config(value.real), "imag": to_config(value.imag)}
        return value if _arrays_kept.get() and isinstance(value, np.ndarray) else value.tolist()
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, Mapping):
        return {str(key): to_config(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_config(item) for item in value]
    if callable(value):
        owner = value if hasattr(value, "__qualname__") else type(value)
        return f"{owner.__module__}:{owner.__qualname__}"
    return repr(value)


def experiment_config(
    problem: object, scheme: object, run: Mapping[str, object], *, title: str | None = None
) -> dict[str, object]:
    """Return the whole configuration of a run in the layout of an experiment file.

    Parameters
    ----------
    problem : TransformerPDE
        Its fields `heads` and `density` become sections of their own.
    scheme : object
        Options of the scheme.
    run : mapping
        The other keyword arguments of `sphereflow.solve`.
    title : str, optional
        Title of the experiment.

    Returns
    -------
    dict
        JSON-able; `experiment_from_config` rebuilds the experiment.
    """
    rest = to_config(problem)
    assert isinstance(rest, dict)
    rest.pop("kind")
    sections = {"density": rest.pop("density"), "heads": rest.pop("heads")}
    head = {} if title is None else {"title": title}
    return {
        **head,
        **sections,
        "problem": rest,
        "scheme": to_config(scheme),
        "run": to_config(dict(run)),
    }


_arrays_kept: ContextVar[bool] = ContextVar("arrays_kept", default=False)


@contextmanager
def arrays_kept() -> Iterator[None]:
    """Let `to_config` give arrays as they are, in place of nested lists."""
    token = _arrays_kept.set(True)
    try:
        yield
    finally:
        _arrays_kept.reset(token)
