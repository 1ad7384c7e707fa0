r"""Converts math in an answer, ``$…$``, ``$$…$$``, ``\(…\)`` and ``\[…\]``, to MathML.

MathML needs no script, which sanitised HTML cannot contain, and works in exports. A formula that cannot be converted is
shown as TeX source. ``$5 and $10`` stays text.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from html import escape, unescape
from typing import TYPE_CHECKING, Any

from ipyllm.rendering.math_text import add_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict

__all__ = ["MATHML_ATTRIBUTES", "MATHML_TAGS", "add_math", "match_math", "to_mathml"]

MATHML_TAGS = frozenset(
    "math menclose mfrac mi mn mo mover mpadded mphantom mroot mrow mspace msqrt mstyle msub msubsup msup "  # noqa: SIM905 - a list of words
    "mtable mtd mtext mtr munder munderover".split()
)
_WORD = r"[a-z-]{1,24}"
_LENGTH = r"-?\d{0,2}(?:\.\d{1,4})?(?:em|ex|px|pt|mu)?"  # no length that would cover the page
_VALUES = {
    "accent": _WORD,
    "columnalign": rf"{_WORD}(?: {_WORD})*",
    "columnspacing": rf"{_LENGTH}(?: {_LENGTH})*",
    "display": _WORD,
    "displaystyle": _WORD,
    "fence": _WORD,
    "form": _WORD,
    "largeop": _WORD,
    "linethickness": _LENGTH,
    "lspace": _LENGTH,
    "mathcolor": r"[A-Za-z]{1,24}|#[0-9A-Fa-f]{3,6}",
    "mathvariant": _WORD,
    "maxsize": _LENGTH,
    "minsize": _LENGTH,
    "movablelimits": _WORD,
    "notation": rf"{_WORD}(?: {_WORD})*",
    "rowspacing": rf"{_LENGTH}(?: {_LENGTH})*",
    "rspace": _LENGTH,
    "scriptlevel": r"[+-]?\d",
    "separator": _WORD,
    "stretchy": _WORD,
    "width": _LENGTH,
}
_ALLOWED_VALUE = {name: re.compile(value) for name, value in _VALUES.items()}
MATHML_ATTRIBUTES = frozenset(_VALUES)

_MAX_SOURCE = 4_000  # how far a closing delimiter is looked for
_MAX_FORMULA = 1_000  # conversion costs about 10 µs a character
_MAX_TEX = 20_000  # characters of TeX per text
_DOLLARS = re.compile(r"\$\$((?:[^$\\]|\\.){1,4000}?)\$\$", re.DOTALL)
_DOLLAR = re.compile(r"\$(?!\s)((?:[^$\\]|\\.){1,1000}?)(?<!\s)\$(?!\w)", re.DOTALL)
_MONEY = re.compile(r"\d[\d.,]*(?:[kKMBm]\b)?[\s.,;:)/\u2013-]+(?:[A-Za-z]{3,}|(?:an?|at|in|is|of|on|or|to|vs)\b)")
_CLOSING = {"$$": "$$", r"\[": r"\]"}
_DEFINITION = re.compile(r"\\(?:re)?newcommand|\\providecommand|\\[egx]?def\b|\\let\b|\\DeclareMathOperator")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_ENTITY = re.compile(r"&#x[0-9A-Fa-f]{1,6};")
_NOT_OPERATORS = "∞∂∇∅"

# Environments that the library lacks are replaced by those that it has.
_ENVIRONMENTS = re.compile(r"\\(begin|end)\{(?:aligned|align|split|gathered|gather)\*?\}")
_EQUATION = re.compile(r"\\(?:begin|end)\{(?:equation|displaymath)\*?\}")
# Without braces the library attaches the exponent to the matrix's last part.
_MATRIX_POWER = re.compile(r"(\\begin\{(\w*matrix)\}.*?\\end\{\2\})(?=\s*[\^_])", re.DOTALL)
_LIMITS = frozenset({"arg max", "arg min", "argmax", "argmin", "inf", "lim", "lim inf", "lim sup", "max", "min", "sup"})
_CHILDREN = {"mfrac": 2, "mover": 2, "mroot": 2, "msub": 2, "msubsup": 3, "msup": 2, "munder": 2, "munderover": 3}


def to_mathml(tex: str, *, display: bool) -> str | None:
    """Convert a formula, TeX without its delimiters; None if it cannot be converted, or would take too long."""
    # Definitions can double a formula at every step; no answer needs them.
    if len(tex) > _MAX_FORMULA or _DEFINITION.search(tex):
        return None
    return _convert(tex.strip(), display)


def add_math(md: MarkdownIt) -> None:
    """Add math to the parser: an inline rule, a block rule and how to draw both."""
    md.inline.ruler.before("escape", "math_inline", _inline_rule)
    md.block.ruler.before("fence", "math_block", _block_rule, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    md.add_render_rule("math_inline", _render)
    md.add_render_rule("math_block", _render)


@lru_cache(maxsize=512)  # formulas in the live tail of a stream are drawn many times
def _convert(tex: str, display: bool) -> str | None:
    from xml.etree.ElementTree import tostring

    from latex2mathml.converter import convert_to_element

    try:
        math = convert_to_element(_with_known_environments(tex), display="block" if display else "inline")
        if not _clean(math, display=display):
            return None
        add_text(math)
        # The library's own serialiser writes `<` from \text{…} unescaped.
        return tostring(math, encoding="unicode")
    except Exception:  # noqa: BLE001 - its parser raises IndexError, KeyError, RecursionError… on bad TeX
        return None


def _with_known_environments(tex: str) -> str:
    tex = _EQUATION.sub("", _ENVIRONMENTS.sub(r"\\\1{align*}", tex)).replace("{dcases}", "{cases}")
    return _MATRIX_POWER.sub(r"{\1}", tex)


def _clean(math: Element, *, display: bool) -> bool:
    """Remove attributes that are not allowed; return whether the formula was understood."""
    for element in math.iter():
        if element.tag not in MATHML_TAGS or len(element) != _CHILDREN.get(element.tag, len(element)):
            return False
        for name, value in list(element.attrib.items()):
            if name not in _ALLOWED_VALUE or not _ALLOWED_VALUE[name].fullmatch(value):
                del element.attrib[name]
        if element.text:
            element.text = _ENTITY.sub(lambda entity: unescape(entity[0]), element.text)
            if element.tag != "mtext" and (_COMMAND.search(element.text) or element.text == "&"):
                return False
            if element.tag == "mi" and _is_operator(element.text):
                element.tag = "mo"  # the library reads ± and many relations as names, without their spacing
        if display and element.tag == "msub" and _ENTITY.sub(" ", element[0].text or "") in _LIMITS:
            element.tag = "munder"
    return True


def _is_operator(text: str) -> bool:
    return len(text) == 1 and unicodedata.category(text) == "Sm" and text not in _NOT_OPERATORS


def _render(_: Any, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:  # noqa: ARG001
    token = tokens[idx]
    display = token.markup in _CLOSING
    total = env["ipyllm_tex"] = env.get("ipyllm_tex", 0) + len(token.content)
    mathml = to_mathml(token.content, display=display) if total <= _MAX_TEX else None
    if mathml is None:
        html = f"<code>{escape(token.meta['source'], quote=False)}</code>"
    else:
        html = f'<span class="ipyllm-math">{mathml}</span>' if display else mathml
    return f"<p>{html}</p>\n" if token.block else html


def _inline_rule(state: StateInline, silent: bool) -> bool:
    source, pos = state.src, state.pos
    found = match_math(source, pos)
    if not found:
        return False
    markup, tex, end = found
    if end > state.posMax:
        return False
    if not silent:
        token = state.push("math_inline", "math", 0)
        token.content, token.markup, token.meta = tex, markup, {"source": source[pos:end]}
    state.pos = end
    return True


def match_math(source: str, pos: int) -> tuple[str, str, int] | None:
    """Return the opening mark, TeX and end of the formula that begins at ``pos``; None if none does."""
    return _match_brackets(source, pos) if source[pos] == "\\" else _match_dollars(source, pos)


def _match_brackets(source: str, pos: int) -> tuple[str, str, int] | None:
    opening = source[pos : pos + 2]
    if opening not in {r"\(", r"\["}:
        return None
    end = source.find(r"\)" if opening == r"\(" else r"\]", pos + 2, pos + _MAX_SOURCE)
    tex = source[pos + 2 : end]
    return (opening, tex, end + 2) if end > 0 and tex.strip() else None


def _match_dollars(source: str, pos: int) -> tuple[str, str, int] | None:
    if source[pos] != "$":
        return None
    if match := _DOLLARS.match(source, pos):
        return ("$$", match[1], match.end()) if match[1].strip() else None
    if pos and (source[pos - 1].isalnum() or source[pos - 1] in "$\\"):
        return None
    match = _DOLLAR.match(source, pos)
    if not match or _MONEY.match(match[1]):
        return None
    return "$", match[1], match.end()


def _block_rule(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    r"""Parse a formula from ``$$`` or ``\[`` at a line's start to the end of a line, without blank lines."""
    opening = _line(state, start)[:2]
    if opening not in _CLOSING or state.is_code_block(start):
        return False
    lines = _formula_lines(state, start, end, opening)
    if not lines:
        return False
    if silent:
        return True
    state.line = start + len(lines)
    token = state.push("math_block", "math", 0)
    token.block, token.markup, token.map = True, opening, [start, state.line]
    source = "\n".join(lines)
    token.content = source.removeprefix(opening).removesuffix(_CLOSING[opening])
    token.meta = {"source": source}
    return True


def _formula_lines(state: StateBlock, start: int, end: int, opening: str) -> list[str]:
    """Return the lines from the opening to the closing mark, or an empty list if there is no formula."""
    lines: list[str] = []
    for number in range(start, end):
        line = _line(state, number)
        rest = line if lines else line[2:]
        if lines and (not line or state.sCount[number] < state.blkIndent):
            return []
        lines.append(line)
        before, closed, after = rest.partition(_CLOSING[opening])
        if closed:
            # Text after the closing mark makes it math within a paragraph.
            return lines if not after and (before.strip() or len(lines) > 2) else []  # noqa: PLR2004
        if len(lines) > 1 and line.startswith(opening):
            return []  # also keeps ten thousand openings from being followed to the end, each
    return []


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].rstrip()
