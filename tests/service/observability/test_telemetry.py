"""OpenTelemetry spans and metrics, as real exporters receive them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ipyllm.observability.telemetry import Attempt, capture, record
from ipyllm.request import ChatRequest, Provenance
from ipyllm.response import ChatResponse, ToolCall, Usage
from ipyllm.text.redact import remember_secret
from ipyllm.timing import Timing

pytest.importorskip("opentelemetry.sdk")

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

REQUEST = ChatRequest(
    model="openai/gpt-6-luna",
    messages=(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}, {"type": "image_url", "image_url": {}}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"at": "Paris"}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "rainy"},
    ),
    params={
        "temperature": 0.5,
        "max_tokens": 7,
        "seed": 1,
        "stop": "END",
        "response_format": {"type": "json_schema"},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    },
    provenance=Provenance(origin="magic", conversation="default"),
)
RESPONSE = ChatResponse(
    content="Rain.",
    reasoning="Look.",
    tool_calls=(ToolCall("c2", "g", "{broken"),),
    finish_reason="stop",
    model="openai/gpt-6-luna",
    response_model="gpt-6-luna-2025-08-07",
    endpoint="127.0.0.1:8000",
    usage=Usage(100, 20, 64, 5, source="server"),
    timing=Timing(ttft_s=0.25, streamed=True, total_s=1.0, attempts=1),
    cost_usd=0.001,
    call_id="01CALL",
    started_at=datetime(2026, 11, 2, tzinfo=UTC),
)


class Seen:
    """What was exported since the last look."""

    def __init__(self, spans, reader):
        self._spans, self._reader = spans, reader

    def span(self):
        (span,) = self._spans.get_finished_spans()
        return span

    def spans(self):
        return self._spans.get_finished_spans()

    def metrics(self):
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}


@pytest.fixture
def seen(monkeypatch):
    """Providers of the SDK, as an application configures them: for this test only."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    # The API sets them once and for all; other tests are to find the process as it was.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", tracers)
    monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", meters)
    yield Seen(spans, reader)
    tracers.shutdown()
    meters.shutdown()


def tell(request=REQUEST, response=RESPONSE, *, context=None, attempts=(), took_s=1.0):
    ended_ns = time.perf_counter_ns()
    record(request, response, context, started_ns=ended_ns - int(took_s * 1e9), ended_ns=ended_ns, attempts=attempts)


def test_a_call_is_a_client_span_with_the_names_of_the_conventions(seen):
    tell()
    span = seen.span()
    assert (span.name, span.kind.name, span.status.status_code.name) == ("chat gpt-6-luna", "CLIENT", "UNSET")
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-6-luna",
        "gen_ai.response.model": "gpt-6-luna-2025-08-07",
        "server.address": "127.0.0.1",
        "server.port": 8000,
        "gen_ai.conversation.id": "default",
        "gen_ai.output.type": "json",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 7,
        "gen_ai.request.seed": 1,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 64,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "ipyllm.call_id": "01CALL",
        "ipyllm.origin": "magic",
        "ipyllm.cost_usd": 0.001,
    }


def test_our_names_are_those_that_opentelemetry_publishes(seen):
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as published

    known = {value for name, value in vars(published).items() if name.startswith("GEN_AI_") and isinstance(value, str)}
    tell()
    assert {name for name in seen.span().attributes if name.startswith("gen_ai.")} <= known


def test_the_span_has_the_times_of_the_call(seen):
    tell(took_s=2.5)
    span, now = seen.span(), time.time_ns()
    assert span.end_time - span.start_time == 2_500_000_000
    assert abs(now - span.end_time) < 1_000_000_000


def test_the_span_is_a_child_of_what_the_caller_was_in(seen):
    from opentelemetry import trace

    with trace.get_tracer("test").start_as_current_span("cell") as cell:
        context = capture()
    tell(context=context)
    child = next(span for span in seen.spans() if span.name.startswith("chat"))
    assert child.parent.span_id == cell.get_span_context().span_id
    assert child.context.trace_id == cell.get_span_context().trace_id


def test_a_failed_call_has_the_type_of_its_error_and_its_attempts(seen):
    now = time.perf_counter_ns()
    attempts = [
        Attempt(now - 900_000_000, now - 800_000_000, "rate_limit", 429),
        Attempt(now - 300_000_000, now, "timeout"),
    ]
    failed = replace(
        RESPONSE,
        status="error",
        error_category="timeout",
        error_message="openai/gpt-6-luna fell silent (sk-abcdefghijklmnop).",
        usage=Usage(),
        finish_reason=None,
    )
    tell(response=failed, attempts=attempts)
    span = seen.span()
    assert (span.status.status_code.name, span.attributes["error.type"]) == ("ERROR", "timeout")
    assert span.status.description == "openai/gpt-6-luna fell silent ([key hidden])."
    assert [dict(event.attributes) for event in span.events] == [
        {
            "ipyllm.attempt.number": 1,
            "ipyllm.attempt.duration": 0.1,
            "error.type": "rate_limit",
            "http.response.status_code": 429,
        },
        {"ipyllm.attempt.number": 2, "ipyllm.attempt.duration": 0.3, "error.type": "timeout"},
    ]
    assert span.start_time < span.events[0].timestamp < span.events[1].timestamp < span.end_time
    (point,) = seen.metrics()["gen_ai.client.operation.duration"].data.data_points
    assert point.attributes["error.type"] == "timeout"


def test_measurements_have_the_names_units_and_buckets_of_the_conventions(seen):
    tell(took_s=2.0)
    metrics = seen.metrics()
    assert {name: metric.unit for name, metric in metrics.items()} == {
        "gen_ai.client.operation.duration": "s",
        "gen_ai.client.operation.time_to_first_chunk": "s",
        "gen_ai.client.token.usage": "{token}",
    }
    about = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-6-luna",
        "gen_ai.response.model": "gpt-6-luna-2025-08-07",
        "server.address": "127.0.0.1",
        "server.port": 8000,
    }
    (duration,) = metrics["gen_ai.client.operation.duration"].data.data_points
    assert (duration.sum, dict(duration.attributes)) == (2.0, about)
    assert duration.explicit_bounds == tuple(0.01 * 2**n for n in range(14))  # to 81.92
    (first,) = metrics["gen_ai.client.operation.time_to_first_chunk"].data.data_points
    assert first.sum == 0.25
    points = metrics["gen_ai.client.token.usage"].data.data_points
    assert {point.attributes["gen_ai.token.type"]: point.sum for point in points} == {"input": 100, "output": 20}
    assert points[0].explicit_bounds == tuple(4**n for n in range(14))
    assert {exemplar.span_id for exemplar in duration.exemplars} == {seen.span().context.span_id}


def test_an_estimate_is_not_told_as_a_count(seen):
    tell(response=replace(RESPONSE, usage=Usage(100, 20, source="estimated")))
    assert not [name for name in seen.span().attributes if name.startswith("gen_ai.usage")]
    assert "gen_ai.client.token.usage" not in seen.metrics()


def test_an_answer_that_was_not_streamed_has_no_first_chunk(seen):
    tell(response=replace(RESPONSE, timing=replace(RESPONSE.timing, streamed=False)))
    assert "gen_ai.response.time_to_first_chunk" not in seen.span().attributes
    assert "gen_ai.client.operation.time_to_first_chunk" not in seen.metrics()


def test_a_hit_in_our_cache_is_marked_and_measured_as_nothing(seen):
    tell(response=replace(RESPONSE, cache_hit=True, timing=Timing()))
    attributes = seen.span().attributes
    assert attributes["ipyllm.cache_hit"] is True
    assert not [name for name in attributes if name.startswith("gen_ai.usage")]
    assert seen.metrics() == {}


@pytest.mark.parametrize("asked", [None, "false", "NO_CONTENT", "EVENT_ONLY"])
def test_no_prompt_and_no_answer_goes_out_unasked(seen, monkeypatch, asked):
    if asked:
        monkeypatch.setenv(CONTENT, asked)
    tell()
    assert not any(word in str(dict(seen.span().attributes)) for word in ("Rain", "Weather", "brief", "Look"))


@pytest.mark.parametrize("asked", ["true", "SPAN_ONLY", "span_and_event"])
def test_prompt_and_answer_go_out_where_asked_in_the_shape_of_the_conventions(seen, monkeypatch, asked):
    remember_secret("hunter2-r9Xq2LmT7v")
    monkeypatch.setenv(CONTENT, asked)
    tell(response=replace(RESPONSE, content="Rain. hunter2-r9Xq2LmT7v"))
    attributes = seen.span().attributes
    assert json.loads(attributes["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Weather?"}, {"type": "image_url"}]},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "c1", "name": "f", "arguments": {"at": "Paris"}}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "rainy"}]},
    ]
    assert json.loads(attributes["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "Look."},
                {"type": "text", "content": "Rain. [key hidden]"},
                {"type": "tool_call", "id": "c2", "name": "g", "arguments": "{broken"},
            ],
            "finish_reason": "stop",
        }
    ]
    assert json.loads(attributes["gen_ai.tool.definitions"]) == [{"type": "function", "name": "f"}]


def test_a_local_path_is_not_told(seen):
    tell(replace(REQUEST, model="local//home/me/secret-project/model.gguf"))
    assert seen.span().name == "chat model.gguf"
    assert "secret-project" not in str(dict(seen.span().attributes))


def test_a_provider_that_fails_does_not_fail_the_call(monkeypatch, caplog):
    from opentelemetry import trace

    class Broken(trace.TracerProvider):
        def get_tracer(self, *args, **kwargs):
            raise OSError("no collector, sk-abcdefghijklmnop")

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", Broken())
    tell()
    tell()
    assert [record.name for record in caplog.records] == ["ipyllm.telemetry"]
    assert "sk-abc" not in caplog.text


_COST = """
    import sys, timeit
    {before}
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse
    from ipyllm.observability.telemetry import capture, record
    request, response = ChatRequest("openai/m", ()), ChatResponse()
    def both():
        record(request, response, capture(), started_ns=1, ended_ns=2)
    both()
    imported = [name for name in sys.modules if name.startswith("opentelemetry")]
    print(min(timeit.repeat(both, number=2000, repeat=5)) / 2000 * 1e6, {assertion})
"""


@pytest.mark.parametrize(
    ("before", "assertion"),
    [("", "not imported"), ("from opentelemetry import trace, metrics", "'opentelemetry.sdk' not in imported")],
    ids=["not imported", "no provider"],
)
def test_without_a_provider_it_imports_nothing_and_costs_microseconds(before, assertion):
    script = textwrap.dedent(_COST).format(before=before, assertion=assertion)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=clean).stdout
    micros, ok = out.split()
    print(f"{micros} µs a call")
    assert ok == "True"
    assert float(micros) < 25  # 5 on a quiet machine


def test_a_provider_named_by_the_environment_is_found():
    script = """
        from ipyllm.request import ChatRequest
        from ipyllm.response import ChatResponse
        from ipyllm.observability.telemetry import capture, record
        record(ChatRequest("openai/m", ()), ChatResponse(), capture(), started_ns=1, ended_ns=2)
        from opentelemetry import trace
        print(type(trace.get_tracer_provider()).__module__)
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider"},
    ).stdout
    assert out.startswith("opentelemetry.sdk")
