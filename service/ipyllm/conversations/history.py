"""A conversation: turns in order, trimmed by whole turns to a limit, without losing the system message."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ipyllm.conversations import transcript, trimming
from ipyllm.conversations.tokens import estimate_messages
from ipyllm.conversations.transcript import SYSTEM_ROLES, Transcript, Turn, checked
from ipyllm.conversations.trimming import Fitted
from ipyllm.errors import LLMError
from ipyllm.messages import text_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd

    from ipyllm.messages import Message

__all__ = ["ConversationHistory", "Fitted", "Turn", "conversation", "conversations", "forget_conversation"]

_RESERVE = 1024  # tokens of the window left for the answer, unless max_tokens says more


class ConversationHistory:
    """Messages of one conversation. Safe to use from several threads.

    Parameters
    ----------
    max_messages : int, optional
        Keep at most so many messages, the system message not counted.
    max_tokens : int, optional
        Keep at most so many tokens, estimated from above, the system message counted.

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
        self._turns: list[Turn] = []  # never handed out: turns are copied on their way in and out
        self._lock = threading.RLock()
        self._observers: tuple[Callable[[], None], ...] = ()

    @classmethod
    def from_messages(
        cls, messages: Iterable[Message], *, max_messages: int | None = None, max_tokens: int | None = None
    ) -> ConversationHistory:
        """Make a conversation of a list in the OpenAI shape.

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
            There is no such file, ipyllm has not written it, it is damaged, or a newer ipyllm wrote it.
        """
        history = cls()
        history._take(transcript.read(path))
        return history

    def __len__(self) -> int:
        with self._lock:
            return sum(len(turn.messages) for turn in self._turns) + (self._system is not None)

    def __repr__(self) -> str:
        count = len(self)
        return f"ConversationHistory({count} message{'' if count == 1 else 's'})"

    # ---- what changes it -------------------------------------------------------------------------

    def add_message(self, role: str, content: str | list[dict[str, Any]] | None, **extra: Any) -> None:
        """Add a message at the end; a ``system`` (or ``developer``) message replaces the one before.

        A question opens a turn. The result of a tool joins the turn whose call it answers, also when another
        question was asked meanwhile: models refuse a call without its result.

        Raises
        ------
        ValueError
            For a role that does not exist, or content that no message can have.
        """
        message = checked({"role": role, "content": content, **extra})
        with self._lock:
            self._add(message)
        self._tell()

    def extend(self, messages: Iterable[Message]) -> None:
        """Add messages in the OpenAI shape: all, or none when one of them is wrong.

        Raises
        ------
        ValueError
            As :meth:`add_message`.
        """
        right = [checked(message) for message in messages]
        with self._lock:
            for message in right:
                self._add(message)
        self._tell()

    def _add(self, message: Message) -> None:
        role, turns = message["role"], self._turns
        if role in SYSTEM_ROLES:
            self._system = message
        elif role == "user" or not turns:
            turns.append(Turn([message]))
        else:
            place = self._asking(message.get("tool_call_id")) if role == "tool" else -1
            turns[place] = turns[place].longer_by(message)

    def _asking(self, tool_call_id: Any) -> int:
        # From the end: some servers use the same ids again in each answer.
        for place in range(len(self._turns) - 1, -1, -1):
            if self._turns[place].calls(tool_call_id):
                return place
        return -1

    def put_turn(self, turn: Turn) -> None:
        """Add a turn, or put it in the place of the one with the same key."""
        turn = replace(turn)
        with self._lock:
            place = self._place(turn.key)
            if place is None:
                self._turns.append(turn)
            else:
                self._turns[place] = turn
        self._tell()

    def replace_turns(self, turns: Iterable[Turn]) -> None:
        """Hold these turns, in this order, and none of before; the system message stays.

        Examples
        --------
        >>> history = ConversationHistory.from_messages([{"role": "user", "content": text} for text in "abc"])
        >>> history.replace_turns(history.turns[:1])
        >>> history
        ConversationHistory(1 message)
        """
        kept = [replace(turn) for turn in turns]
        with self._lock:
            self._turns = kept
        self._tell()

    def set_system(self, text: str | None) -> None:
        """Put ``text`` in the place of the system message; None or an empty text takes it away."""
        if text is not None and not isinstance(text, str):
            raise LLMError(f"A system prompt is text, not {type(text).__name__}.", category="bad_request")
        message = checked({"role": "system", "content": text}) if text and text.strip() else None
        with self._lock:
            self._system = message
        self._tell()

    def undo(self, n: int = 1) -> tuple[Turn, ...]:
        """Take the last ``n`` turns away, or as many as there are, and return them, oldest first.

        The system message stays. ``put_turn`` brings a turn back.

        Raises
        ------
        ValueError
            For a negative number.
        """
        if n < 0:
            raise ValueError(f"undo takes back a number of turns, not {n}.")
        with self._lock:
            first = max(0, len(self._turns) - n)
            gone = self._turns[first:]
            del self._turns[first:]
        self._tell()
        return tuple(map(replace, gone))

    def clear(self, *, keep_system: bool = False) -> None:
        """Forget the turns, and the system message unless it is to be kept."""
        with self._lock:
            self._turns.clear()
            if not keep_system:
                self._system = None
        self._tell()

    def restore(self, other: ConversationHistory) -> None:
        """Hold what ``other`` holds, its limits too, and nothing of before; whoever shows this one sees that.

        Examples
        --------
        >>> saved = ConversationHistory.from_messages([{"role": "user", "content": "Hello"}])
        >>> conversation("demo").restore(saved)
        """
        self._take(other._now())

    def _take(self, then: Transcript) -> None:
        with self._lock:
            self._system, self._turns = then.system, list(then.turns)
            self.max_messages, self.max_tokens = then.max_messages, then.max_tokens
        self._tell()

    def _take_if_empty(self, then: Transcript) -> bool:
        with self._lock:
            empty = not len(self)
            if empty:
                self._take(then)
        return empty

    # ---- who is told -----------------------------------------------------------------------------

    def observe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called after each change, in the thread that made it; return what ends that.

        It must return in microseconds and raise nothing: it stands in the way of whoever changed the conversation.

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

    def _tell(self) -> None:
        for callback in self._observers:
            callback()

    # ---- what reads it ---------------------------------------------------------------------------

    def _now(self) -> Transcript:
        with self._lock:
            return Transcript(self._system, tuple(self._turns), self.max_messages, self.max_tokens)

    def _place(self, key: str | None) -> int | None:
        if key is not None:
            for place, turn in enumerate(self._turns):
                if turn.key == key:
                    return place
        return None

    @property
    def system(self) -> str | None:
        """Text of the system message."""
        with self._lock:
            return text_of(self._system) if self._system is not None else None

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Copies of the turns, oldest first."""
        return tuple(map(replace, self._now().turns))

    def to_messages(self) -> list[Message]:
        """Return all messages in the OpenAI shape, whatever the limits."""
        return trimming.newest(replace(self._now(), max_messages=None, max_tokens=None), None)

    def get_messages(self, *, before: str | None = None, max_tokens: int | None = None) -> list[Message]:
        """Messages as the model should see them: the system message, then the newest turns that fit the limits.

        It never fails: when not even the newest turn fits, only the system message is left. :meth:`fit` says so.

        Parameters
        ----------
        before : str, optional
            Only what precedes the turn with this key: what that turn's question was asked with.
        max_tokens : int, optional
            A limit for this time, beside the history's own.
        """
        return trimming.newest(self._before(before), max_tokens)

    def fit(
        self,
        max_tokens: int | None,
        *,
        reserve: int = 0,
        before: str | None = None,
        question: str | Sequence[Message] | None = None,
        model: str = "",
    ) -> Fitted:
        """Return what fits a model's window, and say what was left out.

        The system message and the question always stay; the oldest turns go first, and always whole. If the
        newest turn alone is too long, which many rounds of tool calls make it, its oldest rounds go, each call
        with its results; its question and its newest round stay.

        Parameters
        ----------
        max_tokens : int or None
            The model's window, as ``service.context_window()`` says; None when that is unknown.
        reserve : int
            Tokens of it to keep for the answer.
        before : str, optional
            Only what precedes the turn with this key.
        question : str or sequence of Message, optional
            What is about to be asked after these messages. It is counted, not returned. Without it the newest
            turn of the conversation is the question.
        model : str
            Full name of the model, for the error.

        Raises
        ------
        LLMError
            Category ``context_length``: the question does not fit even alone. As counts are estimated from above,
            one that comes close to the window may be refused although the model would have taken it.

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
        return trimming.fit(self._before(before), max_tokens, reserve=reserve, question=question, model=model)

    def preceding(
        self,
        question: Sequence[Message],
        window: int | Callable[[], int | None] | None,
        *,
        before: str | None = None,
        max_tokens: Any = None,
        model: str = "",
    ) -> tuple[list[Message], str | None]:
        """Return what a question follows, as much as fits the model's window, and what to say of the rest.

        Unlike :meth:`fit` it never fails: our estimates lie above the truth, so whether a long question fits by
        itself is the server's to say. It is then asked behind the system message alone. A system message in the
        question takes the place of the conversation's own, which is then neither counted nor returned.

        Parameters
        ----------
        question : sequence of Message
            What is about to be asked, with a system message that is new, if any. It is counted, not returned.
        window : int or callable or None
            The model's, as ``service.context_window()`` says; None when that is unknown. A function that says it is
            asked only if something may have to be left out: the tables take a moment to load.
        before : str, optional
            Only what precedes the turn with this key.
        max_tokens : optional
            Longest answer; where it is no number of tokens, a part of the window is kept for the answer.
        model : str
            Full name of the model.

        Examples
        --------
        >>> history = ConversationHistory()
        >>> for text in ("one", "two"):
        ...     history.add_message("user", text)
        ...     history.add_message("assistant", text.upper())
        >>> messages, note = history.preceding([{"role": "user", "content": "three"}], 24, max_tokens=4)
        >>> [message["content"] for message in messages], note
        (['two', 'TWO'], 'Left out to fit: the oldest turn (up to 10 tokens).')
        """
        now = self._before(before)
        if any(message["role"] == "system" for message in question):
            now = replace(now, system=None)
        if callable(window):
            window = window() if now.turns else None
        if window is None:
            return trimming.newest(now, None), None
        reserve = max_tokens if isinstance(max_tokens, int) else min(_RESERVE, window // 2)
        try:
            fitted = trimming.fit(now, window, reserve=reserve, question=question, model=model)
        except LLMError:
            fitted = trimming.no_turn(now)
        return list(fitted.messages), fitted.note

    def _before(self, key: str | None) -> Transcript:
        with self._lock:
            now, place = self._now(), self._place(key)
        return now if place is None else replace(now, turns=now.turns[:place])

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row for every message.

        Returns
        -------
        DataFrame
            ``turn`` (from 0, null for the system message), ``role``, ``content`` (the text), ``model`` and
            ``status`` of the turn, ``estimated_tokens`` (from above, images and tool calls included).
        """
        import pandas as pd

        now = self._now()
        rows: list[tuple[int | None, Message, str | None, str | None]] = []
        if now.system is not None:
            rows.append((None, now.system, None, None))
        for n, turn in enumerate(now.turns):
            rows += [(n, message, turn.model, turn.status) for message in turn.messages]
        # Texts are objects: pandas' own cannot hold the half characters that a cut stream may leave.
        columns: dict[str, tuple[list[Any], str]] = {
            "turn": ([n for n, _, _, _ in rows], "Int64"),
            "role": ([message["role"] for _, message, _, _ in rows], "object"),
            "content": ([text_of(message) for _, message, _, _ in rows], "object"),
            "model": ([model for _, _, model, _ in rows], "object"),
            "status": ([status for _, _, _, status in rows], "object"),
            "estimated_tokens": ([estimate_messages([message]) for _, message, _, _ in rows], "int64"),
        }
        return pd.DataFrame({name: pd.Series(values, dtype=dtype) for name, (values, dtype) in columns.items()})

    # ---- copies of it ----------------------------------------------------------------------------

    def fork(self, name: str | None = None) -> ConversationHistory:
        """Return an independent copy, which from now on goes its own way.

        Parameters
        ----------
        name : str, optional
            Make it the conversation of this name, which magics and widgets then share.

        Raises
        ------
        LLMError
            There is a conversation of this name already, and it is not empty.
        """
        copy = ConversationHistory()
        copy.restore(self)
        if name is None:
            return copy
        with _lock:
            named: ConversationHistory = _conversations.setdefault(name, copy)
            # An empty one is filled, not replaced: a widget may show it.
            if named is not copy and not named._take_if_empty(copy._now()):
                raise LLMError(
                    f"There is a conversation {name!r} already: clear it first, or fork to another name.",
                    category="bad_request",
                )
        return named

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save as JSON, in one step and readable by its owner only; :meth:`load` reads it.

        Keys of providers that occur in the text are masked in the file.

        Raises
        ------
        LLMError
            The file cannot be written; one that was there is untouched.
        """
        transcript.write(self._now(), path)

    def to_json(self) -> str:
        """Return what :meth:`save` writes."""
        return transcript.dumps(self._now())


# ---- conversations by name -----------------------------------------------------------------------

_conversations: dict[str, ConversationHistory] = {}
_lock = threading.Lock()


def conversation(name: str = "default") -> ConversationHistory:
    """Conversation of this name in this process: magics and widgets share them.

    Raises
    ------
    LLMError
        The name is empty or no text.

    Examples
    --------
    >>> conversation("demo") is conversation("demo")
    True
    """
    if not isinstance(name, str) or not name.strip():
        raise LLMError(f"A conversation has a name, like 'default', not {name!r}.", category="bad_request")
    with _lock:
        return _conversations.setdefault(name, ConversationHistory())


def conversations() -> dict[str, ConversationHistory]:
    """All conversations of this process, by name."""
    with _lock:
        return dict(_conversations)


def forget_conversation(name: str) -> None:
    """Remove a conversation; its name is free for a new one."""
    with _lock:
        _conversations.pop(name, None)
