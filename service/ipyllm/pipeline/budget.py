"""A limit on what calls may cost, kept before the money is spent: reserve, call, settle.

A call reserves what it may cost at most and settles for what it did cost. As the reservations of all calls in
flight count, concurrent calls cannot overspend together.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Self

from ipyllm.errors import LLMError
from ipyllm.fork_safety import in_forked_child

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Budget", "Reservation", "kernel_budget"]

_ROUNDING = 1e-9
"""A limit may be passed by this part of itself: ten times $0.10 are not quite $1 in binary."""


class Budget:
    """So much may be spent, by calls from any thread.

    Parameters
    ----------
    limit_usd : float or None
        US dollars; None counts what is spent and refuses nothing.
    allow_unknown_price : bool
        Whether calls are made whose price is unknown. They are not counted.

    Examples
    --------
    >>> budget = Budget(0.10)
    >>> with budget.reserve(0.04) as reservation:
    ...     reservation.settle(0.01)
    >>> budget.spent_usd
    0.01
    >>> budget.reserve(0.50, model="openai/gpt-5")
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: A call to openai/gpt-5 may cost up to $0.50, but of max_cost_usd=$0.10 only $0.09 is left \
($0.01 spent); nothing was sent. Raise max_cost_usd, or make the call smaller, with max_tokens=… for one.
    """

    def __init__(self, limit_usd: float | None, *, allow_unknown_price: bool = False) -> None:
        self.limit_usd = limit_usd
        self.allow_unknown_price = allow_unknown_price
        self._lock = threading.Lock()
        self._spent = 0.0
        self._reserved = 0.0

    def __repr__(self) -> str:
        return f"Budget(limit_usd={self.limit_usd!r}, spent_usd={self.spent_usd!r})"

    @property
    def spent_usd(self) -> float:
        """What the calls that are over did cost."""
        return self._spent

    @property
    def reserved_usd(self) -> float:
        """What the calls in flight may cost."""
        return self._reserved

    def reserve(self, estimate_usd: float | None, *, model: str = "") -> Reservation:
        """Set aside what a call may cost, before it is sent.

        Parameters
        ----------
        estimate_usd : float or None
            An upper bound, see :func:`ipyllm.services.prices.estimate_cost`; None when the price is unknown.
        model : str
            Full name, for the sentence.

        Raises
        ------
        LLMError
            ``quota``, when the limit could be passed, or the price is unknown. Of the categories this is the one
            that says "no credit for this", and like the provider's own it is never retried; ``status_code`` is
            None, because no server said it.
        """
        which = f" to {model}" if model else ""
        if estimate_usd is None:
            if self.limit_usd is not None and not self.allow_unknown_price:
                raise LLMError(
                    f"What a call{which} costs is unknown, so max_cost_usd={_dollars(self.limit_usd)} cannot be kept; "
                    "nothing was sent. Limit the answer with max_tokens=…, set the model's price in the settings, or "
                    "allow it with allow_unknown_price.",
                    category="quota",
                    model=model,
                )
            return Reservation(self, None)
        with self._lock:
            if self.limit_usd is not None:
                left = self.limit_usd - self._spent - self._reserved
                if estimate_usd > left + self.limit_usd * _ROUNDING:
                    raise LLMError(self._refusal(estimate_usd, left, which), category="quota", model=model)
            self._reserved += estimate_usd
        return Reservation(self, estimate_usd)

    def _refusal(self, estimate: float, left: float, which: str) -> str:
        assert self.limit_usd is not None
        limit = _dollars(self.limit_usd)
        gone = [f"{_dollars(self._spent)} spent"] if self._spent else []
        gone += [f"{_dollars(self._reserved)} held by calls in flight"] if self._reserved else []
        rest = f"of max_cost_usd={limit} only {_dollars(max(left, 0.0))} is left ({', '.join(gone)})"
        return (
            f"A call{which} may cost up to {_dollars(estimate)}, but {rest if gone else f'max_cost_usd is {limit}'}; "
            "nothing was sent. Raise max_cost_usd, or make the call smaller, with max_tokens=… for one."
        )

    def _settle(self, reservation: Reservation, actual: float | None) -> None:
        with self._lock:
            held, reservation.held_usd = reservation.held_usd, None
            if held is not None:
                self._reserved = max(0.0, self._reserved - held)
                self._spent += held if actual is None else actual

    def _forget_calls_in_flight(self) -> None:
        """In a forked child: the calls in flight are the parent's, and so may be whoever holds the lock."""
        self._lock = threading.Lock()
        self._reserved = 0.0


class Reservation:
    """What one call may cost, set aside until it is settled; as a context manager it is settled in any case.

    Parameters
    ----------
    budget : Budget
        Where it is set aside.
    estimate_usd : float or None
        How much.
    """

    def __init__(self, budget: Budget, estimate_usd: float | None) -> None:
        self._budget = budget
        self.held_usd: float | None = estimate_usd or 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle(None)

    def settle(self, actual_usd: float | None) -> None:
        """Replace the estimate by what the call did cost; a second time does nothing.

        Parameters
        ----------
        actual_usd : float or None
            None when it is unknown, as for a call cancelled in mid-answer: the whole estimate counts as spent. 0
            when nothing was sent, or the server refused.
        """
        self._budget._settle(self, actual_usd)  # noqa: SLF001 - one idea in two classes


def _dollars(amount: float) -> str:
    """Write ``amount`` in cents, or with two digits where it is less.

    Examples
    --------
    >>> _dollars(2), _dollars(0.04), _dollars(0.0125), _dollars(0.000021)
    ('$2.00', '$0.04', '$0.013', '$0.000021')
    """
    decimals = 2 if amount <= 0 else max(2, 1 - math.floor(math.log10(amount)))
    cents, more = f"{amount:.{decimals}f}"[: 2 - decimals or None], f"{amount:.{decimals}f}"[2 - decimals or None :]
    return f"${cents}{more.rstrip('0') if decimals > 2 else ''}"  # noqa: PLR2004


_kernel = Budget(None)


def kernel_budget() -> Budget:
    """Return the budget of this process, with the limit that the settings have now.

    It counts from the process's first call, so that a limit set later knows what was spent before.

    Examples
    --------
    >>> kernel_budget().limit_usd is None
    True
    """
    from ipyllm.settings import get_settings

    settings = get_settings()
    _kernel.limit_usd = settings.max_cost_usd
    _kernel.allow_unknown_price = settings.allow_unknown_price
    return _kernel


@in_forked_child
def _after_fork() -> None:
    _kernel._forget_calls_in_flight()  # noqa: SLF001 - one idea in two places
