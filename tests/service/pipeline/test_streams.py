"""Streams as they are read by people's loops: ended, left early, interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from ipyllm import LLMError, OllamaService, Timeout, usage
from ipyllm.ledger import current_ledger
from tests import fakes
from tests.fakes import answer


@pytest.fixture
def service(fake):
    return OllamaService("m", base_url=fake.base_url, max_retries=0)


def last_status():
    assert current_ledger().flush(10)
    return usage(kernel=None).status.iloc[-1]


def test_a_stream_that_has_ended_stays_ended(service):
    stream = service.stream("Hello")
    assert "".join(stream) == "Hello from the fake."
    assert list(stream) == []
    with pytest.raises(StopIteration):
        next(stream)

    async def read():
        events = service.events("Hello")
        first = [event async for event in events]
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(events), 60)
        return first, [event async for event in events]

    first, again = asyncio.run(read())
    assert len(first) == 5
    assert again == []


def test_leaving_the_block_of_a_stream_ends_its_call(service, fake):
    fake.default = fakes.stall("one two", after=1)
    with service.stream("Hello") as stream:
        assert next(stream) == "one"
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)
    assert last_status() == "cancelled"

    async def read_one():
        async with service.events("Hello") as stream:
            assert (await anext(stream)).text == "one"
        await asyncio.to_thread(fake.wait_for, lambda: len(fake.requests) == 2 and fake.requests[-1].closed_by_client)

    asyncio.run(read_one())
    assert last_status() == "cancelled"


def test_a_reader_that_is_cancelled_ends_the_call(service, fake):
    fake.default = fakes.stall("one two", after=1)

    async def read_for_a_moment():
        stream, read = service.events("Hello"), asyncio.Event()

        async def reader():
            while await anext(stream):
                read.set()

        task = asyncio.ensure_future(reader())
        await read.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(fake.wait_for, lambda: fake.requests[-1].closed_by_client)

    asyncio.run(read_for_a_moment())


@pytest.mark.parametrize("way", ["chat", "stream"])
def test_an_interrupt_ends_the_call_and_is_passed_on(service, fake, way):
    fake.default = fakes.stall("one two", after=1)
    stream = service.stream("Hello")  # held here: what is let go ends its call in any case

    def interrupt():
        fake.wait_for(lambda: fake.requests and fake.requests[-1].sent_ns)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        [next(stream), next(stream)] if way == "stream" else service.chat("Hello")
    thread.join()
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)
    assert last_status() == "cancelled"


def test_to_cancel_a_call_that_has_ended_changes_nothing(service):
    call = service.call(service.request("Hello"))
    response = call.wait()
    call.cancel()
    assert call.wait() is response
    assert response.status == "ok"


def test_a_call_without_any_limit_is_answered_too(service, fake):
    fake.default = answer("one two")
    unlimited = Timeout(connect=None, first_token=None, stall=None)
    assert service.chat("Hello", timeout=unlimited).content == "one two"


def test_reasoning_of_a_cached_answer_is_shown_again_before_its_text(service, fake):
    fake.default = answer("Yes.", reasoning="Let me think.")

    async def read():
        return [event async for event in service.events("Is it?", cache=True)]

    asyncio.run(read())
    *shown, end = asyncio.run(read())
    assert [(type(event).__name__, event.text) for event in shown] == [
        ("ReasoningDelta", "Let me think."),
        ("TextDelta", "Yes."),
    ]
    assert end.response.cache_hit
    assert len(fake.requests) == 1


def test_an_error_in_a_service_of_somebody_s_own_ends_the_call_and_its_row(fake, caplog):
    class Broken(OllamaService):
        def body(self, request):
            raise RuntimeError("a fault of mine")

    with pytest.raises(LLMError, match=r"^ollama/m: RuntimeError: a fault of mine$") as caught:
        Broken("m", base_url=fake.base_url).chat("Hello")
    assert caught.value.category == "unknown_error"
    assert "a fault of mine" in caplog.text
    assert (last_status(), fake.requests) == ("error", [])


def test_a_call_that_is_cancelled_in_its_second_attempt_is_not_sent_a_third_time(fake):
    fake.reply(fakes.unavailable(headers={"retry-after": "0"}))
    fake.default = fakes.never_answers()
    service = OllamaService("m", base_url=fake.base_url, max_retries=5)
    call = service.call(service.request("Hello"))
    fake.wait_for(lambda: len(fake.requests) == 2)
    call.cancel()
    assert call.done.wait(60)
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)
    assert (call.response.status, call.response.timing.attempts, len(fake.requests)) == ("cancelled", 2, 2)


def test_a_call_that_is_cancelled_while_it_waits_for_its_turn_was_never_sent_and_says_how_long_it_waited(fake):
    fake.default = fakes.never_answers()
    service = OllamaService("m", base_url=fake.base_url, max_in_flight=1)
    first = service.call(service.request("Hello"))
    fake.wait_for(lambda: fake.requests)
    second = service.call(service.request("Hello"))
    fake.wait_for(lambda: (waiting := second.waiting()) and "queued" in waiting.line())
    assert not second.done.wait(0.1)
    second.cancel()
    assert second.done.wait(60)
    first.cancel()
    assert first.done.wait(60)
    timing = second.response.timing
    assert (second.response.status, timing.attempts, len(fake.requests)) == ("cancelled", 0, 1)
    assert timing.queue_s > 0.05
