"""A response as a notebook shows it: the rendered answer and its line, by MIME type."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ipyllm.rendering.answer_columns import reasoning_html
from ipyllm.rendering.folding import folded_html
from ipyllm.rendering.footer import footer_html, footer_markdown, footer_text
from ipyllm.rendering.markdown_source import escape_markdown, to_markdown
from ipyllm.rendering.style import styled
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from ipyllm.response import ChatResponse

__all__ = ["answer_bundle"]


def answer_bundle(response: ChatResponse) -> dict[str, str]:
    r"""Return the response as ``text/html``, ``text/markdown`` and ``text/plain``.

    Examples
    --------
    >>> from ipyllm.response import ChatResponse
    >>> answer_bundle(ChatResponse(content=r"So \(x^2\).", model="local/smollm2-135m"))["text/markdown"]
    'So $x^2$.\n\n*local/smollm2-135m*'
    """
    error = strip_control_sequences(response.error_message or "")
    html = reasoning_html(response.reasoning)
    html += folded_html(response.content) if response.content else ""
    html += f'<div class="ipyllm-column-error">{escape(error)}</div>' if error else ""
    html += footer_html(response, error_shown=bool(error))
    return {
        "text/html": styled(html),
        "text/markdown": _paragraphs(
            to_markdown(response.content),
            escape_markdown(error),
            footer_markdown(response, error_shown=bool(error)),
        ),
        "text/plain": _paragraphs(
            strip_control_sequences(response.content), error, footer_text(response, error_shown=bool(error))
        ),
    }


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(filter(None, (part.strip() for part in parts)))
