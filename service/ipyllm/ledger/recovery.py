"""Rows of a damaged SQLite file of ours, as far as they can be read, for a new one.

:mod:`ipyllm.ledger.sqlite_pages` finds the records. They are told apart by their number of values, and by the first,
which must be text: the key.
"""

from __future__ import annotations

import mmap
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyllm.ledger.sqlite_pages import SQLitePages
from ipyllm.ledger.stored_values import read_value

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ipyllm.ledger.columns import Kind, Row

__all__ = ["Layout", "Recovery"]

_USUAL_PAGE_SIZE = 4096

_SAMPLE_BYTES = 4 << 20
"""Of the file, to find out its page size."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table in the order of the file, and how many of them its first version had."""

    columns: Mapping[str, Kind]
    at_least: int
    statuses: frozenset[str] = frozenset()
    """What the column ``status`` may say; empty where there is none."""
    key_form: re.Pattern[str] | None = None
    """Form of the key, where another table may have as many columns."""


class Recovery:
    """The rows in a damaged file, and what is known of those that cannot be read.

    Parameters
    ----------
    path : Path
        The file. Its write-ahead log is read as well.
    layouts : mapping
        Layout by the name of the table; each has another number of columns, or another form of its key.
    """

    def __init__(self, path: Path, layouts: Mapping[str, Layout]) -> None:
        self._path = path
        self._layouts = layouts
        self.read: dict[str, set[str]] = {name: set() for name in layouts}
        """Keys of the rows read, by table."""
        self.damaged: set[str] = set()
        """Keys of rows that have lost values."""
        self.lost: set[str] = set()
        """Keys that an index has, of rows that cannot be read."""
        self._pages: SQLitePages | None = None

    @property
    def n_bytes(self) -> int:
        """Bytes of the file that were read so far."""
        return self._pages.n_read * self._pages.page_size if self._pages is not None else 0

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Yield the name of the table and the row, complete; a row may come twice, as it was at two times."""
        log = self._path.with_name(self._path.name + "-wal")
        with ExitStack() as stack:
            file = stack.enter_context(self._path.open("rb"))
            data = stack.enter_context(closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
            contents = data, log.read_bytes() if log.exists() else b""
            attempts = [SQLitePages(*contents)]
            if attempts[0].page_size != _USUAL_PAGE_SIZE:  # it may be what is damaged
                attempts.append(SQLitePages(*contents, page_size=_USUAL_PAGE_SIZE))
                attempts.sort(key=self._n_whole, reverse=True)
            for pages in attempts:
                yield from self._rows(pages)

    def _n_whole(self, pages: SQLitePages) -> int:
        """Return how many of the first records are whole rows."""
        whole = 0
        for record in pages.rows(_SAMPLE_BYTES // pages.page_size):
            for layout in self._layouts.values():
                if layout.at_least <= len(record) <= len(layout.columns) and (found := _row(record, layout)):
                    whole += found[2]
        return whole

    def _rows(self, pages: SQLitePages) -> Iterator[tuple[str, Row]]:
        self._pages = pages
        for record in pages.rows():
            for name, layout in self._layouts.items():
                if layout.at_least <= len(record) <= len(layout.columns) and (found := _row(record, layout)):
                    key, row, is_whole = found
                    if not is_whole and key not in self.read[name]:
                        self.damaged.add(key)
                    self.read[name].add(key)
                    yield name, row
        for entry in pages.index_entries():
            if len(entry) == 2 and isinstance(entry[0], bytes) and _is_id(entry[0]):  # noqa: PLR2004
                self.lost.add(entry[0].decode())
        self.lost.difference_update(*self.read.values())


def _row(record: Sequence[Any], layout: Layout) -> tuple[str, Row, bool] | None:
    """Return the key, the row and whether it is undamaged; None for the record of another table."""
    row: Row = dict.fromkeys(layout.columns)
    is_whole = True
    for (name, kind), stored in zip(layout.columns.items(), record, strict=False):
        row[name], is_right = read_value(stored, kind)
        is_whole &= is_right
    key = row[next(iter(layout.columns))]
    if not key or (layout.key_form is not None and not layout.key_form.fullmatch(key)):
        return None  # of another table
    if layout.statuses and row["status"] is not None and row["status"] not in layout.statuses:
        return None
    return key, row, is_whole


def _is_id(value: bytes) -> bool:
    """Return whether ``value`` has the form of the ids that :mod:`ipyllm.ledger.ids` makes."""
    return len(value) == 26 and value.isalnum()  # noqa: PLR2004
