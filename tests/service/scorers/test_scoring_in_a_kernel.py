"""Scorers in a real kernel, whose loop runs while a cell blocks it: async functions, judges, interrupts."""

from __future__ import annotations

import json
import textwrap
import time
from pathlib import Path

import pytest

from tests.fakes import FakeLLM, answer
from tests.kernels import LiveKernel


@pytest.fixture(scope="module")
def server():
    with FakeLLM() as fake:
        fake.default = answer(json.dumps({"reason": "Because.", "grade": 3}))
        yield fake


@pytest.fixture(scope="module")
def kernel(server, tmp_path_factory):
    home = tmp_path_factory.mktemp("kernel")
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "IPYTHONDIR": str(home),
        "IPYLLM_LEDGER": str(home / "ledger.sqlite"),
        "IPYLLM_CACHE_PATH": str(home / "answers.sqlite"),
        "PYTHONWARNINGS": "error::RuntimeWarning",
    }
    with LiveKernel(**environment) as live:
        cell(
            live,
            f"""
            import asyncio, threading, time
            import pandas as pd
            from ipyllm import OpenAIService, scorers
            service = OpenAIService("m", base_url={server.base_url!r})
            calls = pd.DataFrame({{"status": "ok", "response": ["a", "b", "c"]}})
            """,
        )
        yield live


def cell(kernel, code):
    """Run a cell that must go well, and return what it printed."""
    ran = kernel.run(textwrap.dedent(code))
    assert ran.status == "ok", ran.traceback
    assert ran.stderr == ""
    return ran.stdout


def test_async_scorers_run_on_the_loop_of_the_cell_and_use_what_lives_there(kernel):
    code = """
        loop, lock = asyncio.get_running_loop(), asyncio.Lock()
        async def mine(response):
            async with lock:
                await asyncio.sleep(0.01)
            print(response.content, end=" ")
            return asyncio.get_running_loop() is loop
        async with lock:
            pass
        print(scorers.apply([mine], calls)["score_mine"].tolist())
        """
    assert cell(kernel, code) == "a b c [1.0, 1.0, 1.0]\n"


def test_a_plain_scorer_prints_into_its_cell(kernel):
    code = """
        def look(response):
            print(response.content, threading.current_thread().name)
            return 1
        scorers.apply([look, scorers.Scorer.of(look, name="here", timeout=None)], calls[:1]);
        """
    assert sorted(cell(kernel, code).split("\n")) == ["", "a MainThread", "a ipyllm-tool"]


@pytest.mark.thorough
def test_a_judge_works_in_a_cell(kernel):
    code = 'print(scorers.apply([scorers.judge(service, cache=False)], calls)["score_judge"].tolist())'
    assert cell(kernel, code) == "[3.0, 3.0, 3.0]\n"


def test_an_interrupt_ends_the_judging_at_the_server_and_keeps_what_is_scored(kernel, server):
    calm = answer(json.dumps({"reason": "Because.", "grade": 3}))
    endless = answer("so " * 3000, gap=0.05)
    server.on(lambda request: endless if "grade\nb" in request.prompt else calm)
    try:
        cell(
            kernel,
            """
            ended = []
            async def waits(response):
                if response.content == "b":
                    try:
                        await asyncio.sleep(60)
                    finally:
                        ended.append(response.content)
                return 1
            scoring = scorers.Scoring([scorers.judge(service, cache=False), waits], calls, concurrency=1)
            """,
        )
        before = len(server.requests)
        msg_id = kernel.start("scoring.run()")
        server.wait_for(lambda: len(server.requests) == before + 2, timeout=30)
        kernel.interrupt()
        ran = kernel.collect(msg_id)
        assert ran.status == "error"
        assert "KeyboardInterrupt" in "".join(ran.traceback)
        server.wait_for(lambda: server.requests[-1].closed_by_client, timeout=30)
        time.sleep(0.2)
        assert len(server.requests) == before + 2, "nothing more is asked"
    finally:
        server.on(None)
    code = 'table = scoring.frame(); print(table["score_judge"].tolist(), table["score_waits"].tolist(), ended)'
    assert cell(kernel, code) == "[3.0, nan, nan] [1.0, nan, nan] ['b']\n"
    assert cell(kernel, 'print(table["score_judge_error"].tolist())') == "[None, None, None]\n"
