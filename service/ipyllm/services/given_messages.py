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
            if (problem := _problem(message)) is not None:
                raise bad_request(problem, model=model)
            if role in _ROLES:
                return message
            raise bad_request(
                f"There is no role {shorten(role, 30)!r} of a message: give {', '.join(_ROLES)}.", model=model
            )
    raise bad_request(
        f'A message looks like {{"role": "user", "content": "…"}}, not like {shorten(str(item), 60)!r}.', model=model
    )


def _problem(message: Message) -> str | None:
    """Return what is wrong with the parts of a message that are read here: its server reads all others."""
    calls, kept = message.get("tool_calls"), message.get("output_items")
    if calls is not None and not (_are_dicts(calls) and all(_is(call.get("function"), dict) for call in calls)):
        return "The tool_calls of a message are a list of calls, each with a function's name and arguments."
    if kept is not None and not (isinstance(kept, dict) and _are_dicts(kept.get("items"))):
        return "The output_items of a message are those of an answer, as it was received."
    contents = [message.get("content"), *(item.get("content") for item in (kept or {"items": ()})["items"])]
    return next((problem for content in contents if (problem := _content_problem(content)) is not None), None)


def _content_problem(content: Any) -> str | None:
    if _is(content, str):
        return None
    if not _are_dicts(content) or not all(_is(part.get("type"), str) for part in content):
        return "The content of a message is a text or a list of parts, each with its type."
    if not all(_is(part.get(name), str) for part in content for name in ("text", "refusal")):
        return "The text of a part of a message is not a text."
    return None


def _is(value: Any, kind: type) -> bool:
    return value is None or isinstance(value, kind)


def _are_dicts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


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
