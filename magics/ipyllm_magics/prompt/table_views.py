"""What a summary reads of a table of pandas or Polars: its columns, the labels of its rows, and its rows as CSV."""

from __future__ import annotations

import csv
import io
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ipyllm.text.format import shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CELL_CHARS", "PandasView", "PolarsView", "TableView", "table_view"]

CELL_CHARS = 80
"""Most characters of a name, a type, and a cell of rows that were not chosen."""

_NUMBERS, _TIMES = "iuf", "mM"  # kinds of NumPy's types
_END_OF_ROW = "\x1e"  # a cell may hold line ends
_TEXTS = (str, list, dict, tuple, set)


class PandasView:
    """A DataFrame, Series or Index of pandas."""

    library = ""

    def __init__(self, table: Any) -> None:
        self.table = table
        self.is_frame = hasattr(table, "columns")
        self.is_labelled = self._is_labelled()

    def _is_labelled(self) -> bool:
        """Whether its rows have labels besides 0, 1, 2, …; those of an index are its values."""
        pandas = sys.modules["pandas"]
        if not hasattr(self.table, "index"):
            return isinstance(self.table, pandas.MultiIndex)
        labels = self.table.index
        return labels.name is not None or not labels.equals(pandas.RangeIndex(len(labels)))

    @cached_property
    def _labels(self) -> Any:
        """The labels as a table of their own, with a column for each level."""
        labels = self.table.index if hasattr(self.table, "index") else self.table
        unnamed = "level {}" if labels.nlevels > 1 else "index"
        names = [str(unnamed.format(i) if name is None else name) for i, name in enumerate(labels.names)]
        levels = {i: labels.get_level_values(i) for i in range(labels.nlevels)}
        return sys.modules["pandas"].DataFrame(levels).set_axis(names, axis=1)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, without the labels."""
        return len(self.table), self.table.shape[1] if self.is_frame else 1

    def labels(self) -> Iterator[tuple[str, str]]:
        """Yield name and type of each level of the labels."""
        if self.is_labelled:
            for name, dtype in self._labels.dtypes.items():
                yield "index" if name == "index" else f"{_short(name)} (index)", _pandas_type(dtype)

    def column_names(self) -> str:
        """Return what the columns stand for, as in a pivot table; empty if they are just names."""
        names = [name for name in self.table.columns.names if name is not None] if self.is_frame else []
        return " / ".join(map(_short, names))

    def fields(self) -> Iterator[tuple[str, str, int]]:
        """Yield name, type and number of missing values of each column."""
        for label, dtype, missing in zip(self.table.columns, self.table.dtypes, self.table.isna().sum(), strict=True):
            yield _column_name(label), _pandas_type(dtype), int(missing)

    def csv(self, columns: int, rows: int, cell_chars: int | None) -> list[str]:
        """Return the first rows as CSV, below the names of the columns; cells are cut if they have to be."""
        pandas = sys.modules["pandas"]
        parts = [self._labels.iloc[:rows]] if self.is_labelled else []
        if self.is_frame:
            part = self.table.iloc[:rows, :columns].reset_index(drop=True)
            parts.append(part.set_axis([_column_name(label) for label in part.columns], axis=1))
        elif hasattr(self.table, "index"):
            name = "value" if self.table.name is None else _column_name(self.table.name)
            parts.append(self.table.iloc[:rows].reset_index(drop=True).to_frame(name))
        shown = pandas.concat(parts, axis=1)
        if cell_chars is not None:
            shown = shown.map(lambda value: _short(value, cell_chars) if isinstance(value, _TEXTS) else value)
        return str(shown.to_csv(index=False, lineterminator=_END_OF_ROW)).split(_END_OF_ROW)[:-1]

    @property
    def name(self) -> Any:
        """The name of a column."""
        return self.table.name

    def dtype(self) -> str:
        """Return the type of a column."""
        return _pandas_type(self.table.dtype)

    def missing(self) -> int:
        """Return how many values of a column are missing."""
        return int(self.table.isna().sum())

    def is_number(self) -> bool:
        """Return whether a column holds numbers."""
        return getattr(self.table.dtype, "kind", "") in _NUMBERS

    def is_time(self) -> bool:
        """Return whether a column holds dates or durations."""
        return getattr(self.table.dtype, "kind", "") in _TIMES

    def values(self, rows: int) -> list[Any]:
        """Return the first values of a column, None for one that is missing."""
        part = self.table[:rows]
        return [None if missing else value for value, missing in zip(part, part.isna(), strict=True)]


class PolarsView:
    """A DataFrame or Series of Polars, whose rows have no labels."""

    library = "Polars "
    is_labelled = False

    def __init__(self, table: Any) -> None:
        self.table = table
        self.is_frame = hasattr(table, "columns")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.table), self.table.width if self.is_frame else 1

    def labels(self) -> Iterator[tuple[str, str]]:
        """Yield nothing."""
        yield from ()

    def column_names(self) -> str:
        """Return an empty text."""
        return ""

    def fields(self) -> Iterator[tuple[str, str, int]]:
        """Yield name, type and number of missing values of each column."""
        for column in self.table.get_columns():
            yield _short(column.name), _short(column.dtype), column.null_count()

    def csv(self, columns: int, rows: int, cell_chars: int | None) -> list[str]:
        """Return the first rows as CSV, below the names of the columns; cells are cut if they have to be."""
        part = self.table[:rows, :columns]
        lines = [_csv_line([_short(name) for name in part.columns])]
        for row in part.iter_rows():
            cells = ["" if value is None else str(value) for value in row]
            lines.append(_csv_line([_short(cell, cell_chars) if cell_chars else cell for cell in cells]))
        return lines

    @property
    def name(self) -> Any:
        """The name of a column, None for an empty one."""
        return self.table.name or None

    def dtype(self) -> str:
        """Return the type of a column."""
        return _short(self.table.dtype)

    def missing(self) -> int:
        """Return how many values of a column are missing."""
        return int(self.table.null_count())

    def is_number(self) -> bool:
        """Return whether a column holds numbers."""
        return bool(self.table.dtype.is_numeric())

    def is_time(self) -> bool:
        """Return whether a column holds dates, times or durations."""
        return bool(self.table.dtype.is_temporal())

    def values(self, rows: int) -> list[Any]:
        """Return the first values of a column, None for one that is missing."""
        return list(self.table[:rows])


TableView = PandasView | PolarsView


def table_view(value: Any) -> TableView | None:
    """Return what a summary reads of a table, column or index of pandas or Polars; None for anything else."""
    if isinstance(value, _classes("pandas", "DataFrame", "Series", "Index")):
        return PandasView(value)
    return PolarsView(value) if isinstance(value, _classes("polars", "DataFrame", "Series")) else None


def _classes(library: str, *names: str) -> tuple[type, ...]:
    """Return classes of a library, none if it is not loaded."""
    loaded = sys.modules.get(library)
    return tuple(getattr(loaded, name) for name in names if hasattr(loaded, name))


def _column_name(label: Any) -> str:
    return _short(" / ".join(map(str, label)) if isinstance(label, tuple) else label)


def _pandas_type(dtype: Any) -> str:
    if not hasattr(dtype, "categories"):
        return _short(dtype)
    between = " < " if dtype.ordered else ", "
    return _short(f"category ({between.join(map(str, dtype.categories[:CELL_CHARS]))})")


def _csv_line(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _short(value: Any, limit: int = CELL_CHARS) -> str:
    return shorten(str(value), limit, fold=False)
