"""Makes the prompt of each row; rows with the same prompt share it, and rows without a value have none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ipyllm.errors import bad_request
from ipyllm.experiment.prompt_template import NoValueError, RowTemplate, reference
from ipyllm.mapping.rows import VALUE

if TYPE_CHECKING:
    from ipyllm.mapping.rows import Rows

__all__ = ["Prompts", "make_prompts"]

_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of all rows."""

    texts: list[str | None]  # one for each row
    reasons: dict[int, str]  # by row: why it has none


def make_prompts(rows: Rows, template: str | None) -> Prompts:
    """Fill in the template for each row; raise ``bad_request`` if it does not fit the columns."""
    fill_in = RowTemplate(_template(rows, template), rows.columns, subject="the rows").fill_in
    texts: list[str | None] = []
    reasons: dict[int, str] = {}
    for number, row in enumerate(rows):
        text = None
        try:
            text = fill_in(row).encode("utf-8", "replace").decode()  # JSON bodies cannot have lone surrogates
        except NoValueError as exc:
            reasons[number] = f"The row has no value in {exc.column!r}."
        else:
            if not text.strip():
                text, reasons[number] = None, "The prompt is empty."
        texts.append(text)
    return Prompts(texts, reasons)


def _template(rows: Rows, template: str | None) -> str:
    if template is None:
        if rows.is_series:
            return f"{{{{ {VALUE} }}}}"
        shown = rows.columns[0] if rows.columns else "text"
        raise bad_request(
            f'What is to be asked? Give a template, such as llm_map(df, "Summarise: {reference(shown)}").'
        )
    if not isinstance(template, str):
        raise bad_request(f"The template must be a string, not {type(template).__name__}.")
    expressions = _QUOTED.sub("", " ".join(_EXPRESSION.findall(template)))
    if not _NAME.search(expressions):
        shown = VALUE if rows.is_series or not rows.columns else rows.columns[0]
        raise bad_request(
            f"The template uses no column, so all rows would get the same prompt: insert one, as {reference(shown)}."
        )
    return template
