"""Static HTML of a chat, for a notebook without a kernel."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ipyllm.messages import text_of
from ipyllm.rendering import STYLE, to_html
from ipyllm.text.format import count
from ipyllm.text.redact import redact
from ipyllm.text.surrogates import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.messages import Message

__all__ = ["message_html", "transcript", "transcript_html"]

_AUTHORS = {"user": "You", "assistant": "Model", "system": "System", "tool": "Tool", "note": "Note"}
_QUESTION_CHARS = 20_000  # characters
_MAX_UNFOLDED = 12  # messages; longer transcripts are folded


def transcript_html(messages: Sequence[Message], title: str) -> str:
    """Return a conversation as one ``<details>`` of sanitised HTML; if it is empty, a mark for the CSS to hide it."""
    if not messages:
        return STYLE + '<span class="ipyllm-empty"></span>'
    is_open = " open" if len(messages) <= _MAX_UNFOLDED else ""
    size, shown = count(len(messages), "message"), "".join(map(message_html, messages))
    return (
        f'{STYLE}<details class="ipyllm-transcript"{is_open}><summary>{escape(title)} · {size}</summary>'
        f"{shown}</details>"
    )


def message_html(message: Message) -> str:
    """Return one message with its author; questions are shown as typed, answers rendered."""
    text = _display_text(message)
    content = message.get("content")
    images = sum(part.get("type") == "image_url" for part in content) if isinstance(content, list) else 0
    note = f"<p><em>{count(images, 'image')}</em></p>" if images else ""
    body = (
        to_html(text)
        if message["role"] == "assistant"
        else f'<div class="ipyllm-answer mathjax_ignore tex2jax_ignore" dir="auto" '
        f'style="white-space:pre-wrap">{escape(text, quote=False)}</div>'
    )
    author = _AUTHORS.get(message["role"], str(message["role"]))
    return f'<div class="ipyllm-turn"><div class="ipyllm-footer"><b>{escape(author)}</b></div>{body}{note}</div>'


def _display_text(message: Message) -> str:
    """Return the text of a message with keys masked, cut if it is a very long question."""
    text = redact(text_of(message))
    if message["role"] == "assistant" or len(text) <= _QUESTION_CHARS:
        return text
    return f"{text[:_QUESTION_CHARS]} … ({len(text):,} characters)"


def transcript(messages: Sequence[Message], title: str) -> tuple[str, str]:
    """Return a conversation as HTML and as plain text, for a :class:`~ipyllm_widgets.static_output.StaticOutput`."""
    text = "\n\n".join(f"{_AUTHORS.get(m['role'], m['role'])}: {_display_text(m)}" for m in messages)
    return replace_surrogates(transcript_html(messages, title)), replace_surrogates(text)
