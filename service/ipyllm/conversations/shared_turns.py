"""Turns of a conversation, with its system message, which several threads change and observe."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ipyllm.conversations.transcript import SYSTEM_ROLES, Transcript, Turn, validate_message
from ipyllm.errors import bad_request
from ipyllm.fork_safety import renewed_in_child
from ipyllm.messages import text_of
from ipyllm.validate import refuse_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipyllm.messages import Message
    from ipyllm.response import ChatResponse

__all__ = ["RunningTurn", "SharedTurns"]


@dataclass(eq=False)
class RunningTurn:
    """A turn whose call runs in this process; ``response`` is None until it has ended."""

    response: ChatResponse | None = None


class SharedTurns:
    """Turns, system message and limits of a conversation. Safe to use from several threads.

    Parameters
    ----------
    max_messages, max_tokens : int, optional
        Limits of what is sent, as in :class:`~ipyllm.conversations.history.ConversationHistory`.
    """

    def __init__(self, *, max_messages: int | None = None, max_tokens: int | None = None) -> None:
        self.max_messages = max_messages
        self.max_tokens = max_tokens
        self._system: Message | None = None
        self._turns: list[Turn] = []  # copied when they are added and when they are returned
        self._running: dict[str, RunningTurn] = {}
        self._lock = renewed_in_child(threading.RLock())
        self._observers: tuple[Callable[[], None], ...] = ()

    def __getstate__(self) -> Transcript:
        # For copies and pickles, which are independent of it: without its lock and those who observe it.
        return self._snapshot()

    def __setstate__(self, contents: Transcript) -> None:
        SharedTurns.__init__(self)
        self._replace_contents(contents)

    def __len__(self) -> int:
        with self._lock:
            return sum(len(turn.messages) for turn in self._turns) + (self._system is not None)

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
        refuse_table(messages)
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
        >>> from ipyllm import ConversationHistory
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

    def restore(self, other: SharedTurns) -> None:
        """Replace the contents and limits by those of ``other``, and notify observers.

        Examples
        --------
        >>> from ipyllm import ConversationHistory, conversation
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

    # ---- turns that have no answer yet ------------------------------------------------------------

    def begin_turn(self, key: str) -> None:
        """Say that a call runs for the turn of this key, until :meth:`end_turn`; others who show it can tell then."""
        with self._lock:
            self._running[key] = RunningTurn()

    def end_turn(self, key: str, response: ChatResponse) -> None:
        """Say how the call ended, after :meth:`put_turn` if it has an answer, and notify observers.

        Examples
        --------
        >>> from ipyllm import ChatResponse, ConversationHistory
        >>> history = ConversationHistory()
        >>> history.begin_turn("a")
        >>> running = history.running_turns()["a"]
        >>> history.end_turn("a", ChatResponse(status="cancelled"))
        >>> running.response.status, history.running_turns()
        ('cancelled', {})
        """
        with self._lock:
            running = self._running.pop(key, None)
        if running is not None:
            running.response = response
            self._tell_observers()

    def running_turns(self) -> dict[str, RunningTurn]:
        """Return the turns whose calls run now, by key."""
        with self._lock:
            return dict(self._running)

    # ---- observers -------------------------------------------------------------------------------

    def observe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` after each change, in the thread that made it; return a function that stops this.

        It must return in microseconds and not raise, because the thread that changed the conversation waits for it.

        Examples
        --------
        >>> from ipyllm import ConversationHistory
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
        self._tell_observers()

    def _tell_observers(self) -> None:
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

    def _snapshot_before(self, key: str | None) -> Transcript:
        with self._lock:
            snapshot, index = self._snapshot(), self._index_of(key)
        return snapshot if index is None else replace(snapshot, turns=snapshot.turns[:index])
