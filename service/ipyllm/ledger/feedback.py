"""What a person thinks of an answer, kept in the row of its call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from ipyllm.errors import LLMError, bad_request
from ipyllm.ledger.current import current_ledger
from ipyllm.ledger.query import Query
from ipyllm.text.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipyllm.ledger.ledger import Ledger

__all__ = ["FEEDBACK", "Feedback", "give_feedback", "look_up_feedback"]

Feedback = Literal["good", "bad"]
FEEDBACK: Final[tuple[Feedback, ...]] = ("good", "bad")
_IDS_AT_ONCE = 10_000  # SQLite takes 32,766 values in one query


def give_feedback(call_id: str, feedback: Feedback | None, *, ledger: Ledger | None = None) -> None:
    """Store that the answer of a call is good or bad; None withdraws it. A later judgement replaces an earlier one.

    Parameters
    ----------
    call_id : str
        The call.
    feedback : {"good", "bad"} or None
        What the person thinks.
    ledger : Ledger, optional
        By default the current one.

    Raises
    ------
    LLMError
        The value does not exist (``bad_request``), or the ledger has no such call (``not_found``).

    Examples
    --------
    >>> from ipyllm.ledger import Ledger
    >>> with Ledger("sqlite://") as ledger:
    ...     ledger.put({"call_id": "01", "status": "ok"})
    ...     give_feedback("01", "good", ledger=ledger)
    ...     look_up_feedback(["01", "02"], ledger=ledger)
    {'01': 'good'}
    """
    if feedback is not None and feedback not in FEEDBACK:
        raise bad_request(f"There is no feedback {feedback!r}. {suggest(str(feedback), FEEDBACK)}")
    ledger = ledger or current_ledger()
    if not ledger.read(Query(call_ids=(call_id,), only=frozenset({"call_id"}))):
        why = ledger.read_error or "It was removed from the ledger, or written to another"
        raise LLMError(f"The call of this answer was not found. {why}.", category="not_found")
    ledger.put({"call_id": call_id, "feedback": feedback})


def look_up_feedback(call_ids: Iterable[str], *, ledger: Ledger | None = None) -> dict[str, str]:
    """Return what was said of these calls, by id; only of those of which something was said."""
    ids = tuple(call_ids)
    ledger = ledger or current_ledger()
    found: dict[str, str] = {}
    for start in range(0, len(ids), _IDS_AT_ONCE):
        query = Query(call_ids=ids[start : start + _IDS_AT_ONCE], only=frozenset({"feedback"}))
        key, value = query.columns.index("call_id"), query.columns.index("feedback")
        found |= {row[key]: row[value] for row in ledger.read(query) if row[value] in FEEDBACK}
    return found
