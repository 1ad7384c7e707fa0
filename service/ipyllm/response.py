"""The response of a call: text, usage, timing, cost and status. Immutable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from ipyllm.text.format import shorten
from ipyllm.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from ipyllm.logprobs import TokenLogprob


__all__ = [
    "NOT_BILLED",
    "NOT_SENT",
    "REFUSED",
    "Category",
    "ChatResponse",
    "Status",
    "ToolCall",
    "ToolResult",
    "Usage",
    "is_standard_tier",
    "name_failure",
]

Category = Literal[
    "rate_limit",
    "quota",
    "authentication",
    "bad_request",
    "not_found",
    "context_length",
    "content_filter",
    "refusal",
    "api_error",
    "schema_mismatch",
    "connection",
    "timeout",
    "truncated",
    "cancelled",
    "max_retries_exceeded",
    "unknown_error",
]
"""Kinds of failure of a call."""


_HTTP_STATUS = re.compile(r"\((HTTP \d{3})[,)]")  # in our sentence on a server's error


def name_failure(category: str, cause: str | None = None, *, message: str | None = "", attempts: int = 1) -> str:
    """Return a failure in a few words: why the last attempt failed, and how many attempts there were.

    Parameters
    ----------
    category, cause : str
        As of an :class:`~ipyllm.errors.LLMError`.
    message : str
        Its sentence; of an ``api_error`` the status that it quotes says more.

    Examples
    --------
    >>> name_failure("max_retries_exceeded", "rate_limit", attempts=3)
    'rate limit, 3 attempts'
    >>> name_failure("api_error", message="openai/m failed (HTTP 500); try again.")
    'HTTP 500'
    >>> name_failure("quota", "rate_limit")
    'quota: rate limit'
    """
    names = list(filter(None, [category, cause]))
    if cause and category == "max_retries_exceeded":
        names = [cause]
    status = _HTTP_STATUS.search(message or "") if names == ["api_error"] else None
    what = status[1] if status else ": ".join(name.replace("_", " ") for name in names)
    return f"{what}, {attempts} attempts" if attempts > 1 else what


Status = Literal["ok", "truncated", "cancelled", "error", "running", "interrupted"]

_REPR_CHARS = 60

_STANDARD_TIERS = frozenset({"auto", "default", "standard", "on_demand"})
"""Service tiers without a price of their own, as OpenAI and Groq call them."""


def is_standard_tier(service_tier: str | None) -> bool:
    """Return whether a service tier has the usual price of a model; so has a call for which none is named."""
    return service_tier is None or service_tier in _STANDARD_TIERS


NOT_SENT: Final = "not sent"
"""The ``price_source`` of a call that ended before anything was sent, which cost nothing."""

REFUSED: Final = "refused"
"""The ``price_source`` of a call that the server answered by an error, which cost nothing."""

NOT_BILLED: Final = frozenset({NOT_SENT, REFUSED})
"""The sources of calls without tokens and cost."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. Cached tokens and those written to the cache are part of the input, reasoning of the output.

    ``visible_tokens`` is the output without reasoning; None where the server does not count reasoning apart.

    Counts are the server's; None where it did not count, or sent something that is not a count. There the estimates
    have what ipyllm reads off the text, which is never added to counts and has no price. ``source`` is ``"server"``
    if there is any count, ``"estimated"`` if there are only estimates, None if nothing is known. ``service_tier`` is
    the tier that the server names in its response, by which it bills. ``broken_output_tokens_estimated`` estimates the
    output of attempts that broke off and were made again, which is part of no other figure.

    Examples
    --------
    >>> usage = Usage(output_tokens_estimated=120, source="estimated")
    >>> usage.output_tokens is None, usage.is_consistent
    (True, False)
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    visible_tokens: int | None = None
    source: Literal["server", "estimated"] | None = None
    input_tokens_estimated: int | None = None
    output_tokens_estimated: int | None = None
    cache_write_tokens: int | None = None
    service_tier: str | None = None
    broken_output_tokens_estimated: int | None = None

    @property
    def total_tokens(self) -> int | None:
        """Tokens of input and output together, if the server counted both."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens

    @property
    def is_consistent(self) -> bool:
        """Whether the server counted, and its counts add up. No price is right for other counts."""
        if self.source != "server" or self.input_tokens is None or self.output_tokens is None:
            return False
        cached, written = self.cached_tokens or 0, self.cache_write_tokens or 0
        return (
            min(cached, written) >= 0
            and cached + written <= self.input_tokens
            and 0 <= (self.reasoning_tokens or 0) <= self.output_tokens
        )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function call that the model asked for. ``arguments`` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of one tool call.

    ``call_id``, ``name`` and ``arguments`` are as the model wrote them. ``output`` is the text that it received: the
    result, or the ``error``: ``ErrorType: message``, or the problem with the arguments. ``seconds`` includes waiting
    for its turn.
    """

    call_id: str
    name: str
    arguments: str
    output: str
    error: str | None
    seconds: float

    def as_message(self) -> dict[str, Any]:
        """Return the message with this result for the model."""
        return {"role": "tool", "tool_call_id": self.call_id, "content": self.output}


class Fields(dict[str, Any]):
    """Plain values by name, which can be read as attributes too, as those of a response can."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"There is no {name!r}; there is {', '.join(self)}.") from None


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON's values."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return list(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return Fields({str(name): _plain(item) for name, item in value.items()})
    if is_dataclass(value):
        return Fields({each.name: _plain(getattr(value, each.name)) for each in fields(value)})
    # Of a schema: models, times, decimals, sets.
    from pydantic_core import to_jsonable_python

    plain = to_jsonable_python(value, serialize_unknown=True)
    return _plain(plain) if isinstance(plain, dict | list) else plain


@dataclass(frozen=True, slots=True, repr=False)
class ChatResponse:
    """The response of a call to a model.

    Attributes can be read as keys too: ``response["content"]`` is ``response.content``. By key, every value is one of
    JSON's: ``response["usage"]`` is a dict, ``response["started_at"]`` a text. ``parsed`` is the value for the
    ``schema``, ``tool_results`` are the results of tools, ``steps`` all exchanges of a turn that took several;
    ``usage``, ``timing`` and ``cost_usd`` are those of the last. ``not_applied`` names the defaults of a notebook or
    route that the model does not take. ``cause`` is why the last attempt failed, where ``error_category`` does not say
    it: of ``max_retries_exceeded``. ``logprobs`` are the tokens of the text with their probabilities, if the call asked
    for them. ``refused`` says that the model declined to answer; ``content`` is then how it said
    so. ``output_items`` are what a model on the Responses API wants back in later turns: see :meth:`as_message`.

    Examples
    --------
    >>> import json
    >>> response = ChatResponse(content="Hello!", model="local/smollm2-135m")
    >>> response["content"]
    'Hello!'
    >>> str(response)
    'Hello!'
    >>> response
    ChatResponse('Hello!', model='local/smollm2-135m', status='ok')
    >>> json.loads(json.dumps(dict(response)))["usage"]["input_tokens"] is None
    True
    """

    renderer: ClassVar[Callable[[ChatResponse], Mapping[str, str]] | None] = None
    """Returns a response as a notebook shows it, by MIME type. The pipeline, which makes responses, sets it."""

    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    status: Status = "ok"
    finish_reason: str | None = None
    refused: bool = False
    model: str = ""
    response_model: str | None = None
    endpoint: str = ""
    usage: Usage = field(default_factory=Usage)
    timing: Timing = field(default_factory=Timing)
    cost_usd: float | None = None
    price_source: str | None = None
    cold: bool = False
    cache_hit: bool = False
    call_id: str = ""
    started_at: datetime | None = None
    error_category: Category | None = None
    error_message: str | None = None
    cause: Category | None = None
    parsed: Any = None
    tool_results: tuple[ToolResult, ...] = ()
    steps: tuple[ChatResponse, ...] = ()
    not_applied: tuple[str, ...] = ()
    output_items: tuple[dict[str, Any], ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()

    def __getitem__(self, key: str) -> Any:
        if key in self.keys():
            return _plain(getattr(self, key))
        raise KeyError(f"A ChatResponse has no {key!r}; it has {', '.join(self.keys())}.")

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __str__(self) -> str:
        return self.content

    def __repr__(self) -> str:
        return f"ChatResponse({shorten(self.content, _REPR_CHARS)!r}, model={self.model!r}, status={self.status!r})"

    def _repr_html_(self) -> str | None:
        return self._shown_as("text/html")

    def _repr_markdown_(self) -> str | None:
        return self._shown_as("text/markdown")

    def _shown_as(self, mime_type: str) -> str | None:
        render = type(self).renderer
        return None if render is None else render(self).get(mime_type)

    def keys(self) -> tuple[str, ...]:
        """Names that can be read as keys, so that ``dict(response)`` works, and ``json.dumps`` of it."""
        return tuple(f.name for f in fields(self))

    def get(self, key: str, default: Any = None) -> Any:
        """Like :meth:`dict.get`."""
        return self[key] if key in self.keys() else default

    def as_message(self) -> dict[str, Any]:
        """Return the answer as a message for the next turns of a conversation.

        It holds the text, and with it the ``output_items`` (encrypted reasoning among them) that its model gets back
        unchanged; other models get the text. On the Responses API they are those of the whole turn: the calls of
        functions, their results, and the reasoning before and after them.

        Examples
        --------
        >>> ChatResponse(content="Hello!", model="local/smollm2-135m").as_message()
        {'role': 'assistant', 'content': 'Hello!'}
        """
        message: dict[str, Any] = {"role": "assistant", "content": self.content}
        if items := self._items_to_send_back():
            message["output_items"] = {"model": self.model, "items": items}
        return message

    def _items_to_send_back(self) -> list[dict[str, Any]]:
        """Return the output items of all exchanges of a turn, with the results of tools in their places."""
        items: list[dict[str, Any]] = []
        results = iter(self.tool_results)
        called = [step for step in self.steps if step.tool_calls]
        if self.output_items and self.output_items[0].get("type") != "chat_fields":
            for step in called:
                answered = list(islice(results, len(step.tool_calls)))
                is_whole = step.output_items and [r.call_id for r in answered] == [c.id for c in step.tool_calls]
                if step.model != self.model or not is_whole:
                    return []  # reasoning without what led to it would be refused
                items += step.output_items
                items += [
                    {"type": "function_call_output", "call_id": result.call_id, "output": result.output}
                    for result in answered
                ]
        return [*items, *self.output_items]
