"""Tests that a call's times are those of the wire, whatever our own process was doing."""

from __future__ import annotations

import asyncio
import ssl
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import trustme

from ipyllm import OpenAIService
from ipyllm.runtime.service_thread import service_thread
from ipyllm.transport import stamped_socket
from tests import fakes
from tests.fakes import answer
from tests.stalls import again_if_stalled

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not stamp what they receive")


@pytest.fixture(params=["fast path", "by the client alone"])
def service(request, fake):
    service = OpenAIService("m", base_url=fake.base_url, max_retries=0)
    if request.param == "by the client alone":
        moved = fakes.redirect(f"{fake.base_url}/chat/completions")
        fake.reply(moved, moved)
    service.chat("warm up")
    fake.clear()
    return service


def stop_loop(seconds):
    """Have the service thread do nothing else for some seconds."""
    service_thread().loop.call_soon_threadsafe(time.sleep, seconds)


def ask_and_stop_loop(service, fake, script, seconds):
    """Ask, and stop the loop as soon as the request has been sent; return the timing and the true times."""
    fake.clear()
    fake.reply(script)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(service.chat, "Hello")
        request = fake.wait_for(lambda: fake.requests)[0]
        time.sleep(0.03)  # the response has begun
        stop_loop(seconds)
        timing = asked.result().timing
    return timing, [(at - request.arrived_ns) / 1e9 for at in request.sent_ns]


@on_linux
@again_if_stalled(0.02)
def test_a_token_that_is_read_late_has_the_time_of_its_arrival(service, fake):
    timing, true_s = ask_and_stop_loop(service, fake, answer("one two", ttft=0.2, gap=0.5), 0.5)
    assert timing.ttft_s == pytest.approx(true_s[0], abs=0.1)
    assert timing.e2e_s == pytest.approx(true_s[1], abs=0.1)
    assert timing.arrival_clock == "kernel"
    assert timing.client_lag_s == pytest.approx(0.33, abs=0.15)


@on_linux
@again_if_stalled(0.02)
def test_tokens_that_the_kernel_joined_say_so(service, fake):
    timing, true_s = ask_and_stop_loop(service, fake, answer("one two three", ttft=0.2, gap=0.1), 0.6)
    assert timing.arrival_clock == "process"
    assert timing.client_lag_s >= timing.ttft_s - true_s[0] > 0.1


@on_linux
@again_if_stalled(0.02)
def test_joined_tokens_that_the_loop_was_waiting_for_were_not_read_late(service, fake, monkeypatch):
    monkeypatch.setattr(stamped_socket.StampedSocket, "_tcp_info", lambda _: b"")  # nothing tells that none was joined
    fake.default = fakes.slow_headers(answer("one two three"), 0.5)  # its head and all tokens come at once
    timings = [service.chat("Hello").timing for _ in range(5)]
    assert {timing.arrival_clock for timing in timings} == {"process"}
    delays = sorted(timing.client_lag_s - timing.send_delay_s for timing in timings)
    assert delays[2] < 0.1, "not the half second in which nothing had come"


@again_if_stalled(0.02)
def test_without_stamps_the_lag_of_the_loop_says_how_late_it_may_be(service, fake, monkeypatch):
    monkeypatch.setattr(stamped_socket, "_HAS_STAMPS", False)
    service_thread().submit(service_thread().transport.aclose()).result(60)
    timing, true_s = ask_and_stop_loop(service, fake, answer("one two", ttft=0.2, gap=0.5), 0.5)
    assert timing.arrival_clock == "process"
    assert timing.client_lag_s >= timing.ttft_s - true_s[0] > 0.2
    assert timing.send_delay_s is not None


@pytest.mark.parametrize("stamps", [pytest.param(True, marks=on_linux), False])
@again_if_stalled(0.02)
def test_lag_after_the_first_token_does_not_count(service, fake, monkeypatch, stamps):
    monkeypatch.setattr(stamped_socket, "_HAS_STAMPS", stamps)
    service_thread().submit(service_thread().transport.aclose()).result(60)
    fake.reply(answer("one two three", ttft=0.05, gap=0.3))
    stream = service.stream("Hello")
    pieces = iter(stream)
    assert next(pieces) == "one"
    time.sleep(0.05)
    stop_loop(0.2)
    assert "".join(pieces) == " two three"
    assert stream.response.timing.client_lag_s < 0.1


@again_if_stalled(0.02)
def test_connecting_has_its_own_time_and_is_no_part_of_the_others(fake):
    service = OpenAIService("m", base_url=fake.base_url)
    service_thread().submit(service_thread().transport.aclose()).result(60)
    fake.default = answer("one", ttft=0.1)
    first, second = service.chat("Hello").timing, service.chat("Hello").timing
    assert first.connect_s > 0
    assert second.connect_s is None
    assert first.ttft_s == pytest.approx(0.1, abs=0.08)


@again_if_stalled(0.02)
def test_a_late_request_is_not_the_servers_fault(service, fake):
    fake.default = answer("one", ttft=0.1)
    stop_loop(0.3)
    timing = service.chat("Hello").timing
    assert timing.send_delay_s == pytest.approx(0.3, abs=0.15)
    assert timing.ttft_s == pytest.approx(0.1, abs=0.08)
    assert timing.total_s > 0.35
    assert timing.queue_s < 0.1


@again_if_stalled(0.02)
def test_many_calls_at_once_are_read_while_they_are_sent(fake):
    fake.default = answer("one")
    service = OpenAIService("m", base_url=fake.base_url)

    async def ask_all():
        return await asyncio.gather(*(service.achat(f"call {n}") for n in range(200)))

    asyncio.run(ask_all())  # so that the connections are open
    timings = [response.timing for response in asyncio.run(ask_all())]
    first_read_s = min(timing.send_delay_s + timing.ttft_s for timing in timings)
    assert first_read_s < max(timing.send_delay_s for timing in timings) / 2


@again_if_stalled(0.02)
def test_a_request_that_is_sent_again_is_timed_anew(fake):
    service = OpenAIService("m", base_url=fake.base_url)
    service.chat("warm up")
    fake.reply(fakes.refuse())
    fake.reply(answer("one", ttft=0.1))
    timing = service.chat("Hello").timing
    assert timing.attempts == 1
    assert timing.connect_s > 0
    assert timing.ttft_s == pytest.approx(0.1, abs=0.08)


@again_if_stalled(0.02)
def test_a_large_request_is_sent_when_its_last_byte_is(fake):
    fake.default = answer("one", ttft=0.1)
    service = OpenAIService("m", base_url=fake.base_url)
    service.chat("warm up")
    timing = service.chat("x" * (24 << 20)).timing
    assert timing.send_delay_s > 0.05
    assert timing.send_delay_s + timing.ttft_s < timing.total_s


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    """A certificate that is trusted."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority.issue_cert("127.0.0.1")


@pytest.fixture
def secure_url(fake, certificate):
    """Serve the fake over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    async def forward(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def connect(reader, writer):
        upstream_reader, upstream_writer = await asyncio.open_connection(*fake._address)
        await asyncio.gather(forward(reader, upstream_writer), forward(upstream_reader, writer))

    async def serve(started, stop):
        async with await asyncio.start_server(connect, "127.0.0.1", 0, ssl=context) as server:
            started.set_result(server.sockets[0].getsockname()[1])
            await asyncio.to_thread(stop.wait)

    started, stop = Future(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(asyncio.run, serve(started, stop))
        yield f"https://127.0.0.1:{started.result(60)}/v1"
        service_thread().submit(service_thread().transport.aclose()).result(60)
        time.sleep(0.1)  # both sides close
        stop.set()
        serving.result(60)


@on_linux
@again_if_stalled(0.02)
def test_below_tls_the_stamps_are_the_same(fake, secure_url):
    service = OpenAIService("m", base_url=secure_url, api_key="sk-none")
    service.chat("warm up")
    fake.clear()
    timing, true_s = ask_and_stop_loop(service, fake, answer("one two", ttft=0.2, gap=0.5), 0.5)
    assert timing.arrival_clock == "kernel"
    assert timing.ttft_s == pytest.approx(true_s[0], abs=0.1)
    assert timing.client_lag_s > 0.2
