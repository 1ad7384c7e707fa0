"""Splits a long list into parts that a browser lays out when they come into view.

The layout of 40,000 items holds a page up for a second and a half of processor time, and in parts of 200 with
``content-visibility`` for a tenth of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token

__all__ = ["long_lists_rule"]

_ITEMS = 200
_OPENINGS = frozenset({"bullet_list_open", "ordered_list_open"})


def long_lists_rule(state: StateCore) -> None:
    """Split the outermost lists; a core rule of markdown-it."""
    if len(state.tokens) > _ITEMS:
        state.tokens = list(_in_parts(state.tokens))


def _in_parts(tokens: list[Token]) -> Iterator[Token]:
    from markdown_it.token import Token

    opening, items = tokens[0], 0
    for token in tokens:
        if token.level == 0 and token.type in _OPENINGS:
            opening, items = token, 0
        elif token.level == 1 and token.type == "list_item_open":
            if items and items % _ITEMS == 0:
                yield Token(opening.type.replace("_open", "_close"), opening.tag, -1, block=True)
                attrs = {**opening.attrs, "class": "ipyllm-part"}
                if opening.type == "ordered_list_open":
                    attrs["start"] = int(opening.attrs.get("start", 1)) + items
                yield Token(opening.type, opening.tag, 1, attrs=attrs, block=True)
            items += 1
        yield token
