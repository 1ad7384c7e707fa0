"""Filters for rows of the ledger, applied in SQL to the database and in Python to rows still in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ipyllm.ledger.columns import CALLS, CONVERSATIONS, EXPERIMENTS, NOTES, TEXT, VOTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from ipyllm.ledger.columns import Row, Table
    from ipyllm.ledger.page import Page

__all__ = [
    "Conditions",
    "ConversationQuery",
    "ExperimentQuery",
    "NoteQuery",
    "Query",
    "VoteQuery",
    "merge",
    "merge_by_tag",
]


@dataclass(frozen=True, slots=True)
class Conditions:
    """Filter for rows of a table: a row must meet all conditions that are set.

    ``since`` and ``until`` have a time zone; a row must begin at ``since`` or later, before ``until``. ``text``
    includes the columns of text, ``packed`` those of packed JSON, and ``limit`` returns only this number of the newest
    rows. ``only`` leaves out all other columns that no condition needs; a ``page`` is read without the rows that are
    still in memory.
    """

    table: ClassVar[Table]
    _accepted_values: ClassVar[Mapping[str, str]] = {}
    """Name of the attribute with the accepted values, by column."""

    kernel_ids: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: bool = True
    packed: bool = False
    limit: int | None = None
    only: frozenset[str] | None = None
    page: Page | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns to return, in their order."""
        names = self.table.writable if self.packed else self.table.columns
        needed = frozenset(names) if self.only is None else self.only | self.compared_columns()
        return tuple(name for name in names if name in needed and (self.text or name not in TEXT))

    def compared_columns(self) -> frozenset[str]:
        """Return the columns that :meth:`matches` and the order of rows need."""
        by_value = (name for name, attribute in self._accepted_values.items() if getattr(self, attribute))
        by_kernel = () if self.kernel_ids is None else ("kernel_id",)
        return frozenset({self.table.key, self.table.time, *by_kernel, *by_value})

    @property
    def needs_python(self) -> bool:
        """Whether SQL cannot apply all conditions, so that rows are filtered again in Python."""
        return False

    def without_json(self) -> Self:
        """Return the same conditions without limit and without those that look into JSON: :meth:`filter` applies them.

        SQLite cannot look into JSON that is damaged.
        """
        return replace(self, limit=None)

    def filter(self, rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Return the rows that meet the conditions, in the order of :meth:`select`; ``rows`` come oldest first."""
        found = [row for row in rows if self.matches(dict(zip(self.columns, row, strict=True)))]
        return found if self.limit is None or self.needs_python else found[: -self.limit - 1 : -1]

    def with_limit(self, limit: int | None) -> Self:
        """Return the same conditions with another limit."""
        return replace(self, limit=limit)

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions of the ``WHERE`` clause."""
        from ipyllm.ledger.tables import tables

        column = tables[self.table.name].c
        found: list[sa.ColumnElement[bool]] = []
        if self.kernel_ids is not None:
            found.append(column.kernel_id.in_(self.kernel_ids))
        if self.since is not None:
            found.append(column[self.table.time] >= self.since)
        if self.until is not None:
            found.append(column[self.table.time] < self.until)
        for name, attribute in self._accepted_values.items():
            accepted = getattr(self, attribute)
            if accepted:
                found.append(column[name].in_(accepted))
        if self.page is not None:
            from ipyllm.ledger.page import position_columns

            found += self.page.conditions(*position_columns(self.table))
        return found

    def select(self) -> sa.Select[Any]:
        """Return the statement for these rows, oldest first; with a limit, newest first."""
        import sqlalchemy as sa

        from ipyllm.ledger.tables import tables

        column = tables[self.table.name].c
        statement = sa.select(*(column[name] for name in self.columns)).where(*self.conditions())
        time, key = column[self.table.time], column[self.table.key]
        if self.limit is None or self.needs_python:
            return statement.order_by(time.asc().nulls_first(), key)
        return statement.order_by(time.desc().nulls_last(), key.desc()).limit(self.limit)

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Return whether ``row`` meets the conditions."""
        time = row.get(self.table.time)
        return (
            (self.kernel_ids is None or row.get("kernel_id") in self.kernel_ids)
            and (self.since is None or (time is not None and time >= self.since))
            and (self.until is None or (time is not None and time < self.until))
            and all(
                not getattr(self, attribute) or row.get(name) in getattr(self, attribute)
                for name, attribute in self._accepted_values.items()
            )
        )


@dataclass(frozen=True, slots=True)
class Query(Conditions):
    """Filter for calls: any of the ``call_ids``, any of the ``models``, …, and all of the ``tags``."""

    table: ClassVar[Table] = CALLS
    _accepted_values: ClassVar[Mapping[str, str]] = {
        "call_id": "call_ids",
        "model": "models",
        "status": "statuses",
        "origin": "origins",
        "experiment": "experiments",
        "prompt_id": "prompt_ids",
    }

    call_ids: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()
    prompt_ids: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    containing: str = ""

    def without_json(self) -> Self:
        """Return the same conditions without limit and tags."""
        return replace(self, limit=None, tags={})

    def compared_columns(self) -> frozenset[str]:
        """Return the columns that :meth:`matches` and the order of rows need."""
        tags = frozenset({"tags"}) if self.tags else frozenset()
        return Conditions.compared_columns(self) | tags

    @property
    def needs_python(self) -> bool:
        """Whether SQL cannot find a tag by its name."""
        return not all(map(_is_plain, self.tags))

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions of the ``WHERE`` clause."""
        from ipyllm.ledger.tables import calls

        contained = (
            [
                calls.c.prompt.icontains(self.containing, autoescape=True)
                | calls.c.response.icontains(self.containing, autoescape=True)
            ]
            if self.containing
            else []
        )
        by_tag = [calls.c.tags[key].as_string() == value for key, value in self.tags.items() if _is_plain(key)]
        return [*Conditions.conditions(self), *by_tag, *contained]

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Return whether ``row`` meets the conditions."""
        tags = row.get("tags") or {}
        return (
            Conditions.matches(self, row)
            and all(tags.get(key) == value for key, value in self.tags.items())
            and self._contains(row)
        )

    def _contains(self, row: Mapping[str, Any]) -> bool:
        """Return whether the texts contain :attr:`containing`; a row without them is one that the database found."""
        texts = [row[name] for name in ("prompt", "response") if name in row]
        wanted = self.containing.casefold()
        return not wanted or not texts or any(text and wanted in text.casefold() for text in texts)


@dataclass(frozen=True, slots=True)
class VoteQuery(Conditions):
    """Filter for votes: any of the ``comparisons``."""

    table: ClassVar[Table] = VOTES
    _accepted_values: ClassVar[Mapping[str, str]] = {"comparison": "comparisons"}

    comparisons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConversationQuery(Conditions):
    """Filter for conversations: any of the ``conversation_ids``, in any of the ``places``."""

    table: ClassVar[Table] = CONVERSATIONS
    _accepted_values: ClassVar[Mapping[str, str]] = {"conversation_id": "conversation_ids", "place": "places"}

    conversation_ids: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoteQuery(Conditions):
    """Filter for notes: any of the ``experiments``."""

    table: ClassVar[Table] = NOTES
    _accepted_values: ClassVar[Mapping[str, str]] = {"experiment": "experiments"}

    experiments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExperimentQuery(Conditions):
    """Filter for experiments: any of the ``names``."""

    table: ClassVar[Table] = EXPERIMENTS
    _accepted_values: ClassVar[Mapping[str, str]] = {"name": "names"}

    names: tuple[str, ...] = ()


def merge_by_tag(
    stored: Sequence[tuple[Any, ...]], in_memory: Sequence[Row], experiment: str, tag: str, columns: Sequence[str]
) -> Sequence[tuple[Any, ...]]:
    """Do what :func:`merge` does with rows of an id, one tag and ``columns``; those in memory come last."""
    if not in_memory:
        return stored
    rows = {row[0]: row for row in stored}
    for newer in in_memory:
        before = rows.pop(newer["call_id"], None)
        if before is not None or newer.get("experiment") == experiment:
            row = dict(zip(("call_id", tag, *columns), before or (), strict=False))
            row |= {tag: (newer["tags"] or {}).get(tag)} if "tags" in newer else {}
            row |= {name: value for name, value in newer.items() if name in columns}
            rows[newer["call_id"]] = (newer["call_id"], row.get(tag), *(row.get(name) for name in columns))
    return list(rows.values())


def _is_plain(name: str) -> bool:
    """Return whether a name stands in JSON as it is: SQLite compares it so, and a quote would end the path to it."""
    return name.isascii() and name.isprintable() and not set(name) & {'"', "\\"}


def merge(stored: Sequence[tuple[Any, ...]], in_memory: Sequence[Row], query: Conditions) -> Sequence[tuple[Any, ...]]:
    """Return ``stored``, the database's rows for ``query``, updated by those ``in_memory``; oldest first."""
    names = query.columns
    if query.needs_python:
        stored = query.with_limit(None).filter(stored)
    elif not in_memory:
        return stored if query.limit is None else stored[::-1]
    key, time = names.index(query.table.key), names.index(query.table.time)
    rows = {row[key]: row for row in stored}
    for newer in in_memory:
        before = rows.pop(newer[query.table.key], ())
        row = dict.fromkeys(names) | dict(zip(names, before, strict=False)) | newer
        if query.matches(row):
            rows[row[query.table.key]] = tuple(row[name] for name in names)
    found = sorted(rows.values(), key=lambda row: (row[time] is not None, row[time], row[key]))
    return found if query.limit is None else found[max(0, len(found) - query.limit) :]
