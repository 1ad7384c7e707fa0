"""OpenTelemetry for calls: one span and a few measurements when a call has ended.

If the process has no OpenTelemetry, or no configured provider, this module imports nothing and does nothing.
Prompts and answers are exported only if ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` says so. Names are those
of the GenAI semantic conventions, which are still in development; they are only in the tables of this module.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ipyllm.messages import text_of
from ipyllm.text.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.metrics import Histogram, MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from ipyllm.messages import Message
    from ipyllm.request import ChatRequest
    from ipyllm.response import Category, ChatResponse

    Reader = Callable[[ChatRequest, ChatResponse], Any]

__all__ = ["Attempt", "capture", "record"]

_logger = logging.getLogger("ipyllm.telemetry")

_SCOPE: Final = "ipyllm"
_CONTENT_VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CONTENT_ON_SPANS: Final = {"true", "span_only", "span_and_event"}
_PROVIDER_VARIABLES: Final = ("OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP request of a call: ``perf_counter_ns`` when it was sent, and when its response ended or it failed.

    A failed one has its error's category, and the HTTP status if the server refused it.
    """

    sent_ns: int
    ended_ns: int
    error_category: Category | None = None
    status_code: int | None = None


def _param(name: str) -> Reader:
    return lambda request, _: request.params.get(name)


def _token_count(name: str) -> Reader:
    """Return a reader of a token count by the server, which gives None for an estimate or a cache hit."""
    return lambda _, response: (
        getattr(response.usage, name) if response.usage.source == "server" and not response.cache_hit else None
    )


# Attributes with few different values, which measurements have too.
_IDENTITY: Final[Mapping[str, Reader]] = {
    "gen_ai.operation.name": lambda *_: "chat",
    "gen_ai.provider.name": lambda request, _: request.model.partition("/")[0],
    "gen_ai.request.model": lambda request, _: _model(request),
    "gen_ai.response.model": lambda _, response: response.response_model,
    "server.address": lambda _, response: _server(response).hostname,
    "server.port": lambda _, response: _server(response).port,
    "error.type": lambda _, response: response.error_category,
}

_ATTRIBUTES: Final[Mapping[str, Reader]] = {
    **_IDENTITY,
    "gen_ai.conversation.id": lambda request, _: request.provenance.conversation,
    "gen_ai.output.type": lambda request, _: _output_type(request),
    "gen_ai.request.stream": lambda *_: True,
    "gen_ai.request.temperature": _param("temperature"),
    "gen_ai.request.top_p": _param("top_p"),
    "gen_ai.request.top_k": _param("top_k"),
    "gen_ai.request.max_tokens": lambda request, _: (
        request.params.get("max_completion_tokens") or request.params.get("max_tokens")
    ),
    "gen_ai.request.frequency_penalty": _param("frequency_penalty"),
    "gen_ai.request.presence_penalty": _param("presence_penalty"),
    "gen_ai.request.seed": _param("seed"),
    "gen_ai.request.stop_sequences": lambda request, _: _stop_sequences(request),
    "gen_ai.response.finish_reasons": lambda _, response: response.finish_reason and [response.finish_reason],
    # Until the first chunk with a token; a chunk with only a role does not count.
    "gen_ai.response.time_to_first_chunk": lambda _, response: _first_chunk_s(response),
    "gen_ai.usage.input_tokens": _token_count("input_tokens"),
    "gen_ai.usage.output_tokens": _token_count("output_tokens"),
    "gen_ai.usage.cache_read.input_tokens": _token_count("cached_tokens"),
    "gen_ai.usage.reasoning.output_tokens": _token_count("reasoning_tokens"),
    # Our own names, where the conventions have none. The first is the key in the ledger.
    "ipyllm.call_id": lambda _, response: response.call_id or None,
    "ipyllm.origin": lambda request, _: request.provenance.origin,
    "ipyllm.cost_usd": lambda _, response: response.cost_usd,
    "ipyllm.cold": lambda _, response: response.cold or None,
    "ipyllm.cache_hit": lambda _, response: response.cache_hit or None,
}

_CONTENT_ATTRIBUTES: Final[Mapping[str, Reader]] = {
    "gen_ai.input.messages": lambda request, _: _json([_input_message(message) for message in request.messages]),
    "gen_ai.output.messages": lambda _, response: _json([_output_message(response)]),
    "gen_ai.tool.definitions": lambda request, _: (
        _json([_definition(tool) for tool in request.params["tools"]]) if request.params.get("tools") else None
    ),
}

_SECONDS: Final = tuple(0.01 * 2**n for n in range(14))
_TOKENS: Final = tuple(4**n for n in range(14))


def capture() -> Context | None:
    """Return the caller's context, the parent of the call's span. Call it in the caller's thread."""
    # A provider is configured by code, which imports it, or by the environment.
    if not (_otel_imported() or any(name in os.environ for name in _PROVIDER_VARIABLES)):
        return None
    from opentelemetry import context

    return context.get_current()


def record(
    request: ChatRequest,
    response: ChatResponse,
    context: Context | None,
    *,
    started_ns: int,
    ended_ns: int,
    attempts: Iterable[Attempt] = (),
) -> None:
    """Report a finished call to the configured providers. Never raises.

    ``context`` is from :func:`capture`, times are ``perf_counter_ns``, and ``attempts`` become events of the span.
    """
    if context is None and not _otel_imported():
        return
    try:
        _record(request, response, context, started_ns, ended_ns, attempts)
    except BaseException as exc:  # noqa: BLE001 - whatever a provider raises, even an exit, must not fail the call
        _warn_once(type(exc).__name__, _message(exc))


def _message(exc: BaseException) -> str:
    try:
        return redact(str(exc))
    except BaseException:  # noqa: BLE001 - the class may be the user's
        return ""


@lru_cache(maxsize=8)
def _warn_once(kind: str, why: str) -> None:
    """Log a warning, each only once."""
    _logger.warning("A call could not be recorded in OpenTelemetry: %s: %s", kind, why)


def _otel_imported() -> bool:
    return "opentelemetry.trace" in sys.modules or "opentelemetry.metrics" in sys.modules


def _record(
    request: ChatRequest,
    response: ChatResponse,
    context: Context | None,
    started_ns: int,
    ended_ns: int,
    attempts: Iterable[Attempt],
) -> None:
    from opentelemetry.trace import set_span_in_context

    tracer, instruments = _providers()
    if tracer is not None:
        wall_ns = time.time_ns() - time.perf_counter_ns()  # offset from perf_counter to Unix time
        span = _span(tracer, request, response, context, started_ns + wall_ns)
        for number, attempt in enumerate(attempts, 1):
            span.add_event("ipyllm.attempt", _attempt_attributes(number, attempt), attempt.sent_ns + wall_ns)
        span.end(ended_ns + wall_ns)
        context = set_span_in_context(span, context)  # measurements can refer to it as an exemplar
    # A hit in our cache is not an operation of a model: it would distort latencies and count tokens twice.
    if instruments is not None and not response.cache_hit:
        _measure(instruments, request, response, context, (ended_ns - started_ns) / 1e9)


def _providers() -> tuple[Tracer | None, _Instruments | None]:
    from opentelemetry import metrics, trace

    traces, meters = trace.get_tracer_provider(), metrics.get_meter_provider()
    # The providers of the API package itself do nothing.
    return (
        None if type(traces).__module__.startswith("opentelemetry.trace") else _tracer(traces),
        None if type(meters).__module__.startswith("opentelemetry.metrics") else _instruments(meters),
    )


@lru_cache(maxsize=4)
def _tracer(provider: TracerProvider) -> Tracer:
    from ipyllm._version import __version__

    return provider.get_tracer(_SCOPE, __version__)


@dataclass(frozen=True, slots=True)
class _Instruments:
    duration: Histogram
    first_chunk: Histogram
    tokens: Histogram


@lru_cache(maxsize=4)
def _instruments(provider: MeterProvider) -> _Instruments:
    from ipyllm._version import __version__

    meter = provider.get_meter(_SCOPE, __version__)

    def histogram(name: str, unit: str, description: str, bounds: Sequence[float]) -> Histogram:
        return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds)

    return _Instruments(
        duration=histogram("gen_ai.client.operation.duration", "s", "GenAI operation duration.", _SECONDS),
        first_chunk=histogram(
            "gen_ai.client.operation.time_to_first_chunk", "s", "Time to receive the first chunk.", _SECONDS
        ),
        tokens=histogram("gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.", _TOKENS),
    )


def _span(tracer: Tracer, request: ChatRequest, response: ChatResponse, context: Context | None, start_ns: int) -> Span:
    from opentelemetry.trace import SpanKind, Status, StatusCode

    attributes = _read_attributes(_ATTRIBUTES, request, response)
    name = f"chat {attributes['gen_ai.request.model']}"
    span = tracer.start_span(name, context, SpanKind.CLIENT, attributes, start_time=start_ns)
    if os.environ.get(_CONTENT_VARIABLE, "").lower() in _CONTENT_ON_SPANS and span.is_recording():
        span.set_attributes(_read_attributes(_CONTENT_ATTRIBUTES, request, response))
    if response.error_category is not None:
        span.set_status(Status(StatusCode.ERROR, redact(response.error_message or "")))
    return span


def _measure(
    instruments: _Instruments, request: ChatRequest, response: ChatResponse, context: Context | None, duration_s: float
) -> None:
    attributes = _read_attributes(_IDENTITY, request, response)
    instruments.duration.record(duration_s, attributes, context)
    attributes.pop("error.type", None)
    first_chunk_s = _first_chunk_s(response)
    if first_chunk_s is not None:
        instruments.first_chunk.record(first_chunk_s, attributes, context)
    if response.usage.source == "server":
        for kind, count in (("input", response.usage.input_tokens), ("output", response.usage.output_tokens)):
            if count is not None:
                instruments.tokens.record(count, {**attributes, "gen_ai.token.type": kind}, context)


def _first_chunk_s(response: ChatResponse) -> float | None:
    """Return the time to the first token; None for an answer that the server did not stream."""
    return response.timing.ttft_s if response.timing.streamed else None


def _attempt_attributes(number: int, attempt: Attempt) -> dict[str, Any]:
    attributes = {
        "ipyllm.attempt.number": number,
        "ipyllm.attempt.duration": (attempt.ended_ns - attempt.sent_ns) / 1e9,
        "error.type": attempt.error_category,
        "http.response.status_code": attempt.status_code,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _read_attributes(table: Mapping[str, Reader], request: ChatRequest, response: ChatResponse) -> dict[str, Any]:
    """Return the attributes of a table, without unknown values."""
    values = ((name, reader(request, response)) for name, reader in table.items())
    return {name: redact(value) if isinstance(value, str) else value for name, value in values if value is not None}


def _model(request: ChatRequest) -> str:
    service, _, model = request.model.partition("/")
    # A local path is private.
    return model.replace("\\", "/").rpartition("/")[2] if service == "local" else model


def _server(response: ChatResponse) -> Any:
    return urlsplit(f"//{response.endpoint}")


def _output_type(request: ChatRequest) -> str | None:
    wanted = request.params.get("response_format")
    if not isinstance(wanted, dict):
        return None
    return "json" if str(wanted.get("type", "")).startswith("json") else "text"


def _stop_sequences(request: ChatRequest) -> list[str] | None:
    stop = request.params.get("stop")
    return [stop] if isinstance(stop, str) else stop


# ---- content, in the shapes of gen-ai-input-messages.json and gen-ai-output-messages.json ---------------


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _input_message(message: Message) -> dict[str, Any]:
    if message.get("role") == "tool":
        answer = {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": text_of(message)}
        return {"role": "tool", "parts": [answer]}
    content = message.get("content")
    parts = [_part(part) for part in content] if isinstance(content, list) else _text(content)
    calls = message.get("tool_calls") or ()
    functions = [(call.get("id"), call.get("function") or {}) for call in calls if isinstance(call, dict)]
    tool_calls = [_tool_call(id_, called.get("name"), called.get("arguments")) for id_, called in functions]
    return {"role": message.get("role"), "parts": parts + tool_calls}


def _output_message(response: ChatResponse) -> dict[str, Any]:
    reasoning = [{"type": "reasoning", "content": response.reasoning}] if response.reasoning else []
    tool_calls = [_tool_call(call.id, call.name, call.arguments) for call in response.tool_calls]
    reason = response.finish_reason or "error"
    return {"role": "assistant", "parts": reasoning + _text(response.content) + tool_calls, "finish_reason": reason}


def _text(content: object) -> list[dict[str, Any]]:
    return [{"type": "text", "content": content}] if content else []


def _tool_call(id_: str | None, name: str | None, arguments: str | None) -> dict[str, Any]:
    parsed: Any = arguments
    with suppress(TypeError, ValueError):
        parsed = json.loads(arguments or "null")
    return {"type": "tool_call", "id": id_, "name": name, "arguments": parsed}


def _definition(tool: Any) -> dict[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) else None
    named = {"name": function.get("name")} if isinstance(function, dict) else {}
    return {"type": tool.get("type") if isinstance(tool, dict) else str(tool), **named}


def _part(part: Any) -> dict[str, Any]:
    """Return a text part in full, and any other part by its type only, because base64 images are too large."""
    if isinstance(part, dict) and part.get("type") == "text":
        return {"type": "text", "content": part.get("text")}
    return {"type": str(part.get("type")) if isinstance(part, dict) else type(part).__name__}
