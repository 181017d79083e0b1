"""Write the tables of sections and keys into experiment-file.md, from the schema of the loader.

python docs/experiment_table.py
"""

from pathlib import Path

from sphereflow.experiments.schema import experiment_schema
from sphereflow.experiments.template import keys_of, tables_of

PAGE = Path(__file__).with_name("experiment-file.md")
BEGIN, END = "<!-- keys -->\n", "<!-- end of keys -->\n"
SECTIONS = ("density", "heads", "problem", "scheme", "run")


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


def tables():
    """All tables in Markdown."""
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
    return "\n".join(lines)


def page():
    """The page with the tables in their place."""
    text = PAGE.read_text("utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + "\n" + tables() + "\n" + END + after


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
