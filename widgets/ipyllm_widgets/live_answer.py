"""Turns the events of an answer into deltas for the browser.

Each part of an answer (reasoning, tool calls, text) consists of finished blocks, which are sent once, and a live tail,
of which only the changes are sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from ipyllm.events import Finished, ToolCallDelta
from ipyllm.rendering import GrowingAnswer, to_html

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ipyllm.events import Event
    from ipyllm.pipeline.waiting import Waiting
    from ipyllm.rendering import GrowingText
    from ipyllm.response import ChatResponse

__all__ = ["LiveAnswer", "parts_of", "splice", "waiting_payload"]

_PARTS = ("reasoning", "tools", "text")
_RESULT_CHARS = 8_000  # of a tool's result that are shown
_UNKNOWN_CALLS = (
    '<p class="ipyllm-footer">The ledger does not have the earlier requests of this answer, such as tool calls.</p>'
)


def splice(before: str, after: str) -> list[Any]:
    """Return how many characters to keep at the start, what to insert, how many to keep at the end.

    Examples
    --------
    >>> splice("<p>Hel</p>", "<p>Hello</p>")
    [6, 'lo', 4]
    """
    if not (_is_bmp(before) and _is_bmp(after)):
        return [0, after, 0]  # JavaScript counts such characters twice
    shorter = min(len(before), len(after))
    start = _largest(shorter, lambda size: before[:size] == after[:size])
    end = _largest(shorter - start, lambda size: not size or before[-size:] == after[-size:])
    return [start, after[start : len(after) - end], end]


def _largest(limit: int, fits: Callable[[int], bool]) -> int:
    """Find by bisection the largest size up to ``limit`` that ``fits``; all smaller sizes must fit too."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _is_bmp(text: str) -> bool:
    return text.isascii() or max(text, default="") <= "\uffff"


@dataclass(frozen=True)
class _RenderedPart:
    """Current state of a part: new blocks, tail, and whether they replace everything sent before."""

    name: str
    add: list[str]
    tail: str
    replaces: bool


@dataclass
class _SentPart:
    """State of a part in the browser."""

    blocks: list[str] = field(default_factory=list)
    tail: str = ""


class LiveAnswer:
    """One answer, from its first event to its last.

    Stages: created → :meth:`on_event` for each event, on the service thread → :meth:`render` and :meth:`commit`, on the
    render thread → ``response`` is set, and everything was rendered.

    Parameters
    ----------
    name : str
        Its id in the browser.
    waits_for : callable, optional
        Returns what its call waits for, as :meth:`ipyllm.pipeline.call.Call.waiting` does.
    shown : mapping, optional
        Parts that the browser shows in its place already, as :meth:`as_json` returns them; what comes replaces text and
        reasoning.
    hides_reasoning : bool
        Whether the browser is sent no reasoning.
    """

    def __init__(
        self,
        name: str,
        waits_for: Callable[[], Waiting | None] = lambda: None,
        *,
        shown: Mapping[str, Any] | None = None,
        hides_reasoning: bool = False,
    ) -> None:
        self.name = name
        self.waits_for = waits_for
        self._answer = GrowingAnswer()
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._sent = {part: _SentPart() for part in _PARTS if not (hides_reasoning and part == "reasoning")}
        for part, state in (shown or {}).items():
            self._sent[part] = _SentPart(list(state["blocks"]), state["tail"])
            if part != "tools":
                self._answer.restarted.add(part)
        self.waiting: Waiting | None = None
        """What its call waits for, as the page shows it; None once it has begun."""
        self.has_ended = False
        """Whether the last event has come; it may not be rendered yet."""

    @property
    def has_begun(self) -> bool:
        """Whether text or reasoning was rendered, or the last event."""
        return self._answer.started or self.response is not None

    @property
    def response(self) -> ChatResponse | None:
        """The response; None until the last event was rendered."""
        return self._answer.response

    def update_waiting(self) -> bool:
        """Ask what the call waits for now; return whether that has changed."""
        before, self.waiting = self.waiting, None if self.has_begun else self.waits_for()
        return self.waiting != before

    def on_event(self, event: Event) -> None:
        """Queue an event; takes microseconds."""
        self._events.put(event)
        self.has_ended = self.has_ended or isinstance(event, Finished)

    def render(self) -> list[_RenderedPart]:
        """Render the queued events; snapshots include them after :meth:`commit`."""
        calls_changed = self._take_events()
        rendered = []
        for name, sent in self._sent.items():
            replaces = name in self._answer.restarted
            add: list[str] = []
            if name == "tools":
                tail = "".join(map(_call_html, self._answer.calls)) if calls_changed else sent.tail
            else:
                text = self._text(name)
                text.update()
                add = [block.html for block in text.blocks[0 if replaces else len(sent.blocks) :]]
                tail = text.live_html
            if add or tail != sent.tail or replaces:  # a restart without content is sent too
                rendered.append(_RenderedPart(name, add, tail, replaces))
        return rendered

    def _take_events(self) -> bool:
        """Process the queued events; return whether a tool call changed."""
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

    def commit(self, rendered: list[_RenderedPart]) -> list[dict[str, Any]]:
        """Mark ``rendered`` as sent and return its deltas. The channel's lock is held."""
        deltas = []
        for part in rendered:
            delta: dict[str, Any] = {"id": self.name, "part": part.name}
            if part.replaces:
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

    def source(self, part: str) -> str:
        """Return the markdown of a part (``text`` or ``reasoning``) as far as it was rendered."""
        return self._text(part).source


def waiting_payload(waiting: Waiting | None) -> dict[str, Any] | None:
    """Return what a call waits for, with what its clock shows now; the page lets the clock run."""
    if waiting is None:
        return None
    step = -1 if waiting.counts_down else 1
    return {"before": waiting.before, "seconds": round(waiting.seconds(), 1), "step": step, "after": waiting.after}


class _ToolCall(Protocol):
    """What is shown of a function call; ``output`` is None if it has no result."""

    @property
    def name(self) -> str: ...
    @property
    def arguments(self) -> str: ...
    @property
    def output(self) -> str | None: ...


def parts_of(reasoning: str, text: str, calls: Iterable[_ToolCall] | None = ()) -> dict[str, Any]:
    """Return the parts of a complete answer, as :meth:`LiveAnswer.as_json` would; ``calls`` None are not known.

    Examples
    --------
    >>> list(parts_of("", "Paris."))
    ['text']
    """
    parts: dict[str, Any] = {}
    for name, source in (("reasoning", reasoning), ("text", text)):
        if source.strip():
            parts[name] = {"blocks": [to_html(source)], "tail": ""}
    tools = _UNKNOWN_CALLS if calls is None else "".join(map(_call_html, calls))
    if tools:
        parts["tools"] = {"blocks": [], "tail": tools}
    return parts


def _call_html(call: _ToolCall) -> str:
    output = "" if call.output is None else escape(call.output[:_RESULT_CHARS], quote=False)
    result = "" if call.output is None else f"<div>Result</div><pre>{output}</pre>"
    return (
        f'<details class="ipyllm-tool"><summary>Tool call: <b>{escape(call.name)}</b></summary>'
        f'<div>Arguments</div><pre dir="auto">{escape(call.arguments, quote=False)}</pre>{result}</details>'
    )
