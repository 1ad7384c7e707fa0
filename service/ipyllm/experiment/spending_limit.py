"""Keeps an experiment within its budget: reserves the highest possible cost of each call before it is sent.

All processes that run an experiment share its budget through the ledger (:mod:`ipyllm.ledger.reservations`). A worker
of an executor shares nothing: it gets a part of the budget with its chunk.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from ipyllm.conversations.tokens import max_output_tokens
from ipyllm.errors import LLMError
from ipyllm.experiment.written_rows import WrittenRows
from ipyllm.ledger.budget_state import BudgetState, within
from ipyllm.ledger.ids import new_id
from ipyllm.ledger.ledger import LedgerUnavailableError
from ipyllm.pipeline.budget import budget_reached, kernel_budget, price_unknown
from ipyllm.pipeline.tool_loop import first_request
from ipyllm.routing.route import Route
from ipyllm.services.local import LocalService
from ipyllm.text.format import count, money

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ipyllm.comparison.arms import Arm
    from ipyllm.ledger import Ledger
    from ipyllm.request import ChatRequest
    from ipyllm.services.base import BaseLLMService

__all__ = ["ChunkFunds", "LedgerFunds", "SpendingAccount", "SpendingLimit", "max_cost", "max_output_tokens_of"]

_POLL_S: Final = 0.25
"""Seconds between two looks at the ledger while only calls of other processes can make room."""


def max_cost(service: BaseLLMService, request: ChatRequest) -> float | None:
    """Return the most that the first exchange of a call may cost, in US dollars; None if unknown.

    For a route it is that of its dearest member, whose choice is not known yet.
    """
    if isinstance(service, Route):
        request = replace(request, given=request.given.with_defaults(service.defaults))
        bounds = [max_cost(member, member.resolve(request)) for member in service._arms()]  # noqa: SLF001
        known = [bound for bound in bounds if bound is not None]
        return max(known, default=None) if len(known) == len(bounds) else None
    if isinstance(service, LocalService):
        return 0.0
    return service.max_cost(first_request(request), service.address(), datetime.now(UTC))


def max_output_tokens_of(arm: Arm) -> int | None:
    """Return the limit on an answer's tokens, if there is one."""
    return max_output_tokens({**arm.params, **(arm.params.get("extra_body") or {})})


class Funds(Protocol):
    """Where a limit is kept: the ledger, for all processes, or the memory of a worker."""

    def reserve(self, wanted: Mapping[str, tuple[float, bool]], released: Mapping[str, float]) -> BudgetState:
        """Release reservations, each with the cost of its calls, and grant those that the limit allows."""

    def flush(self) -> None:
        """Write the rows of all calls; raise ``quota`` if that fails."""


class LedgerFunds:
    """The budget of an experiment in the ledger, whose rows say what calls cost."""

    def __init__(self, ledger: Ledger, experiment: str, limit_usd: float) -> None:
        self._ledger = ledger
        self._experiment = experiment
        self._limit_usd = limit_usd

    def reserve(self, wanted: Mapping[str, tuple[float, bool]], released: Mapping[str, float]) -> BudgetState:
        """Release and grant reservations; raise ``quota`` while the ledger cannot be written."""
        try:
            return self._ledger.reserve(self._experiment, self._limit_usd, wanted, released)
        except LedgerUnavailableError as exc:
            raise LLMError(f"{exc} Nothing is sent until it can.", category="quota", reached_server=False) from None

    def flush(self) -> None:
        """Write the rows of all calls; raise ``quota`` if that fails."""
        if not self._ledger.flush():
            raise LLMError(
                f"The calls of {self._experiment!r} cannot be written to the ledger. Nothing is sent until they can.",
                category="quota",
                reached_server=False,
            )


class ChunkFunds:
    """The part of a budget that a worker may spend on its chunk."""

    def __init__(self, limit_usd: float) -> None:
        self._limit_usd = limit_usd
        self._spent_usd = 0.0
        self._held: dict[str, float] = {}

    def reserve(self, wanted: Mapping[str, tuple[float, bool]], released: Mapping[str, float]) -> BudgetState:
        """Release and grant reservations."""
        for id_, cost in released.items():
            if self._held.pop(id_, None) is not None:
                self._spent_usd += cost
        granted = set()
        for id_, (usd, _) in wanted.items():
            others = sum(held for other, held in self._held.items() if other != id_)
            if within(self._spent_usd + others + usd, self._limit_usd):
                self._held[id_] = usd
                granted.add(id_)
        held = sum(self._held.values())
        return BudgetState(self._spent_usd, 0.0, 0, held, held, frozenset(granted))

    def flush(self) -> None:
        """Return at once: there is nothing to write."""


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    account_id: str
    total_usd: float
    bound_usd: float
    model: str
    held_usd: float
    granted: asyncio.Future[None]

    @property
    def may_wait(self) -> bool:
        """Whether it can wait for others without keeping from them what it holds."""
        return not self.held_usd

    @property
    def replaced_usd(self) -> float:
        """What it holds for the same request, beside what earlier ones cost."""
        return max(0.0, self.held_usd - (self.total_usd - self.bound_usd))


class SpendingLimit:
    """The budget of an experiment in US dollars, for the calls of this process; without ``funds`` there is no limit.

    Without a limit, calls wait only for ``rows`` to be written before they are sent, if these are given.

    Calls reserve on the service thread. One task there takes all requests and releases since its last transaction to
    the next one, so that a transaction serves many calls.
    """

    def __init__(
        self, limit_usd: float = math.inf, funds: Funds | None = None, rows: WrittenRows | None = None
    ) -> None:
        self.limit_usd = limit_usd
        self._funds = funds
        self._allow_unknown_price = kernel_budget().allow_unknown_price
        self._waiting: list[_Request] = []
        self._released: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._rows = rows or (WrittenRows(funds.flush) if funds is not None else None)

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self._funds is not None

    async def open(self, service: BaseLLMService, request: ChatRequest) -> SpendingAccount:
        """Return the account of a call, with its highest cost reserved; wait for calls in flight, which may cost less.

        Raises ``quota`` if the call could exceed the limit or has no known price.
        """
        account = self.account()
        if self.limited:
            await account.hold(max_cost(service, request), request.model)
        return account

    def account(self) -> SpendingAccount:
        """Return an account that holds nothing yet, for one call."""
        return SpendingAccount(self)

    def check(self, calls: Iterable[tuple[BaseLLMService, ChatRequest]]) -> str | None:
        """Raise ``quota`` if one of the calls could exceed the limit by itself, or has no known price.

        Return a sentence about earlier calls that the budget cannot count; None if there are none.
        """
        if self._funds is None:
            return None
        state = self._funds.reserve({}, {})
        for service, request in calls:
            bound = self.bound(max_cost(service, request), request.model)
            kept = state.reserved_usd - state.releasable_usd
            if not within(state.spent_usd + kept + bound, self.limit_usd):
                raise self.refusal(bound, state, request.model)
        if not state.n_uncounted:
            return None
        verb = "has" if state.n_uncounted == 1 else "have"
        earlier = count(state.n_uncounted, "earlier call")
        return f"{earlier} {verb} an unknown cost, which max_cost_usd={money(self.limit_usd)} does not include."

    def bound(self, bound_usd: float | None, model: str) -> float:
        """Return a bound, 0 for unknown prices that are allowed; raise ``quota`` if they are not."""
        if bound_usd is None and not self._allow_unknown_price:
            raise price_unknown(self.limit_usd, model)
        return bound_usd or 0.0

    def reserve_now(self, account_id: str, usd: float) -> BudgetState:
        """Reserve for calls that run elsewhere, and return what is used then; not on the service thread."""
        assert self._funds is not None
        return self._funds.reserve({account_id: (usd, True)}, {})

    def release_now(self, account_id: str, cost_usd: float) -> None:
        """Release what calls elsewhere had reserved, after their rows are written."""
        assert self._funds is not None
        self._funds.reserve({}, {account_id: cost_usd})

    def refusal(self, bound_usd: float, state: BudgetState, model: str, *, replaced_usd: float = 0.0) -> LLMError:
        """Return the error of a call that could exceed the limit, of which it already holds ``replaced_usd``."""
        others = state.reserved_usd - replaced_usd
        return budget_reached(bound_usd, self.limit_usd, state.spent_usd, others, state.assumed_usd, model=model)

    # ---- on the service thread -----------------------------------------------------------------------

    async def grant(self, account_id: str, total_usd: float, bound_usd: float, model: str, *, held_usd: float) -> None:
        """Reserve ``total_usd`` for an account; raise ``quota``. Only accounts that hold nothing may wait."""
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(account_id, total_usd, bound_usd, model, held_usd, granted))
        self._wake()
        await granted

    def release(self, account_id: str, cost_usd: float) -> None:
        """Release what an account holds: its row says what it cost."""
        self._released[account_id] = cost_usd
        self._wake()

    async def sent(self) -> None:
        """Wait until the rows of all calls are written; raise ``quota`` if that fails under a limit."""
        if self._rows is not None:
            await self._rows.wait()

    def _wake(self) -> None:
        loop = asyncio.get_running_loop()
        if self._task is not None and self._task.get_loop() is not loop:  # the parent's, in a forked child
            self._task, self._changed = None, asyncio.Event()
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._serve())

    async def _serve(self) -> None:
        while self._waiting or self._released:
            self._changed.clear()
            if not await self._transact():
                return
            if self._waiting and not self._released:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), _POLL_S)

    async def _transact(self) -> bool:
        """Release and grant; return whether the funds could be read and written."""
        assert self._funds is not None
        released, self._released = self._released, {}
        requests, self._waiting = self._waiting, []
        wanted = {each.account_id: (each.total_usd, False) for each in requests if not each.granted.done()}
        try:
            state = await asyncio.to_thread(self._funds.reserve, wanted, released)
        except Exception as exc:  # noqa: BLE001 - the calls that wait must learn of every error
            self._released = {**released, **self._released}  # with the next request
            for each in [*requests, *self._waiting]:
                if not each.granted.done():
                    each.granted.set_exception(exc)
            self._waiting = []
            return False
        for each in requests:
            if each.account_id in state.granted:
                if not each.granted.done():
                    each.granted.set_result(None)
                elif each.may_wait:  # it was cancelled in the meantime, and its account does not know that it holds
                    self._released[each.account_id] = 0.0
            elif not each.granted.done():
                if each.may_wait and state.releasable_usd > 0:
                    self._waiting.append(each)
                else:
                    error = self.refusal(each.bound_usd, state, each.model, replaced_usd=each.replaced_usd)
                    each.granted.set_exception(error)
        return True


class SpendingAccount:
    """The place of one call in the budget of an experiment. An :class:`~ipyllm.pipeline.budget.Account`."""

    needs_row = True

    def __init__(self, limit: SpendingLimit) -> None:
        self.is_limited = limit.limited
        self._limit = limit
        self._id = new_id()
        self._held_usd = 0.0
        self._spent_usd = 0.0

    async def hold(self, bound_usd: float | None, model: str) -> None:
        """Reserve for the next request; the first may wait for calls in flight, which may cost less."""
        if not self.is_limited:
            return
        bound = self._limit.bound(bound_usd, model)
        total = self._spent_usd + bound
        if total > self._held_usd:
            await self._limit.grant(self._id, total, bound, model, held_usd=self._held_usd)
            self._held_usd = total

    def spend(self, cost_usd: float | None) -> None:
        """Keep the cost of a request; it stays reserved until the row of its exchange says it."""
        self._spent_usd = max(self._held_usd, self._spent_usd) if cost_usd is None else self._spent_usd + cost_usd

    async def sent(self) -> None:
        """Wait until the ledger has the row of the request, which counts if this process dies."""
        await self._limit.sent()

    def end(self) -> None:
        """Release what is held."""
        if self._held_usd:
            self._limit.release(self._id, self._spent_usd)
            self._id = new_id()
        self._held_usd = self._spent_usd = 0.0
