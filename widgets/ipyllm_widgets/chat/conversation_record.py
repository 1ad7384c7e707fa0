"""What the ledger keeps of a conversation beyond its turns, from all chats of this kernel that have it open.

Each chat has a tree of its own (:mod:`ipyllm_widgets.chat.branches`), a queue and a draft. The record joins them, so
that no chat overwrites what only another has.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from ipyllm.conversations import saved
from ipyllm.conversations.history import conversation, rename_conversation
from ipyllm.errors import bad_request
from ipyllm.fork_safety import renewed_in_child
from ipyllm_widgets.chat.saved_branches import branches_changed_at, look_up_branches, merged_branches, save_branches
from ipyllm_widgets.saved_queue import look_up_queue, save_queue

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable
    from datetime import datetime

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.messages import Message

__all__ = ["ConversationRecord", "record_of", "rename_with_record"]

_records: WeakValueDictionary[int, ConversationRecord] = WeakValueDictionary()
_lock = renewed_in_child(threading.Lock())


class Unsent(NamedTuple):
    """What one chat has that was not asked yet: the questions that wait, and what is typed."""

    questions: tuple[Message, ...] = ()
    draft: str = ""


class ConversationRecord:
    """Branches, queues and drafts of one conversation, saved in the ledger. Safe to use from several threads.

    :func:`record_of` returns the one that the chats share; it is read from the ledger when the first of them opens.

    Parameters
    ----------
    history : ConversationHistory
        The shared conversation, which has a name.
    """

    def __init__(self, history: ConversationHistory) -> None:
        name = history.name or ""
        self.history = history
        self._lock = renewed_in_child(threading.Lock())
        self._saved = look_up_branches(name)
        self._branches: dict[str, Any] | None = None  # of all chats; None before the first
        self._removed: dict[Hashable, frozenset[str]] = {}  # keys of turns that a chat had, by chat
        self._unsent: dict[Hashable, Unsent] = {None: Unsent(tuple(look_up_queue(name)), saved.look_up_draft(name))}

    @property
    def name(self) -> str:
        """Name of the conversation."""
        return self.history.name or ""

    @property
    def has_branches(self) -> bool:
        """Whether there is more than the conversation has itself."""
        return self._saved is not None

    @property
    def is_unanswered(self) -> bool:
        """Whether it has questions, and none of them has an answer: the conversation itself is empty."""
        found = self.branches()
        return found is not None and bool(found["nodes"]) and found.get("turns") == []

    def branches(self) -> dict[str, Any] | None:
        """Return the branches of all chats, as :func:`add_branches` takes them; None if none are known."""
        with self._lock:
            return self._saved if self._branches is None else self._branches

    def put_branches(self, chat: Hashable, document: dict[str, Any], removed: Iterable[str] = ()) -> None:
        """Take the branches of a chat, and save them with those that only others have.

        Parameters
        ----------
        chat : hashable
            The chat whose branches these are.
        document : dict
            All turns of its tree, as :func:`branches_document` returns them.
        removed : iterable of str
            Keys of the turns that it had once and has no more, whoever else has them.
        """
        with self._lock:
            self._removed[chat] = frozenset(removed)
            gone = frozenset().union(*self._removed.values())
            self._branches = branches = merged_branches(document, self._branches, gone)
            # Nothing is kept of what the conversation has itself.
            self._save(branches if any("question" in entry for entry in branches["nodes"]) else None)

    def _save(self, branches: dict[str, Any] | None) -> None:
        if branches != self._saved:
            self._saved = branches
            save_branches(self.name, branches)

    def take_unsent(self, chat: Hashable) -> Unsent:
        """Return what an earlier kernel, or a closed chat, left: this chat asks it, and has what is typed anywhere."""
        with self._lock:
            left = self._unsent.pop(None, Unsent())
            drafts = [left.draft, *(unsent.draft for unsent in self._unsent.values())]
            self._unsent = {other: Unsent(unsent.questions) for other, unsent in self._unsent.items()}
            self._unsent[chat] = taken = Unsent(left.questions, _joined(drafts))
            return taken

    def put_unsent(self, chat: Hashable, questions: Iterable[Message], draft: str) -> None:
        """Take what a chat has that was not asked yet, and save it with what the others have."""
        with self._lock:
            before = list(self._unsent.values())
            self._unsent[chat] = Unsent(tuple(questions), draft)
            now = list(self._unsent.values())
            if (waiting := _questions(now)) != _questions(before):
                save_queue(self.name, waiting)
            if (typed := _joined(unsent.draft for unsent in now)) != _joined(unsent.draft for unsent in before):
                saved.save_draft(self.name, typed)

    def release(self, chat: Hashable) -> None:
        """Keep what a chat has that closes, for the next that opens."""
        with self._lock:
            self._removed[None] = self._removed.get(None, frozenset()) | self._removed.pop(chat, frozenset())
            left, closing = self._unsent.get(None, Unsent()), self._unsent.pop(chat, Unsent())
            self._unsent[None] = Unsent(left.questions + closing.questions, _joined((left.draft, closing.draft)))

    def save_under_new_name(self, changed: datetime | None, branches_changed: datetime | None) -> None:
        """Save everything: the name was another's. The conversation and its branches ``changed`` then, or now."""
        with self._lock:
            unsent = list(self._unsent.values())
            save_branches(self.name, self._saved, branches_changed)
            save_queue(self.name, _questions(unsent))
            saved.save_draft(self.name, _joined(each.draft for each in unsent), changed=changed)

    def restore(self, branches: dict[str, Any] | None) -> None:
        """Have the branches again of a conversation that was deleted, or none."""
        with self._lock:
            self._branches = None
            self._removed.clear()
            self._save(branches)


def record_of(history: ConversationHistory) -> ConversationRecord:
    """Return the record of a conversation, which all chats of this kernel share."""
    with _lock:
        known = _records.get(id(history))  # the record holds the history, so no other has its id
    if known is None:
        read = ConversationRecord(history)  # not under the lock: it reads the ledger
        with _lock:
            known = _records.setdefault(id(history), read)
    return known


def rename_with_record(name: str, new_name: str) -> None:
    """Give a conversation another name, with all that the ledger keeps of it.

    An empty one that has the name gets the other, with what is typed there.

    Raises
    ------
    LLMError
        The name is empty, or another conversation has it, if only with questions that have no answer yet.
    """
    record, empty = (record_of(conversation(each, tell=False)) for each in (name, new_name))
    if name == new_name:
        return
    if empty.is_unanswered:
        raise bad_request(f"A conversation {new_name!r} already exists. Clear it first, or choose another name.")
    dates = saved.changed_at(name), branches_changed_at(name)
    rename_conversation(name, new_name)
    empty.save_under_new_name(None, None)
    record.save_under_new_name(*dates)


def _questions(unsent: Iterable[Unsent]) -> list[Message]:
    return [question for each in unsent for question in each.questions]


def _joined(drafts: Iterable[str]) -> str:
    """Return what is typed in several chats, one after the other; what is the same once."""
    return "\n\n".join(dict.fromkeys(filter(None, drafts)))
