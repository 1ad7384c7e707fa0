"""The calls of a server can be made on the loop of its handlers, and end with it."""

import asyncio
import threading

import pytest

from ipyllm import OllamaService, usage
from ipyllm.runtime.service_thread import make_calls_on_running_loop, service_thread, stop_service_thread
from ipyllm.settings import get_settings
from ipyllm.transport.stamped_socket import StampedSocket
from tests.fakes import answer


@pytest.fixture
def service(fake):
    fake.default = answer("So.")
    yield OllamaService("m", base_url=fake.base_url, max_retries=0)
    stop_service_thread()


def on_the_loop_of_a_server(server):
    async def run():
        make_calls_on_running_loop()
        try:
            return await server
        finally:
            await asyncio.to_thread(stop_service_thread)  # whose connections would be left

    return asyncio.run(run())


def test_a_call_is_made_on_that_loop_by_its_thread_alone(service):
    async def server():
        assert service_thread().loop is asyncio.get_running_loop()
        response = await service.achat("Hello")
        return response.content, [thread.name for thread in threading.enumerate() if thread not in before]

    stop_service_thread()
    before = threading.enumerate()  # other tests' service threads may not have ended yet
    content, threads = on_the_loop_of_a_server(server())
    assert content == "So."
    assert "ipyllm-service" not in threads


def test_calls_of_other_threads_are_made_there_too(service):
    async def server():
        return await asyncio.to_thread(service.chat, "Hello")

    assert on_the_loop_of_a_server(server()).content == "So."


def test_a_handler_that_would_wait_for_itself_is_refused(service, fake):
    async def server():
        with pytest.raises(RuntimeError, match="use `await achat`"):
            service.chat("Hello")
        call = service.call(service.request("Hello"))
        with pytest.raises(RuntimeError, match="use `await achat`"):
            call.wait()
        return await call.wait_async()

    assert on_the_loop_of_a_server(server()).content == "So."
    assert len([request for request in fake.requests if request.json]) == 1  # the first was not sent


def test_a_request_has_been_sent_two_turns_of_the_loop_after_its_call_began(service, monkeypatch):
    sent = []
    usual = StampedSocket._note_send
    monkeypatch.setattr(StampedSocket, "_note_send", lambda self: sent.append(self) or usual(self))

    async def server():
        await service.achat("A connection is open now.")
        sent.clear()
        call = service.call(service.request("Hello"))
        for _ in range(2):
            await asyncio.sleep(0)
        before_the_answer = list(sent)
        await call.wait_async()
        return before_the_answer

    assert len(on_the_loop_of_a_server(server())) == 1


def test_the_server_notices_changed_settings_and_its_calls_use_those_noticed_last(service, monkeypatch):
    async def retries():
        return get_settings().max_retries, await asyncio.to_thread(lambda: get_settings().max_retries)

    async def server():
        monkeypatch.setenv("IPYLLM_MAX_RETRIES", "5")
        assert get_settings().max_retries == 5
        monkeypatch.setenv("IPYLLM_MAX_RETRIES", "6")
        in_a_call = await asyncio.wrap_future(service_thread().submit(retries()))
        return in_a_call, get_settings().max_retries

    (in_a_call, in_its_worker), in_a_handler = on_the_loop_of_a_server(server())
    assert in_a_call == 5
    assert in_its_worker == 6
    assert in_a_handler == 6


def test_calls_that_run_when_the_loop_ends_are_cancelled_and_the_next_one_starts_a_thread(service, fake):
    fake.default = answer("So.", ttft=1000)
    loop = asyncio.new_event_loop()

    async def server():
        make_calls_on_running_loop()
        service.call(service.request("Hello"))
        await asyncio.to_thread(fake.wait_for, lambda: fake.in_flight == 1)

    loop.run_until_complete(server())
    fake.default = answer("So.")
    assert service.chat("Hello again").content == "So."
    assert service_thread().loop is not loop
    assert sorted(usage()["status"]) == ["cancelled", "ok"]
    loop.close()


def test_stopping_the_calls_stops_nothing_else_of_the_server(service, fake):
    fake.default = answer("So.", ttft=1000)

    async def server():
        handler = asyncio.create_task(asyncio.sleep(0.05, "answered"))
        call = service.call(service.request("Hello"))
        await asyncio.to_thread(fake.wait_for, lambda: fake.in_flight == 1)
        await asyncio.to_thread(stop_service_thread)
        return await handler, call.response.status

    assert on_the_loop_of_a_server(server()) == ("answered", "cancelled")
