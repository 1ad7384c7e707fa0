"""From rows of the ledger to DataFrames: the same columns and dtypes, however many rows there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from ipyllm.ledger.columns import Kind

__all__ = ["frame_of"]


def frame_of(rows: Sequence[tuple[Any, ...]], columns: Mapping[str, Kind]) -> pd.DataFrame:
    """Return ``rows``, whose values stand in the order of ``columns``, as a DataFrame.

    Examples
    --------
    >>> frame_of([("a", 1), ("b", None)], {"model": "text", "n_chunks": "int"}).dtypes.to_dict()["n_chunks"]
    Int64Dtype()
    """
    import pandas as pd

    from ipyllm.calls_frame import CallsFrame

    # Before pandas 3 text without nulls and text with nulls were both objects.
    text = "str" if int(pd.__version__.partition(".")[0]) > 2 else "object"  # noqa: PLR2004
    dtypes = {"text": text, "json": "object", "float": "float64", "int": "Int64", "bool": "boolean"}
    values = zip(*rows, strict=True) if rows else ((),) * len(columns)
    series: dict[str, Any] = {}
    for (name, kind), column in zip(columns.items(), values, strict=True):
        if kind == "time":
            series[name] = pd.to_datetime(pd.Series(column, dtype="object"), utc=True).astype("datetime64[us, UTC]")
        else:
            series[name] = pd.Series(column, dtype=dtypes[kind])
    return CallsFrame(series)
