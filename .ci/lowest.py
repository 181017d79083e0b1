"""Print the dependencies of pyproject.toml at their lower bounds, as pip wants them."""

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
print(*(one.replace(">=", "==") for one in project["dependencies"]), sep="\n")
