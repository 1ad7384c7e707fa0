"""Finds out whether SQLite could read all of a write-ahead log, of which it silently ignores what follows a wrong byte.

The format is in SQLite's documentation: a header of 32 bytes, then frames of a header of 24 bytes and a page. Frames
with the salts of the header are those in use, and the last of a transaction has the size of the database.
"""

from __future__ import annotations

import os
import shutil
import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import exc as sa_exc

from ipyllm.ledger.sqlite_file import is_busy
from ipyllm.ledger.wait_limit import BUSY_S, begin_writing

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

__all__ = ["WalFrames", "keep_if_ignored", "read_frames"]

_HEADER, _FRAME = 32, 24
_BYTE_ORDERS: Final = {0x377F0682: "<", 0x377F0683: ">"}  # of the checksum, by the magic number
_PAGE: Final = 4096  # where the header is damaged


class WalFrames(NamedTuple):
    """The frames of a log up to the end of its last transaction, and the salts by which SQLite knows them."""

    salts: bytes
    n_committed: int


def read_frames(log: Path) -> WalFrames:
    """Return what is in a log, without a look at the checksums of its pages; no frames if there is no log."""
    try:
        with log.open("rb") as file:
            header = file.read(_HEADER)
            is_valid = _is_valid(header)
            page_size = int.from_bytes(header[8:12], "big") if is_valid else _PAGE
            salts, committed, n_frames = header[16:24], 0, 0
            size = os.fstat(file.fileno()).st_size
            # The page of the last one may be cut, by a commit that failed.
            while len(frame := file.read(_FRAME)) == _FRAME and file.tell() + page_size <= size:
                n_frames += 1
                if n_frames == 1 and not is_valid:
                    salts = frame[8:16]
                if frame[8:16] == salts and frame[4:8] != bytes(4):
                    committed = n_frames
                file.seek(page_size, 1)
    except OSError:  # another process has removed it
        return WalFrames(b"", 0)
    return WalFrames(salts, committed)


def _is_valid(header: bytes) -> bool:
    """Return whether a log's header is whole, by its checksum."""
    if len(header) < _HEADER or (order := _BYTE_ORDERS.get(int.from_bytes(header[:4], "big"))) is None:
        return False
    words = struct.unpack(f"{order}6I", header[:24])
    first = second = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return struct.pack(">2I", first, second) == header[24:]


def keep_if_ignored(connection: sa.Connection, log: Path, before: WalFrames) -> str | None:
    """Copy a log of which SQLite ignores transactions, before they are overwritten, and return what to say of it.

    ``before`` is what was in it when the file was opened. Returns None if SQLite has read them all, or if another
    process has begun the log anew since then, or where that cannot be told.
    """
    if not before.n_committed or not 0 <= _n_frames_read(connection) < before.n_committed:
        return None
    try:
        begin_writing(connection, BUSY_S)  # once another process has ended the transaction that it was writing
    except sa_exc.OperationalError as exc:
        if not is_busy(exc):
            raise
        return None
    connection.rollback()
    if not 0 <= _n_frames_read(connection) < before.n_committed or read_frames(log) != before:
        return None
    kept = log.with_name(f"{log.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    try:
        _copy(log, kept)
    except OSError as exc:
        return f"may lack its latest rows: its log is damaged, and cannot be kept ({exc.strerror})."
    return f"may lack its latest rows: its log is damaged, and is kept as {kept.name}."


def _copy(log: Path, kept: Path) -> None:
    """Copy a log whole, or leave no file."""
    with log.open("rb") as damaged:
        target = os.open(kept, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(target, "wb") as copy:
                shutil.copyfileobj(damaged, copy)
        except BaseException:
            kept.unlink(missing_ok=True)
            raise


def _n_frames_read(connection: sa.Connection) -> int:
    """Return the frames that SQLite has read of the log, and copy them into the file; -1 if that cannot be told."""
    _busy, n_read, _n_copied = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
    return int(n_read)
