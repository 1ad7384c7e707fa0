"""HTTP sessions that note the times of their requests."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

from ipyllm.transport.stamped_socket import stamped_socket, stamped_socket_of
from ipyllm.transport.wire_times import current_times

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TimedResponse", "timed_session"]

_SUCCESS = range(200, 300)


def timed_session(connector: Mapping[str, Any], **options: Any) -> aiohttp.ClientSession:
    """Make a session that notes its times in the :class:`WireTimes` of the running task, if there is one.

    ``connector`` has the options of its ``TCPConnector``.
    """
    return aiohttp.ClientSession(
        connector=_TimedConnector(socket_factory=stamped_socket, **connector),
        response_class=TimedResponse,
        trace_configs=_traces(),
        **options,
    )


class _Protocol(ResponseHandler):
    """aiohttp's protocol, but that reading which was not paused is not resumed.

    From 3.14 on, aiohttp resumes it after each chunk of a body that is read, by way of five calls. Only what was paused
    has something left to parse.
    """

    def resume_reading(self, *args: Any, **options: Any) -> None:
        """Resume reading that was paused."""
        if self._reading_paused:
            super().resume_reading(*args, **options)


class _TimedConnector(aiohttp.TCPConnector):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast("partial[ResponseHandler]", partial(_Protocol, loop=self._loop))

    async def _create_connection(self, *args: Any) -> Any:
        times = current_times.get()
        if times is None:
            return await super()._create_connection(*args)
        times.connecting()
        connection = await super()._create_connection(*args)
        times.connected()
        return connection


class TimedResponse(aiohttp.ClientResponse):
    """A response that notes when it began, and over which socket it comes."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Wait for the head of the response."""
        used = stamped_socket_of(connection.transport)  # before the response is complete and has no connection any more
        response = await super().start(connection)
        times = current_times.get()
        if times is not None:
            times.response_began(used, is_accepted=response.status in _SUCCESS)
        return response


def _traces() -> list[aiohttp.TraceConfig]:
    """Return what notes when a request was written, for loops that bypass our sockets, as on Windows."""
    if isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop):
        return []
    trace = aiohttp.TraceConfig()
    trace.on_request_chunk_sent.append(_wrote)
    return [trace]


async def _wrote(*_: object) -> None:
    times = current_times.get()
    if times is not None:
        times.wrote()
