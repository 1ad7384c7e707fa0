"""What an experiment may cost: set aside before each call is sent, by the most that it can cost."""

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
    from ipyllm.experiment.grid import Arm
    from ipyllm.messages import Message
    from ipyllm.pipeline.budget import Reservation
    from ipyllm.services.base import BaseLLMService

__all__ = ["Bounds", "Spending"]


class Bounds:
    """The most that calls can cost, in US dollars: by arm and length of the question, each computed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], float | None] = {}
        self._at = datetime.now(UTC)

    def of(self, arm: Arm, messages: tuple[Message, ...]) -> float | None:
        """Return the bound of one call; None where a price is unknown or nothing limits the answer."""
        key = arm.label, estimate_messages(messages)
        if key not in self._known:
            self._known[key] = self._bound(arm.service, arm, key[1])
        return self._known[key]

    def _bound(self, service: BaseLLMService, arm: Arm, tokens: int) -> float | None:
        if isinstance(service, Route):  # whom it will choose is not known yet
            bounds = [self._bound(member, arm, tokens) for member in service._arms()]  # noqa: SLF001
            known = [bound for bound in bounds if bound is not None]
            return max(known, default=None) if len(known) == len(bounds) else None
        if isinstance(service, LocalService):
            return 0.0
        return service.estimate_cost(service.address(), tokens, longest_answer(arm), self._at)


def longest_answer(arm: Arm) -> int | None:
    """Return how many tokens an answer may have, where that is limited."""
    return arm.params.get("max_tokens") or arm.params.get("max_completion_tokens")


class Spending:
    """The budget of one experiment; what earlier runs of it spent counts.

    Parameters
    ----------
    limit_usd : float or None
        US dollars; None counts and refuses nothing.
    spent_usd : float
        Of it, by earlier runs.
    """

    def __init__(self, limit_usd: float | None, spent_usd: float = 0.0) -> None:
        from ipyllm.pipeline.budget import kernel_budget

        self.budget = Budget(limit_usd, allow_unknown_price=kernel_budget().allow_unknown_price)
        self.budget.reserve(spent_usd if limit_usd is None else min(spent_usd, limit_usd)).settle(spent_usd)
        self.bounds = Bounds()
        self._held = 0
        self._settled = asyncio.Event()

    @property
    def limited(self) -> bool:
        """Whether there is a limit to keep."""
        return self.budget.limit_usd is not None

    def reserve_now(self, arm: Arm, messages: tuple[Message, ...]) -> Reservation:
        """Set aside what a call may cost.

        Raises
        ------
        LLMError
            ``quota``: the limit could be passed, or the price is unknown.
        """
        reservation = self.budget.reserve(self.bounds.of(arm, messages), model=arm.model)
        self._held += 1
        return reservation

    async def reserve(self, arm: Arm, messages: tuple[Message, ...]) -> Reservation:
        """Like :meth:`reserve_now`, on the service thread: wait for calls in flight, which may cost less."""
        while True:
            try:
                return self.reserve_now(arm, messages)
            except LLMError:
                if not self._held:
                    raise
            self._settled.clear()
            await self._settled.wait()

    def settle(self, reservation: Reservation, cost_usd: float | None) -> None:
        """Note what a call did cost."""
        reservation.settle(cost_usd)
        self._held -= 1
        self._settled.set()
