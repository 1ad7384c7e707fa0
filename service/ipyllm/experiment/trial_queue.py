"""The trials of one endpoint in their order: claimed a batch at a time, so that nobody else asks them meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ipyllm.experiment.trial_claims import TICK_S

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from ipyllm.experiment.grid import Trial
    from ipyllm.experiment.limit_shares import LimitShares
    from ipyllm.experiment.trial_claims import TrialClaims
    from ipyllm.ledger.claim_state import ClaimState

__all__ = ["RunClaims", "TrialQueue"]

_CLAIMED_ALONE: Final = 256
"""Trials that are claimed at once while nobody else runs the experiment."""


class RunClaims:
    """The claims of a run, on the service thread.

    Parameters
    ----------
    claims : TrialClaims
        The claims, whose methods wait for the ledger and so are called in other threads.
    shares : LimitShares
        The limits per minute, which all senders share.
    """

    def __init__(self, claims: TrialClaims, shares: LimitShares) -> None:
        self._claims = claims
        self._shares = shares
        self._lock = asyncio.Lock()

    @property
    def is_alone(self) -> bool:
        """Whether nobody else runs the experiment."""
        return self._claims.n_senders == 1

    @property
    def may_be_lost(self) -> bool:
        """Whether others may believe that this run has died, as after the sleep of a machine."""
        return self._claims.may_be_lost

    async def take(self, wanted: Collection[str]) -> ClaimState:
        """Claim trials, and tell the ledger what has ended."""
        async with self._lock:
            state = await asyncio.to_thread(self._claims.take, wanted)
        self._shares.take_one_of(state.n_senders)
        return state

    def end(self, trial: Trial) -> None:
        """Note that a trial was asked; its row has been put."""
        self._claims.end(trial.key)

    def give_back(self, trial: Trial) -> None:
        """Note that a trial will not be asked."""
        self._claims.give_back([trial.key])

    async def heartbeat(self) -> None:
        """Show the others that this run is alive, and learn how many they are, until it is cancelled."""
        while True:
            await self.take(())
            await asyncio.sleep(TICK_S)

    async def leave(self) -> None:
        """Give back all that was not asked."""
        async with self._lock:
            with suppress(RuntimeError):  # no thread can be started while the interpreter exits
                await asyncio.to_thread(self._claims.leave)


class TrialQueue:
    """The trials of one endpoint that were not asked yet.

    Without ``claims``, nobody else asks them.
    """

    def __init__(self, trials: Iterable[Trial], claims: RunClaims | None) -> None:
        self.n_elsewhere = 0
        """Trials that others have asked."""
        self._claims = claims
        self._unclaimed = deque(trials if claims is not None else ())
        self._ready = deque(trials if claims is None else ())
        self._held: list[Trial] = []
        self._claiming: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Return the number of trials that may be ready, or become so at once."""
        return len(self._ready) + len(self._unclaimed)

    def __iter__(self) -> Iterator[Trial]:
        yield from self._ready
        yield from self._unclaimed

    @property
    def waits_for_others(self) -> bool:
        """Whether others hold trials; :meth:`look_again` looks whether they still do."""
        return bool(self._held)

    def look_again(self) -> None:
        """Try to claim what others held."""
        self._unclaimed.extend(self._held)
        self._held.clear()

    async def fill(self, at_least: int) -> bool:
        """Claim until some trials are ready; return whether there are any. ``at_least`` are claimed at once."""
        while not self._ready and (self._unclaimed or self._is_claiming):
            task = self._claim(at_least)  # shared by all that wait for it
            await asyncio.wait([task])
            task.result()  # raises what it raised
        return bool(self._ready)

    async def next(self, at_least: int) -> Trial | None:
        """Return the next trial that may be asked; None if there is none now. Claims more before they are needed."""
        if self._claims is not None and self._claims.may_be_lost:
            self._unclaimed.extendleft(reversed(self._ready))
            self._ready.clear()
        if not self._ready and not await self.fill(at_least):
            return None
        if self._claims is not None and not self._claims.is_alone:
            self._give_back_surplus(self._claims, at_least)
        trial = self._ready.popleft()
        if self._unclaimed and len(self._ready) < at_least // 2:
            self._claim(at_least)
        return trial

    def _give_back_surplus(self, claims: RunClaims, at_least: int) -> None:
        """Let others have what was claimed while there was nobody else."""
        while len(self._ready) > at_least:
            trial = self._ready.pop()
            claims.give_back(trial)
            self._unclaimed.appendleft(trial)

    @property
    def _is_claiming(self) -> bool:
        return self._claiming is not None and not self._claiming.done()

    def _claim(self, at_least: int) -> asyncio.Task[None]:
        if self._claiming is None or self._claiming.done():
            self._claiming = asyncio.create_task(self._claim_batch(at_least))
        return self._claiming

    async def _claim_batch(self, at_least: int) -> None:
        assert self._claims is not None
        wanted = max(at_least, _CLAIMED_ALONE if self._claims.is_alone else 0)
        batch = [self._unclaimed.popleft() for _ in range(min(wanted, len(self._unclaimed)))]
        state = await self._claims.take([trial.key for trial in batch])
        self._ready.extend(trial for trial in batch if trial.key in state.granted)
        self._held += (trial for trial in batch if trial.key in state.held)
        self.n_elsewhere += len(state.ended)
