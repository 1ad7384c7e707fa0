"""What was said of a conversation's answers, as the ledger has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm.ledger.feedback import look_up_feedback

if TYPE_CHECKING:
    from ipyllm.conversations.history import ConversationHistory

__all__ = ["feedback_on"]


def feedback_on(history: ConversationHistory) -> dict[str, str]:
    """Return what was said of the answers, by the id of the call.

    Examples
    --------
    >>> from ipyllm import ConversationHistory
    >>> feedback_on(ConversationHistory())
    {}
    """
    return look_up_feedback(turn.call_id for turn in history.turns if turn.call_id is not None)
