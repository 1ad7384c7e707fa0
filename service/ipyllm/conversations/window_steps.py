"""What the context window holds at each turn of a conversation, as trimming decides it. Pure functions.

``widgets/ipyllm_widgets/static/teaching/window_steps.js`` computes the same in the browser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ipyllm.conversations.tokens import estimate_messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.conversations.transcript import Turn

__all__ = ["TurnSize", "WindowStep", "turn_sizes", "window_steps"]


@dataclass(frozen=True, slots=True)
class TurnSize:
    """Tokens of a turn, as upper estimates.

    Attributes
    ----------
    question : int
        Of its first message.
    answer : int
        Of all others: answers, tool calls and their results.
    n_messages : int
        How many messages it has.
    """

    question: int
    answer: int
    n_messages: int = 2


@dataclass(frozen=True, slots=True)
class WindowStep:
    """What was sent with the question of a turn, in tokens.

    Attributes
    ----------
    system, history, question : int
        The system message, the earlier turns that fit, and the question.
    first : int
        The oldest turn that was sent, from 0: earlier ones were left out.
    left_out : int
        Tokens of the turns that were left out.
    shared : int
        Tokens at the beginning that the request before had as well, which a server may read from its cache.
    free : int
        What the window has left for the answer; negative where even the question does not fit.
    """

    system: int
    history: int
    question: int
    first: int
    left_out: int
    shared: int
    free: int

    @property
    def sent(self) -> int:
        """Tokens of the whole request."""
        return self.system + self.history + self.question


def window_steps(
    system: int,
    turns: Sequence[TurnSize],
    window: int,
    reserve: int,
    *,
    max_tokens: int | None = None,
    max_messages: int | None = None,
) -> list[WindowStep]:
    """Return what each request of a conversation holds.

    Parameters
    ----------
    system : int
        Tokens of the system message.
    turns : sequence of TurnSize
        Oldest first.
    window, reserve : int
        Tokens of the context window, and those of them that are kept for the answer.
    max_tokens, max_messages : int, optional
        Limits of the conversation itself.

    Notes
    -----
    The rule of :meth:`~ipyllm.conversations.history.ConversationHistory.preceding`: whole turns, newest first; a
    question that seems too long goes with the system message alone.

    Examples
    --------
    >>> steps = window_steps(10, [TurnSize(20, 30), TurnSize(20, 30), TurnSize(20, 30)], window=120, reserve=20)
    >>> [(step.first, step.history, step.shared, step.free) for step in steps]
    [(0, 0, 0, 90), (0, 50, 30, 40), (1, 50, 10, 40)]
    """
    space = window - reserve
    if max_tokens is not None:
        space = min(space, max_tokens)
    steps: list[WindowStep] = []
    for index, turn in enumerate(turns):
        first = _first_that_fits(turns[:index], space - system - turn.question, max_messages)
        history = sum(each.question + each.answer for each in turns[first:index])
        left_out = sum(each.question + each.answer for each in turns[:first])
        shared = system if steps else 0
        if steps and steps[-1].first == first and first < index:
            shared = steps[-1].sent
        free = window - system - history - turn.question
        steps.append(WindowStep(system, history, turn.question, first, left_out, shared, free))
    return steps


def _first_that_fits(turns: Sequence[TurnSize], space: int, max_messages: int | None) -> int:
    if space < 0:
        return len(turns)
    tokens = messages = 0
    for index in range(len(turns) - 1, -1, -1):
        tokens += turns[index].question + turns[index].answer
        messages += turns[index].n_messages
        if tokens > space or (max_messages is not None and messages > max_messages):
            return index + 1
    return 0


def turn_sizes(turns: Sequence[Turn]) -> list[TurnSize]:
    """Return the tokens of each turn of a conversation, as upper estimates."""
    return [
        TurnSize(estimate_messages(turn.messages[:1]), estimate_messages(turn.messages[1:]), len(turn.messages))
        for turn in turns
    ]
