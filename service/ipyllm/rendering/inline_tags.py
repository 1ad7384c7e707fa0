"""Tags of HTML that models write into markdown, and that only set text: ``<sub>``, ``<sup>``, ``<kbd>`` and ``<br>``.

They are recognised without attributes and, except ``<br>``, with their end in the same paragraph; all other HTML is
shown as text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline

__all__ = ["INLINE_TAGS", "add_inline_tags"]

INLINE_TAGS = ("sub", "sup", "kbd")

_TAG = re.compile(r"<(sub|sup|kbd)>((?:(?!<\1>).){1,200}?)</\1>")
_BREAK = re.compile(r"<br ?/?>")


def add_inline_tags(md: MarkdownIt) -> None:
    """Add the tags to the parser."""
    md.inline.ruler.before("autolink", "inline_tags", _rule)


def _rule(state: StateInline, silent: bool) -> bool:
    if match := _BREAK.match(state.src, state.pos, state.posMax):
        if not silent:
            state.push("hardbreak", "br", 0)
        state.pos = match.end()
        return True
    match = _TAG.match(state.src, state.pos, state.posMax)
    if not match or state.level >= state.md.options.maxNesting:
        return False
    if not silent:
        name, end = match[1], state.posMax
        state.push(f"{name}_open", name, 1)
        state.pos, state.posMax = match.start(2), match.end(2)
        state.md.inline.tokenize(state)
        state.posMax = end
        state.push(f"{name}_close", name, -1)
    state.pos = match.end()
    return True
