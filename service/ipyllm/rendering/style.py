"""Style sheet of answers, in the colours of the notebook's theme.

Colours of text come from VS Code's variables, else JupyterLab's (which Notebook 7 and nbconvert's HTML have too), else
from one set for light and one for dark pages. VS Code's come first because its notebooks load the style sheet of
ipywidgets, which sets JupyterLab's variables to those of a light page, whatever the theme. Lines are a grey that is
visible on both. The sheet fetches nothing: no ``url()``, no ``@import``, no fonts.

An output of a notebook carries the rules for what is in it, see :class:`Stylist`: it looks right wherever its cell is
moved and whichever other cells are deleted, and a paragraph costs a few hundred bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CSS", "STYLE", "Stylist"]

CSS = Path(__file__).with_name("answer.css").read_text(encoding="utf-8")
"""Style sheet of answers, footers and reasoning.

Rules are nested in the answer's class, so that they do not change ``.k`` or ``td`` elsewhere; the class is doubled to
match the specificity of JupyterLab's rules for outputs. VS Code's colours that contrast too little with its code
background are mixed with the text's colour.
"""

_COLUMNS_CSS = Path(__file__).with_name("answer_columns.css").read_text(encoding="utf-8")
"""Style sheet of answers side by side."""

STYLE = f"<style>\n{CSS}</style>\n"
"""The whole sheet as a style element, for a page."""

_SCRIPT = f"<script>\n{Path(__file__).with_name('copy_code.js').read_text(encoding='utf-8')}</script>\n"
_ADDED_BY_SCRIPT = {".ipyllm-code", ".ipyllm-copy"}

_ANSWER = ".ipyllm-answer.ipyllm-answer"
_BRACES = re.compile(r"[{}]")
_CLASSES = re.compile(r'class="([^"]*)"')
_TAGS = re.compile(r"<([a-z][a-z0-9]*)")
_ALTERNATIVES = re.compile(r":is\(([^()]*)\)")
_ATTRIBUTE = re.compile(r"\[[^\]]*\]")
_NAME = re.compile(r"\.[\w-]+|(?<![\w.:@-])[a-z][a-z0-9]*(?![\w(-])")
_OURS = re.compile(r"\.(?:ipyllm-[\w-]+|[a-z]{1,2})$|[a-z]")
_KEYFRAMES = re.compile(r"@keyframes ([\w-]+)")


class Stylist:
    r"""Writes for each output of a cell the rules that it needs and that no earlier output of the cell has.

    Examples
    --------
    >>> stylist = Stylist()
    >>> "\ntable{" in stylist.style("<p>Hi</p>"), "\ntable{" in stylist.style("<table></table>")
    (False, True)
    """

    def __init__(self) -> None:
        self._written: frozenset[_Rule] = frozenset()

    def style(self, html: str, *, keep: bool = False, copy_buttons: bool = False) -> str:
        """Return the style element for ``html``; with ``keep``, later outputs do without these rules.

        With ``copy_buttons``, a script adds a button to each block of code. Front ends remove it from what they do not
        trust.
        """
        names = _names_in(html)
        script = _SCRIPT if copy_buttons and "pre" in names else ""
        names |= _ADDED_BY_SCRIPT if script else set()
        rules = [rule for rule in _rules() if rule not in self._written and rule.applies_to(names)]
        rules += [frames for frames in _keyframes() if any(frames.name in rule.css for rule in rules)]
        if keep:
            self._written |= frozenset(rules)
        nested = "\n".join(rule.css for rule in rules if rule.is_nested)
        flat = "\n".join(rule.css for rule in rules if not rule.is_nested)
        css = "\n".join(filter(None, (f"{_ANSWER}{{{nested}}}" if nested else "", flat)))
        return (f"<style>\n{css}\n</style>\n" if css else "") + script


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule of the sheet; each set of ``needs`` must share a name with the HTML."""

    css: str
    needs: tuple[frozenset[str], ...]
    is_nested: bool = False
    name: str = ""

    def applies_to(self, names: set[str]) -> bool:
        return all(not names.isdisjoint(need) for need in self.needs)


def _names_in(html: str) -> set[str]:
    """Return the tags and, with a dot, the classes."""
    return set(_TAGS.findall(html)) | {f".{name}" for names in _CLASSES.findall(html) for name in names.split()}


@cache
def _rules() -> tuple[_Rule, ...]:
    return tuple(rule for rule in _parse(CSS + _COLUMNS_CSS) if not rule.name)


@cache
def _keyframes() -> tuple[_Rule, ...]:
    return tuple(rule for rule in _parse(CSS) if rule.name)


def _parse(css: str) -> Iterator[_Rule]:
    for selector, body in _blocks(css):
        if selector == _ANSWER:
            declarations, brace, _ = body.partition("\n")
            yield _Rule(declarations, (frozenset({".ipyllm-answer"}),), is_nested=True)
            for inner, rules in _blocks(body.removeprefix(declarations + brace)):
                yield _Rule(f"{inner}{{{rules}}}", _needs(inner, rules), is_nested=True)
        else:
            frames = _KEYFRAMES.match(selector)
            yield _Rule(f"{selector}{{{body}}}", _needs(selector, body), name=frames[1] if frames else "")


def _blocks(css: str) -> Iterator[tuple[str, str]]:
    """Yield selector and body of each outermost block."""
    depth = start = opened = 0
    for brace in _BRACES.finditer(css):
        depth += 1 if brace[0] == "{" else -1
        if brace[0] == "{" and depth == 1:
            opened = brace.start()
        elif depth == 0:
            yield css[start:opened].strip(), css[opened + 1 : brace.start()].strip()
            start = brace.end()


def _needs(selector: str, body: str) -> tuple[frozenset[str], ...]:
    if selector.startswith("@"):
        selector = next(_blocks(body))[0]
    plain = _ATTRIBUTE.sub("", selector)
    groups = [_NAME.findall(found) for found in _ALTERNATIVES.findall(plain)]
    groups += [[name] for name in _NAME.findall(_ALTERNATIVES.sub("", plain))]
    return tuple(frozenset(group) for group in groups if group and all(_OURS.match(name) for name in group))
