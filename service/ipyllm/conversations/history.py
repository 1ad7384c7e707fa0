"""Conversations: turns in order, with a system message, shared by name within the process."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ipyllm.conversations import saved, transcript, trimming
from ipyllm.conversations.messages_table import messages_table
from ipyllm.conversations.shared_turns import SharedTurns
from ipyllm.conversations.transcript import Transcript, Turn
from ipyllm.conversations.trimming import TrimResult
from ipyllm.errors import bad_request
from ipyllm.fork_safety import renewed_in_child
from ipyllm.text.format import count

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    import pandas as pd

    from ipyllm.messages import Message

__all__ = [
    "ConversationHistory",
    "TrimResult",
    "Turn",
    "conversation",
    "conversations",
    "forget_conversation",
    "rename_conversation",
]


class ConversationHistory(SharedTurns):
    """Messages of one conversation. Safe to use from several threads.

    Parameters
    ----------
    max_messages : int, optional
        Maximum number of messages that :meth:`get_messages` returns, besides the system message.
    max_tokens : int, optional
        Maximum number of their tokens (upper estimate), including the system message.

    Examples
    --------
    >>> history = ConversationHistory(max_messages=2)
    >>> history.add_message("system", "You are a helpful assistant.")
    >>> for text in ("one", "two"):
    ...     history.add_message("user", text)
    ...     history.add_message("assistant", text.upper())
    >>> [message["content"] for message in history.get_messages()]
    ['You are a helpful assistant.', 'two', 'TWO']
    """

    @classmethod
    def from_messages(
        cls, messages: Iterable[Message], *, max_messages: int | None = None, max_tokens: int | None = None
    ) -> ConversationHistory:
        """Make a conversation from messages in the OpenAI format.

        Examples
        --------
        >>> ConversationHistory.from_messages([{"role": "user", "content": "Hello"}])
        ConversationHistory(1 message)
        """
        history = cls(max_messages=max_messages, max_tokens=max_tokens)
        history.extend(messages)
        return history

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ConversationHistory:
        """Read a conversation that :meth:`save` wrote.

        Of a damaged file, the turns that are whole are read, with a warning; a copy of it is kept beside it.

        Raises
        ------
        LLMError
            The file is missing, of another program, of a newer ipyllm, or damaged so that nothing can be read.
        """
        history = cls()
        history._replace_contents(transcript.read(path))
        return history

    def __repr__(self) -> str:
        return f"ConversationHistory({count(len(self), 'message')})"

    @property
    def name(self) -> str | None:
        """Name under which magics and widgets share the conversation; None for one that only its object has."""
        return None

    # ---- reading ---------------------------------------------------------------------------------

    def to_messages(self) -> list[Message]:
        """Return all messages in the OpenAI format, without regard to the limits."""
        return trimming.newest_messages(replace(self._snapshot(), max_messages=None, max_tokens=None), None)

    def get_messages(self, *, before: str | None = None, max_tokens: int | None = None) -> list[Message]:
        """Return the messages to send: the system message, then the newest turns that fit the limits.

        When not even the newest turn fits, only the system message is returned; :meth:`fit` raises instead.

        Parameters
        ----------
        before : str, optional
            Only turns before the one with this key.
        max_tokens : int, optional
            Limit in addition to the conversation's own.
        """
        return trimming.newest_messages(self._snapshot_before(before), max_tokens)

    def fit(
        self,
        max_tokens: int | None,
        *,
        reserve: int = 0,
        before: str | None = None,
        question: str | Sequence[Message] | None = None,
        model: str = "",
    ) -> TrimResult:
        """Return the messages that fit a model's context window, and what was left out.

        The system message and the question always stay; the oldest turns are left out first, as a whole. If the newest
        turn alone is too long, because of many rounds of tool calls, its oldest rounds are left out, calls together
        with their results; its question and its newest round stay.

        Parameters
        ----------
        max_tokens : int or None
            The context window, as from ``service.context_window()``; None when it is unknown.
        reserve : int
            Tokens of the window to reserve for the answer.
        before : str, optional
            Only turns before the one with this key.
        question : str or sequence of Message, optional
            The next question. It is counted, not returned. Default: the newest turn.
        model : str
            Full name of the model, for the error.

        Raises
        ------
        LLMError
            ``context_length``: the question alone does not fit. Counts are upper estimates, so a question close to the
            limit may be refused although the model would accept it.

        Examples
        --------
        >>> history = ConversationHistory()
        >>> for text in ("one", "two"):
        ...     history.add_message("user", text)
        ...     history.add_message("assistant", text.upper())
        >>> fitted = history.fit(20, question="three")
        >>> [message["content"] for message in fitted.messages], fitted.dropped_turns
        (['two', 'TWO'], 1)
        """
        return trimming.fit(self._snapshot_before(before), max_tokens, reserve=reserve, question=question, model=model)

    def preceding(
        self,
        question: Sequence[Message],
        window: int | Callable[[], int | None] | None,
        *,
        before: str | None = None,
        max_tokens: Any = None,
        model: str = "",
    ) -> tuple[list[Message], str | None]:
        """Return the messages to send before a question, and a note about those left out.

        Unlike :meth:`fit`, it does not raise: a question that seems too long is sent after the system message alone,
        and the server decides, because our counts are upper estimates. A system message in the question replaces the
        conversation's own.

        Parameters
        ----------
        question : sequence of Message
            The next question, with a new system message if any. It is counted, not returned.
        window : int or callable or None
            The context window, as from ``service.context_window()``; None when it is unknown. A function is called only
            if something may have to be left out, because loading the model tables takes time.
        before : str, optional
            Only turns before the one with this key.
        max_tokens : optional
            Longest answer in tokens. If it is not a number, a part of the window is reserved for the answer.
        model : str
            Full name of the model.

        Returns
        -------
        (list of Message, str or None)

        Examples
        --------
        >>> history = ConversationHistory()
        >>> for text in ("one", "two"):
        ...     history.add_message("user", text)
        ...     history.add_message("assistant", text.upper())
        >>> messages, note = history.preceding([{"role": "user", "content": "three"}], 24, max_tokens=4)
        >>> [message["content"] for message in messages], note
        (['two', 'TWO'], 'The oldest turn (up to 10 tokens) was left out to fit the context window.')
        """
        return trimming.preceding(self._snapshot_before(before), question, window, max_tokens=max_tokens, model=model)

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row for each message.

        Returns
        -------
        DataFrame
            ``turn`` (from 0, null for the system message), ``role``, ``content`` (the text), ``model`` and
            ``status`` of the turn, ``estimated_tokens`` (upper estimate, images and tool calls included).
        """
        return messages_table(self._snapshot())

    # ---- copies and files ------------------------------------------------------------------------

    def fork(self, name: str | None = None) -> ConversationHistory:
        """Return an independent copy.

        Parameters
        ----------
        name : str, optional
            Name of the copy, under which magics and widgets share it.

        Raises
        ------
        LLMError
            A conversation of this name exists and is not empty.
        """
        copy = ConversationHistory()
        copy.restore(self)
        if name is None:
            return copy
        named: ConversationHistory = conversation(name)
        if not named._fill_if_empty(copy._snapshot()):
            raise bad_request(f"A conversation {name!r} already exists. Clear it first, or choose another name.")
        return named

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save as JSON, in one step and readable by its owner only; :meth:`load` reads it.

        Provider keys in the text are masked in the file.

        Raises
        ------
        LLMError
            The file cannot be written. An existing one is unchanged.
        """
        transcript.write(self._snapshot(), path)

    def to_json(self) -> str:
        """Return the JSON text that :meth:`save` writes."""
        return transcript.dumps(self._snapshot())


# ---- conversations by name -----------------------------------------------------------------------


class _NamedConversation(ConversationHistory):
    """A conversation that is saved after each change, until it is forgotten."""

    _name = ""  # of a copy
    _is_untold = False

    def __init__(self, name: str, contents: Transcript | None) -> None:
        super().__init__()
        self._name = name
        self._is_untold = contents is not None
        if contents is not None:
            self._replace_contents(contents)

    def take_untold(self) -> bool:
        """Return, once, whether nobody was told that it goes on."""
        with _lock:
            untold, self._is_untold = self._is_untold, False
        return untold and (len(self) > 0)

    def snapshot(self) -> Transcript:
        """Return its contents at this moment."""
        return self._snapshot()

    @property
    def name(self) -> str | None:
        return self._name or None

    def named(self, name: str) -> None:
        """Save it under another name from now on."""
        self._name = name

    def save_unchanged(self, changed_at: datetime | None) -> None:
        """Save it under its new name as of when it changed last, and show the name."""
        saved.save(self._name, self._snapshot(), changed_at)
        self._tell_observers()

    def _notify(self) -> None:
        super()._notify()
        if _conversations.get(self._name) is self:
            saved.save(self._name, self._snapshot())


_conversations: dict[str, _NamedConversation] = {}
_lock = renewed_in_child(threading.Lock())


def conversation(name: str = "default", *, tell: bool | None = True) -> ConversationHistory:
    """Return the conversation of this name, which magics and widgets of this process share.

    In a notebook where the magics are loaded or a chat is shown, it survives the kernel: at its first use it has the
    turns that it had before, and a line says so, unless ``tell`` is false. With None it is looked at, and not used.

    Raises
    ------
    LLMError
        The name is empty or not text.

    Examples
    --------
    >>> conversation("demo") is conversation("demo")
    True
    """
    if not isinstance(name, str) or not name.strip():
        raise bad_request(f"The name of a conversation must be text, such as 'default', not {name!r}.")
    with _lock:
        known = _conversations.get(name)
    if known is None:
        found = saved.look_up(name)  # not under the lock: it reads the database
        history = _NamedConversation(name, found)
        with _lock:
            known = _conversations.setdefault(name, history)
    if tell is not None and known.take_untold() and tell:
        saved.tell(name, known.snapshot())
    return known


def conversations() -> dict[str, ConversationHistory]:
    """Return all conversations of this process by name."""
    with _lock:
        return dict(_conversations)


def forget_conversation(name: str) -> None:
    """Remove a conversation; its name is free for a new one."""
    with _lock:
        known = _conversations.pop(name, None)
    if known is not None:
        saved.save(name, Transcript())


def rename_conversation(name: str, new_name: str) -> None:
    """Give a conversation another name; whoever holds it goes on with it. It has not changed: its date stays.

    An empty one that has the new name gets the other.

    Raises
    ------
    LLMError
        The new name is no text, or a conversation of this name exists and is not empty.

    Examples
    --------
    >>> conversation("draft").add_message("user", "Hello")
    >>> rename_conversation("draft", "hello")
    >>> len(conversation("hello")), len(conversation("draft"))
    (1, 0)
    """
    conversation(name, tell=False)
    conversation(new_name, tell=False)
    if name == new_name:
        return
    changed_at = saved.changed_at(name)
    with _lock:
        history, empty = _conversations[name], _conversations[new_name]
        if len(empty):
            raise bad_request(f"A conversation {new_name!r} already exists. Clear it first, or choose another name.")
        _conversations[new_name], _conversations[name] = history, empty
        history.named(new_name)
        empty.named(name)  # a chat may show it: what is asked there would be in no conversation
    empty.save_unchanged(None)
    history.save_unchanged(changed_at)
