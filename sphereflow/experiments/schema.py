"""The JSON schema of an experiment file, by which editors complete and check it."""

from __future__ import annotations

import json

from ..checks import LARGEST_SEED
from ..describe.fields import Kinds
from ..describe.registry import DENSITIES, LAWS, SCHEMES
from ..describe.schema import FUNCTION, Schema, SchemaWriter
from ..problem import TransformerPDE
from .building import TEXTS
from .random_matrices import MOST_MATRICES, RANDOM_OPTIONS
from .run_options import RunOptions

__all__ = ["experiment_schema", "schema_text"]


def experiment_schema() -> Schema:
    """The JSON schema (draft 2020-12) of an experiment file.

    Returns
    -------
    dict
        JSON-able. What it refuses `load_experiment` refuses as well; not the other way round, as
        a schema compares no two keys and reads no files.

    Examples
    --------
    >>> schema = experiment_schema()
    >>> schema["$defs"]["spectral.spectral"]["properties"]["lmax"]["minimum"]
    1
    """
    writer = SchemaWriter(_random_matrices())
    heads: list[object] = [
        {"type": "null"},
        {
            "type": "object",
            "properties": {"kind": {"const": "none"}},
            "required": ["kind"],
            "additionalProperties": False,
        },
        writer.kinds(Kinds(LAWS)),
    ]
    sections: Schema = {
        **{name: {"type": "string"} for name in TEXTS},
        "density": {"anyOf": [writer.kinds(Kinds(DENSITIES)), FUNCTION]},
        "heads": {"anyOf": heads},
        "problem": writer.table(TransformerPDE, leave_out=("heads", "density")),
        "scheme": writer.kinds(Kinds(SCHEMES)),
        "run": writer.table(RunOptions),
        "sweep": {
            "type": "object",
            "description": "What `sphereflow sweep` varies: key = list or range of values.",
            "properties": {"mode": {"enum": ["product", "zip"]}},
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Experiment of sphereflow",
        "type": "object",
        "properties": sections,
        "required": ["density", "scheme", "run"],
        "additionalProperties": False,
        "$defs": writer.definitions,
    }


def schema_text() -> str:
    """The schema as it is shipped beside the experiments."""
    return json.dumps(experiment_schema(), indent=1, ensure_ascii=False) + "\n"


def _random_matrices() -> Schema:
    """Of the tables that `draw_matrices` replaces."""
    limits: dict[str, Schema] = {
        "count": {"type": "integer", "minimum": 1, "maximum": MOST_MATRICES},
        "seed": {"type": "integer", "minimum": 0, "maximum": LARGEST_SEED},
        "std": {"type": "number"},
        "scale": {"type": "number"},
        "symmetric": {"type": "boolean"},
    }
    laws: list[object] = []
    for law, options in RANDOM_OPTIONS.items():
        properties: Schema = {"random": {"const": law}}
        for name, default in options.items():
            properties[name] = {**limits[name], "default": default}
        laws.append(
            {
                "type": "object",
                "properties": properties,
                "required": ["random"],
                "additionalProperties": False,
            }
        )
    return {"description": "Matrices drawn from a law.", "oneOf": laws}
