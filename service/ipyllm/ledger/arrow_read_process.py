"""Script that reads one statement's rows from an SQLite file with ADBC and writes them to stdout as Arrow columns.

:mod:`ipyllm.ledger.arrow_read` runs it in a separate process and explains why. It takes the file's URI as argument
and the statement from stdin, and does not import ipyllm. Each message comes after its length: the schema, then every
column of every batch, so that the receiver can free columns one by one.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["main"]

_BATCH_ROWS = 65_536


def main() -> None:
    """Run the script."""
    from adbc_driver_sqlite import dbapi

    out = sys.stdout.buffer

    def send(message: pa.Buffer) -> None:
        out.write(message.size.to_bytes(8, "little"))
        out.write(message)

    with dbapi.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout=5000")
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(_BATCH_ROWS)})
        cursor.execute(sys.stdin.buffer.read().decode())
        with cursor.fetch_record_batch() as batches:
            send(batches.schema.serialize())
            for batch in batches:
                for name in batch.schema.names:
                    send(batch.select([name]).serialize())
    out.write((0).to_bytes(8, "little"))
    out.flush()


if __name__ == "__main__":
    try:
        main()
    except Exception as exc:  # noqa: BLE001 - the caller falls back to another way of reading
        sys.exit(str(exc).partition("\n")[0])
