"""The calls that the server makes for its users."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Self

from ipyllm.errors import LLMError
from ipyllm.pipeline.call import Call
from ipyllm.registry.models import create_llm_service, resolve
from ipyllm.request import Provenance
from ipyllm_server.answer_reader import AnswerReader
from ipyllm_server.refusals import Refusal, of_error, refusal_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse
    from ipyllm_server.answer_reader import Piece

__all__ = ["RunningCall", "RunningCalls"]

USER_TAG: Final = "user"
"""Tag of a call in the ledger with the name of its user."""

_LOOK_S: Final = 1.0


class RunningCall:
    """One call for a user: its pieces as they arrive. Leaving the ``async with`` block early cancels it."""

    def __init__(self, owner: RunningCalls, call: Call, reader: AnswerReader) -> None:
        self._owner = owner
        self.call = call
        self.reader = reader

    @property
    def model(self) -> str:
        """Full name of the model."""
        return self.call.request.model

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel the call if it is running, and count it no longer."""
        if not self.call.done.is_set():
            self.call.cancel()
        self._owner.remove(self)

    async def pieces(self) -> AsyncIterator[Piece]:
        """Yield what arrives, the response last."""
        while True:
            for piece in await self.reader.pieces():
                yield piece
                if piece.kind == "finished":
                    return

    async def response(self) -> ChatResponse:
        """Wait for the end, and return the response; raise the refusal of a call that failed."""
        async for piece in self.pieces():
            if piece.response is not None:
                if (refusal := refusal_of(piece.response)) is not None:
                    raise refusal
                return piece.response
        raise AssertionError  # every call ends with its response


class RunningCalls:
    """Starts calls and knows which of them run."""

    def __init__(self, models: Sequence[str] = ()) -> None:
        self.models = tuple(models)
        self._running: set[RunningCall] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(
        self,
        user: str,
        model: str | None,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        tags: Mapping[str, str] | None = None,
        conversation: str | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        **options: Any,
    ) -> RunningCall:
        """Ask a model for a user.

        Parameters
        ----------
        user : str
            The user's name, written to the ledger as the tag ``user``.
        model : str or None
            Name of the model; None for the default.
        prompt : str or sequence of Message
            The question, or a whole conversation.
        tags : mapping, optional
            Further tags.
        conversation : str, optional
            Name of the conversation, for the ledger.
        tools : sequence of mapping
            Functions of the client in the protocol's shape: the model's calls of them are part of the answer.
        **options
            Those of :meth:`ipyllm.BaseLLMService.chat`.

        Raises
        ------
        Refusal
            The request is wrong, or the user may not make it.
        """
        try:
            service = create_llm_service(self._allowed(model))
            provenance = Provenance(origin="server", conversation=conversation, tags={**(tags or {}), USER_TAG: user})
            request: ChatRequest = service.request(prompt, provenance=provenance, **options)  # type: ignore[arg-type]
            if tools:
                request = service.resolve(request.with_params(tools=[*tools]))
            reader = AnswerReader()
            call = Call(service, request, reader.put).start()
        except LLMError as exc:
            raise of_error(exc) from None
        running = RunningCall(self, call, reader)
        if not self._running:
            asyncio.get_running_loop().call_later(_LOOK_S, self._look)
        self._running.add(running)
        return running

    def remove(self, running: RunningCall) -> None:
        """Count a call no longer."""
        self._running.discard(running)

    def _allowed(self, model: str | None) -> str | None:
        """Return the model's name; refuse those that the server does not offer, and files of models."""
        wanted = model if model is not None else (self.models[0] if self.models else None)
        if wanted is not None and self.models and wanted not in self.models:
            raise Refusal(404, f"This server has no model {wanted!r}; it has {', '.join(self.models)}.", "not_found")
        service, name = resolve(wanted)
        if wanted is not None and service == "local" and name and ("/" in name or name.endswith(".gguf")):
            raise Refusal(404, "A model is asked for by its name here, not by the path of its file.", "not_found")
        return wanted

    def _look(self) -> None:
        """Let readers know of calls that cannot end any more."""
        for running in tuple(self._running):
            try:
                running.call.done.check()
            except LLMError as exc:
                running.reader.fail(exc)
        if self._running:
            asyncio.get_running_loop().call_later(_LOOK_S, self._look)
