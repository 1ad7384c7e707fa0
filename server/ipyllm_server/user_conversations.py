"""Conversations of users: by name, in the ledger, so that they survive the server and other servers have them too."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from ipyllm.conversations.saved_rows import contents_of, last_change
from ipyllm.conversations.search import excerpt, folded
from ipyllm.ledger.current import current_ledger
from ipyllm.ledger.query import ConversationQuery
from ipyllm.observability.logs import log_failure
from ipyllm_server.conversation import Conversation, id_of, place_of
from ipyllm_server.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm_server.answer_shapes import ListedConversation

__all__ = ["UserConversations"]

_IN_MEMORY: Final = 1000
_LISTED: Final = 10_000  # the newest
_SEARCHED: Final = 1000  # likewise
_AT_ONCE: Final = 20  # contents in memory

_logger = logging.getLogger("ipyllm.server")


class UserConversations:
    """Finds conversations by user and name."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[str, str], Conversation] = WeakValueDictionary()
        self._recent: OrderedDict[Conversation, None] = OrderedDict()

    async def get(self, user: str, name: str, *, must_exist: bool = False) -> Conversation:
        """Return a conversation; a new one unless it ``must_exist``.

        Raises
        ------
        Refusal
            404: the user has no such conversation, whoever else may have one.
        """
        found = self._known.get((user, name))
        if found is None:
            found = await asyncio.to_thread(Conversation.look_up, user, name)
        elif not found.is_busy:
            await found.refresh()
        known = self._known.get((user, name)) or found  # another request may have found or renamed it meanwhile
        if must_exist and not (known.exists or known.is_busy):  # with its first answer
            raise Refusal(404, f"You have no conversation {name!r}.", "not_found")
        self._known[user, name] = known
        self._recent[known] = None
        self._recent.move_to_end(known)
        if len(self._recent) > _IN_MEMORY:  # others are known as long as a session has them
            self._recent.popitem(last=False)
        return known

    async def names(self, user: str, query: str = "") -> list[ListedConversation]:
        """Return names and times of the user's conversations, the newest first.

        With a ``query``, those whose name or text contains it, and the text around it.
        """
        found = {row["name"]: row for row in await asyncio.to_thread(_list, user)}
        unsaved: dict[str, ConversationHistory] = {}
        for (owner, name), known in self._known.items():
            if owner == user and name not in found and (known.is_busy or len(known.history)):
                unsaved[name] = known.history
                found[name] = {"name": name, "saved_at": None, "excerpt": None}
        newest = [*reversed(found.values())]
        wanted = folded(query)
        return await asyncio.to_thread(_search, user, newest, unsaved, wanted) if wanted else newest

    async def delete(self, user: str, name: str) -> None:
        """Delete a conversation; raises 404 as :meth:`get` does. Who has it open goes on with an empty one."""
        with await self.get(user, name, must_exist=True) as found:
            found.clear()

    async def rename(self, user: str, name: str, new_name: str) -> None:
        """Give a conversation another name. Who has it open goes on with it.

        Raises
        ------
        Refusal
            404: there is none; 409: another has the name, or one of them answers a question.
        """
        found = await self.get(user, name, must_exist=True)
        other = await self.get(user, new_name)
        if found is other:
            return
        with found, other:
            if other.exists or other.name != new_name:
                raise Refusal(409, f"You have a conversation {new_name!r} already.", "exists")
            if not found.exists or found.name != name:  # it was deleted or renamed meanwhile
                raise Refusal(404, f"You have no conversation {name!r}.", "not_found")
            self._known[user, new_name], self._known[user, name] = found, other
            other.rename(name)  # which is empty, and may be open
            found.rename(new_name)


def _list(user: str) -> list[ListedConversation]:
    """Return names and times, the one that changed first first."""
    only = frozenset({"name", "saved_at", "changed_at"})
    query = ConversationQuery(places=(place_of(user),), only=only, limit=_LISTED)
    rows = [dict(zip(query.columns, row, strict=True)) for row in current_ledger().read(query)]
    changed = sorted((last_change(row), row["name"]) for row in rows)
    return [{"name": name, "saved_at": at.isoformat(), "excerpt": None} for at, name in changed]


def _search(
    user: str, listed: list[ListedConversation], unsaved: Mapping[str, ConversationHistory], wanted: str
) -> list[ListedConversation]:
    """Return those of the listed conversations that contain ``wanted``, the newest of them in their texts."""
    texts = {name: excerpt(history.to_messages(), wanted) for name, history in unsaved.items()}
    names = [each["name"] for each in listed[:_SEARCHED] if each["name"] not in unsaved]
    for start in range(0, len(names), _AT_ONCE):
        ids = tuple(id_of(user, name) for name in names[start : start + _AT_ONCE])
        only = frozenset({"name", "contents"})
        query = ConversationQuery(conversation_ids=ids, places=(place_of(user),), packed=True, only=only)
        at_name, at_contents = query.columns.index("name"), query.columns.index("contents")
        for row in current_ledger().read(query):
            texts[row[at_name]] = _excerpt(row[at_contents], wanted)
    return [
        {**each, "excerpt": texts.get(each["name"])}
        for each in listed
        if texts.get(each["name"]) is not None or wanted in folded(each["name"])
    ]


def _excerpt(packed: bytes | None, wanted: str) -> str | None:
    try:
        contents = contents_of(packed)
    except ValueError as exc:
        log_failure(_logger, "a conversation that is searched is damaged", exc)
        return None
    return None if contents is None else excerpt((each for turn in contents.turns for each in turn.messages), wanted)
