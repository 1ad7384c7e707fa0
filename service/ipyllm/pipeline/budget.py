"""Limits the cost of calls before money is spent: reserve, call, settle.

A call reserves its highest possible cost and settles for its actual one. The reservations of all calls in flight count,
so that concurrent calls cannot exceed the limit together.
"""

from __future__ import annotations

import threading
from typing import Self

from ipyllm.errors import LLMError
from ipyllm.fork_safety import in_forked_child
from ipyllm.text.format import money

__all__ = ["Budget", "Reservation", "kernel_budget"]

_ROUNDING = 1e-9
"""Relative tolerance of a limit: ten times $0.10 are not exactly $1 in binary."""


class Budget:
    """A limit on the cost of calls in US dollars, for any thread; None only counts the cost.

    Calls of unknown price are refused; with ``allow_unknown_price`` they are allowed and not counted.
    """

    def __init__(self, limit_usd: float | None, *, allow_unknown_price: bool = False) -> None:
        self.limit_usd = limit_usd
        self.allow_unknown_price = allow_unknown_price
        self.spent_usd = 0.0
        self.reserved_usd = 0.0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Budget(limit_usd={self.limit_usd!r}, spent_usd={self.spent_usd!r})"

    def reserve(self, estimate_usd: float | None, *, model: str = "") -> Reservation:
        """Reserve the highest possible cost of a call, before it is sent; None when its price is unknown.

        Raises ``quota`` when the limit could be exceeded, or the price is unknown. This error is never retried, and its
        ``status_code`` is None, because no server sent it.
        """
        target = f" to {model}" if model else ""
        if estimate_usd is None:
            if self.limit_usd is not None and not self.allow_unknown_price:
                limit = f"max_cost_usd={money(self.limit_usd)}"
                raise LLMError(
                    f"The cost of a call{target} is unknown, so {limit} cannot be enforced; nothing was sent. "
                    "Limit the response with max_tokens=…, set the model's price in the settings, or allow it with "
                    "allow_unknown_price.",
                    category="quota",
                    model=model,
                )
            return Reservation(self, None)
        with self._lock:
            if self.limit_usd is not None:
                left = self.limit_usd - self.spent_usd - self.reserved_usd
                if estimate_usd > left + self.limit_usd * _ROUNDING:
                    raise LLMError(self._refusal(estimate_usd, left, target), category="quota", model=model)
            self.reserved_usd += estimate_usd
        return Reservation(self, estimate_usd)

    def _refusal(self, estimate: float, left: float, target: str) -> str:
        assert self.limit_usd is not None
        limit = money(self.limit_usd)
        used = [f"{money(self.spent_usd)} spent"] if self.spent_usd else []
        used += [f"{money(self.reserved_usd)} reserved by calls in flight"] if self.reserved_usd else []
        reason = f"max_cost_usd is {limit}"
        if used:
            reason = f"of max_cost_usd={limit} only {money(max(left, 0.0))} is left ({', '.join(used)})"
        return (
            f"A call{target} may cost up to {money(estimate)}, but {reason}; nothing was sent. "
            "Raise max_cost_usd, or make the call smaller, for example with max_tokens=…."
        )

    def _settle(self, reservation: Reservation, actual: float | None) -> None:
        with self._lock:
            held, reservation.held_usd = reservation.held_usd, None
            if held is not None:
                self.reserved_usd = max(0.0, self.reserved_usd - held)
                self.spent_usd += held if actual is None else actual

    def _forget_calls_in_flight(self) -> None:
        """Reset in a forked child: the calls in flight, and the thread that may hold the lock, are the parent's."""
        self._lock = threading.Lock()
        self.reserved_usd = 0.0


class Reservation:
    """The reserved cost of one call, until it is settled; as a context manager it is always settled."""

    def __init__(self, budget: Budget, estimate_usd: float | None) -> None:
        self._budget = budget
        self.held_usd: float | None = estimate_usd or 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.settle(None)

    def settle(self, actual_usd: float | None) -> None:
        """Replace the estimate by the actual cost; later calls do nothing.

        Pass None for an unknown cost, such as that of a call cancelled during its response: the estimate then counts
        as spent. Pass 0 when nothing was sent, or the server refused.
        """
        self._budget._settle(self, actual_usd)  # noqa: SLF001 - one idea in two classes


_kernel = Budget(None)


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
