"""``/ipyllm/v1``: the protocol of OpenAI's clients, over the routing, retries, cache, budgets and ledger of ipyllm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado.iostream import StreamClosedError

from ipyllm_server.base_handler import ApiHandler, UnknownRoute, for_users
from ipyllm_server.chat_handler import AskingHandler
from ipyllm_server.completion_body import CompletionBody
from ipyllm_server.completion_json import CompletionShape
from ipyllm_server.event_stream import EventStream
from ipyllm_server.info_handlers import offered_models
from ipyllm_server.json_body import read_body
from ipyllm_server.refusals import Refusal, error_body, refusal_of

if TYPE_CHECKING:
    from ipyllm.response import ChatResponse
    from ipyllm_server.running_calls import RunningCall

__all__ = ["CompletionsHandler", "OpenAIModelsHandler", "UnknownOpenAIRoute"]


class UnknownOpenAIRoute(UnknownRoute):
    """Whatever else OpenAI's clients may ask for: 404, with what there is."""

    sentence = "Of OpenAI's routes there are POST /ipyllm/v1/chat/completions and GET /ipyllm/v1/models."


class OpenAIModelsHandler(ApiHandler):
    """``GET /ipyllm/v1/models``, and one of them by name."""

    @for_users
    async def get(self, name: str | None = None) -> None:
        """Answer with the models."""
        names = await offered_models(self.state)
        models = [{"id": each, "object": "model", "created": 0, "owned_by": each.partition("/")[0]} for each in names]
        if name is None:
            self.send({"object": "list", "data": models})
            return
        found = next((model for model in models if model["id"] == name), None)
        if found is None:
            raise Refusal(404, f"This server has no model {name!r}.", "not_found")
        self.send(found)


class CompletionsHandler(AskingHandler):
    """``POST /ipyllm/v1/chat/completions``."""

    @for_users
    async def post(self) -> None:
        """Answer a conversation."""
        body = read_body(self.body, CompletionBody)
        running = await self.ask(body.model, body.messages, tags=body.tags, **body.params())
        shape = CompletionShape(body.model)
        if body.stream:
            await self._stream(running, shape, wants_usage=body.wants_usage)
        else:
            self.send(shape.completion(await running.response()))

    async def _stream(self, running: RunningCall, shape: CompletionShape, *, wants_usage: bool) -> None:
        stream = EventStream(self)
        stream.hold(shape.role_chunk())
        try:
            async for piece in running.pieces(beginning=True):
                if piece.kind == "begun":
                    await stream.send()  # the role, as the model's server has sent it
                elif piece.response is None:
                    await stream.send(shape.chunk(piece))
                else:
                    await self._end(stream, shape, piece.response, wants_usage=wants_usage)
        except StreamClosedError:
            running.close()
        finally:
            stream.close()

    async def _end(
        self, stream: EventStream, shape: CompletionShape, response: ChatResponse, *, wants_usage: bool
    ) -> None:
        refusal = refusal_of(response)
        if refusal is not None and not stream.has_begun:
            raise refusal
        if refusal is not None:  # without [DONE]: the client must not take it for an answer
            await stream.send(error_body(refusal.status, str(refusal), refusal.code))
        else:
            usage = [shape.usage_chunk(response)] if wants_usage else []
            await stream.send(shape.last_chunk(response), *usage)
            await stream.send_text("data: [DONE]\n\n")
        stream.end()
