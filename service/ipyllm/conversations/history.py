"""Conversations: turns in order, with a system message, shared by name within the process."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ipyllm.conversations import transcript, trimming
from ipyllm.conversations.tokens import estimate_messages
from ipyllm.conversations.transcript import SYSTEM_ROLES, Transcript, Turn, validate_message
from ipyllm.conversations.trimming import TrimResult
from ipyllm.errors import LLMError, bad_request
from ipyllm.messages import text_of
from ipyllm.text.format import count

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd

    from ipyllm.messages import Message

__all__ = ["ConversationHistory", "TrimResult", "Turn", "conversation", "conversations", "forget_conversation"]

_ANSWER_RESERVE = 1024  # tokens of the window reserved for the answer, unless max_tokens is given


class ConversationHistory:
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

    def __init__(self, *, max_messages: int | None = None, max_tokens: int | None = None) -> None:
        self.max_messages = max_messages
        self.max_tokens = max_tokens
        self._system: Message | None = None
        self._turns: list[Turn] = []  # copied when they are added and when they are returned
        self._lock = threading.RLock()
        self._observers: tuple[Callable[[], None], ...] = ()

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

        Raises
        ------
        LLMError
            The file is missing, damaged, of another program, or of a newer ipyllm.
        """
        history = cls()
        history._replace_contents(transcript.read(path))
        return history

    def __len__(self) -> int:
        with self._lock:
            return sum(len(turn.messages) for turn in self._turns) + (self._system is not None)

    def __repr__(self) -> str:
        return f"ConversationHistory({count(len(self), 'message')})"

    # ---- changes ---------------------------------------------------------------------------------

    def add_message(self, role: str, content: str | list[dict[str, Any]] | None, **extra: Any) -> None:
        """Append a message; a ``system`` (or ``developer``) message replaces the previous one.

        A user message starts a turn. A tool result joins the turn of its tool call, even if another question
        followed: models refuse a call without its result.

        Raises
        ------
        ValueError
            The role does not exist, or the content is not valid.
        """
        message = validate_message({"role": role, "content": content, **extra})
        with self._lock:
            self._add(message)
        self._notify()

    def extend(self, messages: Iterable[Message]) -> None:
        """Append messages in the OpenAI format: all, or none when one is not valid.

        Raises
        ------
        ValueError
            As :meth:`add_message`.
        """
        valid = [validate_message(message) for message in messages]
        with self._lock:
            for message in valid:
                self._add(message)
        self._notify()

    def _add(self, message: Message) -> None:
        role, turns = message["role"], self._turns
        if role in SYSTEM_ROLES:
            self._system = message
        elif role == "user" or not turns:
            turns.append(Turn([message]))
        else:
            index = self._index_of_call(message.get("tool_call_id")) if role == "tool" else -1
            turns[index] = turns[index].with_message(message)

    def _index_of_call(self, tool_call_id: Any) -> int:
        # From the end: some servers repeat ids in each answer.
        for index in range(len(self._turns) - 1, -1, -1):
            if self._turns[index].calls(tool_call_id):
                return index
        return -1

    def put_turn(self, turn: Turn) -> None:
        """Append a turn, or replace the one with the same key."""
        turn = replace(turn)
        with self._lock:
            index = self._index_of(turn.key)
            if index is None:
                self._turns.append(turn)
            else:
                self._turns[index] = turn
        self._notify()

    def replace_turns(self, turns: Iterable[Turn]) -> None:
        """Replace all turns; the system message stays.

        Examples
        --------
        >>> history = ConversationHistory.from_messages([{"role": "user", "content": text} for text in "abc"])
        >>> history.replace_turns(history.turns[:1])
        >>> history
        ConversationHistory(1 message)
        """
        copies = [replace(turn) for turn in turns]
        with self._lock:
            self._turns = copies
        self._notify()

    def set_system(self, text: str | None) -> None:
        """Set the system message; None or an empty text removes it."""
        if text is not None and not isinstance(text, str):
            raise bad_request(f"A system prompt must be text, not {type(text).__name__}.")
        message = validate_message({"role": "system", "content": text}) if text and text.strip() else None
        with self._lock:
            self._system = message
        self._notify()

    def undo(self, n: int = 1) -> tuple[Turn, ...]:
        """Remove and return the last ``n`` turns, or as many as there are, oldest first.

        The system message stays. ``put_turn`` adds a turn again.

        Raises
        ------
        ValueError
            ``n`` is negative.
        """
        if n < 0:
            raise ValueError(f"undo needs a number of turns, 0 or more, not {n}.")
        with self._lock:
            first = max(0, len(self._turns) - n)
            removed = self._turns[first:]
            del self._turns[first:]
        self._notify()
        return tuple(map(replace, removed))

    def clear(self, *, keep_system: bool = False) -> None:
        """Remove the turns, and the system message unless ``keep_system``."""
        with self._lock:
            self._turns.clear()
            if not keep_system:
                self._system = None
        self._notify()

    def restore(self, other: ConversationHistory) -> None:
        """Replace the contents and limits by those of ``other``, and notify observers.

        Examples
        --------
        >>> saved = ConversationHistory.from_messages([{"role": "user", "content": "Hello"}])
        >>> conversation("demo").restore(saved)
        """
        self._replace_contents(other._snapshot())

    def _replace_contents(self, contents: Transcript) -> None:
        with self._lock:
            self._system, self._turns = contents.system, list(contents.turns)
            self.max_messages, self.max_tokens = contents.max_messages, contents.max_tokens
        self._notify()

    def _fill_if_empty(self, contents: Transcript) -> bool:
        with self._lock:
            empty = not len(self)
            if empty:
                self._replace_contents(contents)
        return empty

    # ---- observers -------------------------------------------------------------------------------

    def observe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` after each change, in the thread that made it; return a function that stops this.

        It must return in microseconds and not raise, because the thread that changed the conversation waits for it.

        Examples
        --------
        >>> history, seen = ConversationHistory(), []
        >>> stop = history.observe(lambda: seen.append(len(history)))
        >>> history.add_message("user", "Hello")
        >>> stop()
        >>> history.clear()
        >>> seen
        [1]
        """
        with self._lock:
            self._observers = (*self._observers, callback)

        def stop() -> None:
            with self._lock:
                # By identity: two bound methods of one object are equal.
                self._observers = tuple(known for known in self._observers if known is not callback)

        return stop

    def _notify(self) -> None:
        for callback in self._observers:
            callback()

    # ---- reading ---------------------------------------------------------------------------------

    def _snapshot(self) -> Transcript:
        with self._lock:
            return Transcript(self._system, tuple(self._turns), self.max_messages, self.max_tokens)

    def _index_of(self, key: str | None) -> int | None:
        if key is not None:
            for index, turn in enumerate(self._turns):
                if turn.key == key:
                    return index
        return None

    @property
    def system(self) -> str | None:
        """Text of the system message."""
        with self._lock:
            return text_of(self._system) if self._system is not None else None

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Copies of the turns, oldest first."""
        return tuple(map(replace, self._snapshot().turns))

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
        snapshot = self._snapshot_before(before)
        if any(message["role"] == "system" for message in question):
            snapshot = replace(snapshot, system=None)
        if callable(window):
            window = window() if snapshot.turns else None
        if window is None:
            return trimming.newest_messages(snapshot, None), None
        reserve = max_tokens if isinstance(max_tokens, int) else min(_ANSWER_RESERVE, window // 2)
        try:
            fitted = trimming.fit(snapshot, window, reserve=reserve, question=question, model=model)
        except LLMError:
            fitted = trimming.without_turns(snapshot)
        return list(fitted.messages), fitted.note

    def _snapshot_before(self, key: str | None) -> Transcript:
        with self._lock:
            snapshot, index = self._snapshot(), self._index_of(key)
        return snapshot if index is None else replace(snapshot, turns=snapshot.turns[:index])

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row for each message.

        Returns
        -------
        DataFrame
            ``turn`` (from 0, null for the system message), ``role``, ``content`` (the text), ``model`` and
            ``status`` of the turn, ``estimated_tokens`` (upper estimate, images and tool calls included).
        """
        import pandas as pd

        snapshot = self._snapshot()
        rows: list[tuple[int | None, Message, str | None, str | None]] = []
        if snapshot.system is not None:
            rows.append((None, snapshot.system, None, None))
        for n, turn in enumerate(snapshot.turns):
            rows += [(n, message, turn.model, turn.status) for message in turn.messages]
        # dtype object: pandas' string type cannot hold lone surrogates, which a stream that broke off may leave.
        columns: dict[str, tuple[list[Any], str]] = {
            "turn": ([n for n, _, _, _ in rows], "Int64"),
            "role": ([message["role"] for _, message, _, _ in rows], "object"),
            "content": ([text_of(message) for _, message, _, _ in rows], "object"),
            "model": ([model for _, _, model, _ in rows], "object"),
            "status": ([status for _, _, _, status in rows], "object"),
            "estimated_tokens": ([estimate_messages([message]) for _, message, _, _ in rows], "int64"),
        }
        return pd.DataFrame({name: pd.Series(values, dtype=dtype) for name, (values, dtype) in columns.items()})

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
        with _lock:
            named: ConversationHistory = _conversations.setdefault(name, copy)
            # An empty conversation is filled, not replaced, because a widget may show it.
            if named is not copy and not named._fill_if_empty(copy._snapshot()):
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

_conversations: dict[str, ConversationHistory] = {}
_lock = threading.Lock()


def conversation(name: str = "default") -> ConversationHistory:
    """Return the conversation of this name, which magics and widgets of this process share.

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
        return _conversations.setdefault(name, ConversationHistory())


def conversations() -> dict[str, ConversationHistory]:
    """Return all conversations of this process by name."""
    with _lock:
        return dict(_conversations)


def forget_conversation(name: str) -> None:
    """Remove a conversation; its name is free for a new one."""
    with _lock:
        _conversations.pop(name, None)
