"""Answers as sanitised HTML, for a client in a browser: blocks that are finished, and the tail that grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipyllm.rendering.growing_answer import GrowingText
from ipyllm.rendering.markdown import to_html
from ipyllm.text.surrogates import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["HtmlMessages"]

_PARTS: Final = ("reasoning", "text")


class HtmlMessages:
    """Turns the messages of a socket into those of a client that wants HTML; for one client, and slow: in a thread.

    Examples
    --------
    >>> messages = [{"type": "answer", "answer": 1}, {"type": "text", "answer": 1, "at": 5, "text": "*Hi*!"}]
    >>> "<em>Hi</em>!" in HtmlMessages().convert(messages)[1]["tail"]
    True
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._parts = {name: GrowingText() for name in _PARTS}
        self._sent = dict.fromkeys(_PARTS, (0, ""))

    def convert(self, messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the messages with ``html`` in the place of ``text`` and ``reasoning``.

        Such a message has the ``part``, how many blocks stay (``from``), the ``blocks`` after them, and the ``tail``.
        """
        converted: list[dict[str, Any]] = []
        number = 0
        for message in messages:
            match message["type"]:
                case "text" | "reasoning" as part:
                    number = message["answer"]
                    self._parts[part].feed(replace_surrogates(message["text"]))
                    continue
                case "answer":
                    self._begin()
                case "done":
                    number = message["answer"]
                    for text in self._parts.values():
                        text.finish()
                case "history":
                    converted.append({**message, "messages": [*map(_with_html, message["messages"])]})
                    continue
            converted += [*self._changes(number), message]
        return [*converted, *self._changes(number)]

    def _changes(self, number: int) -> list[dict[str, Any]]:
        changes: list[dict[str, Any]] = []
        for part, text in self._parts.items():
            text.update()
            n_sent, tail = self._sent[part]
            if (len(text.blocks), text.live_html) != (n_sent, tail):
                blocks, head = [block.html for block in text.blocks[n_sent:]], {"type": "html", "answer": number}
                changes.append({**head, "part": part, "from": n_sent, "blocks": blocks, "tail": text.live_html})
                self._sent[part] = (len(text.blocks), text.live_html)
        return changes


def _with_html(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if message.get("role") != "assistant" or not isinstance(content, str) or not content:
        return message
    return {**message, "html": to_html(replace_surrogates(content))}
