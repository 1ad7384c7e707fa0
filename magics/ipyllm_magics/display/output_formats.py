"""``-f``: what is made of an answer to show it. The prompt is sent as it is, whatever the form.

``markdown`` and ``text`` are shown as they grow. ``code``, ``json`` and ``html`` are taken out of the answer once it is
whole; until then its last lines are shown.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from ipyllm.text.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm_magics.command_line.options import Parsed

__all__ = ["FORMS", "Form", "NotThereError", "Whole", "chosen", "code_of", "for_next_cell", "json_of"]

_PYTHON = {"", "python", "py", "python3", "py3", "ipython", "ipython3"}
_CELL_MAGICS = {
    "bash": "bash", "sh": "sh", "shell": "bash", "html": "html", "javascript": "javascript", "js": "javascript",
    "latex": "latex", "markdown": "markdown", "perl": "perl", "ruby": "ruby",
}  # fmt: skip
_FRAME = (
    "<!doctype html><meta charset=utf-8>"
    "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
)


class NotThereError(ValueError):
    """An answer without what the form takes out of it; the text is a sentence."""


class Whole(NamedTuple):
    """A whole answer, as a browser and as a reader of text see it."""

    html: str
    text: str


@dataclass(frozen=True, slots=True)
class Form:
    """One value of ``-f``.

    Attributes
    ----------
    block : callable
        Renders a block of a growing answer as HTML; ``live`` says that it may still change.
    whole : callable or None
        Makes the whole answer from its text, or raises :class:`NotThereError`; None where it is shown block by block.
    """

    name: str
    block: Callable[..., str]
    whole: Callable[[str], Whole] | None = None


class Code(NamedTuple):
    """Code taken out of an answer."""

    source: str
    language: str


def code_of(answer: str) -> Code:
    r"""Take the code out of an answer: its fences in Python, or else in the language of the first.

    Raises
    ------
    NotThereError
        It holds none.

    Examples
    --------
    >>> code_of("First:\n```python\nx = 1\n```\nthen\n```python\nprint(x)\n```\nin a shell:\n```sh\nls\n```")
    Code(source='x = 1\n\nprint(x)', language='python')
    >>> code_of("print(1 + 1)").source
    'print(1 + 1)'
    """
    from ipyllm.rendering.markdown import parser

    fences = [
        ((token.info.split() or [""])[0].lower(), token.content.rstrip("\n"))
        for token in parser().parse(answer)
        if token.type == "fence" and token.content.strip()
    ]
    if not fences:
        if _is_python(answer):
            return Code(plain(answer.strip()), "python")
        raise NotThereError("The answer holds no code")
    is_python = any(language in _PYTHON for language, _ in fences)
    wanted = _PYTHON if is_python else {fences[0][0]}
    pieces = [source for language, source in fences if language in wanted]
    return Code(plain("\n\n".join(pieces)), "python" if is_python else fences[0][0])


def for_next_cell(code: Code) -> str:
    r"""Return the source of a cell that runs ``code``.

    Examples
    --------
    >>> for_next_cell(Code("ls", "sh"))
    '%%sh\nls'
    """
    magic = _CELL_MAGICS.get(code.language)
    return f"%%{magic}\n{code.source}" if magic else code.source


def json_of(answer: str) -> Any:
    """Read the JSON in an answer, past fences and chatter.

    Raises
    ------
    NotThereError
        It holds none.

    Examples
    --------
    >>> json_of('Here it is: {"a": 1}')
    {'a': 1}
    """
    from ipyllm.structured.answer import SchemaMismatch, read_json

    try:
        return read_json(answer)[0]
    except SchemaMismatch as exc:
        raise NotThereError(str(exc).rstrip(".")) from None


def _is_python(answer: str) -> bool:
    """Whether an answer without a fence is a program, and not a word or a sentence that happens to parse."""
    try:
        body = ast.parse(answer.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(not isinstance(part, ast.Expr) or isinstance(part.value, ast.Call) for part in body)


# ---- how each looks ----------------------------------------------------------------------------------


def _markdown(text: str, *, live: bool = False) -> str:
    from ipyllm.rendering import to_html

    return to_html(text, live=live)


def _text(text: str, *, live: bool = False) -> str:  # noqa: ARG001 - the same while it grows
    shown = escape(plain(text.strip("\n")), quote=False)
    if not shown:
        return ""
    return (
        '<div class="ipyllm-answer mathjax_ignore tex2jax_ignore" dir="auto">'
        f'<pre class="ipyllm-text">{shown}</pre></div>'
    )


def _fenced(source: str, language: str) -> str:
    """Return the HTML of highlighted code."""
    fence = "```"
    while fence in source:
        fence += "`"
    return _markdown(f"{fence}{language}\n{source}\n{fence}\n")


def _code(answer: str) -> Whole:
    code = code_of(answer)
    return Whole(_fenced(code.source, code.language), code.source)


def _json(answer: str) -> Whole:
    pretty = plain(json.dumps(json_of(answer), indent=2, ensure_ascii=False))
    return Whole(_fenced(pretty, "json"), pretty)


def _html(answer: str) -> Whole:
    """Box the page in: sanitised, in a frame without scripts, whose policy lets it fetch nothing."""
    from ipyllm.rendering.sanitize_page import sanitize_page

    source = _page_source(answer)
    framed = escape(_FRAME + sanitize_page(source))
    frame = (
        '<iframe class="ipyllm-page" sandbox="allow-popups" referrerpolicy="no-referrer" '
        'title="HTML of the answer, boxed in" width="100%" height="360" '
        f'srcdoc="{framed}"></iframe>'
    )
    listing = f"<details><summary>HTML source</summary>{_fenced(source, 'html')}</details>"
    return Whole(frame + listing, source)


def _page_source(answer: str) -> str:
    from ipyllm.rendering.markdown import parser

    fences = [
        token.content.strip()
        for token in parser().parse(answer)
        if token.type == "fence" and token.info.strip().lower() in {"html", "svg", "xml", ""}
    ]
    source = plain(max(fences, key=len, default=answer).strip())
    if "<" not in source:
        raise NotThereError("The answer holds no HTML")
    return source


FORMS = {
    form.name: form
    for form in (
        Form("markdown", _markdown),
        Form("text", _text),
        Form("code", _text, _code),
        Form("json", _text, _json),
        Form("html", _text, _html),
    )
}
"""By the word after ``-f``."""


def chosen(asked: Parsed, usual: str) -> Form:
    """Return the form of a line: its own, JSON for a schema, or else the notebook's usual one."""
    return FORMS[asked["format"] or ("json" if asked["schema"] else usual)]
