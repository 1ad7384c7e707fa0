"""A server that refuses ``stream_options`` is asked without them from then on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipyllm import LLMError, OllamaService
from ipyllm.transport.wire_times import WireTimes
from tests.fakes import error, status
from tests.stalls import again_if_stalled

REFUSALS = {
    "OpenAI's form": error(400, "Unknown parameter: 'stream_options'."),
    "Mistral's form": status(
        422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs"}]}
    ),
    "Google's form": status(400, [{"error": {"code": 400, "message": 'Unknown name "stream_options"'}}]),
}


@pytest.mark.parametrize("compressed", [False, True], ids=["fast", "client"])
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_stream_options_that_are_refused_are_left_out_from_then_on(fake, refusal, compressed):
    fake.on(lambda request: replace(refusal, gzip=compressed) if "stream_options" in request.json else None)
    service = OllamaService("m", base_url=fake.base_url, max_retries=0)
    first, second = service.chat("Hello"), service.chat("Hello")
    assert [response.content for response in (first, second)] == ["Hello from the fake."] * 2
    assert ["stream_options" in request.json for request in fake.requests] == [True, False, False]
    assert (first.timing.attempts, first.usage.source) == (1, "estimated")
    other = OllamaService("other", base_url=fake.base_url, max_retries=0)
    other.chat("Hello")
    assert ["stream_options" in request.json for request in fake.requests[3:]] == [True, False]


@again_if_stalled(0.05)
def test_the_time_of_a_refusal_of_stream_options_is_not_latency(fake):
    refusal = replace(REFUSALS["OpenAI's form"], ttft=0.3)
    fake.on(lambda request: refusal if "stream_options" in request.json else None)
    timing = OllamaService("m", base_url=fake.base_url, max_retries=0).chat("Hello").timing
    assert timing.ttft_s < 0.25
    assert timing.client_lag_s < 0.25


def test_times_that_begin_again_are_those_of_the_second_request():
    times = WireTimes()
    times.connecting()
    times.connected()
    times.wrote()
    earlier_ns = times.ready_ns
    times.begin_again()
    assert (times.connect_ns, times.sent_ns, times.send_delay_ns) == (None, None, None)
    assert times.ready_ns > earlier_ns


def test_another_refusal_is_not_sent_again(fake):
    fake.default = error(400, "Unknown parameter: 'seed'.")
    with pytest.raises(LLMError):
        OllamaService("m", base_url=fake.base_url, max_retries=0).chat("Hello")
    assert len(fake.requests) == 1
