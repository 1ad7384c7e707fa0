"""Readers on other loops are woken together, a few milliseconds apart, except by what must not wait."""

from __future__ import annotations

import asyncio
import functools
import threading
from time import monotonic

import pytest

from ipyllm.runtime import wakeups
from ipyllm.runtime.wakeups import wake_soon


@pytest.fixture
def other():
    """Return a loop that runs in a thread of its own, with the callbacks it was woken by."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def wakes(other, monkeypatch):
    counted = []
    usual = other.call_soon_threadsafe

    def count(callback, *args):
        counted.append(callback)
        return usual(callback, *args)

    monkeypatch.setattr(other, "call_soon_threadsafe", count)
    return counted


def on_a_loop(test):
    """Run a test that is a coroutine function."""

    @functools.wraps(test)
    def run(**fixtures):
        asyncio.run(test(**fixtures))

    return run


async def done(*futures):
    until = monotonic() + 60
    while not all(future.done() for future in futures):
        assert monotonic() < until
        await asyncio.sleep(0.001)


@on_a_loop
async def test_readers_that_wait_are_woken_by_one_wakeup(other, wakes):
    first = [other.create_future() for _ in range(5)]
    for future in first:
        wake_soon(other, future)
    await done(*first)
    assert len(wakes) == 1


@on_a_loop
async def test_the_next_wakeup_waits_for_the_pause_and_takes_all_with_it(other, wakes, monkeypatch):
    monkeypatch.setattr(wakeups, "_PAUSE_S", 1.0)
    await asyncio.sleep(1.1)
    first = other.create_future()
    wake_soon(other, first)
    await done(first)
    began_s = monotonic()
    later = [other.create_future() for _ in range(3)]
    for future in later:
        wake_soon(other, future)
        await asyncio.sleep(0.01)
    await done(*later)
    assert monotonic() - began_s > 0.1
    assert len(wakes) == 2


@on_a_loop
async def test_what_must_not_wait_wakes_the_others_too(other, wakes, monkeypatch):
    first, waiting, last = (other.create_future() for _ in range(3))
    wake_soon(other, first)
    await done(first)
    monkeypatch.setattr(wakeups, "_PAUSE_S", 100)
    wake_soon(other, waiting)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    wake_soon(other, last, at_once=True)
    await done(waiting, last)
    assert len(wakes) == 2


@on_a_loop
async def test_a_closed_loop_and_a_cancelled_reader_are_passed_over(other):
    closed = asyncio.new_event_loop()
    lost = closed.create_future()
    closed.close()
    cancelled, kept = other.create_future(), other.create_future()
    other.call_soon_threadsafe(cancelled.cancel)
    await done(cancelled)
    for loop, future in ((closed, lost), (other, cancelled), (other, kept)):
        wake_soon(loop, future, at_once=True)
    await done(kept)
    assert not lost.done()


@on_a_loop
async def test_a_reader_on_the_running_loop_goes_on_in_its_next_turn(monkeypatch):
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(wakeups, "_PAUSE_S", 100)
    for _ in range(2):  # the second would have to wait for the pause
        waiter = loop.create_future()
        wake_soon(loop, waiter)
        assert waiter.done()
