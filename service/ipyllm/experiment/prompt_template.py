"""Fills in the prompt template with the values of a row, before the run.

A missing value (NaN, None) is an undefined variable, so that no prompt contains ``nan``: the template must have a
default (``{{ note | default("none") }}``), or the row is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request
from ipyllm.templates.sandbox import SandboxedTemplate, UndefinedNameError
from ipyllm.text.format import is_missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["NoValueError", "RowTemplate"]


class NoValueError(Exception):
    """A row has no value in a column that the template uses."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


class RowTemplate:
    """A template over the columns of a row; use ``row["a column"]`` for names that are not identifiers.

    Examples
    --------
    >>> RowTemplate("Classify: {{ text }}", ["text", "label"]).fill_in({"text": "So so.", "label": "neutral"})
    'Classify: So so.'
    >>> RowTemplate("Classify: {{ txt }}", ["text"]).fill_in({"text": "So so."})
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: The template uses {{ txt }}, but the prompts have no column 'txt'; did you mean 'text'?
    """

    def __init__(self, text: str, columns: Iterable[str]) -> None:
        self._columns = tuple(columns)
        self._template = SandboxedTemplate(text)

    def fill_in(self, row: Mapping[str, Any]) -> str:
        """Return the text for a row; raise ``NoValueError`` for a missing value, ``bad_request`` for other errors."""
        known = {name: value for name, value in row.items() if not is_missing(value)}
        try:
            return self._template.render({"row": known, **known})
        except UndefinedNameError as exc:
            if exc.kind in {"", "dict"} and exc.name in self._columns:
                raise NoValueError(exc.name) from None
            raise bad_request(self._sentence(exc)) from None

    def _sentence(self, exc: UndefinedNameError) -> str:
        if exc.kind:
            return exc.sentence("The template", "")
        hint = f"did you mean {exc.near!r}?" if exc.near is not None else f"they have: {', '.join(self._columns)}."
        return f"The template uses {{{{ {exc.name} }}}}, but the prompts have no column {exc.name!r}; {hint}"
