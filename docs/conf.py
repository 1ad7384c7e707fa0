"""Configuration of Sphinx: MyST markdown, numpy docstrings, no network."""

from __future__ import annotations

from ipyllm import __version__

project = "ipyllm"
author = "The ipyllm developers"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "decisions/README.md"]
html_theme = "furo"
html_title = f"ipyllm {release}"

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "dollarmath"]

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False

suppress_warnings = [
    "myst.xref_missing",  # links to files outside docs/, such as ARCHITECTURE.md
]
