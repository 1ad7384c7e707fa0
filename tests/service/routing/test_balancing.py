"""``pool``: the least busy healthy endpoint gets the call; endpoints can be added and drained during calls."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ipyllm import LLMError, OpenAIService, pool
from ipyllm.runtime.service_thread import service_thread
from tests.fakes import FakeLLM, answer, rate_limited, refuse, released_once, reset, server_error, stall


def many(ask, route, n):
    with ThreadPoolExecutor(n) as executor:
        return list(executor.map(lambda _: ask(route).content, range(n)))


def test_calls_at_once_are_spread_evenly(a, b, ask, rows):
    a.default = b.default = answer("word", ttft=1000)
    gpus = pool(a.base_url, b.base_url, model="m", name="gpus")
    with released_once(lambda: a.in_flight + b.in_flight == 8, a, b):
        many(ask, gpus, 8)
    assert (a.max_in_flight, b.max_in_flight) == (4, 4)
    table = rows()
    assert set(table.model) == {"gpus/m"}
    assert set(table.service) == {"gpus"}
    assert [tags["arm"] for tags in table.tags] == list(table.endpoint)
    assert {tags["route"] for tags in table.tags} == {"gpus"}


def test_the_least_busy_is_asked(a, b, ask):
    a.default, b.default = answer("slow", ttft=1000), answer("quick")
    gpus = pool(a.base_url, b.base_url, model="m")
    with ThreadPoolExecutor(1) as executor:
        slow = executor.submit(ask, gpus)
        a.wait_for(lambda: a.in_flight)
        assert [ask(gpus).content for _ in range(4)] == ["quick"] * 4
        a.skip_pauses()
        assert slow.result().content == "slow"


@pytest.mark.parametrize("fault", [refuse("rst"), server_error(), rate_limited(30)], ids=["gone", "500", "429"])
def test_a_call_that_fails_at_one_endpoint_goes_to_another_at_once(a, b, ask, fault):
    a.default = fault
    gpus = pool(a.base_url, b.base_url, model="m", max_retries=2)
    start = time.perf_counter()
    assert [ask(gpus).content for _ in range(3)] == ["from b"] * 3
    assert time.perf_counter() - start < 25, "one that waited for the first endpoint waited 30 s"


def test_text_that_was_shown_is_not_followed_by_anothers(a, b, ask):
    a.default = b.default = reset("one two three", after=2)
    with pytest.raises(LLMError) as caught:
        ask(pool(a.base_url, b.base_url, model="m"))
    assert caught.value.partial.content == "one two"
    assert len(a.requests) + len(b.requests) == 1


def test_a_failing_endpoint_is_left_out_for_a_growing_time_and_then_tried_by_one_call(a, b, ask, monkeypatch):
    now = 100.0
    monkeypatch.setattr("ipyllm.routing.health.monotonic", lambda: now)
    a.default = server_error()
    gpus = pool(a.base_url, b.base_url, model="m")
    for _ in range(10):
        ask(gpus)
    assert len(a.requests) == 3
    assert gpus.endpoints[0].out_for_s == 1

    now += 1
    for _ in range(4):
        ask(gpus)
    assert len(a.requests) == 4, "one call tried it, and it is out again"
    assert gpus.endpoints[0].out_for_s == 2, "for longer"

    a.default = answer("from a", ttft=1000)
    now += 2
    others = len(b.requests) + 3
    with released_once(lambda: a.in_flight == 1 and len(b.requests) == others, a):
        assert many(ask, gpus, 4).count("from a") == 1, "one at a time while nobody knows whether it is well"
    a.default = answer("from a")
    assert {ask(gpus).content for _ in range(4)} == {"from a", "from b"}
    assert gpus.endpoints[0].out_for_s == 0


def test_when_all_are_out_a_call_is_still_tried(a, b, ask):
    a.default = b.default = server_error()
    gpus = pool(a.base_url, b.base_url, model="m", max_retries=0)
    for _ in range(6):
        with pytest.raises(LLMError) as caught:
            ask(gpus)
    assert caught.value.category == "api_error"
    a.default = b.default = answer("back")
    assert ask(gpus).content == "back"


def test_a_pool_of_one_retries_as_a_service_does(a, ask):
    a.reply(server_error({"retry-after": "0"}))
    response = ask(pool(a.base_url, model="m", max_retries=1))
    assert (response.content, response.timing.attempts) == ("from a", 2)


def test_a_cancelled_call_gives_its_place_back(a):
    from ipyllm.pipeline.candidates import candidates

    gpus = pool(a.base_url, model="m")
    (choice,) = candidates(gpus, gpus.request("Hello"))
    assert gpus.endpoints[0].in_flight == 1
    with pytest.raises(asyncio.CancelledError), choice:
        raise asyncio.CancelledError
    assert gpus.endpoints[0].in_flight == 0
    assert gpus.endpoints[0].out_for_s == 0


# ---- growing and shrinking ---------------------------------------------------------------------------


def test_an_endpoint_is_added_and_drained_while_calls_run(a, b, ask):
    a.default = answer("from a", ttft=1000)
    gpus = pool(a.base_url, model="m")
    with ThreadPoolExecutor(4) as executor:
        running = [executor.submit(ask, gpus) for _ in range(3)]
        a.wait_for(lambda: a.in_flight == 3)
        gpus.add(b.base_url)
        threading.Timer(0.2, a.skip_pauses).start()
        gpus.drain(a.base_url)
        assert all(call.done() or a.in_flight == 0 for call in running), "it returned when they were done"
        assert ask(gpus).content == "from b"
        assert {call.result().content for call in running} == {"from a"}
    assert [endpoint.url for endpoint in gpus.endpoints] == [b.base_url]
    assert len(a.requests) == 3


def test_a_drain_can_be_awaited_and_shows_meanwhile(a, b, ask):
    a.default = answer("from a", ttft=1000)
    gpus = pool(a.base_url, b.base_url, model="m")
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(ask, gpus)
        a.wait_for(lambda: a.in_flight)

        async def drain():
            drained = asyncio.gather(gpus.adrain(a.base_url), gpus.adrain(a.base_url))
            await asyncio.sleep(0.05)
            assert [(e.url, e.in_flight, e.draining) for e in gpus.endpoints] == [
                (b.base_url, 0, False),
                (a.base_url, 1, True),
            ]
            a.skip_pauses()
            await drained

        asyncio.run(drain())
        assert running.result().content == "from a"
    assert len(gpus.endpoints) == 1


def test_a_drain_that_takes_too_long_says_so_and_goes_on(a, ask):
    a.default = answer("from a", ttft=1000)
    gpus = pool(a.base_url, model="m")
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(ask, gpus)
        a.wait_for(lambda: a.in_flight)
        with pytest.raises(TimeoutError):
            gpus.drain(a.base_url, timeout=0.05)
        with pytest.raises(LLMError, match=r"No service of .* is left"):
            ask(gpus)
        a.skip_pauses()
        assert running.result().content == "from a"
    assert gpus.endpoints == ()


def test_no_call_slips_into_an_endpoint_that_was_drained(ask):
    """Calls, additions and drains from several threads at once: what was drained is asked nothing more."""
    with FakeLLM() as one, FakeLLM() as two:
        one.default = two.default = answer("word", ttft=0.01)
        gpus, stop = pool(one.base_url, two.base_url, model="m", max_retries=0), threading.Event()

        def keep_asking():
            while not stop.is_set():
                assert ask(gpus).content == "word"

        with ThreadPoolExecutor(3) as executor:
            askers = [executor.submit(keep_asking) for _ in range(3)]
            try:
                for _ in range(15):
                    gpus.drain(one.base_url)
                    asked = len(one.requests)
                    time.sleep(0.02)
                    assert len(one.requests) == asked
                    gpus.add(one.base_url)
                    one.wait_for(lambda asked=asked: len(one.requests) > asked)
            finally:
                stop.set()
            for asker in askers:
                asker.result()


# ---- what is refused ---------------------------------------------------------------------------------


def test_a_pool_of_services_and_one_that_is_not_there(a, b, ask):
    gpus = pool(OpenAIService("m", base_url=a.base_url), OpenAIService("m", base_url=b.base_url))
    assert {ask(gpus).content for _ in range(2)} == {"from a", "from b"}
    with pytest.raises(LLMError, match="has no endpoint"):
        gpus.drain(OpenAIService("m", base_url="http://127.0.0.1:1/v1"))
    with pytest.raises(LLMError, match="needs the name of the model"):
        pool(a.base_url)
    with pytest.raises(LLMError, match="no address of its own"):
        pool("local/smollm2-135m")
    with pytest.raises(LLMError, match="is not a URL"):
        pool("htp://h1:8000/v1", model="m")


def test_a_providers_key_is_not_sent_to_an_address(a, ask, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    ask(pool(a.base_url, model="m"))
    assert "sk-test" not in a.requests[-1].headers["authorization"]
    ask(pool(a.base_url, model="m", api_key="the-pools-own"))
    assert a.requests[-1].headers["authorization"] == "Bearer the-pools-own"


def test_a_tool_that_drains_the_last_endpoint_ends_the_turn_with_what_it_has(a):
    route = pool(a.base_url, model="m", max_retries=0)

    def close_down() -> str:
        """Close the server down."""
        route.drain(a.base_url, timeout=60)
        return "done"

    a.default = answer("One moment.", tool_calls=[("close_down", {})])
    with pytest.raises(LLMError, match="No service of 'pool' is left to ask") as caught:
        route.chat("Close down.", tools=[close_down])
    assert caught.value.category == "connection"
    assert caught.value.partial.content == "One moment."
    assert caught.value.partial.steps[0].tool_calls[0].name == "close_down"


def test_the_repr_of_a_pool_names_its_endpoints_and_not_its_key(a):
    shown = repr(pool(a.base_url, model="m", api_key="a-key-of-the-lab"))
    assert a.base_url in shown
    assert "a-key-of-the-lab" not in shown


def test_a_drain_on_the_service_thread_is_refused_instead_of_hanging(a):
    a.default = stall("one two", after=1)
    route = pool(a.base_url, model="m")
    call = route.call(route.request("Hello"))
    a.wait_for(lambda: a.requests)

    async def drain():
        route.drain(a.base_url)

    with pytest.raises(RuntimeError, match=r"use `await pool\.adrain"):
        service_thread().submit(drain()).result(60)
    call.cancel()
    assert call.done.wait(60)
