"""A chat over a socket: its history, and the answer that is being given. It outlives the socket for a short time.

The session reads an answer as it arrives, whether a client listens or not, so that a client that comes back misses
nothing. What a client has got is a position in the answers, :class:`Cursor`: it is sent what stands behind it, once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any, Final, Protocol

from ipyllm.rendering.footer import footer_text
from ipyllm_server.answer_json import answer_json
from ipyllm_server.growing_text import GrowingText
from ipyllm_server.refusals import Refusal, error_body, refusal_of

if TYPE_CHECKING:
    from ipyllm.response import ChatResponse
    from ipyllm_server.chat_body import AskMessage
    from ipyllm_server.conversation import Conversation
    from ipyllm_server.running_calls import RunningCall, RunningCalls

__all__ = ["ChatSession", "Client", "Cursor"]

_KEPT_ANSWERS: Final = 4


class Client(Protocol):
    """The socket that a session tells of changes."""

    def send_changes(self) -> None:
        """Send what the client lacks."""

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close the socket."""


@dataclass(slots=True)
class Answer:
    """One answer, as far as it has arrived."""

    number: int
    question: str | None
    model: str
    asked_s: float
    """When it was asked, on the clock of the loop."""
    replaces: str | None = None
    """The call of the answer whose place it takes."""
    text: GrowingText = field(default_factory=GrowingText)
    end: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Cursor:
    """What a client has got: all before the answer ``number``, and of that one, all before the position ``at``."""

    number: int
    at: int = 0
    is_told: bool = False


class ChatSession:
    """One chat of one user.

    Parameters
    ----------
    calls : RunningCalls
        Makes the calls.
    conversation : Conversation
        Its history: one by name, which is saved, or one without, which ends with the session.
    """

    def __init__(self, calls: RunningCalls, conversation: Conversation) -> None:
        self.id = token_urlsafe(24)
        self.user = conversation.user
        self.conversation = conversation
        self.client: Client | None = None
        self._calls = calls
        self._is_starting = self._is_stopped = self._is_closed = False
        self._answers: list[Answer] = []
        self._running: RunningCall | None = None
        self._task: asyncio.Task[None] | None = None
        self._number = 0

    @property
    def is_answering(self) -> bool:
        """Whether an answer is being given."""
        return self._is_starting or self._task is not None

    @property
    def number(self) -> int:
        """Number of the last answer; 0 before the first."""
        return self._number

    @property
    def unfinished(self) -> int:
        """Number of the answer that the history does not have yet; 0 if there is none."""
        latest = self._answers[-1] if self._answers else None
        return 0 if latest is None or latest.end or self._task is None else latest.number

    async def ask(self, message: AskMessage) -> None:
        """Begin to answer a question; one that is asked again with the same id is answered once.

        Raises
        ------
        Refusal
            The question is wrong, the user may not ask it, or another one is being answered.
        """
        if message.id is not None and any(answer.question == message.id for answer in self._answers):
            return
        if self.is_answering:
            raise Refusal(409, "The question before is still being answered. Wait, or send stop.", "busy")
        asked_s = asyncio.get_running_loop().time()
        self.conversation.begin()
        self._is_starting, self._is_stopped = True, False
        try:
            options = self.conversation.options(message.message, message.replaces)
            with self.conversation.with_system(message.system):
                running = await self._calls.start(
                    self.user,
                    message.model,
                    message.message,
                    history=self.conversation.history,
                    conversation=self.conversation.name or None,
                    is_wanted=lambda: not self._is_closed,
                    **options,
                    **message.params(),
                )
        except BaseException:
            self.conversation.end()
            raise
        finally:
            self._is_starting = False
        self._number += 1
        answer = Answer(self._number, message.id, running.model, asked_s, message.replaces)
        self._answers = [*self._answers[1 - _KEPT_ANSWERS :], answer]
        self._running = running
        self._task = asyncio.create_task(self._read(running, answer, message.message))
        self._tell()
        if self._is_stopped:
            self.stop()

    def stop(self) -> None:
        """Cancel the call; the answer ends as far as it came."""
        self._is_stopped = True  # a call that is about to start, too
        if self._running is not None:
            self._running.call.cancel()

    def show(self, call_id: str) -> None:
        """Show the version of an answer that a call gave; raise 404 if there is none, 409 while one is given."""
        with self.conversation:
            self.conversation.show_version(call_id)

    def close(self) -> None:
        """End the session."""
        self.client, self._is_closed = None, True
        if self._running is not None:
            self._running.close()

    def messages_since(self, cursor: Cursor) -> list[dict[str, Any]]:
        """Return what a client has not got yet, and move its cursor behind it."""
        messages: list[dict[str, Any]] = []
        for answer in self._answers:
            if answer.number < cursor.number:
                continue
            if answer.number > cursor.number:
                cursor.number, cursor.at, cursor.is_told = answer.number, 0, False
            if not cursor.is_told:
                elapsed_s = round(asyncio.get_running_loop().time() - answer.asked_s, 3)
                head = {"answer": answer.number, "question": answer.question, "model": answer.model}
                messages.append({"type": "answer", **head, "replaces": answer.replaces, "elapsed_s": elapsed_s})
                cursor.is_told = True
            for delta in answer.text.since(cursor.at):
                messages.append({"type": delta.kind, "answer": answer.number, "at": delta.at, "text": delta.text})
                cursor.at = delta.at
            if answer.end:
                messages += answer.end
                cursor.number, cursor.at, cursor.is_told = answer.number + 1, 0, False
        return messages

    async def _read(self, running: RunningCall, answer: Answer, question: str) -> None:
        try:
            async for piece in running.pieces():
                if piece.response is None:
                    if piece.kind in {"text", "reasoning"}:
                        answer.text.add(piece.kind, piece.text)
                        self._tell()
                    continue
                self._end(running, answer, question, piece.response)
        finally:
            running.close()
            self.conversation.end()
            self._running = self._task = None
            self._tell()

    def _end(self, running: RunningCall, answer: Answer, question: str, response: ChatResponse) -> None:
        """Keep an answer, and tell how it ended."""
        refusal = refusal_of(response)
        if refusal is not None and response.status != "cancelled":
            error = error_body(refusal.status, str(refusal), refusal.code)
            answer.end.append({"type": "error", "answer": answer.number, **error})
        self.conversation.add(question, response, answer.question, answer.replaces)
        self.conversation.save()
        done = answer_json(response, self.conversation.name or None, running.note)
        summary = footer_text(response, error_shown=True)
        answer.end.append({"type": "done", "answer": answer.number, **done, "summary": summary})

    def _tell(self) -> None:
        if self.client is not None:
            self.client.send_changes()
