"""Syntax highlighting of code in an answer, with a dozen CSS classes.

Pygments tokenizes the code; we write the HTML, because its formatter uses four times as many classes as a notebook
theme has colours. Only listed languages are tokenized: the model chooses the name, and a lexer runs its regular
expressions on untrusted text.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from html import escape
from itertools import groupby
from time import thread_time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pygments.lexer import Lexer
    from pygments.token import _TokenType

__all__ = ["CLASSES", "LANGUAGE_CLASSES", "highlight", "language_of"]

_CLASS_OF = {
    "Comment": "c",
    "Comment.Preproc": "nd",
    "Generic.Deleted": "gd",
    "Generic.Heading": "k",
    "Generic.Inserted": "gi",
    "Generic.Prompt": "c",
    "Generic.Subheading": "k",
    "Keyword": "k",
    "Literal.Number": "m",
    "Literal.String": "s",
    "Name.Attribute": "na",
    "Name.Builtin": "nb",
    "Name.Class": "nf",
    "Name.Decorator": "nd",
    "Name.Exception": "nb",
    "Name.Function": "nf",
    "Name.Tag": "nt",
    "Name.Variable": "nv",
    "Operator": "o",
    "Operator.Word": "k",
}
CLASSES = frozenset(_CLASS_OF.values())
"""All classes that :func:`highlight` writes; :mod:`ipyllm.rendering.style` gives each a colour of the theme."""

_LANGUAGES = frozenset(
    "bash bat bibtex c c# c++ clojure cmake console cpp csharp css cuda cypher dart diff docker "  # noqa: SIM905
    "dockerfile elixir elm erlang f# fortran fsharp go golang graphql groovy haskell hcl html "
    "http ini ipython java javascript jinja js json jsonl jsx julia kotlin latex lisp lua make "
    "makefile markdown matlab md nginx nim nix objective-c ocaml octave pascal perl php "
    "powershell prolog protobuf ps1 pwsh py py3 pycon python python3 r rb rs rst ruby rust "
    "scala scheme scss sh shell sparql sql stan svg swift systemverilog tcl terraform tex toml "
    "ts tsx typescript vb.net verilog vhdl vim xml yaml yml zig zsh".split()
)
LANGUAGE_CLASSES = frozenset(f"language-{name}" for name in _LANGUAGES)
"""Classes that name the language of a block."""
_LEXER_OF = {"jsonl": "json", "md": "markdown", "shell": "bash", "svg": "xml"}
# Some lexers take quadratic or cubic time on long lines or many empty ones: seconds for 3,000 characters.
_MAX_CODE = 40_000
_SLOW_TO_TOKENIZE = re.compile(r"[^\n]{500}|(?:\n[ \t]*){7}")
_MAX_SECONDS = 0.25
_FIRST_WORD = re.compile(r"[{.\s]*([\w+#.-]+)")


def language_of(info: str) -> str:
    """Return the language that a fence's info string names, empty if it is not a known one.

    Examples
    --------
    >>> language_of("Python title=fit.py"), language_of("whatever")
    ('python', '')
    """
    match = _FIRST_WORD.match(info)
    language = match[1].lower() if match else ""
    return language if language in _LANGUAGES else ""


def highlight(code: str, info: str) -> str:
    """Return ``code`` as escaped HTML, coloured where the fence's info string names a known language."""
    language = language_of(info)
    if not language or len(code) > _MAX_CODE or _SLOW_TO_TOKENIZE.search(code):
        return escape(code, quote=False)
    return _highlight(code, language)


@lru_cache(maxsize=64)  # a fence in the live tail of a stream is rendered many times
def _highlight(code: str, language: str) -> str:
    lexer = _lexer(language)
    if lexer is None:
        return escape(code, quote=False)
    tokens = _tokens(lexer, code)
    if "".join(text for _, text in tokens) != code:
        return escape(code, quote=False)
    html = []
    for name, run in groupby(tokens, key=lambda token: token[0]):
        text = escape("".join(text for _, text in run), quote=False)
        html.append(f'<span class="{name}">{text}</span>' if name else text)
    return "".join(html)


def _tokens(lexer: Lexer, code: str) -> list[tuple[str, str]]:
    """Return pieces of code with their classes. They may be incomplete or differ from the code.

    Some lexers change line ends, one raises its own exceptions, and time is limited.
    """
    tokens = []
    end = thread_time() + _MAX_SECONDS
    try:
        for kind, text in lexer.get_tokens(code):
            tokens.append((_class_of(kind), text))
            if thread_time() > end:
                break
    except Exception:  # noqa: BLE001 - a lexer failed on untrusted text, which is shown without colours
        return []
    return tokens


@cache
def _lexer(language: str) -> Lexer | None:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(_LEXER_OF.get(language, language), stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


@cache
def _class_of(kind: _TokenType) -> str:
    """Return the class of a token type, or of its nearest parent that has one."""
    path = str(kind).removeprefix("Token.")
    while path:
        if path in _CLASS_OF:
            return _CLASS_OF[path]
        path = path.rpartition(".")[0]
    return ""
