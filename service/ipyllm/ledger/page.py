"""A page of a table: the rows between two positions in the order of reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ipyllm.ledger.tables import tables

if TYPE_CHECKING:
    from ipyllm.ledger.columns import Table

__all__ = ["Page", "Position", "position_columns"]

Position = tuple[Any, str]
"""The place of a row in the order of reads: its time as the database stores it, and its key. Null times come first."""


@dataclass(frozen=True, slots=True)
class Page:
    """The rows after one position, up to another; None is the beginning or the end."""

    after: Position | None
    up_to: Position | None

    def conditions(self, time: sa.ColumnElement[Any], key: sa.ColumnElement[Any]) -> list[sa.ColumnElement[bool]]:
        """Return these limits as conditions that an index of the times can answer."""
        found: list[sa.ColumnElement[bool]] = []
        begins_with_time = self.after is not None and self.after[0] is not None
        if self.after is not None:
            start, first = self.after
            if begins_with_time:
                found += [time >= start, sa.or_(time > start, key > first)]
            else:
                found.append(sa.or_(time.is_not(None), key > first))
        if self.up_to is not None:
            end, last = self.up_to
            if end is None:
                found += [time.is_(None), key <= last]
            else:
                until_end = sa.and_(time <= end, sa.or_(time < end, key <= last))
                found.append(until_end if begins_with_time else sa.or_(time.is_(None), until_end))
        return found


def position_columns(table: Table) -> tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]:
    """Return the time, as it is stored, which may be damaged, and the key of the rows of a table."""
    column = tables[table.name].c
    return sa.type_coerce(column[table.time], sa.types.NullType()), column[table.key]
