"""Makes a column of pandas of the values of a schema's field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.convert import text_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from ipyllm.structured.fields import Field

__all__ = ["field_column", "has_zone"]

_ZONE = re.compile(r"T.*(?:Z|[+-]\d\d:?\d\d)$")


def field_column(field: Field, values: Sequence[Any], index: pd.Index[Any]) -> pd.Series[Any]:
    """Return the values of a field, as JSON has them or None, in the dtype of its kind; objects if they do not fit it.

    Examples
    --------
    >>> import pandas as pd
    >>> from ipyllm.structured.fields import Field
    >>> field_column(Field("stars", "int"), [4, None], pd.RangeIndex(2)).dtype
    Int64Dtype()
    """
    import pandas as pd

    if field.kind == "category":
        return pd.Series(pd.Categorical(values, categories=list(field.categories)), index=index)
    dtypes = {"int": "Int64", "float": "float64", "bool": "boolean", "text": text_dtype()}
    objects: pd.Series[Any] = pd.Series(values, index=index, dtype="object")
    try:
        if field.kind in {"date", "time"}:
            return pd.to_datetime(objects, utc=has_zone(values), format="ISO8601")
        return objects.astype(dtypes.get(field.kind, "object"))
    except (ValueError, TypeError, OverflowError):  # beyond what the dtype holds, such as an integer of 30 digits
        return objects


def has_zone(values: Sequence[Any]) -> bool:
    """Return whether one of the times, as ISO 8601 writes them, has a time zone."""
    return any(value is not None and _ZONE.search(value) for value in values)
