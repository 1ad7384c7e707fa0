"""Fills in the prompt template with the values of a row, before the run.

A missing value (NaN, None) is an undefined variable, so that no prompt contains ``nan``: the template must have a
default (``{{ note | default("none") }}``), or the row is refused.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request
from ipyllm.templates.sandbox import SandboxedTemplate, UndefinedNameError
from ipyllm.text.format import is_missing
from ipyllm.text.suggest import closest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["NoValueError", "RowTemplate", "reference"]

# Words that Jinja does not read as the name of a column.
_JINJA_WORDS = {"not", "self", "true", "false", "none", "True", "False", "None"}


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

    def __init__(self, text: str, columns: Iterable[str], *, subject: str = "the prompts") -> None:
        self._columns = tuple(columns)
        self._subject = subject
        self._text = text
        awkward = next((name for name in self._columns if name in text and not _is_name(name)), None)
        advice = "" if awkward is None else f"write {reference(awkward)} for the column {awkward!r}"
        self._template = SandboxedTemplate(text, advice=advice)

    def fill_in(self, row: Mapping[str, Any]) -> str:
        """Return the text for a row; raise ``NoValueError`` for a missing value, ``bad_request`` for other errors."""
        known = {name: value for name, value in row.items() if not is_missing(value)}
        try:
            return self._template.render({"row": known, **known})
        except UndefinedNameError as exc:
            if exc.kind in {"", "dict"} and exc.name in self._columns:
                raise NoValueError(exc.name) from None
            raise bad_request(self._sentence(exc)) from None

    def inserts(self, column: str) -> bool:
        """Return whether the template inserts the whole value of a column, by no filter."""
        return column in self._inserted

    @cached_property
    def _inserted(self) -> frozenset[str]:
        found = set[str]()
        from jinja2 import Environment, nodes

        for output in Environment(autoescape=True).parse(self._text).find_all(nodes.Output):
            for node in output.nodes:
                match node:
                    case nodes.Name(name=name):
                        found.add(name)
                    case nodes.Getitem(node=nodes.Name(name="row"), arg=nodes.Const(value=str(name))):
                        found.add(name)
                    case nodes.Getattr(node=nodes.Name(name="row"), attr=name):
                        found.add(name)
        return frozenset(found)

    def _sentence(self, exc: UndefinedNameError) -> str:
        if exc.kind:
            return exc.sentence("The template", "")
        # Not of the values of this row, which may lack the column that was meant.
        near = closest(exc.name, self._columns)
        part_of = next((name for name in self._columns if not _is_name(name) and exc.name in name), None)
        if near is not None:
            hint = f"did you mean {near!r}?" if _is_name(near) else f"did you mean {reference(near)}?"
        elif part_of is not None:
            hint = f"did you mean {reference(part_of)}?"
        else:
            hint = f"they have: {', '.join(self._columns)}."
        return f"The template uses {{{{ {exc.name} }}}}, but {self._subject} have no column {exc.name!r}; {hint}"


def reference(column: str) -> str:
    """Return the expression that inserts a column: ``{{ text }}``, or ``{{ row["a column"] }}``."""
    return f"{{{{ {column} }}}}" if _is_name(column) else f"{{{{ row[{json.dumps(column, ensure_ascii=False)}] }}}}"


def _is_name(column: str) -> bool:
    return column.isidentifier() and column not in _JINJA_WORDS
