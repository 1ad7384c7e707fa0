"""Tests that a socket tells when bytes came and went, however late they are read."""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import ExitStack
from time import perf_counter_ns

import pytest

from ipyllm.transport import stamped_socket as module
from ipyllm.transport.stamped_socket import StampedSocket, stamped_socket
from tests.stalls import again_if_stalled

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not stamp what they receive")
CLOSE_NS = 5_000_000
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'16\r\ndata: {"choices": []}\n\n\r\n'


def connected_ends():
    """Connect a stamped socket to another; return both."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        ours = stamped_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", address))
        ours.connect(address)
        theirs, _ = server.accept()
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return ours, theirs


@pytest.fixture(scope="module")
def kernel_stamps():
    """Wait until the kernel stamps: a moment passes on a busy machine after the first socket asks for it."""
    ours, theirs = connected_ends()
    with ours, theirs:
        ancillary = []
        while not ancillary:
            theirs.send(b".")
            _, ancillary, _, _ = ours.recvmsg(100, 100)
        yield


@pytest.fixture
def ends(kernel_stamps):
    """Yield what is unpacked to a stamped socket and the one it is connected to; to others when a test is run again."""
    with ExitStack() as opened:

        class Ends:
            def __iter__(self):
                return iter([opened.enter_context(end) for end in connected_ends()])

        yield Ends()


def send(theirs, data):
    before = perf_counter_ns()
    theirs.send(data)
    return before


@pytest.mark.parametrize("into_buffer", [False, True])
@again_if_stalled(0.004)
def test_bytes_that_are_read_late_have_the_time_of_their_arrival(ends, into_buffer):
    ours, theirs = ends
    ours.send(b"question")
    sent = send(theirs, b"answer")
    time.sleep(0.05)
    if into_buffer:
        buffer = bytearray(100)
        assert buffer[: ours.recv_into(buffer)] == b"answer"
    else:
        assert ours.recv(100) == b"answer"
    assert abs(ours.arrived_ns - sent) < CLOSE_NS
    assert ours.read_ns - sent > 50_000_000
    assert not ours.joined


def send_twice(ours, theirs, one=b"a" * 50, other=b"b" * 70):
    """Send a question, two answers, and return when these were sent, before the kernel joins what waits (40 ms)."""
    for _ in range(50):
        ours.send(b"question")
        first = send(theirs, one)
        time.sleep(0.01)
        second = send(theirs, other)
        time.sleep(0.01)
        if perf_counter_ns() - first < 30_000_000:
            return first, second
        ours.first_token_was_read(ours.sent_ns)
        assert len(ours.recv(1000)) == len(one + other)
    raise AssertionError("the machine is too busy")


@again_if_stalled(0.004)
def test_before_the_first_token_a_read_takes_only_what_arrived_together(ends):
    ours, theirs = ends
    first, second = send_twice(ours, theirs)
    assert ours.recv(1000) == b"a" * 50
    assert abs(ours.arrived_ns - first) < CLOSE_NS
    assert ours.recv(1000) == b"b" * 70
    assert abs(ours.arrived_ns - second) < CLOSE_NS


@pytest.mark.parametrize("one", [EVENT, EVENT + EVENT, EVENT[:-4], EVENT + b"7\r\n"], ids=["1", "2", "cut", "more"])
@again_if_stalled(0.004)
def test_a_read_takes_all_that_arrived_together_wherever_its_events_end(ends, one, monkeypatch):
    ours, theirs = ends
    first, second = send_twice(ours, theirs, one, EVENT)
    peek, sizes = StampedSocket._peek, []
    monkeypatch.setattr(StampedSocket, "_peek", lambda self, size: (sizes.append(size), peek(self, size))[1])
    assert ours.recv(1000) == one
    assert abs(ours.arrived_ns - first) < CLOSE_NS
    assert (len(sizes) <= 5) == one.endswith(EVENT), "the usual case takes few system calls"
    assert ours.recv(1000) == EVENT
    assert abs(ours.arrived_ns - second) < CLOSE_NS


@again_if_stalled(0.004)
def test_the_head_of_a_response_is_read_with_what_comes_after_it(ends):
    ours, theirs = ends
    for _ in range(20):
        _, second = send_twice(ours, theirs, HEAD, EVENT)
        assert ours.recv(1000) == HEAD + EVENT
        if not ours.joined:  # by the kernel
            break
    assert not ours.joined
    assert abs(ours.arrived_ns - second) < CLOSE_NS


@pytest.mark.parametrize(
    "segments",
    [[HEAD, EVENT, EVENT], [HEAD, EVENT[:-4], EVENT], [HEAD, EVENT + EVENT, b"7\r\n"], [HEAD, b"a", b"b", EVENT]],
    ids=["events", "cut", "two events", "bytes"],
)
@again_if_stalled(0.004)
def test_of_what_comes_after_the_head_a_read_takes_only_what_arrived_together(segments, ends, monkeypatch):
    stamps = [[(0, 35, bytes([number]))] for number, segment in enumerate(segments) for _ in segment]
    data = b"".join(segments)
    monkeypatch.setattr(StampedSocket, "_peek", lambda _, size: (data[:size], stamps[min(size, len(data)) - 1]))
    ours, theirs = ends
    ours.send(b"question")
    send(theirs, HEAD)
    time.sleep(0.01)
    monkeypatch.setattr(StampedSocket, "_segments_in", lambda _: 100)  # as many as there could be
    send(theirs, data.removeprefix(HEAD))
    time.sleep(0.01)
    assert ours.recv(1000) == segments[0] + segments[1]


@again_if_stalled(0.004)
def test_after_the_first_token_a_read_takes_everything_with_the_last_time(ends):
    ours, theirs = ends
    _, second = send_twice(ours, theirs)
    ours.first_token_was_read(ours.sent_ns)
    assert ours.recv(1000) == b"a" * 50 + b"b" * 70
    assert abs(ours.arrived_ns - second) < CLOSE_NS
    send_twice(ours, theirs)
    assert ours.recv(1000) == b"a" * 50, "each request begins anew"


@again_if_stalled(0.004)
def test_segments_that_the_kernel_joined_are_told(ends):
    ours, theirs = ends
    ours.send(b"question")
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # acknowledged segments are joined while they wait
    send(theirs, b"head")
    time.sleep(0.02)
    assert ours.recv(1000) == b"head"
    assert not ours.joined
    emptied = perf_counter_ns()
    for _ in range(3):
        last = send(theirs, b"token ")
        time.sleep(0.06)
    assert ours.recv(1000) == b"token " * 3
    assert abs(ours.arrived_ns - last) < CLOSE_NS
    assert ours.joined
    assert abs(ours.earliest_ns - emptied) < 4 * CLOSE_NS


@again_if_stalled(0.004)
def test_the_kernel_still_delays_acknowledgements_when_the_first_token_comes_late(ends):
    ours, theirs = ends
    ours.send(b"question")
    send(theirs, HEAD)
    assert ours.recv(1000) == HEAD
    time.sleep(0.25)  # the kernel's timer, which ends the delays, has passed if anything was left to it
    assert not ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK), "it would join the first token to the second"


def test_a_clock_that_was_set_is_not_believed(ends, monkeypatch):
    ours, theirs = ends
    ours.send(b"question")
    for step_ns in (3_600_000_000_000, -3_600_000_000_000):
        send(theirs, b"answer")
        time.sleep(0.01)
        with monkeypatch.context() as stepped:
            stepped.setattr(module, "time_ns", lambda step=step_ns: time.time_ns() + step)
            ours.recv(100)
            assert ours.arrived_ns is None


@again_if_stalled(0.004)
def test_the_time_of_sending_is_that_of_the_last_bytes(ends):
    ours, theirs = ends
    size = 20 << 20

    def read():
        missing = size
        while missing:
            missing -= len(theirs.recv(1 << 20))

    reader = threading.Timer(0.15, read)
    reader.start()
    ours.setblocking(False)
    begun, rest = perf_counter_ns(), bytes(size)
    while rest:
        try:
            rest = rest[ours.send(rest) :]
        except BlockingIOError:
            time.sleep(0.005)
    assert ours.sent_ns - begun > 100_000_000
    reader.join()


def test_a_process_that_was_stopped_before_the_system_call_sent_later(ends, monkeypatch):
    ours, _ = ends
    clock = iter([0, 100_000_000])  # noted, then stopped for 0.1 s, and sent just now
    monkeypatch.setattr(module, "perf_counter_ns", lambda: next(clock))
    ours.send(b"question")
    assert ours.sent_ns >= 85_000_000


def test_other_systems_tell_only_the_time_of_sending(monkeypatch):
    monkeypatch.setattr(module, "_HAS_STAMPS", False)
    left, right = socket.socketpair()
    with StampedSocket(fileno=left.detach()) as ours, right:
        ours.send(b"question")
        right.send(b"answer")
        assert ours.recv(100) == b"answer"
        right.send(b"more")
        assert ours.recv_into(bytearray(10)) == 4
        assert ours.sent_ns is not None
        assert ours.arrived_ns is None


@again_if_stalled(0.004)
def test_a_segment_that_comes_while_we_look_does_not_end_the_connection(ends, monkeypatch):
    ours, theirs = ends
    peek, overtaken = StampedSocket._peek, []

    def peek_and_be_overtaken(self, size):
        found = peek(self, size)
        if not overtaken:
            overtaken.append(send(theirs, b"c"))
            time.sleep(0.01)
        return found

    ours.send(b"question")
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    for piece in (b"a", b"b"):
        send(theirs, piece)
        time.sleep(0.06)
    with monkeypatch.context() as patched:
        patched.setattr(StampedSocket, "_peek", peek_and_be_overtaken)
        got = ours.recv(100)
    assert got
    while got != b"abc":
        got += ours.recv(100)


@again_if_stalled(0.004)
def test_a_response_is_not_judged_by_the_next_request(ends):
    ours, theirs = ends
    ours.send(b"question")
    asked = ours.sent_ns
    sent = send(theirs, b"answer")
    time.sleep(0.01)
    ours.recv(100)
    ours.send(b"next question")
    assert ours.request_ns == asked
    assert abs(ours.arrived_ns - sent) < CLOSE_NS
    ours.first_token_was_read(asked)
    send(theirs, b"one")
    time.sleep(0.01)
    ours.recv(100)
    assert not ours.joined, "the next response is read stamp by stamp"


def test_a_system_without_counts_of_segments_says_that_they_may_be_joined(ends, monkeypatch):
    ours, theirs = ends
    monkeypatch.setattr(StampedSocket, "_tcp_info", lambda _: b"")
    ours.send(b"question")
    send(theirs, b"answer")
    time.sleep(0.01)
    assert ours.recv(100) == b"answer"
    assert ours.joined
