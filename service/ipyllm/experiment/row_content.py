"""What a row of an experiment sends if that is more than a text: messages in OpenAI's shape, and images.

Images in files are read twice: when the experiment is made, to check and identify them, and when a call is sent, so
that a thousand of them do not fill the memory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeGuard

from ipyllm.comparison.arms import canonical_json
from ipyllm.errors import LLMError, bad_request
from ipyllm.images import image_part, is_address
from ipyllm.messages import SYSTEM, text_of
from ipyllm.services.given_messages import given_message, message_items
from ipyllm.text.format import is_missing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipyllm.messages import Message

__all__ = ["Content", "RowContent", "SentContent", "images_of", "row_content"]


@dataclass(frozen=True, slots=True)
class _Image:
    """An image in a message: its source, or the part of the message that was made of it."""

    source: Any
    what: str
    digest: str
    options: Mapping[str, Any] = field(default_factory=dict)  # such as its detail

    @classmethod
    def of(cls, source: Any, what: str, options: Mapping[str, Any] = MappingProxyType({})) -> _Image:
        """Read an image; raise ``bad_request``, about ``what``, if it is none."""
        part = image_part(source, what)
        # An object of the user is converted once; a file is read again, and bytes are there anyway.
        is_reread = isinstance(source, bytes | os.PathLike) or (isinstance(source, str) and not is_address(source))
        return cls(source if is_reread else part, what, _digest(part), options)

    def part(self) -> dict[str, Any]:
        """Return the part of the message; raise ``bad_request`` if the file has gone or changed."""
        part = image_part(self.source, self.what)
        if _digest(part) != self.digest:
            raise bad_request(f"{self.what} has changed since the experiment was made: make the experiment again.")
        return {**part, "image_url": {**self.options, **part["image_url"]}}


@dataclass(frozen=True, slots=True)
class SentContent:
    """Messages as they are sent, with the digest that identifies them."""

    _messages: tuple[Message, ...]
    digest: str

    def messages(self) -> tuple[Message, ...]:
        """Return the messages."""
        return self._messages


@dataclass(frozen=True, slots=True)
class RowContent:
    """The messages of a row, with images that are read when they are sent. Pickled, it holds them."""

    _messages: tuple[Message, ...]  # with an _Image in place of a part
    digest: str

    def messages(self) -> tuple[Message, ...]:
        """Return the messages as they are sent; raise ``bad_request`` if a file of an image has gone or changed."""
        return tuple(map(_with_images, self._messages))

    def __reduce__(self) -> tuple[object, ...]:
        return (SentContent, (self.messages(), self.digest))

    @property
    def text(self) -> str:
        """The text of the last user message."""
        return next((text_of(message) for message in reversed(self._messages) if message["role"] == "user"), "")

    @property
    def has_system(self) -> bool:
        """Whether a message is a system prompt."""
        return any(message["role"] in SYSTEM for message in self._messages)

    @property
    def has_images(self) -> bool:
        """Whether a message has an image."""
        contents = [message.get("content") for message in self._messages]
        return any(
            isinstance(part, _Image) or (isinstance(part, dict) and part.get("type") == "image_url")
            for content in contents
            for part in (content if isinstance(content, list) else ())
        )

    @property
    def ends_with_answer(self) -> bool:
        """Whether the last message is an answer of the assistant."""
        return bool(self._messages[-1]["role"] == "assistant")


def row_content(value: Any, images: Sequence[tuple[str, Any]], row: int) -> RowContent:
    """Return the content of a row.

    Parameters
    ----------
    value : str or messages
        The prompt of the row.
    images : sequence of (str, object)
        Images that belong to it, with the names of their columns.
    row : int
        Its number, for errors.
    """
    if isinstance(value, str):
        messages: list[Message] = [{"role": "user", "content": value}]
    else:
        messages = [_read_message(item, row) for item in message_items(value)]
    attached = [_Image.of(image, f"The image in {column!r} of row {row}") for column, image in images]
    if attached:
        last = messages[-1]
        if last["role"] != "user":
            raise bad_request(
                f"Row {row} has an image for its last message, which is no question: its role must be user."
            )
        content = last.get("content") or []
        texts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        messages[-1] = {**last, "content": [*texts, *attached]}
    return RowContent(tuple(messages), _digest([_with_digests(message) for message in messages]))


Content = RowContent | SentContent
"""What a row sends, in the process that reads the rows, and in a worker."""


def images_of(value: Any) -> list[Any]:
    """Return the images in a cell: none, one, or several in a list."""
    if isinstance(value, list | tuple) or _is_array_of_objects(value):
        return [item for item in value if not is_missing(item)]
    return [] if is_missing(value) else [value]


def _read_message(item: Any, row: int) -> Message:
    if not isinstance(item, Mapping):  # of the openai client
        return _checked(item, row)
    # Tables have a column for each key: what a message does not have is null there.
    given = {str(name): each for name, each in item.items() if each is not None or name == "content"}
    parts: dict[int, _Image] = {}
    content = given.get("content")
    if _is_array_of_objects(content):
        content = list(content)
    if isinstance(content, list | tuple):
        content = [
            {name: each for name, each in part.items() if each is not None} if isinstance(part, Mapping) else part
            for part in content
        ]
        for number, part in enumerate(content):
            source, options = _local_image(part)
            if source is not None:
                parts[number] = _Image.of(source, f"The image in message part {number} of row {row}", options)
        given["content"] = [{} if number in parts else part for number, part in enumerate(content)]
    message = _checked(given, row)
    for number, image in parts.items():
        message["content"][number] = image
    return message


def _checked(item: Any, row: int) -> Message:
    try:
        return given_message(item)
    except LLMError as exc:
        raise bad_request(f"Row {row} cannot be asked about. {exc}") from None


def _is_array_of_objects(value: Any) -> TypeGuard[Iterable[Any]]:
    """Return whether it is what pandas reads from a list in a Parquet file."""
    return getattr(getattr(value, "dtype", None), "kind", "") == "O" and hasattr(value, "tolist")


def _local_image(part: Any) -> tuple[Any, Mapping[str, Any]]:
    """Return what holds the image of a part, and its options; None for a part that is sent as it is."""
    if not isinstance(part, Mapping) or part.get("type") != "image_url":
        return None, {}
    held = part.get("image_url")
    options = {name: each for name, each in held.items() if name != "url"} if isinstance(held, Mapping) else {}
    url = held.get("url") if isinstance(held, Mapping) else held
    return (None if isinstance(url, str) and is_address(url) else url), options


def _with_images(message: Message) -> Message:
    content = message.get("content")
    if not isinstance(content, list) or not any(isinstance(part, _Image) for part in content):
        return message
    return {**message, "content": [part.part() if isinstance(part, _Image) else part for part in content]}


def _with_digests(message: Message) -> Message:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {
        **message,
        "content": [{**part.options, "image": part.digest} if isinstance(part, _Image) else part for part in content],
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode("utf-8", "replace")).hexdigest()[:24]
