"""Which rows are wanted: asked of the database in SQL, and of rows still in memory by the same rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ipyllm.ledger.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from ipyllm.ledger.columns import Row

__all__ = ["Query", "merged"]


@dataclass(frozen=True, slots=True)
class Query:
    """Conditions that a row must meet, all of them. Those left alone are met by every row.

    Attributes
    ----------
    kernel_ids : tuple of str or None
        The kernels that made the call.
    since : datetime or None
        Aware; the call started then or later.
    models, statuses : tuple of str
        One of these; empty for any.
    tags : mapping
        Every one of these tags, with this value.

    Examples
    --------
    >>> Query(tags={"arm": "a"}).matches({"tags": {"arm": "a", "run": "7"}})
    True
    """

    kernel_ids: tuple[str, ...] | None = None
    since: datetime | None = None
    models: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions for a ``WHERE``."""
        from ipyllm.ledger.schema import calls

        column = calls.c
        found: list[sa.ColumnElement[bool]] = []
        if self.kernel_ids is not None:
            found.append(column.kernel_id.in_(self.kernel_ids))
        if self.since is not None:
            found.append(column.started_at >= self.since)
        if self.models:
            found.append(column.model.in_(self.models))
        if self.statuses:
            found.append(column.status.in_(self.statuses))
        found += [column.tags[key].as_string() == value for key, value in self.tags.items() if '"' not in key]
        return found

    @property
    def beyond_sql(self) -> bool:
        """Whether the conditions are less than these: a quote would end SQLite's path to a tag."""
        return any('"' in key for key in self.tags)

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Whether ``row``, by column, meets the conditions."""
        tags = row.get("tags") or {}
        started_at = row.get("started_at")
        return (
            (self.kernel_ids is None or row.get("kernel_id") in self.kernel_ids)
            and (self.since is None or (started_at is not None and started_at >= self.since))
            and (not self.models or row.get("model") in self.models)
            and (not self.statuses or row.get("status") in self.statuses)
            and all(tags.get(key) == value for key, value in self.tags.items())
        )


def merged(stored: Sequence[tuple[Any, ...]], in_memory: Sequence[Row], query: Query) -> Sequence[tuple[Any, ...]]:
    """Lay what is known in memory over the rows that the database gave for ``query``."""
    if not in_memory and not query.beyond_sql:
        return stored
    if query.beyond_sql:
        stored = [row for row in stored if query.matches(dict(zip(COLUMNS, row, strict=True)))]
    rows = {row[0]: row for row in stored}
    for known in in_memory:
        before = rows.pop(known["call_id"], ())
        row = dict.fromkeys(COLUMNS) | dict(zip(COLUMNS, before, strict=False)) | known
        if query.matches(row):
            rows[known["call_id"]] = tuple(row.values())
    started_at = tuple(COLUMNS).index("started_at")
    return sorted(rows.values(), key=lambda row: (row[started_at] is not None, row[started_at], row[0]))
