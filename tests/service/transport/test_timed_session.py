"""A session reads whole bodies, however late they are read, and resumes only what was paused."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.client_proto import ResponseHandler

from ipyllm.transport.timed_session import timed_session

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"a piece of the answer\n"


@pytest.fixture
def resumed(monkeypatch):
    """Return the list of what aiohttp's own method was asked to resume: whether its reading was paused."""
    calls = []
    original = ResponseHandler.resume_reading

    def resume_reading(self, *args, **options):
        calls.append(self._reading_paused)
        return original(self, *args, **options)

    monkeypatch.setattr(ResponseHandler, "resume_reading", resume_reading)
    return calls


async def body_of(n_chunks, *, read_late=False):
    """Return the body of a response in so many chunks; with ``read_late``, read when no more of it may wait."""

    async def respond(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK) * n_chunks + b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    body = bytearray()
    async with server, timed_session({}) as session, session.get(f"http://127.0.0.1:{port}/") as response:
        while read_late and not response.connection.protocol._reading_paused:
            await asyncio.sleep(0.01)
        async for piece in response.content.iter_any():
            body += piece
    return bytes(body)


def test_reading_that_was_not_paused_is_not_resumed(resumed):
    assert asyncio.run(body_of(100)) == CHUNK * 100
    assert resumed == []


def test_a_body_that_was_paused_is_read_to_its_end(resumed):
    assert asyncio.run(body_of(100_000, read_late=True)) == CHUNK * 100_000
    assert resumed
    assert all(resumed)
