"""Conversations of users: by name, in the ledger, so that they survive the server and other servers have them too."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Self

from ipyllm.conversations.history import ConversationHistory
from ipyllm.conversations.saved_rows import conversation_id, read_contents, saved_row
from ipyllm.conversations.transcript import Transcript, Turn, document_of
from ipyllm.ledger.columns import CONVERSATIONS
from ipyllm.ledger.current import current_ledger
from ipyllm.ledger.query import ConversationQuery
from ipyllm.pipeline.stored_responses import response_to, stored_responses
from ipyllm.rendering import footer_text
from ipyllm.settings import SettingsError, get_settings
from ipyllm_server.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipyllm.response import ChatResponse

__all__ = ["Conversation", "UserConversations"]

_IN_MEMORY: Final = 1000


class Conversation:
    """One conversation of a user. It answers one question at a time: use it in a ``with`` while one is answered."""

    def __init__(self, user: str, name: str, history: ConversationHistory) -> None:
        self.user, self.name, self.history = user, name, history
        self.is_busy = False

    def begin(self) -> None:
        """Let no other question be asked; raise 409 if one is being answered."""
        if self.is_busy:
            raise Refusal(409, f"The conversation {self.name!r} is still answering the question before.", "busy")
        self.is_busy = True

    def end(self) -> None:
        """Let questions be asked again."""
        self.is_busy = False

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def add(self, question: Sequence[Mapping[str, Any]], response: ChatResponse) -> None:
        """Add a question with its answer, as far as it came."""
        if response.content:
            messages = [*map(dict, question), response.as_message()]
            self.history.put_turn(Turn.answered(messages, response.call_id, response))

    async def summaries(self) -> list[str | None]:
        """Return for each message None, or if it ends an answer a line: how it ended, model, times, tokens, cost."""
        stored = await asyncio.to_thread(stored_responses, self.history.turns)
        contents = self.history.__getstate__()
        summaries: list[str | None] = [None] * (contents.system is not None)
        for turn in contents.turns:
            summaries += [None] * len(turn.messages)
            summaries[-1] = footer_text(response_to(turn, stored))
        return summaries

    def save(self) -> None:
        """Save the contents in the ledger, unless it keeps no text."""
        if get_settings().store_text:
            self._put(_place_of(self.user), self.history)

    def delete(self) -> None:
        """Delete it in the ledger."""
        self._put("", ConversationHistory())

    def _put(self, place: str, history: ConversationHistory) -> None:
        row = saved_row(_id_of(self.user, self.name), place, self.name, contents=document_of(history.__getstate__()))
        current_ledger().put(row, CONVERSATIONS)


class UserConversations:
    """Finds conversations by user and name."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Conversation] = OrderedDict()

    async def get(self, user: str, name: str, *, must_exist: bool = False) -> Conversation:
        """Return a conversation; a new one unless it ``must_exist``.

        Raises
        ------
        Refusal
            404: the user has no such conversation, whoever else may have one.
        """
        known = self._known.get((user, name))
        if known is None:
            contents = await asyncio.to_thread(_look_up, user, name)
            if contents is None and must_exist:
                raise Refusal(404, f"You have no conversation {name!r}.", "not_found")
            known = self._known.get((user, name))  # another request may have found it meanwhile
        if known is None:
            history = ConversationHistory()
            history.__setstate__(contents or Transcript())
            known = self._known[user, name] = Conversation(user, name, history)
            self._forget_the_oldest()
        self._known.move_to_end((user, name))
        return known

    async def names(self, user: str) -> list[dict[str, Any]]:
        """Return names and times of the user's conversations, the newest first."""
        found = {row["name"]: row for row in await asyncio.to_thread(_list, user)}
        for (owner, name), known in self._known.items():
            if owner == user and name not in found and len(known.history):
                found[name] = {"name": name, "saved_at": None}
        return [*reversed(found.values())]

    async def delete(self, user: str, name: str) -> None:
        """Delete a conversation; raises 404 as :meth:`get` does."""
        found = await self.get(user, name, must_exist=True)
        with found:
            self._known.pop((user, name), None)
            found.delete()

    def _forget_the_oldest(self) -> None:
        idle = [key for key, known in self._known.items() if not known.is_busy]
        for key in idle[: max(0, len(self._known) - _IN_MEMORY)]:
            del self._known[key]


def _look_up(user: str, name: str) -> Transcript | None:
    try:
        return read_contents(_id_of(user, name), (_place_of(user),))
    except SettingsError:
        raise
    except ValueError:
        raise Refusal(500, f"The conversation {name!r} is damaged in the ledger.", "damaged") from None


def _list(user: str) -> list[dict[str, Any]]:
    query = ConversationQuery(places=(_place_of(user),))
    names = query.columns
    rows = [dict(zip(names, row, strict=True)) for row in current_ledger().read(query)]
    return [{"name": row["name"], "saved_at": row["saved_at"].isoformat()} for row in rows]


def _place_of(user: str) -> str:
    return f"server {user}"


def _id_of(user: str, name: str) -> str:
    return conversation_id("server", user, name)
