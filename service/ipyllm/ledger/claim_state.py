"""What a run asks of the claims on an experiment's trials, and what the ledger answers: see :mod:`.claims`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["DEAD_AFTER_S", "ClaimRequest", "ClaimState"]

DEAD_AFTER_S: Final = 120.0
"""Seconds without a sign of life after which a participant counts as dead."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """One transaction of a participant; trials are given by their keys.

    ``senders`` is the number of processes that send requests for it, and ``joined`` the number that it was given when
    it joined. It may take claims over from the participant ``heir_of``.
    """

    participant: str
    experiment: str
    senders: int = 1
    joined: int | None = None
    heir_of: str | None = None
    wanted: Collection[str] = ()
    ended: Collection[str] = ()  # trials that it has asked; their rows are written first
    given_back: Collection[str] = ()  # trials that it will not ask


@dataclass(frozen=True, slots=True)
class ClaimState:
    """Claims of an experiment after a transaction.

    Each trial that was wanted is in one of ``granted``, ``ended`` (another participant has asked it since this one
    joined) and ``held`` (another one will ask it, or is asking). Trials in ``inherited`` are granted, but the
    participant that held them has died, and may have had an answer. ``n_senders`` counts the processes that send
    requests, this participant's included.
    """

    joined: int
    n_senders: int
    granted: frozenset[str] = frozenset()
    inherited: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
