"""Messages of a conversation as a DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.conversations.tokens import estimate_messages
from ipyllm.messages import text_of

if TYPE_CHECKING:
    import pandas as pd

    from ipyllm.conversations.transcript import Transcript
    from ipyllm.messages import Message

__all__ = ["messages_table"]


def messages_table(conversation: Transcript) -> pd.DataFrame:
    """Implement :meth:`ipyllm.conversations.history.ConversationHistory.to_dataframe`."""
    import pandas as pd

    rows: list[tuple[int | None, Message, str | None, str | None]] = []
    if conversation.system is not None:
        rows.append((None, conversation.system, None, None))
    for n, turn in enumerate(conversation.turns):
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
