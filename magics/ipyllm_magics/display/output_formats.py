"""Values of ``-f``: each shows an answer in another format. The prompt is sent unchanged.

``markdown`` and ``text`` are shown as they grow. ``code``, ``json``, ``html`` and ``tokens`` are made of the
complete answer; until then its last lines are shown.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from ipyllm.rendering.markdown_source import fenced, to_markdown
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.response import ChatResponse
    from ipyllm_magics.command_line.parser import Parsed

__all__ = [
    "OUTPUT_FORMATS", "Code", "Extract", "NotFoundInAnswerError", "OutputFormat", "choose_format", "extract_code",
    "extract_json", "fenced", "parsed_value",
]  # fmt: skip

_PYTHON = {"", "python", "py", "python3", "py3", "ipython", "ipython3"}
_FRAME = (
    "<!doctype html><meta charset=utf-8>"
    "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
)


class NotFoundInAnswerError(ValueError):
    """Raised if an answer lacks what the format extracts; the text is a sentence without its full stop."""


class Extract(NamedTuple):
    """What a format extracted from a complete answer: for a browser, as plain text, and as markdown."""

    html: str
    text: str
    markdown: str


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """One value of ``-f``.

    Attributes
    ----------
    render_block : callable
        Renders a block of a growing answer as HTML; it is given ``live=True`` while the block may still change.
    extract : callable or None
        Extracts from a complete answer, or raises :class:`NotFoundInAnswerError`; None if shown block by block.
    as_markdown : callable
        Returns the source of a block as markdown that any front end may show.
    """

    name: str
    render_block: Callable[..., str]
    extract: Callable[[ChatResponse], Extract] | None = None
    as_markdown: Callable[[str], str] = to_markdown


class Code(NamedTuple):
    """Code extracted from an answer."""

    source: str
    language: str


def extract_code(answer: str) -> Code:
    r"""Extract the code of an answer: its Python blocks, or else those in the language of the first block.

    Examples
    --------
    >>> extract_code("First:\n```python\nx = 1\n```\nthen\n```python\nprint(x)\n```\nin a shell:\n```sh\nls\n```")
    Code(source='x = 1\n\nprint(x)', language='python')
    >>> extract_code("print(1 + 1)").source
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
            return Code(strip_control_sequences(answer.strip()), "python")
        raise NotFoundInAnswerError("The answer contains no code")
    is_python = any(language in _PYTHON for language, _ in fences)
    wanted = _PYTHON if is_python else {fences[0][0]}
    pieces = [source for language, source in fences if language in wanted]
    return Code(strip_control_sequences("\n\n".join(pieces)), "python" if is_python else fences[0][0])


def extract_json(answer: str) -> Any:
    """Return the JSON value in an answer, without fences and surrounding prose.

    Examples
    --------
    >>> extract_json('Here it is: {"a": 1}')
    {'a': 1}
    """
    from ipyllm.structured.json_answer import SchemaMismatch, read_json

    try:
        return read_json(answer)[0]
    except SchemaMismatch as exc:
        raise NotFoundInAnswerError(str(exc).rstrip(".")) from None


def parsed_value(response: ChatResponse) -> Any:
    """Return the parsed value of a response, else the JSON in its text, else None."""
    if response.parsed is not None:
        return response.parsed
    try:
        return extract_json(response.content)
    except NotFoundInAnswerError:  # reported where the answer is shown
        return None


def _is_python(answer: str) -> bool:
    """Whether an answer without a fence is a program, and not a word or a sentence that happens to parse."""
    try:
        body = ast.parse(answer.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(not isinstance(part, ast.Expr) or isinstance(part.value, ast.Call) for part in body)


def _markdown(text: str, *, live: bool = False) -> str:
    from ipyllm.rendering import to_html

    return to_html(text, live=live)


def _text(text: str, *, live: bool = False) -> str:  # noqa: ARG001 - the same while it grows
    from ipyllm.rendering.markdown import plain_html

    shown = strip_control_sequences(text.strip("\n"))
    return plain_html(shown) if shown else ""


def _code(response: ChatResponse) -> Extract:
    code = extract_code(response.content)
    return _listing(code.source, code.language)


def _json(response: ChatResponse) -> Extract:
    pretty = strip_control_sequences(json.dumps(extract_json(response.content), indent=2, ensure_ascii=False))
    return _listing(pretty, "json")


def _listing(source: str, language: str) -> Extract:
    listing = fenced(source, language)
    return Extract(_markdown(listing), source, to_markdown(listing))


def _html(response: ChatResponse) -> Extract:
    """Return the page, sanitised, in a frame without scripts, with a policy that forbids fetching."""
    from ipyllm.rendering.sanitize_page import sanitize_page

    source = _page_source(response.content)
    framed = escape(_FRAME + sanitize_page(source))
    frame = (
        '<iframe class="ipyllm-page" sandbox="allow-popups" referrerpolicy="no-referrer" '
        'title="HTML of the answer, sandboxed" width="100%" height="360" '
        f'srcdoc="{framed}"></iframe>'
    )
    listing = f"<details><summary>HTML source</summary>{_markdown(fenced(source, 'html'))}</details>"
    return Extract(frame + listing, source, to_markdown(fenced(source, "html")))


def _tokens(response: ChatResponse) -> Extract:
    from ipyllm.rendering.token_view import tokens_html, tokens_markdown, tokens_text

    if not response.logprobs:
        raise NotFoundInAnswerError("The server sent no log probabilities")
    return Extract(*(render(response.logprobs) for render in (tokens_html, tokens_text, tokens_markdown)))


def _page_source(answer: str) -> str:
    from ipyllm.rendering.markdown import parser

    fences = [
        token.content.strip()
        for token in parser().parse(answer)
        if token.type == "fence" and token.info.strip().lower() in {"html", "svg", "xml", ""}
    ]
    source = strip_control_sequences(max(fences, key=len, default=answer).strip())
    if "<" not in source:
        raise NotFoundInAnswerError("The answer contains no HTML")
    return source


OUTPUT_FORMATS = {
    output_format.name: output_format
    for output_format in (
        OutputFormat("markdown", _markdown),
        OutputFormat("text", _text, as_markdown=fenced),
        OutputFormat("code", _text, _code),
        OutputFormat("json", _text, _json),
        OutputFormat("html", _text, _html),
        OutputFormat("tokens", _text, _tokens),
    )
}
"""Output formats by name."""


def choose_format(parsed: Parsed, default: str) -> OutputFormat:
    """Return the format that the line names, JSON if it names a schema, or else the notebook's default."""
    return OUTPUT_FORMATS[parsed["format"] or ("json" if parsed["schema"] else default)]
