"""Has requests to a fake server sent by the ``openai`` client alone, without the prepared client of the fast path."""

from __future__ import annotations

from ipyllm.runtime.service_thread import service_thread
from tests import fakes

__all__ = ["leave_to_the_client"]


def leave_to_the_client(fake, address):
    """Redirect a request to ``address``, so that from now on only the client sends requests there."""

    async def ask():
        async with service_thread().transport.stream(address, {}, model="m", connect_s=10) as chunks:
            assert [chunk async for chunk in chunks]

    moved = fakes.redirect(f"{fake.base_url}/chat/completions")
    fake.reply(moved, moved, fakes.answer())
    service_thread().submit(ask()).result(60)
    assert [request.status for request in fake.requests] == [307, 307, 200]
    fake.requests.clear()
