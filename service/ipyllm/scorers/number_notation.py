r"""Rewrites Unicode and LaTeX notations of numbers in plain ASCII, for :mod:`ipyllm.scorers.number_reading`.

``1{,}234 \times 10^{3}`` becomes ``1,234 × 10^{3}``, ``½`` becomes ``1/2``, ``10⁶`` becomes ``10^{6}``.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["THIN_SPACE", "plain_notation"]

THIN_SPACE = "\u2009"
"""Stands for every space that does not break a line, and so may group digits."""

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u00a0\u202f\u2007\u2008\u2006\u2005\u200a", THIN_SPACE),
        **dict.fromkeys("−‐‑–﹣", "-"),
        **dict.fromkeys("’ʼ‘", "'"),
        **dict.fromkeys("⁄∕÷", "/"),
        **dict.fromkeys("·⋅∙✕✖", "×"),
        **dict.fromkeys("\u200b\u200e\u200f\u2060\u2061\u2062\u2063\ufeff\u00ad", ""),
        "≈": "=",
        "٪": "%",
        "٫": ".",
        "٬": ",",
        "，": "; ",  # punctuation in Chinese, and no mark within a number
        **{chr(0xFF01 + i): chr(0x21 + i) for i in range(94) if i != ord(",") - 0x21},  # full width
    }
)

_LATEX: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits)(?![A-Za-z])", ""),
        (r"\\(?:text|math|operatorname|mbox|bold|bm|bf|rm|it|mathop|underline|overline|hbox)[a-z]*(?![A-Za-z])\*?", ""),
        (r"\\!|\{\}", ""),
        (r"\{([,.'])\}", r"\1"),
        (r"\\[,;:> ]|\\(?:thinspace|enspace|quad|qquad|medspace)(?![A-Za-z])", THIN_SPACE),
        (r"(?<=\d)~(?=\d)", THIN_SPACE),
        (r"\\(?:times|cdot|ast)(?![A-Za-z])", "×"),
        (r"\\div(?![A-Za-z])", "/"),
        (r"\\(?:approx|simeq|equiv|doteq|cong)(?![A-Za-z])", "="),
        (r"\\sqrt(?![A-Za-z])", "√"),
        (r"\\pi(?![A-Za-z])", "π"),
        (r"\^\s?\{?\s?\\(?:circ|degree)\s?\}?|\\degree(?![A-Za-z])", "°"),
        (r"\\[\[\]()]|\$\$", " "),
        (r"(?<!\\)\$([^$\n]{1,300}?)(?<!\\)\$(?!\d)", r" \1 "),  # a formula, unless a price follows: "$5 or $6"
        (r"\\([%$#&_])", r"\1"),
        (r"\\([A-Za-z]*)frac\s?(\d)\s?(\d)", r"\\\1frac{\2}{\3}"),
        (r"(?<=\d)\s*\\[A-Za-z]*frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r" \1/\2 "),
        (r"\\[A-Za-z]*frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"\1/\2 "),
    )
)
_SUP_TAG = re.compile(r"<sup>\s?([-+−]?\d{1,5})\s?</sup>", re.IGNORECASE)
_SUPERSCRIPT = re.compile(r"[⁰¹²³⁴-⁹⁺⁻]+")
_VULGAR_FRACTION = re.compile(r"(\d?)([¼-¾⅐-⅞↉])")


def plain_notation(text: str) -> str:
    r"""Return a text with its numbers in ASCII, and their LaTeX as plain text.

    Examples
    --------
    >>> plain_notation(r"$1{,}234 \times 10^{-3}$").strip()
    '1,234 × 10^{-3}'
    >>> plain_notation("３½ × 10⁶"), plain_notation(r"2\frac{1}{3}\%"), plain_notation("٣٫٥")
    ('3 1/2 × 10^{6}', '2 1/3 %', '3.5')
    """
    if not text.isascii():
        # Before the digits, of which superscripts are some to NFKC.
        text = _SUPERSCRIPT.sub(lambda match: f"^{{{match[0].translate(_SUPERSCRIPTS)}}}", text)
        text = _VULGAR_FRACTION.sub(_vulgar_fraction, text)
        digits = {ord(c): str(unicodedata.decimal(c)) for c in set(text) if not c.isascii() and c.isdecimal()}
        text = text.translate(_CHARACTERS | digits)
    text = _SUP_TAG.sub(r"^{\1}", text)
    if "\\" in text or "$" in text or "{" in text:
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    return text


def _vulgar_fraction(match: re.Match[str]) -> str:
    before, fraction = match.groups()
    plain = unicodedata.normalize("NFKC", fraction).replace("⁄", "/")
    return f"{before} {plain}" if before else plain
