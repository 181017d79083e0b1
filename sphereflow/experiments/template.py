"""Experiment files to start from: what is shipped, with all that may be added as comments."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Mapping
from typing import cast

from .schema import experiment_schema
from .shipped import find_experiment

__all__ = ["Key", "commented_experiment", "keys_of", "shown_kind", "tables_of"]

Table = Mapping[str, object]

HEADER = re.compile(r"^\[+(?P<name>[\w.]+)\]+\s*$")
WIDTH = 98
IN = "#     "


class Key:
    """A key of an experiment file, as the schema has it.

    Parameters
    ----------
    name : str
    about : mapping
        Its part of the schema.
    required : bool
    """

    def __init__(self, name: str, about: Table, required: bool) -> None:
        self.name, self.required = name, required
        self.meaning = str(about.get("description", ""))
        self.kind = shown_kind(about)
        self.default = json.dumps(about["default"]) if about.get("default") is not None else ""


def shown_kind(about: Table) -> str:
    """What may be given, in words, with its range.

    Examples
    --------
    >>> shown_kind({"type": "integer", "minimum": 1, "maximum": 8})
    'integer, 1 to 8'
    >>> shown_kind({"anyOf": [{"type": "number"}, {"type": "array"}, {"type": "null"}]})
    'number or array'
    """
    if "const" in about:
        return json.dumps(about["const"])
    if "enum" in about:
        return " or ".join(json.dumps(one) for one in cast(list[object], about["enum"]))
    for key in ("anyOf", "oneOf"):
        if key in about:
            parts = [shown_kind(one) for one in cast(list[Table], about[key])]
            return " or ".join(dict.fromkeys(part for part in parts if part != "null"))
    if "$ref" in about:
        return "table " + str(about["$ref"]).rsplit("/", 1)[-1].rsplit(".", 1)[-1]
    if "pattern" in about:
        return 'function "module:name"'
    return str(about.get("type", "")) + _range(about)


def _range(about: Table) -> str:
    low, high = about.get("minimum"), about.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    if "exclusiveMinimum" in about:
        return f" above {about['exclusiveMinimum']}"
    if low is not None:
        return f" of at least {low}"
    return "" if high is None else f" up to {high}"


def keys_of(table: Table) -> list[Key]:
    """The keys of a table of the schema, without its kind."""
    required = cast(list[str], table.get("required", []))
    properties = cast(Mapping[str, Table], table["properties"])
    return [Key(name, of, name in required) for name, of in properties.items() if name != "kind"]


def commented_experiment(name: str) -> str:
    """A shipped experiment as text, with the keys that it leaves out as comments.

    Parameters
    ----------
    name : str
        Of the experiment.

    Raises
    ------
    ConfigurationError
        If there is none of this name.

    Examples
    --------
    >>> "# lmax_max = 511" in commented_experiment("paper_ou")
    True
    """
    text = find_experiment(name).read_text("utf-8")
    config = tomllib.loads(text)
    schema = experiment_schema()
    lines: list[str] = []
    section = ""
    for line in text.splitlines():
        header = HEADER.match(line)
        if header:
            _end_section(lines, _left_out(schema, config, section))
            section = header["name"]  # of a table inside of another there are none
        if not line.startswith("#:schema"):
            lines.append(line)
    _end_section(lines, _left_out(schema, config, section))
    return "\n".join(lines).rstrip() + "\n"


def _end_section(lines: list[str], comments: list[str]) -> None:
    while lines and not lines[-1]:
        lines.pop()
    if lines:
        lines += [*comments, ""]


def _left_out(schema: Table, config: Table, section: str) -> list[str]:
    """Comments for the keys that a section leaves out."""
    if section not in config or section == "sweep":
        return []
    kind = cast(Table, config[section]).get("kind")
    table = tables_of(schema, section)[str(kind or section)]
    lines = []
    for key in keys_of(table):
        if key.name in cast(Table, config[section]):
            continue
        value = f"# {key.name} = {key.default or '…'}"
        about = f"{key.meaning} ({key.kind})".lstrip()
        lines += [value, *textwrap.wrap(about, WIDTH, initial_indent=IN, subsequent_indent=IN)]
    return lines


def tables_of(schema: Table, section: str) -> dict[str, Table]:
    """The tables of the schema that a section may be, by their kinds, or by its own name."""
    definitions = cast(Mapping[str, Table], schema["$defs"])
    found: dict[str, Table] = {}

    def look(about: Table) -> None:
        for key in ("anyOf", "oneOf"):
            for one in cast(list[Table], about.get(key, [])):
                look(one)
        if "$ref" in about:
            look(definitions[str(about["$ref"]).rsplit("/", 1)[-1]])
        elif "properties" in about:
            known = cast(Mapping[str, Table], about["properties"]).get("kind", {})
            found[str(known.get("const", section))] = about

    look(cast(Mapping[str, Table], schema["properties"])[section])
    return found
