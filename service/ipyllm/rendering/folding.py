"""Folds the end of a long answer, so that a notebook can be read past it; the end stays in the page and in the file."""

from __future__ import annotations

from ipyllm.rendering.blocks import split_source
from ipyllm.rendering.markdown import to_html
from ipyllm.text.format import count

__all__ = ["FOLDED_AFTER", "folded", "folded_html", "is_worth_folding"]

FOLDED_AFTER = 12_000
"""Characters of markdown that are shown; about four screens."""

_LEAST_FOLDED = 3_000


def is_worth_folding(rest: str) -> bool:
    """Return whether so much of an answer is left that it is folded."""
    return len(rest) >= _LEAST_FOLDED


def folded(html: str, source: str) -> str:
    """Return the HTML of the rest of an answer, folded; ``source`` is its markdown."""
    return f'<details class="ipyllm-rest"><summary>{count(len(source.split()), "more word")}</summary>{html}</details>'


def folded_html(text: str) -> str:
    """Return an answer as :func:`ipyllm.rendering.markdown.to_html` does, with the end of a long one folded."""
    first, rest = split_source(text, FOLDED_AFTER)
    if not is_worth_folding(rest):
        return to_html(text)
    return to_html(first) + folded(to_html(rest), rest)
