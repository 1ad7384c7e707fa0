"""Limits the cost of calls before money is spent: reserve, call, settle.

A call reserves its highest possible cost and settles for its actual one. The reservations of all calls in flight count,
so that concurrent calls cannot exceed the limit together.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol, Self

from ipyllm.errors import LLMError
from ipyllm.fork_safety import in_forked_child, renewed_in_child
from ipyllm.ledger.budget_state import within
from ipyllm.text.format import money

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Account",
    "Budget",
    "Reservation",
    "account_of_experiment",
    "budget_reached",
    "kernel_budget",
    "price_unknown",
    "set_budget_of_experiment",
]


class Account(Protocol):
    """The place of one call in a budget."""

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit, so that bounds are needed."""

    @property
    def needs_row(self) -> bool:
        """Whether :meth:`sent` waits for the row, which must be put before."""

    async def hold(self, bound_usd: float | None, model: str) -> None:
        """Reserve up to ``bound_usd`` for the next request, before it is sent; None for an unknown price.

        Raises ``quota`` if the limit could be exceeded.
        """

    def spend(self, cost_usd: float | None) -> None:
        """Replace what is held by the actual cost. None: it is unknown, and what is held counts as spent."""

    async def sent(self) -> None:
        """Wait until the ledger has the row of the request: called directly before it is sent."""

    def end(self) -> None:
        """Release what is held: the exchange has ended, and its row says what it cost."""


class Budget:
    """A limit on the cost of calls in US dollars, for any thread; None only counts the cost.

    Calls of unknown price are refused; with ``allow_unknown_price`` they are allowed and not counted.
    """

    def __init__(self, limit_usd: float | None, *, allow_unknown_price: bool = False) -> None:
        self.limit_usd = limit_usd
        self.allow_unknown_price = allow_unknown_price
        self.spent_usd = 0.0
        self.reserved_usd = 0.0
        self._lock = renewed_in_child(threading.Lock())

    def __repr__(self) -> str:
        return f"Budget(limit_usd={self.limit_usd!r}, spent_usd={self.spent_usd!r})"

    def reserve(self, estimate_usd: float | None, *, model: str = "") -> Reservation:
        """Reserve the highest possible cost of a call, before it is sent; None when its price is unknown.

        Raises ``quota`` when the limit could be exceeded, or the price is unknown. This error is never retried, and its
        ``status_code`` is None, because no server sent it.
        """
        reservation = Reservation(self)
        reservation.raise_to(estimate_usd, model)
        return reservation

    def _raise(self, reservation: Reservation, estimate_usd: float | None, model: str) -> None:
        if estimate_usd is None:
            if self.limit_usd is not None and not self.allow_unknown_price:
                raise price_unknown(self.limit_usd, model)
            return
        with self._lock:
            more = estimate_usd - reservation.held_usd
            if more <= 0:
                return
            limit, spent, reserved = self.limit_usd, self.spent_usd, self.reserved_usd
            if limit is not None and not within(spent + reserved + more, limit):
                others = reserved - reservation.held_usd
                raise budget_reached(estimate_usd, limit, spent, others, model=model)
            self.reserved_usd += more
            reservation.held_usd = estimate_usd

    def _settle(self, reservation: Reservation, actual: float | None) -> None:
        with self._lock:
            held, reservation.held_usd = reservation.held_usd, 0.0
            self.reserved_usd = max(0.0, self.reserved_usd - held)
            self.spent_usd += held if actual is None else actual

    def _forget_calls_in_flight(self) -> None:
        """Reset in a forked child: the calls in flight are the parent's."""
        self.reserved_usd = 0.0


class Reservation:
    """The reserved cost of one call. As a context manager it is settled in any case. An :class:`Account`."""

    needs_row = False

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.held_usd = 0.0
        self.is_settled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.settle(None)

    @property
    def is_limited(self) -> bool:
        """Whether the budget has a limit."""
        return self._budget.limit_usd is not None

    def raise_to(self, estimate_usd: float | None, model: str = "") -> None:
        """Reserve more, if the call may cost more than what is held; raises as :meth:`Budget.reserve` does."""
        self._budget._raise(self, estimate_usd, model)  # noqa: SLF001 - one idea in two classes

    async def hold(self, bound_usd: float | None, model: str) -> None:
        """Reserve for the next request of the call."""
        self.raise_to(bound_usd, model)

    def spend(self, cost_usd: float | None) -> None:
        """Replace what is held by the cost of a request; another one may follow."""
        self._budget._settle(self, cost_usd)  # noqa: SLF001 - one idea in two classes

    async def sent(self) -> None:
        """Return at once: this budget is in memory."""

    def end(self) -> None:
        """Release what is still held."""
        self.spend(0.0)

    def settle(self, actual_usd: float | None) -> None:
        """Replace the estimate by the actual cost; later calls do nothing.

        Pass None for an unknown cost, such as that of a call cancelled during its response: the estimate then counts
        as spent. Pass 0 when nothing was sent, or the server refused.
        """
        if not self.is_settled:
            self.is_settled = True
            self.spend(actual_usd)


def budget_reached(
    bound_usd: float, limit_usd: float, spent_usd: float, reserved_usd: float, assumed_usd: float = 0.0, *, model: str
) -> LLMError:
    """Return the error of a call that could exceed a limit.

    ``reserved_usd`` is what other calls hold; ``assumed_usd`` of what is spent is an upper bound.
    """
    target = f" to {model}" if model else ""
    reason = f"max_cost_usd is {money(limit_usd)}"
    if spent_usd or reserved_usd:
        left = max(0.0, limit_usd - spent_usd - reserved_usd)
        assumed = f", of which {money(assumed_usd)} assumed for calls of unknown cost" if assumed_usd else ""
        reason = (
            f"of max_cost_usd={money(limit_usd)} only {money(left)} is left ({money(spent_usd)} spent{assumed}; "
            f"{money(reserved_usd)} reserved by calls in flight)"
        )
    sentence = (
        f"A call{target} may cost up to {money(bound_usd)}, but {reason}; it was not sent. "
        "Raise max_cost_usd, or make the call smaller, for example with max_tokens=…."
    )
    return LLMError(sentence, category="quota", model=model, reached_server=False)


def price_unknown(limit_usd: float, model: str) -> LLMError:
    """Return the error of a call whose cost has no known bound."""
    target = f" to {model}" if model else ""
    sentence = (
        f"The cost of a call{target} is unknown, so max_cost_usd={money(limit_usd)} cannot be enforced; it was not "
        "sent. Set the model's price in [prices] of config.toml; or allow unknown prices, with "
        "IPYLLM_ALLOW_UNKNOWN_PRICE=1 in the environment or in .env; or limit the response with max_tokens=…, or leave "
        "out a service_tier without a known price."
    )
    return LLMError(sentence, category="quota", model=model, reached_server=False)


_kernel = Budget(None)

_of_experiments: dict[str, Callable[[], Account]] = {}


def set_budget_of_experiment(name: str, account: Callable[[], Account] | None) -> None:
    """Let all calls of an experiment in this process be paid from its budget, those of its scorers too.

    ``account`` makes the account of a call; None removes the limit.
    """
    if account is None:
        _of_experiments.pop(name, None)
    else:
        _of_experiments[name] = account


def account_of_experiment(name: str | None) -> Account | None:
    """Return an account in the budget of an experiment; None if it has no limit in this process."""
    account = _of_experiments.get(name) if name is not None else None
    return account and account()


def kernel_budget() -> Budget:
    """Return the budget of this process, with the limit that the settings have now.

    It counts from the first call of the process, so that a limit set later includes earlier calls.
    """
    from ipyllm.settings import get_settings

    settings = get_settings()
    _kernel.limit_usd = settings.max_cost_usd
    _kernel.allow_unknown_price = settings.allow_unknown_price
    return _kernel


@in_forked_child
def _after_fork() -> None:
    _kernel._forget_calls_in_flight()  # noqa: SLF001 - one idea in two places
