"""What an answer says and what its row expects, as text to compare: the reading that the plain scorers share."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from ipyllm.errors import LLMError
from ipyllm.scorers.scorer import ScoreFailure

__all__ = ["check_column", "expected", "said", "text_of_value"]


def said(response: Any) -> str:
    """Return what the model said, without thoughts that its server left in the text.

    Examples
    --------
    >>> from ipyllm import ChatResponse
    >>> said(ChatResponse(content="<think>A capital?</think>Bern"))
    'Bern'
    """
    return unicodedata.normalize("NFC", str(response.content).rpartition("</think>")[2])


def expected(row: Mapping[str, Any], column: str) -> list[Any]:
    """Return the right answers in a column of the row: one, or each of a list.

    Raises
    ------
    ScoreFailure
        There is no such column, or nothing in it.
    """
    if column not in row:
        has = ", ".join(map(repr, row)) if row else "no columns"
        raise ScoreFailure(f"The row has no column {column!r}; it has {has}.")
    value = row[column]
    tolist = getattr(value, "tolist", None)  # an array out of a Parquet file
    if callable(tolist):
        value = tolist()
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    values = [item for item in (value if several else [value]) if not _is_null(item)]
    if not values:
        raise ScoreFailure(f"The row has nothing in its column {column!r}.")
    return values


def text_of_value(value: Any) -> str:
    """Return a right answer as text: a whole float as the integer that it was before a null came into its column.

    Examples
    --------
    >>> text_of_value(4.0), text_of_value(0.5), text_of_value("Bern")
    ('4', '0.5', 'Bern')
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return unicodedata.normalize("NFC", str(value))


def check_column(scorer: str, column: Any) -> str:
    """Return ``column`` if it can be the name of one.

    Raises
    ------
    LLMError
        ``bad_request``.
    """
    if not isinstance(column, str) or not column:
        raise LLMError(
            f"{scorer} wants the name of the column that holds the right answer, such as "
            f"scorers.{scorer}('label'), not {column!r}.",
            category="bad_request",
        )
    return column


def _is_null(value: Any) -> bool:
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float) and math.isnan(value)
