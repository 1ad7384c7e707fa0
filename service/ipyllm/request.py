"""The request that a call sends: immutable, so that cache, retries and ledger all see the same."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from ipyllm.headers import NO_HEADERS, Headers
from ipyllm.messages import text_of
from ipyllm.timeout import TimeLimits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from ipyllm.messages import Message
    from ipyllm.structured import Schema
    from ipyllm.timeout import Timeout
    from ipyllm.tools import Tool

__all__ = ["NO_OPTIONS", "CallOptions", "ChatRequest", "Origin", "Provenance"]

Origin = Literal["api", "magic", "widget", "experiment", "server"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who made a call and why: written to the ledger's columns of the same names.

    Attributes
    ----------
    experiment, arm, variant, prompt_id : str or None
        The experiment, its arm, the name of the arm's template if there are several, and the row of the input.
    repeat : int or None
        Number of the repetition, from 0.
    warmup : bool or None
        Whether the call only warms up a model; such calls are left out of statistics.
    concurrency : int or None
        Most calls of the experiment that are in flight at the endpoint, from one process.
    executor : str or None
        What runs the calls in other processes, such as ``"4 × ProcessPoolExecutor"``; None if nothing does.
    """

    origin: Origin = "api"
    conversation: str | None = None
    cell_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    experiment: str | None = None
    arm: str | None = None
    variant: str | None = None
    prompt_id: str | None = None
    repeat: int | None = None
    warmup: bool | None = None
    concurrency: int | None = None
    executor: str | None = None


@dataclass(frozen=True, slots=True)
class CallOptions:
    """Options that can be set at several levels. None, or a missing parameter, means "not set at this level".

    The levels are, highest first: the call, the defaults of a route (the outermost first), the defaults of the
    service, the notebook (``%config``), the settings.

    Examples
    --------
    >>> call, service = CallOptions({"temperature": 0}), CallOptions({"temperature": 1, "seed": 7}, max_retries=0)
    >>> call.with_defaults(service)
    CallOptions(params={'temperature': 0, 'seed': 7}, timeout=None, max_retries=0, cache=None, headers=Headers())
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    timeout: Timeout | None = None
    max_retries: int | None = None
    cache: bool | None = None
    headers: Headers = NO_HEADERS

    def with_defaults(self, lower: CallOptions) -> CallOptions:
        """Return these options, with unset ones taken from ``lower``."""
        if lower is NO_OPTIONS:
            return self
        return CallOptions(
            {**lower.params, **self.params},
            lower.timeout if self.timeout is None else self.timeout,
            lower.max_retries if self.max_retries is None else self.max_retries,
            lower.cache if self.cache is None else self.cache,
            self.headers.with_defaults(lower.headers),
        )


NO_OPTIONS: Final = CallOptions()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """Everything that one call asks.

    Attributes
    ----------
    model : str
        Full name, ``service/model``.
    messages : tuple of Message
        The conversation as the model sees it, the new prompt last.
    params : mapping
        Parameters of the model, named as in the chat-completions protocol: ``temperature``, ``max_tokens``, …
    timeout : TimeLimits
        Time limits.
    max_retries : int
        Further attempts after the first.
    retry_after_text : bool or None
        Whether to retry even after a part of the answer has arrived, which a stream then yields twice. None: where
        nobody has seen that part, because the call has no reader of its events.
    cache : bool or None
        Whether the response cache may answer; None: the settings decide.
    headers : Headers
        HTTP headers that the call and routes add to those of the service.
    max_cost_usd : float or None
        Refuse before sending if all exchanges of the turn together may cost more.
    tools : mapping
        Functions the model may call, by name.
    tool_rounds : int
        How many rounds of tool calls are allowed.
    schema : Schema or None
        Schema that the answer must fit.
    repairs : int
        How often to ask again when the answer does not fit.
    provenance : Provenance
        Who made the call, for the ledger.
    given : CallOptions
        The options that the call set. ``params``, ``timeout``, ``max_retries``, ``cache`` and ``headers`` are resolved
        from these, ``route_options``, the service, ``notebook_options`` and the settings.
    route_options : CallOptions
        The options that routes on the way set where the call does not.
    notebook_options : CallOptions
        The options that hold where neither the call, nor a route, nor the service sets them.
    not_applied : tuple of str
        Parameters of ``route_options`` and ``notebook_options`` that the model does not take, and that were left out.
    """

    model: str
    messages: tuple[Message, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    timeout: TimeLimits = field(default_factory=TimeLimits)
    max_retries: int = 2
    retry_after_text: bool | None = None
    cache: bool | None = None
    headers: Headers = NO_HEADERS
    max_cost_usd: float | None = None
    tools: Mapping[str, Tool] = field(default_factory=dict)
    tool_rounds: int = 8
    schema: Schema | None = None
    repairs: int = 1
    provenance: Provenance = field(default_factory=Provenance)
    given: CallOptions = NO_OPTIONS
    route_options: CallOptions = NO_OPTIONS
    notebook_options: CallOptions = NO_OPTIONS
    not_applied: tuple[str, ...] = ()

    def with_params(self, **params: Any) -> Self:
        """Return this request with further parameters, as if the call had given them."""
        given = replace(self.given, params={**self.given.params, **params})
        return replace(self, params={**self.params, **params}, given=given)

    @property
    def prompt(self) -> str:
        """Text of the last user message, stored as the prompt in the ledger."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return text_of(message)
        return ""
