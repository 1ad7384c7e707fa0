"""What a budget allows of a chunk: its highest cost is reserved before it is submitted."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from ulid import ULID

from ipyllm.conversations.hidden_tokens import hidden_tokens
from ipyllm.experiment.chunk_job import ChunkJob
from ipyllm.experiment.remote_chunk import Chunk
from ipyllm.experiment.run_config import request_of
from ipyllm.experiment.spending_limit import max_cost
from ipyllm.ledger.budget_state import within

if TYPE_CHECKING:
    from ipyllm.experiment.grid import Trial
    from ipyllm.experiment.run_config import RunConfig

__all__ = ["affordable_part"]

_LEAST_PART: Final = 0.25
"""Share of a chunk that is worth submitting alone while calls in flight may still make room for more of it."""


def affordable_part(job: ChunkJob, config: RunConfig, *, makes_room: bool) -> tuple[ChunkJob | None, ChunkJob | None]:
    """Reserve the highest cost of a chunk, or of as many of its calls as the budget allows now.

    Return the part to submit, None if it must wait, and the part that is left. ``makes_room`` says whether calls are in
    flight, which may cost less than is reserved for them.

    Raises
    ------
    LLMError
        No call can ever fit, or the budget is not known.
    """
    spending = config.spending
    if not spending.limited:
        return job, None
    bounds = [_bound(trial, config) for trial in job.calls]
    reservation_id = str(ULID())
    state = spending.reserve_now(reservation_id, sum(bounds))
    n_fitting = len(job.trials)
    if not state.granted:
        left = spending.limit_usd - state.spent_usd - state.reserved_usd
        n_fitting = 0 if job.is_warmup else sum(within(total, left) for total in accumulate(bounds))
        makes_room = makes_room or state.releasable_usd > 0
        if not n_fitting and not makes_room:
            raise spending.refusal(bounds[0], state, job.calls[0].arm.model)
        is_worth_it = n_fitting >= (len(bounds) * _LEAST_PART if makes_room else 1)
        if not is_worth_it or not spending.reserve_now(reservation_id, sum(bounds[:n_fitting])).granted:
            return None, job  # until calls in flight have ended; or another process was faster
    rest = None
    if n_fitting < len(job.trials):
        rest, job = (
            ChunkJob(Chunk.of(part, config), part, tries=job.tries, is_claimed=True)
            for part in (job.trials[n_fitting:], job.trials[:n_fitting])
        )
        bounds = bounds[:n_fitting]
    job.reservation_id, job.bounds_usd = reservation_id, bounds
    job.chunk = replace(
        job.chunk,
        reservation_id=reservation_id,
        limit_usd=sum(bounds),
        hidden_tokens=hidden_tokens().snapshot(),
    )
    return job, rest


def _bound(trial: Trial, config: RunConfig) -> float:
    request = request_of(trial, config)
    return config.spending.bound(max_cost(trial.arm.service, request), request.model)
