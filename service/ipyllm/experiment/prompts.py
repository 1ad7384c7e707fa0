"""Reads the prompts of an experiment from a DataFrame, a list, a file, or earlier calls."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request
from ipyllm.experiment.prompt_source import ID, are_calls, read_source
from ipyllm.experiment.row_content import RowContent
from ipyllm.experiment.row_prompts import image_columns, messages_note, row_prompts
from ipyllm.text.format import is_missing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import pandas as pd

    from ipyllm.experiment.row_content import Content
    from ipyllm.messages import Message

__all__ = ["Prompt", "input_table", "read_prompts"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt."""

    prompt_id: str  # from the input, else a hash of the text
    text: str  # of its last user message
    row: int  # in the input, from 0
    data: Mapping[str, Any]  # the input's columns, for scorers
    nth: int = 0  # counts rows with the same text but other data, which are separate prompts
    rows: tuple[int, ...] = ()  # of the input with the same text and data, `row` among them; they share an answer
    content: Content | None = None  # what is sent, if that is more than the text

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages that are sent; raises ``bad_request`` if the file of an image has gone or changed."""
        return ({"role": "user", "content": self.text},) if self.content is None else self.content.messages()

    @property
    def sent(self) -> list[Any]:
        """What identifies it: the text, which of the rows with this text it is, and its content, if it has any."""
        return [self.text, self.nth, *([] if self.content is None else [self.content.digest])]


def read_prompts(
    source: Any, template: str | None = None, *, images: Any = None, examples: Collection[Mapping[str, Any]] = ()
) -> tuple[list[Prompt], list[str]]:
    """Return the prompts of ``source``, as for :class:`~ipyllm.experiment.Experiment`, and notes for the user.

    ``images`` are names of columns. Rows that are equal to one of the ``examples`` are left out.
    """
    read = read_source(source)
    rows = read.rows
    if not rows:
        raise bad_request("There are no prompts: the list, table or file is empty. It needs at least one row.")
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    sent = row_prompts(rows, columns, template, image_columns(images, columns))
    prompts: list[Prompt] = []
    rows_by_key: dict[str, list[Mapping[str, Any]]] = {}
    equal_rows: dict[tuple[str, int], list[int]] = {}  # by key and nth
    ids: dict[str, str] = {}
    shown = set(map(repr, examples))
    n_examples = 0
    for index, (row, each) in enumerate(zip(rows, sent, strict=True)):
        if shown and repr(row) in shown:
            n_examples += 1
            continue
        content = each if isinstance(each, RowContent) else None
        text = each.text if isinstance(each, RowContent) else each
        key = text if content is None else f"{text}\0{content.digest}"
        same_text = rows_by_key.setdefault(key, [])
        # Replayed calls of one prompt differ in their results only.
        if same_text and read.are_calls:
            continue
        if (first := next((nth for nth, other in enumerate(same_text) if _equal(row, other)), None)) is not None:
            equal_rows[key, first].append(index)
            continue
        prompt_id = _prompt_id(row, key, len(same_text))
        if ids.setdefault(prompt_id, key) != key:
            raise bad_request(
                f"The prompt_id {prompt_id!r} belongs to two different prompts (the second is row {index}); "
                "make the ids unique, or remove the column."
            )
        equal_rows[key, len(same_text)] = [index]
        prompts.append(Prompt(prompt_id, text, index, row, len(same_text), content=content))
        same_text.append(row)
    prompts = [replace(prompt, rows=tuple(rows)) for prompt, rows in zip(prompts, equal_rows.values(), strict=True)]
    notes = [*read.notes, *filter(None, [messages_note(sent)])]
    if n_examples:
        if n_examples == len(rows):
            raise bad_request("All rows are examples, so that none is left to be asked about: give fewer examples.")
        are = "is an example, and" if n_examples == 1 else "are examples, and are"
        notes.append(f"{n_examples} of the {len(rows)} rows {are} not asked about.")
    if n_duplicates := sum(len(prompt.rows) - 1 for prompt in prompts):
        notes.append(
            f"{n_duplicates} of the {len(rows)} prompts {'is a duplicate' if n_duplicates == 1 else 'are duplicates'}: "
            "equal prompts are asked once, and their answer counts for each of them. For several answers to each "
            "prompt, use repeats=…."
        )
    return prompts, notes


def input_table(source: Any) -> pd.DataFrame | None:
    """Return a copy of a DataFrame or Series of prompts, with text as names; None for other sources."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(source, pandas.DataFrame | pandas.Series) or are_calls(source):
        return None
    table: pd.DataFrame = source.to_frame("prompt") if isinstance(source, pandas.Series) else source.copy()
    return table.rename(columns=str)


def _prompt_id(row: Mapping[str, Any], text: str, nth: int) -> str:
    own = row.get(ID)
    if not is_missing(own):
        return str(own)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{digest}-{nth + 1}" if nth else digest


def _equal(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    # Compares by repr, because values may be arrays, which have no truth value, and NaN must equal NaN.
    return row.keys() == other.keys() and all(repr(row[name]) == repr(other[name]) for name in row)
