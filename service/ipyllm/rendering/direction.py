"""Direction of text, block by block: Arabic and Hebrew run from right to left, also beside other languages.

Each paragraph, item and cell gets ``dir="auto"``: the browser takes its direction from its first letter. On an element
around many others this would be slow: for a list of 20,000 items Chromium took up to 30 s. Lists, quotes and tables get
the direction of their first letter from here, and only in a text with letters that run from right to left. There,
paragraphs that do are also aligned to the right, because JupyterLab aligns all to the left.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token

__all__ = ["direction_rule"]

_LEAVES = frozenset({"paragraph_open", "heading_open", "list_item_open", "th_open", "td_open"})
_ALIGNED = frozenset({"paragraph_open", "heading_open"})
_CONTAINERS = frozenset({"bullet_list_open", "ordered_list_open", "blockquote_open", "table_open"})
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_DIRECTIONS = {"L": "ltr", "R": "rtl", "AL": "rtl"}


def direction_rule(state: StateCore) -> None:
    """Give the block tokens of the text their directions; a core rule of markdown-it."""
    has_both = _RIGHT_TO_LEFT.search(state.src) is not None
    undecided: list[Token] = []
    before = ""
    for token, after in zip(state.tokens, [*state.tokens[1:], None], strict=False):
        # The first paragraph of an item has the direction of its item, which is taken from this paragraph.
        if token.type in _LEAVES and not (token.type == "paragraph_open" and before == "list_item_open"):
            token.attrSet("dir", "auto")
            if has_both and token.type in _ALIGNED and after is not None and _direction(after.content) == "rtl":
                token.attrSet("style", "text-align:right")
        elif has_both and token.type in _CONTAINERS:
            undecided.append(token)
        elif undecided and token.type == "inline" and (direction := _direction(token.content)):
            for container in undecided:
                container.attrSet("dir", direction)
            undecided.clear()
        before = token.type


def _direction(text: str) -> str | None:
    """Return the direction of the first letter."""
    return next(filter(None, (_DIRECTIONS.get(unicodedata.bidirectional(char)) for char in text)), None)
