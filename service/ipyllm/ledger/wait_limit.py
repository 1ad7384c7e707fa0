"""Limits how long a read waits for a database that others hold.

Several waits follow each other in a read: for the writer, for its lock, to open the file, and for each statement. They
share one limit, which holds in a block of :func:`wait_limit`, for its thread. A long read is not limited.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, cast

from ipyllm.ledger.sqlite_file import retry_while_busy

if TYPE_CHECKING:
    import sqlite3
    import threading
    from collections.abc import Iterator

    import sqlalchemy as sa

__all__ = [
    "BUSY_S",
    "LedgerBusyError",
    "begin_writing",
    "hold",
    "is_limited",
    "limited_waits",
    "remaining_s",
    "wait_limit",
]

BUSY_S = 5.0
"""Seconds that a transaction waits for another process to finish its own, without a limit."""

_until: ContextVar[float] = ContextVar("ipyllm_ledger_wait", default=math.inf)


class LedgerBusyError(Exception):
    """Another thread or process held the database for too long."""


@contextmanager
def wait_limit(seconds: float) -> Iterator[None]:
    """Limit all waits in a block together to ``seconds``, or to what is left of the block around it."""
    token = _until.set(min(_until.get(), monotonic() + seconds))
    try:
        yield
    finally:
        _until.reset(token)


def is_limited() -> bool:
    """Return whether there is a limit."""
    return _until.get() < math.inf


def remaining_s(usual_s: float) -> float:
    """Return how long to wait where ``usual_s`` is usual."""
    return min(usual_s, max(0.0, _until.get() - monotonic()))


@contextmanager
def hold(lock: threading.RLock) -> Iterator[None]:
    """Hold a lock in a block; raise LedgerBusyError if another thread keeps it until the limit."""
    # Without a limit the timeout is that of `acquire`, which stands for none.
    if not lock.acquire(timeout=remaining_s(math.inf) if is_limited() else -1):
        raise LedgerBusyError("another thread holds it")
    try:
        yield
    finally:
        lock.release()


@contextmanager
def limited_waits(connection: sa.Connection) -> Iterator[None]:
    """Let the statements in a block wait for other processes no longer than the limit, if the database is SQLite."""
    if connection.dialect.name != "sqlite" or not is_limited():
        yield
        return
    _set_busy_timeout(connection, remaining_s(BUSY_S))
    try:
        yield
    finally:
        _set_busy_timeout(connection, BUSY_S)


def begin_writing(connection: sa.Connection, for_s: float) -> None:
    """Begin a transaction that writes to an SQLite file; wait ``for_s`` seconds, or until the limit, for others."""
    # SQLite's own busy timeout sleeps longer and longer, and later processes overtake it: of eight that wrote without a
    # pause, some could not write within five seconds.
    _set_busy_timeout(connection, 0)
    try:
        # IMMEDIATE, because a transaction that reads before it writes does not wait for the lock, but fails.
        retry_while_busy(
            lambda: connection.exec_driver_sql("BEGIN IMMEDIATE"), for_s=remaining_s(for_s), pause_s=(0.001, 0.01)
        )
    finally:
        _set_busy_timeout(connection, remaining_s(BUSY_S))


def _set_busy_timeout(connection: sa.Connection, seconds: float) -> None:
    # Of the driver, because SQLAlchemy takes five times as long, which is much for a transaction of few rows.
    driver = cast("sqlite3.Connection", connection.connection.driver_connection)
    driver.execute(f"PRAGMA busy_timeout={int(seconds * 1000)}").close()
