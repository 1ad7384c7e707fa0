"""Budget of an experiment, shared by all processes that run it: what its calls cost, and what is reserved for more.

A reservation is a row while its call is in flight. It counts until its process releases it, after the row of the call
says what it cost. When the process dies, its reservations fall away: calls that were sent have a row with the most that
they can have cost, and that counts from then on. A reservation marked ``sent`` stays: only the dead process could have
written the rows of its calls, which ran elsewhere.

What ended calls cost is in the table ``spending``: triggers of the database add an amount for each row that changes, so
that no sum over all calls is needed, however they are written or deleted. The amounts are added up here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from ipyllm.ledger.budget_state import BudgetState, within
from ipyllm.ledger.tables import reservations, spending

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from ipyllm.process_identity import ProcessIdentity

__all__ = ["add_up_spending", "release_dead", "reserve"]

_DECIMALS: Final = 12
"""Of sums in US dollars."""


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
    spent, assumed, n_uncounted = _spending(connection, experiment)
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
    return BudgetState(spent, assumed, n_uncounted, reserved, max(0.0, reserved - stuck), frozenset(granted))


def add_up_spending(connection: sa.Connection) -> None:
    """Leave one amount for each experiment: a deleted call adds another."""
    for experiment in connection.scalars(sa.select(spending.c.experiment).distinct()).all():
        _spending(connection, experiment)


def _spending(connection: sa.Connection, experiment: str) -> tuple[float, float, int]:
    """Return what ended calls cost, how much of it is assumed, and how many are in neither; leave one amount."""
    of_experiment = spending.c.experiment == experiment
    columns = spending.c.usd, spending.c.assumed_usd, spending.c.uncounted
    delete = sa.delete(spending).where(of_experiment)
    if connection.dialect.name == "sqlite":  # nobody else writes now, and before 3.35 it cannot return what it deletes
        amounts = connection.execute(sa.select(*columns).where(of_experiment)).all()
        connection.execute(delete)
    else:
        amounts = connection.execute(delete.returning(*columns)).all()
    if not amounts:
        return 0.0, 0.0, 0
    usd, assumed_usd, uncounted = zip(*amounts, strict=True)
    # Amounts that cancel each other may leave a rounding error, and a limit may be 0.
    total = round(math.fsum(usd), _DECIMALS), round(math.fsum(assumed_usd), _DECIMALS), sum(uncounted)
    if any(total):
        connection.execute(sa.insert(spending).values((experiment, *total)))
    return total
