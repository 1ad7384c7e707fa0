"""A server that runs alone makes its calls on its own thread, and waits there for nothing."""

import asyncio
import threading

from ipyllm.conversations.history import ConversationHistory
from ipyllm.runtime.service_thread import service_thread, stop_service_thread
from ipyllm.services.endpoint import EndpointService
from ipyllm_server.running_calls import RunningCalls
from ipyllm_server.standalone import ChatOnlyServerApp
from ipyllm_server.user_limits import Limits, UserLimits


def test_the_loop_of_the_server_makes_the_calls():
    app, found = ChatOnlyServerApp(), []
    app.init_ioloop()
    loop = app.io_loop.asyncio_loop
    try:
        app.io_loop.add_callback(lambda: found.append(service_thread().loop))
        app.io_loop.add_callback(loop.stop)
        loop.run_forever()
        assert found == [loop]
    finally:
        stop_service_thread()
        app.io_loop.close()
        asyncio.set_event_loop(None)


def test_a_models_server_is_asked_for_its_context_window_once_and_by_another_thread(model, monkeypatch, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(f'model = "lab/tiny"\n[endpoints.lab]\nbase_url = "{model.base_url}"\n')
    monkeypatch.setenv("IPYLLM_CONFIG", str(config))
    asked_by = []

    def context_window(self):
        asked_by.append(threading.current_thread())
        return 8192

    async def ask():
        calls = RunningCalls(UserLimits(Limits(100, 16, 32, None)))
        for _ in range(2):
            call = await calls.start("ana", None, "Hi", history=ConversationHistory())
            await call.response()
            calls.remove(call)
        await calls.start("ana", None, "Without a conversation nobody needs to know it.")

    monkeypatch.setattr(EndpointService, "context_window", context_window)
    asyncio.run(ask())
    assert len([thread for thread in asked_by if thread is not threading.main_thread()]) == 1
