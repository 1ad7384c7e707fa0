"""Rows that a process could not write before it ended: kept in a file beside the ledger, and written from there later.

A line is a JSON object, ``{"table": "calls", "row": {"call_id": …}}``. Times are ISO 8601, in UTC, and packed
JSON is in base64.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import logging
import os
import tempfile
from base64 import b64decode, b64encode
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from platformdirs import user_data_path

from ipyllm.atomic_file import atomic_write
from ipyllm.ledger.columns import TABLES
from ipyllm.ledger.ids import new_id
from ipyllm.ledger.packed import unpack
from ipyllm.ledger.sanitize import sanitize
from ipyllm.text.format import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import sqlalchemy as sa

    from ipyllm.ledger.columns import Kind, Row, Table
    from ipyllm.ledger.upserts import Upserts

__all__ = ["UnwrittenRows", "read_rows", "take_in_unwritten_rows"]

_log = logging.getLogger("ipyllm.ledger")

_TABLES: Final = {table.name: table for table in TABLES}


class UnwrittenRows:
    """The files with rows for one ledger.

    They stand beside it; where no file can be created there, and for PostgreSQL, in ipyllm's data folder, or that for
    temporary files.

    Parameters
    ----------
    ledger : Path or str
        Path of the SQLite file, or URL of the database, without its password.
    """

    def __init__(self, ledger: Path | str) -> None:
        name = ledger.name if isinstance(ledger, Path) else "ledger"
        elsewhere = f"{name}-{hashlib.sha256(str(ledger).encode()).hexdigest()[:12]}"
        beside = [(ledger.parent, name)] if isinstance(ledger, Path) else []
        folders = user_data_path("ipyllm"), Path(tempfile.gettempdir())
        self._places = [*beside, *((folder, elsewhere) for folder in folders)]

    def keep_in_files(self, rows: Sequence[tuple[Table, Row]]) -> list[tuple[Path | OSError, int]]:
        """Write rows to a new file, to several where files may not be large (``ulimit -f``).

        Returns each path with the number of its rows, and each error with the number of rows that cannot be kept.
        """
        try:
            return [(self.keep(rows), len(rows))]
        except OSError as exc:
            if exc.errno != errno.EFBIG or len(rows) == 1:
                return [(exc, len(rows))]
        middle = len(rows) // 2
        return [*self.keep_in_files(rows[:middle]), *self.keep_in_files(rows[middle:])]

    def keep(self, rows: Sequence[tuple[Table, Row]]) -> Path:
        """Write rows to a new file and return its path; raise OSError if that is impossible."""
        lines = [
            json.dumps({"table": table.name, "row": _ended(row)}, default=_as_text, ensure_ascii=False)
            for table, row in rows
        ]
        failure: OSError | None = None
        for folder, name in self._places:
            path = folder / f"{name}.unwritten-{new_id()}.jsonl"
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with atomic_write(path) as file:
                    file.write("".join(f"{line}\n" for line in lines).encode())
            except OSError as exc:
                failure = failure or exc
            else:
                return path
        assert failure is not None
        raise failure

    def files(self) -> list[Path]:
        """Return the files that are there, oldest first, without those of other users."""
        patterns = ((folder, f"{glob.escape(name)}.unwritten-*.jsonl") for folder, name in self._places)
        return [path for folder, pattern in patterns for path in sorted(folder.glob(pattern)) if _is_mine(path)]


def _is_mine(path: Path) -> bool:
    try:
        return not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()
    except OSError:  # another process was faster
        return False


def _as_text(value: datetime | bytes) -> str:
    return value.isoformat() if isinstance(value, datetime) else b64encode(value).decode()


_FROM_TEXT: Final[Mapping[Kind, Callable[[str], Any]]] = {
    "time": datetime.fromisoformat,
    "packed": lambda text: unpack(b64decode(text)),
}


def _ended(row: Row) -> Row:
    """Return the row of a call that runs no more: nobody will finish it."""
    return row | {"status": "interrupted"} if row.get("status") == "running" else row


def read_rows(path: Path) -> Iterator[tuple[Table, Row] | None]:
    """Yield the table and the row of each line of a file; None for one that is damaged."""
    with path.open("rb") as file:
        for line in file:
            yield _read_line(line)


def _read_line(line: bytes) -> tuple[Table, Row] | None:
    try:
        entry: Any = json.loads(line)
        table = _TABLES[entry["table"]]
        row: Row = dict(entry["row"])
        for name, kind in table.writable.items():
            if row.get(name) is not None and kind in _FROM_TEXT:
                row[name] = _FROM_TEXT[kind](row[name])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    row = sanitize(row, columns=table.writable)
    return (table, row) if isinstance(row.get(table.key), str) and len(row) > 1 else None


def take_in_unwritten_rows(
    engine: sa.Engine,
    begin: Callable[[sa.Connection], None],
    unwritten: UnwrittenRows,
    upserts: Upserts,
    now: datetime,
    say: Callable[[str], None],
) -> None:
    """Write to the ledger the rows that earlier processes kept in files, and delete these."""
    for path in unwritten.files():
        try:
            entries = list(read_rows(path))
        except OSError as exc:
            _log.warning("%s cannot be read (%s).", path, exc.strerror)
            continue
        found = [entry for entry in entries if entry is not None]
        with engine.connect() as connection:
            begin(connection)
            for table in TABLES:
                upserts.execute(connection, [row for of, row in found if of is table], table, now)
            connection.commit()
        n_damaged = len(entries) - len(found)
        kept = path.with_name(f"{path.name}.corrupt") if n_damaged else path
        with suppress(FileNotFoundError):  # another process was faster
            path.rename(kept) if n_damaged else path.unlink()
        damaged = f"; {count(n_damaged, 'row')} could not be read and stayed there" if n_damaged else ""
        say(f"now has {count(len(found), 'row')} that an earlier process kept in {kept.name}{damaged}.")
