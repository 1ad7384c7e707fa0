"""A scriptable server of the OpenAI protocol, both of its APIs, on loopback, in a separate thread with an event loop.

`FakeLLM` chooses the `Script` for a request; `connection.Connection` sends it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from tests.fakes.connection import Connection, Request
from tests.fakes.dialects import Dialect
from tests.fakes.refusals import bad_json, error, model_not_found, rate_limited, server_error, unauthorized
from tests.fakes.render import RenderedScript, RenderOptions, render
from tests.fakes.script import Script, answer, status

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date
    from types import TracebackType

__all__ = ["FakeLLM", "released_once"]

_APIS: Final[dict[str, Literal["chat", "responses"]]] = {"/v1/chat/completions": "chat", "/v1/responses": "responses"}
_BACKLOG = 4096  # a test may open hundreds of connections in one go
_RECORDS = "/_fake/requests"


class FakeLLM:
    """A scriptable LLM server. Use it as a context manager, or call `start` and `close`.

    Parameters
    ----------
    api_key : str, optional
        Other keys get 401. None: no key is required, and any is accepted.
    models : sequence of str, optional
        The models it has; others get 404. None: any name is accepted, and `fake-model` is listed.
    host, port
        Where to listen; port 0 chooses a free one.
    tls : SSLContext, optional
        Its certificate: the server then speaks https.

    Examples
    --------
    >>> with FakeLLM(models=["tiny"]) as fake:
    ...     fake.base_url.endswith("/v1")
    True
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        models: Sequence[str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.api_key = api_key
        self.models = models
        self.default = answer()
        self.requests: list[Request] = []
        self.in_flight = 0
        self.max_in_flight = 0
        self._address = (host, port)
        self._tls = tls
        self._queue: deque[Script] = deque()
        self._decide: Callable[[Request], Script | None] | None = None
        self._served_paths: dict[str, Script] = {}
        self._dialect: Dialect | None = None
        self._limit: int | None = None
        self._rejection = rate_limited()
        self._errors: list[Exception] = []
        self._connections: set[Connection] = set()
        self._thread: threading.Thread | None = None

    # replies

    def reply(self, *scripts: Script) -> None:
        """Queue replies for the next chat requests."""
        self._queue.extend(scripts)

    def on(self, decide: Callable[[Request], Script | None]) -> Callable[[Request], Script | None]:
        """Call `decide` for each chat request; None falls back to the queue. Also usable as a decorator.

        It runs on the server's thread. If it raises, the client gets a 500, and leaving the `with` block
        raises the error.
        """
        self._decide = decide
        return decide

    def speak_as(self, dialect: str | None, today: date | None = None) -> None:
        """Refuse what this provider refuses (a table of `dialects.toml`); None accepts everything.

        `today` decides which models are retired; by default it is the real day.
        """
        self._dialect = None if dialect is None else Dialect.named(dialect, today)

    @property
    def open_connections(self) -> int:
        """Number of open connections."""
        return len(self._connections)

    def close_idle_connections(self) -> None:
        """Close the idle connections, as servers do after a time."""
        self._each_connection(Connection.close_if_idle)

    def skip_pauses(self) -> None:
        """Send the rest of all running replies at once, for tests that have seen enough of the stream."""
        self._each_connection(Connection.skip_pauses)

    @contextmanager
    def held_until(self, n: int, then: Script | None = None) -> Iterator[None]:
        """Hold the first `n` replies until all of them are asked for; they are `then`, as those after them are."""
        script = then or self.default
        held = replace(script, ttft=1000.0)
        with released_once(lambda: self.in_flight >= n, self) as is_released:
            self.on(lambda request: held if len(self.requests) <= n and not is_released.is_set() else script)
            try:
                yield
            finally:
                self._decide = None

    def send_next(self) -> None:
        """Send what is next of all running replies now: with long pauses, a test decides when each piece comes."""
        self._each_connection(Connection.send_next)

    def _each_connection(self, act: Callable[[Connection], None]) -> None:
        done: Future[None] = Future()

        def act_on_all() -> None:
            for connection in tuple(self._connections):
                act(connection)
            done.set_result(None)

        self._loop.call_soon_threadsafe(act_on_all)
        done.result()

    def serve(self, path: str, script: Script) -> None:
        """Reply to every request for another path (`/api/pull`, `/v1/models`) with this script."""
        self._served_paths[path] = script

    def admit(self, n: int | None, rejection: Script | None = None) -> None:
        """Reply 429 (or `rejection`) to chat requests above `n` in flight; None admits all."""
        self._limit, self._rejection = n, rejection or rate_limited()

    # observations

    def wait_for(self, predicate: Callable[[], Any], timeout: float = 60.0) -> Any:
        """Block until `predicate()` is true and return its value. In a coroutine, use `asyncio.to_thread`."""
        end = monotonic() + timeout
        while not (value := predicate()):
            if monotonic() > end:
                raise TimeoutError(
                    f"Not true within {timeout} s. {len(self.requests)} requests, {self.in_flight} open; "
                    f"the last: {self.requests[-1:]}"
                )
            sleep(0.001)
        return value

    def clear(self) -> None:
        """Forget all records and queued replies."""
        self.requests.clear()
        self._queue.clear()
        self.max_in_flight = self.in_flight

    # life cycle

    @property
    def url(self) -> str:
        """The root URL, for Ollama's clients."""
        return "{}://{}:{}".format("http" if self._tls is None else "https", *self._address)

    @property
    def base_url(self) -> str:
        """The OpenAI client's `base_url`."""
        return f"{self.url}/v1"

    def start(self) -> Self:
        """Listen; return when clients can connect."""
        if self._thread is None:
            started: Future[int] = Future()
            self._thread = threading.Thread(target=self._run, args=(started,), name="fake-llm", daemon=True)
            self._thread.start()
            self._address = (self._address[0], started.result())
        return self

    def close(self) -> None:
        """Drop all connections and stop."""
        if self._thread is not None:
            if self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None and self._errors:
            raise self._errors[0]

    def _run(self, started: Future[int]) -> None:
        try:
            asyncio.run(self._serve(started))
        except OSError as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _serve(self, started: Future[int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await self._loop.create_server(
            lambda: Connection(self._plan, self._on_request_ended, self._connections),
            *self._address,
            backlog=_BACKLOG,
            ssl=self._tls,
        )
        started.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        # asyncio loses a socket that is being accepted while its server closes: let those tasks end first.
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)
        server.close()
        while self._connections:
            for connection in self._connections:
                connection.abort()
            await asyncio.sleep(0)
        await server.wait_closed()

    # called by the connections, on the server's thread

    def _plan(self, request: Request) -> RenderedScript:
        body = request.json if isinstance(request.json, dict) else {}
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        api = _APIS.get(request.path, "chat")
        top = int(body.get("top_logprobs") or 0) if api == "responses" or body.get("logprobs") else None
        if api == "responses" and "message.output_text.logprobs" not in (body.get("include") or ()):
            top = None
        options = RenderOptions(str(body.get("model")), bool(body.get("stream")), usage, api, top)
        try:
            script = self._choose(request)
            plan = render(script, options)
        except Exception as error:
            self._errors.append(error)
            script = server_error()
            plan = render(script, options)
        request.status = script.status if plan.head else None
        return plan

    def _choose(self, request: Request) -> Script:
        if request.path == _RECORDS:
            return self._records(request)
        self.requests.append(request)
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.api_key is not None and key != self.api_key:
            return unauthorized(key)
        if self._dialect and isinstance(request.json, dict):
            refusal = self._dialect.refusal(request.path, request.json, request.query)
            if refusal is not None:
                return refusal
        if request.path in self._served_paths:
            return self._served_paths[request.path]
        if request.path not in _APIS:
            return _reply_to_other_path(request, self.models or ("fake-model",))
        if self._limit is not None and self.in_flight >= self._limit:
            return self._rejection
        request.admitted = True
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        if not isinstance(request.json, dict):
            return bad_json()
        if self.models is not None and (model := str(request.json.get("model"))) not in self.models:
            return model_not_found(model)
        decided = self._decide(request) if self._decide else None
        return decided or (self._queue.popleft() if self._queue else self.default)

    def _on_request_ended(self, request: Request) -> None:
        self.in_flight -= request.admitted

    def _records(self, request: Request) -> Script:
        """Let another process read (GET) or delete (DELETE) the records."""
        if request.method == "DELETE":
            self.clear()
        return status(200, [asdict(r) | {"raw": None} for r in self.requests])


@contextmanager
def released_once(is_reached: Callable[[], Any], *servers: FakeLLM) -> Iterator[threading.Event]:
    """Let the servers send everything once a condition holds, or when the `with` block is left; yield what tells it.

    Raises
    ------
    TimeoutError
        If it did not hold within a minute, after which they have sent everything too.
    """
    is_released = threading.Event()

    def release() -> None:
        try:
            servers[0].wait_for(lambda: is_released.is_set() or is_reached())
        finally:
            is_released.set()
            for server in servers:
                server.skip_pauses()

    with ThreadPoolExecutor(1) as pool:
        released = pool.submit(release)
        try:
            yield is_released
        finally:
            is_released.set()
    released.result()


def _reply_to_other_path(request: Request, models: Sequence[str]) -> Script:
    """Reply to other requests: OpenAI's and Ollama's lists of models, and 404."""
    if request.path == "/v1/models":
        listed = [{"id": m, "object": "model", "created": 1_790_000_000, "owned_by": "fake"} for m in models]
        return status(200, {"object": "list", "data": listed})
    if request.path == "/api/tags":
        details = {"format": "gguf", "family": "fake", "parameter_size": "1B", "quantization_level": "Q4_0"}
        tags = [
            {
                "name": name,
                "model": name,
                "modified_at": "2026-11-01T00:00:00Z",
                "size": 1_000_000_000,
                "digest": "f" * 64,
                "details": details,
            }
            for name in models
        ]
        return status(200, {"models": tags})
    if request.path == "/api/version":
        return status(200, {"version": "0.13.0"})
    if request.path == "/":
        return status(200, "Ollama is running", {"content-type": "text/plain"})
    return error(404, f"Invalid URL ({request.method} {request.path})")
