"""A prompt's text from a row of data: Jinja2, in its sandbox, filled in ahead of the run.

A cell without a value (NaN, None) is no variable at all, so that ``nan`` never gets into a prompt: the template says
what to do then (``{{ note | default("none") }}``), or the row is refused.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jinja2.sandbox import SandboxedEnvironment

__all__ = ["NoValueError", "RowTemplate", "is_missing"]


class NoValueError(Exception):
    """The row has no value in a column that the template uses."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


class RowTemplate:
    """A template over the columns of a row; ``row["a column"]`` reaches those whose name is no identifier.

    Parameters
    ----------
    text : str
        The template.
    columns : iterable of str
        What rows have.

    Raises
    ------
    LLMError
        ``bad_request``: the template does not parse, or names a column that no row has.

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
        from jinja2.exceptions import TemplateSyntaxError

        self._columns = tuple(columns)
        try:
            self._template = _environment().from_string(text)
        except TemplateSyntaxError as exc:
            raise LLMError(
                f"The template does not parse, line {exc.lineno}: {exc.message}.", category="bad_request"
            ) from None

    def fill_in(self, row: Mapping[str, Any]) -> str:
        """Return the text for one row.

        Raises
        ------
        NoValueError
            A column it uses has no value in this row.
        LLMError
            Whatever else an expression does wrong, in one sentence.
        """
        from jinja2.exceptions import SecurityError, TemplateError, UndefinedError

        known = {name: value for name, value in row.items() if not is_missing(value)}
        try:
            return self._template.render({"row": known, **known})
        except UndefinedError as exc:
            found = re.search(r"(?:has no attribute )?'([^']+)'(?: is undefined)?$", str(exc))
            name = found[1] if found else ""
            if name in self._columns:
                raise NoValueError(name) from None
            raise LLMError(self._unknown(name, str(exc)), category="bad_request") from None
        except SecurityError as exc:
            raise LLMError(f"The template may not do that: {exc}", category="bad_request") from None
        except TemplateError as exc:
            raise LLMError(f"The template failed: {exc}", category="bad_request") from None
        except Exception as exc:  # noqa: BLE001 - an expression may call any method of the user's values
            raise LLMError(f"The template failed: {type(exc).__name__}: {exc}", category="bad_request") from None

    def _unknown(self, name: str, said: str) -> str:
        if not name.isidentifier():
            return f"The template failed: {said}."
        near = difflib.get_close_matches(name, self._columns, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"they have: {', '.join(self._columns)}."
        return f"The template uses {{{{ {name} }}}}, but the prompts have no column {name!r}; {hint}"


def is_missing(value: object) -> bool:
    """Whether a cell is empty: None, NaN, or pandas' NA and NaT.

    Examples
    --------
    >>> is_missing(float("nan")), is_missing(None), is_missing(""), is_missing(0)
    (True, True, False, False)
    """
    if value is None:
        return True
    if isinstance(value, float):  # numpy's float64 is one too
        return value != value  # noqa: PLR0124 - what NaN is known by
    return type(value).__name__ in {"NAType", "NaTType"}


@cache
def _environment() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    return SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
