"""The history of each compared model: the earlier questions with its own answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.conversations.history import ConversationHistory
from ipyllm.text.format import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.messages import Message
    from ipyllm.services.base import BaseLLMService
    from ipyllm_widgets.compare.compare_round import CompareRound

__all__ = ["earlier_messages"]


def earlier_messages(
    rounds: Sequence[CompareRound], name: str, question: Message, service: BaseLLMService, system: str
) -> tuple[list[Message], str]:
    """Return what one model is sent before a question, and a note about the earlier questions left out.

    A question that it did not answer is left out, and so are the oldest if all do not fit its context window.

    Parameters
    ----------
    rounds : sequence of CompareRound
        The conversation so far.
    name : str
        The model's name in the widget.
    question : Message
    service : BaseLLMService
        With its parameters.
    system : str
        The system prompt; empty for none.
    """
    if not rounds:
        return [], ""
    answered = [messages for asked in rounds if (messages := asked.messages_of(name)) is not None]
    history = ConversationHistory.from_messages(message for messages in answered for message in messages)
    first: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    max_tokens = service.params.get("max_tokens")
    messages, left_out = history.preceding(
        [*first, question], service.context_window, max_tokens=max_tokens, model=service.full_name
    )
    n_missing = len(rounds) - len(answered)
    missing = f"Sent without {count(n_missing, 'earlier question')} that it did not answer." if n_missing else ""
    return [message for message in messages if message["role"] != "system"], " ".join(filter(None, (missing, left_out)))
