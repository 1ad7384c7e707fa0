"""Lets a formula be read where MathML is removed: hidden annotations turn what is left of it into one line of text.

JupyterLab (in a notebook that is not trusted), GitHub and converters to Markdown remove the tags of MathML and keep
their text, so that ``√π`` would read ``π`` and ``x²`` would read ``x2``. With the annotations they read ``√π`` and
``x^2``. An annotation is never drawn: of ``<semantics>``, browsers show the first child only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HIDDEN_TAGS", "add_text"]

HIDDEN_TAGS = frozenset({"semantics", "annotation"})
"""Tags of the annotations."""

_SCRIPTS = {"msub": "_", "munder": "_", "msup": "^", "mover": "^", "msubsup": "_^", "munderover": "_^"}
_ROWS = frozenset({"math", "mrow", "mtd", "mstyle", "mpadded", "mphantom", "menclose"})
_PRIMES = frozenset("′″‴⁗")
_BEGINS_WORD = re.compile(r"[^\W_]|[∏∑∫√]")
_ENDS_WORD = frozenset({*_SCRIPTS, "mfrac", "msqrt", "mroot"})


def add_text(math: Any) -> None:
    """Add annotations to a formula, an ``Element`` of :mod:`xml.etree.ElementTree`, in place.

    Examples
    --------
    >>> from xml.etree.ElementTree import fromstring
    >>> math = fromstring("<math><msup><mi>x</mi><mn>2</mn></msup><msqrt><mi>π</mi></msqrt></math>")
    >>> add_text(math)
    >>> "".join(math.itertext())
    'x^2 √π'
    """
    for element in list(math.iter()):
        if element.tag in _SCRIPTS:
            _mark_scripts(element)
        elif element.tag == "mfrac":
            _mark_fraction(element)
        elif element.tag == "msqrt":
            _gather(element, "√(" if _is_compound(element) else "√", ")" if _is_compound(element) else "")
        elif element.tag == "mroot":
            _surround(element, 0, *(("(", ")") if _is_compound(element[0]) else ("", "")))
            _surround(element, 1, "^(1/", ")")
        elif element.tag == "mtable":
            _mark_cells(element)
    for element in list(math.iter()):
        if element.tag in _ROWS:
            _separate_words(element)


def _mark_scripts(element: Any) -> None:
    for index, mark in enumerate(_SCRIPTS[element.tag], 1):
        script = element[index]
        text = "".join(script.itertext())
        is_accent = element.tag in {"mover", "munder"} and script.tag == "mo" and len(text) == 1
        if is_accent or (text and _PRIMES.issuperset(text)):
            continue
        compound = _is_compound(script)
        _surround(element, index, f"{mark}(" if compound else mark, ")" if compound else "")


def _mark_fraction(element: Any) -> None:
    line = " choose " if element.get("linethickness") == "0" else "/"
    for index, end in enumerate((line, "")):
        compound = _is_compound(element[index])
        _surround(element, index, "(" if compound else "", f"){end}" if compound else end)


def _mark_cells(table: Any) -> None:
    rows = list(table)
    for row in rows:
        cells = list(row)
        for cell in cells:
            if cell is not cells[-1]:
                _gather(cell, "", " " if cell.get("columnalign") else ", ")
            elif row is not rows[-1]:
                _gather(cell, "", "; ")


def _separate_words(row: Any) -> None:
    """Put a space between a name, an exponent or a fraction and the term that follows it."""
    following = ""
    for index in reversed(range(len(row))):
        text = "".join(row[index].itertext())
        if _BEGINS_WORD.match(following) and _ends_word(row[index]):
            row.insert(index + 1, _hidden(" "))
        following = text or following


def _ends_word(element: Any) -> bool:
    if element.tag in _ENDS_WORD:
        return True
    text = element.text or ""
    return element.tag in {"mi", "mo"} and len(text) > 1 and text.isalpha()


def _is_compound(element: Any) -> bool:
    """Return whether an element's text needs brackets around it."""
    leaves = [leaf for leaf in _leaves(element) if leaf.text]
    return len(leaves) > 1


def _leaves(element: Any) -> Iterator[Any]:
    return (child for child in element.iter() if not len(child) and child.tag != "annotation")


def _surround(parent: Any, index: int, before: str, after: str) -> None:
    """Put annotations around a child."""
    child = parent[index]
    if child.tag == "mo":  # alone in a row it would get the spaces of an operator between two numbers
        child.attrib = {"lspace": "0", "rspace": "0", **child.attrib}
    parent[index] = _row([child], before, after)


def _gather(element: Any, before: str, after: str) -> None:
    """Put annotations around all children of an element."""
    children = list(element)
    for child in children:
        element.remove(child)
    element.append(_row(children, before, after))


def _row(children: list[Any], before: str, after: str) -> Any:
    # A row of their own: an operator's spaces depend on whether it is the first or last of its row.
    content = children[0] if len(children) == 1 and children[0].tag != "mo" else _element("mrow", *children)
    parts = [*([_hidden(before)] if before else []), content, *([_hidden(after)] if after else [])]
    return _element("mrow", *parts) if len(parts) > 1 else content


def _hidden(text: str) -> Any:
    annotation = _element("annotation")
    annotation.text = text
    return _element("semantics", _element("mrow"), annotation)


def _element(tag: str, *children: Any) -> Any:
    from xml.etree.ElementTree import Element

    element = Element(tag)
    element.extend(children)
    return element
