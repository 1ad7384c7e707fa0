"""Claims on the trials of an experiment, so that processes that run it at once ask each trial once.

A *participant* is one run of the experiment in one process; its row is its sign of life. It claims trials before it
sends them, and ends the claims after their rows are written. A trial is free, held by a participant, or ended.

An ended claim matters only to participants that had joined before, and so have not seen its row: while there is nobody
else, it is deleted. Each participant gets a number when it joins, higher than all before; an ended claim has the
highest number that was given until then. So a participant may claim it again if its own number is higher, as it does
to repeat a failed call.

Claims of a dead participant are free. Whoever takes one over looks first whether its trial was answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from ipyllm.ledger.claim_state import ClaimState
from ipyllm.ledger.tables import claims, participants

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from ipyllm.ledger.claim_state import ClaimRequest
    from ipyllm.process_identity import ProcessIdentity

__all__ = ["delete_abandoned", "forget_dead", "leave", "update_claims"]

_BATCH: Final = 500
"""Most trials in one statement."""


def update_claims(
    connection: sa.Connection,
    request: ClaimRequest,
    writer: ProcessIdentity,
    dead: Collection[str],
    now: datetime,
) -> ClaimState:
    """Give a sign of life, end and give back claims, and make others, in a transaction that must be the only one."""
    me, experiment = request.participant, request.experiment
    forget_dead(connection, dead)
    others = _participants(connection, experiment)
    known = others.pop(me, None)
    joined = known[0] if known is not None else request.joined or _next_number(connection, experiment, others)
    if known is None:
        if not others and request.joined is None:
            connection.execute(sa.delete(claims).where(claims.c.experiment == experiment))
        identity = {"writer_host": writer.host, "writer_pid": writer.pid, "writer_start": writer.start}
        values = {"experiment": experiment, "joined": joined, "senders": request.senders, "updated_at": now}
        connection.execute(sa.insert(participants).values(participant_id=me, **identity, **values))
    else:
        connection.execute(
            sa.update(participants)
            .where(participants.c.participant_id == me)
            .values(senders=request.senders, updated_at=now)
        )
    _end(connection, request, max([joined, *(number for number, _ in others.values())]) if others else None)
    return _claim(connection, request, joined, request.senders + sum(senders for _, senders in others.values()), others)


def leave(connection: sa.Connection, participant: str, experiment: str) -> None:
    """Give back what a participant holds, and forget it; with the last one all claims of the experiment go."""
    connection.execute(sa.delete(participants).where(participants.c.participant_id == participant))
    of_experiment = claims.c.experiment == experiment
    if _participants(connection, experiment):
        held = claims.c.participant == participant, claims.c.ended.is_(None)
        connection.execute(sa.delete(claims).where(of_experiment, *held))
    else:
        connection.execute(sa.delete(claims).where(of_experiment))


def forget_dead(connection: sa.Connection, dead: Collection[str]) -> None:
    """Delete participants that have died; what they claimed is free, because nobody holds it."""
    for batch in _batches(dead):
        connection.execute(sa.delete(participants).where(participants.c.participant_id.in_(batch)))


def delete_abandoned(connection: sa.Connection) -> None:
    """Delete the claims of experiments that nobody takes part in."""
    connection.execute(sa.delete(claims).where(claims.c.experiment.not_in(sa.select(participants.c.experiment))))


def _participants(connection: sa.Connection, experiment: str) -> dict[str, tuple[int, int]]:
    """Return number and senders of each participant."""
    column = participants.c
    found = connection.execute(
        sa.select(column.participant_id, column.joined, column.senders).where(column.experiment == experiment)
    )
    return {participant: (joined, senders) for participant, joined, senders in found}


def _next_number(connection: sa.Connection, experiment: str, others: dict[str, tuple[int, int]]) -> int:
    if not others:
        return 1
    ended = connection.scalar(sa.select(sa.func.max(claims.c.ended)).where(claims.c.experiment == experiment)) or 0
    return 1 + max(ended, *(number for number, _ in others.values()))


def _end(connection: sa.Connection, request: ClaimRequest, number: int | None) -> None:
    """Mark claims ended with a number, or without one delete them; delete those that are given back."""
    column = claims.c
    mine = column.experiment == request.experiment, column.participant == request.participant
    for trials in _batches(request.ended):
        these = *mine, column.trial.in_(trials)
        connection.execute(
            sa.delete(claims).where(*these) if number is None else sa.update(claims).where(*these).values(ended=number)
        )
    for trials in _batches(request.given_back):
        connection.execute(sa.delete(claims).where(*mine, column.trial.in_(trials), column.ended.is_(None)))


def _claim(
    connection: sa.Connection, request: ClaimRequest, joined: int, n_senders: int, others: Collection[str]
) -> ClaimState:
    column, me = claims.c, request.participant
    of_experiment = column.experiment == request.experiment
    known: dict[str, tuple[str, int | None]] = {}
    for trials in _batches(request.wanted):
        found = connection.execute(
            sa.select(column.trial, column.participant, column.ended).where(of_experiment, column.trial.in_(trials))
        )
        known.update((trial, (participant, ended)) for trial, participant, ended in found)
    free, taken, inherited, ended_trials, held = [], [], set(), set(), set()
    for trial in request.wanted:
        if trial not in known:
            free.append(trial)
            continue
        participant, ended = known[trial]
        if ended is not None and ended >= joined:
            ended_trials.add(trial)
        elif ended is None and participant in others and participant != request.heir_of:
            held.add(trial)
        else:
            taken.append(trial)
            if ended is None and participant not in {me, request.heir_of}:
                inherited.add(trial)
    for trials in _batches(taken):
        connection.execute(
            sa.update(claims).where(of_experiment, column.trial.in_(trials)).values(participant=me, ended=None)
        )
    if free:
        connection.execute(
            sa.insert(claims),
            [{"experiment": request.experiment, "trial": trial, "participant": me} for trial in free],
        )
    return ClaimState(
        joined,
        n_senders,
        frozenset([*free, *taken]),
        frozenset(inherited),
        frozenset(ended_trials),
        frozenset(held),
    )


def _batches(trials: Collection[str]) -> Iterator[list[str]]:
    in_order = list(trials)
    for start in range(0, len(in_order), _BATCH):
        yield in_order[start : start + _BATCH]
