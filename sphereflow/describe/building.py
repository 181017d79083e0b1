"""Objects from the plain dictionaries that `to_config` gives of them."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from ..checks import finite_array, shown
from ..errors import ConfigurationError, SphereflowError
from .fields import Function, Kinds, Listed, marks_of, plain_options, types_of_fields

__all__ = [
    "build_object",
    "check_keys",
    "check_type",
    "code_allowed",
    "construct",
    "import_callable",
]

Built = TypeVar("Built")
Kinded = Mapping[str, type]  # kind -> class


def build_object(config: object, registry: Kinded, where: str) -> object:
    """Build the object that a dictionary with a `kind` describes.

    Parameters
    ----------
    config : mapping
        ``kind`` and fields of the class; fields may hold such dictionaries again.
    registry : mapping of str to type
        The classes allowed, by `kind`.
    where : str
        Name of the section, for messages.

    Raises
    ------
    ConfigurationError
        If the kind or a field is unknown, a field is missing, has a wrong type, or is refused by
        the class.
    """
    if not isinstance(config, Mapping):
        raise ConfigurationError(
            f"[{where}] must be a table with a key 'kind', got {shown(config)}; "
            f"allowed kinds are {_listing(registry)}."
        )
    if set(config) == {"variable", "sha256"}:
        raise ConfigurationError(
            f"[{where}] is kept as the variable {shown(config['variable'])} of the file of its "
            "run; give that file to load_experiment."
        )
    if "kind" not in config:
        raise ConfigurationError(
            f"[{where}] has no key 'kind', got the keys {_listing(config)}; "
            f"set it to one of {_listing(registry)}."
        )
    kind = config["kind"]
    if not isinstance(kind, str) or kind not in registry:
        raise ConfigurationError(
            f"[{where}] has the unknown kind {shown(kind)}{_nearest(kind, registry)}; "
            f"set it to one of {_listing(registry)}."
        )
    values = {key: value for key, value in config.items() if key != "kind"}
    return construct(registry[kind], values, registry, where)


def construct(
    cls: type[Built], values: Mapping[str, object], registry: Kinded, where: str
) -> Built:
    """Build an object from a dictionary of its arguments, checked by name and type."""
    fields = inspect.signature(cls).parameters
    check_keys(values, fields, where)
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is inspect.Parameter.empty
    ]
    if missing:
        raise ConfigurationError(
            f"[{where}] lacks {_listing(missing)}, got {_listing(values)}; "
            f"{cls.__name__} needs the missing keys to be set."
        )
    hints = types_of_fields(cls if dataclasses.is_dataclass(cls) else vars(cls)["__init__"])
    arguments = {
        name: _build_field(value, hints.get(name, object), registry, f"{where}.{name}")
        for name, value in values.items()
    }
    try:
        return cls(**arguments)
    except SphereflowError as error:
        raise ConfigurationError(f"[{where}]: {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"[{where}] holds a value that {cls.__name__} cannot take ({error}); "
            f"compare its keys {_listing(values)} with the documentation of {cls.__name__}."
        ) from error


def check_keys(values: object, allowed: Iterable[str], where: str) -> None:
    """Raise a `ConfigurationError` that names the nearest valid key for an unknown one."""
    allowed = list(allowed)
    if not isinstance(values, Mapping):
        raise ConfigurationError(
            f"[{where}] must be a table, got {shown(values)}; write it as one."
        )
    for key in values:
        if key not in allowed:
            raise ConfigurationError(
                f"[{where}] has the unknown key {shown(key)}{_nearest(key, allowed)}; "
                f"allowed keys are {_listing(allowed)}."
            )


def check_type(value: object, hint: object, where: str) -> None:
    """Raise a `ConfigurationError` if a value does not fit a hint made of plain types.

    Hints that name anything but bool, int, float, str, None and literals are left to the class.
    """
    options = plain_options(hint)
    if options is None or any(_fits(value, option) for option in options):
        return
    allowed = " or ".join(
        getattr(option, "__name__", repr(option)) if isinstance(option, type) else repr(option)
        for option in options
        if option is not type(None)
    )
    raise ConfigurationError(f"[{where}] is {shown(value)}, which is no {allowed}; set it to one.")


_code_allowed: ContextVar[bool] = ContextVar("code_allowed", default=True)


@contextmanager
def code_allowed(allowed: bool) -> Iterator[None]:
    """Whether configurations may name functions that are then imported, and so run code."""
    token = _code_allowed.set(allowed)
    try:
        yield
    finally:
        _code_allowed.reset(token)


def import_callable(reference: str, where: str) -> Callable[..., object]:
    """Import the callable that the string ``"module:name"`` names.

    Raises
    ------
    ConfigurationError
        If the string has another form, the module or the name is not found, or this
        configuration may run no code.

    Examples
    --------
    >>> import_callable("math:hypot", "problem.drift")(3, 4)
    5.0
    """
    module_name, separator, name = reference.partition(":")
    parts = f"{module_name}.{name}".split(".")
    if not separator or not all(part.isidentifier() for part in parts):
        raise ConfigurationError(
            f"[{where}] is {reference!r:.300}, which is no 'module:function'; name a "
            "function of a module that can be imported (a lambda or one of a script cannot)."
        )
    if not _code_allowed.get():
        raise ConfigurationError(
            f"[{where}] is {reference!r:.300}, code that would be imported and run; if you "
            "trust the file, allow it with --allow-code or allow_code=True."
        )
    try:
        found: object = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # the module may raise anything
        raise ConfigurationError(
            f"[{where}] names {reference!r:.300}, which cannot be imported "
            f"({type(error).__name__}: {error}); put the module beside the experiment file or on "
            "the Python path."
        ) from error
    if not callable(found):
        raise ConfigurationError(
            f"[{where}] names {reference!r:.300}, which is a {type(found).__name__}; name a "
            "function."
        )
    return found


def _build_field(value: object, hint: object, registry: Kinded, where: str) -> object:
    """What a field takes for this value; `registry` counts where its type has no marks."""
    marks = marks_of(hint)
    for mark in marks:
        if isinstance(mark, Kinds):
            registry = mark.classes()
        elif isinstance(mark, Listed):
            registry = mark.entry.classes()
    if isinstance(value, Mapping):
        if set(value) == {"real", "imag"}:
            real, imag = (finite_array(value[part], f"{where}.{part}") for part in ("real", "imag"))
            if real.shape != imag.shape:
                raise ConfigurationError(
                    f"[{where}] has parts of shapes {real.shape} and {imag.shape}; give both the "
                    "same shape."
                )
            return real + 1j * imag
        return build_object(value, registry, where)
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return tuple(
            build_object(item, registry, f"{where}.{index}") for index, item in enumerate(value)
        )
    if isinstance(value, str) and plain_options(hint) is None:
        if value in registry:
            return build_object({"kind": value}, registry, where)
        named = ":" in value and "/" not in value and "\\" not in value
        if named and (not marks or any(isinstance(mark, Function) for mark in marks)):
            return import_callable(value, where)
    check_type(value, hint, where)
    return value


def _fits(value: object, option: object) -> bool:
    if not isinstance(option, type):
        return type(value) is type(option) and value == option
    if option is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if option is int:
        whole = isinstance(value, float) and value.is_integer()
        return whole or (isinstance(value, int) and not isinstance(value, bool))
    return isinstance(value, option)


def _nearest(key: object, allowed: Iterable[str]) -> str:
    close = difflib.get_close_matches(shown(key).strip("'"), list(allowed), n=1, cutoff=0.5)
    return f" (nearest: {close[0]!r})" if close else ""


def _listing(names: Iterable[object]) -> str:
    return ", ".join(shown(name) for name in names) or "none"
