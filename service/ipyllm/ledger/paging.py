"""Pages of rows, for reads of more than memory can hold: each begins after the last row of the one before."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from ipyllm.ledger.page import Page, position_columns
from ipyllm.ledger.sqlite_file import cannot_be_decoded
from ipyllm.ledger.tables import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.ledger.page import Position
    from ipyllm.ledger.query import Conditions

__all__ = ["PAGE_ROWS", "divide"]

PAGE_ROWS: Final = 50_000
"""Most rows of a page: from this number on, SQLite files are read through Arrow."""

_PAGE_BYTES: Final = 64_000_000
_LEAST_ROWS: Final = 500


def divide(connection: sa.Connection, query: Conditions) -> Sequence[Conditions] | None:
    """Return the same query for each page of its rows, oldest first; None where a page would end at a damaged value.

    The last page has no end. Large rows make small pages.
    """
    time, key = position_columns(query.table)
    number = sa.func.row_number().over(order_by=(time.asc().nulls_first(), key))
    rows = sa.select(time.label("time"), key.label("key"), number.label("number")).where(*query.conditions()).subquery()
    size = _page_rows(connection, query)
    ends = sa.select(rows.c.time, rows.c.key).where(rows.c.number % size == 0).order_by(rows.c.number)
    try:
        found: list[Position | None] = [(row.time, row.key) for row in connection.execute(ends)]
    except Exception as exc:
        if not cannot_be_decoded(exc):
            raise
        return None
    if not all(isinstance(time, str | datetime | None) and isinstance(key, str) for time, key in filter(None, found)):
        return None
    return [
        replace(query, page=Page(after, up_to)) for after, up_to in zip([None, *found], [*found, None], strict=True)
    ]


def _page_rows(connection: sa.Connection, query: Conditions) -> int:
    """Return how many rows a page has, by their average size in the database."""
    stored = tables[query.table.name]
    if connection.dialect.name == "sqlite":
        n_bytes = connection.exec_driver_sql("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
    else:
        n_bytes = connection.execute(sa.select(sa.func.pg_table_size(stored.name)))
    n = connection.execute(sa.select(sa.func.count()).select_from(stored)).scalar_one()
    average = n_bytes.scalar_one() / max(1, n)
    return min(PAGE_ROWS, max(_LEAST_ROWS, int(_PAGE_BYTES / max(1.0, average))))
