"""The trials that one run may ask: claimed in the ledger, a batch at a time, before they are sent.

All processes that run an experiment share its trials through :mod:`ipyllm.ledger.claims`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ipyllm.fork_safety import renewed_in_child
from ipyllm.ledger.claim_state import DEAD_AFTER_S, ClaimRequest, ClaimState
from ipyllm.ledger.ids import new_id
from ipyllm.ledger.ledger import LedgerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ipyllm.ledger import Ledger

__all__ = ["TICK_S", "TrialClaims"]

_logger = logging.getLogger("ipyllm.experiment")

TICK_S: Final = 5.0
"""Seconds between two signs of life, at which also the number of senders is read."""


class TrialClaims:
    """The claims of one run, from :meth:`join` to :meth:`leave`; for any thread.

    While the ledger cannot be written, trials are asked without a claim, as their calls are made without a row.

    Parameters
    ----------
    ledger : Ledger
        Where the claims are kept.
    experiment : str
        Its name.
    senders : int
        Processes that send requests for this run.
    joined : int, optional
        Number of a participant that has joined and read the ledger before, for a part of its trials.
    heir_of : str, optional
        Id of this participant, whose claims it may take over.
    """

    def __init__(
        self,
        ledger: Ledger,
        experiment: str,
        *,
        senders: int = 1,
        joined: int | None = None,
        heir_of: str | None = None,
    ) -> None:
        self.participant: Final = new_id()
        self.senders = senders
        """Processes that send requests for this run."""
        self.n_senders = senders
        """Processes that send requests for the experiment, as last read."""
        self._ledger = ledger
        self._experiment = experiment
        self._heir_of = heir_of
        self.joined = joined
        """Its number; None while the ledger does not know it."""
        self._has_left = False
        self._seen_at = time.time()  # not a monotonic clock: it may stand still while the machine sleeps
        self._answered: set[str] = set()  # by participants that have died
        self._ended: deque[str] = deque()
        self._given_back: deque[str] = deque()
        self._lock = renewed_in_child(threading.Lock())

    @property
    def may_be_lost(self) -> bool:
        """Whether the last sign of life is so long ago that others may have taken the claims over."""
        return self.joined is not None and time.time() - self._seen_at > DEAD_AFTER_S / 2

    def join(self) -> None:
        """Join, before the ledger is read for what is done: what others end from then on is not asked again."""
        self.take(())

    def take(self, wanted: Collection[str]) -> ClaimState:
        """Claim trials by their keys, and tell the ledger what has ended since the last time."""
        with self._lock:
            if self._has_left:
                return ClaimState(self.joined or 0, self.n_senders, held=frozenset(wanted))
            ended, given_back = _emptied(self._ended), _emptied(self._given_back)
            try:
                state = self._ledger.update_claims(
                    ClaimRequest(
                        self.participant,
                        self._experiment,
                        self.senders,
                        self.joined,
                        self._heir_of,
                        wanted,
                        ended,
                        given_back,
                    )
                )
            except LedgerUnavailableError as exc:
                _logger.warning("%s They are asked without a claim.", exc)
                self._ended += ended
                self._given_back += given_back
                self._seen_at = time.time()
                return ClaimState(self.joined or 0, self.n_senders, granted=frozenset(wanted))
            self.joined, self.n_senders, self._seen_at = state.joined, state.n_senders, time.time()
            return self._without_answered(state)

    def tick(self) -> None:
        """Give a sign of life."""
        self.take(())

    def end(self, trial: str) -> None:
        """Note that a trial was asked; its row has been put."""
        self._ended.append(trial)

    def give_back(self, trials: Sequence[str]) -> None:
        """Note that trials will not be asked here."""
        self._given_back += trials

    def leave(self) -> None:
        """Tell what has ended, give back all other claims, and claim nothing more."""
        if self.joined is not None:
            self.tick()
        with self._lock:
            self._has_left = True
            if self.joined is not None:
                with suppress(LedgerUnavailableError):  # without a sign of life, its claims become free
                    self._ledger.leave(self.participant, self._experiment)

    def _without_answered(self, state: ClaimState) -> ClaimState:
        """Return a state in which answered trials of participants that have died count as ended."""
        if state.inherited:
            from ipyllm.experiment.ledger_progress import answered_trials

            answered = state.inherited & answered_trials(self._ledger, self._experiment)
            self._answered |= answered
            self._ended += answered
        known = state.granted & self._answered
        return replace(state, granted=state.granted - known, ended=state.ended | known) if known else state


def _emptied(queue: deque[str]) -> list[str]:
    """Return what was in a queue, to which another thread may be adding more."""
    return [queue.popleft() for _ in range(len(queue))]
