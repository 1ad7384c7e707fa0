"""Makes what each row sends, a prompt and images; rows that send the same share it, and some rows send nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.experiment.prompt_template import NoValueError, RowTemplate, reference
from ipyllm.experiment.row_content import RowContent, images_of, row_content
from ipyllm.experiment.row_prompts import image_columns
from ipyllm.mapping.reasons import Reason, no_prompt
from ipyllm.mapping.rows import VALUE
from ipyllm.text.format import join_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.mapping.rows import Rows

__all__ = ["Prompts", "RowPrompt", "make_prompts"]

_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class RowPrompt:
    """What a row sends. Two are equal if the same is sent: images count by their contents."""

    text: str
    content: RowContent | None = field(default=None, compare=False)  # with images
    digest: str = ""  # of the content

    @property
    def identity(self) -> list[str]:
        """The values that tell it from others."""
        return [self.text, self.digest] if self.digest else [self.text]


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of all rows."""

    of_rows: list[RowPrompt | None]  # one for each row
    reasons: dict[int, Reason]  # by row: why it has none


def make_prompts(rows: Rows, template: str | None, images: Any = None) -> Prompts:
    """Fill in the template for each row, and read its images.

    ``images`` are names of columns. Raises ``bad_request`` if the template or the names do not fit the columns, or if
    no row has an image that can be read.
    """
    pictured = image_columns(images, rows.columns)
    compiled = RowTemplate(_template(rows, template, pictured), rows.columns, subject="the rows")
    if inserted := next((name for name in pictured if compiled.inserts(name)), None):
        raise bad_request(
            f"The template inserts {inserted!r}, which is a column of images, sent with the text: leave it out of the "
            "template."
        )
    prompts: list[RowPrompt | None] = []
    reasons: dict[int, Reason] = {}
    for number, row in enumerate(rows):
        prompt = None
        try:
            prompt = _prompt(compiled, row, pictured, number)
        except NoValueError as exc:
            reasons[number] = no_prompt(f"The row has no value in {exc.column!r}.")
        except _NothingToAskError as exc:
            reasons[number] = no_prompt(str(exc))
        except _UnreadableImageError as exc:
            reasons[number] = Reason("bad_request", str(exc))
        prompts.append(prompt)
    unreadable = [reason for reason in reasons.values() if reason.category == "bad_request"]
    if unreadable and not any(prompts):
        raise bad_request(unreadable[0].message)
    return Prompts(prompts, reasons)


class _NothingToAskError(Exception):
    """A row has an empty prompt, or no image where there should be one."""


class _UnreadableImageError(Exception):
    """An image of a row cannot be read."""


def _prompt(template: RowTemplate, row: Mapping[str, Any], pictured: tuple[str, ...], number: int) -> RowPrompt:
    text = template.fill_in(row).encode("utf-8", "replace").decode()  # JSON bodies cannot have lone surrogates
    if not text.strip():
        raise _NothingToAskError("The prompt is empty.")
    if not pictured:
        return RowPrompt(text)
    images = [(name, image) for name in pictured for image in images_of(row[name])]
    if not images:
        raise _NothingToAskError(
            f"The row has no image in {join_names([repr(n) for n in pictured], conjunction='or')}."
        )
    try:
        content = row_content(text, images, number)
    except LLMError as exc:
        raise _UnreadableImageError(str(exc)) from exc
    return RowPrompt(text, content, content.digest)


def _template(rows: Rows, template: str | None, pictured: tuple[str, ...]) -> str:
    if template is None:
        if rows.is_series and not pictured:
            return f"{{{{ {VALUE} }}}}"
        if pictured:
            raise bad_request('What is asked about the images? Give a template, such as "What is in the picture?".')
        shown = rows.columns[0] if rows.columns else "text"
        raise bad_request(
            f'What is to be asked? Give a template, such as llm_map(df, "Summarise: {reference(shown)}").'
        )
    if not isinstance(template, str):
        raise bad_request(f"The template must be a string, not {type(template).__name__}.")
    expressions = _QUOTED.sub("", " ".join(_EXPRESSION.findall(template)))
    if not pictured and not _NAME.search(expressions):
        shown = VALUE if rows.is_series or not rows.columns else rows.columns[0]
        raise bad_request(
            f"The template uses no column, so all rows would get the same prompt: insert one, as {reference(shown)}."
        )
    return template
