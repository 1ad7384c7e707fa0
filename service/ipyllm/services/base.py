"""The API that users call: chat, stream, events, request."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request
from ipyllm.pipeline.call import Call
from ipyllm.pipeline.streams import AsyncEventStream, AsyncTextStream, TextStream
from ipyllm.request import NO_OPTIONS, CallOptions, ChatRequest, Provenance
from ipyllm.services import listed_models
from ipyllm.services.given_messages import given_message
from ipyllm.services.openai_compatible import OpenAICompatibleProvider
from ipyllm.services.profiles.retirement import note_once
from ipyllm.text.surrogates import replace_surrogates
from ipyllm.transport.address import normalized
from ipyllm.validate import refuse_table, tags_as_text, validate_int, validate_usd

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.events import Event
    from ipyllm.messages import Message
    from ipyllm.response import ChatResponse
    from ipyllm.structured import Schema
    from ipyllm.timeout import Timeout
    from ipyllm.tools import Tool

__all__ = ["BaseLLMService"]


class BaseLLMService(OpenAICompatibleProvider):
    """A service: the API that users call, for a server that speaks the protocol of OpenAI.

    Parameters and errors are those of :class:`~ipyllm.services.openai_compatible.OpenAICompatibleProvider`.
    """

    def request(
        self,
        prompt: str | Iterable[Message],
        *,
        conversation_history: Iterable[Message] | None = None,
        system: str | None = None,
        tags: Mapping[str, str] | None = None,
        provenance: Provenance | None = None,
        timeout: float | Timeout | None = None,
        max_retries: int | None = None,
        retry_after_text: bool | None = None,
        cache: bool | None = None,
        extra_headers: Mapping[str, str] | None = None,
        max_cost_usd: float | None = None,
        tools: Iterable[Any] = (),
        tool_rounds: int = 8,
        schema: Any = None,
        repairs: int = 1,
        notebook_options: CallOptions | None = None,
        **params: Any,
    ) -> ChatRequest:
        """Create the request that ``chat`` would send with the same arguments, without sending it.

        ``notebook_options`` hold where neither the call nor a service sets them. A model that is or will soon be
        retired is named in a warning, once.
        """
        for given in (prompt, conversation_history, system):
            refuse_table(given)
        messages = [given_message(item, self.full_name) for item in conversation_history or ()]
        if system is not None:
            if not isinstance(system, str):
                raise bad_request(f"system must be a text, not a {type(system).__name__}.", model=self.full_name)
            messages = [m for m in messages if m["role"] != "system"]
            messages.insert(0, {"role": "system", "content": replace_surrogates(system)})
        if isinstance(prompt, str):
            messages.append({"role": "user", "content": replace_surrogates(prompt)})
        elif not isinstance(prompt, Iterable):
            raise bad_request(
                f"A prompt is a text or a list of messages, not a {type(prompt).__name__}.", model=self.full_name
            )
        else:
            messages += [given_message(item, self.full_name) for item in prompt]
        if not messages or (isinstance(prompt, str) and not prompt.strip()):
            raise bad_request("The prompt is empty: there is nothing to ask.", model=self.full_name)
        request = ChatRequest(
            model=self.full_name,
            messages=tuple(messages),
            retry_after_text=None if retry_after_text is None else bool(retry_after_text),
            max_cost_usd=validate_usd(max_cost_usd),
            tools=_tools_by_name(tools),
            tool_rounds=validate_int("tool_rounds", tool_rounds, 1),
            schema=_schema(schema),
            repairs=validate_int("repairs", repairs, 0),
            provenance=_with_tags(provenance or Provenance(), tags),
            given=self.options(params, timeout, max_retries, cache, extra_headers),
            notebook_options=self._checked_options(notebook_options),
        )
        request = self.resolve(request)
        for note in (self.retirement_note(), self.weak_key_note()):
            if note is not None:
                warnings.warn(note, stacklevel=3)
        return request

    def retirement_note(self) -> str | None:
        """Return a sentence if the model is or will soon be retired, the first time it is asked for."""
        profile = self.profile
        told = self.listed_model() if listed_models.has_date(self.model) else None
        if told is not None and told.retires is not None:
            profile = replace(profile, retires=told.retires)
        return note_once(profile, self.full_name)

    def _asked_window(self) -> int | None:
        """Return the context window; where it is not known yet, ask the server for its models once."""
        window = BaseLLMService.context_window(self)
        if window is None and (base_url := self._base_url_if_known()) is not None:
            listed_models.ask_once(normalized(base_url), self.models(timeout_s=2.0))
            window = BaseLLMService.context_window(self)
        return window

    def _checked_options(self, options: CallOptions | None) -> CallOptions:
        if options is None:
            return NO_OPTIONS
        return self.options(options.params, options.timeout, options.max_retries, options.cache, options.headers)

    def call(
        self,
        request: ChatRequest,
        on_event: Callable[[Event], None] | None = None,
        *,
        waits: bool = False,
    ) -> Call:
        """Start a call and return its handle: for renderers, widgets and servers.

        ``waits`` says that this thread is about to wait for it, and will run its tools meanwhile.
        """
        return Call(self, request, on_event).start(waits=waits)

    def chat(self, prompt: str | Iterable[Message], **options: Any) -> ChatResponse:
        """Ask, and wait for the whole answer.

        Parameters
        ----------
        prompt : str or list of Message
            The question, or a whole conversation.
        **options
            ``effort``: how much the model reasons, such as ``"none"`` or ``"high"``; ``verbosity``: how much it writes.
            Which values it takes is in its profile.
            ``conversation_history``: messages that come before, such as ``ConversationHistory().get_messages()``;
            ``system``; ``tags``: ``{"arm": "terse"}`` finds the call again in ``usage()``; ``timeout``;
            ``max_retries``; ``retry_after_text``: whether to retry after a part of the answer has arrived, by default
            only where nobody has seen it, as here; ``cache``;
            ``extra_headers``: HTTP headers of the requests of this call;
            ``max_cost_usd``: refuse before sending if it may cost more; ``tools``: Python
            functions the model may call, with ``tool_rounds``; ``schema``: a Pydantic class, dataclass, TypedDict or
            JSON schema that the answer must fit, with ``repairs``; and any parameter of the model.

        Returns
        -------
        ChatResponse

        Raises
        ------
        LLMError
            When the answer is missing or incomplete; ``error.partial`` holds the part received.
        """
        return self.call(self.request(prompt, **options), waits=True).wait()

    async def achat(self, prompt: str | Iterable[Message], **options: Any) -> ChatResponse:
        """Like :meth:`chat`, for coroutines."""
        return await self.call(self.request(prompt, **options)).wait_async()

    def stream(self, prompt: str | Iterable[Message], **options: Any) -> TextStream:
        """Ask, and iterate over pieces of text as they arrive: ``for text in service.stream(…)``."""
        request = self.request(prompt, **options)
        return TextStream(lambda on_event: self.call(request, on_event, waits=True))

    def chat_stream(self, prompt: str | Iterable[Message], **options: Any) -> AsyncTextStream:
        """Ask, and iterate over pieces of text: ``async for text in service.chat_stream(…)``."""
        request = self.request(prompt, **options)
        return AsyncTextStream(lambda on_event: self.call(request, on_event))

    def events(self, prompt: str | Iterable[Message], **options: Any) -> AsyncEventStream:
        """Ask, and iterate over typed events: ``async for event in service.events(…)``."""
        request = self.request(prompt, **options)
        return AsyncEventStream(lambda on_event: self.call(request, on_event))


def _with_tags(provenance: Provenance, tags: Mapping[str, str] | None) -> Provenance:
    given = tags_as_text(tags)
    return replace(provenance, tags={**provenance.tags, **given}) if given else provenance


def _tools_by_name(tools: Any) -> Mapping[str, Tool]:
    # One function alone is meant as a list of one; of what is none, the conversion says so.
    given = list(tools) if isinstance(tools, Iterable) and not isinstance(tools, str) else [tools]
    if not given:
        return {}
    from ipyllm.tools import tools_by_name

    return tools_by_name(given)


def _schema(schema: Any) -> Schema | None:
    if schema is None:
        return None
    from ipyllm.structured import Schema

    return Schema.of(schema)
