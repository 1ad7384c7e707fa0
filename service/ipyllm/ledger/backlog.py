"""What the database does not have yet: rows to be written, rows of calls that run, rows it cannot take now.

Plain memory, in the hands of one ledger, which locks it. Rows in here are clean.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from ipyllm.ledger.columns import FINAL, TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ipyllm.ledger.columns import Row

__all__ = ["Backlog"]


class Backlog:
    """Rows by call, each with the columns that are still to be written.

    A row is kept while its call runs or while it is unwritten. When the ledger cannot be written for long,
    the text of the oldest finished calls is given up first, then the oldest calls.

    Parameters
    ----------
    key : str
        The column by which rows are told apart.
    most_rows : int
        Rows kept.
    most_text : int
        Characters of prompt, response and reasoning kept.

    Examples
    --------
    >>> backlog = Backlog()
    >>> backlog.merge({"call_id": "1", "status": "running", "prompt": "Hello"})
    >>> backlog.batch(10)
    [{'call_id': '1', 'status': 'running', 'prompt': 'Hello'}]
    >>> backlog.written(backlog.batch(10))
    >>> backlog.merge({"call_id": "1", "status": "ok"})
    >>> backlog.batch(10)
    [{'call_id': '1', 'status': 'ok'}]
    """

    def __init__(self, key: str = "call_id", *, most_rows: int = 100_000, most_text: int = 100_000_000) -> None:
        self._key = key
        self._most_rows = most_rows
        self._most_text = most_text
        self._text = 0
        self._known: dict[str, Row] = {}
        self._unwritten: dict[str, dict[str, None]] = {}  # names of columns, in the order they came
        self.lost = 0
        """Finished calls that were given up for want of memory."""

    @property
    def waiting(self) -> int:
        """Number of rows with something to write."""
        return len(self._unwritten)

    @property
    def running(self) -> bool:
        """Whether more is expected of any row."""
        return any(not _finished(row) for row in self._known.values())

    def merge(self, row: Row) -> None:
        """Take what ``row`` says over what was known of its call."""
        call_id = row[self._key]
        known = self._known.setdefault(call_id, {})
        self._text -= _characters(known)
        known.update(row)
        self._text += _characters(known)
        self._unwritten.setdefault(call_id, {}).update(dict.fromkeys(row))

    def batch(self, limit: int) -> list[Row]:
        """Return up to ``limit`` rows to write, each with its call's id and its unwritten columns only."""
        batch = []
        for call_id, names in islice(self._unwritten.items(), limit):
            known = self._known[call_id]
            batch.append({self._key: call_id, **{name: known[name] for name in names}})
        return batch

    def written(self, batch: Iterable[Row]) -> None:
        """Note that ``batch`` is safe. Calls that run stay known, in case the ledger is lost under them."""
        for row in batch:
            call_id = row[self._key]
            known = self._known[call_id]
            names = self._unwritten[call_id]
            for name in row:
                if known[name] is row[name]:  # else it was merged anew meanwhile
                    names.pop(name, None)
            if not names:
                del self._unwritten[call_id]
                if _finished(known):
                    self._forget(call_id)

    def write_all_again(self) -> None:
        """Have everything that is known written: the database is a new one."""
        self._unwritten = {call_id: dict.fromkeys(row) for call_id, row in self._known.items()}

    def beat(self) -> None:
        """Have the rows of running calls touched, so that other hosts see that their writer lives."""
        for call_id, row in self._known.items():
            if not _finished(row):
                self._unwritten.setdefault(call_id, {})["status"] = None

    def rows(self) -> Sequence[Row]:
        """Return everything known of calls with something to write."""
        return [dict(self._known[call_id]) for call_id in self._unwritten]

    def trim(self) -> None:
        """Keep within the bounds."""
        if self._text > self._most_text:
            for call_id, row in self._known.items():
                if _finished(row):
                    self._text -= _characters(row)
                    for name in TEXT:  # what the database already has of it stays there
                        row.pop(name, None)
                        self._unwritten[call_id].pop(name, None)
                if self._text <= self._most_text:
                    break
        excess = len(self._known) - self._most_rows
        if excess > 0:
            for call_id in list(islice((c for c, row in self._known.items() if _finished(row)), excess)):
                self._unwritten.pop(call_id, None)
                self._forget(call_id)
                self.lost += 1

    def _forget(self, call_id: str) -> None:
        self._text -= _characters(self._known.pop(call_id))


def _finished(row: Row) -> bool:
    """Whether nothing more is expected. A row without a status is a late word on a finished call."""
    return row.get("status") is None or row["status"] in FINAL


def _characters(row: Row) -> int:
    return sum(len(row.get(name) or "") for name in TEXT)
