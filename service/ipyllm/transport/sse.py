"""Parses server-sent events, as far as the chat-completions protocol uses them.

Works on bytes, so that a UTF-8 character split between two packets is complete before it is decoded.
"""

from __future__ import annotations

__all__ = ["ServerSentEvents"]


class ServerSentEvents:
    """Parses an event stream incrementally."""

    __slots__ = ("_buffer", "_data", "_event", "_scanned")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._data: list[bytes] = []
        self._event = b""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return the events that ``data`` completes, as (event name, data) pairs."""
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
        for raw in complete.split(b"\n")[:-1]:
            line = raw[:-1] if raw.endswith(b"\r") else raw
            if not line:
                self._dispatch(events)
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line.startswith(b"event:"):
                self._event = line[6:].strip()
            # comments (":"), "id:" and "retry:" are not used
        return events

    def _dispatch(self, events: list[tuple[bytes, bytes]]) -> None:
        if self._data:
            events.append((self._event, self._data[0] if len(self._data) == 1 else b"\n".join(self._data)))
            self._data = []
        self._event = b""

    def close(self) -> list[tuple[bytes, bytes]]:
        """Return the last event at the end of the stream, if only its closing blank line was missing."""
        events: list[tuple[bytes, bytes]] = []
        if self._buffer.startswith(b"data: [DONE]"):  # some servers end without a newline
            events = self.feed(b"\n")
        self._dispatch(events)
        return events

    def unfinished_line(self) -> bytes:
        """Return the bytes of a line that has not ended."""
        return bytes(self._buffer)
