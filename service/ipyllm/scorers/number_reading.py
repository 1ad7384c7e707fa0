"""Reads the numbers in a text: grouped and decimal digits, powers of ten, fractions, magnitudes, percentages."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

from ipyllm.scorers.number_notation import THIN_SPACE, plain_notation

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DecimalMark", "Number", "numbers_in", "prepared", "without_markers"]

DecimalMark = Literal[".", ","]


class Number(NamedTuple):
    """A number as it was read."""

    value: float
    divisor: int  # 1; 100 where a percent sign follows, 1000 for a per mille sign
    text: str  # in plain notation
    start: int
    end: int

    @property
    def values(self) -> tuple[float, ...]:
        """The value; for a percentage also the fraction."""
        return (self.value,) if self.divisor == 1 else (self.value, self.value / self.divisor)


# Letters of scripts that put spaces between words: "B2" is a name, but in "答案是5" 5 is a number.
_LETTER = "A-Za-zÀ-ɏͰ-ϿЀ-ԯ"
_CURRENCY = r"(?:(?:US|AU?|CA?|NZ|HK|R)?\$|[€£¥₹₩₽¢₺₫₦₪฿])"
_MAGNITUDES = {
    **dict.fromkeys(("k", "thousand"), 3),
    **dict.fromkeys(("m", "mn", "mio", "million", "millions", "millionen"), 6),
    **dict.fromkeys(("b", "bn", "mrd", "billion", "billions", "milliarden"), 9),
    **dict.fromkeys(("t", "tn", "trillion", "trillions"), 12),
    "hundred": 2,
    "thousands": 3,
    "lakh": 5,
    "lakhs": 5,
    "crore": 7,
    "crores": 7,
    "quadrillion": 15,
    **dict.fromkeys("万萬만", 4),
    **dict.fromkeys("亿億억", 8),
}
_WORDS = "|".join(sorted((word for word in _MAGNITUDES if len(word) > 1), key=len, reverse=True))

_GROUP = 3  # digits between two marks for thousands
_DIGITS = r"\d++(?:[.,'_]\d++)*+"

_NUMBER = re.compile(
    rf"""
    (?<![{_LETTER}_\d^\\])                           # not within a word, a power, a command
    (?: (?P<skip>                                    # dates, times, ratios
          \d{{4}}(?P<d>[-/.])\d{{1,2}}(?P=d)\d{{1,2}}(?!\d)
        | \d{{1,2}}/\d{{1,2}}/\d{{2,4}}(?!\d) | \d{{1,2}}(?P<e>[-.])\d{{1,2}}(?P=e)\d{{4}}(?!\d)
        | \d{{1,2}}(?::\d{{1,2}}){{1,2}}(?!\d) )
    | (?P<sign>(?<![{_LETTER}\d_)\]}}%'"])[-+])?
      (?P<currency>{_CURRENCY}\s?)?
      (?P<sign2>(?<=[$€£¥])[-+])?
      (?: (?: (?P<mixed>\d{{1,6}})[ {THIN_SPACE}] )?
          (?P<numerator>{_DIGITS})\s?/\s?(?P<denominator>{_DIGITS})(?!/)
        | (?P<spaced>[1-9]\d{{0,2}}(?P<space>[ {THIN_SPACE}])\d{{3}}(?:(?P=space)\d{{3}})*(?!\d))
          (?:[.,](?P<spaced_fraction>\d+))?
        | (?P<digits>{_DIGITS})
        | (?<![\w.,)])(?P<point>[.,]\d++)
      )
      (?: [eE](?P<exponent>[-+]?\d{{1,5}})(?![{_LETTER}\d_])
        | \s?[×*xX]\s?10\s?(?:\^|\*\*)\s?[{{(]?\s?(?P<times_ten>[-+]?\d{{1,5}})\s?[}})]?
        | \s?(?:\^|\*\*)\s?[{{(]?\s?(?P<power>[-+]?\d{{1,5}})\s?[}})]? )?
      (?!\s?[√π])
      (?: \s?(?P<word>{_WORDS})(?![{_LETTER}])
        | \s?(?P<sign3>[万萬만亿億억])
        | (?P<letter>[kKMB])(?![{_LETTER}\d_/])
        | (?(currency)\s?(?P<price_letter>[kmbtKMBT])(?![{_LETTER}\d_/])|(?!)) )?
      (?P<percent>\s?(?:%|percent|per\scent|pct\b)|(?P<mille>\s?‰))?
    )""",
    re.VERBOSE | re.IGNORECASE,
)

_POWER_OF_OTHERS = re.compile(r"(?<=[^\s\d])\s?\^\s?(?:\{[^{}]{0,40}\}|\([^()]{0,40}\)|[-+]?\w+)")
_INDEX = re.compile(rf"(?<=[{_LETTER})}}\]])_(?:\{{[^{{}}]{{0,40}}\}}|\d+)")
_EMPHASIS = re.compile(r"(?<![\w)}\]])_{1,3}(?=[-$€£\d])|(?<=\d)_{1,3}(?!\w)")
_ROOT = re.compile(r"√\s?(?:\{[^{}]{0,40}\}|\([^()]{0,40}\)|\d+(?:\.\d+)?)")
_SPACED_MINUS = re.compile(r"=\s*-\s+(?=[\d$.])")
_MINUS_WORD = re.compile(r"(?<![\w-])(?<!\d )(?:negative|minus)\s+(?=[\d$.])", re.IGNORECASE)
_URL = re.compile(r"https?://\S+")

_MARKERS = re.compile(
    r"""^[ ]*\[\^?\d{1,3}\]:?[ ][^\n]*                              # a list of references
    | (?<=[\w.)\]%"'!?*;}])(?<!\bis)(?<!\bare)[ ]?\[\^?\d{1,3}(?:\s?[,-]\s?\d{1,3})*\]   # a footnote, [1]
    | ^[ \t#>*-]*(?:Step[ ]\d{1,3}\b[:.)]?|\d{1,3}[.)])(?=[ *]+\S)  # an item of a list
    """,
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)


def prepared(text: str) -> str:
    """Return a text in plain notation, without digits that are never numbers: indices, roots, powers of variables."""
    text = plain_notation(text)
    for pattern, replacement in (
        (_URL, " "),
        (_ROOT, "√"),
        (_POWER_OF_OTHERS, ""),
        (_INDEX, ""),
        (_EMPHASIS, ""),
        (_SPACED_MINUS, "= -"),
        (_MINUS_WORD, "-"),
    ):
        text = pattern.sub(replacement, text)
    return text


def without_markers(text: str) -> str:
    """Return a text without footnote marks, references, and the numbers of steps and of items in lists."""
    return _MARKERS.sub(" ", text)


def numbers_in(text: str, decimal: DecimalMark = ".", start: int = 0, end: int | None = None) -> Iterator[Number]:
    r"""Yield the finite numbers in a text that :func:`prepared` has prepared, from left to right.

    Examples
    --------
    >>> [number.value for number in numbers_in("$1.2M, 10 000, 1,234.5, 3/4, 5.0 × 10^{3}, 2024-01-15, H2O, 12 %")]
    [1200000.0, 10000.0, 1234.5, 0.75, 5000.0, 12.0]
    >>> [number.value for number in numbers_in("3,14 and 1.234,5 and 1.234", decimal=",")]
    [3.14, 1234.5, 1234.0]
    """
    for match in _NUMBER.finditer(text, start, len(text) if end is None else end):
        value = None if match["skip"] else _value(match, decimal)
        if value is not None and math.isfinite(value):
            divisor = 1 if match["percent"] is None else 100 if match["mille"] is None else 1000
            yield Number(value, divisor, match[0].strip(), match.start(), match.end())


def _value(match: re.Match[str], decimal: DecimalMark) -> float | None:
    sign = "-" if "-" in {match["sign"], match["sign2"]} else ""
    exponent = _magnitude(match) + int(match["exponent"] or match["times_ten"] or 0)
    if match["point"]:
        digits: str | None = f"0.{match['point'][1:]}"
    elif match["spaced"]:
        digits = f"{re.sub('[^0-9]', '', match['spaced'])}.{match['spaced_fraction'] or '0'}"
    elif match["digits"]:
        digits = _digits(match["digits"], decimal, in_brackets=_is_bracketed(match))
    else:
        digits = _fraction(match, decimal)
    return None if digits is None else _raised(float(f"{sign}{digits}e{exponent}"), match["power"])


def _fraction(match: re.Match[str], decimal: DecimalMark) -> str | None:
    numerator, denominator = (_digits(match[part], decimal) for part in ("numerator", "denominator"))
    if numerator is None or denominator is None or not float(denominator):
        return None
    return f"{Decimal(match['mixed'] or 0) + Decimal(numerator) / Decimal(denominator):f}"


def _raised(number: float, power: str | None) -> float:
    if power is None:
        return number
    try:
        # -2^2 is -(2^2).
        return math.copysign(abs(number) ** int(power), number)
    except (OverflowError, ZeroDivisionError):
        return math.inf


def _magnitude(match: re.Match[str]) -> int:
    letter = match["letter"]
    if letter is not None:
        # "5M" and "5k" are magnitudes, "5m" and "5b" are not, but in prices.
        return _MAGNITUDES[letter.lower()] if letter not in "mb" or match["currency"] else 0
    word = match["word"] or match["sign3"] or match["price_letter"]
    return 0 if word is None else _MAGNITUDES[word.lower()]


def _is_bracketed(match: re.Match[str]) -> bool:
    """Return whether brackets stand directly around a number: ``(3,14)``."""
    around = match.string[max(match.start() - 1, 0) : match.start()] + match.string[match.end() : match.end() + 1]
    return around in {"()", "[]", "{}"}


def _digits(text: str, decimal: DecimalMark, *, in_brackets: bool = False) -> str | None:
    """Return digits with a point for the decimal mark; None if they are no number, such as a version."""
    groups, marks = re.split(r"[.,'_]", text), re.findall(r"[.,'_]", text)
    if not marks:
        return text
    *others, last = marks
    if len(set(marks)) == 1 and _is_grouped(groups) and (others or last != decimal):
        return "".join(groups)
    is_pair = in_brackets and last == "," != decimal and not others
    if last in ".," and last not in others and len(set(others)) <= 1 and _is_grouped(groups[:-1]) and not is_pair:
        return f"{''.join(groups[:-1])}.{groups[-1]}"
    # A list, "1,2,3", ends in its last number; a version, "1.2.3", is no number.
    item = text.rpartition(",")[2] if "," in text else ""
    return item if re.fullmatch(r"\d+(?:\.\d+)?", item) else None


def _is_grouped(groups: list[str]) -> bool:
    """Return whether digits are grouped by thousands, or as in India: ``12,34,567``."""
    first, *rest = groups
    if not rest:
        return True
    if first.startswith("0") or not 1 <= len(first) <= _GROUP or len(rest[-1]) != _GROUP:
        return False
    sizes = {len(group) for group in rest[:-1]}
    return sizes <= {_GROUP} or (sizes == {2} and len(first) < _GROUP)
