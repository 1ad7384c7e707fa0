"""State of an experiment's budget, as the ledger returns it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BudgetState", "within"]

_ROUNDING = 1e-9
"""Relative tolerance of a limit: ten times $0.10 are not exactly $1 in binary."""


def within(usd: float, limit_usd: float) -> bool:
    """Return whether an amount is within a limit, but for rounding."""
    return usd <= limit_usd * (1 + _ROUNDING)


@dataclass(frozen=True, slots=True)
class BudgetState:
    """What is used of an experiment's budget, in US dollars, and which reservations were granted.

    ``assumed_usd`` is the part of ``spent_usd`` for calls whose cost is unknown: the most that they can have cost.
    ``n_uncounted`` calls have no such bound either, because they were made without a limit: they are part of no amount.
    ``releasable_usd`` is the part of ``reserved_usd`` that running processes will replace by actual costs.
    """

    spent_usd: float
    assumed_usd: float
    n_uncounted: int
    reserved_usd: float
    releasable_usd: float
    granted: frozenset[str] = frozenset()
