"""Summarizes tables of pandas and Polars for a prompt: shape, types, missing values, and rows as CSV.

Labels of rows are written unless they are pandas' own 0, 1, 2, …. The summary says how many rows and columns it leaves
out. Rows that a template chose (``{{ df | head(20) }}``) are written all, and whole.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from ipyllm.conversations.tokens import estimate
from ipyllm.templates.tables import ChosenRows
from ipyllm.text.format import count, shorten
from ipyllm_magics.prompt.table_views import CELL_CHARS, PandasView, table_view

if TYPE_CHECKING:
    from ipyllm_magics.prompt.table_views import TableView

__all__ = ["summarize_table"]

_FIELDS_SHARE = 0.6  # of the budget; the rest is for the rows
_MAX_FIELDS = 1_000
_HEADING = 20  # tokens of the line above the rows


def summarize_table(value: Any, budget: int) -> str | None:
    """Return a summary in at most ``budget`` tokens of a table, column or index; None for anything else.

    Chosen rows may take more.

    Examples
    --------
    >>> import pandas
    >>> cups = pandas.Series([3, 5], index=pandas.Index([1987, 1988], name="year"), name="cups", dtype="int64")
    >>> print(summarize_table(cups, 100))
    Series 'cups' of 2 values, int64, from 3 to 5, mean 4:
    - year (index): int64
    Rows as CSV:
    year,cups
    1987,3
    1988,5
    """
    which = "first"
    rows = table = value
    if isinstance(value, ChosenRows):
        rows, table, which = value
    view, shown = table_view(table), table_view(rows)
    if view is None or shown is None:
        return None
    limit = budget if rows is value else None
    if not view.is_frame and not shown.is_labelled:
        return _values(view, shown, which, limit)
    return _rows(view, shown, which, budget, limit)


def _rows(view: TableView, shown: TableView, which: str, budget: int, limit: int | None) -> str:
    """Return the description of a table with rows of it, as many as fit into ``limit`` tokens."""
    total, columns = view.shape
    lines = [f"{_title(view)}:", *(f"- {name}: {dtype}" for name, dtype in shown.labels())]
    listed = columns
    if view.is_frame:
        fields = [
            f"- {name}: {dtype}" + (f", {missing:,} missing" if missing else "")
            for name, dtype, missing in islice(view.fields(), _MAX_FIELDS)
        ]
        listed = _fitting(fields, int(_FIELDS_SHARE * budget) - estimate("\n".join(lines)))
        lines += fields[:listed]
        lines += [f"- … and {count(columns - listed, 'more column')}"] if listed < columns else []
    if not (shown.shape[0] and columns):
        return "\n".join(lines)
    # No row has less than a token.
    header, *rows = shown.csv(listed, shown.shape[0] if limit is None else budget, CELL_CHARS if limit else None)
    fit = len(rows)
    if limit is not None:
        fit = _fitting(rows, limit - estimate("\n".join([*lines, header])) - _HEADING, least=0)
    what = "Rows" if fit == total and which != "random" else f"{which.capitalize()} {fit:,} of {count(total, 'row')}"
    if not fit:
        return "\n".join([*lines, f"None of its {count(total, 'row')} is shown."])
    narrow = f" and {listed:,} of {count(columns, 'column')}" if listed < columns else ""
    return "\n".join([*lines, f"{what}{narrow} as CSV:", header, *rows[:fit]])


def _values(view: TableView, shown: TableView, which: str, limit: int | None) -> str:
    """Return the description of a column with values of it, one after the other."""
    total, title = view.shape[0], _title(view)
    values = shown.values(shown.shape[0] if limit is None else limit)
    texts = ["missing" if value is None else _text(value, short=limit is not None) for value in values]
    fit = len(texts) if limit is None else _fitting(texts, limit - estimate(title) - _HEADING, between=2)
    if not fit:
        return title
    which = "values" if fit == total and which != "random" else f"{which} {fit:,} of {count(total, 'value')}"
    return f"{title}; {which}: {', '.join(texts[:fit])}"


def _text(value: Any, *, short: bool) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return shorten(text, CELL_CHARS, fold=False) if short else text


def _title(view: TableView) -> str:
    kind = f"{view.library}{type(view.table).__name__}"
    rows, columns = view.shape
    if view.is_frame:
        by = view.column_names()
        return f"{kind} of {count(rows, 'row')} and {count(columns, 'column')}" + (f", one for each {by}" if by else "")
    if isinstance(view, PandasView) and view.is_labelled and not hasattr(view.table, "index"):
        return f"{kind} of {count(rows, 'row')}"
    missing = view.missing()
    name = f" {_text(view.name, short=True)}" if view.name is not None else ""
    title = f"{kind}{name} of {count(rows, 'value')}, {view.dtype()}" + (f", {missing:,} missing" if missing else "")
    if rows == missing:
        return title
    if view.is_number():
        title += f", from {view.table.min():.6g} to {view.table.max():.6g}"
        return title + (f", mean {view.table.mean():.6g}" if hasattr(view.table, "mean") else "")
    return f"{title}, from {view.table.min()} to {view.table.max()}" if view.is_time() else title


def _fitting(lines: list[str], budget: int, *, least: int = 1, between: int = 1) -> int:
    """Return how many of the lines fit, at least ``least``, with ``between`` tokens between two of them."""
    tokens = 0
    for index, line in enumerate(lines):
        tokens += estimate(line) + between
        if tokens > budget and index >= least:
            return index
    return len(lines)
