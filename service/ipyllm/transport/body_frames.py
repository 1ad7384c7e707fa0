"""Splits the body of a response into JSON texts by what it is, whatever its ``Content-Type`` says.

Servers and proxies label streams as JSON, whole answers as streams, and errors as text.
"""

from __future__ import annotations

import json

from ipyllm.transport.large_json import LARGE
from ipyllm.transport.size_bounds import SizeBounds, too_large
from ipyllm.transport.sse import ServerSentEvents

__all__ = ["BodyFrames", "is_json"]

_SPACE = b"\xef\xbb\xbf \t\r\n"  # with the byte order mark; some servers send empty lines until they have an answer

_HEAD_BYTES = 1_000  # more than a message quotes, so that a key in what is quoted is whole, and can be masked

_FIELDS = (b":", b"data:", b"event:", b"id:", b"retry:")


class BodyFrames:
    """Splits a body incrementally: an event stream, lines of JSON, or one JSON text.

    Of a body that passes a bound, what is within it is split; then :meth:`feed` and :meth:`close` raise ``api_error``,
    which names the model.

    Examples
    --------
    >>> frames = BodyFrames(SizeBounds.current())
    >>> frames.feed(b'{"choices": '), frames.feed(b"[]}"), frames.close(), frames.is_whole
    ([], [], [(b'', b'{"choices": []}')], True)
    """

    __slots__ = (
        *("_bounds", "_head", "_line_searched", "_model", "_n_bytes", "_n_pending", "_sse"),
        *("begins_with", "is_whole"),
    )

    def __init__(self, bounds: SizeBounds, model: str = "") -> None:
        self._bounds = bounds
        self._model = model
        self._n_bytes = 0
        self._n_pending = 0  # of the pieces of a stream since the one that completed an event
        self._sse: ServerSentEvents | None = None
        self._head = bytearray()  # as long as it is not known what follows
        self._line_searched = 0
        self.is_whole = False
        """Whether the body is one JSON text, which ends where the body ends."""
        self.begins_with = b""
        """The first bytes, but for white space."""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return what ``data`` completes, as (event name, JSON) pairs."""
        self._n_bytes += len(data)
        if self._n_bytes > self._bounds.answer:
            data = self._within_bounds(data)
        if self._sse is None:
            return self._begin(data)
        events = self._sse.feed(data)
        if events:
            self._n_pending = 0
        else:
            self._count_pending(data)
        return events

    def _within_bounds(self, data: bytes) -> bytes:
        excess = self._n_bytes - self._bounds.answer
        if excess >= len(data):
            self._raise_if_too_large()
        return data[: len(data) - excess]

    def _raise_if_too_large(self) -> None:
        if self._n_bytes > self._bounds.answer:
            raise too_large("in one answer", self._bounds.answer, "max_answer_mb", self._model)

    def _count_pending(self, data: bytes) -> None:
        self._n_pending += len(data)
        if self._n_pending > self._bounds.event:
            raise too_large("without the end of an event", self._bounds.event, "max_event_mb", self._model)

    def _begin(self, data: bytes) -> list[tuple[bytes, bytes]]:
        self._head += data if self._head else data.lstrip(_SPACE)
        if not self.begins_with:
            self.begins_with = bytes(self._head[:_HEAD_BYTES])
        if not self.begins_with or self.is_whole:
            return []
        if self.begins_with[:1] in b"{[":
            end = self._head.find(b"\n", self._line_searched)
            self._line_searched = len(self._head)
            if end < 0:
                return []
            if not _is_json_line(self._head[:end]):
                self.is_whole = True
                return []
        self._sse = ServerSentEvents()
        head, self._head = bytes(self._head), bytearray()
        return self._sse.feed(head)

    @property
    def is_foreign(self) -> bool:
        """Whether the body is neither JSON nor an event stream."""
        begins = self.begins_with
        is_sse = any(begins.startswith(field) or field.startswith(begins) for field in _FIELDS)
        return bool(begins) and not is_sse and begins[:1] not in b"{["

    def close(self) -> list[tuple[bytes, bytes]]:
        """Return the rest at the end of the body."""
        self._raise_if_too_large()
        if self._sse is not None:
            return self._sse.close()
        whole = bytes(self._head.strip(_SPACE))
        self.is_whole = bool(whole)
        return [(b"", whole)] if whole else []


def _is_json_line(line: bytearray) -> bool:
    # A large one is parsed later, and not on the loop: an answer on many lines has short ones.
    return is_json(bytes(line)) if len(line) <= LARGE else line.rstrip().endswith((b"}", b"]"))


def is_json(text: bytes) -> bool:
    """Return whether ``text`` is complete JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
