"""Reads the rows of a table of pandas or polars, as they are when a call of ``llm_map`` begins."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ipyllm.errors import bad_request
from ipyllm.validate import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

__all__ = ["VALUE", "Library", "Rows", "read_rows"]

VALUE = "value"
"""Name of the values of a series in a template, beside the series' own name."""

Library = Literal["pandas", "polars"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows of a table."""

    library: Library
    columns: tuple[str, ...]
    index: pd.Index[Any] | None  # of a table of pandas
    is_series: bool
    _values: list[tuple[Any, ...]]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the values of each row by column."""
        return (dict(zip(self.columns, values, strict=True)) for values in self._values)


def read_rows(data: Any) -> Rows:
    """Return the rows of a DataFrame or Series of pandas or polars; raise ``bad_request`` for anything else."""
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")  # a table exists only if it was imported
    if pandas is not None and isinstance(data, pandas.Series):
        return _from_series("pandas", data.name, data.tolist(), data.index)
    if pandas is not None and isinstance(data, pandas.DataFrame):
        return Rows("pandas", _names(data.columns), data.index, False, list(data.itertuples(index=False, name=None)))
    if polars is not None and isinstance(data, polars.Series):
        return _from_series("polars", data.name, data.to_list(), None)
    if polars is not None and isinstance(data, polars.DataFrame):
        return Rows("polars", _names(data.columns), None, False, data.rows())
    if polars is not None and isinstance(data, polars.LazyFrame):
        raise bad_request("llm_map takes a DataFrame or Series, not a LazyFrame: call .collect() first.")
    what = type(data).__name__
    raise bad_request(
        f"llm_map takes a DataFrame or Series of pandas or polars, not {what}"
        + (": write pd.Series(…)." if isinstance(data, list | tuple) else ".")
    )


def _from_series(library: Library, name: Any, values: list[Any], index: Any) -> Rows:
    columns = tuple(
        dict.fromkeys([VALUE, *([as_text("The name of a column", name)] if name not in (None, "") else [])])
    )
    return Rows(library, columns, index, True, [(value,) * len(columns) for value in values])


def _names(columns: Iterable[Any]) -> tuple[str, ...]:
    names = tuple(as_text("The name of a column", name) for name in columns)
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise bad_request(f"Several columns are named {twice!r}: rename them, so that a template can tell them apart.")
    return names
