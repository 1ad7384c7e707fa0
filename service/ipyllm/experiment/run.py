"""One go at the cells that are still to be asked, on the service thread: warm-ups, then all endpoints side by side.

It stands directly on :class:`~ipyllm.pipeline.call.Call`: prompts are filled in ahead, no event is read and no thread crossed
for a call. How many are really out at an endpoint is the limiter's to decide.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import LLMError
from ipyllm.pipeline.call import Call
from ipyllm.request import Provenance
from ipyllm.routing.balancing import Pool
from ipyllm.routing.route import Route
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.runtime.service_thread import service_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from ipyllm.experiment.budget import Spending
    from ipyllm.experiment.grid import Cell
    from ipyllm.pipeline.exchange import RowSink
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse
    from ipyllm.services.base import BaseLLMService

__all__ = ["CELL_TAG", "GRID_TAG", "Progress", "Run", "RunConfig", "request_of"]

CELL_TAG: Final = "cell"
"""The tag that holds a cell's identity."""

GRID_TAG: Final = "grid"
"""The tag that holds what the whole grid was like."""

_HOPELESS: Final = frozenset({"authentication", "not_found", "quota"})
"""What every other call to the same model would be told too."""

_logger = logging.getLogger("ipyllm.experiment")


@dataclass(slots=True)
class Progress:
    """How far a run has come. Written on one thread, read on any.

    Attributes
    ----------
    to_do, asked, failed : int
        Calls that were to be made; that are over; that ended in an error. Warm-ups do not count.
    cost_usd : float
        What its calls did cost, warm-ups included; unknown prices are not in it.
    stopped : str or None
        Why it ended before its end, in one sentence.
    unreachable : dict
        Models that were given up, and why.
    """

    to_do: int
    asked: int = 0
    failed: int = 0
    cost_usd: float = 0.0
    stopped: str | None = None
    unreachable: dict[str, LLMError] = field(default_factory=dict)


@dataclass(frozen=True)
class RunConfig:
    """What holds for all calls of a run.

    Attributes
    ----------
    experiment, grid : str
        Its name and its grid's signature, for the rows.
    warmups : int
        Calls to each model before the others, flagged.
    concurrency : int
        Calls to one endpoint at the same time, at most.
    ledger : RowSink
        Where the rows go.
    spending : Spending
        The budget.
    texts : dict or None
        Takes the answers' texts by call, where the ledger keeps none.
    """

    experiment: str
    grid: str
    warmups: int
    concurrency: int
    ledger: RowSink
    spending: Spending
    texts: dict[str, str] | None = None


class Run:
    """Calls for some cells.

    Stages: made → :meth:`start` → :attr:`done` is set, whatever happened.

    Parameters
    ----------
    cells : sequence of Cell
        In the order they are to be asked.
    terms : RunConfig
        How.
    only_warm : bool
        Whether to make the warm-up calls alone.
    """

    def __init__(self, cells: Sequence[Cell], terms: RunConfig, *, only_warm: bool = False) -> None:
        self.done = InterruptibleEvent()
        self.progress = Progress(len(cells))
        self._cells = cells
        self._terms = terms
        self._only_warm = only_warm
        self._stopping = False
        self._refused: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._future: Future[None] | None = None

    def start(self) -> Run:
        """Begin, and return at once."""
        self._future = service_thread().submit(self._run())
        return self

    def cancel(self) -> None:
        """Stop: calls in flight are cancelled, and their rows say so."""
        service_thread().loop.call_soon_threadsafe(self._stop, "It was interrupted.")

    # ---- on the service thread -------------------------------------------------------------------

    def _stop(self, why: str, *, now: bool = True) -> None:
        if not self._stopping:
            self._stopping = True
            self.progress.stopped = why
        if now:
            for task in self._tasks:
                task.cancel()

    async def _run(self) -> None:
        try:
            await asyncio.gather(*(self._serve(service, cells) for service, cells in _by_endpoint(self._cells)))
        except BaseException as exc:
            self._stopping = True
            self.progress.stopped = f"It broke off: {type(exc).__name__}: {exc}."
            if isinstance(exc, Exception):
                _logger.exception("an experiment failed in our own code")
            raise
        finally:
            self.done.set()

    async def _serve(self, service: BaseLLMService, cells: deque[Cell]) -> None:
        """Ask all cells of one endpoint."""
        at_once = min(self._terms.concurrency, service.at_once or self._terms.concurrency)
        if isinstance(service, Pool):
            at_once *= _width(service)
        first: dict[str, Cell] = {}
        for cell in cells:
            first.setdefault(cell.arm.model, cell)
        if self._terms.warmups:
            # One model after the other: a server may hold one at a time.
            for cell in first.values():
                await self._in_tasks(
                    [replace(cell, warmup=True)] * (self._terms.warmups * _width(cell.arm.service)), at_once
                )
        if not self._only_warm:
            await self._in_tasks(cells, at_once)

    async def _in_tasks(self, cells: Iterable[Cell], at_once: int) -> None:
        queue = cells if isinstance(cells, deque) else deque(cells)
        if self._stopping:
            return
        tasks = [asyncio.create_task(self._work(queue)) for _ in range(min(at_once, len(queue)))]
        self._tasks.update(tasks)
        try:
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._tasks.difference_update(tasks)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _work(self, queue: deque[Cell]) -> None:
        progress, spending = self.progress, self._terms.spending
        while queue and not self._stopping:
            cell = queue.popleft()
            arm = cell.arm
            if arm.model in progress.unreachable:
                continue
            request = request_of(cell, self._terms)
            reservation = None
            if spending.limited:
                try:
                    reservation = await spending.reserve(arm, request.messages)
                except LLMError as exc:
                    self._stop(str(exc), now=False)
                    return
                if self._has_stopped():  # while it waited for its turn to spend
                    spending.settle(reservation, 0.0)
                    return
            call = Call(arm.service, request, ledger=self._terms.ledger)
            response = await call.run_here()
            cost = response.cost_usd
            if reservation is not None:
                nothing_sent = cost is None and not response.content and response.status != "cancelled"
                spending.settle(reservation, 0.0 if nothing_sent else cost)
            self._note(cell, response, call.error)

    def _has_stopped(self) -> bool:
        return self._stopping

    def _note(self, cell: Cell, response: ChatResponse, error: LLMError | None) -> None:
        progress, model = self.progress, cell.arm.model
        progress.cost_usd += response.cost_usd or 0.0
        if error is None:
            self._refused[model] = 0
            if self._terms.texts is not None:
                self._terms.texts[response.call_id] = response.content
        elif error.category == "quota" and error.status_code is None:
            self._stop(str(error), now=False)  # our own budget of the whole process
            return
        elif _root(error).category in _HOPELESS or (cell.warmup and _root(error).category == "connection"):
            progress.unreachable.setdefault(model, error)
        elif _root(error).category == "connection":
            self._refused[model] = self._refused.get(model, 0) + 1
            if self._refused[model] > 2 * self._terms.concurrency:
                progress.unreachable.setdefault(model, error)
        if not cell.warmup and response.status != "cancelled":
            progress.asked += 1
            progress.failed += error is not None


def request_of(cell: Cell, terms: RunConfig) -> ChatRequest:
    """Return what is sent for a cell."""
    arm, prompt = cell.arm, cell.prompt
    asked = arm.request
    return replace(
        asked,
        messages=cell.messages,
        # What is asked again is to be answered again.
        cache=asked.cache if cell.repeat == 0 and not cell.warmup else False,
        provenance=Provenance(
            origin="experiment",
            tags={CELL_TAG: cell.key, GRID_TAG: terms.grid},
            experiment=terms.experiment,
            arm=arm.label,
            prompt_id=prompt.prompt_id,
            repeat=cell.repeat,
            warmup=cell.warmup,
        ),
    )


def _by_endpoint(cells: Sequence[Cell]) -> list[tuple[BaseLLMService, deque[Cell]]]:
    found: dict[Any, tuple[BaseLLMService, deque[Cell]]] = {}
    keys: dict[int, Any] = {}
    for cell in cells:
        service = cell.arm.service
        key = keys.get(id(service))
        if key is None:
            key = keys[id(service)] = _endpoint(service)
        found.setdefault(key, (service, deque()))[1].append(cell)
    return list(found.values())


def _endpoint(service: BaseLLMService) -> Any:
    """Return what is the same for services that share a server, and a limiter."""
    try:
        return service.address(), service.limits
    except (LLMError, NotImplementedError):  # no key, for one: the call itself will say so
        return service.full_name


def _width(service: BaseLLMService) -> int:
    """Return how many servers one name stands for, each to be warmed up."""
    return max(1, len(list(service._arms()))) if isinstance(service, Route) else 1  # noqa: SLF001 - a route is ours


def _root(error: LLMError) -> LLMError:
    """Return what went wrong, where the error only says that we gave up."""
    cause = error.__cause__
    return cause if error.category == "max_retries_exceeded" and isinstance(cause, LLMError) else error
