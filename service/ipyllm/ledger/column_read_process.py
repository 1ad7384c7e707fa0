"""Script that reads one statement's rows from an SQLite file and writes their columns to stdout as arrays.

:mod:`ipyllm.ledger.column_read` runs it in a separate process and explains why. It needs nothing but the standard
library: it starts in 30 ms and takes 15 MB. It takes the file's URI as argument and from stdin, as JSON, the statements
and the kinds of the columns. It writes the number of rows; then in batches the number of their rows and each column, or
a zero for a column without values; then, after an empty batch, the texts that stand for the codes.
"""

from __future__ import annotations

import json
import math
import sqlite3
import sys
from array import array
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_BATCH_ROWS = 1_024
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - SQLite stores no zone
_NO_TIME = -(1 << 63)  # numpy's NaT
_MICROSECOND = timedelta(microseconds=1)


def main() -> None:
    """Run the script."""
    out = sys.stdout.buffer
    asked = json.load(sys.stdin)
    connection = sqlite3.connect(sys.argv[1], uri=True, timeout=5.0, isolation_level=None)
    connection.execute("PRAGMA query_only=1")
    connection.execute("PRAGMA cache_size=-500")  # kilobytes: each page is read once
    connection.execute("BEGIN")  # so that the number is that of the rows
    out.write(_number(connection.execute(asked["count"]).fetchone()[0]))
    rows = connection.execute(asked["rows"])
    codes: list[dict[Any, int]] = [{} for _ in asked["kinds"]]
    while batch := rows.fetchmany(_BATCH_ROWS):
        out.write(_number(len(batch)))
        for kind, column, known in zip(asked["kinds"], zip(*batch, strict=True), codes, strict=True):
            is_empty = column[0] is None and column.count(None) == len(column)
            out.write(b"\0" if is_empty else b"\1")
            for part in () if is_empty else _encoded(kind, column, known):
                out.write(part)
    out.write(_number(0))
    out.write(json.dumps([list(known) for known in codes]).encode())
    out.flush()


def _encoded(kind: str, column: Sequence[Any], known: dict[Any, int]) -> list[bytes | array[Any]]:
    """Return a column as bytes. Raises ValueError or TypeError for a value that is not of its kind."""
    types = {*map(type, column)} - {type(None)}
    if kind == "float" and types <= {float, int}:
        return [array("d", [math.nan if value is None else value for value in column])]
    if kind == "int" and types <= {int}:
        return [array("d", [math.nan if value is None else value for value in column])]
    if kind == "bool" and {*column} <= {0, 1, None}:
        return [array("b", [-1 if value is None else int(value) for value in column])]
    if kind == "time":
        return [array("q", map(_microseconds, column))]
    if kind == "key" and types == {str} and None not in column:
        texts = [text.encode() for text in column]
        return [array("q", map(len, texts)), _number(sum(map(len, texts))), b"".join(texts)]
    if kind == "text" and types <= {str}:
        return [array("i", [-1 if text is None else known.setdefault(text, len(known)) for text in column])]
    raise ValueError(f"a value is no {kind}")


def _microseconds(stored: str | None) -> int:
    if stored is None:
        return _NO_TIME
    moment = datetime.fromisoformat(stored)
    return ((moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment) - _EPOCH) // _MICROSECOND


def _number(n: int) -> bytes:
    return n.to_bytes(8, "little")


if __name__ == "__main__":
    try:
        main()
    except Exception as exc:  # noqa: BLE001 - the caller falls back to another way of reading
        sys.exit(str(exc).partition("\n")[0])
