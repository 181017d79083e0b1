"""JSON schemas of configurable classes, from the types of their fields and their docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterable, Mapping, Sequence

from .configuration import kind_of
from .fields import (
    Array,
    Bounds,
    File,
    Function,
    Kinds,
    Listed,
    Mark,
    Words,
    members_of,
    types_of_fields,
)

__all__ = ["Schema", "SchemaWriter"]

Schema = dict[str, object]

PLAIN: dict[object, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    type(None): "null",
}
FUNCTION: Schema = {
    "type": "string",
    "pattern": r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*$",
    "description": "A function, as 'module:function'; run with --allow-code.",
}
# A field of the numpydoc section "Parameters": names, a colon, and an indented text.
PARAMETER = re.compile(r"^(\w+(?:, \w+)*) :.*\n((?:(?:    .*)?\n)*)", re.MULTILINE)


class SchemaWriter:
    """Writes the schema of one class after the other, each kind once, under `definitions`.

    Parameters
    ----------
    drawn : dict
        Schema of what may stand in place of matrices that can be drawn.
    """

    def __init__(self, drawn: Schema) -> None:
        self.definitions: dict[str, object] = {"random_matrices": drawn}

    def table(self, cls: type, *, kind: str | None = None, leave_out: Sequence[str] = ()) -> Schema:
        """The schema of the table of a class, of this kind if it has one."""
        parameters = inspect.signature(cls).parameters
        fields = types_of_fields(cls if dataclasses.is_dataclass(cls) else vars(cls)["__init__"])
        texts = _texts(cls)
        properties: dict[str, object] = {} if kind is None else {"kind": {"const": kind}}
        required = [] if kind is None else ["kind"]
        for name, parameter in parameters.items():
            if name in leave_out:
                continue
            default = parameter.default
            field = self.field(fields[name], optional=default is None)
            if name in texts:
                field = {"description": texts[name], **field}
            if isinstance(default, bool | int | float | str):
                field["default"] = default
            properties[name] = field
            if default is inspect.Parameter.empty:
                required.append(name)
        return {
            "description": (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " "),
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    def field(self, hint: object, *, optional: bool = False) -> Schema:
        """The schema of one type with its marks."""
        options: list[Schema] = []
        for member in members_of(hint):
            base, *marks = (
                typing.get_args(member)
                if typing.get_origin(member) is typing.Annotated
                else (member,)
            )
            if base in PLAIN:
                options.append({"type": PLAIN[base]} | _limits(marks))
            elif typing.get_origin(base) is typing.Literal:
                options.append({"enum": list(typing.get_args(base))})
            elif marks:
                for mark in marks:
                    options += self._of_mark(mark)
            elif dataclasses.is_dataclass(base) and isinstance(base, type):
                options.append(self.table(base))
        if not options:
            return {}
        if optional and {"type": "null"} not in options:
            options.append({"type": "null"})
        return options[0] if len(options) == 1 else {"anyOf": options}

    def kinds(self, mark: Kinds) -> Schema:
        """The schema of a table of one of these kinds."""
        choices: list[object] = []
        for registry in mark.registries:
            for row in registry.rows():
                kind = kind_of(row.cls)
                name = f"{row.cls.__module__.rpartition('.')[2]}.{kind}"
                if name not in self.definitions:
                    self.definitions[name] = {}  # a mixture may hold mixtures
                    self.definitions[name] = self.table(row.cls, kind=kind)
                choices.append({"$ref": f"#/$defs/{name}"})
        return {"oneOf": choices}

    def _of_mark(self, mark: Mark) -> list[Schema]:
        if isinstance(mark, Array):
            arrays = [_nested(shape) for shape in mark.shapes]
            return arrays + ([{"$ref": "#/$defs/random_matrices"}] if mark.drawn else [])
        if isinstance(mark, Kinds):
            bare = [kind for kind, cls in mark.classes().items() if _needs_nothing(cls)]
            return [self.kinds(mark)] + ([{"enum": bare}] if bare else [])
        if isinstance(mark, Listed):
            return [{"type": "array", "items": self.kinds(mark.entry)}]
        if isinstance(mark, Function):
            return [FUNCTION]
        if isinstance(mark, File):
            return [{"type": "string"}]
        return [_limits([mark])]


def _limits(marks: Iterable[Mark]) -> Schema:
    limits: Schema = {}
    for mark in marks:
        if isinstance(mark, Words):
            limits["enum"] = list(mark.words)
        elif isinstance(mark, Bounds):
            named = {
                "minimum": mark.least,
                "maximum": mark.most,
                "exclusiveMinimum": mark.above,
            }
            limits |= {name: bound for name, bound in named.items() if bound is not None}
    return limits


def _nested(shape: tuple[int | None, ...]) -> Schema:
    """Numbers in lists of these lengths."""
    if not shape:
        return {"type": "number"}
    length: Schema = {"minItems": 1}
    if shape[0] is not None:
        length = {"minItems": shape[0], "maxItems": shape[0]}
    return {"type": "array", "items": _nested(shape[1:]), **length}


def _needs_nothing(cls: type) -> bool:
    parameters: Mapping[str, inspect.Parameter] = inspect.signature(cls).parameters
    return all(one.default is not one.empty for one in parameters.values())


def _texts(cls: type) -> dict[str, str]:
    """What the docstring says of each parameter."""
    _, _, rest = (inspect.getdoc(cls) or "").partition("Parameters\n----------\n")
    section = re.split(r"\n\n\w+\n---", rest)[0] + "\n"
    found: dict[str, str] = {}
    for names, text in PARAMETER.findall(section):
        if text.strip():
            found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return found
