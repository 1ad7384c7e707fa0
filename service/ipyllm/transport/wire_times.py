"""Times of one request and its response on the wire: connecting, sending, arrivals."""

from __future__ import annotations

from contextvars import ContextVar
from time import perf_counter_ns
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ipyllm.transport.stamped_socket import StampedSocket

__all__ = ["Arrival", "WireTimes", "current_times"]


class Arrival(NamedTuple):
    """When bytes of a response arrived.

    Attributes
    ----------
    at_ns : int
        Their arrival, as ``perf_counter_ns``: stamped by the kernel, else when they were read.
    read_delay_ns : int or None
        How much later they were read, or how much earlier they may have arrived; None if not known.
    by_kernel : bool
        Whether the kernel's stamp tells their arrival.
    """

    at_ns: int
    read_delay_ns: int | None = None
    by_kernel: bool = False


class WireTimes:
    """Times of one request, as ``perf_counter_ns``. Make it when the request is ready to be sent.

    Attributes
    ----------
    ready_ns : int
        When the request could be sent.
    connect_ns : int or None
        Nanoseconds that it took to open connections: DNS, TCP, TLS; None if one was open.
    sent_ns : int or None
        When the last bytes of the request were handed to the kernel.
    is_connecting : bool
        Whether a connection is being opened.
    heard_ns : int or None
        When bytes of the response last arrived, of whatever kind.
    is_accepted : bool
        Whether the response began, and is no refusal.
    awaits_first_token : bool
        Whether :meth:`first_token_arrived` has not been called yet.
    """

    __slots__ = (
        *("_connecting_since_ns", "_socket", "awaits_first_token", "connect_ns"),
        *("heard_ns", "is_accepted", "is_connecting", "ready_ns", "sent_ns"),
    )

    def __init__(self) -> None:
        self.ready_ns = perf_counter_ns()
        self.connect_ns: int | None = None
        self.sent_ns: int | None = None
        self.heard_ns: int | None = None
        self.is_accepted = False
        self.is_connecting = False
        self.awaits_first_token = True
        self._connecting_since_ns = 0
        self._socket: StampedSocket | None = None
        current_times.set(self)

    @property
    def send_delay_ns(self) -> int | None:
        """How late the request was sent, connecting apart; None before it was."""
        return None if self.sent_ns is None else self.sent_ns - self.ready_ns - (self.connect_ns or 0)

    def arrival(self) -> Arrival:
        """Return the arrival of the bytes that were read last."""
        connection = self._socket
        at_ns = connection.arrived_ns if connection is not None else None
        if connection is None or connection.read_ns is None or at_ns is None:
            self.heard_ns = at_ns = perf_counter_ns()
            return Arrival(at_ns)
        self.heard_ns = at_ns
        return Arrival(at_ns, connection.read_ns - at_ns, by_kernel=True)

    def arrival_before_others(self, last: Arrival) -> Arrival:
        """Return the arrival of bytes that were read together with later ones, which arrived at ``last``.

        If the kernel joined their segments, they may have arrived any time since nothing waited to be read.
        """
        connection = self._socket
        if connection is None or connection.read_ns is None or not last.by_kernel or not connection.joined:
            return last
        earliest_ns = max(connection.earliest_ns or 0, self.sent_ns or 0)
        return Arrival(last.at_ns, connection.read_ns - earliest_ns)

    def first_token_arrived(self) -> None:
        """Read the rest of the response without regard to the stamps of its parts."""
        self.awaits_first_token = False
        if self._socket is not None:
            self._socket.first_token_was_read(self.sent_ns)

    def begin_again(self) -> None:
        """Forget the times so far: the request is sent once more, in another form."""
        self.ready_ns = perf_counter_ns()
        self.connect_ns = self.sent_ns = self.heard_ns = self._socket = None
        self.is_accepted = False

    def response_began(self, connection: StampedSocket | None, *, is_accepted: bool) -> None:
        """Note over which socket the response comes, and whether it is no refusal."""
        self._socket = connection
        self.heard_ns = perf_counter_ns()
        self.is_accepted = is_accepted
        if connection is not None and connection.request_ns is not None:
            self.sent_ns = connection.request_ns

    def connecting(self) -> None:
        """Note that a connection is being opened."""
        self._connecting_since_ns = perf_counter_ns()
        self.is_connecting = True

    def connected(self) -> None:
        """Note that it is open."""
        self.connect_ns = (self.connect_ns or 0) + perf_counter_ns() - self._connecting_since_ns
        self.is_connecting = False

    def wrote(self) -> None:
        """Note that a part of the request was written, where no socket tells when the kernel took it."""
        self.sent_ns = perf_counter_ns()


current_times: ContextVar[WireTimes | None] = ContextVar("ipyllm_wire_times", default=None)
"""Times of the request that the running task sends."""
