"""Style sheet of answers, in the colours of the notebook's theme.

Every colour of text is VS Code's, then JupyterLab's (Notebook 7 and nbconvert's HTML have the same variables), then
one for light and one for dark pages. VS Code's come first because its notebooks load the style sheet of ipywidgets, in
which JupyterLab's variables are those of a light page, whatever the theme. Lines are of a grey that both show. It
fetches nothing: no ``url()``, no ``@import``, no fonts.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["CSS", "STYLE"]

CSS = Path(__file__).with_name("answer.css").read_text(encoding="utf-8")
"""Style sheet of answers, footers and reasoning.

Rules are nested in the answer's class, so that they do not change ``.k`` or ``td`` elsewhere; the class is doubled to
have the weight of JupyterLab's rules for outputs. VS Code's colours that contrast too little with its code background
are mixed with some of the text's colour.
"""

STYLE = f"<style>\n{CSS}</style>"
"""Style element to include once before the answers of an output."""
