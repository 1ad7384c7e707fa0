"""Links in an answer: bare addresses become links, and so do remote images, so that nothing is fetched.

Fetching an image would tell its host when and where the answer was read, and a prompt injection can put secrets into
its address. Both rules work on the parser's tokens.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from ipyllm.rendering.link_hosts import shown_host, web_host
from ipyllm.rendering.sanitize_answer import is_raster_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

__all__ = ["bounded_rule", "links_rule"]

_BARE = re.compile(r"(?<![\w/])https?://[^\s<>\"'`|\\^{}\x00-\x1f\x7f]{1,2000}", re.IGNORECASE)
_PUNCTUATION = ".,;:!?*_~…"
_BRACKETS = {")": "(", "]": "["}
# Marks that reorder the text after them could disguise the host shown after an image's text.
_BIDI = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C])
# Characters per text: the search for the end of an unclosed bracket reads its whole paragraph.
_MAX_BRACKET_SEARCH = 5_000_000


def links_rule(state: StateCore) -> None:
    """Rewrite the inline tokens of the text; a core rule of markdown-it."""
    for token in state.tokens:
        children = token.children
        if children and any(child.type in {"image", "link_open"} or "://" in child.content for child in children):
            token.children = list(_rewrite(children, state.md))


def bounded_rule(name: str) -> Callable[[StateInline, bool], bool]:
    """Return markdown-it's rule ``link`` or ``image``, which gives up on thousands of open brackets.

    The rule looks for the closing bracket of each opening one, which is quadratic where none closes.
    """
    from markdown_it.helpers import parseLinkLabel
    from markdown_it.rules_inline import image, link

    rule, opener = (image, "![") if name == "image" else (link, "[")

    def bounded(state: StateInline, silent: bool) -> bool:
        if not state.src.startswith(opener, state.pos):
            return False
        searched = cast("int", state.env.get("ipyllm_brackets", 0))
        if searched > _MAX_BRACKET_SEARCH:
            return False
        if parseLinkLabel(state, state.pos + len(opener) - 1, disableNested=opener == "[") < 0:
            state.env["ipyllm_brackets"] = searched + state.posMax - state.pos
            return False
        return rule(state, silent)

    return bounded


def _rewrite(tokens: list[Token], md: MarkdownIt) -> Iterator[Token]:
    inside_link, target, label = 0, "", ""
    for token in tokens:
        inside_link += token.nesting if token.type in {"link_open", "link_close"} else 0
        if token.type == "link_open":
            target, label = str(token.attrs.get("href", "")), ""
        elif token.type == "link_close":
            yield from _where(label, target)
        elif inside_link:
            label += token.content
        if token.type == "image":
            yield from _image(token, md, inside_link=inside_link > 0)
        elif token.type == "text" and not inside_link and "://" in token.content:
            yield from _linkify(token.content, md)
        else:
            yield token


def _image(token: Token, md: MarkdownIt, *, inside_link: bool) -> Iterator[Token]:
    source = str(token.attrs.get("src", ""))
    if is_raster_image(source):
        yield token
        return
    renderer = cast("RendererHTML", md.renderer)
    alt = renderer.renderInlineAsText(token.children or [], md.options, {}).translate(_BIDI)
    host = web_host(source)
    label = " ".join(part for part in ("🖼", alt, f"({host})" if host else "") if part)
    if host and not inside_link:  # HTML has no nested links; a badge keeps the outer one
        yield from _link(source, label)
    else:
        yield _text(label)


def _linkify(text: str, md: MarkdownIt) -> Iterator[Token]:
    done = 0
    for match in _BARE.finditer(text):
        address = _without_punctuation(match[0])
        target = md.normalizeLink(address)
        if not web_host(target) or not md.validateLink(target):
            continue
        if match.start() > done:
            yield _text(text[done : match.start()])
        yield from _link(target, address)
        done = match.start() + len(address)
    if done < len(text):
        yield _text(text[done:])


def _without_punctuation(address: str) -> str:
    """Return an address without the punctuation of the sentence around it."""
    while address:
        last = address[-1]
        opener = _BRACKETS.get(last)
        if last not in _PUNCTUATION and not (opener and address.count(last) > address.count(opener)):
            break
        address = address[:-1]
    return address


def _link(target: str, label: str) -> Iterator[Token]:
    from markdown_it.token import Token

    yield Token("link_open", "a", 1, attrs={"href": target})
    yield _text(label)
    yield from _where(label, target)
    yield Token("link_close", "a", -1)


def _where(label: str, target: str) -> Iterator[Token]:
    """Yield where a link goes, if its text says something else."""
    if host := shown_host(label, target):
        yield _text(f" ({host})")


def _text(content: str) -> Token:
    from markdown_it.token import Token

    return Token("text", "", 0, content=content)
