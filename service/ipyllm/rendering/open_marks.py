"""Ends bold text and code that a growing answer has only begun, so that they do not stand as ``**`` and backticks.

Only the last paragraph, heading, item or cell of the live tail is touched, and only where the parser itself finds a
mark without its end. A single ``*`` or ``_`` stays: ``*.py`` and ``5 *x`` are common, and are not emphasis.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.rules_inline.state_inline import Delimiter
    from markdown_it.token import Token

__all__ = ["close_open_marks"]

_MAX_CHARS = 4_000  # while a mark is open, a paragraph is parsed three times at each draw
_BACKTICKS = re.compile("`+")
_FIRST_STARS = re.compile(r"(?:^|(?<=[\s(]))\*\*+$")
_LAST_STARS = re.compile(r"(?<!\\)\*+$")
_STAR = ord("*")


def close_open_marks(source: str, md: MarkdownIt) -> str:
    """Return inline markdown with the ends of bold text and code that are still to come; as it is if all have ended.

    Marks at the end, which may be the first half of such an end or begin something, are left out.

    Examples
    --------
    >>> from ipyllm.rendering.markdown import parser
    >>> close_open_marks("It is **very impor", parser())
    'It is **very impor**'
    >>> close_open_marks("Call `dict.get", parser())
    'Call `dict.get`'
    >>> close_open_marks("2 * 3 ** 4 and *.py", parser())
    '2 * 3 ** 4 and *.py'
    """
    may_be_open = source.count("**") % 2 or source.count("`") % 2 or "``" in source or source.endswith(("*", "`"))
    if not may_be_open or len(source) > _MAX_CHARS:
        return source
    text = source.rstrip()
    found = _tokens(text, md)
    if code := _open_code(found[0]):
        begun = text.rstrip("`")
        text = begun + code if _open_code(_tokens(begun, md)[0]) else begun.rstrip()
        found = _tokens(text, md)
    if not _open_stars(*found):
        # Stars that begin something have no text yet, and so are none to the parser.
        return text if code else _FIRST_STARS.sub("", source)
    begun = _LAST_STARS.sub("", text).rstrip()
    closed = begun + "*" * _open_stars(*(found if begun == text else _tokens(begun, md)))
    return source if _open_stars(*_tokens(closed, md)) else closed


def _tokens(source: str, md: MarkdownIt) -> tuple[Sequence[Token], Sequence[Delimiter]]:
    from markdown_it.rules_inline import StateInline
    from markdown_it.rules_inline.balance_pairs import link_pairs

    state = StateInline(source, md, {}, [])
    md.inline.tokenize(state)
    link_pairs(state)
    return state.tokens, state.delimiters


def _open_code(tokens: Sequence[Token]) -> str:
    """Return the backticks of code that has begun; empty for none. Escaped ones are tokens of their own."""
    found = (_BACKTICKS.search(token.content) for token in tokens if token.type == "text")
    return next((run[0] for run in found if run), "")


def _open_stars(tokens: Sequence[Token], delimiters: Sequence[Delimiter]) -> int:
    """Return how many stars end bold text that has begun, and what has begun in it; 0 for none.

    Stars after the beginning of a formula belong to that.
    """
    math = next((at for at, token in enumerate(tokens) if _begins_math(token)), len(tokens))
    opened = [mark for mark in delimiters if mark.marker == _STAR and mark.open and mark.end < 0 and mark.token < math]
    first = next((at for at, mark in enumerate(opened) if mark.length > 1 and not _is_in_word(tokens, mark)), None)
    return 0 if first is None else len(opened) - first


def _is_in_word(tokens: Sequence[Token], mark: Delimiter) -> bool:
    """Return whether a mark stands right after a word, as in ``2**10``, or after another that does."""
    before = next((token.content for token in reversed(tokens[: mark.token]) if token.content != "*"), "")
    return before[-1:].isalnum()


def _begins_math(token: Token) -> bool:
    return (token.type == "text" and "$" in token.content) or token.markup in {r"\(", r"\["}
