"""Parses a paragraph that is still growing: bold text and code that it has only begun are ended.

So they do not stand as ``**`` and backticks until their end comes. Only the last paragraph, heading, item or cell of
the live tail is parsed here, and only what the parser itself finds to be open is ended. A single ``*`` or ``_`` stays:
``*.py`` and ``5 *x`` are common, and are not emphasis.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.rules_inline.state_inline import Delimiter
    from markdown_it.token import Token
    from markdown_it.utils import EnvType

__all__ = ["parse_growing"]

_BACKTICKS = re.compile("`+")
_FIRST_STARS = re.compile(r"(?:^|(?<=[\s(]))\*\*+$")
_STAR = ord("*")


def parse_growing(source: str, md: MarkdownIt, env: EnvType, tokens: list[Token]) -> None:
    """Append the tokens of inline markdown, as ``md.inline.parse`` does, with the ends that are still to come.

    Marks at the end, which may be the first half of such an end or begin something, are left out.

    Examples
    --------
    >>> from ipyllm.rendering.markdown import parser
    >>> tokens = []
    >>> parse_growing("It is **very impor", parser(), {}, tokens)
    >>> [token.type for token in tokens if token.type != "text"]
    ['strong_open', 'strong_close']
    """
    state = _tokenized(_with_code_ended(source, md), md, env, tokens)
    _end_bold_text(state)
    for rule in md.inline.ruler2.getRules(""):
        rule(state)


def _tokenized(source: str, md: MarkdownIt, env: EnvType, tokens: list[Token]) -> StateInline:
    from markdown_it.rules_inline import StateInline

    state = StateInline(source, md, env, tokens)
    md.inline.tokenize(state)
    return state


def _with_code_ended(source: str, md: MarkdownIt) -> str:
    may_be_open = source.count("`") % 2 or "``" in source or r"\`" in source  # else it is not parsed a second time
    run = _open_code(source, md) if may_be_open else ""
    if not run:
        return source
    begun = source.rstrip("`")
    return begun + run if begun == source or _open_code(begun, md) else begun.rstrip()


def _open_code(source: str, md: MarkdownIt) -> str:
    """Return the backticks of code that has begun; empty for none. Escaped ones are tokens of their own."""
    tokens = _tokenized(source, md, {}, []).tokens
    found = (_BACKTICKS.search(token.content) for token in tokens if token.type == "text")
    return next((run[0] for run in found if run), "")


def _end_bold_text(state: StateInline) -> None:
    """Add the stars that end bold text and what has begun in it, before the parser pairs them."""
    from markdown_it.rules_inline.state_inline import Delimiter

    if not _open_stars(state):
        if _FIRST_STARS.search(state.src):  # they have no text yet, and so are none to the parser
            _remove_last_stars(state)
        return
    _remove_last_stars(state)
    for _ in _open_stars(state):
        state.push("text", "", 0)
        # Of length 0 it ends what begins with any number of stars.
        at = len(state.tokens) - 1
        state.delimiters.append(Delimiter(marker=_STAR, length=0, token=at, end=-1, open=False, close=True))


def _remove_last_stars(state: StateInline) -> None:
    marks, tokens = state.delimiters, state.tokens
    while marks and marks[-1].marker == _STAR and marks[-1].token == len(tokens) - 1:
        del marks[-1], tokens[-1], state.tokens_meta[-1]


def _open_stars(state: StateInline) -> Sequence[Delimiter]:
    """Return the stars of bold text that has begun, and of what has begun in it."""
    from markdown_it.rules_inline.balance_pairs import processDelimiters

    if not any(mark.marker == _STAR and mark.length > 1 for mark in state.delimiters):
        return ()
    paired = [replace(mark) for mark in state.delimiters]
    processDelimiters(state, paired)
    # Stars after the beginning of a formula belong to that.
    math = next((at for at, token in enumerate(state.tokens) if _begins_math(token)), len(state.tokens))
    opened: list[Delimiter] = []
    for mark, pair in zip(state.delimiters, paired, strict=True):
        if mark.marker != _STAR or not pair.open or pair.end >= 0:
            continue
        if mark.token > math or _is_in_word(state.tokens, mark):
            mark.open = False  # so that no end is taken for its own
        elif opened or mark.length > 1:
            opened.append(mark)
    return opened


def _is_in_word(tokens: Sequence[Token], mark: Delimiter) -> bool:
    """Return whether a mark stands right after a word, as in ``2**10``, or after another that does."""
    before = next((token.content for token in reversed(tokens[: mark.token]) if token.content != "*"), "")
    return before[-1:].isalnum()


def _begins_math(token: Token) -> bool:
    return (token.type == "text" and "$" in token.content) or token.markup in {r"\(", r"\["}
