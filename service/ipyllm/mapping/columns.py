"""Makes columns of answers: a Series or a DataFrame of the library whose table was given."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.convert import text_dtype
from ipyllm.structured.fields import Field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.mapping.rows import Rows

__all__ = ["to_table"]

_ZONE = re.compile(r"T.*(?:Z|[+-]\d\d:?\d\d)$")


def to_table(rows: Rows, fields: Sequence[Field] | Field, answers: Sequence[Any]) -> Any:
    """Return a column for each field, or one column for a single field; null where ``answers`` has None.

    ``answers`` has one for each row: a dict with the fields, or the value of the single field.
    """
    column = _pandas_column if rows.library == "pandas" else _polars_column
    if isinstance(fields, Field):
        return column(fields, answers, rows)
    columns = {
        field.name: column(field, [None if answer is None else answer.get(field.name) for answer in answers], rows)
        for field in fields
    }
    if rows.library == "pandas":
        import pandas as pd

        return pd.DataFrame(columns, index=rows.index)
    import polars as pl

    return pl.DataFrame(columns)


def _pandas_column(field: Field, values: Sequence[Any], rows: Rows) -> Any:
    import pandas as pd

    if field.kind == "category":
        return pd.Series(pd.Categorical(values, categories=list(field.categories)), index=rows.index)
    dtypes = {"int": "Int64", "float": "float64", "bool": "boolean", "text": text_dtype()}
    objects: pd.Series[Any] = pd.Series(values, index=rows.index, dtype="object")
    try:
        if field.kind in {"date", "time"}:
            return pd.to_datetime(objects, utc=_has_zone(values), format="ISO8601")
        return objects.astype(dtypes.get(field.kind, "object"))
    except (ValueError, TypeError, OverflowError):  # beyond what the dtype holds, such as an integer of 30 digits
        return objects


def _polars_column(field: Field, values: Sequence[Any], _rows: Rows) -> Any:
    import polars as pl

    if field.kind == "category":
        return pl.Series(field.name, values, dtype=pl.Enum(field.categories))
    dtypes: dict[str, Any] = {"int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean, "text": pl.String}
    if field.kind in {"date", "time"}:
        texts = pl.Series(field.name, values, dtype=pl.String)
        try:
            if field.kind == "date":
                return texts.str.to_date()
            return texts.str.to_datetime(time_zone="UTC" if _has_zone(values) else None)
        except pl.exceptions.PolarsError:
            return texts
    try:
        return pl.Series(field.name, values, dtype=dtypes.get(field.kind), strict=field.kind == "int")
    except (pl.exceptions.PolarsError, TypeError, OverflowError):
        return pl.Series(field.name, values, dtype=pl.Object)


def _has_zone(values: Sequence[Any]) -> bool:
    return any(value is not None and _ZONE.search(value) for value in values)
