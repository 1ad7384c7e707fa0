"""The calls that the server makes for its users."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import LLMError
from ipyllm.events import Finished
from ipyllm.pipeline.call import Call
from ipyllm.pipeline.exchange_errors import failed_response
from ipyllm.registry.models import create_llm_service, default_model, resolve
from ipyllm.request import Provenance
from ipyllm.services.parameters import check_params
from ipyllm.settings import get_settings, read_once
from ipyllm_server.answer_reader import AnswerReader
from ipyllm_server.refusals import CLIENT_GONE, Refusal, of_error, refusal_of
from ipyllm_server.user_limits import USER_TAG

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.response import ChatResponse
    from ipyllm.services.base import BaseLLMService
    from ipyllm.settings import Settings
    from ipyllm_server.answer_reader import Piece
    from ipyllm_server.user_limits import UserLimits

__all__ = ["RunningCall", "RunningCalls"]

_LOOK_S: Final = 1.0
_DRAIN_STEP_S: Final = 0.02
_CANCEL_S: Final = 2.0
_RESTART_S: Final = 5.0
_SETTINGS_S: Final = 1.0  # after which changed settings hold
_KNOWN_SERVICES: Final = 1000


class RunningCall:
    """One call for a user: its pieces as they arrive.

    Attributes
    ----------
    call : Call
        The call.
    note : str or None
        What was left out of the conversation to fit the model's context window.
    """

    def __init__(self, owner: RunningCalls, user: str, call: Call, reader: AnswerReader, note: str | None) -> None:
        self.call = call
        self.user = user
        self.note = note
        self.reader = reader
        self._owner = owner

    @property
    def model(self) -> str:
        """Full name of the model."""
        return self.call.request.model

    def close(self) -> None:
        """Cancel the call if it is running, and count it no longer."""
        if not self.call.done.is_set():
            self.call.cancel()
        self._owner.remove(self)

    async def pieces(self, *, beginning: bool = False) -> AsyncIterator[Piece]:
        """Yield what arrives, the response last; the ``beginning`` of an answer too, if wanted."""
        while True:
            for piece in await self.reader.pieces():
                if piece.kind != "begun" or beginning:
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
    """Starts calls and knows which of them run.

    Parameters
    ----------
    limits : UserLimits
        What each user may ask.
    models : sequence of str
        The models that users may ask, the default first; empty: all that are configured.
    """

    def __init__(self, limits: UserLimits, models: Sequence[str] = ()) -> None:
        self.limits = limits
        self.models = tuple(models)
        self.is_closing = False
        self._running: set[RunningCall] = set()
        self._looking: asyncio.TimerHandle | None = None  # until the next look, while any runs
        self._services: dict[tuple[str | None, str | None], BaseLLMService] = {}
        self._with_window: set[BaseLLMService] = set()  # that were asked for the context window
        self._settings: Settings | None = None

    def __len__(self) -> int:
        return len(self._running)

    async def start(
        self,
        user: str,
        model: str | None,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        tags: Mapping[str, str] | None = None,
        conversation: str | None = None,
        history: ConversationHistory | None = None,
        before: str | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        is_wanted: Callable[[], bool] = lambda: True,
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
        history : ConversationHistory, optional
            What was said before; as much of it is sent as fits the model's context window.
        before : str, optional
            Only the turns before the one with this key.
        tools : sequence of mapping
            Functions of the client in the protocol's shape: the model's calls of them are part of the answer.
        is_wanted : callable
            Whether the client is still there: asked after all that may take time, just before the call starts.
        **options
            Those of :meth:`ipyllm.BaseLLMService.chat`.

        Raises
        ------
        Refusal
            The request is wrong, the user may not make it, or nobody waits for its answer.
        """
        if self.is_closing:
            raise Refusal(503, "The server is shutting down.", "shutting_down", retry_after_s=_RESTART_S)
        account = await self.limits.admit(user)
        try:
            if history is not None:
                await self._learn_window(model)
            if not is_wanted():
                raise Refusal(CLIENT_GONE, "The client has gone.", "cancelled")
            with read_once(_SETTINGS_S):
                service = self._service(model)
                provenance = Provenance(
                    origin="server", conversation=conversation, tags={**(tags or {}), USER_TAG: user}
                )
                note = None
                if history is not None:
                    options["conversation_history"], note = _history(history, before, prompt, service, options)
                request = service.request(prompt, provenance=provenance, **options)  # type: ignore[arg-type]
                if tools:
                    request = service.resolve(request.with_params(**check_params({"tools": [*tools]}, request.model)))
                reader = AnswerReader()
                call = Call(service, request, reader.put, account=account, on_begun=reader.begin).start()
        except LLMError as exc:
            raise of_error(exc) from None
        running = RunningCall(self, user, call, reader, note)
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(_LOOK_S, self._look)
        self._running.add(running)
        self.limits.begin(user)
        return running

    def remove(self, running: RunningCall) -> None:
        """Count a call no longer."""
        if running in self._running:
            self._running.discard(running)
            self.limits.end(running.user)

    async def drain(self, grace_s: float) -> None:
        """Start no more calls, give those that run ``grace_s`` seconds to end, and cancel the others.

        Who stops the server twice does not want to wait: then they are cancelled at once.

        A call that is cancelled ends as ``cancelled``, for its client and in the ledger.
        """
        if self.is_closing:
            grace_s = 0.0
        self.is_closing = True
        loop = asyncio.get_running_loop()
        for limit_s in (grace_s, _CANCEL_S):
            end_s = loop.time() + limit_s
            while self._running and loop.time() < end_s:  # noqa: ASYNC110 - once in a server's life
                await asyncio.sleep(_DRAIN_STEP_S)
            for running in tuple(self._running):
                running.call.cancel()

    def _service(self, model: str | None) -> BaseLLMService:
        """Return the service for a model: the same one until the settings, or the default model, change."""
        settings = get_settings()
        if self._settings is not settings or len(self._services) >= _KNOWN_SERVICES:
            self._settings, self._services = settings, {}
            self._with_window.clear()
        key = model, default_model()
        service = self._services.get(key)
        if service is None:
            service = self._services[key] = create_llm_service(self._allowed(model))
        return service

    async def _learn_window(self, model: str | None) -> None:
        """Find out the context window of a model, for which its server may have to be asked, off the loop."""
        with read_once(_SETTINGS_S):
            service = self._service(model)
        if service not in self._with_window:
            await asyncio.to_thread(service.context_window)
            self._with_window.add(service)

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
        """End the answers of calls that cannot end any more."""
        for running in tuple(self._running):
            try:
                running.call.done.check()
            except LLMError as exc:
                running.reader.put(Finished(failed_response(exc, running.model)))
                self.remove(running)
        self._looking = asyncio.get_running_loop().call_later(_LOOK_S, self._look) if self._running else None


def _history(
    history: ConversationHistory,
    before: str | None,
    prompt: str | Sequence[Mapping[str, Any]],
    service: BaseLLMService,
    options: Mapping[str, Any],
) -> tuple[list[Any], str | None]:
    """Return the messages to send before a question, and a note about those left out."""
    question = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [*map(dict, prompt)]
    longest = options.get("max_tokens") or options.get("max_completion_tokens")
    window = service.context_window
    return history.preceding(question, window, before=before, max_tokens=longest, model=service.full_name)
