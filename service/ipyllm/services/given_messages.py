"""Checks the messages that users give, in a call or in a row of an experiment, and makes JSON's values of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import bad_request
from ipyllm.plain_values import plain_value
from ipyllm.text.format import shorten
from ipyllm.validate import refuse_table

if TYPE_CHECKING:
    from ipyllm.messages import Message

__all__ = ["are_messages", "given_message", "is_message", "message_items"]

_ROLES: Final = ("system", "developer", "user", "assistant", "tool")


def given_message(item: Any, model: str = "") -> Message:
    """Return a message as JSON's values; those of the ``openai`` client are taken too.

    Raises
    ------
    LLMError
        ``bad_request``: it is no message, or a value in it has no form in JSON.
    """
    if isinstance(item, Mapping) or hasattr(item, "model_dump"):
        refuse_table(item.get("content") if isinstance(item, Mapping) else None)
        try:
            message = plain_value(item)
        except TypeError as exc:
            raise bad_request(f"A message cannot be sent: {exc}.", model=model) from None
        if isinstance(message, dict) and isinstance(role := message.get("role"), str):
            if role in _ROLES:
                return message
            raise bad_request(
                f"There is no role {shorten(role, 30)!r} of a message: give {', '.join(_ROLES)}.", model=model
            )
    raise bad_request(
        f'A message looks like {{"role": "user", "content": "…"}}, not like {shorten(str(item), 60)!r}.', model=model
    )


def are_messages(value: Any) -> bool:
    """Return whether a value is a message or a list of messages, in OpenAI's shape or of its client.

    Examples
    --------
    >>> are_messages([{"role": "user", "content": "Hello"}]), are_messages([{"name": "Bern"}]), are_messages("Hello")
    (True, False, False)
    """
    items = message_items(value)
    return bool(items) and all(map(is_message, items))


def message_items(value: Any) -> list[Any]:
    """Return the items of a list, or of an array as Parquet files have them; a message alone is a list of one."""
    if isinstance(value, Mapping) or hasattr(value, "model_dump"):
        return [value]
    if isinstance(value, list | tuple):
        return list(value)
    is_array = hasattr(value, "tolist") and getattr(value, "ndim", None) == 1
    return list(value.tolist()) if is_array else []


def is_message(item: Any) -> bool:
    """Return whether a value has the shape of a message."""
    if isinstance(item, Mapping):
        return isinstance(item.get("role"), str)
    return hasattr(item, "model_dump") and isinstance(getattr(item, "role", None), str)
