"""Reserves and settles the cost of one exchange in every budget that it is paid from."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

from ipyllm.conversations.hidden_tokens import hidden_tokens, kind_of
from ipyllm.conversations.tokens import estimate_body
from ipyllm.pipeline.billed_tiers import learn_tier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.pipeline.budget import Account
    from ipyllm.pipeline.state import ExchangeState
    from ipyllm.provider import Provider
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse

__all__ = ["ExchangeBudget"]

_VALID_S: Final = 1.0
"""Seconds for which a bound holds. Later, prices may have changed, or servers been seen to count more tokens."""


class ExchangeBudget:
    """The accounts of one exchange.

    Stages: :meth:`hold` → :meth:`hold_for_attempt` and :meth:`sent`, for each attempt → :meth:`settle` →
    :meth:`end`, once the row is put.
    """

    def __init__(self, service: Provider, request: ChatRequest, accounts: Sequence[Account]) -> None:
        self._service = service
        self._request = request
        self._accounts = accounts
        self._held_at = -_VALID_S
        self.is_limited = any(account.is_limited for account in accounts)
        self.needs_row = any(account.needs_row for account in accounts)

    async def hold(self, state: ExchangeState) -> None:
        """Reserve the most that sending the request now may cost, or refuse it before it is sent."""
        if not self.is_limited or state.address is None:
            return
        state.bound_usd = self._service.max_cost(self._request, state.address, datetime.now(UTC))
        for account in self._accounts:
            await account.hold(state.bound_usd, self._request.model)
        self._held_at = monotonic()

    async def hold_for_attempt(self, state: ExchangeState) -> None:
        """Reserve for an attempt: earlier ones may have been billed too, and a call may have waited for its turn."""
        if state.may_be_billed:
            cost = state.end_attempt(self._service, self._request)
            for account in self._accounts:
                account.spend(cost)
        elif state.attempts == 0 and monotonic() - self._held_at < _VALID_S:
            return
        await self.hold(state)

    async def sent(self) -> None:
        """Wait until the row says that the request is sent, where others must know of it."""
        for account in self._accounts:
            await account.sent()

    def settle(self, state: ExchangeState, response: ChatResponse) -> float | None:
        """Settle the last attempt; return the most that the exchange can have cost, None without a limit."""
        cost = state.cost_of_open_attempt(self._service, self._request, response)
        for account in self._accounts:
            account.spend(cost)
        if not self.is_limited:
            return None
        self._learn(state, response)
        return state.earlier_bound_usd + (cost if cost is not None else state.bound_usd or 0.0)

    def end(self) -> None:
        """Release what is still held."""
        for account in self._accounts:
            account.end()

    def _learn(self, state: ExchangeState, response: ChatResponse) -> None:
        """Compare what the server counts and bills with the bound, for those of later calls."""
        usage = response.usage
        if state.address is None or state.hit is not None or usage.source != "server":
            return
        base_url, body = state.address.base_url, state.body
        if usage.service_tier is not None:
            learn_tier(base_url, body["model"], body.get("service_tier"), usage.service_tier)
        if usage.input_tokens:
            hidden_tokens().learn(kind_of(base_url, body), estimate_body(body), usage.input_tokens)
