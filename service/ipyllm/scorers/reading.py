"""Reads the text of an answer and the right answers of its row, for all scorers."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from ipyllm.errors import bad_request
from ipyllm.scorers.scorer import ScoreFailure
from ipyllm.text.format import is_missing

__all__ = ["check_column", "expected_answers", "response_text", "text_of_value"]


def response_text(response: Any) -> str:
    """Return the text of a response, without reasoning that its server left in it (``<think>…</think>``)."""
    return unicodedata.normalize("NFC", str(response.content).rpartition("</think>")[2])


def expected_answers(row: Mapping[str, Any], column: str) -> list[Any]:
    """Return the right answers in a column of the row as a list; raise ScoreFailure if there are none."""
    if column not in row:
        has = ", ".join(map(repr, row)) if row else "no columns"
        raise ScoreFailure(f"The row has no column {column!r}; it has {has}.")
    value = row[column]
    tolist = getattr(value, "tolist", None)  # an array from a Parquet file
    if callable(tolist):
        value = tolist()
    is_list = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    values = [item for item in (value if is_list else [value]) if not is_missing(item)]
    if not values:
        raise ScoreFailure(f"The row has no value in its column {column!r}.")
    return values


def text_of_value(value: Any) -> str:
    """Return an expected answer as text; 4.0 as 4, since pandas turns integers into floats."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return unicodedata.normalize("NFC", str(value))


def check_column(scorer: str, column: Any) -> str:
    """Return ``column`` if it is a valid column name, else raise ``bad_request``."""
    if not isinstance(column, str) or not column:
        raise bad_request(
            f"{scorer} needs the column with the right answer, such as scorers.{scorer}('label'), not {column!r}."
        )
    return column
