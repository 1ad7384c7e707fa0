"""``POST /ipyllm/api/chat``: one question, answered as JSON or as server-sent events."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from tornado.iostream import StreamClosedError

from ipyllm_server.answer_json import answer_json
from ipyllm_server.base_handler import ApiHandler, for_users
from ipyllm_server.chat_body import ChatBody
from ipyllm_server.event_stream import EventStream
from ipyllm_server.json_body import read_body
from ipyllm_server.refusals import CLIENT_GONE, Refusal, error_body, refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ipyllm.response import ChatResponse
    from ipyllm_server.answer_reader import Piece
    from ipyllm_server.answer_shapes import TextEvent, ToolCallEvent
    from ipyllm_server.conversation import Conversation
    from ipyllm_server.running_calls import RunningCall

__all__ = ["AskingHandler", "ChatHandler"]


_TURNS: Final = 2
"""Turns of the loop in which a call sends its request, if it is made on this loop: the rest is done meanwhile."""


class AskingHandler(ApiHandler):
    """A route that asks a model. A client that disconnects cancels its call."""

    _running: RunningCall | None = None
    _is_gone = False

    async def ask(self, model: str | None, prompt: str | Sequence[Mapping[str, Any]], **options: Any) -> RunningCall:
        """Start the call of this request, unless the client has gone; parameters as :meth:`RunningCalls.start` has."""
        self._running = await self.state.calls.start(
            self.user, model, prompt, is_wanted=lambda: not self._is_gone, **options
        )
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        return self._running

    def on_connection_close(self) -> None:
        """Cancel the call."""
        super().on_connection_close()
        self._is_gone = True
        if self._running is not None:
            self._running.close()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with the error; a client that has gone is no failure of the server in its log."""
        if self._is_gone:
            kwargs["exc_info"] = (None, Refusal(CLIENT_GONE, "The client has gone.", "cancelled"), None)
        super().write_error(status_code, **kwargs)

    def on_finish(self) -> None:
        """Count the call no longer, however the request ended."""
        if self._running is not None:
            self._running.close()
        super().on_finish()


class ChatHandler(AskingHandler):
    """Asks a model."""

    @for_users
    async def post(self) -> None:
        """Answer a question."""
        body = read_body(self.body, ChatBody)
        if body.conversation is None:
            await self._answer(body, None)
            return
        conversation = await self.state.conversations.get(self.user, body.conversation)
        with conversation:
            await self._answer(body, conversation)

    async def _answer(self, body: ChatBody, conversation: Conversation | None) -> None:
        with nullcontext() if conversation is None else conversation.with_system(body.system):
            running = await self.ask(
                body.model,
                body.prompt,
                history=None if conversation is None else conversation.history,
                conversation=body.conversation,
                **({} if conversation is None else conversation.options(body.message or "", body.replaces)),
                system=body.system,
                tags=body.tags,
                max_cost_usd=body.max_cost_usd,
                **body.params(),
            )

        def keep(response: ChatResponse) -> None:
            if conversation is not None:
                conversation.add(body.message or "", response, replaces=body.replaces)
                conversation.save()

        if body.stream:
            await self._stream(running, body.conversation, keep)
        else:
            response = await running.response()
            keep(response)
            self.send(answer_json(response, body.conversation, running.note))

    async def _stream(
        self, running: RunningCall, conversation: str | None, keep: Callable[[ChatResponse], None]
    ) -> None:
        stream = EventStream(self)
        try:
            async for piece in running.pieces():
                if piece.response is None:
                    await stream.send(_piece_json(piece))
                    continue
                keep(piece.response)
                refusal = refusal_of(piece.response)
                if refusal is not None and not stream.has_begun:
                    raise refusal
                if refusal is not None:
                    await stream.send({"type": "error", **error_body(refusal.status, str(refusal), refusal.code)})
                await stream.send({"type": "done", **answer_json(piece.response, conversation, running.note)})
            stream.end()
        except StreamClosedError:
            running.close()
        finally:
            stream.close()


def _piece_json(piece: Piece) -> TextEvent | ToolCallEvent:
    """Return a piece of an answer as the server sends it."""
    if piece.tool_call is None:
        assert piece.kind in {"text", "reasoning"}
        return {"type": piece.kind, "text": piece.text}
    call = piece.tool_call
    return {"type": "tool_call", "index": call.index, "id": call.id, "name": call.name, "arguments": call.arguments}
