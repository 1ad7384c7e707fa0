r"""Converts markdown as models write it to HTML that is safe in a notebook.

Two independent protections: the parser does not accept raw HTML, and its output passes
:mod:`ipyllm.rendering.sanitize_answer`. A third protects from the page: the wrapper's classes prevent MathJax of
JupyterLab and nbconvert from typesetting TeX (``\href{javascript:…}``, ``\style``) in the answer.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from time import thread_time
from typing import TYPE_CHECKING, Any

from ipyllm.rendering.direction import direction_rule
from ipyllm.rendering.highlight import highlight, language_of
from ipyllm.rendering.inline_tags import add_inline_tags
from ipyllm.rendering.links import bounded_rule, links_rule
from ipyllm.rendering.lists_and_notes import add_footnotes, add_task_lists
from ipyllm.rendering.long_lists import long_lists_rule
from ipyllm.rendering.open_marks import parse_growing
from ipyllm.rendering.sanitize_answer import sanitize
from ipyllm.rendering.tex import add_math
from ipyllm.text.surrogates import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict

__all__ = ["parser", "plain_html", "to_html"]

_WRAPPER = '<div class="ipyllm-answer mathjax_ignore tex2jax_ignore">{}</div>'

# Sizes above which text is shown as it is. An answer of 32k tokens has about 130,000 characters; longer text is not
# prose, and some inline rules take more than linear time.
_MAX_TEXT = 400_000
_MAX_PARAGRAPH = 60_000
_MAX_LIVE_CODE = 4_000
_MAX_HIGHLIGHT_SECONDS = 0.5
_LIVE = "ipyllm_live"
_BLANK_LINE = re.compile(r"\n(?=[ \t]*\n)")


def to_html(text: str, *, live: bool = False) -> str:
    """Render a model's markdown, which is untrusted, as safe HTML: one ``<div class="ipyllm-answer …">``.

    Fences are highlighted by CSS classes (see :mod:`ipyllm.rendering.style`), TeX becomes MathML, bare addresses become
    links, and images from elsewhere become links too, so that nothing is fetched. Blocks may be rendered separately,
    see :class:`ipyllm.rendering.blocks.BlockStream`. ``live`` says that the text is still growing: bold text and code
    that have only begun at its end are shown as such, and a long fence there is not highlighted, because that would be
    repeated at every draw.
    """
    text = replace_surrogates(text)  # the sanitiser refuses lone surrogates
    if len(text) > _MAX_TEXT:
        return plain_html(text)
    md = parser()
    env: dict[str, Any] = {_LIVE: live}
    tokens = md.parse(text, env)
    if live and (unfinished := _fence_at_the_end(tokens)):
        unfinished.meta["plain"] = len(unfinished.content) > _MAX_LIVE_CODE
    return _wrap(sanitize(md.renderer.render(tokens, md.options, env)))


def plain_html(text: str) -> str:
    """Return text as it is, in one element like that of :func:`to_html`; each line has its own direction."""
    return _wrap(f'<pre class="ipyllm-text" dir="auto">{escape(text, quote=False)}</pre>')


def _wrap(html: str) -> str:
    # In markdown, as which notebooks are exported, a blank line would end the HTML.
    return _WRAPPER.format(_BLANK_LINE.sub("&#10;", html))


@cache
def parser() -> MarkdownIt:
    """Return the parser: CommonMark, tables, strikethrough, tasks, footnotes, math, and a few tags of HTML.

    It has no state between texts.
    """
    from markdown_it import MarkdownIt

    # The depth limits Python's recursion; the CommonMark preset of 20 would drop deep lists. Lines stay lines: models
    # write verses and addresses so, and do not wrap what they write.
    md = MarkdownIt("commonmark", {"html": False, "maxNesting": 100, "breaks": True}).enable(["table", "strikethrough"])
    add_math(md)
    add_inline_tags(md)
    add_footnotes(md)
    for name in ("link", "image"):
        md.inline.ruler.at(name, bounded_rule(name))
    md.core.ruler.at("inline", _inline_rule)
    add_task_lists(md)
    md.core.ruler.push("links", links_rule)
    md.core.ruler.push("direction", direction_rule)
    md.core.ruler.push("long_lists", long_lists_rule)
    md.add_render_rule("fence", _render_fence)
    md.add_render_rule("link_open", _render_link)
    return md


def _inline_rule(state: StateCore) -> None:
    """Parse paragraphs, except absurdly long ones."""
    from markdown_it.token import Token

    growing = _last_leaf(state.tokens) if state.env.get(_LIVE) else None
    for token in state.tokens:
        if token.type != "inline":
            continue
        token.children = []
        if len(token.content) > _MAX_PARAGRAPH:
            token.children.append(Token("text", "", 0, content=token.content))
        else:
            parse = parse_growing if token is growing else state.md.inline.parse
            parse(token.content, state.md, state.env, token.children)


def _render_fence(_: Any, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:  # noqa: ARG001
    token = tokens[idx]
    spent = env.get("ipyllm_highlight", 0.0)
    if token.meta.get("plain") or spent > _MAX_HIGHLIGHT_SECONDS:
        code = escape(token.content, quote=False)
    else:
        started = thread_time()
        code = highlight(token.content, token.info)
        env["ipyllm_highlight"] = spent + thread_time() - started
    language = language_of(token.info)
    named = f' class="language-{language}"' if language else ""
    return f"<pre><code{named}>{code}</code></pre>\n"


def _render_link(self: Any, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
    tokens[idx].attrs = {"href": tokens[idx].attrs.get("href", ""), "target": "_blank"}
    return str(self.renderToken(tokens, idx, options, env))


def _fence_at_the_end(tokens: list[Token]) -> Token | None:
    """Return the fence that ends the text, also within a list or a quote."""
    last = _last_leaf(tokens)
    return last if last is not None and last.type == "fence" else None


def _last_leaf(tokens: list[Token]) -> Token | None:
    """Return the last token that has a text of its own; the parser fills a row of a table up with empty cells."""
    for token in reversed(tokens):
        is_empty = token.type == "td_open" or (token.type == "inline" and not token.content)
        if token.nesting != -1 and not is_empty:
            return token
    return None
