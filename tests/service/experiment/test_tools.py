"""Experiments whose models call tools: in this process and in others."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from ipyllm import Experiment, LLMError, Timeout, usage
from ipyllm.ledger import current_ledger
from ipyllm.runtime.service_thread import service_thread
from tests.fakes import answer

TIMES = {"Bern": "12:00", "Oslo": "13:00"}
threads: set[str] = set()
release = threading.Event()


def clock(city: str) -> str:
    """The time in a city."""
    threads.add(threading.current_thread().name)
    return TIMES[city]


def never(city: str) -> str:
    """The time in a city that has none."""
    release.wait(100)
    return city


async def slow_clock(city: str) -> str:
    """The time in a city, after a while."""
    assert asyncio.get_running_loop() is not service_thread().loop
    await asyncio.sleep(0)
    return TIMES[city]


@pytest.fixture
def server(server):
    """The server calls the first tool, and answers with its result."""

    def decide(request):
        last = request.messages[-1]
        tools = request.json.get("tools")
        if last["role"] == "tool":
            return answer(f"It is {last['content']}.")
        return (
            answer("", tool_calls=[(tools[0]["function"]["name"], {"city": last["content"]})]) if tools else answer("?")
        )

    server.on(decide)
    return server


def answers(results):
    calls = results.calls[~results.calls["warmup"]]
    return dict(zip(calls["prompt"], calls["response"], strict=True))


@pytest.mark.parametrize("tool", [clock, slow_clock])
def test_tools_run_outside_the_service_thread_and_their_call_is_one_row(model, server, tool):
    threads.clear()
    results = Experiment(["Bern", "Oslo"], models=model(), tools=[tool], warmup=0).run(progress=False)
    assert answers(results) == {"Bern": "It is 12:00.", "Oslo": "It is 13:00."}
    assert results.calls["exchanges"].tolist() == [2, 2]
    assert len(server.requests) == 4
    assert threads <= {"ipyllm-tool"}
    current_ledger().flush()
    assert sorted(usage()["step"].fillna("")) == ["", "", "tools", "tools"]


def test_running_again_asks_nothing_twice_and_other_tools_are_another_arm(model, server):
    def run(tools):
        made = Experiment(["Bern"], models=model(), tools=tools, warmup=0, name="clock")
        return made.run(progress=False)

    run([clock])
    run([clock])
    assert len(server.requests) == 2
    with pytest.warns(UserWarning, match="has changed"):
        run([slow_clock])
    assert len(server.requests) == 4


def test_arms_with_different_tools_have_their_names(model, server):
    made = Experiment(["Bern"], models=model(), params=[{"tools": [clock]}, {"tools": [slow_clock, clock]}, {}])
    assert [arm.label for arm in made.grid.arms] == ["a · tools=clock", "a · tools=slow_clock, clock", "a · default"]


def test_a_model_that_only_calls_tools_has_failed(model, server):
    server.on(lambda request: answer("", tool_calls=[("clock", {"city": "Bern"})]))
    results = Experiment(["Bern"], models=model(), tools=[clock], tool_rounds=2, warmup=0).run(progress=False)
    (call,) = results.calls.to_dict("records")
    assert (call["status"], call["exchanges"]) == ("error", 3)
    assert "called tools in 3 rounds without answering" in call["error_message"]
    assert "1 calls failed" in results.state


def test_a_call_that_ends_during_its_tools_has_failed(model, server):
    made = Experiment(["Bern"], models=model(timeout=Timeout(total=1)), tools=[never], warmup=0, name="never")
    results = made.run(progress=False)
    release.set()
    (call,) = results.calls.to_dict("records")
    assert (call["status"], call["error_category"]) == ("error", "timeout")
    assert results.state.startswith("All 1 calls failed (timeout 1)")


def test_the_budget_holds_for_the_requests_of_a_call(priced, server):
    """Each request costs $0.20: the first of the second call is paid, its second is not sent."""
    usage_of_each = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}

    def decide(request):
        last = request.messages[-1]
        called = [] if last["role"] == "tool" else [("clock", {"city": last["content"]})]
        return answer("Noon." if not called else "", tool_calls=called, usage=usage_of_each)

    server.on(decide)
    with pytest.warns(UserWarning, match=r"1 of 2 calls have an answer. 1 failed \(quota 1\)"):
        results = Experiment(
            ["Bern", "Oslo"], models=priced, tools=[clock], warmup=0, concurrency=1, max_cost_usd=0.65, name="paid"
        ).run(progress=False)
    assert results.costs.loc["total", "cost_usd"] == pytest.approx(0.6)
    assert (len(server.requests), results.undone) == (3, 1)


@pytest.mark.thorough
def test_tools_run_in_workers(model, server):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        results = Experiment(["Bern", "Oslo"], models=model(), tools=[clock], warmup=1).run(executor, progress=False)
    assert answers(results) == {"Bern": "It is 12:00.", "Oslo": "It is 13:00."}
    assert set(results.calls["exchanges"]) == {2}
    assert results.state == "2 of 2 calls have an answer."


def test_a_tool_that_cannot_be_sent_to_a_worker_is_one_sentence_before_anything_is_sent(model, server):
    here = []

    def note(city: str) -> str:
        """Note a city."""
        here.append(city)
        return "noted"

    made = Experiment(["Bern"], models=model(), tools=[note])
    with ThreadPoolExecutor(1) as executor, pytest.raises(LLMError) as caught:
        made.run(executor, progress=False)
    assert str(caught.value).startswith("The tool note cannot be sent to another process (")
    assert str(caught.value).endswith("define it at the top of a module that workers can import.")
    assert not server.requests


def test_a_function_of_a_notebook_is_unknown_to_new_interpreters(model, server, monkeypatch):
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "clock", clock, raising=False)
    monkeypatch.setattr(clock, "__module__", "__main__")
    made = Experiment(["Bern"], models=model(), tools=[clock])
    said = r"The tool clock cannot be sent to another process .*this notebook defines"
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as executor, pytest.raises(LLMError, match=said):
        made.run(executor, progress=False)
    assert not server.requests
