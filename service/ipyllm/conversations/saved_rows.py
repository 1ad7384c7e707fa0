"""Conversations as rows of the ledger: by their names, in a place, which is a notebook or a user of the chat server."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from ipyllm.conversations.transcript import from_document
from ipyllm.ledger.current import current_ledger
from ipyllm.ledger.ids import kernel_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipyllm.conversations.transcript import Transcript

__all__ = [
    "SavedRow",
    "contents_of",
    "conversation_id",
    "last_change",
    "read_contents",
    "read_document",
    "read_row",
    "saved_row",
]


class SavedRow(NamedTuple):
    """What a row holds.

    Attributes
    ----------
    document : dict or None
        The contents, as JSON.
    changed_at : datetime
        When they changed last; when it was saved, for a row of before there was this column.
    """

    document: Any
    changed_at: datetime


def conversation_id(*parts: str) -> str:
    """Return the id of the conversation whose place and name have these parts.

    Examples
    --------
    >>> conversation_id("lesson.ipynb", "default")
    '3312af8301e8853ed20db41783467011'
    """
    return sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def contents_of(packed: bytes | None) -> Transcript | None:
    """Return what a row holds; None for nothing. Raises ValueError for what is damaged."""
    document = _unpacked(packed)
    return None if document is None else from_document(document)


def _unpacked(packed: bytes | None) -> Any:
    if packed is None:
        return None
    from ipyllm.ledger.packed import unpack

    return unpack(packed)


def read_contents(identifier: str, places: Sequence[str] = ()) -> Transcript | None:
    """Return a conversation; None if there is none in one of the given ``places``. Raises as `contents_of`."""
    document = read_document(identifier, places)
    return None if document is None else from_document(document)


def read_document(identifier: str, places: Sequence[str] = ()) -> Any:
    """Return the document of a row; None if there is none. Raises ValueError for a damaged one."""
    found = read_row(identifier, places)
    return None if found is None else found.document


def read_row(identifier: str, places: Sequence[str] = ()) -> SavedRow | None:
    """Return a row; None if there is none in one of the given ``places``. Raises ValueError for a damaged one."""
    from ipyllm.ledger.query import ConversationQuery

    query = ConversationQuery(conversation_ids=(identifier,), places=tuple(places), packed=True)
    rows = current_ledger().read(query)
    if not rows:
        return None
    row = dict(zip(query.columns, rows[-1], strict=True))
    return SavedRow(_unpacked(row["contents"]), last_change(row))


def last_change(row: Mapping[str, Any]) -> datetime:
    """Return when the contents of a row changed last; of before there was this column, when it was saved."""
    found: datetime = row["changed_at"] or row["saved_at"]
    return found


def saved_row(identifier: str, place: str, name: str, **values: Any) -> dict[str, Any]:
    """Return the row that saves ``values`` of a conversation, as of now."""
    head = {"conversation_id": identifier, "saved_at": datetime.now(UTC), "kernel_id": kernel_id()}
    return {**head, "place": place, "name": name, **values}
