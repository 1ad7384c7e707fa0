"""Trimming of a conversation to a model's context window, by whole turns, newest first. Pure functions.

A tool call and its result are in one turn, so both are kept or both are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ipyllm.conversations.tokens import estimate_messages
from ipyllm.conversations.transcript import json_copy
from ipyllm.errors import LLMError
from ipyllm.text.format import count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ipyllm.conversations.transcript import Transcript, Turn
    from ipyllm.messages import Message

__all__ = ["TrimResult", "fit", "newest_messages", "preceding"]

_ANSWER_RESERVE = 1024  # tokens of the window reserved for the answer, unless max_tokens is given


@dataclass(frozen=True, slots=True)
class TrimResult:
    """Part of a conversation that fits a limit, and what was left out.

    Attributes
    ----------
    messages : tuple of Message
        The system message, then whole turns, oldest first.
    tokens : int
        Upper estimate for these messages and the question that follows.
    dropped_turns : int
        Number of the oldest turns that were left out.
    dropped_rounds : int
        Number of rounds of tool calls that were left out of the newest turn, because it alone was too long.
    dropped_tokens : int
        Upper estimate for everything that was left out.
    """

    messages: tuple[Message, ...]
    tokens: int
    dropped_turns: int = 0
    dropped_rounds: int = 0
    dropped_tokens: int = 0

    @property
    def note(self) -> str | None:
        """Sentence for the user about what was left out; None when nothing was."""
        parts = []
        if self.dropped_turns:
            parts.append(f"oldest {_counted(self.dropped_turns, 'turn')}")
        if self.dropped_rounds:
            parts.append(f"first {_counted(self.dropped_rounds, 'round')} of tool calls of the last turn")
        if not parts:
            return None
        were = "was" if self.dropped_turns + self.dropped_rounds == 1 else "were"
        return (
            f"The {' and the '.join(parts)} (up to {self.dropped_tokens:,} tokens) {were} left out "
            "to fit the context window."
        )


def newest_messages(conversation: Transcript, max_tokens: int | None) -> list[Message]:
    """Return the system message and the newest turns that fit the limits, possibly none."""
    system = _system_messages(conversation)
    limits = [limit for limit in (max_tokens, conversation.max_tokens) if limit is not None]
    space = min(limits) - estimate_messages(system) if limits else None
    first = _first_that_fits(conversation.turns, space, conversation.max_messages)
    return _copies(system, conversation.turns[first:])


def fit(
    conversation: Transcript,
    max_tokens: int | None,
    *,
    reserve: int = 0,
    question: str | Sequence[Message] | None = None,
    model: str = "",
) -> TrimResult:
    """Implement :meth:`ipyllm.conversations.history.ConversationHistory.fit`."""
    older, last = conversation.turns, []
    if question is None and older:
        older, last = older[:-1], list(older[-1].messages)
    elif isinstance(question, str):
        question = [{"role": "user", "content": question}]

    space = None if max_tokens is None else max_tokens - reserve
    own = conversation.max_tokens is not None and (space is None or conversation.max_tokens < space)
    if own:
        space = conversation.max_tokens
    system = _system_messages(conversation)
    needed = estimate_messages(system) + estimate_messages(question or ())
    tokens_before, rounds = estimate_messages(last), 0
    if space is not None:
        last, rounds = _drop_oldest_rounds(last, space - needed)
    last_tokens = estimate_messages(last)
    needed += last_tokens
    if space is not None and needed > space:
        raise _too_long(needed, space, own=own, model=model)

    if rounds:  # older turns might still fit, but there would be a gap after them
        first = len(older)
    else:
        max_messages = None if conversation.max_messages is None else conversation.max_messages - len(last)
        first = _first_that_fits(older, None if space is None else space - needed, max_messages)
    return TrimResult(
        messages=(*_copies(system, older[first:]), *map(json_copy, last)),
        tokens=needed + _tokens(older[first:]),
        dropped_turns=first,
        dropped_rounds=rounds,
        dropped_tokens=tokens_before - last_tokens + _tokens(older[:first]),
    )


def preceding(
    conversation: Transcript,
    question: Sequence[Message],
    window: int | Callable[[], int | None] | None,
    *,
    max_tokens: object = None,
    model: str = "",
) -> tuple[list[Message], str | None]:
    """Implement :meth:`ipyllm.conversations.history.ConversationHistory.preceding`."""
    if any(message["role"] == "system" for message in question):
        conversation = replace(conversation, system=None)
    if callable(window):
        window = window() if conversation.turns else None
    if window is None:
        return newest_messages(conversation, None), None
    reserve = max_tokens if isinstance(max_tokens, int) else min(_ANSWER_RESERVE, window // 2)
    try:
        fitted = fit(conversation, window, reserve=reserve, question=question, model=model)
    except LLMError:
        fitted = _without_turns(conversation)
    return list(fitted.messages), fitted.note


def _without_turns(conversation: Transcript) -> TrimResult:
    """Return the system message without any turn, for a question that alone fills the window."""
    messages = tuple(_copies(_system_messages(conversation), ()))
    return TrimResult(
        messages, estimate_messages(messages), len(conversation.turns), dropped_tokens=_tokens(conversation.turns)
    )


def _first_that_fits(turns: Sequence[Turn], space: int | None, max_messages: int | None) -> int:
    """Return the index of the oldest turn that, with all later ones, fits ``space`` tokens and ``max_messages``."""
    tokens = messages = 0
    for index in range(len(turns) - 1, -1, -1):
        if space is not None:
            tokens += estimate_messages(turns[index].messages)
        messages += len(turns[index].messages)
        if (space is not None and tokens > space) or (max_messages is not None and messages > max_messages):
            return index + 1
    return 0


def _drop_oldest_rounds(messages: list[Message], space: int) -> tuple[list[Message], int]:
    """Drop as many of the oldest rounds as necessary, but not the last; return the messages and the number dropped.

    A round is an answer with the tool results that follow it.
    """
    starts = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    excess, dropped = estimate_messages(messages) - space, 0
    while excess > 0 and dropped < len(starts) - 1:
        excess -= estimate_messages(messages[starts[dropped] : starts[dropped + 1]])
        dropped += 1
    if dropped:
        messages = messages[: starts[0]] + messages[starts[dropped] :]
    return messages, dropped


def _too_long(needed: int, space: int, *, own: bool, model: str) -> LLMError:
    where = (
        "the conversation's max_tokens" if own else f"the context window of {model or 'the model'}, minus the answer,"
    )
    return LLMError(
        f"The question and the system message may take {needed:,} tokens, but {where} has room for {max(space, 0):,}: "
        f"shorten the question, or {'raise that limit' if own else 'use a model with a larger one'}.",
        category="context_length",
        model=model,
    )


def _system_messages(conversation: Transcript) -> list[Message]:
    return [conversation.system] if conversation.system is not None else []


def _copies(system: Sequence[Message], turns: Sequence[Turn]) -> list[Message]:
    return [json_copy(message) for messages in (system, *(turn.messages for turn in turns)) for message in messages]


def _tokens(turns: Sequence[Turn]) -> int:
    return sum(estimate_messages(turn.messages) for turn in turns)


def _counted(n: int, noun: str) -> str:
    return noun if n == 1 else count(n, noun)
