"""From rows of the ledger, or from columns of it, to DataFrames: the same dtypes, however many rows there are."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    import pyarrow as pa

    from ipyllm.ledger.arrow_read import Columns
    from ipyllm.ledger.columns import Kind

__all__ = ["frame_of", "frame_of_columns", "text_dtype"]


def frame_of(rows: Sequence[tuple[Any, ...]], columns: Mapping[str, Kind]) -> pd.DataFrame:
    """Return ``rows``, whose values stand in the order of ``columns``, as a DataFrame.

    Examples
    --------
    >>> frame_of([("a", 1), ("b", None)], {"model": "text", "n_chunks": "int"}).dtypes.to_dict()["n_chunks"]
    Int64Dtype()
    """
    import pandas as pd

    from ipyllm.dataframes.calls_frame import CallsFrame

    dtypes = {"text": text_dtype(), "json": "object", "float": "float64", "int": "Int64", "bool": "boolean"}
    values = zip(*rows, strict=True) if rows else ((),) * len(columns)
    series: dict[str, Any] = {}
    for (name, kind), column in zip(columns.items(), values, strict=True):
        if kind == "time":
            series[name] = pd.to_datetime(pd.Series(column, dtype="object"), utc=True).astype("datetime64[us, UTC]")
        else:
            series[name] = pd.Series(column, dtype=dtypes[kind])
    return CallsFrame(series)


def frame_of_columns(stored: Columns, columns: Mapping[str, Kind]) -> pd.DataFrame:
    """Return the values of ``stored``, as SQLite keeps them, as the DataFrame that :func:`frame_of` makes of rows.

    Examples
    --------
    >>> import pytest
    >>> pa = pytest.importorskip("pyarrow")
    >>> from ipyllm.ledger.arrow_read import Columns
    >>> stored = Columns({"tags": [pa.array(['{"arm": "a"}'])]}, order=None)
    >>> frame_of_columns(stored, {"tags": "json"})["tags"][0]
    {'arm': 'a'}
    """
    from ipyllm.dataframes.calls_frame import CallsFrame

    return CallsFrame({name: _series(stored.take(name), kind) for name, kind in columns.items()}, copy=False)


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
    """Return a dict of its own for each row. Most rows say what few do, and that is parsed once."""
    import numpy as np

    coded = column.dictionary_encode()
    texts = coded.dictionary.to_pylist()
    values = [json.loads(text) for text in texts]
    # By code; the last one, -1, is that of null.
    make = [
        *(
            value.copy if _is_flat(value) else partial(json.loads, text)
            for value, text in zip(values, texts, strict=True)
        ),
        _null,
    ]
    codes = coded.indices.fill_null(-1).to_pylist()
    return np.fromiter((make[code]() for code in codes), dtype=object, count=len(codes))


def _null() -> None:
    return None


def _is_flat(value: object) -> bool:
    return isinstance(value, dict) and not any(isinstance(item, dict | list) for item in value.values())


def text_dtype() -> Any:
    """Return the dtype of columns of text."""
    import pandas as pd

    # Before pandas 3 text without nulls and text with nulls were both objects.
    return "str" if int(pd.__version__.partition(".")[0]) > 2 else "object"  # noqa: PLR2004
