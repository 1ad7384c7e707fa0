"""Deletion of old rows of the ledger, or of their text only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from ipyllm.errors import LLMError, bad_request
from ipyllm.text.times import parse_time

if TYPE_CHECKING:
    from ipyllm.ledger import Ledger

__all__ = ["Pruned", "prune"]


class Pruned(NamedTuple):
    """Numbers of deleted calls, of deleted votes, and of other rows whose text was deleted."""

    calls: int
    votes: int
    texts: int


def prune(
    older_than: datetime | timedelta | str | None = None,
    *,
    keep_text: datetime | timedelta | str | None = None,
    ledger: Ledger | None = None,
) -> Pruned:
    """Delete old calls, votes and notes of all kernels from the ledger, or only the text of calls and votes.

    Running calls of any age stay unchanged. The budget of an experiment forgets what deleted calls cost, and what dead
    processes had reserved before that time. Deleted data is overwritten in an SQLite file, which is rewritten when a
    quarter of it is empty.

    Parameters
    ----------
    older_than : datetime, timedelta or str, optional
        Delete rows that started before this: a date, or how long ago, such as ``"90d"``. Without it, no row is
        deleted.
    keep_text : datetime, timedelta or str, optional
        Delete prompt, answer and reasoning of rows that started before this, and keep the figures. Without it, text
        stays as long as its row.
    ledger : Ledger, optional
        Default: the current one.

    Returns
    -------
    Pruned
        ``calls`` and ``votes`` deleted; ``texts``, the rows that remain without their text.

    Raises
    ------
    LLMError
        ``bad_request``: neither parameter is given, or one is not a date or lies in the future. ``unknown_error``: the
        ledger cannot be written now.

    Examples
    --------
    >>> from ipyllm.ledger import Ledger
    >>> with Ledger("sqlite://") as ledger:
    ...     for year in (2024, 2025):
    ...         at = datetime(year, 1, 1, tzinfo=UTC)
    ...         ledger.put({"call_id": str(year), "started_at": at, "status": "ok", "prompt": "Hello"})
    ...     prune("2024-07-01", keep_text="2025-07-01", ledger=ledger)
    Pruned(calls=1, votes=0, texts=1)
    """
    before, text_before = _parse_past("older_than", older_than), _parse_past("keep_text", keep_text)
    if before is None and text_before is None:
        raise bad_request(
            "prune() needs an age: older_than='90d' deletes rows, keep_text='90d' deletes only their text."
        )
    if ledger is None:
        from ipyllm.ledger import current_ledger

        ledger = current_ledger()
    from ipyllm.ledger.columns import CALLS, VOTES
    from ipyllm.ledger.ledger import LedgerUnavailableError

    try:
        pruned = ledger.prune(before, text_before)
    except LedgerUnavailableError as exc:
        raise LLMError(f"{exc} Try again later.", category="unknown_error") from None
    return Pruned(pruned[CALLS][0], pruned[VOTES][0], pruned[CALLS][1] + pruned[VOTES][1])


def _parse_past(name: str, given: datetime | timedelta | str | None) -> datetime | None:
    try:
        found = parse_time(name, given)
    except ValueError as exc:
        raise bad_request(str(exc)) from None
    if found is not None and found > datetime.now(UTC):
        raise bad_request(f"{name}={given!r} is in the future. Use a date in the past, or a duration such as 90d.")
    return found
