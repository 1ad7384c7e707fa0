"""Questions that wait, in the ledger: after a restart of the kernel they wait for the user, with images and files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from ipyllm.conversations import saved
from ipyllm.conversations.transcript import validate_message
from ipyllm.observability.logs import log_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.messages import Message

__all__ = ["look_up_queue", "save_queue"]

_FORMAT: Final = {"format": "ipyllm-queue", "version": 1}
_logger = logging.getLogger("ipyllm.widgets")


def look_up_queue(name: str, kind: str = "") -> list[Message]:
    """Return the questions that waited in the chat or comparison of this name; none if they are damaged."""
    document = saved.look_up_document(_kind(kind), name)
    if document is None:
        return []
    try:
        return [validate_message(question) for question in document["questions"]]
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        log_failure(_logger, f"the questions that waited in {name!r} are damaged", exc)
        return []


def save_queue(name: str, questions: Sequence[Message], kind: str = "") -> None:
    """Save the questions that wait. Never raises."""
    document: dict[str, Any] = {**_FORMAT, "questions": list(questions)}
    saved.save_document(_kind(kind), name, document)


def _kind(kind: str) -> str:
    return f"{kind} queue".strip()
