"""A chunk of trials on its way to a worker, and back again if that dies."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ipyllm.experiment.remote_chunk import Chunk

if TYPE_CHECKING:
    from collections.abc import Collection
    from concurrent.futures import Executor

    from ipyllm.experiment.grid import Trial
    from ipyllm.experiment.run_config import RunConfig

__all__ = ["ChunkJob"]


@dataclass
class ChunkJob:
    """A chunk with its trials, the number of submissions, and what is reserved for it."""

    chunk: Chunk
    trials: list[Trial]
    is_warmup: bool = False
    tries: int = 0
    is_claimed: bool = False
    executor: Executor | None = None
    reservation_id: str | None = None
    bounds_usd: list[float] = field(default_factory=list)  # of each call, in the order of `calls`

    def keep(self, keys: Collection[str], config: RunConfig) -> None:
        """Leave out all trials but some."""
        if any(trial.key not in keys for trial in self.trials):
            self.trials = [trial for trial in self.trials if trial.key in keys]
            self.chunk = Chunk.of(self.trials, config)

    @property
    def calls(self) -> list[Trial]:
        """The calls that the worker makes."""
        if not self.is_warmup:
            return self.trials
        return [replace(trial, warmup=True) for trial in self.trials for _ in range(self.chunk.warmups)]
