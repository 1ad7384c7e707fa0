"""The scorer that compares the last number of an answer with the right one, within a tolerance."""

from __future__ import annotations

import math
import numbers
import re
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ipyllm.errors import bad_request
from ipyllm.scorers.reading import check_column, expected_answers, response_text
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
    """Return the last number in a text, and whether a percent sign follows; None without a number.

    Examples
    --------
    >>> last_number("Of 1,200 people 25 % came, so it is −$1,234.50.")
    _Number(value=-1234.5, percent=False)
    >>> last_number("about 6.02 × 10^23"), last_number("about 12%"), last_number("many")
    (_Number(value=6.02e+23, percent=False), _Number(value=12.0, percent=True), None)
    """
    last = None
    for last in _PATTERNS[decimal].finditer(text):  # noqa: B007 - only the last one is needed
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
    """Score whether the last number in the answer is the right one.

    Parameters
    ----------
    column : str
        Column with the right number, text that ends in it, or a list of right numbers.
    rel_tol, abs_tol : float
        As of :func:`math.isclose`: right if ``|a − b| ≤ max(rel_tol · max(|a|, |b|), abs_tol)``. For two decimals use
        ``abs_tol=0.005``.
    decimal : str
        Decimal mark in answers and text: with ``"."`` commas separate thousands (``1,234.5``), with ``","`` points do.
    name : str
        Name of the scorer.

    Notes
    -----
    Models reason first and answer last, so the last number counts: "42, which is more than 40" is read as 40. Signs,
    thousands (also ``1_000``, ``1'000``), ``1.5e3``, ``1.5 × 10^3`` and currency signs are understood. A percentage
    counts both as number and as fraction: "12 %" is 12 and 0.12, because tables have either. Fractions (``1/2`` ends
    in 2) and words ("twelve") are not understood. An answer without a number is wrong.

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
            raise bad_request(f"{label} must be a number, 0 or more, not {value!r}.")
    if decimal not in _PATTERNS:
        raise bad_request(f"decimal must be '.' or ',', not {decimal!r}.")
    function = partial(_numeric, column=column, rel_tol=rel_tol, abs_tol=abs_tol, decimal=decimal)
    return Scorer(name, function, inline=True, higher_is_better=True)


def _numeric(
    response: Any, row: Mapping[str, Any], *, column: str, rel_tol: float, abs_tol: float, decimal: Decimals
) -> bool:
    right = [_right_number(value, column, decimal) for value in expected_answers(row, column)]
    given = last_number(response_text(response), decimal)
    if given is None:
        return False
    return any(
        math.isclose(one, other, rel_tol=rel_tol, abs_tol=abs_tol)
        for one in _possible_values(given)
        for wanted in right
        for other in _possible_values(wanted)
        if math.isfinite(one)
    )


def _possible_values(number: _Number) -> tuple[float, ...]:
    return (number.value, number.value / 100) if number.percent else (number.value,)


def _right_number(value: Any, column: str, decimal: Decimals) -> _Number:
    number: _Number | None
    if isinstance(value, numbers.Real | Decimal):
        number = _Number(float(value), percent=False)
    else:
        number = last_number(str(value), decimal)
    if number is None or not math.isfinite(number.value):
        raise ScoreFailure(f"The row has {str(value)[:40]!r} in its column {column!r}, which is not a number.")
    return number
