r"""The scorer that compares the number of an answer with the right one, within a tolerance.

:func:`read_answer` decides which of the numbers in a text is its answer.
"""

from __future__ import annotations

import math
import numbers
import re
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from ipyllm.errors import bad_request
from ipyllm.scorers.number_reading import DecimalMark, Number, numbers_in, prepared, without_markers
from ipyllm.scorers.reading import check_column, expected_answers, response_text
from ipyllm.scorers.scorer import Score, ScoreFailure, Scorer
from ipyllm.text.format import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NumericAnswer", "numeric", "read_answer"]

_MAX_CHARS = 20_000
"""Of a longer text only the end is read, where answers are; and the last box, wherever it is."""

_MAX_BOX_CHARS = 2_000
_MAX_TEXT_CHARS = 60
_BOXES = ("\\boxed", "\\fbox")
# "#### 42" ends an answer of GSM8K, but "#### 2. Method" and "#### Step 2" are headings.
_HASHES = re.compile(r"####[^\S\n]*([^\n]{0,500})")
_HEADING = re.compile(r"[^\W\d]|\W*\d+(?:\.\d+)*[.):]\s*[^\W\d]")

_CUE = re.compile(
    r"""\b(?:final\s)?answer\b[*_]*
    (?: (?:\s(?:to|for|of)\s[^.\n:]{1,80}?)? \s(?:is|was|equals|would\sbe|should\sbe|will\sbe|comes\s(?:out\s)?to)\b
        (?!\s+not\b) (?P<words>)
      | \s?[:=]
      | \s*\n )""",
    re.VERBOSE | re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_CLAUSE_END = re.compile(r"[.!?](?=\s|$)|[,;(](?=\s|\w)|\n")
# What may stand between "answer:" and the number: "x =", "about", "**", "USD".
_ASIDE = re.compile(r"(?:[^\W\d]\b)?(?:about|around|approximately|roughly|exactly|[A-Z]{3}|\W)*")
_MAX_ASIDE_CHARS = 60


class NumericAnswer(NamedTuple):
    """The number that is the answer of a text, and where it was found."""

    number: Number
    source: str  # such as 'in \\boxed{}' or 'the last number'


def read_answer(text: str, decimal: DecimalMark = ".") -> NumericAnswer | None:
    r"""Return the number that a text gives as its answer; None without a number.

    That is, in this order: the number in the last ``\boxed{}``; after the last ``####``, as in GSM8K; after the last
    "answer is" or "answer:"; else the last number.

    Examples
    --------
    >>> read_answer(r"So it is $\boxed{1.5 \times 10^{3}}$ (3 steps).")
    NumericAnswer(number=Number(value=1500.0, divisor=1, text='1.5 × 10^{3}', start=0, end=12), source='in \\boxed{}')
    >>> answer = read_answer("The answer is 42, which is more than 40 [1].")
    >>> answer.number.value, answer.source
    (42.0, 'after "answer is"')
    >>> read_answer("Many.") is None
    True
    """
    for content, source in (*_boxed(text), *_after_hashes(text)):
        found = _chosen(prepared(content), decimal)
        if found is not None:
            return NumericAnswer(found, source)
    text = prepared(_end_of(text))
    for cleaned in (without_markers(text), text):
        cued = _after_cue(cleaned, decimal)
        if cued is not None:
            return cued
        last = None
        for last in numbers_in(cleaned, decimal):  # noqa: B007 - only the last one is needed
            pass
        if last is not None:
            return NumericAnswer(last, "the last number")
    return None


def _end_of(text: str) -> str:
    if len(text) <= _MAX_CHARS:
        return text
    # Not from within a number or a word.
    return re.sub(r"^\S{0,200}\s?", "", text[-_MAX_CHARS:], count=1)


def _boxed(text: str) -> list[tuple[str, str]]:
    """Return the content of the last box, and its name; nothing without a box."""
    start, name = max((text.rfind(name), name) for name in _BOXES)
    if start < 0:
        return []
    rest = text[start + len(name) :][:_MAX_BOX_CHARS].lstrip()
    if not rest.startswith("{"):
        return [(re.split(r"[\s$]", rest, maxsplit=1)[0], f"in {name}")]
    depth = 0
    for brace in re.finditer(r"[{}]", rest):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            rest = rest[: brace.start()]
            break
    return [(rest[1:], f"in {name}{{}}")]


def _after_hashes(text: str) -> list[tuple[str, str]]:
    """Return the line after the last ``####`` that begins with a number, and the mark; nothing without one."""
    lines = [match[1] for match in _HASHES.finditer(_end_of(text)) if not _HEADING.match(match[1])]
    return [(lines[-1], 'after "####"')] if lines else []


def _chosen(text: str, decimal: DecimalMark) -> Number | None:
    """Return the first number of a text, or where it begins an equation, the first one after the last "="."""
    first = next(numbers_in(text, decimal), None)
    if first is None:
        return None
    equals = text.rfind("=")
    if equals > first.end and text[first.end : equals].strip(" *_$}"):
        return next(numbers_in(text, decimal, equals + 1), first)
    return first


def _after_cue(text: str, decimal: DecimalMark) -> NumericAnswer | None:
    for cue in reversed(list(_CUE.finditer(text))):
        first = next(numbers_in(text, decimal, cue.end(), cue.end() + 2 * _MAX_ASIDE_CHARS), None)
        if first is None:
            continue
        aside = text[cue.end() : first.start].strip()
        is_near = len(aside) <= _MAX_ASIDE_CHARS and not _SENTENCE_END.search(aside)
        if is_near and (cue["words"] is not None or _ASIDE.fullmatch(aside)):
            end = _CLAUSE_END.search(text, first.end)
            clause = text[first.start : end.start() if end else len(text)]
            label = re.sub(r"[*_\s]+", " ", cue[0]).strip().lower()
            return NumericAnswer(_chosen(clause, decimal) or first, f'after "{label}"')
    return None


def numeric(
    column: str, *, rel_tol: float = 1e-6, abs_tol: float = 0.0, decimal: DecimalMark = ".", name: str = "numeric"
) -> Scorer:
    r"""Score whether the number that the answer gives is the right one; ``score_<name>_reason`` has the number.

    Parameters
    ----------
    column : str
        Column with the right number, text that gives it, or a list of right numbers.
    rel_tol, abs_tol : float
        As of :func:`math.isclose`: right if ``|a − b| ≤ max(rel_tol · max(|a|, |b|), abs_tol)``. For two decimals use
        ``abs_tol=0.005``.
    decimal : str
        Decimal mark where it is ambiguous: ``1,234`` is 1234 with ``"."``, and 1.234 with ``","``.
    name : str
        Name of the scorer.

    Notes
    -----
    Which number: that in the last ``\boxed{}``, else after the last ``####`` (GSM8K), else after the last "answer is"
    or "answer:", else the last one, since models reason first and answer last. Of an equation it is the number after
    the last ``=``. Footnotes (``[1]``), numbers of steps, items and references, dates, times and versions do not count.

    What is read: signs, Unicode digits, LaTeX, ``1.5 × 10^3``, ``1.5e3``, ``2^10``, ``3/4``, ``1 1/2``, ``½``,
    currencies, units, ``1.2 million``, ``1.2M``, ``5k``, ``$5m``. Thousands: ``1,234``, ``1 234`` with any space,
    ``1'234``, ``1_234``, ``12,34,567``. A mark is decimal where it cannot be anything else: ``3,14``, ``0,125`` and
    ``1.234,5`` are 3.14, 0.125 and 1234.5, but ``(3,14)`` is a pair. A percentage counts both as number and as
    fraction: "12 %" is 12 and 0.12, because tables have either. Roots, π, formulas and words ("twelve") are not
    understood. An answer without a number is wrong. Of an answer of more than 20,000 characters the end is read, and
    the last box.

    Examples
    --------
    >>> from ipyllm import ChatResponse, scorers
    >>> scorers.numeric("sum").call(ChatResponse(content="2 + 2 makes 4."), {"sum": 4})
    Score(value=True, reason='Read 4 from "4", the last number.', cost_usd=None)
    >>> scorers.numeric("share", abs_tol=0.005).call(ChatResponse(content="About 33 %."), {"share": 1 / 3}).value
    True
    """
    check_column("numeric", column)
    for label, value in (("rel_tol", rel_tol), ("abs_tol", abs_tol)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise bad_request(f"{label} must be a number, 0 or more, not {value!r}.")
    if decimal not in get_args(DecimalMark):
        raise bad_request(f"decimal must be '.' or ',', not {decimal!r}.")
    function = partial(_numeric, column=column, rel_tol=rel_tol, abs_tol=abs_tol, decimal=decimal)
    return Scorer(name, function, inline=True, gives=("reason",), higher_is_better=True)


def _numeric(
    response: Any, row: Mapping[str, Any], *, column: str, rel_tol: float, abs_tol: float, decimal: DecimalMark
) -> Score:
    right = [_right_values(value, column, decimal) for value in expected_answers(row, column)]
    given = read_answer(response_text(response), decimal)
    if given is None:
        return Score(value=False, reason="It has no number.")
    is_right = any(
        math.isclose(one, other, rel_tol=rel_tol, abs_tol=abs_tol)
        for one in given.number.values
        for values in right
        for other in values
    )
    reason = f'Read {given.number.value:.12g} from "{shorten(given.number.text, _MAX_TEXT_CHARS)}", {given.source}.'
    return Score(value=is_right, reason=reason)


def _right_values(value: Any, column: str, decimal: DecimalMark) -> tuple[float, ...]:
    if isinstance(value, numbers.Real | Decimal):
        values: tuple[float, ...] = (float(value),)
    else:
        answer = read_answer(str(value), decimal)
        values = () if answer is None else answer.number.values
    if not values or not math.isfinite(values[0]):
        raise ScoreFailure(f"The row has {shorten(str(value), 40)!r} in its column {column!r}, which is not a number.")
    return values
