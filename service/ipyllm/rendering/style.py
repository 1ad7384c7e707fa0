"""Style sheet of answers, in the colours of the notebook's theme.

Colours of text come from VS Code's variables, else JupyterLab's (which Notebook 7 and nbconvert's HTML have too), else
from one set for light and one for dark pages. VS Code's come first because its notebooks load the style sheet of
ipywidgets, which sets JupyterLab's variables to those of a light page, whatever the theme. Lines are a grey that is
visible on both. The sheet fetches nothing: no ``url()``, no ``@import``, no fonts.

A cell of a notebook carries the rules for what is in it, see :func:`styles_for`: it looks right wherever it is moved
and whichever other cells are deleted, and paragraphs cost a few hundred bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["COPY_SCRIPT", "CSS", "LIVE_STYLE", "STYLE", "copy_script", "styled", "styles_for"]

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

LIVE_STYLE = f"<style>\n{CSS}{_COLUMNS_CSS}</style>\n"
"""All rules, for an answer of which it is not yet known what will be in it."""

COPY_SCRIPT = f"<script>\n{Path(__file__).with_name('copy_code.js').read_text(encoding='utf-8')}</script>\n"
"""Adds copy buttons to code; it has nothing of an answer."""

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


def styles_for(*outputs: str) -> str:
    r"""Return a style element with the rules for what is in the HTML of some outputs.

    Examples
    --------
    >>> paragraph, table = '<div class="ipyllm-answer"><p>Hi</p></div>', "<table></table>"
    >>> "\ntable{" in styles_for(paragraph), "\ntable{" in styles_for(paragraph, table)
    (False, True)
    """
    names = set().union(*map(_names_in, outputs))
    if "pre" in names:
        names |= _ADDED_BY_SCRIPT
    rules = [rule for rule in _rules() if rule.applies_to(names)]
    rules += [frames for frames in _keyframes() if any(frames.name in rule.css for rule in rules)]
    nested = "\n".join(rule.css for rule in rules if rule.is_nested)
    flat = "\n".join(rule.css for rule in rules if not rule.is_nested)
    css = "\n".join(filter(None, (f"{_ANSWER}{{{nested}}}" if nested else "", flat)))
    return f"<style>\n{css}\n</style>\n" if css else ""


def copy_script(*outputs: str) -> str:
    """Return the script that adds a button to each block of code, for after these outputs; empty if they have none.

    Front ends remove it from what they do not trust.
    """
    return COPY_SCRIPT if any("<pre" in html for html in outputs) else ""


def styled(html: str) -> str:
    """Return the HTML of a single output with its styles and, for its code, the script."""
    return styles_for(html) + html + copy_script(html)


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
            within = frozenset({".ipyllm-answer"})
            yield _Rule(declarations, (within,), is_nested=True)
            for inner, rules in _blocks(body.removeprefix(declarations + brace)):
                yield _Rule(f"{inner}{{{rules}}}", (within, *_needs(inner, rules)), is_nested=True)
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
