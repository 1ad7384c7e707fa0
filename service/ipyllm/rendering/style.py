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
"""Rules are nested in the answer's class, so that ``.k`` or ``td`` elsewhere stays as it is; the class is doubled
to weigh as much as JupyterLab's rules for outputs. A little of the text's colour is mixed into those of VS Code that
are too near to its own ground for code."""

STYLE = f"<style>\n{CSS}</style>"
"""The style sheet as an element, to stand once before the answers of an output."""
