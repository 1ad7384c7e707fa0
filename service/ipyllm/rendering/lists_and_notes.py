"""Task lists and footnotes.

A task's box is a character, because a checkbox would be a form. A footnote stands where the model wrote it, without
links between mark and note: blocks of an answer are rendered separately, and ids could clash with those of the page.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline

__all__ = ["add_footnotes", "add_task_lists"]

_TASK = re.compile(r"\[([ xX])\](?=\s)")
_NOTE = re.compile(r"\[\^([\w-]{1,32})\]:[ \t]+\S")
_MARK = re.compile(r"\[\^([\w-]{1,32})\]")
_NAMES = "ipyllm_footnotes"


def add_task_lists(md: MarkdownIt) -> None:
    """Draw ``- [ ]`` and ``- [x]`` as boxes."""
    md.core.ruler.before("inline", "task_lists", _task_rule)


def _task_rule(state: StateCore) -> None:
    for item, paragraph, inline in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        if item.type == "list_item_open" and paragraph.type == "paragraph_open":
            task = _TASK.match(inline.content)
            if task:
                item.attrSet("class", "ipyllm-task")
                inline.content = ("☐" if task[1] == " " else "☑") + inline.content[task.end() :]


def add_footnotes(md: MarkdownIt) -> None:
    """Raise the marks of footnotes, ``[^1]``, and make a paragraph of each note, ``[^1]: …``.

    A mark is a number, or the name of a note in the same block of text: ``[^a-z]`` stays as it is.
    """
    md.block.ruler.before("reference", "footnote", _note_rule, {"alt": ["paragraph", "reference"]})
    md.inline.ruler.before("link", "footnote_mark", _mark_rule)


def _note_rule(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    if state.is_code_block(start):
        return False
    match = _NOTE.match(_line(state, start))
    if not match:
        return False
    if silent:
        return True
    lines = [_line(state, start)]
    for number in range(start + 1, end):
        line = _line(state, number)
        if not line or _NOTE.match(line) or state.sCount[number] < state.blkIndent:
            break
        lines.append(line)
    state.env.setdefault(_NAMES, set()).add(match[1])
    state.line = start + len(lines)
    token = state.push("paragraph_open", "p", 1)
    token.map = [start, state.line]
    token.attrSet("class", "ipyllm-footnote")
    token = state.push("inline", "", 0)
    token.content = "\n".join(lines).replace("]:", "]", 1)
    token.map, token.children = [start, state.line], []
    state.push("paragraph_close", "p", -1)
    return True


def _mark_rule(state: StateInline, silent: bool) -> bool:
    match = _MARK.match(state.src, state.pos, state.posMax)
    if not match or not (match[1].isdecimal() or match[1] in state.env.get(_NAMES, ())):
        return False
    if not silent:
        state.push("sup_open", "sup", 1)
        state.push("text", "", 0).content = f"[{match[1]}]"
        state.push("sup_close", "sup", -1)
    state.pos = match.end()
    return True


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].rstrip()
