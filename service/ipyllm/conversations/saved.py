"""Conversations of a notebook survive its kernel: each is in the ledger, and taken up again at its first use.

So do comparisons, which are rows of another ``kind``.

The setting ``resume_conversations`` turns this off.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ipyllm.conversations.notebook import current_notebook
from ipyllm.conversations.saved_rows import (
    contents_of,
    conversation_id,
    last_change,
    read_contents,
    read_document,
    read_row,
    saved_row,
)
from ipyllm.conversations.transcript import Transcript, document_of
from ipyllm.ledger.columns import CONVERSATIONS
from ipyllm.ledger.current import current_ledger
from ipyllm.messages import text_of
from ipyllm.observability.logs import log_failure
from ipyllm.text.format import count, shorten
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.conversations.notebook import Notebook
    from ipyllm.ledger.query import ConversationQuery

__all__ = [
    "SavedConversation",
    "changed_at",
    "keeps",
    "last_changed",
    "look_up",
    "look_up_document",
    "look_up_draft",
    "save",
    "save_document",
    "save_draft",
    "saved_conversations",
    "saved_documents",
    "saved_names",
    "tell",
]

_T = TypeVar("_T")
_QUESTION_CHARS = 60
_logger = logging.getLogger("ipyllm.conversations")


class SavedConversation(NamedTuple):
    """A conversation of this notebook, as last changed."""

    name: str
    changed_at: datetime
    contents: Transcript


def keeps() -> bool:
    """Return whether conversations are kept in the ledger: they are those of a notebook, and the settings allow it."""
    from ipyllm.settings import SettingsError

    try:
        return _notebook() is not None
    except SettingsError:  # which the next call will raise
        return False


def look_up(name: str) -> Transcript | None:
    """Return the conversation as this notebook left it; None if there is none, or it is empty."""
    notebook = _notebook()
    if notebook is None:
        return None
    return _whole(lambda: read_contents(conversation_id(notebook.name, name)))


def look_up_document(kind: str, name: str) -> Any:
    """Return the document of another kind as this notebook left it; None if there is none, or it is damaged."""
    notebook = _notebook()
    if notebook is None:
        return None
    return _undamaged(lambda: read_document(_id(notebook, name, kind)))


def look_up_draft(name: str, kind: str = "") -> str:
    """Return what was typed into a chat of this conversation, and not sent; empty for nothing."""
    notebook = _notebook()
    if notebook is None:
        return ""
    from ipyllm.ledger.query import ConversationQuery

    query = ConversationQuery(conversation_ids=(_id(notebook, name, kind),), only=frozenset({"draft"}))
    rows = current_ledger().read(query)
    return (rows[-1][query.columns.index("draft")] or "") if rows else ""


def saved_conversations(limit: int) -> list[SavedConversation]:
    """Return this notebook's conversations that are not empty, at most ``limit``, the one that changed last first."""
    notebook = _notebook()
    if notebook is None:
        return []
    from ipyllm.ledger.query import ConversationQuery

    query = ConversationQuery(places=(notebook.name,), packed=True, limit=limit)
    rows = _newest_first(query)
    read = ((row, _whole(partial(contents_of, row["contents"]))) for row in rows)
    return [
        SavedConversation(row["name"], last_change(row), contents) for row, contents in read if contents is not None
    ]


def last_changed() -> tuple[datetime, str] | None:
    """Return time and name of this notebook's conversation that changed last and is not empty; None if it has none."""
    notebook = _notebook()
    if notebook is None:
        return None
    from ipyllm.ledger.query import ConversationQuery

    # All rows: one that was renamed or deleted now was saved last, and did not change last.
    rows = _newest_first(ConversationQuery(places=(notebook.name,), only=frozenset({"name", "changed_at"})))
    return next(((last_change(row), row["name"]) for row in rows if look_up(row["name"]) is not None), None)


def saved_documents(kind: str, limit: int) -> list[tuple[str, datetime, Any]]:
    """Return name, time and document of this notebook's rows of another kind, the one that changed last first."""
    notebook = _notebook()
    if notebook is None:
        return []
    from ipyllm.ledger.query import ConversationQuery

    query = ConversationQuery(places=(_place(notebook, kind),), limit=limit)
    rows = _newest_first(query)
    read = ((row, _undamaged(partial(read_document, _id(notebook, row["name"], kind)))) for row in rows)
    return [(row["name"], last_change(row), document) for row, document in read if document is not None]


def _newest_first(query: ConversationQuery) -> list[dict[str, Any]]:
    rows = [dict(zip(query.columns, row, strict=True)) for row in current_ledger().read(query)]
    return sorted(rows, key=last_change, reverse=True)


def _undamaged(read: Callable[[], _T | None]) -> _T | None:
    try:
        return read()
    except ValueError as exc:
        log_failure(_logger, "a saved conversation is damaged", exc)
        return None


def _whole(read: Callable[[], Transcript | None]) -> Transcript | None:
    """Return what is read; None if that is empty, or damaged."""
    found = _undamaged(read)
    return found if found is not None and (found.turns or found.system is not None) else None


def changed_at(name: str, kind: str = "") -> datetime | None:
    """Return when a conversation, or a document of another kind, changed last; None if the ledger does not know."""
    notebook = _notebook()
    if notebook is None:
        return None
    found = _undamaged(lambda: read_row(_id(notebook, name, kind)))
    return None if found is None else found.changed_at


def save(name: str, contents: Transcript, changed: datetime | None = None) -> None:
    """Save a conversation in the ledger, which ``changed`` then, or now. Never raises: who changed it goes on."""
    save_document("", name, document_of(contents), changed)


def save_document(kind: str, name: str, document: Any, changed: datetime | None = None) -> None:
    """Save a document of another kind, which is JSON and ``changed`` then, or now. Never raises."""
    _put(name, kind, changed, contents=document)


def save_draft(name: str, draft: str, kind: str = "", changed: datetime | None = None) -> None:
    """Save what was typed into a chat of this conversation, then or now, and not sent. Never raises."""
    _put(name, kind, changed, draft=draft)


def _put(name: str, kind: str, changed: datetime | None, **values: Any) -> None:
    from ipyllm.settings import SettingsError

    try:
        notebook = _notebook()
        if notebook is None:
            return
        values["changed_at"] = changed or datetime.now(UTC)
        row = saved_row(_id(notebook, name, kind), _place(notebook, kind), name, **values)
        current_ledger(reload_settings=False).put(row, CONVERSATIONS)
    except SettingsError as exc:  # which the next call will raise
        log_failure(_logger, "a conversation was not saved", exc)


def saved_names() -> tuple[str, ...]:
    """Return the names of the conversations that the ledger knows from this notebook."""
    notebook = _notebook()
    if notebook is None:
        return ()
    from ipyllm.ledger.query import ConversationQuery

    query = ConversationQuery(places=(notebook.name,))
    index = query.columns.index("name")
    return tuple(row[index] for row in current_ledger().read(query))


def tell(name: str, contents: Transcript) -> None:
    """Tell the user in one line that a conversation goes on."""
    notebook = current_notebook()
    if notebook is None:
        return
    turns = contents.turns
    last = next((text_of(message) for message in turns[-1].messages if message["role"] == "user"), "") if turns else ""
    question = shorten(strip_control_sequences(last), _QUESTION_CHARS)
    what = f"{count(len(turns), 'turn')}, the last {question!r}" if turns else "its system message"
    notebook.tell(f"The conversation {name!r} goes on where this notebook left it: {what}. Begin anew with --new.")


def _place(notebook: Notebook, kind: str) -> str:
    return f"{kind} of {notebook.name}" if kind else notebook.name


def _id(notebook: Notebook, name: str, kind: str) -> str:
    return conversation_id(*([kind] if kind else []), notebook.name, name)


def _notebook() -> Notebook | None:
    """Return the notebook whose conversations are saved; None if none are."""
    from ipyllm.settings import get_settings

    notebook = current_notebook()
    if notebook is None:
        return None
    settings = get_settings()
    return notebook if settings.resume_conversations and settings.store_text else None
