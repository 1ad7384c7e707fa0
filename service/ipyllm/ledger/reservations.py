"""Budget of an experiment, shared by all processes that run it: what its calls cost, and what is reserved for more.

A reservation is a row while its call is in flight. It counts until its process releases it, after the row of the call
says what it cost. When the process dies, its reservations fall away: calls that were sent have a row with the most that
they can have cost, and that counts from then on. A reservation marked ``sent`` stays: only the dead process could have
written the rows of its calls, which ran elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from ipyllm.ledger.budget_state import BudgetState, within
from ipyllm.ledger.tables import calls, reservations
from ipyllm.process_identity import ProcessIdentity, is_dead

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

__all__ = ["dead_writers", "reserve"]


def dead_writers(connection: sa.Connection, experiment: str, now: datetime, limit_s: float) -> set[ProcessIdentity]:
    """Return the processes that hold reservations of an experiment and have died.

    A process on another host counts as dead after ``limit_s`` seconds without a sign of life.
    """
    column, call = reservations.c, calls.c
    writer = column.writer_host, column.writer_pid, column.writer_start
    found = connection.execute(
        sa.select(*writer, sa.func.max(column.updated_at)).where(column.experiment == experiment).group_by(*writer)
    ).all()
    dead = set()
    for host, pid, start, reserved_at in found:
        # A process confirms its running calls every minute, but not their reservations.
        of_process = call.writer_host == host, call.writer_pid == pid, call.writer_start == start
        newest = sa.select(sa.func.max(call.updated_at)).where(call.status == "running", *of_process)
        last_sign = max(reserved_at, connection.scalar(newest) or reserved_at)
        process = ProcessIdentity(host, pid, start)
        if is_dead(process, (now - last_sign).total_seconds(), limit_s):
            dead.add(process)
    return dead


def reserve(
    connection: sa.Connection,
    experiment: str,
    limit_usd: float,
    wanted: Mapping[str, tuple[float, bool]],
    released: Collection[str],
    writer: ProcessIdentity,
    dead: Collection[ProcessIdentity],
    now: datetime,
) -> BudgetState:
    """Release and grant reservations, in the transaction that ``connection`` has begun, which must be the only one.

    ``wanted`` has amount and ``sent`` by the reservation's id, which may hold a smaller amount already; each is granted
    if the limit allows it, in their order.
    """
    column = reservations.c
    if released:
        connection.execute(sa.delete(reservations).where(column.reservation_id.in_(list(released))))
    for process in dead:
        connection.execute(
            sa.delete(reservations).where(
                column.experiment == experiment,
                ~column.sent,
                column.writer_host == process.host,
                column.writer_pid == process.pid,
                column.writer_start == process.start,
            )
        )
    counted = sa.func.coalesce(calls.c.cost_bound_usd, calls.c.cost_usd, 0.0)
    spent, known = connection.execute(
        sa.select(sa.func.sum(counted), sa.func.sum(sa.case((calls.c.cost_usd.is_not(None), counted)))).where(
            calls.c.experiment == experiment, calls.c.status != "running"
        )
    ).one()
    held: dict[str, float] = {}
    stuck = 0.0
    for id_, usd, *owner in connection.execute(
        sa.select(column.reservation_id, column.usd, column.writer_host, column.writer_pid, column.writer_start).where(
            column.experiment == experiment
        )
    ):
        held[id_] = usd
        stuck += usd if any(owner == [each.host, each.pid, each.start] for each in dead) else 0.0
    granted = set()
    for id_, (usd, sent) in wanted.items():
        used = (spent or 0.0) + sum(held.values()) - held.get(id_, 0.0)
        if not within(used + usd, limit_usd):
            continue
        values = {"usd": usd, "sent": sent, "updated_at": now}
        if id_ in held:
            connection.execute(sa.update(reservations).where(column.reservation_id == id_).values(values))
        else:
            identity = {"writer_host": writer.host, "writer_pid": writer.pid, "writer_start": writer.start}
            connection.execute(
                sa.insert(reservations).values(reservation_id=id_, experiment=experiment, **identity, **values)
            )
        held[id_] = usd
        granted.add(id_)
    reserved = sum(held.values())
    return BudgetState(
        spent or 0.0, (spent or 0.0) - (known or 0.0), reserved, max(0.0, reserved - stuck), frozenset(granted)
    )
