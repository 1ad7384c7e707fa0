"""Why a row cannot be asked about: its prompt is neither text nor messages. Says what was probably meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import bad_request
from ipyllm.images import is_image
from ipyllm.services.given_messages import is_message, message_items
from ipyllm.text.format import shorten

if TYPE_CHECKING:
    from ipyllm.errors import LLMError

__all__ = ["not_a_prompt"]

_SHAREGPT: Final = {"from", "value"}
_SHOWN_FIELDS: Final = 5


def not_a_prompt(value: Any, column: str, row: int) -> LLMError:
    """Return the error for a value in the column of prompts that is neither text nor messages.

    Examples
    --------
    >>> print(not_a_prompt(["Hello", "Good morning"], "prompt", 3))
    Row 3 cannot be asked about, because its 'prompt' holds a list of 2, ['Hello', 'Good morning']: make a row of each \
(df.explode('prompt')), or give a template, such as "{{ prompt | join(', ') }}".
    """
    return bad_request(f"Row {row} cannot be asked about, because its {column!r} holds {_problem(value, column)}.")


def _problem(value: Any, column: str) -> str:
    items = message_items(value)
    if items and all(isinstance(item, Mapping) for item in items):
        return _problem_of_dicts(value, items, column)
    if any(map(is_message, items)):
        return _problem_of_messages(items)
    if is_image(value) or type(value).__module__.startswith("PIL."):
        return f"an image: give images={column!r}, and a template with the question"
    shown = shorten(str(value), 60)
    if items or isinstance(value, list | tuple):
        return (
            f"a list of {len(items)}, {shown}: make a row of each (df.explode({column!r})), or give a template, "
            f"such as \"{{{{ {column} | join(', ') }}}}\""
        )
    return f'{shown}, of type {type(value).__name__}: give text, or a template, such as "{{{{ {column} }}}}"'


def _problem_of_messages(items: list[Any]) -> str:
    number, wrong = next((number, item) for number, item in enumerate(items) if not is_message(item))
    return (
        f'messages of which number {number} is none: a message looks like {{"role": "user", "content": "…"}}, not like '
        f"{shorten(str(wrong), 60)!r}"
    )


def _problem_of_dicts(value: Any, items: list[Any], column: str) -> str:
    keys = set(items[0])
    if keys >= _SHAREGPT:
        return (
            "messages in ShareGPT's shape, with 'from' and 'value': OpenAI's have 'role' (user for human, assistant "
            "for gpt) and 'content'"
        )
    if any(map(is_message, items)):
        return _problem_of_messages(items)
    if all("type" in item for item in items):
        return 'the parts of a message: write [{"role": "user", "content": [… these parts …]}]'
    kind = "a dict" if isinstance(value, Mapping) else "a list of dicts"
    fields = ", ".join(map(str, list(items[0])[:_SHOWN_FIELDS]))
    return (
        f"{kind} with {fields}, and no messages: give a template that says what is sent of it, such as "
        f'"{{{{ {column} | tojson }}}}"'
    )
