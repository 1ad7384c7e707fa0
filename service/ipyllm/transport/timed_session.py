"""HTTP sessions that note the times of their requests."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp

from ipyllm.transport.stamped_socket import stamped_socket, stamped_socket_of
from ipyllm.transport.wire_times import WireTimes, current_times

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["timed_session"]


def timed_session(connector: Mapping[str, Any], **options: Any) -> aiohttp.ClientSession:
    """Make a session that notes its times in the :class:`WireTimes` of the running task, if there is one.

    ``connector`` has the options of its ``TCPConnector``.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=stamped_socket, **connector),
        response_class=_TimedResponse,
        trace_configs=[_trace()],
        **options,
    )


class _TimedResponse(aiohttp.ClientResponse):
    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        used = stamped_socket_of(connection.transport)  # before the response is complete and has no connection any more
        response = await super().start(connection)
        times = current_times.get()
        if times is not None:
            times.response_began(used)
        return response


def _trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(partial(_note, WireTimes.connecting))
    trace.on_connection_create_end.append(partial(_note, WireTimes.connected))
    if not isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop):  # uvloop, Windows: sockets are bypassed
        trace.on_request_chunk_sent.append(partial(_note, WireTimes.wrote))
    return trace


async def _note(note: Callable[[WireTimes], None], *_: object) -> None:
    times = current_times.get()
    if times is not None:
        note(times)
