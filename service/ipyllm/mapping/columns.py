"""Makes columns of answers: a Series or a DataFrame of the library whose table was given."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.field_columns import field_column, has_zone
from ipyllm.structured.fields import Field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.mapping.rows import Rows

__all__ = ["to_table"]


def to_table(rows: Rows, fields: Sequence[Field] | Field, answers: Sequence[Any]) -> Any:
    """Return a column for each field, or one column for a single field; null where ``answers`` has None.

    ``answers`` has one for each row: a dict with the fields, or the value of the single field.
    """
    column = _polars_column if rows.index is None else partial(field_column, index=rows.index)
    if isinstance(fields, Field):
        return column(fields, answers)
    columns = {
        field.name: column(field, [None if answer is None else answer.get(field.name) for answer in answers])
        for field in fields
    }
    if rows.library == "pandas":
        import pandas as pd

        return pd.DataFrame(columns, index=rows.index)
    import polars as pl

    return pl.DataFrame(columns)


def _polars_column(field: Field, values: Sequence[Any]) -> Any:
    import polars as pl

    if field.kind == "category":
        return pl.Series(field.name, values, dtype=pl.Enum(field.categories))
    dtypes: dict[str, Any] = {"int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean, "text": pl.String}
    if field.kind in {"date", "time"}:
        texts = pl.Series(field.name, values, dtype=pl.String)
        try:
            if field.kind == "date":
                return texts.str.to_date()
            return texts.str.to_datetime(time_zone="UTC" if has_zone(values) else None)
        except pl.exceptions.PolarsError:
            return texts
    try:
        return pl.Series(field.name, values, dtype=dtypes.get(field.kind), strict=field.kind == "int")
    except (pl.exceptions.PolarsError, TypeError, OverflowError):
        return pl.Series(field.name, values, dtype=pl.Object)
