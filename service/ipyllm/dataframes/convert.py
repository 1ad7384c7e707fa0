"""Conversion of rows or Arrow columns of the ledger to DataFrames, with the same dtypes for both."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    import pyarrow as pa

    from ipyllm.ledger.arrow_read import ArrowColumns
    from ipyllm.ledger.columns import Kind

__all__ = ["arrow_to_frame", "plain_list", "rows_to_frame", "text_dtype"]


def rows_to_frame(rows: Sequence[tuple[Any, ...]], columns: Mapping[str, Kind]) -> pd.DataFrame:
    """Return ``rows``, with values in the order of ``columns``, as a DataFrame."""
    import pandas as pd

    from ipyllm.dataframes.calls_frame import CallsFrame

    dtypes = {"text": text_dtype(), "json": "object", "float": "float64", "int": "Int64", "bool": "boolean"}
    values = zip(*rows, strict=True) if rows else ((),) * len(columns)
    series: dict[str, Any] = {}
    for (name, kind), column in zip(columns.items(), values, strict=True):
        if kind == "time":
            series[name] = pd.to_datetime(pd.Series(column, dtype="object"), utc=True).astype("datetime64[us, UTC]")
        elif _is_constant(column, kind):  # in a tenth of the time, and many are empty, or the same for all calls
            series[name] = pd.Series(column[:1], dtype=dtypes[kind]).repeat(len(column)).reset_index(drop=True)
        else:
            series[name] = pd.Series(column, dtype=dtypes[kind])
    return CallsFrame(series)


def _is_constant(column: Sequence[Any], kind: Kind) -> bool:
    """Return whether all values are the same; not for objects, which belong to one row each."""
    if not column or column[0] != column[-1] or (kind == "json" and column[0] is not None):
        return False
    return column.count(column[0]) == len(column)


def arrow_to_frame(stored: ArrowColumns, columns: Mapping[str, Kind]) -> pd.DataFrame:
    """Return the result of a large read as a DataFrame, equal to that of :func:`rows_to_frame`."""
    import pyarrow as pa

    from ipyllm.dataframes.calls_frame import CallsFrame

    series = {}
    for name in stored.largest_first():
        series[name] = _series(stored.take(name), columns[name])
        pa.default_memory_pool().release_unused()
    return CallsFrame({name: series[name] for name in columns}, copy=False)


def _series(column: pa.Array, kind: Kind) -> pd.Series[Any]:
    import pandas as pd
    import pyarrow as pa

    if kind == "json":
        return pd.Series(_parsed(column))
    if kind == "time":
        column = column.cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
    elif kind == "bool":
        column = column.cast(pa.bool_())
    dtypes = {"text": pd.api.types.pandas_dtype(text_dtype()), "int": pd.Int64Dtype(), "bool": pd.BooleanDtype()}
    series: pd.Series[Any] = column.to_pandas(types_mapper=lambda _: dtypes.get(kind))
    return series


def _parsed(column: pa.Array) -> Any:
    """Return parsed JSON, a separate object for each row. Equal texts without nesting are parsed once."""
    import numpy as np

    encoded = column.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    values = [json.loads(text) for text in texts]
    # Constructors by code; the last one, -1, is for null.
    constructors = [
        *(
            value.copy if _is_flat(value) else partial(json.loads, text)
            for value, text in zip(values, texts, strict=True)
        ),
        lambda: None,
    ]
    codes = encoded.indices.fill_null(-1).to_pylist()
    return np.fromiter((constructors[code]() for code in codes), dtype=object, count=len(codes))


def _is_flat(value: object) -> bool:
    return isinstance(value, dict) and not any(isinstance(item, dict | list) for item in value.values())


def plain_list(column: pd.Series[Any]) -> list[Any]:
    """Return the values of a column as Python has them, None for nulls: ten times as fast as iterating over text.

    Examples
    --------
    >>> import pandas as pd
    >>> plain_list(pd.Series(["a", None]))
    ['a', None]
    """
    missing: Any = None  # pandas' stubs know no None here
    values: list[Any] = column.to_numpy(dtype=object, na_value=missing).tolist()
    return values


def text_dtype() -> Any:
    """Return the dtype of text columns."""
    import pandas as pd

    # Before pandas 3, text columns are objects.
    return "str" if int(pd.__version__.partition(".")[0]) > 2 else "object"  # noqa: PLR2004
