"""Write the table of output variables into output.md, from that of the package.

python docs/variables_table.py
"""

from pathlib import Path

from sphereflow.output.variables import SCHEMES, VARIABLES

PAGE = Path(__file__).with_name("output.md")
BEGIN, END = "<!-- variables -->\n", "<!-- end of variables -->\n"
LETTERS = dict(zip(SCHEMES, "SFCP", strict=True))


def table() -> str:
    """The table in Markdown."""
    lines = ["| variable | dimensions | unit | written by | meaning |", "|---|---|---|---|---|"]
    for one in VARIABLES.values():
        dims = ", ".join((() if one.timeless else ("time",)) + one.dims)
        writers = " ".join(LETTERS[scheme] for scheme in one.writers)
        lines.append(f"| `{one.name}` | {dims} | {one.units} | {writers} | {one.long_name} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The page with the table in its place."""
    text = PAGE.read_text("utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
