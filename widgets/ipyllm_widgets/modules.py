"""Joins the ES modules of ``static/`` into the one module that a widget sends, without a bundler.

A widget's code reaches the page as one text, in which ``import "./dom.js"`` cannot be resolved. So each module follows
the modules it imports, and the import and export statements are removed. Top-level names of all modules must be
unique, which ``tests/widgets/test_modules.py`` checks.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

__all__ = ["script", "styles"]

_STATIC = Path(__file__).resolve().parent / "static"
_IMPORT = re.compile(r'^import \{[^}]*\} from "(\.[\w./]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:const|function|class|async) )", re.MULTILINE)
_INDENT = re.compile(r"^[ \t]+", re.MULTILINE)
_COMMENT = re.compile(r"^\s*(?:/\*\*.*?\*/|//[^\n]*)\n", re.MULTILINE | re.DOTALL)
_REMARK = re.compile(r"(?<=[;{,)\]]) +// [^\n\"'`]*$", re.MULTILINE)  # at the end of a line, and not in a string
_TYPE = re.compile(r"/\*\* @(?:type|param|returns|template)\b.*?\*/ ?")  # within a line


@cache
def script(entry: str) -> str:
    """Return the module ``entry`` preceded by everything it imports, without comments and indentation."""
    joined: dict[Path, str] = {}
    _collect(_STATIC / entry, joined)
    return "\n".join(joined.values())


def _collect(path: Path, joined: dict[Path, str]) -> None:
    if path in joined:
        return
    source = path.read_text(encoding="utf-8")
    for imported in _IMPORT.findall(source):
        _collect((path.parent / imported).resolve(), joined)
    for left_out in (_COMMENT, _REMARK, _IMPORT, _EXPORT, _TYPE, _INDENT):
        source = left_out.sub("", source)
    joined[path] = source


@cache
def styles(*names: str) -> str:
    """Return the style sheet of answers, followed by the files ``names``."""
    from ipyllm.rendering import CSS

    return "\n".join([CSS, *((_STATIC / name).read_text(encoding="utf-8") for name in names)])
