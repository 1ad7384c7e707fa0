"""The scorer that compares numbers: the last one in the answer with the right one, within a tolerance."""

from __future__ import annotations

import math
import numbers
import re
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ipyllm.errors import LLMError
from ipyllm.scorers.reading import check_column, expected, said
from ipyllm.scorers.scorer import ScoreFailure, Scorer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["last_number", "numeric"]

Decimals = Literal[".", ","]


class _Number(NamedTuple):
    value: float
    percent: bool


def _pattern(decimal: Decimals) -> re.Pattern[str]:
    mark, thousands = (r"\.", ",") if decimal == "." else (",", r"\.")
    # Between groups of three: the other mark, an underscore, an apostrophe, or a space that does not break.
    group = rf"[{thousands}_'’\u00a0\u202f\u2009]"
    return re.compile(
        rf"""(?<![\w{mark}])                                # not within a word, a version, another number
        (?P<sign>(?<![\w)\]])[-+−–])?[$€£¥]?               # "5-3" ends in 3, not in -3
        (?P<whole>\d{{1,3}}(?:{group}\d{{3}})+(?!\d)|\d+|(?={mark}\d))
        (?:{mark}(?P<fraction>\d+))?
        (?:[eE](?P<exponent>[-+−]?\d{{1,5}})(?!\w)|\s?[×x*·]\s?10(?:\^|\*\*)\{{?(?P<power>[-+−]?\d{{1,5}})\}}?)?
        (?P<percent>\s?\\?%)?""",
        re.VERBOSE,
    )


_PATTERNS = {decimal: _pattern(decimal) for decimal in (".", ",")}


def last_number(text: str, decimal: Decimals = ".") -> _Number | None:
    """Return the last number in a text, and whether a percent sign follows it; None if there is none.

    Examples
    --------
    >>> last_number("Of 1,200 people 25 % came, so it is −$1,234.50.")
    _Number(value=-1234.5, percent=False)
    >>> last_number("about 6.02 × 10^23"), last_number("about 12%"), last_number("many")
    (_Number(value=6.02e+23, percent=False), _Number(value=12.0, percent=True), None)
    """
    last = None
    for last in _PATTERNS[decimal].finditer(text):  # noqa: B007 - the last one is what is wanted
        pass
    if last is None:
        return None
    sign = "-" if last["sign"] in {"-", "−", "–"} else ""
    whole = re.sub(r"\D", "", last["whole"]) or "0"
    exponent = (last["exponent"] or last["power"] or "0").replace("−", "-")
    return _Number(float(f"{sign}{whole}.{last['fraction'] or '0'}e{exponent}"), last["percent"] is not None)


def numeric(
    column: str, *, rel_tol: float = 1e-6, abs_tol: float = 0.0, decimal: Decimals = ".", name: str = "numeric"
) -> Scorer:
    """Whether the last number in the answer is the right one.

    Parameters
    ----------
    column : str
        Holds the right number, or text that ends in it; where it holds a list, each of them is right.
    rel_tol, abs_tol : float
        As of :func:`math.isclose`: right if ``|a − b| ≤ max(rel_tol · max(|a|, |b|), abs_tol)``. For an answer to two
        decimals say ``abs_tol=0.005``.
    decimal : str
        The decimal mark in answers and text: with ``"."`` commas separate thousands (``1,234.5``), with ``","`` it is
        the other way round.
    name : str
        Of the column of scores.

    Notes
    -----
    The last number, because models reason first and answer last; so "42, which is more than 40" reads as 40. Read are
    signs, thousands (also ``1_000``, ``1'000``), ``1.5e3`` and ``1.5 × 10^3``, currency signs. A percentage is right
    both as the number before the sign and as the fraction: "12 %" is 12 and 0.12, because tables have it either way.
    Not read are fractions (``1/2`` ends in 2) and words ("twelve"). An answer without a number is wrong.

    Examples
    --------
    >>> from ipyllm import ChatResponse, scorers
    >>> scorers.numeric("sum").call(ChatResponse(content="2 + 2 makes 4."), {"sum": 4})
    True
    >>> scorers.numeric("share", abs_tol=0.005).call(ChatResponse(content="About 33 %."), {"share": 1 / 3})
    True
    """
    check_column("numeric", column)
    for label, value in (("rel_tol", rel_tol), ("abs_tol", abs_tol)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise LLMError(f"{label} must be a number, 0 or more, not {value!r}.", category="bad_request")
    if decimal not in _PATTERNS:
        raise LLMError(f"decimal is '.' or ',', not {decimal!r}.", category="bad_request")
    function = partial(_numeric, column=column, rel_tol=rel_tol, abs_tol=abs_tol, decimal=decimal)
    return Scorer(name, function, inline=True)


def _numeric(
    response: Any, row: Mapping[str, Any], *, column: str, rel_tol: float, abs_tol: float, decimal: Decimals
) -> bool:
    right = [_right(value, column, decimal) for value in expected(row, column)]
    given = last_number(said(response), decimal)
    if given is None:
        return False
    return any(
        math.isclose(one, other, rel_tol=rel_tol, abs_tol=abs_tol)
        for one in _readings(given)
        for wanted in right
        for other in _readings(wanted)
        if math.isfinite(one)
    )


def _readings(number: _Number) -> tuple[float, ...]:
    return (number.value, number.value / 100) if number.percent else (number.value,)


def _right(value: Any, column: str, decimal: Decimals) -> _Number:
    number: _Number | None
    if isinstance(value, numbers.Real | Decimal):
        number = _Number(float(value), percent=False)
    else:
        number = last_number(str(value), decimal)
    if number is None or not math.isfinite(number.value):
        raise ScoreFailure(f"The row has no number in its column {column!r}, but {str(value)[:40]!r}.")
    return number
