"""What every service shares: how a call is made from what the user typed, and sent down the one pipeline."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ipyllm.errors import LLMError
from ipyllm.pipeline.call import Call
from ipyllm.pipeline.streams import AsyncEventStream, AsyncTextStream, TextStream
from ipyllm.pipeline.timeouts import Timeout
from ipyllm.request import ChatRequest, Message, Provenance
from ipyllm.response import Usage
from ipyllm.services.parameters import check_params
from ipyllm.settings import get_settings
from ipyllm.text.redact import remember_secret
from ipyllm.text.surrogates import replace_surrogates
from ipyllm.transport.address import Address, is_url, without_password
from ipyllm.validate import validate_int, validate_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from ipyllm.events import Event
    from ipyllm.response import ChatResponse
    from ipyllm.services.prices import Price
    from ipyllm.structured import Schema
    from ipyllm.tools import Tool

__all__ = ["BaseLLMService", "Limits"]

_ROLES = {"system", "developer", "user", "assistant", "tool"}


class Limits(NamedTuple):
    """What we keep to by ourselves at one address; None is no limit but what the server shows us."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_in_flight: int | None = None


class BaseLLMService:
    """A service that speaks the chat-completions protocol.

    Parameters
    ----------
    model : str, optional
        The model's name at this service; ``default_model`` if not given.
    base_url : str, optional
        Address up to and with ``/v1``.
    api_key : str, optional
        Key; from the settings if not given. No repr, log or row ever shows it.
    timeout : float or Timeout, optional
        Seconds a call may be silent: to connect, until the first token, between tokens; or each limit by itself, and
        one on the whole call, as a :class:`~ipyllm.pipeline.timeouts.Timeout`.
    max_retries : int, optional
        Further attempts after the first.
    requests_per_minute, tokens_per_minute : float, optional
        Never send more to this address.
    max_in_flight : int, optional
        Never have more requests out at this address. Without it the limit is learnt from what the server refuses.
    cache : bool, optional
        Whether our own cache may answer; as the settings say if not given.
    **params
        Defaults for every call: ``temperature``, ``max_tokens``, ``seed``, …

    Raises
    ------
    LLMError
        For a parameter that cannot be right, with one sentence that says why.
    """

    name: ClassVar[str]
    """First part of a full model name."""
    title: ClassVar[str]
    """As a sentence calls it."""
    at_once: ClassVar[int | None] = None
    """How many calls it can answer side by side, where that is known; more would only wait inside it."""
    default_model: ClassVar[str]
    key_variable: ClassVar[str | None] = None
    """Environment variable of the key, where a key is needed."""
    price_provider: ClassVar[str | None] = None
    """Provider id in the price tables."""
    known_models: ClassVar[tuple[str, ...]] = ()
    """Some names, for "did you mean" and completion."""

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float | Timeout | None = None,
        max_retries: int | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        max_in_flight: int | None = None,
        cache: bool | None = None,
        **params: Any,
    ) -> None:
        self.model = self._model_name(model or self.default_model)
        self._base_url = base_url
        self._api_key = api_key
        remember_secret(api_key)
        self._timeout = None if timeout is None else Timeout.of(timeout)
        self._max_retries = _retries(max_retries)
        self.limits = Limits(requests_per_minute, tokens_per_minute, max_in_flight)
        self._cache = cache
        self.params = check_params(params, self.full_name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the key: who unpickles it, on another machine for one, has its own in the settings."""
        return self.__dict__ | {"_api_key": None}

    @property
    def full_name(self) -> str:
        """Name of the model as users write it, ``service/model``."""
        return f"{self.name}/{self.model}"

    # ---- what a service is made of ---------------------------------------------------------------

    def _model_name(self, model: str) -> str:
        """Strip our own prefix: ``OpenAIService("openai/gpt-5-mini")`` means what it says."""
        own = getattr(self, "name", "") + "/"
        return model.removeprefix(own)

    def base_url(self) -> str:
        """Return the address in force: given, or from the settings, or the provider's own."""
        raise NotImplementedError

    def api_key(self) -> str | None:
        """Return the key in force, or None."""
        return self._api_key

    def address(self) -> Address:
        """Where to send a call.

        Raises
        ------
        LLMError
            When a key is needed and there is none, or the address is no address.
        """
        base_url, key = self.base_url().strip().rstrip("/"), (self.api_key() or "").strip()
        if not is_url(base_url):
            raise LLMError(
                f"The address of {self.title} is not a URL: {without_password(base_url)!r}; "
                "it should look like http://host:8000/v1.",
                category="bad_request",
                model=self.full_name,
            )
        if not (key.isascii() and key.isprintable()):
            raise LLMError(
                f"The key of {self.title} has characters that no key has; copy it again, without quotes and line ends.",
                category="authentication",
                model=self.full_name,
            )
        if not key and self.key_variable and self.needs_key(base_url):
            raise LLMError(
                f"{self.title} needs a key: set {self.key_variable} in the environment or in .env, or pass api_key=….",
                category="authentication",
                model=self.full_name,
            )
        return Address(base_url, key or None)

    def check(self) -> None:
        """See whether a call can be sent at all, without sending anything.

        Raises
        ------
        LLMError
            What every call would fail with: no key, no address, no such embedded model.
        """
        self.address()

    def needs_key(self, base_url: str) -> bool:  # noqa: ARG002 (a service may depend on it)
        """Whether a call without a key is bound to fail."""
        return True

    def context_window(self) -> int | None:
        """Tokens the model can take in, question and answer together, by the tables of prices; None when unknown."""
        base_url = self.base_url().strip().rstrip("/")
        if self.price_provider is None or not (is_url(base_url) and self.is_priced(Address(base_url, None))):
            return None
        from ipyllm.services.prices import context_window

        return context_window(self.price_provider, self.model)

    async def models(self, *, timeout_s: float) -> list[str]:
        """Names of the models that the server has, as it says; on the service thread."""
        from ipyllm.runtime.service_thread import service_thread

        return await service_thread().wire.models(self.address(), service=self.name, timeout_s=timeout_s)

    def price(self) -> Price | None:
        """Return what the model costs per million tokens, by the settings or the price tables; None when unknown."""
        from ipyllm.services.prices import price_in_settings, price_in_tables

        own = price_in_settings(self.full_name)
        if own is not None or self.price_provider is None or not self.is_priced(self.address()):
            return own
        return price_in_tables(self.price_provider, self.model)

    async def prepare(self) -> tuple[Address, bool]:
        """Make ready and return the address, and whether a model had to be loaded for it (``cold``)."""
        return self.address(), False

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Return the JSON body of a request. Quirks of a server go here."""
        params = dict(request.params)
        extra = params.pop("extra_body", None) or {}
        return {
            "model": self.model,
            "messages": [self.message(message) for message in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            **params,
            **extra,
        }

    def message(self, message: Message) -> Message:
        """Return a message as this server takes it: most refuse a model's reasoning in it."""
        return {name: value for name, value in message.items() if name != "reasoning_content"}

    def read_usage(self, raw: Mapping[str, Any]) -> Usage:
        """Read the server's token counts, in OpenAI's shape or DeepSeek's."""
        details_in, details_out = (
            _mapping(raw, "prompt_tokens_details"),
            _mapping(raw, "completion_tokens_details"),
        )
        cached = _count(details_in, "cached_tokens")
        return Usage(
            input_tokens=_count(raw, "prompt_tokens"),
            output_tokens=_count(raw, "completion_tokens"),
            cached_tokens=cached if cached is not None else _count(raw, "prompt_cache_hit_tokens"),
            reasoning_tokens=_count(details_out, "reasoning_tokens"),
            source="server",
        )

    async def load_prices(self, address: Address) -> None:
        """Load what :meth:`cost` needs, before any clock runs."""
        if self.is_priced(address):
            import asyncio

            from ipyllm.services import prices

            await asyncio.to_thread(prices.load)

    def is_priced(self, address: Address) -> bool:
        """Whether the price tables speak of what is served at ``address``."""
        return self.price_provider is not None and not address.is_loopback

    def cost(
        self, usage: Usage, response_model: str | None, address: Address, at: datetime
    ) -> tuple[float | None, str | None]:
        """US dollars and the source of the price; (None, None) when unknown."""
        if not self.is_priced(address) or self.price_provider is None:
            return None, None
        from ipyllm.services.prices import cost_of

        return cost_of(usage, provider=self.price_provider, model=response_model or self.model, at=at)

    def priced(
        self, usage: Usage, response_model: str | None, address: Address, at: datetime
    ) -> tuple[float | None, str | None]:
        """Cost by the user's own prices in the settings, else by :meth:`cost`."""
        from ipyllm.services.prices import BY_SETTINGS, price_in_settings

        own = price_in_settings(self.full_name)
        if own is not None:
            cost = own.cost(usage)
            return cost, BY_SETTINGS if cost is not None else None
        return self.cost(usage, response_model, address, at)

    def estimate_cost(
        self, address: Address, input_tokens: int, max_output_tokens: int | None, at: datetime
    ) -> float | None:
        """Upper bound of what a call may cost, for budgets; None when the price is unknown."""
        from ipyllm.services.prices import estimate_cost, price_in_settings

        own = price_in_settings(self.full_name)
        if own is not None:
            longest = max_output_tokens or self.context_window()
            return None if longest is None else own.estimate(input_tokens, longest)
        free, _ = self.cost(Usage(0, 0, source="server"), None, address, at)
        if not self.is_priced(address) or self.price_provider is None:
            return free
        return estimate_cost(self.price_provider, self.model, input_tokens, max_output_tokens, at=at)

    def cache_scope(self, address: Address) -> str:
        """Whose answers these are, for the key of our own cache."""
        return address.base_url

    # ---- what users call -------------------------------------------------------------------------

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
        retry_after_text: bool = False,
        cache: bool | None = None,
        max_cost_usd: float | None = None,
        tools: Iterable[Any] = (),
        tool_rounds: int = 8,
        schema: Any = None,
        repairs: int = 1,
        **params: Any,
    ) -> ChatRequest:
        """Make the request that the calls below send: the same arguments, nothing sent."""
        settings = get_settings()
        messages = [_message(item, self.full_name) for item in conversation_history or ()]
        if system is not None:
            messages = [m for m in messages if m["role"] != "system"]
            messages.insert(0, {"role": "system", "content": system})
        if isinstance(prompt, str):
            messages.append({"role": "user", "content": prompt})
        else:
            messages += [_message(item, self.full_name) for item in prompt]
        if not messages or (isinstance(prompt, str) and not prompt.strip()):
            raise LLMError(
                "The prompt is empty: there is nothing to ask.", category="bad_request", model=self.full_name
            )
        allowed = Timeout.of(timeout) if timeout is not None else self._timeout or Timeout.of(settings.timeout)
        again = _retries(max_retries)
        if again is None:
            again = self._max_retries if self._max_retries is not None else settings.max_retries
        return ChatRequest(
            model=self.full_name,
            messages=tuple(replace_surrogates(message) for message in messages),
            params={**self.params, **check_params(params, self.full_name)},
            timeout=allowed,
            max_retries=again,
            retry_after_text=bool(retry_after_text),
            cache=self._cache if cache is None else cache,
            max_cost_usd=validate_usd(max_cost_usd),
            tools=_toolbox(tools),
            tool_rounds=validate_int("tool_rounds", tool_rounds, 1),
            schema=_schema(schema),
            repairs=validate_int("repairs", repairs, 0),
            provenance=_with_tags(provenance or Provenance(), tags),
        )

    def call(
        self, request: ChatRequest, on_event: Callable[[Event], None] | None = None, *, waits: bool = False
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
            ``conversation_history``: messages that come before, such as ``ConversationHistory().get_messages()``;
            ``system``; ``tags``: ``{"arm": "terse"}`` finds the call again in ``usage()``; ``timeout``;
            ``max_retries``; ``retry_after_text``: also when text was shown; ``cache``;
            ``max_cost_usd``: refuse before sending if it may cost more; ``tools``: Python
            functions the model may call, with ``tool_rounds``; ``schema``: a Pydantic class, dataclass, TypedDict or
            JSON schema that the answer must fit, with ``repairs``; and any parameter of the model.

        Returns
        -------
        ChatResponse

        Raises
        ------
        LLMError
            When no whole answer came; ``error.partial`` holds what did.
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


def _message(item: Any, model: str) -> Message:
    if isinstance(item, dict) and item.get("role") in _ROLES:
        return item
    raise LLMError(
        f'A message looks like {{"role": "user", "content": "…"}}, not like {str(item)[:60]!r}.',
        category="bad_request",
        model=model,
    )


def _with_tags(provenance: Provenance, tags: Mapping[str, str] | None) -> Provenance:
    if not tags:
        return provenance
    return replace(provenance, tags={**provenance.tags, **{str(key): str(value) for key, value in tags.items()}})


def _retries(value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise LLMError(f"max_retries must be a whole number, 0 or more, not {value!r}.", category="bad_request")
    return value


def _toolbox(tools: Iterable[Any]) -> Mapping[str, Tool]:
    given = list(tools)
    if not given:
        return {}
    from ipyllm.tools import toolbox

    return toolbox(given)


def _schema(schema: Any) -> Schema | None:
    if schema is None:
        return None
    from ipyllm.structured import Schema

    return Schema.of(schema)


def _mapping(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key)
    return value if isinstance(value, dict) else {}


def _count(raw: Mapping[str, Any], key: str) -> int | None:
    value = raw.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
