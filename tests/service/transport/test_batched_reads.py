"""Many streams are read in batches after their first token, without a change of what is read."""

from __future__ import annotations

import asyncio
import selectors
import socket
import sys
from contextlib import ExitStack
from time import monotonic

import pytest

from ipyllm import OpenAIService
from ipyllm.transport import batched_reads
from ipyllm.transport.batched_reads import BatchingSelector, new_event_loop
from ipyllm.transport.stamped_socket import StampedSocket
from tests.fakes import answer
from tests.stalls import again_if_stalled

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not stamp what they receive")
READ = selectors.EVENT_READ


@pytest.fixture
def pairs():
    """Return 20 pairs of connected sockets."""
    with ExitStack() as stack:
        yield [tuple(stack.enter_context(each) for each in socket.socketpair()) for _ in range(20)]


@pytest.fixture
def selector(pairs):
    made = BatchingSelector()
    for number, (reader, _) in enumerate(pairs):
        made.register(reader.fileno(), READ, number)
    yield made
    made.close()


def numbers(ready):
    return sorted(key.data for key, _ in ready)


def begin_pause(selector, pairs, number):
    """Have a batch reported, of one file."""
    pairs[number][1].send(b"x")
    assert numbers(selector.select(10)) == [number]
    pairs[number][0].recv(1)


def test_a_batched_file_is_reported_after_the_pause_together_with_others(selector, pairs, monkeypatch):
    monkeypatch.setattr(batched_reads, "_PAUSE_S", 1.0)
    for number in (3, 4):
        assert selector.batch(pairs[number][0].fileno())
    begin_pause(selector, pairs, 3)
    for number in (3, 4, 5):
        pairs[number][1].send(b"x")
    began_s = monotonic()
    assert numbers(selector.select(10)) == [5]
    pairs[5][0].recv(1)
    ready = selector.select(10)
    while not ready:
        ready = selector.select(10)
    assert numbers(ready) == [3, 4]
    assert 0.1 < monotonic() - began_s < 60


def test_select_returns_nothing_after_its_timeout_and_not_before(selector, pairs):
    assert selector.batch(pairs[0][0].fileno())
    assert selector.select(0) == []
    for _ in range(2):  # a loop whose streams are all silent does not look for them every few milliseconds
        began_s = monotonic()
        assert selector.select(0.3) == []
        assert 0.25 < monotonic() - began_s < 60


def test_files_are_not_batched_where_there_are_few(pairs):
    selector, only = BatchingSelector(), pairs[0][0].fileno()
    selector.register(only, READ)
    assert not selector.batch(only)
    selector.close()


def test_a_file_that_is_not_registered_is_not_batched(selector):
    assert not selector.batch(9999)


def test_a_batched_file_reported_at_once_again_waits_for_no_pause(selector, pairs, monkeypatch):
    monkeypatch.setattr(batched_reads, "_PAUSE_S", 100)
    file = pairs[0][0].fileno()
    assert selector.batch(file)
    begin_pause(selector, pairs, 0)
    selector.report_at_once(file)
    pairs[0][1].send(b"x")
    assert numbers(selector.select(10)) == [0]


def test_the_events_of_a_batched_file_can_be_modified_and_it_can_be_unregistered(selector, pairs, monkeypatch):
    monkeypatch.setattr(batched_reads, "_PAUSE_S", 100)
    first, second = pairs[0][0].fileno(), pairs[1][0].fileno()
    assert selector.batch(first)
    assert selector.batch(second)
    assert set(selector.get_map()) == {reader.fileno() for reader, _ in pairs}
    assert selector.get_map().get(first).data == 0
    with pytest.raises(KeyError):
        selector.register(first, READ)
    selector.modify(first, READ | selectors.EVENT_WRITE, "modified")
    assert [key.data for key, _ in selector.select(10)] == ["modified"]
    selector.unregister(second)
    assert selector.get_map().get(second) is None
    assert selector.register(second, READ, 1).data == 1


def test_a_closed_batched_file_leaves_nothing_behind(selector, pairs):
    file = pairs[0][0].fileno()
    assert selector.batch(file)
    selector.unregister(file)
    pairs[0][1].send(b"x")
    assert selector.select(0.05) == []


def test_a_socket_that_was_closed_before_its_first_token_was_read_is_left_alone(selector):
    connection = StampedSocket()
    connection.read_in_batches_by(selector)
    connection.close()
    connection.first_token_was_read(connection.sent_ns)
    assert selector.select(0) == []


def test_the_loop_reads_and_writes_batched_connections():
    async def hello(reader, writer):
        await reader.readexactly(1)
        writer.write(b"hello")
        writer.close()

    async def texts_of_all():
        server = await asyncio.start_server(hello, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        selector = batched_reads.selector_of_running_loop()
        for _, writer in connections:
            assert selector.batch(writer.get_extra_info("socket").fileno())
            writer.write(b"?")
        texts = [await reader.readexactly(5) for reader, _ in connections]
        for _, writer in connections:
            writer.close()
            await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return texts

    loop = new_event_loop()
    try:
        assert loop.run_until_complete(texts_of_all()) == [b"hello"] * 20
    finally:
        loop.close()


@again_if_stalled(0.02)
def test_many_streams_are_batched_and_their_connections_are_used_again(fake, monkeypatch):
    fake.default = answer("word " * 10, ttft=0.1, gap=0.05)
    batched, hurried, clocks = [], [], []

    def batch(self, file, *, usual=BatchingSelector.batch):
        batched.append(usual(self, file))
        return batched[-1]

    def report_at_once(self, file, *, usual=BatchingSelector.report_at_once):
        hurried.append(file)
        usual(self, file)

    monkeypatch.setattr(BatchingSelector, "batch", batch)
    monkeypatch.setattr(BatchingSelector, "report_at_once", report_at_once)
    service = OpenAIService("fake-model", base_url=fake.base_url, api_key="sk-test-0123456789abcdef")

    async def ask_all():
        return await asyncio.gather(*(service.achat("Hi") for _ in range(20)))

    for _ in range(2):
        responses = asyncio.run(ask_all())
        assert {response.content for response in responses} == {"word " * 10}
        clocks += [response.timing.arrival_clock for response in responses]
    assert clocks.count("kernel") > 10, "on a busy machine, some are read too late to be told apart"
    assert sum(batched) > 20
    assert len(hurried) >= 15
