"""Sphinx configuration: `make docs` builds the pages and runs the notebooks in them."""

import sphereflow

project = "sphereflow"
author = "The sphereflow developers"
copyright = "The sphereflow developers"
version = release = sphereflow.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
# The first suffix is that of the pages that autosummary writes.
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"sphereflow {release}"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
