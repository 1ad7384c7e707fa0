"""An answer that was cut off goes on: what is asked, and how the pieces become one answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ipyllm.events import Finished, ReasoningDelta, TextDelta
from ipyllm_widgets.live_answer import LiveAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.events import Event
    from ipyllm.messages import Message
    from ipyllm_widgets.chat.turn_tree import TurnNode

__all__ = ["can_continue", "continued_answer", "continuing_messages", "with_beginning"]

_CUT_OFF = frozenset({"truncated", "cancelled", "error", "interrupted"})
_REQUEST = (
    "Your answer was cut off. Continue it exactly where it stopped, in the middle of the word or the code if need be. "
    "Repeat nothing, and do not comment on this."
)


def can_continue(node: TurnNode) -> bool:
    """Return whether an answer has a text and was cut off: at its longest length, by a failure or by the user."""
    if node.turn is None or node.key is None or not node.answer:
        return False
    if node.response is None:
        return node.turn.status in _CUT_OFF
    return node.response.status in _CUT_OFF or node.response.finish_reason == "length"


def continuing_messages(node: TurnNode) -> Sequence[Message]:
    """Return the messages that ask for the rest, after those before the turn."""
    assert node.turn is not None
    answered = [message for message in node.turn.messages if message.get("content") or message.get("tool_calls")]
    return [*answered, {"role": "user", "content": _REQUEST}]


def continued_answer(node: TurnNode) -> LiveAnswer:
    """Return a live answer that begins with what there is; it replaces what the page shows."""
    reasoning = node.response.reasoning if node.response is not None else ""
    live = LiveAnswer(node.name, shown=node.parts)
    if reasoning:
        live.on_event(ReasoningDelta(reasoning, 0))
    live.on_event(TextDelta(node.answer, 0))
    return live


def with_beginning(event: Event, text: str, reasoning: str) -> Event:
    """Return the last event with the whole answer, any other as it is."""
    if not isinstance(event, Finished):
        return event
    response = event.response
    whole = replace(
        response, content=text + response.content, reasoning=reasoning + response.reasoning, output_items=()
    )
    return Finished(whole)
