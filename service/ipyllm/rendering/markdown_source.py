r"""Markdown of an answer that any program may show or convert: beside the HTML, each output carries it as its source.

Markdown of a model is untrusted. A front end that renders it may accept raw HTML and fetch images, and LaTeX, to which
notebooks are exported, runs commands such as ``\input``. What could do that is written so that it is shown as text, as
in :func:`ipyllm.rendering.markdown.to_html`; code is left as it is, and math is written between dollars.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from ipyllm.rendering.inline_tags import INLINE_TAGS
from ipyllm.rendering.sanitize_answer import is_raster_image
from ipyllm.rendering.tex import match_math, to_mathml
from ipyllm.text.surrogates import replace_surrogates
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

__all__ = ["escape_markdown", "fenced", "to_markdown"]

_LINE_END = re.compile(r"\r\n?|\n")
_SPECIAL = re.compile(r"[\\`*_{}\[\]>#|~$&^]")
_FENCE = re.compile(r"(?P<prefix>.*?)(?P<fence>`{3,}|~{3,})(?P<info>.*)")
_LANGUAGE = re.compile(r"[{.\s]*([\w+#-]+)")
_DEFINITION = re.compile(r"[ \t>]*\[[^\]]+\]:\s*<?(\S+)")
_NO_QUOTE = re.compile(r"[^>\s]")
_WEB = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
_MARK = re.compile(
    r"(?P<ticks>`+)|(?P<note>\[\^[\w-]{1,32}\]:)|(?P<math>\$|\\[(\[])|(?P<escaped>\\[!-/:-@\[-`{-~])|(?P<command>\\(?=[A-Za-z]))"
    r"|(?P<image>!\[)|(?P<target>\](?:\(|:(?=\s))\s*<?(?P<address>[^\s)>]*))|(?P<tag><(?=[A-Za-z/!?]))"
)
_HARMLESS_TAG = re.compile(rf"</?(?:{'|'.join(INLINE_TAGS)})>|<br ?/?>|<(?:https?://|mailto:)[^\s<>]*>", re.IGNORECASE)
_IMAGE = re.compile(r"(?P<alt>[^\[\]\n]*)\]\((?P<address>[^\s()<>]*)\)")
_LINE_START = re.compile(r"\n[ \t>]*")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
# Of ^^ TeX makes any character; the others end a formula, begin one within it, or a comment.
_NOT_IN_MATH = re.compile(r"\^\^|(?<!\\)[%$]|(?<!\\)\\[()\[\]]")
_COMMAND = re.compile(r"\\[A-Za-z@]+")
# Of the commands that the library converts: those that define, link, or mean something else to LaTeX or to a page.
_REFUSED = frozenset(
    rf"\{name}"
    for name in (
        "DeclareMathOperator", "class", "def", "href", "newcommand", "newenvironment", "rule", "style", "unicode",
        "verb",
    )
)  # fmt: skip
_ENVIRONMENTS = frozenset({"aligned", "align", "gathered", "gather", "equation", "displaymath", "dcases", "array"})
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{([^}]*)\}")
# These make their own math, so that LaTeX refuses them between dollars.
_OUTER = re.compile(r"(\\(?:begin|end)\{)(align|gather)\*?\}")
_EQUATION = re.compile(r"\\(?:begin|end)\{(?:equation|displaymath)\*?\}")


def to_markdown(text: str) -> str:
    r"""Return a model's markdown such that whatever shows or converts it shows text.

    Examples
    --------
    >>> to_markdown(r"**\(x^2\)** costs $5. <script>alert(1)</script> ![plot](https://a.example/b.png) \input{c}")
    '**$x^2$** costs \\$5. &lt;script>alert(1)&lt;/script> [🖼 plot](https://a.example/b.png) \\\\input{c}'
    """
    from ipyllm.rendering.markdown import parser

    source = _LINE_END.sub("\n", strip_control_sequences(replace_surrogates(text)))
    tokens = parser().parse(source)
    return "\n".join(_lines(source.split("\n"), tokens))


def escape_markdown(text: str) -> str:
    r"""Return one line of plain text as markdown.

    Examples
    --------
    >>> escape_markdown("a_b * 2")
    'a\\_b \\* 2'
    """
    line = " ".join(strip_control_sequences(replace_surrogates(text)).split())
    return _SPECIAL.sub(r"\\\g<0>", line).replace("<", "&lt;")


def fenced(source: str, language: str = "") -> str:
    """Return ``source`` as a fenced block of markdown."""
    fence = "```"
    while fence in source:
        fence += "`"
    return f"{fence}{language}\n{source}\n{fence}\n"


def _lines(lines: list[str], tokens: list[Token]) -> Iterator[str]:
    """Yield the lines, block by block: a mark that ends a block ends what it began within it."""
    done = 0
    for token in tokens:
        if token.map is None or token.type not in {"inline", "fence", "code_block", "math_block"}:
            continue
        start, end = token.map
        if start < done:  # a cell of a table, whose row is done
            continue
        yield from map(_between, lines[done:start])
        block = lines[start:end]
        if token.type == "fence":
            yield from _fence(block, token)
        elif token.type == "code_block":
            yield from _indented_code(block, token)
        elif token.type == "math_block":
            prefix = block[0].partition(token.markup)[0]
            yield prefix + _formula(token.content, token.meta["source"], display=True)
        else:
            yield _escape("\n".join(block))
        done = end
    yield from map(_between, lines[done:])


def _between(line: str) -> str:
    """Return a line between blocks: blank, a rule, or the definition of a link."""
    definition = _DEFINITION.match(line)
    if definition:
        return line if _WEB.match(definition[1]) else ""
    return _escape(line)


def _fence(block: list[str], token: Token) -> Iterator[str]:
    opening = _FENCE.fullmatch(block[0])
    if opening is None:
        yield _escape("\n".join(block))
        return
    language = _LANGUAGE.match(opening["info"])  # `{=latex}` would be passed on as LaTeX
    yield f"{opening['prefix']}{opening['fence']}{language[1] if language else ''}"
    yield from block[1 : 1 + len(token.content.removesuffix("\n").split("\n"))] if token.content else ()
    yield _continued(opening["prefix"]) + opening["fence"]


def _indented_code(block: list[str], token: Token) -> Iterator[str]:
    """Yield the code between fences: programs disagree on how far code in a list is indented."""
    content = token.content.rstrip("\n").split("\n")
    indent = block[0][: len(block[0]) - len(content[0])]
    prefix = indent.removesuffix("\t") if indent.endswith("\t") else indent[:-4]
    opening, *code = fenced("\n".join(content)).rstrip("\n").split("\n")
    yield prefix + opening
    yield from (_continued(prefix) + line for line in code)


def _continued(prefix: str) -> str:
    """Return the prefix of a later line of a list or quote, whose first line has ``prefix``."""
    return _NO_QUOTE.sub(" ", prefix)


def _escape(text: str) -> str:
    pieces, done = [], 0
    while match := _MARK.search(text, done):
        pieces.append(text[done : match.start()])
        written, done = _written(text, match)
        pieces.append(written)
    return "".join([*pieces, text[done:]])


def _written(text: str, match: re.Match[str]) -> tuple[str, int]:
    """Return how what begins at a mark is written, and where it ends."""
    start, end = match.span()
    written = match[0]
    match match.lastgroup:
        case "ticks":
            return _code_span(text, written, end)
        case "math":
            return _math(text, start)
        case "image":
            written, end = _image(text, end)
        case "command":
            written = "\\\\"
        case "tag":
            harmless = _HARMLESS_TAG.match(text, start)
            written, end = (harmless[0], harmless.end()) if harmless else ("&lt;", end)
        case "address" | "target" if not _WEB.match(match["address"]):
            written, end = "&#93;", start + 1
    return written, end


def _code_span(text: str, ticks: str, start: int) -> tuple[str, int]:
    closing = re.compile(rf"(?<!`){ticks}(?!`)").search(text, start)
    if closing is None:
        return ticks, start
    follows = "\\" if text.startswith("{", closing.end()) else ""  # `…`{=latex} would be passed on as LaTeX
    return text[start - len(ticks) : closing.end()] + follows, closing.end()


def _image(text: str, end: int) -> tuple[str, int]:
    """Write an image that has its own pixels; any other becomes a link."""
    image = _IMAGE.match(text, end)
    if image and is_raster_image(image["address"]):
        return f"![{_escape(image['alt'])}]({image['address']})", image.end()
    return "[🖼 ", end


def _math(text: str, start: int) -> tuple[str, int]:
    found = match_math(text, start)
    if found is None:
        mark = "$" if text[start] == "$" else text[start : start + 2]
        return f"\\{mark}", start + len(mark)
    markup, tex, end = found
    return _formula(tex, text[start:end], display=markup in {"$$", r"\["}), end


def _formula(tex: str, source: str, *, display: bool) -> str:
    """Return a formula between dollars, on one line; one that is not portable as code, as its HTML shows it."""
    tex = _LINE_START.sub(" ", tex)
    if not _is_portable(tex):
        return _as_code(" ".join(_LINE_START.sub(" ", source).split()))
    dollars = "$$" if display else "$"
    portable = _OUTER.sub(r"\1\2ed}", _EQUATION.sub("", tex)).strip()
    return dollars + _TAG.sub("< ", portable) + dollars


def _as_code(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    ticks = "`" * (longest + 1)
    space = " " if longest else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def _is_portable(tex: str) -> bool:
    """Return whether the formula can be converted, and has nothing but commands of mathematics."""
    return (
        to_mathml(tex, display=True) is not None
        and not _NOT_IN_MATH.search(tex)
        and all(command in _math_commands() for command in _COMMAND.findall(tex))
        and all(
            name.rstrip("*") in _ENVIRONMENTS or rf"\{name}" in _math_commands() for name in _ENVIRONMENT.findall(tex)
        )
    )


@cache
def _math_commands() -> frozenset[str]:
    """Return the commands that the library converts, from its tables."""
    from latex2mathml import commands
    from latex2mathml.symbols_parser import SYMBOLS

    def names(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, (dict, frozenset, list, set, tuple)):
            for item in value:
                yield from names(item)

    constants = (value for name, value in vars(commands).items() if name.isupper())
    return frozenset({*names(list(constants)), *SYMBOLS}) - _REFUSED
