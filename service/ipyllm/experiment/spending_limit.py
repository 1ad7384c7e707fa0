"""Keeps an experiment within its budget: reserves the highest possible cost of each call before it is sent."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ipyllm.conversations.tokens import estimate_messages
from ipyllm.errors import LLMError
from ipyllm.pipeline.budget import Budget
from ipyllm.routing.route import Route
from ipyllm.services.local import LocalService

if TYPE_CHECKING:
    from ipyllm.comparison.arms import Arm
    from ipyllm.messages import Message
    from ipyllm.pipeline.budget import Reservation
    from ipyllm.services.base import BaseLLMService

__all__ = ["CostBounds", "SpendingLimit"]


class CostBounds:
    """The highest possible cost of calls in US dollars, by arm and prompt length, each computed once."""

    def __init__(self) -> None:
        self._bounds: dict[tuple[str, int], float | None] = {}
        self._at = datetime.now(UTC)

    def of(self, arm: Arm, messages: tuple[Message, ...]) -> float | None:
        """Return the bound of a call; None if the price is unknown or nothing limits the answer."""
        key = arm.label, estimate_messages(messages)
        if key not in self._bounds:
            self._bounds[key] = self._bound(arm.service, arm, key[1])
        return self._bounds[key]

    def _bound(self, service: BaseLLMService, arm: Arm, tokens: int) -> float | None:
        if isinstance(service, Route):  # its choice is not known yet
            bounds = [self._bound(member, arm, tokens) for member in service._arms()]  # noqa: SLF001
            known = [bound for bound in bounds if bound is not None]
            return max(known, default=None) if len(known) == len(bounds) else None
        if isinstance(service, LocalService):
            return 0.0
        return service.estimate_cost(service.address(), tokens, max_output_tokens_of(arm), self._at)


def max_output_tokens_of(arm: Arm) -> int | None:
    """Return the limit on an answer's tokens, if there is one."""
    return arm.params.get("max_tokens") or arm.params.get("max_completion_tokens")


class SpendingLimit:
    """The budget of one experiment in US dollars, less the cost of its earlier runs; None for no limit."""

    def __init__(self, limit_usd: float | None, spent_usd: float = 0.0) -> None:
        from ipyllm.pipeline.budget import kernel_budget

        self.budget = Budget(limit_usd, allow_unknown_price=kernel_budget().allow_unknown_price)
        self.budget.reserve(spent_usd if limit_usd is None else min(spent_usd, limit_usd)).settle(spent_usd)
        self.cost_bounds = CostBounds()
        self._n_reserved = 0
        self._settled = asyncio.Event()

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self.budget.limit_usd is not None

    def reserve_now(self, arm: Arm, messages: tuple[Message, ...]) -> Reservation:
        """Reserve the highest cost of a call; raise ``quota`` if it could exceed the limit or has no known price."""
        reservation = self.budget.reserve(self.cost_bounds.of(arm, messages), model=arm.model)
        self._n_reserved += 1
        return reservation

    async def reserve(self, arm: Arm, messages: tuple[Message, ...]) -> Reservation:
        """Like :meth:`reserve_now`, but wait for calls in flight, which may cost less. Runs on the service thread."""
        while True:
            try:
                return self.reserve_now(arm, messages)
            except LLMError:
                if not self._n_reserved:
                    raise
            self._settled.clear()
            await self._settled.wait()

    def settle(self, reservation: Reservation, cost_usd: float | None) -> None:
        """Replace a reservation by the actual cost."""
        reservation.settle(cost_usd)
        self._n_reserved -= 1
        self._settled.set()
