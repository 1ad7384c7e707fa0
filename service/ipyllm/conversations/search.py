"""Finds a text in the messages of a conversation, for front ends that search many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm.messages import text_of
from ipyllm.text.format import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipyllm.messages import Message

__all__ = ["excerpt", "folded"]

_EXCERPT_CHARS = 80
_BEFORE_MATCH = 30  # characters


def folded(text: str) -> str:
    """Return a text as it is compared: without regard to case and white space."""
    return " ".join(text.split()).casefold()


def excerpt(messages: Iterable[Message], wanted: str) -> str | None:
    """Return the text around the first place that contains ``wanted``, which is `folded`; None if there is none.

    Examples
    --------
    >>> excerpt([{"role": "user", "content": "Where do  Penguins live?"}], folded("penguins LIVE"))
    'Where do Penguins live?'
    >>> excerpt([{"role": "user", "content": "I should like to know where penguins live."}], "live")
    '… like to know where penguins live.'
    """
    for message in messages:
        text = " ".join(text_of(message).split())
        at = text.casefold().find(wanted)
        if at >= 0:
            start = max(0, at - _BEFORE_MATCH)
            if start:
                start = text.find(" ", start, at) + 1 or start  # the beginning of a word
            return ("… " if start else "") + shorten(text[start:], _EXCERPT_CHARS)
    return None
