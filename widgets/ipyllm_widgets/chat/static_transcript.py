"""A chat as static HTML and markdown, for a notebook without a kernel."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ipyllm.messages import text_of
from ipyllm.rendering import escape_markdown, to_html, to_markdown
from ipyllm.rendering.markdown import plain_html
from ipyllm.rendering.markdown_source import fenced
from ipyllm.text.format import count
from ipyllm.text.redact import redact
from ipyllm.text.surrogates import replace_surrogates
from ipyllm_widgets.static_output import StaticContent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipyllm.messages import Message
    from ipyllm_widgets.chat.turn_tree import TurnNode
    from ipyllm_widgets.live_answer import LiveAnswer

__all__ = ["message_html", "transcript", "unanswered_messages"]

_AUTHORS = {"user": "You", "assistant": "Model", "system": "System", "tool": "Tool", "note": "Note"}
_QUESTION_CHARS = 20_000  # characters
_MAX_UNFOLDED = 12  # messages; longer transcripts are folded


def message_html(message: Message, about: str = "") -> str:
    """Return one message with its author; questions are shown as typed, answers rendered, with a line ``about`` it."""
    text = _display_text(message)
    content = message.get("content")
    images = sum(part.get("type") == "image_url" for part in content) if isinstance(content, list) else 0
    note = f"<p><em>{count(images, 'image')}</em></p>" if images else ""
    body = to_html(text) if message["role"] == "assistant" else plain_html(replace_surrogates(text))
    told = f" · {escape(about)}" if about else ""
    author = f'<div class="ipyllm-footer mathjax_ignore tex2jax_ignore"><b>{escape(_author(message))}</b>{told}</div>'
    return f'<div class="ipyllm-turn">{author}{body}{note}</div>'


def _display_text(message: Message) -> str:
    """Return the text of a message with keys masked, cut if it is a very long question."""
    text = redact(text_of(message))
    if message["role"] == "assistant" or len(text) <= _QUESTION_CHARS:
        return text
    return f"{text[:_QUESTION_CHARS]} … ({len(text):,} characters)"


def _message_markdown(message: Message, about: str) -> str:
    text = _display_text(message)
    body = to_markdown(text) if message["role"] == "assistant" else fenced(replace_surrogates(text)).rstrip()
    told = f" *{escape_markdown(about)}*" if about else ""
    return f"**{escape_markdown(_author(message))}**{told}\n\n{body}"


def _author(message: Message) -> str:
    return _AUTHORS.get(message["role"], str(message["role"]))


def unanswered_messages(node: TurnNode, live: LiveAnswer | None) -> list[Message]:
    """Return a question without a complete answer, what there is of the answer, and a note that says so."""
    if live is not None:
        text, note = live.source("text"), "The answer was incomplete when the notebook was saved."
    else:
        failed = node.response.error_message if node.response is not None else None
        reasoned = node.response is not None and node.response.reasoning
        text, note = "", failed or f"Stopped {'while it was reasoning' if reasoned else 'before the first word'}."
    answer: list[Message] = [{"role": "assistant", "content": text}] if text else []
    return [node.question, *answer, {"role": "note", "content": note}]


def transcript(messages: Sequence[Message], title: str, footers: Mapping[int, str] | None = None) -> StaticContent:
    """Return a conversation: as HTML, one ``<details>``. ``footers`` are lines about messages, by their index."""
    if not messages:
        return StaticContent()
    about = [(footers or {}).get(index, "") for index in range(len(messages))]
    is_open = " open" if len(messages) <= _MAX_UNFOLDED else ""
    size, shown = count(len(messages), "message"), "".join(map(message_html, messages, about))
    head = f"{escape(title)} · {size} · run the cell to go on with it"
    html = f'<details class="ipyllm-transcript"{is_open}><summary>{head}</summary>{shown}</details>'
    authors = [_author(message) + (f" ({told})" if told else "") for message, told in zip(messages, about, strict=True)]
    text = "\n\n".join(f"{author}: {_display_text(message)}" for author, message in zip(authors, messages, strict=True))
    markdown = "\n\n".join(map(_message_markdown, messages, about))
    return StaticContent(*map(replace_surrogates, (html, text, markdown)))
