"""``%llm_history``: a conversation as a person reads it."""

from __future__ import annotations

from html import escape

from ipyllm.history import ConversationHistory, conversation, conversations
from ipyllm.rendering import STYLE, plain, to_html
from ipyllm.request import text_of
from ipyllm_magics.errors import MagicError

__all__ = ["Transcript", "clear", "existing", "show"]


class Transcript:
    """A conversation, shown as HTML in a notebook and as text elsewhere."""

    def __init__(self, name: str, history: ConversationHistory) -> None:
        self._name = name
        self._messages = history.get_messages()

    def __repr__(self) -> str:
        if not self._messages:
            return f"The conversation {self._name!r} is empty."
        return "\n\n".join(f"{message['role']}: {plain(text_of(message))}" for message in self._messages)

    def _repr_html_(self) -> str:
        if not self._messages:
            return f"<p>The conversation <b>{escape(self._name)}</b> is empty.</p>"
        turns = (
            f'<div class="ipyllm-turn"><div class="ipyllm-footer">{escape(message["role"])}</div>'
            f"{to_html(text_of(message))}</div>"
            for message in self._messages
        )
        return STYLE + "".join(turns)


def show(name: str) -> Transcript:
    """Return the conversation for display."""
    _must_exist(name)
    return Transcript(name, conversation(name))


def clear(name: str) -> str:
    """Forget the conversation."""
    _must_exist(name)
    count = len(conversation(name))
    conversation(name).clear()
    return f"Forgot the {count} messages of the conversation {name!r}."


def existing(name: str) -> ConversationHistory:
    """Return the conversation of this name.

    Raises
    ------
    MagicError
        There is none; the sentence names those there are.
    """
    _must_exist(name)
    return conversation(name)


def _must_exist(name: str) -> None:
    known = {"default", *conversations()}
    if name not in known:
        raise MagicError(f"There is no conversation {name!r}; there are: {', '.join(sorted(known))}.")
