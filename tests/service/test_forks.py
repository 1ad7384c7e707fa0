"""A child that is forked while other threads work has none of their locks, calls and imports to wait for."""

from __future__ import annotations

import ast
import gc
import os
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

from ipyllm import ChatWidget, ConversationHistory, OllamaService, UsageDashboard, conversation, pool
from ipyllm.fork_safety import is_renewed_in_child
from tests.fakes import answer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

_PRIMITIVES = {"Lock", "RLock", "Condition", "Event", "Semaphore", "BoundedSemaphore", "Barrier"}
_QUEUES = {"Queue", "SimpleQueue", "LifoQueue", "PriorityQueue"}
_NOT_RENEWED = {
    # What one call or wait is made of: it stays in the parent, and reading it in a child raises.
    ("ipyllm/pipeline/streams.py", "SimpleQueue"),
    ("ipyllm/tools/caller_executor.py", "SimpleQueue"),
    ("ipyllm_magics/commands/compare.py", "SimpleQueue"),
    ("ipyllm_magics/commands/run_call.py", "SimpleQueue"),
    ("ipyllm_widgets/live_answer.py", "SimpleQueue"),
}


def _sources():
    for package in ("ipyllm", "ipyllm_magics", "ipyllm_widgets"):
        [folder] = find_spec(package).submodule_search_locations
        for path in Path(folder).rglob("*.py"):
            yield path.relative_to(Path(folder).parent).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def _name(node):
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _owner(node):
    return getattr(getattr(node.func, "value", None), "id", None)


def test_every_lock_in_the_code_is_made_for_the_one_registry():
    wrong, renewed = [], 0
    for path, tree in _sources():
        registered = {
            id(node.args[0])
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and _name(node) == "renewed_in_child" and node.args
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or _owner(node) == "asyncio":  # those of a loop stay behind with it
                continue
            name = _name(node)
            if name in _PRIMITIVES and id(node) in registered:
                renewed += 1
            elif name in _PRIMITIVES | _QUEUES and (path, name) not in _NOT_RENEWED:
                wrong.append(f"{path}:{node.lineno} {name}")
        for node in ast.walk(tree):  # `from threading import Lock`, or the class itself as a default
            if isinstance(node, ast.ImportFrom) and node.module in {"threading", "_thread", "multiprocessing"}:
                wrong += [f"{path}:{node.lineno} import {alias.name}" for alias in node.names]
    assert wrong == []
    assert renewed > 30, "the search finds none"


def _values(owner):
    yield from getattr(owner, "__dict__", {}).items()
    for kind in type(owner).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if hasattr(owner, name):
                yield name, getattr(owner, name)


def len_of(text: str) -> int:
    return len(text)


def test_every_lock_of_our_objects_in_memory_is_in_the_registry(fake, tmp_path):
    fake.default = answer("So.")
    service = OllamaService("m", base_url=fake.base_url, cache=True)
    stream = service.stream("once")
    next(stream)
    alive = [
        stream,
        service.chat("twice", tools=[len_of]),
        pool(fake.base_url, model="m"),
        ConversationHistory(),
        conversation("here"),
        ChatWidget("ollama/m"),
        UsageDashboard(),
    ]
    kinds = (type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Event)
    ours = [
        owner
        for owner in gc.get_objects()
        if str(type(owner).__module__).partition(".")[0] in {"ipyllm", "ipyllm_magics", "ipyllm_widgets"}
    ]
    ours += [module for name, module in sys.modules.items() if name.startswith("ipyllm")]
    found = [
        (type(owner).__name__, getattr(owner, "__name__", ""), name, value)
        for owner in ours
        for name, value in _values(owner)
        if isinstance(value, kinds) and (type(owner) is not threading.Event)
    ]
    assert len(found) > 20, "the search finds none"
    assert [where for *where, value in found if not is_renewed_in_child(value) and where[2] != "_cond"] == []
    assert alive


_UNDER_LOAD = r"""
    import os, select, signal, sys, threading, time
    from ipyllm import Experiment, LLMError, OllamaService, conversation, usage
    from ipyllm.settings import get_settings

    address, forks = sys.argv[1], int(sys.argv[2])
    service = OllamaService("m", base_url=address, max_retries=0, cache=True)
    service.chat("first")
    stopped = threading.Event()

    def again(work):
        def loop():
            n = 0
            while not stopped.is_set():
                n += 1
                work(n)
                time.sleep(0.01)
        threading.Thread(target=loop, daemon=True).start()

    for _ in range(3):
        again(lambda n: service.chat(f"load {n % 7}"))
    again(lambda n: list(service.stream("load", cache=False)))
    again(lambda n: (os.environ.__setitem__("IPYLLM_TIMEOUT", str(20 + n % 3)), get_settings()))
    again(lambda n: (conversation(str(n % 3)).add_message("user", "x"), usage(limit=3)))

    def child():
        answer = service.chat("in a child", cache=False)
        assert answer.content == "So.", answer
        conversation("0").add_message("user", "x")
        assert service.chat("load 1").content == "So."
        assert "m" in usage(limit=1)["model"][0]
        return b"ok"

    hung, failed = 0, []
    for n in range(forks):
        time.sleep(0.001 * (n % 20))
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                said = child()
            except BaseException as exc:
                said = f"{type(exc).__name__}: {exc}".encode()
            os.write(writer, said)
            os._exit(0)
        os.close(writer)
        if select.select([reader], [], [], 100)[0]:
            said = os.read(reader, 10_000)
            if said != b"ok":
                failed.append(said)
        else:
            hung += 1
            os.kill(pid, signal.SIGKILL)
        os.close(reader)
        os.waitpid(pid, 0)
    stopped.set()
    print(f"{hung} hung, failed: {failed}", flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize("forks", [8, pytest.param(200, marks=[pytest.mark.thorough, pytest.mark.timeout(900)])])
def test_a_child_makes_calls_of_its_own_while_other_threads_of_its_parent_call(forks, fake, python):
    fake.default = answer("So.")
    out, err = python(_UNDER_LOAD, fake.base_url, forks, warnings="ignore").communicate(timeout=100 + 20 * forks)
    assert (out, err) == ("0 hung, failed: []\n", "")


_STREAMS = r"""
    import asyncio, os, sys
    from ipyllm import Experiment, LLMError, OllamaService

    service = OllamaService("m", base_url=sys.argv[1])
    stream = service.stream("one")
    next(stream)
    later = service.chat_stream("two")
    call = service.call(service.request("three"))
    experiment = Experiment(["a"], models=service, warmup=0, name="parent's")
    experiment.start()

    async def begin():
        events = aiter(later)
        await anext(events)

        async def rest():
            await anext(events)

        return rest

    loop = asyncio.new_event_loop()
    rest = loop.run_until_complete(begin())
    pid = os.fork()
    if pid == 0:
        waits = {
            "stream": lambda: next(stream),
            "chat_stream": lambda: loop.run_until_complete(rest()),
            "wait": call.wait,
            "wait_async": lambda: asyncio.run(call.wait_async()),
            "experiment": experiment.wait,
        }
        for name, wait in waits.items():
            try:
                wait()
                said = "nothing"
            except LLMError as exc:
                said = str(exc).replace(str(os.getppid()), "N")
            os.write(1, f"{name}: {said}\n".encode())
        stream.close()
        call.cancel()
        experiment.cancel()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert not call.done.is_set()
    os._exit(0)
"""


def test_a_call_of_the_parent_that_a_child_waits_for_says_whose_it_is(fake, python):
    fake.default = answer("So it goes.", chunks=3, gap=200)
    out, err = python(_STREAMS, fake.base_url, warnings="ignore").communicate(timeout=200)
    sentence = (
        "This call was made by the parent process (N) and ends there; this is a fork of it. "
        "Make a call of its own here."
    )
    names = ["stream", "chat_stream", "wait", "wait_async", "experiment"]
    assert out.splitlines() == [f"{name}: {sentence}" for name in names], err


_STATE = r"""
    import os, sys, threading, time
    from ipyllm import Experiment, OllamaService, pool

    service = OllamaService("m", base_url=sys.argv[1])
    several = pool(sys.argv[1], model="m")
    calls = [several.call(several.request("busy"))]
    experiment = Experiment(["a"], models=service, warmup=0, name="here")
    experiment.start()
    while several.endpoints[0].in_flight == 0:
        time.sleep(0.001)
    pid = os.fork()
    if pid == 0:
        assert several.endpoints[0].in_flight == 0
        several.drain(sys.argv[1], timeout=0)
        again = Experiment(["a", "b"], models=service, warmup=0, name="here")
        again.start()
        again.cancel()
        assert again.wait(100)
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    os._exit(0)
"""


def test_a_child_has_no_calls_of_its_parent_in_flight(fake, python):
    fake.default = answer("So.", ttft=300)
    out, err = python(_STATE, fake.base_url, warnings="ignore").communicate(timeout=200)
    assert out == "7\n", err
