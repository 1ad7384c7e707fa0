"""The hand-written ES modules of ``static/``, joined to the one module that a widget sends. No bundler, no build.

A widget's code reaches the page as one text, in which ``import "./dom.js"`` would lead nowhere. So what a module
imports is put before it, and the lines that import and export are taken out. Names at the top of modules must be
unique; ``tests/widgets/test_modules.py`` holds that, and ``tsc`` checks the modules as they stand.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

__all__ = ["script", "styles"]

_STATIC = Path(__file__).parent / "static"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:const|function|class|async) )", re.MULTILINE)
_COMMENT = re.compile(r"^\s*(?:/\*\*.*?\*/|//[^\n]*)\n", re.MULTILINE | re.DOTALL)


@cache
def script(entry: str) -> str:
    """Return the module ``entry`` with everything it imports, comments left out."""
    done: dict[str, str] = {}
    _collect(entry, done)
    return "\n".join(done.values())


def _collect(name: str, done: dict[str, str]) -> None:
    if name in done:
        return
    source = (_STATIC / name).read_text(encoding="utf-8")
    for imported in _IMPORT.findall(source):
        _collect(imported, done)
    done[name] = _EXPORT.sub("", _IMPORT.sub("", _COMMENT.sub("", source)))


@cache
def styles(*names: str) -> str:
    """Return style sheets one after the other, that of answers first."""
    from ipyllm.rendering import CSS

    return "\n".join([CSS, *((_STATIC / name).read_text(encoding="utf-8") for name in names)])
