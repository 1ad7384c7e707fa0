"""TCP socket that records when data was sent and when it arrived, however late the event loop comes to read it.

Linux stamps each segment that it receives (``SO_TIMESTAMPNS``, socket(7)). A read returns the stamp of the last segment
that it copied. So, until the first token has arrived, a read takes only bytes that have one and the same stamp. Later
reads take what there is, with the stamp of the last segment in it. A stamp is never earlier than the arrival. It may be
later where the kernel has joined segments that waited unread, which :attr:`StampedSocket.joined` tells.

TLS reads and writes through the same socket, so this works below it.
"""

from __future__ import annotations

import re
import socket
import struct
import sys
from bisect import bisect_left
from contextlib import suppress
from itertools import islice
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakValueDictionary

from ipyllm.transport.batched_reads import selector_of_running_loop

if TYPE_CHECKING:
    import asyncio

    from aiohttp import AddrInfoType

    from ipyllm.transport.batched_reads import BatchingSelector

__all__ = ["StampedSocket", "stamped_socket", "stamped_socket_of"]

_Ancillary: TypeAlias = "list[tuple[int, int, bytes]]"

_TIMESTAMPNS: Final = 35  # SO_TIMESTAMPNS = SCM_TIMESTAMPNS, asm-generic/socket.h; the module socket has no name for it
_STAMP: Final = struct.Struct("@qq")  # struct timespec
_HAS_STAMPS: Final = sys.platform == "linux" and sys.maxsize > 2**32
_SPACE: Final = socket.CMSG_SPACE(_STAMP.size) if _HAS_STAMPS else 0
_DATA_SEGMENTS_IN: Final = struct.Struct("@152xI")  # tcpi_data_segs_in of struct tcp_info, linux/tcp.h
_LAST_DATA_SENT_MS: Final = struct.Struct("@44xI")  # tcpi_last_data_sent, exact to a tick of the kernel: up to 10 ms
_MAX_SEND_NS: Final = 8_000_000
_ONE_MOMENT_NS: Final = 20_000
_TRIES: Final = 5
_NEAR: Final = 2  # events, of which a segment is likely to end with one
_UNKNOWN: Final = 3  # segments: more than can be told apart
_READ_BY_STAMP: Final = 1 << 16  # bytes of a response in which the first token is expected
_HEAD: Final = b"HTTP/"
_END_OF_HEAD: Final = b"\r\n\r\n"
_ENDS: Final = re.compile(rb"\r\n\r\n|\n\n\r\n")  # of the head, and of an event in the chunked encoding of HTTP
_LARGEST: Final = 1 << 14  # bytes of one read: asyncio asks for 256 kB, and a buffer of that size costs up to 15 µs


class StampedSocket(socket.socket):
    """Socket that notes the times of what it sends and receives, as ``perf_counter_ns``; None before the first.

    Attributes
    ----------
    sent_ns : int or None
        When bytes were last handed to the kernel.
    read_ns : int or None
        When bytes were last read.
    request_ns : int or None
        When bytes had last been sent before that: over a connection in the pool, the next request may go out before
        the response to this one has been looked at.
    earliest_ns : int or None
        When nothing waited to be read for the last time before that, as far as is known.
    """

    __slots__ = (
        *("_by_stamp", "_emptied_ns", "_is_batched", "_joined", "_n_segments", "_selector", "_stamp"),
        *("earliest_ns", "read_ns", "request_ns", "sent_ns"),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sent_ns: int | None = None
        self.read_ns: int | None = None
        self.request_ns: int | None = None
        self.earliest_ns: int | None = None
        self._emptied_ns: int | None = None
        self._joined = False
        self._stamp: _Ancillary = []
        self._by_stamp = 0  # bytes that are still read stamp by stamp
        self._n_segments = 0  # of those received, how many have been read
        self._selector: BatchingSelector | None = None
        self._is_batched = False

    def read_in_batches_by(self, selector: BatchingSelector | None) -> None:
        """Have the selector of the loop report what arrives after the first token in batches."""
        self._selector = selector

    # ---- sending ------------------------------------------------------------------------------------

    def send(self, data: Any, flags: int = 0) -> int:
        """Send data. What is received next is read stamp by stamp."""
        before_ns = self._note_send()
        sent = super().send(data, flags)
        self._correct_send(before_ns)
        return sent

    def sendmsg(self, *args: Any) -> int:
        """Send data from several buffers, as asyncio does from Python 3.12 on."""
        before_ns = self._note_send()
        sent = super().sendmsg(*args)
        self._correct_send(before_ns)
        return sent

    def _note_send(self) -> int:
        if self._is_batched and self._selector is not None:
            self._selector.report_at_once(self.fileno())
            self._is_batched = False
        if _HAS_STAMPS:
            self._by_stamp = _READ_BY_STAMP
            self._n_segments = self._segments_in()
            with suppress(OSError):  # sending says better what is wrong
                self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        # Before the system call, which gives up the interpreter's lock: getting it back may take milliseconds.
        self.sent_ns = before_ns = perf_counter_ns()
        return before_ns

    def _correct_send(self, before_ns: int) -> None:
        """Correct the time of a send if the process was stopped between noting it and the system call."""
        after_ns = perf_counter_ns()
        if _HAS_STAMPS and after_ns - before_ns > _MAX_SEND_NS:
            info = self._tcp_info()
            sent_ns = after_ns - (_LAST_DATA_SENT_MS.unpack_from(info)[0] if info else 0) * 1_000_000
            if sent_ns - before_ns > _MAX_SEND_NS:
                self.sent_ns = sent_ns

    # ---- receiving ----------------------------------------------------------------------------------

    def first_token_was_read(self, request_ns: int | None) -> None:
        """Read from now on what there is, whatever its stamps, if this is still the response to that request."""
        if self.sent_ns == request_ns:
            self._by_stamp = 0
            # A socket that has been closed since has no number any more.
            if self._selector is not None and not self._is_batched and self.fileno() >= 0:
                self._is_batched = self._selector.batch(self.fileno())

    @property
    def joined(self) -> bool:
        """Whether the bytes last read may be of several segments, of which the kernel kept only the last stamp."""
        return self._joined or self._by_stamp <= 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive data and note its stamp."""
        if not _HAS_STAMPS:
            self.request_ns = self.sent_ns
            return super().recv(size, flags)
        size = min(size, _LARGEST)
        if self._by_stamp > 0:
            return self._recv_one_stamp(size)
        data, self._stamp, _, _ = self.recvmsg(size, _SPACE, flags)
        self.read_ns, self.request_ns = perf_counter_ns(), self.sent_ns
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive data into a buffer, as TLS does, and note its stamp."""
        if not _HAS_STAMPS:
            self.request_ns = self.sent_ns
            return super().recv_into(buffer, nbytes, flags)
        view = memoryview(buffer)[: nbytes or None]
        if self._by_stamp > 0:
            data = self._recv_one_stamp(min(len(view), _LARGEST))
            view[: len(data)] = data
            return len(data)
        size, self._stamp, _, _ = self.recvmsg_into([view], _SPACE, flags)
        self.read_ns, self.request_ns = perf_counter_ns(), self.sent_ns
        return size

    @property
    def arrived_ns(self) -> int | None:
        """When the kernel received the bytes last read, as ``perf_counter_ns``; None if it did not tell."""
        for _, kind, data in self._stamp:
            if kind == _TIMESTAMPNS:
                perf_ns, now_ns = _both_clocks()
                seconds, nanoseconds = _STAMP.unpack(data)
                arrived_ns = perf_ns - now_ns + seconds * 1_000_000_000 + nanoseconds
                # Arrived after it was read, or before the request was sent: the system's clock was set in between.
                return arrived_ns if (self.request_ns or 0) <= arrived_ns <= (self.read_ns or 0) else None
        return None

    def _recv_one_stamp(self, size: int) -> bytes:
        """Receive the bytes that wait, up to the first with another stamp, and with them the head of a response."""
        before_ns, n_segments = perf_counter_ns(), self._segments_in()
        n_waiting = n_segments - self._n_segments if n_segments else _UNKNOWN
        n_read = 1  # segments, at least
        if n_waiting <= 1:
            data, stamp, _, _ = self.recvmsg(size, _SPACE)
            length = len(data)
            if self._segments_in() != n_segments:  # one came just now, and may have been read too
                n_waiting = _UNKNOWN
        else:
            stamp = first = self._peek(1)[1]
            data, last = self._peek(size)
            start = _length_of_head(data)
            if 0 < start < len(data):  # no figure depends on when the head came
                stamp = self._peek(start + 1)[1]
                n_read = 1 if stamp == first else 2
            length = self._length_of_stamp(stamp, data, last, start)
            if length:
                super().recv(length, socket.MSG_TRUNC)  # removes what was peeked at from the queue, without copying it
        self.earliest_ns = self._emptied_ns
        if length == len(data) < size:
            self._emptied_ns, self._n_segments = before_ns, n_segments
            self._joined = n_waiting > n_read
            self._acknowledge()
        else:
            self._n_segments += n_read
            self._joined = n_waiting > n_read + 1  # others wait, with another stamp
        self._by_stamp -= length
        self._stamp, self.read_ns, self.request_ns = stamp, perf_counter_ns(), self.sent_ns
        return data[:length]

    def _acknowledge(self) -> None:
        """Acknowledge what was read, and have the kernel delay that of what comes next.

        A segment of the same machine is joined to the one before it only if that is acknowledged. When the kernel's
        timer has to acknowledge, 40 ms after an arrival, it delays no more: it acknowledges the next at once.
        """
        with suppress(OSError):  # the next read says better what is wrong
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)

    def _peek(self, size: int) -> tuple[bytes, _Ancillary]:
        data, ancillary, _, _ = self.recvmsg(size, _SPACE, socket.MSG_PEEK)
        return data, ancillary

    def _length_of_stamp(self, stamp: _Ancillary, data: bytes, last: _Ancillary, start: int = 0) -> int:
        """Return how many bytes of ``data``, which is next, have this stamp from ``start`` on, and ``last`` at its end.

        Peeking at n bytes gives the stamp of the n-th. At least one: a segment that comes just now may be joined to the
        first, which then has another stamp. To return no bytes would mean the end of the connection.
        """
        if stamp == last:
            return len(data)

        def is_later(length: int) -> bool:
            return self._peek(length)[1] != stamp

        matches = _ENDS.finditer(data, start, len(data) - 1)  # where segments usually end
        ends: list[int] = []
        n_before = 0  # of the ends, how many are surely not later
        for match in islice(matches, _NEAR):  # mostly one event or two, while many others wait
            ends.append(end := match.end())
            if is_later(end + 1):
                if not is_later(end):
                    return end
                break
            n_before += 1
        else:
            ends += [match.end() for match in matches]
        n = bisect_left(ends, True, lo=n_before, key=is_later)
        begin = ends[n - 1] if n else start
        if n and is_later(begin + 1):
            return begin
        lengths = range(begin + 1, ends[n] if n < len(ends) else len(data))
        return max(1, begin + bisect_left(lengths, True, key=is_later))

    def _tcp_info(self) -> bytes:
        try:
            info = self.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _DATA_SEGMENTS_IN.size)
        except OSError:
            return b""
        return info if len(info) == _DATA_SEGMENTS_IN.size else b""  # shorter before Linux 4.6

    def _segments_in(self) -> int:
        """Return how many segments with data have been received; 0 if that is not known."""
        info = self._tcp_info()
        count: int = _DATA_SEGMENTS_IN.unpack(info)[0] if info else 0
        return count


def _length_of_head(data: bytes) -> int:
    """Return how many bytes of a response are its head; 0 if it does not begin or end there."""
    return data.find(_END_OF_HEAD) + len(_END_OF_HEAD) if data.startswith(_HEAD) and _END_OF_HEAD in data else 0


def _both_clocks() -> tuple[int, int]:
    """Return ``perf_counter_ns`` and ``time_ns`` of one moment."""
    for _ in range(_TRIES):
        before_ns, now_ns, after_ns = perf_counter_ns(), time_ns(), perf_counter_ns()
        if after_ns - before_ns < _ONE_MOMENT_NS:  # else the thread was stopped in between
            break
    return before_ns, now_ns


def stamped_socket(address: AddrInfoType) -> socket.socket:
    """Make a socket for an address as ``getaddrinfo`` returns it: a ``socket_factory`` for aiohttp."""
    family, kind, protocol, _, _ = address
    made = StampedSocket(family, kind, protocol)
    if _HAS_STAMPS:
        with suppress(OSError):  # without the option there are no stamps, and the rows say so
            made.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
            made.read_in_batches_by(selector_of_running_loop())
    _open[made.fileno()] = made
    return made


def stamped_socket_of(transport: asyncio.BaseTransport | None) -> StampedSocket | None:
    """Return the socket of a transport, below TLS, if it is one of ours."""
    view = transport.get_extra_info("socket") if transport is not None else None
    found = _open.get(view.fileno()) if view is not None else None
    return found if found is not None and found.fileno() >= 0 else None


_open: WeakValueDictionary[int, StampedSocket] = WeakValueDictionary()
"""Sockets by file descriptor, because a transport does not give away its own."""
