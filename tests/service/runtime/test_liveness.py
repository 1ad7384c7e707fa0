"""A wait that cannot end says so; an exit does not end the service thread, and one that is stuck is given up."""

import asyncio
import threading

import pytest

from ipyllm import LLMError, OllamaService, usage
from ipyllm.runtime import liveness
from ipyllm.runtime import service_thread as module
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.runtime.service_thread import ServiceThread, own_service_thread, service_thread, stop_service_thread
from tests.fakes import answer


@pytest.fixture
def service(fake):
    fake.default = answer("So.", ttft=1000)
    yield OllamaService("m", base_url=fake.base_url, max_retries=0)
    stop_service_thread()


def _ended():
    """Return the service thread, once it has ended with calls in flight."""
    thread = service_thread()
    thread.loop.call_soon_threadsafe(thread.loop.stop)
    thread._thread.join(100)
    return thread


def _by_a_thread(call):
    errors = []

    def wait():
        try:
            call.wait()
        except LLMError as exc:
            errors.append(exc)

    thread = threading.Thread(target=wait)
    thread.start()
    _ended()
    thread.join(100)
    raise errors[0]


def _by_chat(call):
    _ended()
    call.wait()


def _by_achat(call):
    async def wait():
        waiting = asyncio.ensure_future(call.wait_async())
        await asyncio.sleep(0)
        await asyncio.to_thread(_ended)
        await waiting

    asyncio.run(wait())


@pytest.mark.parametrize("wait", [_by_a_thread, _by_chat, _by_achat])
def test_a_call_whose_service_thread_has_ended_says_so_and_the_next_one_is_answered(wait, service, fake, monkeypatch):
    with pytest.raises(LLMError, match="The service thread of ipyllm has ended, so this call cannot end") as caught:
        wait(service.call(service.request("Hello")))
    assert caught.value.category == "unknown_error"
    fake.default = answer("So.")
    lock_is_free = []
    with monkeypatch.context() as patched:
        end = ServiceThread._end_calls
        patched.setattr(
            ServiceThread,
            "_end_calls",
            lambda self, tasks: lock_is_free.append(not module._lock.locked()) or end(self, tasks),
        )
        assert service.chat("Hello again").content == "So."
    assert lock_is_free == [True], "the calls of the ended thread ask for the next one, too"


def test_the_next_thread_closes_the_connections_of_one_that_has_ended_and_writes_its_rows(service, fake):
    service.call(service.request("Hello"))
    fake.wait_for(lambda: fake.in_flight == 1)
    thread = _ended()
    address = next(iter(thread.transport._connections))
    sessions = vars(thread.transport._connections[address].prepared)
    assert service_thread() is not thread
    assert thread.loop.is_closed()
    assert sessions["_session"].closed
    assert sessions["_fresh"].closed
    assert list(usage()["status"]) == ["cancelled"]


def test_streams_whose_service_thread_has_ended_say_so(service, fake):
    fake.default = answer("So it goes.", chunks=2, gap=1000)
    stream = service.stream("Hello")
    next(stream)
    _ended()
    with pytest.raises(LLMError, match="has ended"):
        next(stream)

    async def read():
        later = aiter(service.chat_stream("Hello"))
        await anext(later)
        await asyncio.to_thread(_ended)
        await anext(later)

    with pytest.raises(LLMError, match="has ended"):
        asyncio.run(read())


@pytest.mark.parametrize("wait", [lambda call: call.wait(), lambda call: asyncio.run(call.wait_async())])
def test_a_stuck_service_thread_is_given_up_with_the_place_where_it_is(wait, service, fake, monkeypatch):
    monkeypatch.setattr(liveness, "STUCK_S", 1.0)
    monkeypatch.setattr(liveness, "_ASK_AFTER_S", 0.0)
    released, thread = threading.Event(), service_thread()
    call = service.call(service.request("Hello"))

    def blocks():
        released.wait(100)

    thread.loop.call_soon_threadsafe(blocks)
    try:
        with pytest.raises(LLMError, match=r"has not answered for 1 s, so this call was given up: it executes wait "):
            wait(call)
        fake.default = answer("So.")
        monkeypatch.undo()
        assert service.chat("Hello again").content == "So."
        assert service_thread() is not thread
    finally:
        released.set()


def test_a_thread_that_answers_is_waited_for_as_long_as_it_takes(monkeypatch):
    monkeypatch.setattr(liveness, "STUCK_S", 0.5)
    monkeypatch.setattr(liveness, "_ASK_AFTER_S", 0.0)
    thread, event = ServiceThread(), InterruptibleEvent()
    event.set_by = thread.liveness
    try:
        thread.loop.call_soon_threadsafe(thread.loop.call_later, 3.0, event.set)
        assert event.wait(100)
        assert not thread.liveness.is_stuck
    finally:
        thread.stop()


def test_time_in_which_the_whole_process_was_stopped_is_not_time_without_an_answer(monkeypatch):
    thread = ServiceThread()
    released = threading.Event()
    try:
        watch = thread.liveness.watch()
        thread.loop.call_soon_threadsafe(released.wait, 100)
        now = [0.0]
        monkeypatch.setattr(liveness, "monotonic", lambda: watch._checked_s + now[0])
        now[0] = 3600.0  # a laptop that slept, or a debugger
        for _ in range(8):
            assert watch.trouble() is None
    finally:
        released.set()
        thread.stop()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_exit_on_the_loop_itself_does_not_end_it(error, service, fake):
    def leaves():
        raise error

    async def leaves_later():
        raise error

    thread = service_thread()
    call = service.call(service.request("Hello"))
    thread.loop.call_soon_threadsafe(leaves)
    future = thread.submit(leaves_later())
    with pytest.raises(error):
        future.result(100)
    fake.default = answer("So.")
    assert service.chat("Hello again").content == "So."
    assert service_thread() is thread
    call.cancel()
    assert call.done.wait(100)


def test_an_interrupt_during_the_wait_for_a_thread_that_is_gone_stays_an_interrupt(service):
    call = service.call(service.request("Hello"))
    _ended()
    call.done.check = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        call.wait()


def test_a_call_belongs_to_the_thread_it_runs_on_though_another_has_taken_its_place(monkeypatch):
    async def own():
        return own_service_thread()

    first, second = service_thread(), ServiceThread()
    try:
        monkeypatch.setattr(module, "_current", second)
        assert first.submit(own()).result(30) is first
        assert service_thread() is second
    finally:
        monkeypatch.undo()
        second.stop()
