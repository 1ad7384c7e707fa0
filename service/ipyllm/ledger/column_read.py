"""Reads of some columns of many rows of an SQLite ledger into arrays, without a Python object for every value.

A process of its own reads: in this one, SQLite would give up the interpreter and wait for it again at each row, while
a cell runs. It needs no Arrow, so it takes 15 MB; the processes of :mod:`ipyllm.ledger.arrow_read`, which are faster
where the texts of calls are read, take 160 MB each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BufferedReader
from math import nan
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipyllm.ledger.reader_process import end_reader, last_words, log_slower_read, start_reader

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    import numpy as np
    import sqlalchemy as sa

    from ipyllm.ledger.columns import Kind

__all__ = ["MIN_ROWS", "StoredColumns", "read_arrays"]

MIN_ROWS: Final = 2_000
"""Smallest number of rows for which this is faster than row by row, process start included."""

_SCRIPT: Final = Path(__file__).with_name("column_read_process.py")
_PIPE_BYTES: Final = 1 << 18  # at each reading of the pipe this thread waits for its turn, while a cell runs

_DTYPES: Final[Mapping[str, str]] = {"float": "f8", "int": "f8", "bool": "i1", "time": "i8", "text": "i4", "key": "i8"}
"""Numpy's name of the values of each kind; a text is a code, and a key a length."""

_NULLS: Final[Mapping[str, float]] = {"float": nan, "int": nan, "bool": -1, "time": -(1 << 63), "text": -1, "key": -1}


@dataclass(frozen=True, slots=True)
class StoredColumns:
    """Columns of rows, as arrays of equal length.

    Attributes
    ----------
    arrays : dict of ndarray
        By column: numbers as ``float64``, null as NaN; truth values as ``int8``, null as -1; times as microseconds
        since 1970 in UTC, null as the smallest ``int64``; texts as codes, null as -1; of the key the lengths in bytes.
        A column without values takes no memory, and cannot be written.
    texts : dict of list of str
        By column of text: what the codes stand for.
    keys : bytes
        Keys of all rows in UTF-8, one after the other.
    unwritten : tuple of str
        Keys of the rows that are in memory only, or have newer values there. They may be among the rows, with old
        values.
    """

    arrays: dict[str, np.ndarray[Any, Any]]
    texts: dict[str, list[str]]
    keys: bytes | bytearray
    unwritten: tuple[str, ...] = ()


def read_arrays(
    path: Path, count: sa.Select[Any], rows: sa.Select[Any], columns: Mapping[str, Kind], key: str
) -> StoredColumns | None:
    """Return the result of the statement ``rows``, in its order; None if that fails, or a value is damaged.

    ``count`` returns the number of the rows, ``columns`` are their names and kinds, one of them the ``key``.
    """
    from sqlalchemy.dialects import sqlite

    kinds = {name: "key" if name == key else kind for name, kind in columns.items()}
    count_sql, rows_sql = (
        str(statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
        for statement in (count, rows)
    )
    asked = json.dumps({"count": count_sql, "rows": rows_sql, "kinds": list(kinds.values())}).encode()
    try:
        reader = start_reader(_SCRIPT, path, ("-I", "-S"), bufsize=_PIPE_BYTES, pipesize=_PIPE_BYTES)
    except OSError as exc:
        why = f"no process could be started: {exc}"
    else:
        try:
            return _receive(reader, asked, kinds)
        except (EOFError, BrokenPipeError, ValueError):
            why = last_words(reader) or "its process ended"
        finally:
            end_reader(reader)
    log_slower_read(path, why)
    return None


def _receive(reader: subprocess.Popen[bytes], asked: bytes, kinds: Mapping[str, str]) -> StoredColumns:
    """Return what ``reader`` sends; raise EOFError or ValueError if it ended early."""
    import numpy as np

    assert reader.stdin is not None
    assert isinstance(reader.stdout, BufferedReader)
    reader.stdin.write(asked)
    reader.stdin.close()
    pipe = reader.stdout
    n = _read_number(pipe)
    nulls = {name: np.array(_NULLS[kind], _DTYPES[kind]) for name, kind in kinds.items()}
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    keys = bytearray()
    start = 0
    while size := _read_number(pipe):
        if start + size > n:
            raise EOFError
        for name, kind in kinds.items():
            null = nulls[name]
            if _read(pipe, 1) == b"\0":
                if name in arrays:
                    arrays[name][start : start + size] = null
                continue
            if name not in arrays:
                # Memory of its own, which the system has back as soon as the column is dropped.
                arrays[name] = np.frombuffer(mmap(-1, n * null.itemsize), null.dtype, n)
                arrays[name][:start] = null
            part = arrays[name][start : start + size].view("u1").data
            if pipe.readinto(part) < len(part):
                raise EOFError
            if kind == "key":
                keys += _read(pipe, _read_number(pipe))
        start += size
    texts = json.loads(pipe.read() or b"null")
    if start != n or texts is None:
        raise EOFError
    return StoredColumns(
        {name: arrays.get(name, np.broadcast_to(nulls[name], n)) for name in kinds},
        {name: found for (name, kind), found in zip(kinds.items(), texts, strict=True) if kind == "text"},
        keys,
    )


def _read_number(pipe: BufferedReader) -> int:
    return int.from_bytes(_read(pipe, 8), "little")


def _read(pipe: BufferedReader, size: int) -> bytes:
    found = pipe.read(size)
    if len(found) < size:
        raise EOFError
    return found
