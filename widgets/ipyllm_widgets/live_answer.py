"""An answer as it arrives and as it is shown: events of the service thread in, blocks of sanitised HTML out.

Each part of an answer (its reasoning, its tool calls, its text) is some frozen blocks, which are sent once, and a live
tail, of which only what differs from the tail before is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ipyllm.events import Finished, ReasoningDelta, TextDelta, ToolCallDelta
from ipyllm.rendering import BlockStream, to_html
from ipyllm.text.surrogates import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.events import Event
    from ipyllm.response import ChatResponse

__all__ = ["LiveAnswer", "Part", "parts_of", "splice"]

_PARTS = ("reasoning", "tools", "text")
_LONGEST_RESULT = 8_000  # characters of a tool's result that are shown


def splice(before: str, after: str) -> list[Any]:
    """Tell how to make ``after`` of ``before``: keep so many characters, insert, keep so many of the end.

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
    """Return the largest size up to ``most`` for which it holds; if it holds for one, it does for all below."""
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
class _Drawn:
    """What a part looks like now, and how it differs from what was sent: made without the lock."""

    name: str
    add: list[str]
    tail: str


class Part:
    """One part of an answer: what was sent of it, and the markdown that grows behind it."""

    def __init__(self) -> None:
        self.blocks: list[str] = []
        self.tail = ""
        self.source: list[str] = []
        self._stream = BlockStream()

    def feed(self, text: str) -> None:
        """Take in markdown."""
        self.source.append(text)
        self._stream.feed(text)

    def finish(self) -> None:
        """End of the text."""
        self._stream.finish()

    def draw(self) -> tuple[list[str], str]:
        """Return the HTML of blocks that are finished since last asked, and of the tail."""
        add = [to_html(block) for block in self._stream.take_finished()]
        live = self._stream.live
        return add, to_html(live, live=True) if live.strip() else ""

    def as_json(self) -> dict[str, Any]:
        """Return what was sent."""
        return {"blocks": list(self.blocks), "tail": self.tail}


class LiveAnswer:
    """One answer, from its first event to its last.

    Stages: made → :meth:`on_event` for each event, on the service thread → :meth:`draw` and :meth:`advance`, on the drawing
    thread → ``response`` is there, and everything was drawn.

    Parameters
    ----------
    name : str
        What the browser calls it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.response: ChatResponse | None = None
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._parts = {part: Part() for part in _PARTS}
        self._calls: list[dict[str, Any]] = []
        self._anew: set[str] = set()  # parts that begin again, because another attempt did

    def on_event(self, event: Event) -> None:
        """Take an event, in microseconds."""
        self._events.put(event)

    def draw(self) -> list[_Drawn]:
        """Take in what has come and render it; nothing that a snapshot shows is changed yet."""
        called = self._take()
        drawn = []
        for name, part in self._parts.items():
            if name == "tools":
                add: list[str] = []
                tail = _calls_html(self._calls) if called else part.tail
            else:
                add, tail = part.draw()
            if add or tail != part.tail or name in self._anew:  # what begins again with nothing must be told too
                drawn.append(_Drawn(name, add, tail))
        return drawn

    def _take(self) -> bool:
        called = False
        while True:
            try:
                event = self._events.get_nowait()
            except Empty:
                return called
            if isinstance(event, TextDelta):
                self._parts["text"].feed(replace_surrogates(event.text))
            elif isinstance(event, ReasoningDelta):
                self._parts["reasoning"].feed(replace_surrogates(event.text))
            elif isinstance(event, ToolCallDelta):
                self._call(event)
                called = True
            else:
                self._end(event)
                called = called or bool(self._calls)

    def _call(self, event: ToolCallDelta) -> None:
        same = next((call for call in reversed(self._calls) if call["index"] == event.index), None)
        # A further round of the same turn counts from 0 again, with another id.
        if same is None or (event.id is not None and event.id != same["id"]):
            same = {"index": event.index, "id": event.id, "name": "", "arguments": "", "result": None}
            self._calls.append(same)
        same["name"] = replace_surrogates(event.name) or same["name"]
        same["arguments"] += replace_surrogates(event.arguments)

    def _end(self, event: Finished) -> None:
        self.response = response = event.response
        for call, result in zip(self._calls, response.tool_results, strict=False):
            call["result"] = replace_surrogates(result.output)
        for name, whole in (
            ("reasoning", replace_surrogates(response.reasoning)),
            ("text", replace_surrogates(response.content)),
        ):
            # What was shown is kept, but for an attempt that was made again. Turns of several steps end in the last.
            if not response.steps and "".join(self._parts[name].source) != whole:
                self._parts[name] = Part()
                self._parts[name].feed(whole)
                self._anew.add(name)
            self._parts[name].finish()

    def advance(self, drawn: list[_Drawn]) -> list[dict[str, Any]]:
        """Count ``drawn`` as sent and return the deltas that say so. The outbox's lock is held."""
        deltas = []
        for change in drawn:
            part = self._parts[change.name]
            delta: dict[str, Any] = {"id": self.name, "part": change.name, "tail": splice(part.tail, change.tail)}
            if change.add:
                delta["add"] = change.add
            if change.name in self._anew:
                self._anew.discard(change.name)
                delta["anew"] = True
            part.blocks += change.add
            part.tail = change.tail
            deltas.append(delta)
        return deltas

    def as_json(self) -> dict[str, Any]:
        """Return the parts as sent so far. The outbox's lock is held."""
        return {name: part.as_json() for name, part in self._parts.items() if part.blocks or part.tail}

    def written(self, part: str) -> str:
        """Return what has been drawn of a part, as the model wrote it."""
        return "".join(self._parts[part].source)


def parts_of(reasoning: str, text: str) -> dict[str, Any]:
    """Return the parts of an answer that is there already, as :meth:`LiveAnswer.as_json` would.

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


def _calls_html(calls: list[dict[str, Any]]) -> str:
    return "".join(map(_call_html, calls))


def _call_html(call: dict[str, Any]) -> str:
    result = call["result"]
    told = "" if result is None else f"<div>Result</div><pre>{escape(result[:_LONGEST_RESULT], quote=False)}</pre>"
    return (
        f'<details class="ipyllm-tool"><summary>Tool call: <b>{escape(call["name"])}</b></summary>'
        f'<div>Arguments</div><pre dir="auto">{escape(call["arguments"], quote=False)}</pre>{told}</details>'
    )
