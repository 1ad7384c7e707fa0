"""What was said in a chat, as a notebook shows it that has no kernel any more."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ipyllm.messages import text_of
from ipyllm.rendering import STYLE, to_html
from ipyllm.text.surrogates import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.messages import Message

__all__ = ["message_html", "transcript", "transcript_html"]

_WHO = {"user": "You", "assistant": "Model", "system": "System", "tool": "Tool", "note": "Note"}
_LONGEST_QUESTION = 20_000  # characters
_OPEN_UP_TO = 12  # messages; more are folded, so that a notebook stays readable


def transcript_html(messages: Sequence[Message], title: str) -> str:
    """Return a conversation as one ``<details>`` of sanitised HTML; a mark that hides its output if it is empty."""
    if not messages:
        return STYLE + '<span class="ipyllm-empty"></span>'
    is_open = " open" if len(messages) <= _OPEN_UP_TO else ""
    count = f"{len(messages)} message{'' if len(messages) == 1 else 's'}"
    shown = "".join(map(message_html, messages))
    return (
        f'{STYLE}<details class="ipyllm-transcript"{is_open}><summary>{escape(title)} · {count}</summary>'
        f"{shown}</details>"
    )


def message_html(message: Message) -> str:
    """Return one message with who said it; a question as it was typed, an answer rendered."""
    text = _readable(message)
    content = message.get("content")
    images = sum(part.get("type") == "image_url" for part in content) if isinstance(content, list) else 0
    note = f"<p><em>{images} image{'' if images == 1 else 's'}</em></p>" if images else ""
    body = (
        to_html(text)
        if message["role"] == "assistant"
        else f'<div class="ipyllm-answer mathjax_ignore tex2jax_ignore" dir="auto" '
        f'style="white-space:pre-wrap">{escape(text, quote=False)}</div>'
    )
    who = _WHO.get(message["role"], str(message["role"]))
    return f'<div class="ipyllm-turn"><div class="ipyllm-footer"><b>{escape(who)}</b></div>{body}{note}</div>'


def _readable(message: Message) -> str:
    """Return the text of a message; of a question that is a book, its beginning."""
    text = text_of(message)
    if message["role"] == "assistant" or len(text) <= _LONGEST_QUESTION:
        return text
    return f"{text[:_LONGEST_QUESTION]} … ({len(text):,} characters)"


def transcript(messages: Sequence[Message], title: str) -> tuple[str, str]:
    """Return a conversation as HTML and as plain text, for a :class:`~ipyllm_widgets.static_output.KeptOutput`."""
    text = "\n\n".join(f"{_WHO.get(m['role'], m['role'])}: {_readable(m)}" for m in messages)
    return replace_surrogates(transcript_html(messages, title)), replace_surrogates(text)
