"""Tests that the limiter loses no call, learns what a server admits, and waits as long as the server asks."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from ipyllm.errors import LLMError
from ipyllm.pipeline.limiter import Limiter
from ipyllm.transport.address import Address
from ipyllm.transport.client import TransportClient
from tests.fakes import answer, rate_limited
from tests.stalls import again_if_stalled

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": True}


async def ask(transport, address, limiter, slot=None):
    """Make one call as the pipeline does: a rejection due to our other calls is not a failure."""
    slot = slot or limiter.slot(1)
    while True:
        async with slot:
            try:
                async with transport.stream(address, BODY, model="m", connect_s=10) as chunks:
                    slot.admitted()
                    async for _ in chunks:
                        pass
            except LLMError as exc:
                if exc.category == "rate_limit" and slot.rejected(exc.retry_after):
                    continue
                raise
            slot.succeeded()
            return


def ask_many(fake, calls, tried, limiter):
    """Return the errors of the failed calls."""

    async def everything():
        transport, at_once = TransportClient(), asyncio.Semaphore(tried)

        async def one():
            async with at_once:
                await ask(transport, Address(fake.base_url), limiter)

        try:
            return await asyncio.gather(*(one() for _ in range(calls)), return_exceptions=True)
        finally:
            await transport.aclose()

    return [outcome for outcome in asyncio.run(everything()) if outcome is not None]


# ---- what a server admits ----------------------------------------------------------------------------


@again_if_stalled(0.05)
def test_a_server_that_admits_50_loses_no_call_and_refuses_few(fake):
    fake.default = answer(ttft=0.1)
    fake.admit(50)
    limiter = Limiter()
    assert ask_many(fake, calls=400, tried=200, limiter=limiter) == []
    assert limiter.rejections <= 75, "50 beyond it at the start, and a probe now and then"
    assert 45 <= limiter.limit <= 52
    assert fake.max_in_flight == 50, "and it is used to the full"
    assert (limiter.in_flight, limiter.waiting) == (0, 0)


@again_if_stalled(0.05)
def test_a_server_without_a_limit_soon_gets_all_that_is_offered(fake):
    fake.default = answer(ttft=0.4)
    limiter = Limiter()
    assert ask_many(fake, calls=400, tried=300, limiter=limiter) == []
    assert limiter.rejections == 0
    assert limiter.limit >= 200


def test_admissions_alone_double_what_may_be_out_until_all_are():
    async def calls():
        limiter, out, end = Limiter(), [], asyncio.Event()

        async def one():
            async with limiter.slot() as slot:
                await asyncio.sleep(0)
                slot.admitted()
                out.append(limiter.in_flight)
                await end.wait()

        tasks = [asyncio.create_task(one()) for _ in range(500)]
        async with asyncio.timeout(60):
            while limiter.waiting or len(out) < 500:
                await asyncio.sleep(0)
        end.set()
        await asyncio.gather(*tasks)
        return max(out), limiter.limit

    assert asyncio.run(calls()) == (500, 800)


async def many_turns():
    for _ in range(1000):
        await asyncio.sleep(0)


def test_without_word_of_admission_it_grows_by_whole_calls():
    async def calls():
        limiter = Limiter()
        release = [asyncio.Event() for _ in range(3)]
        most = []

        async def one(turn):
            async with limiter.slot() as slot:
                await release[turn].wait()
                slot.succeeded()

        first = [asyncio.create_task(one(0)) for _ in range(100)]
        later = [asyncio.create_task(one(1)) for _ in range(300)]
        await many_turns()
        most.append((limiter.limit, limiter.in_flight, limiter.waiting))
        release[0].set()
        await asyncio.gather(*first)
        await many_turns()
        most.append((limiter.limit, limiter.in_flight, limiter.waiting))
        release[1].set()
        await asyncio.gather(*later)
        return most

    assert asyncio.run(calls()) == [(100, 100, 300), (200, 200, 100)]


def test_never_more_than_max_in_flight(fake):
    fake.default = answer(ttft=0.02)
    assert ask_many(fake, calls=60, tried=60, limiter=Limiter(max_in_flight=7)) == []
    assert fake.max_in_flight == 7


def test_a_server_that_grows_is_noticed(fake, monkeypatch):
    monkeypatch.setattr("ipyllm.pipeline.limiter._PROBE_S", 0.05)
    fake.default = answer(ttft=0.05)
    fake.admit(10)
    limiter = Limiter()
    assert ask_many(fake, calls=60, tried=60, limiter=limiter) == []
    assert limiter.limit <= 12
    fake.admit(None)
    assert ask_many(fake, calls=400, tried=100, limiter=limiter) == []
    assert limiter.limit > 20


def test_an_answer_that_ends_before_a_late_refusal_does_not_make_the_server_look_small():
    async def calls():
        limiter = Limiter()
        slots = [limiter.slot() for _ in range(60)]
        for slot in slots:
            await slot.__aenter__()
        for slot in slots[:50]:
            slot.succeeded()
            await slot.__aexit__()
        for slot in slots[50:]:
            assert slot.rejected()
            await slot.__aexit__()
        return limiter.limit

    assert asyncio.run(calls()) == 50


# ---- pauses ------------------------------------------------------------------------------------------


def test_retry_after_holds_back_every_call_to_the_address(fake):
    fake.default = answer("one")
    fake.reply(rate_limited(0.4))

    async def calls():
        transport, limiter = TransportClient(), Limiter()
        await transport.connection(Address(fake.base_url))
        refused = limiter.slot()
        with pytest.raises(LLMError):
            await ask(transport, Address(fake.base_url), limiter, refused)  # alone: a failed attempt like any other
        other = limiter.slot()
        await asyncio.gather(
            ask(transport, Address(fake.base_url), limiter, refused),
            ask(transport, Address(fake.base_url), limiter, other),
        )
        await transport.aclose()
        return refused.waited_s, other.waited_s

    waits = asyncio.run(calls())
    first, *others = [request.arrived_ns for request in fake.requests]
    assert len(others) == 2
    assert all(later - first > 0.35e9 for later in others)
    assert all(0.3 < wait < 2 for wait in waits), "the wait is known, for queue_s"


def test_nobody_waits_for_a_retry_after_beyond_two_minutes():
    async def calls():
        limiter = Limiter()
        async with limiter.slot() as slot:
            slot.rejected(500.0)
        async with asyncio.timeout(60), limiter.slot() as slot:
            return slot.waited_s

    assert asyncio.run(calls()) < 2


def test_where_nothing_is_admitted_the_pause_grows_and_then_all_comes_back():
    async def calls():
        limiter, waits = Limiter(), []
        for _ in range(3):
            async with limiter.slot() as slot:
                assert not slot.rejected(), "nobody of ours was served: it is a failed attempt"
            waits.append(slot.waited_s)
        assert limiter.limit == 1
        for _ in range(12):
            async with asyncio.TaskGroup() as group:
                for _ in range(60):
                    group.create_task(succeed(limiter))
        return waits, limiter.limit

    async def succeed(limiter):
        async with limiter.slot() as slot:
            await asyncio.sleep(0)
            slot.succeeded()

    waits, limit = asyncio.run(calls())
    assert waits[0] < 0.01
    assert 0.2 < waits[1] < waits[2]
    assert limit >= 50, "doubling from one, up to half of what it was"


# ---- the queue ---------------------------------------------------------------------------------------


def test_first_come_first_served_and_who_was_refused_comes_before_newcomers():
    async def calls():
        limiter, order = Limiter(max_in_flight=2), []
        slots = [limiter.slot() for _ in range(6)]

        async def one(number):
            async with slots[number] as slot:
                order.append(number)
                await asyncio.sleep(0.01)
                if order.count(1) == 1 and number == 1:
                    slot.rejected()
                else:
                    slot.succeeded()
                    return
            await one(number)

        await asyncio.gather(*(one(number) for number in range(6)))
        return order

    assert asyncio.run(calls()) == [0, 1, 2, 1, 3, 4, 5]


def test_a_call_that_is_cancelled_takes_no_turn_with_it():
    async def calls():
        limiter, draw = Limiter(max_in_flight=3), random.Random(1)
        done = 0

        async def one():
            nonlocal done
            async with limiter.slot() as slot:
                assert limiter.in_flight <= 3
                await asyncio.sleep(draw.random() / 1000)
                slot.succeeded()
            done += 1

        tasks = [asyncio.create_task(one()) for _ in range(500)]
        while not all(task.done() for task in tasks):
            # Some while they wait, some while they run, some in the very step in which their turn comes.
            for task in draw.sample(tasks, 3):
                task.cancel()
            await asyncio.sleep(draw.choice([0, 0, 0.001]))
        assert done + sum(task.cancelled() for task in tasks) == 500
        assert 0 < done < 500
        async with asyncio.timeout(60):
            await asyncio.gather(*(one() for _ in range(10)))
        return limiter.in_flight, limiter.waiting

    assert asyncio.run(calls()) == (0, 0)


def test_any_other_failure_frees_the_slot():
    async def calls():
        limiter = Limiter(max_in_flight=1)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                async with limiter.slot():
                    raise ZeroDivisionError
        return limiter.in_flight, limiter.limit

    assert asyncio.run(calls()) == (0, 1)


# ---- per minute --------------------------------------------------------------------------------------


async def pass_through(limiter, tokens=0, cost=None):
    async with limiter.slot(tokens) as slot:
        slot.succeeded(cost)


def test_requests_per_minute_are_spread_evenly_after_a_first_burst():
    async def calls():
        times = [time.perf_counter()]
        limiter = Limiter(requests_per_minute=600)

        async def one():
            await pass_through(limiter)
            times.append(time.perf_counter())

        await asyncio.gather(*(one() for _ in range(65)))
        return times

    times = asyncio.run(calls())
    assert times[60] - times[0] < 5, "six seconds' worth at once"
    assert times[65] - times[0] > 0.4, "then ten a second"


def test_senders_that_share_a_limit_have_equal_parts_of_it():
    async def calls():
        limiter = Limiter(requests_per_minute=600)
        limiter.share("one run", 2)
        limiter.share("another run", 4)  # the smallest part counts: 2.5 a second, 15 at once
        start = time.perf_counter()
        for _ in range(17):
            await pass_through(limiter)
        limiter.share("another run", 1)
        limiter.share("one run", 1)
        return time.perf_counter() - start, limiter

    seconds, limiter = asyncio.run(calls())
    assert seconds > 0.7
    assert limiter._requests._per_s == 10


def test_tokens_per_minute_are_put_right_when_the_server_has_counted():
    async def calls():
        limiter = Limiter(tokens_per_minute=6000)  # 100 a second, 600 at once
        start = time.perf_counter()
        await pass_through(limiter, tokens=10, cost=620)
        await pass_through(limiter, tokens=10)
        return time.perf_counter() - start

    assert 0.2 < asyncio.run(calls()) < 30


def test_a_call_larger_than_the_bucket_goes_when_the_bucket_is_full():
    async def calls():
        limiter = Limiter(tokens_per_minute=600)
        async with asyncio.timeout(60):
            await pass_through(limiter, tokens=100_000)

    asyncio.run(calls())


@pytest.mark.parametrize("option", ["requests_per_minute", "tokens_per_minute", "max_in_flight"])
def test_a_limit_that_cannot_be_is_refused(option):
    with pytest.raises(LLMError, match=option):
        Limiter(**{option: 0})
