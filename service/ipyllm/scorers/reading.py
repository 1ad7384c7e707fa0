"""Reads the text of an answer and the right answers of its row, for all scorers, and makes texts comparable."""

from __future__ import annotations

import numbers
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from ipyllm.errors import bad_request
from ipyllm.scorers.scorer import ScoreFailure
from ipyllm.text.format import is_missing

__all__ = ["check_column", "comparable", "expected_answers", "response_text", "text_of_value"]

# The same text to a reader: all kinds of spaces, apostrophes, quotes and hyphens, and characters that are not seen.
_LOOK_ALIKES = str.maketrans(
    {
        **dict.fromkeys(
            "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "
        ),
        **dict.fromkeys("‘’ʼ", "'"),
        **dict.fromkeys("“”„", '"'),
        **dict.fromkeys("\u2010\u2011", "-"),
        **dict.fromkeys(
            "\u00ad\u200b\u200e\u200f\u2060\u2066\u2067\u2068\u2069\u202a\u202b\u202c\u202d\u202e\ufeff", ""
        ),
    }
)


def response_text(response: Any) -> str:
    """Return the text of a response in Unicode's form NFC, without reasoning in it (``<think>…</think>``)."""
    text = str(response.content).rpartition("</think>")[2]
    if text.lstrip().startswith("<think>"):
        return ""  # it was cut while it was thinking
    return unicodedata.normalize("NFC", text)


def comparable(text: str, *, ignore_case: bool = False) -> str:
    r"""Return a text in a form in which texts that look the same are equal.

    With ``ignore_case``, case is folded as for Unicode's canonical caseless match (The Unicode Standard, D145), so that
    ``STRASSE`` is ``straße``; and ``İ`` is an ``i``.

    Examples
    --------
    >>> comparable("L’Aquila\u00a01") == comparable("L'Aquila 1")
    True
    >>> comparable("STRASSE", ignore_case=True), comparable("İzmir", ignore_case=True)
    ('strasse', 'izmir')
    """
    if ignore_case:
        text = unicodedata.normalize("NFD", text).casefold().replace("i\u0307", "i")
    return unicodedata.normalize("NFC", text).translate(_LOOK_ALIKES)


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
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral) and float(value).is_integer():
        value = int(float(value))
    return unicodedata.normalize("NFC", str(value))


def check_column(scorer: str, column: Any) -> str:
    """Return ``column`` if it is a valid column name, else raise ``bad_request``."""
    if not isinstance(column, str) or not column:
        raise bad_request(
            f"{scorer} needs the column with the right answer, such as scorers.{scorer}('label'), not {column!r}."
        )
    return column
