"""An answer built from its events: finished blocks, each rendered once, and a live tail that is rendered again.

Feeding an event takes microseconds. Parsing and rendering happen in :meth:`GrowingText.update`, at the renderer's pace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ipyllm.events import ReasoningDelta, TextDelta, ToolCallDelta
from ipyllm.rendering.blocks import BlockStream
from ipyllm.rendering.markdown import to_html
from ipyllm.text.surrogates import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.events import Event
    from ipyllm.response import ChatResponse

__all__ = ["GrowingAnswer", "GrowingCall", "GrowingText", "RenderedBlock"]


@dataclass(frozen=True, slots=True)
class RenderedBlock:
    """A finished block of markdown and its HTML."""

    source: str
    html: str


@dataclass(slots=True)
class GrowingCall:
    """A function call of the model; ``output`` is None until the function has returned."""

    index: int
    id: str | None
    name: str = ""
    arguments: str = ""
    output: str | None = None
    failed: bool = False


class GrowingText:
    """Markdown that streams in: finished ``blocks`` and, as of the last :meth:`update`, the tail ``live``.

    ``render`` turns a block into HTML; it is given ``live=True`` for the tail.
    """

    def __init__(self, render: Callable[..., str] = to_html) -> None:
        self.blocks: list[RenderedBlock] = []
        self.live = ""
        self.live_html = ""
        self._render = render
        self._pieces: list[str] = []
        self._stream = BlockStream()

    @property
    def source(self) -> str:
        """The markdown so far, as the model wrote it."""
        return "".join(self._pieces)

    def feed(self, piece: str, *, new_block: bool = False) -> None:
        """Append a piece of markdown, cut anywhere; with ``new_block`` it starts a paragraph."""
        if new_block and self._pieces:
            self._stream.feed("\n\n")
        self._pieces.append(piece)
        self._stream.feed(piece)

    def finish(self) -> None:
        """Mark the end of the text: the next update turns the tail into a block."""
        self._stream.finish()

    def update(self) -> bool:
        """Render what arrived since the last update; return whether anything did."""
        finished = self._stream.take_finished()
        self.blocks += [RenderedBlock(source, self._render(source)) for source in finished]
        live = self._stream.live
        if live == self.live:
            return bool(finished)
        self.live, self.live_html = live, self._render(live, live=True) if live.strip() else ""
        return True


class GrowingAnswer:
    """An answer from its first event to its last: text, reasoning, tool calls.

    ``render`` turns a block of the text into HTML, see :class:`GrowingText`; reasoning is always markdown.

    Attributes
    ----------
    started : bool
        Whether text or reasoning has arrived.
    reasoning_words : int
        Words of reasoning so far, approximately.
    response : ChatResponse or None
        The response, once its ``Finished`` event was fed.
    restarted : set of str
        Names of the texts (``text``, ``reasoning``) that were replaced at the end, because an attempt was repeated.
    """

    def __init__(self, render: Callable[..., str] = to_html) -> None:
        self.text = GrowingText(render)
        self.reasoning = GrowingText()
        self.calls: list[GrowingCall] = []
        self.started = False
        self.reasoning_words = 0
        self.response: ChatResponse | None = None
        self.restarted: set[str] = set()
        self._render = render
        self._after_call = False

    def feed(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, TextDelta):
            # Text before a function call and text after it are different paragraphs.
            self.text.feed(replace_surrogates(event.text), new_block=self._after_call)
            self._after_call, self.started = False, True
        elif isinstance(event, ReasoningDelta):
            self.started = True
            self.reasoning_words += len(event.text.split())
            self.reasoning.feed(replace_surrogates(event.text))
        elif isinstance(event, ToolCallDelta):
            self._after_call = True
            self._feed_call(event)
        else:
            self._finish(event.response)

    def _feed_call(self, event: ToolCallDelta) -> None:
        call = next((call for call in reversed(self.calls) if call.index == event.index), None)
        # The next round of the same turn counts from 0 again; some servers give it the same id, too.
        if call is None or (event.id is not None and event.id != call.id) or (event.name and call.name):
            call = GrowingCall(event.index, event.id)
            self.calls.append(call)
        call.name = replace_surrogates(event.name) or call.name
        call.arguments += replace_surrogates(event.arguments)

    def _finish(self, response: ChatResponse) -> None:
        self.response = response
        for call, result in zip(self.calls, response.tool_results, strict=False):
            call.output, call.failed = replace_surrogates(result.output), result.error is not None
        # What was shown stays, unless an attempt was repeated. The content of a turn of several steps is only the last.
        if not response.steps:
            if self.reasoning.source != (reasoning := replace_surrogates(response.reasoning)):
                self.reasoning = self._restart("reasoning", reasoning, to_html)
            if self.text.source != (text := replace_surrogates(response.content)):
                self.text = self._restart("text", text, self._render)
        self.reasoning.finish()
        self.text.finish()

    def _restart(self, name: str, source: str, render: Callable[..., str]) -> GrowingText:
        self.restarted.add(name)
        text = GrowingText(render)
        text.feed(source)
        return text
