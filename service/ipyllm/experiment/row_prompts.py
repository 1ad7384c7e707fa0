"""Makes what each row sends: the text of a template or column, the messages in a column, and images."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import LLMError, bad_request
from ipyllm.experiment.not_a_prompt import not_a_prompt
from ipyllm.experiment.prompt_source import ID
from ipyllm.experiment.prompt_template import NoValueError, RowTemplate
from ipyllm.experiment.row_content import RowContent, images_of, row_content
from ipyllm.services.given_messages import are_messages, message_items
from ipyllm.text.format import is_missing, shorten
from ipyllm.text.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["image_columns", "messages_note", "row_prompts"]

_PROMPT_NAMES: Final = ("prompt", "messages")
_ANSWERS: Final = {"ideal", "target", "expected"}
"""Names of the right answers to a column ``input``, as in OpenAI's evals and Inspect."""


def row_prompts(
    rows: Sequence[Mapping[str, Any]],
    columns: tuple[str, ...],
    template: str | None,
    images: tuple[str, ...] = (),
    variant: str = "",
) -> list[str | RowContent]:
    """Return what each row sends.

    Parameters
    ----------
    rows, columns
        The rows, and the names of their columns.
    template : str or None
        Jinja2 over the columns. None: the column of the prompts has texts or messages.
    images : tuple of str
        Columns of images.
    variant : str
        Name of the template, for errors.

    Raises
    ------
    LLMError
        ``bad_request``, with the number of the row.
    """
    prompt_of = _prompt_column(rows, columns, images) if template is None else _from_template(template, columns, images)
    of = f" of the template {variant!r}" if variant else ""
    prompts: list[str | RowContent] = []
    without_value: list[tuple[int, str]] = []
    for index, row in enumerate(rows):
        try:
            prompt = prompt_of(row, index)
        except NoValueError as exc:
            without_value.append((index, exc.column))
            continue
        attached = [(name, image) for name in images for image in images_of(row.get(name))]
        if isinstance(prompt, str):
            prompt = prompt.encode("utf-8", "replace").decode()  # JSON bodies cannot have lone surrogates
        prompts.append(prompt if isinstance(prompt, str) and not attached else row_content(prompt, attached, index))
    if without_value:
        index, column = without_value[0]
        raise bad_request(
            f"{len(without_value)} of the {len(rows)} prompts{of} have no value in {column!r} (first: row "
            f"{index}); fill it, or drop such rows, for a DataFrame with df.dropna(subset=[{column!r}])."
        )
    empty = [index for index, prompt in enumerate(prompts) if isinstance(prompt, str) and not prompt.strip()]
    if empty:
        raise bad_request(f"{len(empty)} of the {len(rows)} prompts{of} are empty (first: row {empty[0]}).")
    return prompts


def image_columns(images: Any, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the columns of images: ``images`` is one, or a list of them."""
    if images is None:
        return ()
    names = [images] if isinstance(images, str) else list(images) if isinstance(images, Iterable) else [images]
    for name in names:
        if not isinstance(name, str):
            raise bad_request(
                f"images must be the name of a column, or a list of names, not {shorten(str(name), 60)!r}: put the "
                "images into a column of the rows."
            )
        if name not in columns:
            raise bad_request(f"There is no column {name!r} with images. {suggest(name, columns)}")
    return tuple(names)


def messages_note(prompts: Sequence[str | RowContent]) -> str | None:
    """Return a note if messages end with an answer, which is then sent as the begin of the answer that is asked for."""
    ended = [
        index for index, prompt in enumerate(prompts) if isinstance(prompt, RowContent) and prompt.ends_with_answer
    ]
    if not ended:
        return None
    return (
        f"The messages of {len(ended)} of the {len(prompts)} rows end with an answer of the assistant (first: row "
        f"{ended[0]}), which is sent, too: the model is to continue it. If it is the right answer, move it to a column "
        "of its own, where scorers find it."
    )


def _from_template(
    template: str, columns: tuple[str, ...], images: tuple[str, ...]
) -> Callable[[Mapping[str, Any], int], str]:
    compiled = RowTemplate(template, columns)
    inserted = [name for name in columns if name in template]

    def fill_in(row: Mapping[str, Any], index: int) -> str:
        for name in inserted:
            if (name in images or _is_list_of_dicts(row.get(name))) and compiled.inserts(name):
                raise _inserted(row[name], name, index, is_image=name in images)
        return compiled.fill_in(row)

    return fill_in


def _is_list_of_dicts(value: Any) -> bool:
    items = [] if isinstance(value, Mapping) else message_items(value)
    return bool(items) and all(isinstance(item, Mapping) for item in items)


def _inserted(value: Any, column: str, row: int, *, is_image: bool) -> LLMError:
    where = f"The template inserts {column!r}"
    if is_image:
        return bad_request(f"{where}, which is a column of images, sent with the text: leave it out of the template.")
    if are_messages(value):
        return bad_request(
            f"{where}, but that of row {row} holds messages: leave the template out, so that they are sent as such, or "
            f"insert one of their texts, {{{{ {column}[-1].content }}}}."
        )
    return bad_request(
        f"{where}, but that of row {row} holds a list of dicts: insert it as JSON, {{{{ {column} | tojson }}}}, or "
        f"write a loop, {{% for item in {column} %}}…{{% endfor %}}."
    )


def _prompt_column(
    rows: Sequence[Mapping[str, Any]], columns: tuple[str, ...], images: tuple[str, ...]
) -> Callable[[Mapping[str, Any], int], Any]:
    column = _name_of_prompts(rows, columns, images)

    def prompt(row: Mapping[str, Any], index: int) -> Any:
        value = row.get(column)
        if isinstance(value, str):
            return _from_json(value, index) if column == "messages" and value.lstrip()[:1] == "[" else value
        if are_messages(value):
            return value
        if is_missing(value):
            raise NoValueError(column)
        raise not_a_prompt(value, column, index)

    return prompt


def _name_of_prompts(rows: Sequence[Mapping[str, Any]], columns: tuple[str, ...], images: tuple[str, ...]) -> str:
    data = [name for name in columns if name not in {ID, *images}]
    for name in _PROMPT_NAMES:
        if name in data:
            return name
    if len(data) == 1:
        return data[0]
    with_messages = [name for name in data if are_messages(rows[0].get(name))]
    if len(with_messages) == 1:
        return with_messages[0]
    if "input" in data and "instruction" not in data and not _ANSWERS.isdisjoint(data):
        return "input"
    if not data:
        raise bad_request(
            'What is asked about the images? Give a template, such as template="What is in the picture?".'
        )
    raise bad_request(
        f"Which column is the prompt? There are: {', '.join(columns)}. "
        f"Name one 'prompt', or give a template, such as template=\"{{{{ {data[0]} }}}}\"."
    )


def _from_json(text: str, row: int) -> Any:
    """Return the messages in a cell of a CSV file."""
    try:
        messages = json.loads(text)
    except ValueError:
        messages = None
    if not are_messages(messages):
        raise bad_request(
            f"Row {row} has no messages in 'messages', but the text {shorten(text, 40)!r}, which is no JSON. pandas' "
            "to_csv writes it so: save the table with to_json(…, orient='records', lines=True) or to_parquet, or "
            "convert the column with ast.literal_eval."
        )
    return messages
