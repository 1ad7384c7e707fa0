"""The part of a service that the pipeline uses: a server's address, quirks and prices."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

from ipyllm.errors import LLMError, bad_request
from ipyllm.headers import Headers
from ipyllm.messages import without
from ipyllm.provider import Limits, ReasoningFormat
from ipyllm.request import CallOptions
from ipyllm.services import listed_models
from ipyllm.services.chat_input import with_own_fields, with_reasoning, with_signed_calls
from ipyllm.services.parameters import check_params, refuse_misspelt_options
from ipyllm.services.pricing import Pricing
from ipyllm.services.profiles.fit import check_images, check_tools, fit
from ipyllm.services.profiles.learned import has_learned
from ipyllm.services.profiles.profile import Profile, profile_of
from ipyllm.services.profiles.refusal import (
    explain_missing_api,
    explain_not_running,
    explain_refusal,
    explain_unknown_model,
    explain_wrong_key,
)
from ipyllm.services.profiles.wire import merged, wire_fields
from ipyllm.services.responses_body import responses_body
from ipyllm.settings import cached_settings, get_settings
from ipyllm.text.redact import remember_secret
from ipyllm.text.secrets import as_secret
from ipyllm.text.surrogates import replace_surrogates
from ipyllm.timeout import Timeout
from ipyllm.transport.address import Address, normalized
from ipyllm.transport.usage import read_usage
from ipyllm.validate import validate_int

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from pydantic import SecretStr

    from ipyllm.messages import Message
    from ipyllm.request import ChatRequest
    from ipyllm.response import Usage
    from ipyllm.settings_models import Api
    from ipyllm.structured import SchemaMode
    from ipyllm.transport.model_list import ListedModel

__all__ = ["OpenAICompatibleProvider"]

_AUTO = Timeout()
_OF_LOGPROBS = ("logprobs", "top_logprobs")


class OpenAICompatibleProvider(Pricing):
    """A server that speaks the protocol of OpenAI: chat completions, or the Responses API where the profile says so.

    Parameters
    ----------
    model : str, optional
        The model's name at this service; ``default_model`` if not given.
    base_url : str, optional
        Address up to and with ``/v1``.
    api_key : str or SecretStr, optional
        Key; from the settings if not given. It never appears in a repr, a log, a traceback or the ledger.
    default_headers : mapping of str to str, optional
        HTTP headers of every request, which replace ours of the same names. Their values are hidden like the key.
    timeout : float or Timeout, optional
        Seconds that each stage may take: connecting, the first token, the gap between tokens. A
        :class:`~ipyllm.timeout.Timeout` sets each separately, and a limit on the whole call. By default as long as fits
        the model.
    max_retries : int, optional
        Further attempts after the first.
    requests_per_minute, tokens_per_minute : float, optional
        Limits on what is sent to this address.
    max_in_flight : int, optional
        Most requests in flight to this address. By default the limit is learned from the server's rejections.
    cache : bool, optional
        Whether the response cache may answer; the settings decide if not given.
    **params
        Defaults for every call: ``temperature``, ``max_tokens``, ``seed``, …

    Raises
    ------
    LLMError
        For an invalid option, with one sentence that says why.
    """

    at_once: ClassVar[int | None] = None
    """Calls that the server can answer at the same time, if known."""
    default_model: ClassVar[str]
    known_models: tuple[str, ...] = ()
    """Some model names, for "did you mean" and completion."""

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_key: str | SecretStr | None = None,
        default_headers: Mapping[str, str] | None = None,
        timeout: float | Timeout | None = None,
        max_retries: int | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        max_in_flight: int | None = None,
        cache: bool | None = None,
        **params: Any,
    ) -> None:
        api_key = as_secret(api_key)  # before anything can fail: a traceback may show the variables of this frame
        remember_secret(api_key)
        refuse_misspelt_options(params, signature(OpenAICompatibleProvider.__init__).parameters, caller="A service")
        self._base_url = base_url
        self.model = self._model_name(_checked_name(model or self.default_model))
        self._api_key = api_key
        self._key_was_looked_at = False
        self._given_headers = self._default_headers = self._checked_headers(default_headers)
        self.limits = Limits(requests_per_minute, tokens_per_minute, max_in_flight)
        self.defaults = self.options(params, timeout, max_retries, cache)

    def __repr__(self) -> str:
        # A traceback that shows variables may show a service that is half made.
        return f"{type(self).__name__}(model={getattr(self, 'model', None)!r})"

    @property
    def full_name(self) -> str:
        """Name of the model as users write it, ``service/model``."""
        return f"{self.name}/{self.model}"

    @property
    def params(self) -> Mapping[str, Any]:
        """Default parameters of every call."""
        return self.defaults.params

    def with_params(self, params: Mapping[str, Any]) -> Self:
        """Return this service with further default parameters, which come before its own.

        Raises
        ------
        LLMError
            A parameter is invalid.
        """
        other = object.__new__(type(self))
        vars(other).update(vars(self))  # `copy` leaves out the key, as pickle does
        other.defaults = self.options(params).with_defaults(self.defaults)
        return other

    def identity(self) -> list[Any]:
        """Return what tells this service's answers from another's, but for options: plain values, without keys.

        They are the model, the full address, and the API where the settings choose it.
        """
        is_chosen = self.api != profile_of(self.full_name, {}).api
        return [self.full_name, self.public_address(), *([self.api] if is_chosen else [])]

    # ---- options -----------------------------------------------------------------------------------

    def options(
        self,
        params: Mapping[str, Any],
        timeout: float | Timeout | None = None,
        max_retries: int | None = None,
        cache: bool | None = None,
        extra_headers: Mapping[str, str] | Headers | None = None,
    ) -> CallOptions:
        """Check options and return them; raise ``bad_request``, with one sentence that names the option."""
        return CallOptions(
            check_params(params, self.full_name),
            None if timeout is None else Timeout.of(timeout),
            None if max_retries is None else validate_int("max_retries", max_retries, 0),
            cache,
            self._checked_headers(extra_headers),
        )

    def _checked_headers(self, headers: Mapping[str, Any] | Headers | None) -> Headers:
        try:
            return Headers.of(headers)
        except ValueError as exc:
            problem = str(exc)
            raise bad_request(f"{problem[0].upper()}{problem[1:]}.", model=self.full_name) from None

    @property
    def profile(self) -> Profile:
        """What the model takes."""
        return profile_of(self.full_name, cached_settings().profiles)

    def resolve(self, request: ChatRequest) -> ChatRequest:
        """Return the request with all options resolved: as given, else of routes, the service, the notebook, settings.

        Raises
        ------
        LLMError
            ``bad_request``: the model cannot do what the call or the service asks for.
        """
        settings = get_settings()
        profile = self.profile
        options = request.given.with_defaults(request.route_options).with_defaults(self.defaults)
        options = options.with_defaults(request.notebook_options)
        if options.params.get("logprobs") is False:  # no model needs to take what is not asked for
            kept = {name: value for name, value in options.params.items() if name not in _OF_LOGPROBS}
            options = replace(options, params=kept)
        given = {*request.given.params, *self.defaults.params}
        params, not_applied = fit(
            profile,
            options.params,
            [name for name in options.params if name not in given],
            model=self.full_name,
            server=self._base_url_if_known() if has_learned(self.full_name) else None,
        )
        if request.tools or "tools" in params:
            check_tools(profile, params, self.full_name)
        check_images(profile, request.messages, self.full_name)
        timeout = options.timeout or (_AUTO if settings.timeout is None else Timeout.of(settings.timeout))
        return replace(
            request,
            model=self.full_name,
            params=params,
            not_applied=not_applied,
            timeout=timeout.limits(profile.first_token_limit_s(params)),
            max_retries=settings.max_retries if options.max_retries is None else options.max_retries,
            cache=options.cache,
            headers=options.headers,
        )

    @property
    def api(self) -> Api:
        """The API through which the model is asked."""
        return self.profile.api

    def _model_name(self, model: str) -> str:
        """Remove the service's own prefix, as in ``OpenAIService("openai/gpt-6-luna")``; not at another address."""
        return model.removeprefix(f"{self.name}/") if self._base_url is None else model

    def explain(self, error: LLMError, request: ChatRequest) -> LLMError:
        """Return a server's error, with what is known here about the parameter, the API, the model or the key.

        Later calls get the refusal of a parameter before they are sent.
        """
        server = self._base_url_if_known() or ""
        if self.api == "responses" and not self._is_own_domain(server):
            error = explain_missing_api(error, model=self.full_name)
        known = [*listed_models.names(normalized(server)), *(self.known_models if self._is_own_domain(server) else ())]
        error = self._explain_not_running(error)
        error = explain_unknown_model(error, self.profile, known, service=self.name, model=self.model)
        if not self.headers().hold_a_key:
            error = explain_wrong_key(error, was_sent=bool(self.api_key()), variable=self._variable_of_key())
        return explain_refusal(error, self.profile, request.params, model=self.full_name, server=server)

    def _explain_not_running(self, error: LLMError) -> LLMError:
        if self.how_to_start is None or error.reached_server:
            return error
        return explain_not_running(
            error, title=self.title, address=self._address_without_key(), start=self.how_to_start
        )

    def reasons(self, request: ChatRequest) -> bool:
        """Return whether the model is known to reason before it answers this request."""
        return self.profile.reasons(request.params)

    def reasoning_format(self, params: Mapping[str, Any]) -> ReasoningFormat:
        """Return how the model sends its reasoning in a response to a request with these parameters."""
        profile = self.profile
        is_opened = profile.reasoning_tag_opened and profile.effort(params) != "none"
        return ReasoningFormat(profile.reasoning_tag or None, is_opened, profile.keeps_reasoning)

    @property
    def schema_mode(self) -> SchemaMode:
        """The most that the server enforces of a schema."""
        return self.profile.schema_mode

    def context_window(self) -> int | None:
        """Return the context window in tokens, by the profile, the server or the price tables; None when unknown."""
        if (window := self.profile.context_window) is not None:
            return window
        if (told := self.listed_model()) is not None and told.context_window is not None:
            return told.context_window
        if not self.is_in_price_tables():
            return None
        from ipyllm.services.prices import context_window

        reference = self.price_reference(self.model)
        return None if reference is None else context_window(*reference)

    async def models(self, *, timeout_s: float) -> list[str]:
        """Return the names of the models that the server lists. Runs on the service thread."""
        from ipyllm.runtime.service_thread import own_service_thread

        address = self.address()
        try:
            listed = await own_service_thread().transport.models(address, service=self.name, timeout_s=timeout_s)
        except LLMError as exc:
            raise self._explain_not_running(exc) from exc
        listed = [replace(model, name=self.listed_name(model.name)) for model in listed]
        listed_models.remember(address.base_url, listed)
        return [model.name for model in listed]

    def listed_name(self, name: str) -> str:
        """Return a name of the server's list as it is used in calls."""
        return name

    def listed_model(self) -> ListedModel | None:
        """Return what the server told about this model when it listed its models."""
        base_url = self._base_url_if_known()
        return None if base_url is None else listed_models.listed_model(normalized(base_url), self.model)

    async def prepare(self) -> tuple[Address, bool]:
        """Return the address, and whether a model had to be loaded first (``cold``)."""
        return self.address(), False

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Return the JSON body of a request. A server's quirks go here."""
        params = dict(request.params)
        extra = params.pop("extra_body", None) or {}
        profile = self.profile
        if profile.api == "responses":
            return merged(responses_body(self.model, self.full_name, request.messages, params, profile), extra)
        messages = [with_own_fields(message, self.full_name) for message in request.messages]
        if profile.unsigned_call:
            messages = [with_signed_calls(message, profile.unsigned_call) for message in messages]
        if profile.keeps_reasoning and "tools" in params:
            reasons = profile.effort(params) != "none"
            messages = [with_reasoning(message) if reasons else message for message in messages]
        else:
            messages = [self.message(message) for message in messages]
        return {
            "model": self.model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            **merged(wire_fields(profile, params), extra),
        }

    def message(self, message: Message) -> Message:
        """Return a message as this server accepts it. Most refuse the model's reasoning in it."""
        return without(message, "reasoning_content")

    def read_usage(self, raw: Mapping[str, Any]) -> Usage:
        """Read the server's token counts, in any shape that :func:`~ipyllm.transport.usage.read_usage` knows."""
        return read_usage(raw)

    def cache_scope(self, address: Address) -> str:
        """Return the part of a response cache key that identifies the server."""
        return address.base_url


def _checked_name(model: str) -> str:
    if model != replace_surrogates(model):
        raise bad_request(f"The model's name has half a character in it, which no server can have: {model!a}.")
    return model
