"""An interrupt that arrives just before the main thread starts to wait still ends the wait.

The interpreter has recorded the signal, but the wait that follows is not cut short. A signal cannot be timed to the
microsecond; one that another thread receives has the same effect: it is recorded, and the main thread keeps waiting.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from tests.fakes import FakeLLM, answer, stall
from tests.kernels import LiveKernel

_DEAF = ["chat", "stream", "tool", "async tool", "compare", "experiment", "scoring", "drain"]


@pytest.fixture(scope="module")
def server():
    with FakeLLM() as fake:
        fake.default = stall("some text", after=1)
        fake.on(lambda request: answer(json.dumps({"grade": 3})) if "easy" in request.prompt else None)
        yield fake


@pytest.fixture(scope="module")
def kernel(server, tmp_path_factory):
    home = tmp_path_factory.mktemp("kernel")
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "IPYTHONDIR": str(home),
        "IPYLLM_LEDGER": str(home / "ledger.sqlite"),
        "IPYLLM_CACHE_PATH": str(home / "answers.sqlite"),
        "IPYLLM_TIMEOUT": "600",
    }
    setup = f"""
        import asyncio, signal, sys, threading, time
        import pandas as pd
        from ipyllm import Experiment, OpenAIService, compare, pool, scorers
        from tests.service.tools.running import tool_call, run

        service = OpenAIService("m", base_url={server.base_url!r})

        async def sleeps():
            await asyncio.sleep(600)

        async def sleeps_over(response):
            await asyncio.sleep(600)

        def experiment():
            Experiment(prompts=["Hello"], models=[service]).run(progress=False)

        def drain():
            gpus = pool({server.base_url!r}, model="m")
            call = gpus.call(gpus.request("Hello"))
            while not gpus.endpoints[0].in_flight:
                time.sleep(0.01)
            gpus.drain({server.base_url!r})

        def look():
            return service.chat("Hello")

        deaf = {{
            "chat": lambda: service.chat("Hello"),
            "stream": lambda: list(service.stream("Hello")),
            "tool": lambda: run([look], tool_call("look")),
            "async tool": lambda: run([sleeps], tool_call("sleeps")),
            "compare": lambda: compare("Hello", [service, OpenAIService("n", base_url={server.base_url!r})]),
            "experiment": experiment,
            "scoring": lambda: scorers.apply([sleeps_over], pd.DataFrame({{"status": ["ok"], "response": ["a"]}})),
            "drain": drain,
        }}

        def catches():
            asleep, places = 0, set()
            while asleep < 5:  # the main thread stands where it stood for a quarter of a second
                time.sleep(0.05)
                frame = sys._current_frames()[threading.main_thread().ident]
                place = (frame.f_code.co_name, frame.f_lineno)
                asleep = asleep + 1 if place in places else 0
                places = {{place}}
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        """
    with LiveKernel(**environment) as live:
        ran = live.run(textwrap.dedent(setup))
        assert ran.status == "ok", ran.traceback
        yield live


@pytest.mark.parametrize("what", _DEAF)
def test_an_interrupt_is_heard_by_a_thread_that_nothing_wakes(kernel, what):
    ran = kernel.run(f"threading.Thread(target=catches).start()\ndeaf[{what!r}]()")
    assert ran.status == "error"
    assert "KeyboardInterrupt" in "".join(ran.traceback)
    again = kernel.run("print(service.chat('easy').content)")
    assert again.stdout == '{"grade": 3}\n', "and the kernel is as before"
