"""Style sheet of answers, in the colours of the notebook's theme.

Colours of text come from VS Code's variables, else JupyterLab's (which Notebook 7 and nbconvert's HTML have too), else
from one set for light and one for dark pages. VS Code's come first because its notebooks load the style sheet of
ipywidgets, which sets JupyterLab's variables to those of a light page, whatever the theme. Lines are a grey that is
visible on both. The sheet fetches nothing: no ``url()``, no ``@import``, no fonts.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["CSS", "STYLE"]

CSS = Path(__file__).with_name("answer.css").read_text(encoding="utf-8")
"""Style sheet of answers, footers and reasoning.

Rules are nested in the answer's class, so that they do not change ``.k`` or ``td`` elsewhere; the class is doubled to
match the specificity of JupyterLab's rules for outputs. VS Code's colours that contrast too little with its code
background are mixed with the text's colour.
"""

STYLE = f"<style>\n{CSS}</style>"
"""Style element to include once before the answers of an output."""
