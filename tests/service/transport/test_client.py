"""Tests that requests are sent as the client would send them, and that it reads refusals and all that is compressed."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ipyllm import LLMError, OpenAIService, Timeout
from ipyllm.runtime.service_thread import service_thread
from ipyllm.text.secrets import as_secret
from ipyllm.transport.address import Address
from ipyllm.transport.certificates import AuthoritySource
from ipyllm.transport.client import TransportClient
from tests import fakes
from tests.fakes import answer
from tests.service.unreachable import nobody_accepts
from tests.stalls import again_if_stalled

SECRET = "sk-test-0123456789abcdefghijklmnop"
BODY = {"model": "m", "messages": [{"role": "user", "content": "grüße 🎉"}], "stream": True, "temperature": 0.5}


async def ask(transport, address, body=BODY):
    async with transport.stream(address, body, model="m", connect_s=10) as chunks:
        return [chunk async for chunk, *_ in chunks]


def asked(address, times=1, body=BODY):
    """Ask several times over one transport, and return the chunks of the last response."""

    async def run():
        transport = TransportClient()
        try:
            for _ in range(times):
                got = await ask(transport, address, body)
        finally:
            await transport.aclose()
        return got

    return asyncio.run(run())


def test_a_request_is_byte_for_byte_what_the_client_alone_would_send(fake, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    asked(Address(fake.base_url, as_secret(SECRET)))
    moved = fakes.redirect(f"{fake.base_url}/chat/completions")
    fake.reply(moved)
    asked(Address(fake.base_url, as_secret(SECRET)), times=2)
    ours, *_, clients = fake.requests
    assert len(fake.requests) == 4
    assert ours.raw == clients.raw
    assert ours.headers == clients.headers
    assert ours.headers["authorization"] == f"Bearer {SECRET}"
    assert ours.headers["openai-organization"] == "org-1"
    assert (ours.method, ours.path) == (clients.method, clients.path)


def test_a_proxy_of_the_environment_is_used_but_never_for_this_machine(fake, monkeypatch):
    for name in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", fake.url)
    fake.serve("http://model.invalid/v1/chat/completions", answer("by proxy"))
    asked(Address("http://model.invalid/v1", as_secret(SECRET)))
    assert fake.requests[-1].headers["host"] == "model.invalid"
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    asked(Address(fake.base_url))
    assert fake.requests[-1].status == 200


@again_if_stalled(0.02)
def test_the_connection_of_a_whole_answer_serves_the_next_request(fake):
    async def run():
        transport = TransportClient()
        for _ in range(5):
            await ask(transport, Address(fake.base_url))
            await asyncio.sleep(0.1)  # the last bytes may come after [DONE]
        opened = fake.open_connections
        await transport.aclose()
        return opened

    assert asyncio.run(run()) == 1


def test_a_server_that_never_ends_its_answer_after_done_loses_its_connection_and_nothing_else(fake):
    fake.default = replace(answer("one two"), framing="close", ending="hang")
    service = OpenAIService("m", base_url=fake.base_url, api_key=SECRET)
    assert service.chat("Hello").content == "one two"
    fake.wait_for(lambda: fake.requests[-1].closed_by_client, timeout=60)


def test_a_request_over_a_connection_that_the_server_is_closing_is_sent_again(fake):
    async def run():
        transport, address = TransportClient(), Address(fake.base_url)
        try:
            await ask(transport, address)
            await asyncio.to_thread(fake.wait_for, lambda: fake.in_flight == 0)
            await asyncio.sleep(0.1)  # the last bytes may come after [DONE]
            fake.close_idle_connections()
            time.sleep(0.1)  # so that our loop has not seen its end when it sends
            return await ask(transport, address)
        finally:
            await transport.aclose()

    assert asyncio.run(run())


def asked_twice(service, fake, *second):
    fake.reply(answer("first"), *second)
    assert service.chat("Hello").content == "first"
    time.sleep(0.2)  # its connection goes back to the pool
    return service.chat("Hello")


def test_a_request_lost_on_a_reused_connection_is_sent_again_once_and_is_one_attempt(fake):
    service = OpenAIService("m", base_url=fake.base_url, api_key=SECRET, max_retries=0)
    response = asked_twice(service, fake, fakes.refuse(), answer("second"))
    assert (response.content, response.timing.attempts) == ("second", 1)
    assert len(fake.requests) == 3


def test_a_request_that_a_server_may_have_been_at_work_on_is_sent_again_by_retries_only(fake, monkeypatch):
    monkeypatch.setattr("ipyllm.transport.fast_path._CLOSING_S", 0.0)
    service = OpenAIService("m", base_url=fake.base_url, api_key=SECRET, max_retries=0)
    with pytest.raises(LLMError) as caught:
        asked_twice(service, fake, fakes.refuse(), answer("second"))
    assert (caught.value.category, caught.value.attempts, caught.value.reached_server) == ("connection", 1, True)
    assert len(fake.requests) == 2


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_request_that_is_lost_again_on_a_fresh_connection_has_failed(fake, how):
    service = OpenAIService("m", base_url=fake.base_url, api_key=SECRET, max_retries=0)
    with pytest.raises(LLMError, match="cannot be reached") as caught:
        asked_twice(service, fake, fakes.refuse(how), fakes.refuse(how))
    assert caught.value.category == "connection"
    assert len(fake.requests) == 3


def test_a_request_lost_on_a_fresh_connection_is_not_sent_again(fake):
    service = OpenAIService("m", base_url=fake.base_url, api_key=SECRET, max_retries=0)
    fake.default = fakes.refuse()
    with pytest.raises(LLMError):
        service.chat("Hello")
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("how", "sentence"),
    [(fakes.truncated, "without a finish signal; try again."), (fakes.reset, "lost during the response; try again.")],
)
def test_an_answer_that_has_begun_is_not_asked_for_again(fake, how, sentence):
    service = OpenAIService("m", base_url=fake.base_url, api_key=SECRET, max_retries=0)
    with pytest.raises(LLMError) as caught:
        asked_twice(service, fake, how("one two three"))
    assert len(fake.requests) == 2
    assert sentence in str(caught.value), "in words, without the class of an error"


def test_a_redirect_is_followed_and_the_client_goes_that_way_from_then_on(fake):
    fake.reply(fakes.redirect(f"{fake.base_url}/chat/completions"))
    fake.reply(fakes.redirect(f"{fake.base_url}/chat/completions"))
    asked(Address(fake.base_url), times=2)
    # Ours, the client's, where it was sent on to; then the client's alone.
    assert [request.status for request in fake.requests] == [307, 307, 200, 200]


@pytest.mark.parametrize("wrong", [float("nan"), object()])
def test_a_body_that_is_no_json_is_refused_by_the_client_and_nothing_is_sent(fake, wrong):
    with pytest.raises((TypeError, ValueError)):
        asked(Address(fake.base_url), body={**BODY, "top_p": wrong})
    assert fake.requests == []


def test_many_first_calls_make_one_client_and_one_that_is_cancelled_spoils_it_for_none(fake):
    async def run():
        transport, address = TransportClient(), Address(fake.base_url)
        calls = [asyncio.ensure_future(transport.connection(address)) for _ in range(20)]
        await asyncio.sleep(0)
        calls[0].cancel()
        ways = await asyncio.gather(*calls[1:])
        await transport.aclose()
        return {id(way) for way in ways}

    assert len(asyncio.run(run())) == 1


def test_readers_on_several_loops_each_get_all_of_their_streams(fake):
    fake.default = answer("one two three four", gap=0.002)
    service = OpenAIService("m", base_url=fake.base_url, api_key=SECRET)

    async def read():
        return "".join([text async for text in service.chat_stream("Hello")])

    async def many():
        return await asyncio.gather(*(read() for _ in range(25)))

    with ThreadPoolExecutor(4) as pool:
        answers = [text for texts in pool.map(lambda _: asyncio.run(many()), range(4)) for text in texts]
    assert answers == ["one two three four"] * 100


def test_what_many_threads_submit_at_once_is_all_run_and_its_outcome_told():
    thread, ready = service_thread(), threading.Barrier(8)

    async def double(number):
        if number == 13:
            raise ValueError(number)
        return 2 * number

    def submit(first):
        ready.wait()
        return [thread.submit(double(number)) for number in range(first, first + 50)]

    with ThreadPoolExecutor(8) as pool:
        futures = [future for made in pool.map(submit, range(0, 400, 50)) for future in made]
    assert isinstance(futures[13].exception(30), ValueError)
    assert [future.result(30) for future in futures if future is not futures[13]] == [
        2 * number for number in range(400) if number != 13
    ]


def test_to_cancel_what_was_submitted_cancels_it():
    thread, begun, ended = service_thread(), threading.Event(), threading.Event()

    async def sleep():
        begun.set()
        try:
            await asyncio.sleep(300)
        finally:
            ended.set()

    future = thread.submit(sleep())
    assert begun.wait(30)
    assert future.cancel()
    assert ended.wait(30)


def test_what_is_cancelled_before_it_begins_disturbs_nothing_else():
    thread, hold = service_thread(), threading.Event()

    async def one():
        return 1

    thread.loop.call_soon_threadsafe(hold.wait)
    futures = [thread.submit(one()) for _ in range(3)]
    futures[1].cancel()
    hold.set()
    assert [futures[0].result(30), futures[2].result(30)] == [1, 1]


def test_a_server_that_does_not_take_the_connection_is_a_timeout_that_says_so():
    with nobody_accepts() as base_url:
        service = OpenAIService("m", base_url=base_url, max_retries=0)
        with pytest.raises(LLMError, match=r"could not be reached at 127\.0\.0\.1:\d+ within 0\.2 s") as caught:
            service.chat("Hello", timeout=Timeout(connect=0.2))
    assert caught.value.category == "timeout"


def test_a_connection_that_cannot_be_made_and_that_nobody_waits_for_any_more_prints_nothing():
    address = Address("https://host/v1", None, authorities=(AuthoritySource("SSL_CERT_FILE", "/no/such/file"),))
    printed = []

    async def give_up():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: printed.append(context))
        transport = TransportClient()
        waiting = asyncio.ensure_future(transport.connection(address))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        while transport._pending:
            await asyncio.sleep(0.01)
        del waiting
        gc.collect()

    asyncio.run(give_up())
    assert printed == []
