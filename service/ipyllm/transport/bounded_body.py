"""Bounds what the ``openai`` client reads by itself: the bodies of errors, and lists of models."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import httpx2

from ipyllm.transport.size_bounds import SizeBounds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["ResponseTooLargeError", "bounded"]

_FIRST_ERROR: Final = 400
_OF_THE_SENT_BODY: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class ResponseTooLargeError(httpx2.RequestError):
    """A response is larger than the settings allow. A RequestError, because the client passes these on as its own."""


def bounded(response: httpx2.Response, *, is_streamed: bool) -> httpx2.Response:
    """Return a response whose body is inflated while it is read, and read no further than the settings allow.

    The body of an error ends there; one that is not streamed raises :class:`ResponseTooLargeError`. A stream is
    returned as it is: :mod:`ipyllm.transport.decode` counts its bytes.
    """
    is_error = response.status_code >= _FIRST_ERROR
    if is_streamed and not is_error:
        return response
    bounds = SizeBounds.current()
    body = _BoundedBody(response, bounds.error if is_error else bounds.event, raises=not is_error)
    headers = [(n, value) for n, value in response.headers.multi_items() if n.lower() not in _OF_THE_SENT_BODY]
    return httpx2.Response(
        response.status_code, headers=headers, stream=body, request=response.request, extensions=response.extensions
    )


class _BoundedBody(httpx2.AsyncByteStream):
    """The first bytes of the body of a response, inflated."""

    def __init__(self, response: httpx2.Response, max_bytes: int, *, raises: bool) -> None:
        self._response = response
        self._max_bytes = max_bytes
        self._raises = raises

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._max_bytes
        async for data in self._response.aiter_bytes():
            if len(data) > left and self._raises:
                raise ResponseTooLargeError("is too large", request=self._response.request)
            yield data[:left]
            left -= len(data)
            if left < 0:
                return
            await asyncio.sleep(0)  # one packet may inflate to hundreds

    async def aclose(self) -> None:
        await self._response.aclose()
