"""Which rows are wanted: asked of the database in SQL, and of rows still in memory by the same rules."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ipyllm.ledger.columns import CALLS, TEXT, VOTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from ipyllm.ledger.columns import Row, Table

__all__ = ["Conditions", "Query", "VoteQuery", "merged"]


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions that a row must meet, all of them. Those left alone are met by every row.

    Attributes
    ----------
    kernel_ids : tuple of str or None
        The kernels that the row comes from.
    since, until : datetime or None
        Aware; it began at ``since`` or later, before ``until``.
    text : bool
        Whether what was said is wanted too.
    limit : int or None
        The latest so many of them.
    """

    table: ClassVar[Table]
    _one_of: ClassVar[Mapping[str, str]] = {}
    """Attributes that hold what a column may be, by that column."""

    kernel_ids: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: bool = True
    limit: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that are wanted, in their order."""
        return tuple(name for name in self.table.columns if self.text or name not in TEXT)

    @property
    def beyond_sql(self) -> bool:
        """Whether the database is asked for more than these."""
        return False

    def at_most(self, limit: int | None) -> Self:
        """Return the same conditions with another limit."""
        return replace(self, limit=limit)

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions for a ``WHERE``."""
        from ipyllm.ledger.schema import tables

        column = tables[self.table.name].c
        found: list[sa.ColumnElement[bool]] = []
        if self.kernel_ids is not None:
            found.append(column.kernel_id.in_(self.kernel_ids))
        if self.since is not None:
            found.append(column[self.table.moment] >= self.since)
        if self.until is not None:
            found.append(column[self.table.moment] < self.until)
        for name, attribute in self._one_of.items():
            wanted = getattr(self, attribute)
            if wanted:
                found.append(column[name].in_(wanted))
        return found

    def select(self) -> sa.Select[Any]:
        """Return the statement for these rows, earliest first; with a limit, latest first."""
        import sqlalchemy as sa

        from ipyllm.ledger.schema import tables

        column = tables[self.table.name].c
        wanted = sa.select(*(column[name] for name in self.columns)).where(*self.conditions())
        moment, key = column[self.table.moment], column[self.table.key]
        if self.limit is None or self.beyond_sql:
            return wanted.order_by(moment.asc().nulls_first(), key)
        return wanted.order_by(moment.desc().nulls_last(), key.desc()).limit(self.limit)

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Whether ``row``, by column, meets the conditions."""
        moment = row.get(self.table.moment)
        return (
            (self.kernel_ids is None or row.get("kernel_id") in self.kernel_ids)
            and (self.since is None or (moment is not None and moment >= self.since))
            and (self.until is None or (moment is not None and moment < self.until))
            and all(
                not getattr(self, attribute) or row.get(name) in getattr(self, attribute)
                for name, attribute in self._one_of.items()
            )
        )


@dataclass(frozen=True, slots=True)
class Query(Conditions):
    """Which calls are wanted.

    Attributes
    ----------
    models, statuses, origins, experiments : tuple of str
        One of these; empty for any.
    tags : mapping
        Every one of these tags, with this value.

    Examples
    --------
    >>> Query(tags={"arm": "a"}).matches({"tags": {"arm": "a", "run": "7"}})
    True
    """

    table: ClassVar[Table] = CALLS
    _one_of: ClassVar[Mapping[str, str]] = {
        "model": "models",
        "status": "statuses",
        "origin": "origins",
        "experiment": "experiments",
    }

    models: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def beyond_sql(self) -> bool:
        """Whether the database is asked for more than these: a quote would end SQLite's path to a tag."""
        return any('"' in key for key in self.tags)

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions for a ``WHERE``."""
        from ipyllm.ledger.schema import calls

        by_tag = [calls.c.tags[key].as_string() == value for key, value in self.tags.items() if '"' not in key]
        return [*Conditions.conditions(self), *by_tag]

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Whether ``row``, by column, meets the conditions."""
        tags = row.get("tags") or {}
        return Conditions.matches(self, row) and all(tags.get(key) == value for key, value in self.tags.items())


@dataclass(frozen=True, slots=True)
class VoteQuery(Conditions):
    """Which votes are wanted.

    Attributes
    ----------
    comparisons : tuple of str
        About one of these; empty for any.
    """

    table: ClassVar[Table] = VOTES
    _one_of: ClassVar[Mapping[str, str]] = {"comparison": "comparisons"}

    comparisons: tuple[str, ...] = ()


def merged(stored: Sequence[tuple[Any, ...]], in_memory: Sequence[Row], query: Conditions) -> Sequence[tuple[Any, ...]]:
    """Lay what is known in memory over the rows that the database gave for ``query``; earliest first."""
    names = query.columns
    if query.beyond_sql:
        stored = [row for row in stored if query.matches(dict(zip(names, row, strict=True)))]
    elif not in_memory:
        return stored if query.limit is None else stored[::-1]
    key, moment = names.index(query.table.key), names.index(query.table.moment)
    rows = {row[key]: row for row in stored}
    for known in in_memory:
        before = rows.pop(known[query.table.key], ())
        row = dict.fromkeys(names) | dict(zip(names, before, strict=False)) | known
        if query.matches(row):
            rows[row[query.table.key]] = tuple(row[name] for name in names)
    found = sorted(rows.values(), key=lambda row: (row[moment] is not None, row[moment], row[key]))
    return found if query.limit is None else found[max(0, len(found) - query.limit) :]
