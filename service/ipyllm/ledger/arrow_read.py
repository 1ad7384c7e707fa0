"""Large reads of an SQLite ledger into Arrow columns, without a Python object for every value.

ADBC brings its own SQLite library, and two of them in one process must never open the same file: when one closes it,
POSIX releases the locks that the other holds, and another kernel writes into the running transaction. So separate
processes read, half of the file each, and send it through pipes (docs/decisions/0006).
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from io import BufferedReader
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipyllm.ledger.query import merge
from ipyllm.ledger.reader_process import end_reader, last_words, log_slower_read, start_reader
from ipyllm.ledger.stored_values import read_json, read_time

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa
    import sqlalchemy as sa

    from ipyllm.ledger.columns import Kind, Row
    from ipyllm.ledger.query import Conditions

__all__ = ["MIN_ROWS", "N_READERS", "ArrowColumns", "is_available", "merge_columns", "read_columns"]

MIN_ROWS = 50_000
"""Smallest number of rows for which this is faster, process start included (see ``benchmarks/ledger.py``)."""

N_READERS = 2
"""Processes that read at once. With more, this process could not keep up with receiving."""

_SCRIPT = Path(__file__).with_name("arrow_read_process.py")
_OWN_MEMORY_BYTES = 1 << 18

_SAMPLE: Mapping[Kind, str] = {"text": "''", "json": "''", "time": "''", "float": "0.0", "int": "0", "bool": "0"}
"""A value of each kind, as SQL. ADBC infers a column's type from its first value, which must not be null."""

Chunks = dict[str, list["pa.Array"]]
"""Arrays of stored values, by column."""


def is_available() -> bool:
    """Return whether the extra ``tables`` is installed."""
    return bool(sys.executable) and all(map(_installed, ("pyarrow", "adbc_driver_sqlite")))


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # None in `sys.modules`
        return False


def read_columns(path: Path, selects: Sequence[sa.Select[Any]], columns: Mapping[str, Kind]) -> Chunks | None:
    """Return the rows of the statements ``selects``, unsorted and as SQLite stores them; None if that fails.

    Each statement returns ``columns``, given as names and kinds. Separate processes execute them at the same time.
    """
    from sqlalchemy.dialects import sqlite

    sample_row = ", ".join(f'{_SAMPLE[kind]} AS "{name}"' for name, kind in columns.items())
    # VACUUM renumbers rows and changes the schema version, so all parts must report the same version.
    sample_row += ", schema_version AS version FROM pragma_schema_version"
    statements = []
    for select in selects:
        rows = select.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
        statements.append(f"SELECT {sample_row} UNION ALL SELECT *, 0 FROM ({rows})")  # noqa: S608 - SQLAlchemy quotes
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    readers = [start_reader(_SCRIPT, path, ("-P",), env=environment) for _ in statements]
    try:
        # Imported here because the store may be opened first at interpreter exit, when this import is impossible.
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(len(readers)) as pool:
            parts = list(pool.map(_receive, readers, statements))
        if len({part.pop("version")[0][0].as_py() for part in parts}) == 1:
            return {name: [chunk for part in parts for chunk in _without_sample(part[name])] for name in columns}
        why = "it was rewritten in the meantime"
    except EOFError as exc:
        why = str(exc)
    finally:
        for reader in readers:
            end_reader(reader)
    log_slower_read(path, why)
    return None


def _receive(reader: subprocess.Popen[bytes], statement: str) -> Chunks:
    """Return the result of ``statement`` from ``reader``; raise EOFError with the reason if it ended early."""
    import pyarrow as pa

    assert reader.stdin is not None
    assert isinstance(reader.stdout, BufferedReader)
    try:
        reader.stdin.write(statement.encode())
        reader.stdin.close()
        fields = pa.ipc.read_schema(pa.py_buffer(_read_message(reader.stdout)))
        chunks: Chunks = {field.name: [] for field in fields}
        while True:
            for field in fields:
                message = _read_message(reader.stdout)
                if not message:
                    return chunks
                column = pa.ipc.read_record_batch(pa.py_buffer(message), pa.schema([field])).column(0)
                column.validate(full=True)  # SQLite's text may be no UTF-8
                chunks[field.name].append(column)
    except pa.ArrowInvalid as exc:
        raise EOFError(str(exc)) from None
    except (EOFError, BrokenPipeError):
        raise EOFError(last_words(reader)) from None


def _read_message(pipe: BufferedReader) -> bytearray | mmap:
    """Return the next message; the last message is empty.

    A large one has memory of its own, which the system has back as soon as its column is taken: in the heap, columns
    lie between one another, and a large read would keep all of them beside the frame.
    """
    head = pipe.read(8)
    size = int.from_bytes(head, "little")
    message = mmap(-1, size) if size >= _OWN_MEMORY_BYTES else bytearray(size)
    if len(head) < 8 or pipe.readinto(message) < size:  # noqa: PLR2004
        raise EOFError
    return message


def _without_sample(chunks: list[pa.Array]) -> list[pa.Array]:
    return [chunks[0][1:], *chunks[1:]]


@dataclass(frozen=True, slots=True)
class ArrowColumns:
    """Result of a large read. Each column can be taken once, and is sorted by time then."""

    chunks: Chunks
    order: pa.Array | None

    def take(self, name: str) -> pa.Array:
        """Remove and return one column, oldest row first, so that a large ledger is not held twice."""
        import pyarrow as pa

        chunks = self.chunks.pop(name)
        if pa.types.is_string(chunks[0].type):  # 32-bit offsets reach 2 GiB, which text may exceed
            for index, chunk in enumerate(chunks):
                chunks[index] = chunk.cast(pa.large_string())
        column = pa.concat_arrays(chunks)
        del chunks
        return column if self.order is None else column.take(self.order)

    def largest_first(self) -> list[str]:
        """Return the names of the columns that can still be taken: the largest take most memory while they are."""
        return sorted(self.chunks, key=lambda name: sum(chunk.nbytes for chunk in self.chunks[name]), reverse=True)


def merge_columns(chunks: Chunks, in_memory: Sequence[Row], query: Conditions) -> ArrowColumns:
    """Return ``chunks``, the result for ``query``, updated by the rows ``in_memory``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = query.columns
    kinds = [query.table.columns[name] for name in names]
    key, time = query.table.key, query.table.time
    if in_memory:
        ids = pa.array([row[key] for row in in_memory], pa.string())
        is_in_memory = [pc.is_in(chunk, ids) for chunk in chunks[key]]
        stored = []
        for name, kind in zip(names, kinds, strict=True):
            parts = list(zip(chunks[name], is_in_memory, strict=True))
            stored.append([value for chunk, mask in parts for value in _decoded(chunk.filter(mask), kind)])
            if any(mask.true_count for mask in is_in_memory):
                chunks[name] = [chunk.filter(pc.invert(mask)) for chunk, mask in parts]
        rows = merge(list(zip(*stored, strict=True)), in_memory, query.with_limit(None))
        values = zip(*rows, strict=True) if rows else ((),) * len(names)
        for name, kind, column in zip(names, kinds, values, strict=True):
            chunks[name].append(pa.array([_encoded(value, kind) for value in column], chunks[name][0].type))
    # Null times first, as in row-by-row reads: Arrow sorts null last, and no time sorts before "".
    times = pc.fill_null(pa.chunked_array(chunks[time]), "")
    keys = pa.table({"time": times, "key": pa.chunked_array(chunks[key])})
    order = pc.sort_indices(keys, sort_keys=[("time", "ascending"), ("key", "ascending")])
    return ArrowColumns(chunks, order if query.limit is None else order[max(0, len(order) - query.limit) :])


_DECODERS: Mapping[Kind, Callable[[Any], Any]] = {
    "json": read_json,
    "time": read_time,
    "bool": bool,
}


def _decoded(column: pa.Array, kind: Kind) -> list[Any]:
    """Return stored values in the form of rows in memory."""
    decode = _DECODERS.get(kind)
    values: list[Any] = column.to_pylist()
    return values if decode is None else [None if value is None else decode(value) for value in values]


def _encoded(value: Any, kind: Kind) -> Any:
    """Return a value of a row in memory in the form in which it is stored."""
    if value is None:
        return None
    if kind == "json":
        return json.dumps(value)
    if kind == "time":
        return f"{value:%Y-%m-%d %H:%M:%S.%f}"
    return int(value) if kind == "bool" else value
