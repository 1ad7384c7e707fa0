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

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from ipyllm.process_identity import ProcessIdentity

__all__ = ["release_dead", "reserve"]


def release_dead(connection: sa.Connection, dead: Collection[ProcessIdentity], *which: sa.ColumnElement[bool]) -> None:
    """Release some reservations of dead processes."""
    column = reservations.c
    for process in dead:
        of_process = (
            column.writer_host == process.host,
            column.writer_pid == process.pid,
            column.writer_start == process.start,
        )
        connection.execute(sa.delete(reservations).where(*of_process, *which))


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
    release_dead(connection, dead, column.experiment == experiment, ~column.sent)
    counted = sa.func.sum(sa.func.coalesce(calls.c.cost_bound_usd, calls.c.cost_usd))
    ended = calls.c.experiment == experiment, calls.c.status != "running"
    spent = connection.scalar(sa.select(counted).where(*ended)) or 0.0
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
        used = spent + sum(held.values()) - held.get(id_, 0.0)
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
    assumed, n_uncounted = 0.0, 0
    if not wanted or len(granted) < len(wanted):  # a second sum over all calls takes milliseconds
        n_bounds = sa.func.count(calls.c.cost_bound_usd)
        unknown = sa.select(counted, sa.func.count() - n_bounds).where(*ended, calls.c.cost_usd.is_(None))
        found, n_uncounted = connection.execute(unknown).one()
        assumed = found or 0.0
    return BudgetState(spent, assumed, n_uncounted, reserved, max(0.0, reserved - stuck), frozenset(granted))
