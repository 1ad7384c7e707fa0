"""Calls from the ledger to Parquet page by page, as Arrow columns, without a Python object for every value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ipyllm.dataframes.convert import rows_to_frame
from ipyllm.dataframes.filters import read_page
from ipyllm.ledger.ledger import READ_WAIT_S
from ipyllm.ledger.wait_limit import wait_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pandas as pd
    import pyarrow as pa

    from ipyllm.ledger import Ledger
    from ipyllm.ledger.columns import Kind
    from ipyllm.ledger.query import Conditions

__all__ = ["arrow_pages", "schema_of"]


def schema_of(columns: Mapping[str, Kind]) -> pa.Schema:
    """Return the schema of a file with these columns of the ledger, also where all of their values are null."""
    import pyarrow as pa

    schema = pa.Schema.from_pandas(rows_to_frame((), columns), preserve_index=False)
    for index, field in enumerate(schema):
        if columns[field.name] in {"text", "json"}:
            schema = schema.set(index, pa.field(field.name, pa.large_string()))
    return schema


def arrow_pages(
    query: Conditions, ledger: Ledger, schema: pa.Schema, to_plain: Callable[[pd.DataFrame], pd.DataFrame]
) -> Iterator[pa.Table]:
    """Yield the rows of ``query`` in pages, oldest first; at least one, which may be empty.

    ``to_plain`` makes JSON of the dicts in a page that had to be read row by row.
    """
    import pyarrow as pa

    for page in ledger.pages(query) or (query,):
        table = _large_page(page, ledger, schema)
        if table is None:
            table = pa.Table.from_pandas(to_plain(read_page(page, ledger)), schema=schema, preserve_index=False)
        yield table
        del table  # before the next is read
        pa.default_memory_pool().release_unused()


def _large_page(page: Conditions, ledger: Ledger, schema: pa.Schema) -> pa.Table | None:
    """Return a page as a table; None for few rows, or if a value is damaged, which a read by rows can name."""
    import pyarrow as pa

    try:
        with wait_limit(READ_WAIT_S):
            stored = ledger.read_large(page)
        if stored is None:
            return None
        return pa.table([_column(stored.take(field.name), field, page) for field in schema], schema=schema)
    except (ValueError, TypeError, NotImplementedError):  # those of Arrow among them
        return None


def _column(column: pa.Array, field: pa.Field, page: Conditions) -> pa.Array:
    import pyarrow as pa

    kind = page.table.columns[field.name]
    if kind == "json":
        encoded = column.dictionary_encode()
        texts = pa.array(map(_readable, encoded.dictionary.to_pylist()), field.type)
        return texts.take(encoded.indices)
    if kind == "time":
        column = column.cast(pa.timestamp("us"))
    return column.cast(field.type)


def _readable(text: str) -> str:
    """Return JSON without escapes for letters; raise ValueError if it is damaged."""
    value = json.loads(text)
    return json.dumps(value, ensure_ascii=False) if "\\u" in text else text
