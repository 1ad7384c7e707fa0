"""Soak test: thousands of calls through every API to a server with every fault; counts losses, errors and leaks.

``tests/service/pipeline/test_soak.py`` runs a few hundred of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import psutil

from benchmarks.clients import run_module
from benchmarks.report import Claim
from tests import fakes
from tests.fakes import FakeLLM, answer, status

if TYPE_CHECKING:
    from ipyllm import OpenAIService
    from tests.fakes import Request, Script

__all__ = ["SoakResult", "soak"]

_CONCURRENCY = 100
_POOL_SIZE = _CONCURRENCY // 4
_ROUNDS = 4
_TEXT = "one two three four five"
_SSE = {"content-type": "text/event-stream"}
_REDIRECT = "redirect"

_LARGE = b'{"choices": [{"message": {"content": "%b"}, "finish_reason": "stop"}]}' % (b"0123456789" * 60_000)
_BOUNDS_MB = {"IPYLLM_MAX_ANSWER_MB": "0.5", "IPYLLM_MAX_EVENT_MB": "0.25", "IPYLLM_MAX_ERROR_MB": "0.1"}

# Faults of the server, with the expected status and category. 1.5 % of the calls each; half of the others are correct
# answers, and half are ended by the caller.
_FAULTS: dict[str, tuple[Script, tuple[str, str | None]]] = {
    "cut off": (fakes.truncated(_TEXT), ("truncated", "truncated")),
    "half a line": (fakes.half_line(_TEXT), ("truncated", "truncated")),
    "reset": (fakes.reset(_TEXT), ("error", "connection")),
    "stall": (fakes.stall(_TEXT), ("error", "timeout")),
    "never answers": (fakes.never_answers(), ("error", "timeout")),
    "closed at once": (fakes.refuse("fin"), ("error", "connection")),
    "reset at once": (fakes.refuse("rst"), ("error", "connection")),
    "malformed": (fakes.malformed(_TEXT), ("error", "api_error")),
    "error in the stream": (fakes.error_in_stream(_TEXT), ("error", "api_error")),
    "error event": (fakes.error_event(_TEXT), ("error", "api_error")),
    "web page": (fakes.html(200), ("error", "api_error")),
    "overloaded": (fakes.unavailable(), ("error", "api_error")),
    "no quota": (fakes.insufficient_quota(), ("error", "quota")),
    "wrong key": (fakes.unauthorized(), ("error", "authentication")),
    "filtered": (fakes.content_filter(_TEXT), ("error", "content_filter")),
    "busy once": (fakes.rate_limited(0.01), ("ok", None)),
    "failed": (fakes.server_error(), ("error", "api_error")),
    "unknown model": (fakes.model_not_found("m"), ("error", "not_found")),
    "empty body": (status(200), ("truncated", "truncated")),
    "large answer": (status(200, _LARGE), ("error", "api_error")),
    "large event": (status(200, b"data: %b\n\n" % _LARGE, _SSE), ("error", "api_error")),
    "bomb": (replace(status(200, _LARGE), gzip=True), ("error", "api_error")),
    "bomb in an error": (replace(status(401, _LARGE), gzip=True), ("error", "authentication")),
    "long name of a tool": (answer("", tool_calls=[("f" * 2_000, {})]), ("error", "api_error")),
    _REDIRECT: (fakes.redirect("http://elsewhere.example/v1"), ("error", "bad_request")),
}
_SHARE = 0.015
_CORRECT: dict[str, Script] = {
    "plain": answer(_TEXT),
    "slow": answer(_TEXT, ttft=0.05, gap=0.02),
    "long": answer("word " * 2000, chunks=500),
    "reasoning": answer(_TEXT, reasoning="hm hm"),
    "odd chunks": fakes.odd_chunks(_TEXT, "delta null"),
    "stream ignored": fakes.ignores_stream(_TEXT),
    "characters cut": fakes.split_utf8("naïve größe 日本語"),
    "zipped": fakes.gzipped(_TEXT),
    "pings": fakes.pings(_TEXT),
    "wrong label": replace(answer(_TEXT), headers=(("content-type", "text/html"),)),
}
_ENDLESS = fakes.drip("word ", every=0.02)


@dataclass(frozen=True)
class _Plan:
    """One call: the behaviour of the server, the method, and the expected row."""

    number: int
    kind: str
    method: str
    expected: tuple[str, str | None]

    @property
    def prompt(self) -> str:
        return f"{self.kind}/{self.number}"


@dataclass
class SoakResult:
    """Result of a soak test. Lists must be empty, counts 0, and ``rows`` equal to ``calls``."""

    calls: int = 0
    rows: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    tasks_left: int = 0
    requests_open: int = 0
    threads_left: list[str] = field(default_factory=list)
    files_left: int = 0
    sockets_left: int = 0
    rss_mb: list[float] = field(default_factory=list)
    objects: list[int] = field(default_factory=list)

    @property
    def growth_mb(self) -> float:
        """Growth of memory in the second half."""
        return self.rss_mb[-1] - self.rss_mb[len(self.rss_mb) // 2 - 1]

    @property
    def objects_growth(self) -> int:
        """Growth in objects of the garbage collector in the second half."""
        return self.objects[-1] - self.objects[len(self.objects) // 2 - 1]


def _plans(calls: int, seed: int) -> list[_Plan]:
    rng = random.Random(seed)
    each = round(calls * _SHARE)
    kinds = [kind for kind in _FAULTS for _ in range(each)]
    kinds += [rng.choice([*_CORRECT, *["endless"] * len(_CORRECT)]) for _ in range(calls - len(kinds))]
    rng.shuffle(kinds)
    return [_plan(number, kind, rng) for number, kind in enumerate(kinds)]


def _plan(number: int, kind: str, rng: random.Random) -> _Plan:
    if kind == "endless":
        return _Plan(number, kind, rng.choice(list(_STOPPING_METHODS)), ("cancelled", "cancelled"))
    expected = _FAULTS[kind][1] if kind in _FAULTS else ("ok", None)
    return _Plan(number, kind, rng.choice(list(_METHODS)), expected)


def _decide(attempts: Counter[str]):
    def decide(request: Request) -> Script | None:
        kind = request.prompt.partition("/")[0]
        attempts[request.prompt] += 1
        if kind == "busy once" and attempts[request.prompt] > 1:
            return _CORRECT["plain"]
        if kind == "endless":
            return _ENDLESS
        return _FAULTS[kind][0] if kind in _FAULTS else _CORRECT[kind]

    return decide


# ---- methods -----------------------------------------------------------------------------------------


class _Caller:
    """Makes calls through each public method; blocking methods run in threads."""

    def __init__(self, base_url: str, pool: ThreadPoolExecutor) -> None:
        from ipyllm import OpenAIService
        from ipyllm.timeout import Timeout

        timeout = Timeout(connect=10, first_token=6, stall=3)
        self._service = OpenAIService("m", base_url=base_url, timeout=timeout, max_retries=0)
        # Different limits give a separate limiter; otherwise refusals would slow all other calls.
        self._retrying = OpenAIService(
            "m", base_url=base_url, timeout=timeout, max_retries=1, max_in_flight=_CONCURRENCY
        )
        # After a redirect, only the openai client sends to an address: this is another one, at the same server.
        self._redirected = OpenAIService("m", base_url=f"{base_url}?moved=1", timeout=timeout, max_retries=0)
        self._pool = pool

    def warm_up(self) -> None:
        self._service.chat("plain/warm up")
        all_threads = threading.Barrier(_POOL_SIZE)  # none of them can take two of the waits
        list(self._pool.map(lambda _: all_threads.wait(60), range(_POOL_SIZE)))

    async def ask(self, plan: _Plan) -> None:
        from ipyllm import LLMError

        service = {"busy once": self._retrying, _REDIRECT: self._redirected}.get(plan.kind, self._service)
        with contextlib.suppress(LLMError):
            await (_METHODS | _STOPPING_METHODS)[plan.method](self, service, plan.prompt, tags={"n": str(plan.number)})

    async def in_thread(self, function) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def chat(self, service: OpenAIService, prompt: str, **options) -> None:
        await self.in_thread(lambda: service.chat(prompt, **options))

    async def stream(self, service: OpenAIService, prompt: str, **options) -> None:
        await self.in_thread(lambda: list(service.stream(prompt, **options)))

    async def achat(self, service: OpenAIService, prompt: str, **options) -> None:
        await service.achat(prompt, **options)

    async def chat_stream(self, service: OpenAIService, prompt: str, **options) -> None:
        async for _ in service.chat_stream(prompt, **options):
            pass

    async def events(self, service: OpenAIService, prompt: str, **options) -> None:
        async for _ in service.events(prompt, **options):
            pass

    async def leave_stream(self, service: OpenAIService, prompt: str, **options) -> None:
        def leave() -> None:
            with service.stream(prompt, **options) as pieces:
                next(iter(pieces))

        await self.in_thread(leave)

    async def leave_events(self, service: OpenAIService, prompt: str, **options) -> None:
        async for _ in service.events(prompt, **options):
            break

    async def time_out(self, service: OpenAIService, prompt: str, **options) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await service.achat(prompt, **options)

    async def cancel(self, service: OpenAIService, prompt: str, **options) -> None:
        call = service.call(service.request(prompt, **options))
        await asyncio.sleep(0.05)
        call.cancel()
        await call.wait_async()

    async def cancel_at_once(self, service: OpenAIService, prompt: str, **options) -> None:
        call = service.call(service.request(prompt, **options))
        call.cancel()
        await call.wait_async()


_METHODS = {
    "chat": _Caller.chat,
    "stream": _Caller.stream,
    "achat": _Caller.achat,
    "chat_stream": _Caller.chat_stream,
    "events": _Caller.events,
}
_STOPPING_METHODS = {
    "leave the stream": _Caller.leave_stream,
    "leave the events": _Caller.leave_events,
    "time out": _Caller.time_out,
    "cancel": _Caller.cancel,
    "cancel at once": _Caller.cancel_at_once,
}


# ---- leaks ------------------------------------------------------------------------------------


def _stop_threads() -> tuple[set[str], int, int]:
    """Stop the background threads; return the remaining threads, files and sockets of this process."""
    from ipyllm.ledger import current_ledger
    from ipyllm.runtime.service_thread import stop_service_thread

    stop_service_thread()
    assert current_ledger().close(30)
    gc.collect()
    process = psutil.Process()
    time.sleep(0.1)  # until the fake server has seen the connections close
    return {thread.name for thread in threading.enumerate()}, process.num_fds(), len(process.net_connections())


def _tasks() -> int:
    """Return the number of tasks on the service thread, without the one that counts them."""
    from ipyllm.runtime.service_thread import service_thread

    async def count() -> int:
        return len(asyncio.all_tasks()) - 1

    return service_thread().submit(count()).result(10)


def _wait_until_idle(fake: FakeLLM) -> None:
    """Wait until abandoned calls have ended, and close the connections that wait for more.

    How many these are depends on how busy the machine is: each is about fifty objects, of both sides.
    """
    from ipyllm.ledger import current_ledger

    with contextlib.suppress(TimeoutError):  # the result reports what is still open
        fake.wait_for(lambda: not _tasks() and not fake.in_flight, timeout=30)
        fake.close_idle_connections()
        fake.wait_for(lambda: not fake.open_connections, timeout=30)
    assert current_ledger().flush(30)
    fake.clear()
    gc.collect()


@contextlib.contextmanager
def _bounds():
    """Set small bounds on answers, so that large ones cost little."""
    before = {name: os.environ.get(name) for name in _BOUNDS_MB}
    os.environ.update(_BOUNDS_MB)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def soak(calls: int, *, seed: int = 0) -> SoakResult:
    """Make ``calls`` calls in rounds, a hundred in flight, and report errors and leaks."""
    from ipyllm import usage

    result = SoakResult(calls=calls)
    plans = _plans(calls, seed)
    with _bounds(), FakeLLM() as fake, ThreadPoolExecutor(_POOL_SIZE) as pool:
        attempts: Counter[str] = Counter()
        fake.on(_decide(attempts))
        caller = _Caller(fake.base_url, pool)
        caller.warm_up()
        before, before_rows = _stop_threads(), len(usage(kernel=None))

        async def run_round(batch: list[_Plan]) -> None:
            semaphore = asyncio.Semaphore(_CONCURRENCY)

            async def one(plan: _Plan) -> None:
                async with semaphore:
                    await caller.ask(plan)

            await asyncio.gather(*map(one, batch))

        start = time.perf_counter()
        for number in range(_ROUNDS):
            asyncio.run(run_round(plans[number::_ROUNDS]))
            _wait_until_idle(fake)
            attempts.clear()
            result.rss_mb.append(psutil.Process().memory_info().rss / 1e6)
            result.objects.append(len(gc.get_objects()))
        result.seconds = time.perf_counter() - start
        result.tasks_left, result.requests_open = _tasks(), fake.in_flight
        threads, files, sockets = _stop_threads()
        result.threads_left = sorted(threads - before[0])
        result.files_left, result.sockets_left = files - before[1], sockets - before[2]
        rows = usage(kernel=None).iloc[before_rows:]
    result.rows = len(rows)
    result.wrong = _wrong(plans, rows)
    return result


def _wrong(plans: list[_Plan], rows) -> list[str]:
    status = {
        int(tags["n"]): (ended, category if isinstance(category, str) else None)
        for tags, ended, category in zip(rows.tags, rows.status, rows.error_category, strict=True)
    }
    return [
        f"{plan.kind}, {plan.method}: {status.get(plan.number)} and not {plan.expected}"
        for plan in plans
        if status.get(plan.number) != plan.expected
    ]


def measure() -> list[Claim]:
    result = SoakResult(**run_module("benchmarks.soak", 10_000))
    left = result.tasks_left + result.requests_open + len(result.threads_left) + result.files_left + result.sockets_left
    what = f"10,000 mixed calls, two thirds of them faulty or stopped, {_CONCURRENCY} in flight"
    most_common = "; ".join(f"{times}× {wrong}" for wrong, times in Counter(result.wrong).most_common(5))
    return [
        Claim(
            f"{what}: rows missing or too many", abs(result.rows - result.calls), 0, "rows", f"{result.seconds:.0f} s"
        ),
        Claim("… with an unexpected status", len(result.wrong), 0, "rows", most_common),
        Claim("… threads, tasks, files, sockets left", left, 0, ""),
        Claim("… memory grown in the second half", result.growth_mb, 10, "MB", f"{result.objects_growth} objects"),
    ]


if __name__ == "__main__":
    print(json.dumps(asdict(soak(int(sys.argv[1])))))
