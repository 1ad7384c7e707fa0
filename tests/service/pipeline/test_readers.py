"""Coroutines that wait for calls are woken at once, and read no events of their parent process."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from ipyllm import LLMError, OpenAIService
from ipyllm.runtime.liveness import CHECK_S
from tests.fakes import answer


@pytest.fixture
def service(fake):
    fake.default = answer("one two three", chunks=3)
    return OpenAIService("m", base_url=fake.base_url, api_key="k", max_retries=0)


def test_a_coroutine_is_woken_when_its_call_ends(service):
    async def ask(n):
        for _ in range(n):
            await service.achat("Hello")

    asyncio.run(ask(1))
    began = time.monotonic()
    asyncio.run(ask(20))
    assert time.monotonic() - began < 20 * CHECK_S


def test_events_that_have_arrived_are_not_read_in_a_forked_child(service, monkeypatch):
    async def read():
        stream = service.events("Hello")
        events = aiter(stream)
        await anext(events)
        while not stream._call.done.is_set():
            await asyncio.sleep(0.01)
        monkeypatch.setattr(os, "getpid", lambda: -1)
        await anext(events)

    with pytest.raises(LLMError, match="by the parent process"):
        asyncio.run(read())
    monkeypatch.undo()
