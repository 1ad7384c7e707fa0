"""Parses server-sent events (WHATWG HTML §9.2), as far as the services use them.

Works on bytes, so that a UTF-8 character split between two packets is complete before it is decoded.
"""

from __future__ import annotations

__all__ = ["ServerSentEvents"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_USUAL = (b"data: {", b"data: [")  # how the only line of an event begins, JSON or the end


class ServerSentEvents:
    """Parses an event stream incrementally."""

    __slots__ = ("_buffer", "_data", "_event", "_first_line", "_scanned", "_skip_newline")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._data: list[bytes] = []
        self._event = b""
        self._first_line = True
        self._skip_newline = False  # the previous piece ended with "\r"

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return the events that ``data`` completes, as (event name, data) pairs."""
        if data.endswith(b"\n\n") and self._is_between_events and (usual := _usual_events(data)) is not None:
            self._first_line = False
            return usual
        if b"\r" in data or self._skip_newline:
            data = self._unify_line_ends(data)
        buffer = self._buffer
        buffer += data
        # Only the new bytes are searched: a 10 MB line in 64 kB pieces must not cost 160 searches of the full line.
        last = buffer.rfind(b"\n", self._scanned)
        if last < 0:
            self._scanned = len(buffer)
            return []
        complete = bytes(buffer[: last + 1])
        del buffer[: last + 1]
        self._scanned = len(buffer)
        events: list[tuple[bytes, bytes]] = []
        if self._first_line:
            self._first_line = False
            complete = complete.removeprefix(_BYTE_ORDER_MARK)
        for line in complete.split(b"\n")[:-1]:
            if not line:
                self._dispatch(events)
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line.startswith(b"event:"):
                self._event = line[6:].strip()
            elif line.startswith(b'{"'):  # no field of the standard: JSON lines, and errors between events
                events.append((self._event, line))
            # comments (":"), "id:" and "retry:" are not used
        return events

    @property
    def _is_between_events(self) -> bool:
        return not (self._buffer or self._data or self._event or self._skip_newline)

    def _unify_line_ends(self, data: bytes) -> bytes:
        """Return ``data`` with all of its line ends, CRLF, LF or CR, as LF."""
        if self._skip_newline and data:
            data = data.removeprefix(b"\n")
            self._skip_newline = False
        if data.endswith(b"\r"):
            self._skip_newline = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _dispatch(self, events: list[tuple[bytes, bytes]]) -> None:
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            # Some servers keep the connection alive with an empty event, or with a comment in an event.
            if data and not data.startswith(b":"):
                events.append((self._event, data))
            self._data = []
        self._event = b""

    def close(self) -> list[tuple[bytes, bytes]]:
        """Return the last event at the end of the stream, whose line and closing blank line may not have ended."""
        return self.feed(b"\n\n")


def _usual_events(data: bytes) -> list[tuple[bytes, bytes]] | None:
    """Return the events of whole lines that are all as most servers write them, in a third of the time; else None."""
    events = data.split(b"\n\n")
    events.pop()  # what follows the last blank line: nothing
    if 2 * len(events) != data.count(b"\n") or b"\r" in data:
        return None
    for event in events:
        if not event.startswith(_USUAL):
            return None
    return [(b"", event[6:]) for event in events]
