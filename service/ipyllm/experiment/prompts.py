"""Makes the prompts of an experiment of the rows of its input, one for each template."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request
from ipyllm.experiment.prompt_source import ID, are_calls, read_source
from ipyllm.experiment.row_content import RowContent
from ipyllm.experiment.row_identity import contents_of_row, distinct_rows
from ipyllm.experiment.row_prompts import image_columns, messages_note, row_prompts
from ipyllm.text.format import count

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd

    from ipyllm.experiment.row_content import Content
    from ipyllm.messages import Message

__all__ = ["Prompt", "input_table", "read_prompts"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt that one template makes of a row."""

    prompt_id: str  # of the row: its own, else a hash of its fields; the same for all templates
    text: str  # of its last user message
    row: int  # in the input, from 0
    data: Mapping[str, Any]  # the input's columns, for scorers
    nth: int = 0  # counts rows that send the same but have other data, which are separate prompts
    rows: tuple[int, ...] = ()  # of the input with the same data, `row` among them; they share an answer
    variant: str = ""  # name of the template, if there are several
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
    source: Any,
    template: str | Mapping[str, str | None] | None = None,
    *,
    images: Any = None,
    examples: Collection[Mapping[str, Any]] = (),
) -> tuple[list[Prompt], list[str]]:
    """Return the prompts of ``source``, as for :class:`~ipyllm.experiment.Experiment`, and notes for the user.

    Several templates, by name, make one prompt each of every row: first all of the first template, then the others.
    ``images`` are names of columns. Rows that are equal to one of the ``examples`` are left out.
    """
    read = read_source(source)
    rows = read.rows
    if not rows:
        raise bad_request("There are no prompts: the list, table or file is empty. It needs at least one row.")
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    pictures = image_columns(images, columns)
    variants = template if isinstance(template, Mapping) else {"": template}
    sent = {name: row_prompts(rows, columns, each, pictures, name) for name, each in variants.items()}
    # Replayed calls of one prompt differ in their results only.
    texts = (map(_key, of_rows) for of_rows in sent.values())
    contents = list(map("\0".join, zip(*texts, strict=True)) if read.are_calls else map(contents_of_row, rows))
    distinct = distinct_rows(contents, [row.get(ID) for row in rows], ids_may_repeat=read.are_calls)
    shown = set(map(contents_of_row, examples))
    asked = {id_: equal for id_, equal in distinct.items() if not shown or contents[equal[0]] not in shown}
    if not asked:
        raise bad_request("All rows are examples, so that none is left to be asked about: give fewer examples.")
    prompts: list[Prompt] = []
    for name, of_rows in sent.items():
        n_sent: Counter[str] = Counter()
        for prompt_id, equal in asked.items():
            first = equal[0]
            each, sharing = of_rows[first], (first,) if read.are_calls else tuple(equal)
            text, content = (each.text, each) if isinstance(each, RowContent) else (each, None)
            nth = n_sent[_key(each)]
            n_sent[_key(each)] += 1
            prompts.append(Prompt(prompt_id, text, first, rows[first], nth, sharing, name, content))
    n_asked = sum(len(prompt.rows) for prompt in prompts) // len(sent)
    notes = [*read.notes, *filter(None, map(messages_note, sent.values()))]
    if n_examples := sum(map(len, distinct.values())) - sum(map(len, asked.values())):
        are = "is an example, and" if n_examples == 1 else "are examples, and"
        notes.append(f"{n_examples} of the {count(len(rows), 'row')} {are} not asked about.")
    if n_duplicates := n_asked - len(asked):
        notes.append(
            f"{n_duplicates} of the {len(rows)} prompts {'is a duplicate' if n_duplicates == 1 else 'are duplicates'}: "
            "equal prompts are asked once, and their answer counts for each of them. For several answers to each "
            "prompt, use repeats=…."
        )
    return prompts, notes


def _key(prompt: str | RowContent) -> str:
    """Return a text that is the same for rows that send the same."""
    return prompt if isinstance(prompt, str) else f"{prompt.text}\0{prompt.digest}"


def input_table(source: Any) -> pd.DataFrame | None:
    """Return a copy of a DataFrame or Series of prompts, with text as names; None for other sources."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(source, pandas.DataFrame | pandas.Series) or are_calls(source):
        return None
    table: pd.DataFrame = source.to_frame("prompt") if isinstance(source, pandas.Series) else source.copy()
    return table.rename(columns=str)
