"""What a call says it waits for, asked from another thread while it waits."""

from __future__ import annotations

import re
import socket
import threading
import time

import pytest

from ipyllm import Comparison, LLMError, OpenAIService
from tests import fakes
from tests.fakes import answer
from tests.service.pipeline.test_resending import BROKEN


@pytest.fixture
def service(fake):
    return OpenAIService("m", base_url=fake.base_url, api_key="no-key", max_retries=2)


@pytest.fixture
def start():
    """Start calls, which are cancelled at the end."""
    calls = []

    def start(service, **options):
        calls.append(service.call(service.request("Hello", **options)))
        return calls[-1]

    yield start
    for call in calls:
        call.cancel()
        assert call.done.wait(60)
        assert call.waiting() is None


def says(fake, call, line):
    """Wait until the call says ``line``, a pattern for all of it, and return what it waits for."""
    fake.wait_for(lambda: (waiting := call.waiting()) and re.fullmatch(line, waiting.line()))
    return call.waiting()


def test_for_the_first_token(service, fake, start):
    fake.default = fakes.never_answers()
    says(fake, start(service), r"waiting for the first token · \d s")


def test_for_a_model_that_is_known_to_think(fake, start):
    fake.default = answer("Hello.", ttft=100)
    luna = OpenAIService("gpt-6-luna", base_url=fake.base_url, api_key="no-key")
    says(fake, start(luna, effort="high"), r"thinking · \d s")
    says(fake, start(luna, effort="none"), r"waiting for the first token · \d s")


def test_for_a_server_that_keeps_the_connection_alive(service, fake, start, monkeypatch):
    monkeypatch.setattr("ipyllm.pipeline.waiting._KEEP_ALIVE_NS", 100_000_000)
    fake.default = fakes.pings(answer("Hello.", ttft=100), ": keep-alive", every=50)
    call = start(service)
    says(fake, call, r"waiting for the first token · \d s")
    time.sleep(0.15)
    fake.send_next()
    says(fake, call, r"the server is at work · \d+ s")


def test_while_reasoning_streams_and_no_longer(service, fake, start):
    fake.reply(answer("Hello there.", reasoning="let me see", gap=1000))
    call = start(service)
    says(fake, call, r"thinking · \d s")
    fake.send_next()
    fake.send_next()
    assert call.waiting() is not None
    fake.send_next()
    fake.wait_for(lambda: call.waiting() is None)


def test_not_once_a_function_call_arrives_or_while_it_runs(service, fake):
    seen = []

    def look() -> str:
        seen.append(call.waiting())
        return "nothing"

    fake.reply(answer("", tool_calls=[("look", {})]), answer("It is gone."))
    call = service.call(service.request("Where is it?", tools=[look]))
    assert call.wait().content == "It is gone."
    assert seen == [None]


def test_for_a_connection(fake, start):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it never answers the handshake of TLS
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/v1"
        call = start(OpenAIService("m", base_url=url, api_key="no-key"))
        says(fake, call, r"connecting · \d s")
        call.cancel()
        assert call.done.wait(60)


def test_for_the_end_of_a_rate_limit(service, fake, start):
    fake.default = fakes.rate_limited(60)
    waiting = says(fake, start(service), r"rate limited, next try in [56]\d s, attempt 2 of 3")
    assert waiting.seconds(waiting.at_ns + 1) == 0, "a countdown ends at 0"
    says(fake, start(OpenAIService("m", base_url=fake.base_url, api_key="no-key")), r"rate limited, next try in \d\d s")


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (BROKEN["reset"], "connection broke"),
        (BROKEN["truncated"], "connection broke"),
        (fakes.unavailable(), "server error 503"),
        (fakes.error_in_stream("one", after=0), "server error 502"),
    ],
    ids=["reset", "truncated", "503", "in the stream"],
)
def test_for_the_next_try(service, fake, start, monkeypatch, fault, why):
    monkeypatch.setattr("ipyllm.pipeline.retry._wait_s", lambda state: 1.0 if state.attempt_number == 1 else 60.0)
    fake.default = fault
    call = start(service)
    says(fake, call, f"{why}, next try in 1 s, attempt 2 of 3")
    says(fake, call, rf"{why}, next try in \d\d s, attempt 3 of 3")


def test_for_a_server_that_is_not_there(fake, start, monkeypatch):
    monkeypatch.setattr("ipyllm.pipeline.retry._wait_s", lambda state: 60.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    call = start(OpenAIService("m", base_url=url, api_key="no-key", max_retries=1))
    says(fake, call, r"the server cannot be reached, next try in \d\d s, attempt 2 of 2")


def test_later_attempts_have_their_own_clock_and_number(service, fake, start, monkeypatch):
    monkeypatch.setattr("ipyllm.pipeline.retry._wait_s", lambda state: 0.0)
    fake.reply(BROKEN["reset"])
    fake.default = fakes.never_answers()
    says(fake, start(service), r"waiting for the first token, attempt 2 of 3 · \d s")


def test_for_other_calls_and_for_the_own_rate_limit(fake, start):
    fake.default = fakes.never_answers()
    alone = OpenAIService("m", base_url=fake.base_url, api_key="no-key", max_in_flight=1)
    start(alone)
    fake.wait_for(lambda: fake.requests)
    says(fake, start(alone), r"queued behind 1 call in flight · \d s")
    slow = OpenAIService("m", base_url=fake.base_url, api_key="no-key", requests_per_minute=2)
    start(slow)
    says(fake, start(slow), r"queued behind the rate limit · \d s")


def test_for_a_model_to_load(fake, start):
    loaded = threading.Event()

    class Slow(OpenAIService):
        async def prepare(self):
            import asyncio

            await asyncio.to_thread(loaded.wait, 60)
            return await super().prepare()

    call = start(Slow("m", base_url=fake.base_url, api_key="no-key"))
    says(fake, call, r"starting the model · \d s")
    loaded.set()
    assert call.wait().content == "Hello from the fake."


def test_words_of_a_server_are_no_part_of_it(service, fake, start, monkeypatch):
    monkeypatch.setattr("ipyllm.pipeline.retry._wait_s", lambda state: 60.0)
    fake.default = fakes.status(503, {"error": {"message": "<script>alert(1)</script>", "code": "<b>"}})
    says(fake, start(service), r"server error 503, next try in \d\d s, attempt 2 of 3")


def test_an_arm_whose_name_is_hidden_tells_nothing(fake):
    fake.default = fakes.never_answers()
    models = [OpenAIService(name, base_url=fake.base_url, api_key="no-key") for name in ("a", "b")]
    for blind in (False, True):
        comparison = Comparison("Hello", models=models, blind=blind).start()
        fake.wait_for(lambda: len(fake.requests) == 2)
        assert [comparison.waiting(index) is None for index in (0, 1)] == [blind, blind]
        comparison.cancel()
        assert comparison.done.wait(60)
        fake.requests.clear()


def test_nothing_before_the_start_and_after_the_end(service, fake):
    from ipyllm.pipeline.call import Call

    call = Call(service, service.request("Hello"))
    assert call.waiting() is None
    call.start().wait()
    assert call.waiting() is None
    fake.default = fakes.unauthorized()
    failed = service.call(service.request("Hello"))
    with pytest.raises(LLMError):
        failed.wait()
    assert failed.waiting() is None
