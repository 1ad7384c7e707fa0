"""Passes the events of a call from the service thread to the server's event loop.

What arrives while a client is slow is merged, so that memory holds the text of the answer once, and no queue of small
pieces. The first event wakes the reader at once; of later ones, all readers are woken together.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from ipyllm.events import Finished, ReasoningDelta, TextDelta, ToolCallDelta
from ipyllm.fork_safety import renewed_in_child
from ipyllm.runtime.wakeups import wake_soon

if TYPE_CHECKING:
    from ipyllm.events import Event
    from ipyllm.logprobs import TokenLogprob
    from ipyllm.response import ChatResponse

__all__ = ["AnswerReader", "Piece"]


class Piece(NamedTuple):
    """What arrived of an answer since the last piece of its kind; ``begun`` comes at most once, before all others."""

    kind: Literal["begun", "text", "reasoning", "tool_call", "finished"]
    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    tool_call: ToolCallDelta | None = None
    response: ChatResponse | None = None
    refused: bool = False
    """Whether the model declines to answer with this text."""


class _Growing(NamedTuple):
    """Text or reasoning that has arrived and was not read yet."""

    kind: Literal["text", "reasoning"]
    texts: list[str]
    logprobs: list[TokenLogprob]
    refused: bool


class AnswerReader:
    """The events of one call, for one reader on the loop that made this object."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = renewed_in_child(threading.Lock())
        self._arrived: list[Piece | _Growing | ToolCallDelta | Finished] = []
        self._waiter: asyncio.Future[None] | None = None
        self._is_first = True
        self._has_begun = False

    def begin(self) -> None:
        """Note that the model's server has begun to answer, on the service thread; later calls do nothing."""
        with self._lock:
            if self._has_begun:
                return
            self._has_begun = True
            self._arrived.append(_BEGINNING)
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            wake_soon(self._loop, waiter, at_once=True)

    def put(self, event: Event) -> None:
        """Add an event, in a thread with a running loop."""
        with self._lock:
            self._has_begun = True
            if isinstance(event, TextDelta | ReasoningDelta):
                kind: Literal["text", "reasoning"] = "text" if isinstance(event, TextDelta) else "reasoning"
                refused = isinstance(event, TextDelta) and event.refused
                last = self._arrived[-1] if self._arrived else None
                if not isinstance(last, _Growing) or last.kind != kind or last.refused != refused:
                    last = _Growing(kind, [], [], refused)
                    self._arrived.append(last)
                last.texts.append(event.text)
                if isinstance(event, TextDelta):
                    last.logprobs.extend(event.logprobs)
            else:
                self._arrived.append(event)
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            at_once, self._is_first = self._is_first or isinstance(event, Finished), False
            wake_soon(self._loop, waiter, at_once=at_once)

    async def pieces(self) -> list[Piece]:
        """Wait until something has arrived, and return all of it in order."""
        while True:
            with self._lock:
                arrived, self._arrived = self._arrived, []
                if not arrived:
                    self._waiter = self._loop.create_future()
                waiter = self._waiter
            if arrived:
                return [_piece(each) for each in arrived]
            assert waiter is not None
            await waiter


_BEGINNING: Final = Piece("begun")


def _piece(arrived: Piece | _Growing | ToolCallDelta | Finished) -> Piece:
    if isinstance(arrived, Piece):
        return arrived
    if isinstance(arrived, _Growing):
        return Piece(arrived.kind, "".join(arrived.texts), tuple(arrived.logprobs), refused=arrived.refused)
    if isinstance(arrived, ToolCallDelta):
        return Piece("tool_call", tool_call=arrived)
    return Piece("finished", response=arrived.response)
