"""What dead processes left in the ledger: calls that seem to run, reservations, and participants of experiments.

A process on this host is looked up. One on another host counts as dead after ten minutes without a sign of life: it
confirms its running calls every minute. A participant counts as dead after two minutes without a sign of life, on
whatever host: it gives one every few seconds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from ipyllm.ledger.claim_state import DEAD_AFTER_S
from ipyllm.ledger.columns import COLUMNS, PRIVATE
from ipyllm.ledger.stored_values import fetch
from ipyllm.ledger.tables import calls, participants, reservations
from ipyllm.process_identity import ProcessIdentity, is_dead, this_process

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["calls_of_dead", "dead_holders", "dead_participants"]

_DEAD_AFTER_S: Final = 600.0


def calls_of_dead(connection: sa.Connection, now: datetime) -> list[dict[str, Any]]:
    """Return id (``dead_call``) and ``last_update`` of the running calls whose process died."""
    column = calls.c
    names = ("call_id", "updated_at", "writer_host", "writer_pid", "writer_start")
    running, _ = fetch(
        connection,
        sa.select(*(column[name] for name in names)).where(column.status == "running"),
        [{**COLUMNS, **PRIVATE}[name] for name in names],
    )
    silence_s: dict[ProcessIdentity, float] = {}
    for _, updated_at, *writer in running:
        silent_s = (now - updated_at).total_seconds() if updated_at else math.inf  # null: not written by us
        silence_s[ProcessIdentity(*writer)] = min(silent_s, silence_s.get(ProcessIdentity(*writer), math.inf))
    dead = {writer for writer, silent_s in silence_s.items() if is_dead(writer, silent_s, _DEAD_AFTER_S)}
    return [
        {"dead_call": call_id, "last_update": updated_at}
        for call_id, updated_at, *writer in running
        if ProcessIdentity(*writer) in dead
    ]


def dead_holders(connection: sa.Connection, which: sa.ColumnElement[bool], now: datetime) -> set[ProcessIdentity]:
    """Return the processes that hold some reservations and have died."""
    column, call = reservations.c, calls.c
    writer = column.writer_host, column.writer_pid, column.writer_start
    found = connection.execute(sa.select(*writer, sa.func.max(column.updated_at)).where(which).group_by(*writer)).all()
    dead = set()
    for host, pid, start, reserved_at in found:
        # Its reservations are not confirmed, but its running calls are.
        of_process = call.writer_host == host, call.writer_pid == pid, call.writer_start == start
        newest = sa.select(sa.func.max(call.updated_at)).where(call.status == "running", *of_process)
        last_sign = max(reserved_at, connection.scalar(newest) or reserved_at)
        process = ProcessIdentity(host, pid, start)
        if is_dead(process, (now - last_sign).total_seconds(), _DEAD_AFTER_S):
            dead.add(process)
    return dead


def dead_participants(connection: sa.Connection, which: sa.ColumnElement[bool], now: datetime) -> set[str]:
    """Return the ids of participants whose process has died, or that have given no sign of life for two minutes."""
    column = participants.c
    found = connection.execute(
        sa.select(
            column.participant_id, column.updated_at, column.writer_host, column.writer_pid, column.writer_start
        ).where(which)
    )
    dead = set()
    for participant, updated_at, *writer in found.all():
        process, silent_s = ProcessIdentity(*writer), (now - updated_at).total_seconds()
        is_ours = process == this_process()
        if silent_s > DEAD_AFTER_S or (not is_ours and is_dead(process, silent_s, DEAD_AFTER_S)):
            dead.add(participant)
    return dead
