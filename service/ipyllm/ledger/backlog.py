"""Rows in memory: those to be written, and those of running calls.

A ledger owns a backlog for each table and locks it. Its rows have passed :func:`ipyllm.ledger.sanitize.sanitize`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from ipyllm.ledger.columns import FINAL, TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ipyllm.ledger.columns import Row

__all__ = ["Backlog"]

_NOTHING: Final = object()


class Backlog:
    """Rows by key, with the columns that are not written yet.

    A row stays while its call runs or while it is unwritten. When the ledger cannot be written for long, the text of
    the oldest finished calls is dropped first (beyond ``max_text`` characters), then the oldest calls.
    """

    def __init__(self, key: str = "call_id", *, max_rows: int = 100_000, max_text: int = 100_000_000) -> None:
        self._key = key
        self._max_rows = max_rows
        self._max_text = max_text
        self._text_chars = 0
        self._chars: dict[str, int] = {}  # of the text of each row
        self._rows: dict[str, Row] = {}
        self._unwritten: dict[str, Row] = {}  # columns in the order of arrival, the key among them
        self.lost = 0
        """Number of finished calls that were dropped to save memory."""

    @property
    def n_unwritten(self) -> int:
        """Number of rows with unwritten columns."""
        return len(self._unwritten)

    @property
    def has_running(self) -> bool:
        """Whether any call is still running."""
        return any(not _finished(row) for row in self._rows.values())

    def merge(self, row: Row) -> None:
        """Update the row with the same key by ``row``, or add it."""
        call_id = row[self._key]
        known = self._rows.get(call_id)
        if known is None:
            self._rows[call_id] = known = dict(row)
        else:
            known.update(row)
        self._count_text(call_id, known)
        unwritten = self._unwritten.get(call_id)
        if unwritten is None:
            self._unwritten[call_id] = dict(row)
        else:
            unwritten.update(row)

    def batch(self, limit: int) -> list[Row]:
        """Return up to ``limit`` rows to write, each with its key and its unwritten columns only."""
        return [dict(row) for row in islice(self._unwritten.values(), limit)]

    def mark_written(self, batch: Iterable[Row]) -> None:
        """Mark ``batch`` as written. Rows of running calls stay, in case the database is lost."""
        for row in batch:
            call_id = row[self._key]
            unwritten = self._unwritten.get(call_id)
            if unwritten is None:  # dropped in the meantime, by `trim`
                continue
            if unwritten != row:  # something was merged, or text was dropped, in the meantime
                rest = {name: value for name, value in unwritten.items() if value is not row.get(name, _NOTHING)}
                if rest:
                    self._unwritten[call_id] = {self._key: call_id, **rest}
                    continue
            del self._unwritten[call_id]
            if _finished(self._rows[call_id]):
                self._drop(call_id)

    def mark_all_unwritten(self) -> None:
        """Mark all columns unwritten, so that all rows are written to a new database."""
        self._unwritten = {call_id: dict(row) for call_id, row in self._rows.items()}

    def touch_running(self) -> None:
        """Mark the rows of running calls unwritten, so that other hosts see that this process is alive."""
        for call_id, row in self._rows.items():
            if not _finished(row):
                self._unwritten.setdefault(call_id, {self._key: call_id})["status"] = row["status"]

    def rows(self) -> Sequence[Row]:
        """Return the rows with unwritten columns, complete."""
        return [dict(self._rows[call_id]) for call_id in self._unwritten]

    def trim(self) -> None:
        """Drop text, then rows, beyond the limits."""
        if self._text_chars > self._max_text:
            for call_id, row in self._rows.items():
                if _finished(row):
                    for name in TEXT:  # text that was written stays in the database
                        row.pop(name, None)
                        self._unwritten[call_id].pop(name, None)
                    self._count_text(call_id, row)
                if self._text_chars <= self._max_text:
                    break
        excess = len(self._rows) - self._max_rows
        if excess > 0:
            for call_id in list(islice((c for c, row in self._rows.items() if _finished(row)), excess)):
                self._unwritten.pop(call_id, None)
                self._drop(call_id)
                self.lost += 1

    def _drop(self, call_id: str) -> None:
        del self._rows[call_id]
        self._text_chars -= self._chars.pop(call_id)

    def _count_text(self, call_id: str, row: Row) -> None:
        chars = sum(map(len, filter(None, map(row.get, TEXT))))
        self._text_chars += chars - self._chars.get(call_id, 0)
        self._chars[call_id] = chars


def _finished(row: Row) -> bool:
    """Return whether the call has ended. A row without a status is a late update of a finished call."""
    return row.get("status") is None or row["status"] in FINAL
