"""Requests whose head is written once are those of aiohttp, which sends those that it must add something to."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from yarl import URL

from ipyllm.transport.direct_post import DirectPost, NotDirectError
from ipyllm.transport.timed_session import timed_session

HEADERS = {"Authorization": "Bearer sk-0123456789", "Content-Type": "application/json", "X-Title": "a title"}
LIMITS = aiohttp.ClientTimeout(sock_connect=5)
REPLY = b"HTTP/1.1 200 OK\r\n%sContent-Length: 2\r\n\r\nok"


async def talk(use, *, reply=REPLY % b""):
    """Return the requests that a server gets while ``use(session, direct, url)`` runs."""
    requests = []

    async def respond(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(next(line for line in head.lower().split(b"\r\n") if b"content-length" in line).split()[1])
                requests.append((head, await reader.readexactly(length), writer.get_extra_info("peername")))
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat?api-version=1%202")
    async with server, timed_session({}, headers=HEADERS, auto_decompress=False, cookie_jar=jar()) as session:
        await use(session, DirectPost(session, url), url)
    return requests


def jar():
    return aiohttp.CookieJar(unsafe=True)  # of an address without a name


def test_the_request_is_the_one_that_aiohttp_sends():
    async def use(session, direct, url):
        for content in (b"{}", b'{"text": "\xc3\xa9"}'):
            async with await direct.send(content, LIMITS) as response:
                assert (response.status, await response.read()) == (200, b"ok")
            async with session.post(url, data=content, timeout=LIMITS) as response:
                await response.read()

    first, first_of_aiohttp, second, second_of_aiohttp = asyncio.run(talk(use))
    for (head, body, _), (expected_head, expected_body, _) in ((first, first_of_aiohttp), (second, second_of_aiohttp)):
        assert head.split(b"\r\n")[0] == expected_head.split(b"\r\n")[0] == b"POST /v1/chat?api-version=1%202 HTTP/1.1"
        assert sorted(head.split(b"\r\n")) == sorted(expected_head.split(b"\r\n"))
        assert body == expected_body


def test_a_connection_is_used_again():
    async def use(_, direct, __):
        for _ in range(3):
            await (await direct.send(b"{}", LIMITS)).read()

    requests = asyncio.run(talk(use))
    assert (len(requests), len({peer for *_, peer in requests})) == (3, 1)


def test_once_a_server_has_set_a_cookie_aiohttp_sends_it():
    async def use(session, direct, url):
        await (await direct.send(b"{}", LIMITS)).read()
        with pytest.raises(NotDirectError):
            await direct.send(b"{}", LIMITS)
        await (await session.post(url, data=b"{}")).read()

    first, second = asyncio.run(talk(use, reply=REPLY % b"Set-Cookie: a=b; Path=/\r\n"))
    assert b"Cookie: a=b" not in first[0]
    assert b"Cookie: a=b" in second[0]


def test_what_is_not_sent_in_one_piece_is_left_to_aiohttp():
    async def use(_, direct, __):
        with pytest.raises(NotDirectError):
            await direct.send(b"x" * 100_000, LIMITS)

    assert asyncio.run(talk(use)) == []


@pytest.mark.parametrize(
    "changed", ["aiohttp.ClientRequest", "aiohttp.client_proto.ResponseHandler.set_response_params"]
)
def test_another_aiohttp_sends_for_itself_and_nothing_is_sent_twice(changed, monkeypatch):
    async def use(_, direct, __):
        for _ in range(2):
            with pytest.raises(NotDirectError):
                await direct.send(b"{}", LIMITS)

    monkeypatch.setattr(changed, lambda _self: None)
    assert asyncio.run(talk(use)) == []


def test_a_connection_that_is_lost_is_aiohttps_error_and_is_not_used_again():
    async def use(session, direct, _):
        with pytest.raises(aiohttp.ClientError):
            await direct.send(b"{}", LIMITS)
        assert not session.connector._conns

    assert len(asyncio.run(talk(use, reply=b"nothing like HTTP\r\n\r\n"))) == 1


def test_a_header_with_a_line_end_is_never_written():
    async def use():
        async with timed_session({}, headers={"X-Bad": "a\r\nX-Other: b"}) as session:
            with pytest.raises(NotDirectError):
                await DirectPost(session, URL("http://127.0.0.1:9/")).send(b"{}", LIMITS)

    asyncio.run(use())
