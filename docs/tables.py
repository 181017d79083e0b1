"""Write the tables that the package holds into the pages that show them.

python docs/tables.py
"""

from pathlib import Path

from sphereflow.experiments.schema import experiment_schema
from sphereflow.experiments.template import keys_of, tables_of
from sphereflow.output.variables import SCHEMES, VARIABLES

FOLDER = Path(__file__).parent
LETTERS = dict(zip(SCHEMES, "SFCP", strict=True))
SECTIONS = ("density", "heads", "problem", "scheme", "run")


def variables() -> str:
    """The output variables, a table in Markdown."""
    lines = ["| variable | dimensions | unit | written by | meaning |", "|---|---|---|---|---|"]
    for one in VARIABLES.values():
        dims = ", ".join((() if one.timeless else ("time",)) + one.dims)
        writers = " ".join(LETTERS[scheme] for scheme in one.writers)
        lines.append(f"| `{one.name}` | {dims} | {one.units} | {writers} | {one.long_name} |")
    return "\n".join(lines) + "\n"


def rows(table):
    """Rows of one table of the schema."""
    yield "| key | given as | default | meaning |"
    yield "|---|---|---|---|"
    for key in keys_of(table):
        default = "needed" if key.required else f"`{key.default}`" if key.default else ""
        cells = (f"`{key.name}`", key.kind, default, key.meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def described(title, table):
    """Heading, meaning and keys of one table."""
    keys = list(rows(table)) if keys_of(table) else []
    return [title, "", str(table.get("description", "")), "", *keys, ""]


def keys():
    """Sections and keys of an experiment file, tables in Markdown."""
    schema, lines, seen = experiment_schema(), [], []
    for section in SECTIONS:
        found = tables_of(schema, section)
        seen += found.values()
        if section in found:
            lines += described(f"## `[{section}]`", found[section])
            continue
        lines += [f"## `[{section}]`", ""]
        for kind, table in found.items():
            lines += described(f'### `kind = "{kind}"`', table)
    lines += ["## Tables inside of others", ""]
    for name, table in schema["$defs"].items():
        if table not in seen and "properties" in table:
            lines += described(f"### {name.rsplit('.', 1)[-1]}", table)
    return "\n" + "\n".join(lines) + "\n"


TABLES = {"output.md": ("variables", variables), "experiment-file.md": ("keys", keys)}


def page(name: str) -> str:
    """A page with its table in its place."""
    mark, table = TABLES[name]
    begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->\n"
    before, rest = (FOLDER / name).read_text("utf-8").split(begin)
    return before + begin + table() + end + rest.split(end)[1]


if __name__ == "__main__":
    for name in TABLES:
        (FOLDER / name).write_text(page(name), "utf-8")
