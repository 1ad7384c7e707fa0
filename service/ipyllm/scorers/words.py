"""Finds text as complete words and complete numbers, by the word borders of Unicode (UAX 29)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regex import Pattern

__all__ = ["word_pattern"]

_LETTER_OR_DIGIT = r"[\p{L}\p{N}]"
_HYPHEN = r"[-\u2010\u2011]"
_SPACE = r"[ \u00a0\u2007\u2009\u202f'’]"  # between the groups of a number

_MORE_BORDERS_BEFORE = (
    # After an elided article or pronoun, in French, Italian and Catalan: l'eau, dell'acqua.
    r"(?<=\b(?i:[ldjmtsnc]|\p{L}{0,6}qu|\p{L}{0,6}ll|un)['’])(?=\p{L})"
    # After the mark of emphasis in Markdown: _Bern_
    rf"|(?<=(?<![\p{{L}}\p{{N}}_])_{{1,3}})(?={_LETTER_OR_DIGIT})"
)
_MORE_BORDERS_AFTER = (
    r"(?=['’][sS](?![\p{L}\p{N}]))"  # Bern's
    r"|(?=_{1,3}(?![\p{L}\p{N}_]))"
    r"|(?=[\uac00-\ud7a3])"  # Korean puts particles behind words without a space: 서울은
)

_NO_BORDERS = "|".join(
    (
        # Compounds: "non-negative" is one word. But "10-12" are two numbers.
        rf"(?<={_LETTER_OR_DIGIT})(?={_HYPHEN}\p{{L}})|(?<=\p{{L}})(?={_HYPHEN}\p{{N}})",
        rf"(?<={_LETTER_OR_DIGIT}{_HYPHEN})(?=\p{{L}})|(?<=\p{{L}}{_HYPHEN})(?=\p{{N}})",
        # Names and marks that end in a sign: C++, C#, A+, A-.
        r"(?<=\p{L})(?=\+\+|[+#−](?![\p{L}\p{N}]))|(?<=\p{L}\+)(?=\+)",
        r"(?<=(?<![\p{L}\p{N}\p{M}'’])\p{L})(?=-(?![\p{L}\p{N}-]))",
        # Numbers: -3, .5, 1 042, 1{,}042, 1/2, 12:30, 10^6, 10⁶, 3½.
        r"(?<=(?<![\p{L}\p{N})\]])[-−–])(?=\d)|(?<=(?<![\p{L}\p{N}.])\.)(?=\d)",
        rf"(?<=(?<!\d)\d{{1,3}})(?={_SPACE}\d{{3}}(?!\d))|(?<=(?<!\d)\d{{1,3}}{_SPACE})(?=\d{{3}}(?!\d))",
        r"(?<=\d)(?=(?:[/:^]|\{,\}|\\,)-?\{?\d)|(?<=\d(?:[/:^]|\{,\}|\\,)[-{]{0,2})(?=\d)",
        r"(?<=\d)(?=[⁰¹²³⁴-⁹⁻¼-¾⅐-⅞])",
    )
)


@lru_cache(maxsize=1024)
def word_pattern(words: str) -> Pattern[str]:
    """Return the pattern that finds ``words`` where they are not part of a longer word or number.

    The borders of words are those of `UAX 29 <https://www.unicode.org/reports/tr29/>`_, tailored as it suggests.
    Hyphens join (``non-negative``), and so do signs at the end (``C++``, ``A-``), and all parts of a number. A
    possessive ``'s``, an elided article (``l'eau``) and Markdown's ``_`` do not. Between ideographs, in Hiragana and
    in Thai there is a border after each character, since their words can only be told by a dictionary; a run of
    Katakana is one word. Korean particles may follow.

    Examples
    --------
    >>> [bool(word_pattern("3").search(text)) for text in ("It is 3.", "3.14", "-3", "1/3", "3 %")]
    [True, False, False, False, True]
    >>> bool(word_pattern("日本").search("日本語です")), bool(word_pattern("C").search("C++"))
    (True, False)
    """
    import regex

    no_border = rf"(?!{_NO_BORDERS})"
    before, after = rf"(?:\b|{_MORE_BORDERS_BEFORE}){no_border}", rf"(?:\b|{_MORE_BORDERS_AFTER}){no_border}"
    return regex.compile(rf"{before}{regex.escape(words)}{after}", regex.WORD)
