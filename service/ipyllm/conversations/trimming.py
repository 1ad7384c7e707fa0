"""Which part of a conversation fits a model's window: whole turns, the newest first. Pure.

A tool call and its result stand in one turn, so neither is ever left without the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ipyllm.conversations.tokens import estimate_messages
from ipyllm.conversations.transcript import plain
from ipyllm.errors import LLMError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.conversations.transcript import Transcript, Turn
    from ipyllm.messages import Message

__all__ = ["Fitted", "fit", "newest", "no_turn"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """The part of a conversation that fits a limit, and what was left out for it.

    Attributes
    ----------
    messages : tuple of Message
        The system message, then whole turns, oldest first.
    tokens : int
        Estimate, from above, of these messages and of the question they were fitted for.
    dropped_turns : int
        How many of the oldest turns were left out.
    dropped_rounds : int
        How many rounds of tool calls were left out of the newest turn, because it alone was too long.
    dropped_tokens : int
        Estimate, from above, of all that was left out.
    """

    messages: tuple[Message, ...]
    tokens: int
    dropped_turns: int = 0
    dropped_rounds: int = 0
    dropped_tokens: int = 0

    @property
    def note(self) -> str | None:
        """One sentence on what was left out, for the person at the notebook; None when nothing was.

        Examples
        --------
        >>> Fitted((), 0, dropped_turns=3, dropped_tokens=1200).note
        'Left out to fit: the oldest 3 turns (up to 1,200 tokens).'
        """
        parts = []
        if self.dropped_turns:
            parts.append(f"the oldest {_several(self.dropped_turns, 'turn')}")
        if self.dropped_rounds:
            parts.append(f"the first {_several(self.dropped_rounds, 'round')} of tool calls of the last turn")
        if not parts:
            return None
        return f"Left out to fit: {' and '.join(parts)} (up to {self.dropped_tokens:,} tokens)."


def newest(now: Transcript, max_tokens: int | None) -> list[Message]:
    """Return the system message and the newest turns within the limits, as few as none."""
    system = _leading(now)
    limits = [limit for limit in (max_tokens, now.max_tokens) if limit is not None]
    room = min(limits) - estimate_messages(system) if limits else None
    return _copies(system, now.turns[_first_kept(now.turns, room, now.max_messages) :])


def fit(
    now: Transcript,
    max_tokens: int | None,
    *,
    reserve: int = 0,
    question: str | Sequence[Message] | None = None,
    model: str = "",
) -> Fitted:
    """Return what fits; see :meth:`ipyllm.conversations.history.ConversationHistory.fit`."""
    older, last = now.turns, []
    if question is None and older:
        older, last = older[:-1], list(older[-1].messages)
    elif isinstance(question, str):
        question = [{"role": "user", "content": question}]

    room = None if max_tokens is None else max_tokens - reserve
    own = now.max_tokens is not None and (room is None or now.max_tokens < room)
    if own:
        room = now.max_tokens
    system = _leading(now)
    needed = estimate_messages(system) + estimate_messages(question or ())
    whole, rounds = estimate_messages(last), 0
    if room is not None:
        last, rounds = _without_oldest_rounds(last, room - needed)
    kept = estimate_messages(last)
    needed += kept
    if room is not None and needed > room:
        raise _too_long(needed, room, own=own, model=model)

    if rounds:  # older turns might still fit into what is left, but would stand before a gap
        first = len(older)
    else:
        count = None if now.max_messages is None else now.max_messages - len(last)
        first = _first_kept(older, None if room is None else room - needed, count)
    return Fitted(
        messages=(*_copies(system, older[first:]), *map(plain, last)),
        tokens=needed + _tokens(older[first:]),
        dropped_turns=first,
        dropped_rounds=rounds,
        dropped_tokens=whole - kept + _tokens(older[:first]),
    )


def no_turn(now: Transcript) -> Fitted:
    """Return the system message alone, and what was left out for a question that fills the window by itself."""
    messages = tuple(_copies(_leading(now), ()))
    return Fitted(messages, estimate_messages(messages), len(now.turns), dropped_tokens=_tokens(now.turns))


def _first_kept(turns: Sequence[Turn], room: int | None, count: int | None) -> int:
    """Index of the oldest turn that fits ``room`` tokens and ``count`` messages with all that follow it."""
    tokens = messages = 0
    for place in range(len(turns) - 1, -1, -1):
        if room is not None:
            tokens += estimate_messages(turns[place].messages)
        messages += len(turns[place].messages)
        if (room is not None and tokens > room) or (count is not None and messages > count):
            return place + 1
    return 0


def _without_oldest_rounds(messages: list[Message], room: int) -> tuple[list[Message], int]:
    """Leave out as many of the oldest rounds as it takes, never the last; and say how many those are.

    A round is an answer with the tool results that follow it.
    """
    starts = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    excess, dropped = estimate_messages(messages) - room, 0
    while excess > 0 and dropped < len(starts) - 1:
        excess -= estimate_messages(messages[starts[dropped] : starts[dropped + 1]])
        dropped += 1
    if dropped:
        messages = messages[: starts[0]] + messages[starts[dropped] :]
    return messages, dropped


def _too_long(needed: int, room: int, *, own: bool, model: str) -> LLMError:
    where = "the conversation's max_tokens" if own else f"the window of {model or 'the model'} beside its answer"
    return LLMError(
        f"The question and the system message may take {needed:,} tokens, but {where} has room for "
        f"{max(room, 0):,}: shorten the question, or {'raise that limit' if own else 'ask a model with a larger one'}.",
        category="context_length",
        model=model,
    )


def _leading(now: Transcript) -> list[Message]:
    return [now.system] if now.system is not None else []


def _copies(system: Sequence[Message], turns: Sequence[Turn]) -> list[Message]:
    return [plain(message) for messages in (system, *(turn.messages for turn in turns)) for message in messages]


def _tokens(turns: Sequence[Turn]) -> int:
    return sum(estimate_messages(turn.messages) for turn in turns)


def _several(n: int, what: str) -> str:
    return what if n == 1 else f"{n} {what}s"
