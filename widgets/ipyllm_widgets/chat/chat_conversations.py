"""The conversations of a notebook, as a chat lists, searches, renames and deletes them."""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from ipyllm.conversations import saved
from ipyllm.conversations.history import conversation, conversations
from ipyllm.conversations.search import excerpt, folded
from ipyllm.errors import LLMError
from ipyllm.text.format import shorten
from ipyllm_widgets.attachments.files import question_text
from ipyllm_widgets.chat.conversation_record import record_of
from ipyllm_widgets.chat.saved_branches import unanswered_conversations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.messages import Message

__all__ = ["ChatConversations", "ListedConversation", "last_conversation"]

_LISTED = 200  # the newest
_REMOVED = 5  # the latest, which can be brought back
_TITLE_CHARS = 80
_MADE_NAME = re.compile(r"default|chat \d+")


class ListedConversation(NamedTuple):
    """One line of the list.

    Attributes
    ----------
    name : str
        Name of the conversation.
    turns : int
        Number of its turns.
    changed : str
        When it changed last, as ISO 8601; empty if it was not saved.
    title : str
        Its first question if the name was made by the widget, else the name.
    excerpt : str
        The first question, or the text around what was searched.
    """

    name: str
    turns: int
    changed: str
    title: str
    excerpt: str


def last_conversation() -> str:
    """Return the name of this notebook's conversation that changed last, ``default`` if it has none.

    One whose questions have no answer yet counts, too.
    """
    kept = saved.last_changed()
    found = [] if kept is None else [kept]
    found += [(changed_at, name) for name, changed_at, _ in unanswered_conversations(_LISTED)[:1]]
    return max(found)[1] if found else "default"


class ChatConversations:
    """Finds and changes conversations, and keeps the latest that were deleted until the chat is closed.

    Examples
    --------
    >>> listed = ChatConversations()
    >>> listed.new_name() not in conversations()
    True
    """

    def __init__(self) -> None:
        self._removed: dict[str, tuple[ConversationHistory, dict[str, Any] | None]] = {}

    def find(self, query: str, opened: Mapping[str, Sequence[Message]]) -> list[ListedConversation]:
        """Return the conversations that contain ``query``, the one that changed last first; all for an empty query.

        Those that are ``opened``, with their messages by name, are listed even if the ledger does not have them.
        """
        wanted = folded(query)
        return [
            ListedConversation(name, turns, changed, _title(name, messages), excerpt)
            for name, turns, changed, messages in self._all(opened)
            if (excerpt := _excerpt(name, messages, wanted)) is not None
        ]

    def _all(self, opened: Mapping[str, Sequence[Message]]) -> Iterator[tuple[str, int, str, Sequence[Message]]]:
        """Yield name, number of turns, last change and messages: saved ones first, then those of this process only."""
        kept: dict[str, tuple[datetime, int, Sequence[Message]]] = {}
        kept |= {name: (changed, len(asked), asked) for name, changed, asked in unanswered_conversations(_LISTED)}
        for found in saved.saved_conversations(_LISTED):
            turns = found.contents.turns
            kept[found.name] = found.changed_at, len(turns), [message for turn in turns for message in turn.messages]
        for name, history in conversations().items():
            if name not in kept and (name in opened or history.turns):
                messages = opened.get(name) or history.to_messages()
                yield name, _n_questions(messages), "", messages
        for name, (changed, n, messages) in sorted(kept.items(), key=lambda item: item[1][0], reverse=True):
            yield name, max(n, _n_questions(opened.get(name, ()))), changed.isoformat(), messages

    def new_name(self, taken_names: Iterable[str] = ()) -> str:
        """Return a name that no conversation has which is not empty or was deleted; nor one of ``taken_names``."""
        taken = {found.name for found in saved.saved_conversations(_LISTED)} | {*taken_names, *self._removed}
        taken |= {name for name, history in conversations().items() if len(history)}
        taken |= {name for name, _, _ in unanswered_conversations(_LISTED)}
        return next(name for n in count(2) if (name := f"chat {n}") not in taken)

    def remove(self, name: str) -> None:
        """Empty a conversation, so that it is listed no more."""
        history = conversation(name, tell=False)
        self._removed[name] = history.fork(), record_of(history).branches()
        history.clear()
        for earlier in list(self._removed)[:-_REMOVED]:
            del self._removed[earlier]

    def restore(self, name: str) -> None:
        """Bring back a conversation that was deleted.

        Raises
        ------
        LLMError
            It was not deleted here, others were deleted since, or its name has been used.
        """
        removed = self._removed.pop(name, None)
        history = conversation(name, tell=False)
        if removed is None or len(history):
            raise LLMError(f"The conversation {name!r} can no longer be brought back.", category="not_found")
        contents, branches = removed
        history.restore(contents)
        record_of(history).restore(branches)


def _n_questions(messages: Iterable[Message]) -> int:
    return sum(message["role"] == "user" for message in messages)


def _title(name: str, messages: Iterable[Message]) -> str:
    first = _first_question(messages) if _MADE_NAME.fullmatch(name) else ""
    return first or name


def _first_question(messages: Iterable[Message]) -> str:
    texts = (" ".join(question_text(message).split()) for message in messages if message["role"] == "user")
    return shorten(next(filter(None, texts), ""), _TITLE_CHARS)


def _excerpt(name: str, messages: Sequence[Message], wanted: str) -> str | None:
    """Return the first question; or the text around ``wanted``, None if it is nowhere."""
    if not wanted or wanted in name.casefold():
        return _first_question(messages)
    return excerpt(messages, wanted)
