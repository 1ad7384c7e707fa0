"""Turns the events of an answer into deltas for the browser.

Each part of an answer (its reasoning, its tool calls, its text) is some finished blocks, which are sent once, and a
live tail, of which only the difference from the tail before is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ipyllm.events import Finished, ToolCallDelta
from ipyllm.rendering import GrowingAnswer, to_html

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.events import Event
    from ipyllm.rendering import GrowingCall, GrowingText
    from ipyllm.response import ChatResponse

__all__ = ["LiveAnswer", "parts_of", "splice"]

_PARTS = ("reasoning", "tools", "text")
_LONGEST_RESULT = 8_000  # characters of a tool's result that are shown


def splice(before: str, after: str) -> list[Any]:
    """Return how many characters to keep at the start, what to insert, how many to keep at the end.

    Examples
    --------
    >>> splice("<p>Hel</p>", "<p>Hello</p>")
    [6, 'lo', 4]
    """
    if not (_is_bmp(before) and _is_bmp(after)):
        return [0, after, 0]  # JavaScript counts such characters twice
    most = min(len(before), len(after))
    start = _longest(most, lambda size: before[:size] == after[:size])
    end = _longest(most - start, lambda size: not size or before[-size:] == after[-size:])
    return [start, after[start : len(after) - end], end]


def _longest(most: int, holds: Callable[[int], bool]) -> int:
    """Return the largest size up to ``most`` for which ``holds``; it must hold for all smaller sizes too."""
    least = 0
    while least < most:
        middle = (least + most + 1) // 2
        if holds(middle):
            least = middle
        else:
            most = middle - 1
    return least


def _is_bmp(text: str) -> bool:
    return text.isascii() or max(text, default="") <= "\uffff"


@dataclass(frozen=True)
class _RenderedPart:
    """A part as it looks now: the new blocks, the tail, and whether it replaces what was sent."""

    name: str
    add: list[str]
    tail: str
    anew: bool


@dataclass
class _SentPart:
    """A part as the browser has it."""

    blocks: list[str] = field(default_factory=list)
    tail: str = ""


class LiveAnswer:
    """One answer, from its first event to its last.

    Stages: made → :meth:`on_event` for each event, on the service thread → :meth:`draw` and :meth:`advance`, on the
    render thread → ``response`` is set, and everything was drawn.

    Parameters
    ----------
    name : str
        Its name in the browser.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._answer = GrowingAnswer()
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._sent = {part: _SentPart() for part in _PARTS}

    @property
    def response(self) -> ChatResponse | None:
        """The response, once its last event was drawn."""
        return self._answer.response

    def on_event(self, event: Event) -> None:
        """Take an event, in microseconds."""
        self._events.put(event)

    def draw(self) -> list[_RenderedPart]:
        """Take in the events that have arrived and render them; a snapshot does not show them yet."""
        calls_changed = self._take_events()
        rendered = []
        for name, sent in self._sent.items():
            anew = name in self._answer.restarted
            add: list[str] = []
            if name == "tools":
                tail = "".join(map(_call_html, self._answer.calls)) if calls_changed else sent.tail
            else:
                text = self._text(name)
                text.update()
                add = [block.html for block in text.blocks[0 if anew else len(sent.blocks) :]]
                tail = text.live_html
            if add or tail != sent.tail or anew:  # the browser must also hear of a restart with nothing
                rendered.append(_RenderedPart(name, add, tail, anew))
        return rendered

    def _take_events(self) -> bool:
        """Take in the events that have arrived; return whether a tool call changed."""
        calls_changed = False
        while True:
            try:
                event = self._events.get_nowait()
            except Empty:
                return calls_changed
            self._answer.feed(event)
            calls_changed |= isinstance(event, ToolCallDelta) or (
                isinstance(event, Finished) and bool(self._answer.calls)
            )

    def _text(self, part: str) -> GrowingText:
        return self._answer.text if part == "text" else self._answer.reasoning

    def advance(self, rendered: list[_RenderedPart]) -> list[dict[str, Any]]:
        """Count ``rendered`` as sent and return its deltas. The channel's lock is held."""
        deltas = []
        for part in rendered:
            delta: dict[str, Any] = {"id": self.name, "part": part.name}
            if part.anew:
                self._answer.restarted.discard(part.name)
                self._sent[part.name] = _SentPart()
                delta["anew"] = True
            sent = self._sent[part.name]
            delta["tail"] = splice(sent.tail, part.tail)
            if part.add:
                delta["add"] = part.add
            sent.blocks += part.add
            sent.tail = part.tail
            deltas.append(delta)
        return deltas

    def as_json(self) -> dict[str, Any]:
        """Return the parts as sent so far. The channel's lock is held."""
        return {
            name: {"blocks": list(sent.blocks), "tail": sent.tail}
            for name, sent in self._sent.items()
            if sent.blocks or sent.tail
        }

    def written(self, part: str) -> str:
        """Return a part (``text`` or ``reasoning``) as the model wrote it, as far as it was drawn."""
        return self._text(part).source


def parts_of(reasoning: str, text: str) -> dict[str, Any]:
    """Return the parts of a complete answer, as :meth:`LiveAnswer.as_json` would.

    Examples
    --------
    >>> list(parts_of("", "Paris."))
    ['text']
    """
    parts: dict[str, Any] = {}
    for name, source in (("reasoning", reasoning), ("text", text)):
        if source.strip():
            parts[name] = {"blocks": [to_html(source)], "tail": ""}
    return parts


def _call_html(call: GrowingCall) -> str:
    output = "" if call.output is None else escape(call.output[:_LONGEST_RESULT], quote=False)
    result = "" if call.output is None else f"<div>Result</div><pre>{output}</pre>"
    return (
        f'<details class="ipyllm-tool"><summary>Tool call: <b>{escape(call.name)}</b></summary>'
        f'<div>Arguments</div><pre dir="auto">{escape(call.arguments, quote=False)}</pre>{result}</details>'
    )
