"""Reads the records in an SQLite file page by page, whatever is damaged around them.

A database is a tree of pages, so one damaged byte can hide all that is below it. Here every page is read by itself:
what a page says of its records must fit, else they are left out. The format is that of https://sqlite.org/fileformat.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from mmap import mmap

__all__ = ["Record", "SQLitePages"]

Record = list[bytes | int | float | None]
"""Values of a record; texts as bytes."""

_PAGE_SIZES: Final = (4096, 1024, 2048, 8192, 16384, 32768, 65536, 512)
_INTERIOR_INDEX, _INTERIOR_TABLE, _LEAF_INDEX = 2, 5, 10
_CELLS_AT: Final = {_INTERIOR_INDEX: 12, _LEAF_INDEX: 8}
_INTEGER_BYTES: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_LEAST_CELL: Final = 4
"""Bytes of a cell; SQLite makes none that are smaller."""
_REAL, _ZERO, _ONE, _BLOB = 7, 8, 9, 12


class SQLitePages:
    """The pages of a file, as its write-ahead log left them.

    Parameters
    ----------
    data : bytes or mmap
        The file.
    log : bytes
        Its write-ahead log, empty if there is none.
    page_size : int, optional
        Bytes in a page. Default: what the file says, where that can be.
    """

    def __init__(self, data: bytes | mmap, log: bytes = b"", page_size: int | None = None) -> None:
        said = int.from_bytes(data[16:18], "big")
        self.page_size = page_size or (said if said in _PAGE_SIZES else 65536 if said == 1 else _PAGE_SIZES[0])
        self._data = data
        self._newer = _pages_in_log(log, self.page_size)
        self.n_pages = max(-(-len(data) // self.page_size), *self._newer, 0)
        self.n_read = 0
        """Pages whose rows were read."""
        self._free = self._free_pages()

    def page(self, number: int) -> bytes:
        """Return a page; the first has number 1."""
        start = (number - 1) * self.page_size
        return self._newer.get(number) or self._data[start : start + self.page_size]

    def rows(self, n_pages: int | None = None) -> Iterator[Record]:
        """Yield the records of all tables, wherever they stand; or those in the first pages."""
        for number in range(1, min(n_pages or self.n_pages, self.n_pages) + 1):
            page, start = self.page(number), 100 if number == 1 else 0
            if number not in self._free and _is_leaf(page, start):
                yield from self._records(page, start, start + 8, has_row_id=True)
            self.n_read = number

    def index_entries(self) -> Iterator[Record]:
        """Yield the entries of all indexes: the indexed values, and the row's number."""
        for number in range(2, self.n_pages + 1):
            page = self.page(number)
            if number not in self._free and page[:1] in (b"\2", b"\n"):
                yield from self._records(page, 0, _CELLS_AT[page[0]], has_row_id=False)

    def _records(self, page: bytes, start: int, cells_at: int, *, has_row_id: bool) -> Iterator[Record]:
        n_cells = int.from_bytes(page[start + 3 : start + 5], "big")
        n_possible = max(0, len(page) - cells_at) // 2
        for (cell,) in struct.iter_unpack(">H", page[cells_at : cells_at + 2 * min(n_cells, n_possible)]):
            try:
                record = self._record(page, cell + (4 if cells_at - start == 12 else 0), has_row_id=has_row_id)  # noqa: PLR2004
            except (IndexError, struct.error):
                continue
            if record is not None:
                yield record

    def _record(self, page: bytes, at: int, *, has_row_id: bool) -> Record | None:
        """Return the record of a cell; None if its parts do not fit."""
        length, at = _varint(page, at)
        if has_row_id:
            _, at = _varint(page, at)
        usable = self.page_size
        most = usable - 35 if has_row_id else (usable - 12) * 64 // 255 - 23
        types = _types(page[at:], length)
        if types is None:
            return None
        payload = page[at : at + length]
        if length > most:
            least = (usable - 12) * 32 // 255 - 23
            local = least + (length - least) % (usable - 4)
            local = local if local <= most else least
            overflow = int.from_bytes(page[at + local : at + local + 4], "big")
            payload = page[at : at + local] + self._overflow(overflow, length - local)
        return _values(payload, types)

    def _overflow(self, number: int, length: int) -> bytes:
        """Return the part of a record that is on pages of its own; less, if their chain is broken."""
        parts: dict[int, bytes] = {}
        while len(parts) * (self.page_size - 4) < length and 1 < number <= self.n_pages and number not in parts:
            page = self.page(number)
            parts[number] = page[4:]
            number = int.from_bytes(page[:4], "big")
        return b"".join(parts.values())[:length]

    def _free_pages(self) -> frozenset[int]:
        """Return the pages that hold nothing any more; none if what the file says of them does not fit."""
        trunk, total = struct.unpack(">II", self.page(1)[32:40].ljust(8, b"\0"))
        free: set[int] = set()
        while trunk:
            page = self.page(trunk) if 1 < trunk <= self.n_pages and trunk not in free else b""
            free.add(trunk)
            trunk, n_leaves = struct.unpack(">II", page[:8]) if len(page) == self.page_size else (0, total + 1)
            if n_leaves > min(total, self.page_size // 4 - 2):
                return frozenset()
            free.update(struct.unpack(f">{n_leaves}I", page[8 : 8 + 4 * n_leaves]))
        return frozenset(free) if len(free) == total and all(1 < page <= self.n_pages for page in free) else frozenset()


def _pages_in_log(log: bytes, page_size: int) -> Mapping[int, bytes]:
    """Return the newest version of each page in the transactions that the log has completely."""
    committed: dict[int, bytes] = {}
    transaction: dict[int, bytes] = {}
    for start in range(32, len(log) - page_size - 23, page_size + 24):
        number, size_after_commit = struct.unpack(">II", log[start : start + 8])
        if log[start + 8 : start + 16] != log[16:24]:  # a frame of an earlier log
            break
        transaction[number] = log[start + 24 : start + 24 + page_size]
        if size_after_commit:
            committed.update(transaction)
            transaction.clear()
    return committed


def _is_leaf(page: bytes, start: int) -> bool:
    """Return whether a page is a table's leaf, or was one before its type was damaged."""
    kind = page[start : start + 1]
    if kind in (b"\2", b"\5", b"\n", b"\r"):
        return kind == b"\r"
    # Of a long text's pages, which have no type, all places would be tried as records.
    n_cells = int.from_bytes(page[start + 3 : start + 5], "big")
    cells_at = start + 8
    end = cells_at + 2 * n_cells
    if not n_cells or end + _LEAST_CELL * n_cells > len(page):
        return False
    cells = struct.unpack(f">{n_cells}H", page[cells_at:end])
    return bool(sum(end <= cell < len(page) for cell in cells) * 2 > n_cells)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at ``at`` in SQLite's variable-length form, and where it ends."""
    value = 0
    for position in range(at, at + 8):
        byte = data[position]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004
            return value, position + 1
    return value << 8 | data[at + 8], at + 9


def _types(record: bytes, length: int) -> list[int] | None:
    """Return the types of a record's values, which it begins with; None if their lengths do not make its own."""
    header_length, at = _varint(record, 0)
    types = []
    end = header_length
    while at < header_length and end <= length:
        kind, at = _varint(record, at)
        types.append(kind)
        end += _length(kind)
    return types if at == header_length and end == length else None


def _values(payload: bytes, types: Sequence[int]) -> Record:
    """Return the values of a record; of those that the payload does not reach, texts are cut, others None."""
    at = _varint(payload, 0)[0]
    values: Record = []
    for kind in types:
        end = at + _length(kind)
        values.append(_value(kind, payload[at:end]) if end <= len(payload) or kind > _BLOB else None)
        at = end
    return values


def _length(kind: int) -> int:
    if kind >= _BLOB:
        return (kind - _BLOB) // 2
    return 8 if kind == _REAL else _INTEGER_BYTES.get(kind, 0)


def _value(kind: int, raw: bytes) -> bytes | int | float | None:
    if kind >= _BLOB:
        return raw
    if kind == _REAL:
        value: float = struct.unpack(">d", raw)[0]
        return value
    if kind in (_ZERO, _ONE):
        return kind - _ZERO
    return int.from_bytes(raw, "big", signed=True) if raw else None
