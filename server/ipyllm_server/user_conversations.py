"""Conversations of users: by name, in the ledger, so that they survive the server and other servers have them too."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakValueDictionary

from ipyllm.conversations.history import ConversationHistory
from ipyllm.conversations.saved_rows import contents_of, conversation_id, read_contents, saved_row
from ipyllm.conversations.search import excerpt, folded
from ipyllm.conversations.transcript import Transcript, Turn, document_of
from ipyllm.ledger.columns import CONVERSATIONS
from ipyllm.ledger.current import current_ledger
from ipyllm.ledger.query import ConversationQuery
from ipyllm.observability.logs import log_failure
from ipyllm.pipeline.stored_responses import response_to, stored_responses
from ipyllm.rendering import footer_text
from ipyllm.settings import SettingsError, get_settings
from ipyllm_server.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.response import ChatResponse
    from ipyllm_server.answer_shapes import ConversationName

__all__ = ["Conversation", "UserConversations"]

_IN_MEMORY: Final = 1000
_LISTED: Final = 10_000  # the newest
_SEARCHED: Final = 1000  # likewise
_AT_ONCE: Final = 20  # contents in memory

_logger = logging.getLogger("ipyllm.server")


class Conversation:
    """One conversation of a user. It answers one question at a time: use it in a ``with`` while one is answered."""

    def __init__(self, user: str, name: str, history: ConversationHistory, *, is_saved: bool = False) -> None:
        self.user, self.name, self.history = user, name, history
        self.is_busy = False
        self._is_saved = is_saved

    @property
    def exists(self) -> bool:
        """Whether the user has it: it is saved, or has messages."""
        return self._is_saved or len(self.history) > 0

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

    def add(self, question: str, response: ChatResponse, question_id: str | None = None) -> None:
        """Add a question with its answer, as far as it came; and the client's id of the question, if it has one."""
        if response.content:
            messages = [{"role": "user", "content": question}, response.as_message()]
            key = response.call_id if question_id is None else f"{response.call_id} {question_id}"
            self.history.put_turn(Turn.answered(messages, key, response))

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages in OpenAI's shape, with each question the client's id, if it had one.

        The last message of an answer that is not whole has the ``status`` with which it ended.
        """
        contents = self.history.__getstate__()
        messages: list[dict[str, Any]] = [] if contents.system is None else [{**contents.system}]
        for turn in contents.turns:
            question_id = (turn.key or "").partition(" ")[2]
            for message in turn.messages:
                is_question = question_id and message["role"] == "user"
                messages.append({**message, **({"id": question_id} if is_question else {})})
            if turn.status != "ok":
                messages[-1]["status"] = turn.status
        return messages

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
            self._is_saved = True
            _put(self.user, self.name, self.history)

    def clear(self) -> None:
        """Empty it, and delete it in the ledger."""
        self.history.clear()
        self._is_saved = False
        if self.name:
            _delete(self.user, self.name)

    def rename(self, name: str) -> None:
        """Save it under another name from now on."""
        former, self.name = self.name, name
        if self._is_saved:
            _put(self.user, name, self.history)
            _delete(self.user, former)


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
        known = self._known.get((user, name))
        if known is None:
            contents = await asyncio.to_thread(_look_up, user, name)
            known = self._known.get((user, name))  # another request may have found it meanwhile
        if known is None:
            history = ConversationHistory()
            history.__setstate__(contents or Transcript())
            known = Conversation(user, name, history, is_saved=contents is not None)
        if must_exist and not (known.exists or known.is_busy):  # with its first answer
            raise Refusal(404, f"You have no conversation {name!r}.", "not_found")
        self._known[user, name] = known
        self._recent[known] = None
        self._recent.move_to_end(known)
        if len(self._recent) > _IN_MEMORY:  # others are known as long as a session has them
            self._recent.popitem(last=False)
        return known

    async def names(self, user: str, query: str = "") -> list[ConversationName]:
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


def _look_up(user: str, name: str) -> Transcript | None:
    try:
        return read_contents(_id_of(user, name), (_place_of(user),))
    except SettingsError:
        raise
    except ValueError:
        raise Refusal(500, f"The conversation {name!r} is damaged in the ledger.", "damaged") from None


def _list(user: str) -> list[ConversationName]:
    query = ConversationQuery(places=(_place_of(user),), only=frozenset({"name", "saved_at"}), limit=_LISTED)
    names = query.columns
    rows = [dict(zip(names, row, strict=True)) for row in current_ledger().read(query)]
    return [{"name": row["name"], "saved_at": row["saved_at"].isoformat(), "excerpt": None} for row in rows]


def _search(
    user: str, listed: list[ConversationName], unsaved: Mapping[str, ConversationHistory], wanted: str
) -> list[ConversationName]:
    """Return those of the listed conversations that contain ``wanted``, the newest of them in their texts."""
    texts = {name: excerpt(history.to_messages(), wanted) for name, history in unsaved.items()}
    names = [each["name"] for each in listed[:_SEARCHED] if each["name"] not in unsaved]
    for start in range(0, len(names), _AT_ONCE):
        ids = tuple(_id_of(user, name) for name in names[start : start + _AT_ONCE])
        only = frozenset({"name", "contents"})
        query = ConversationQuery(conversation_ids=ids, places=(_place_of(user),), packed=True, only=only)
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


def _put(user: str, name: str, history: ConversationHistory) -> None:
    contents = document_of(history.__getstate__())
    current_ledger().put(saved_row(_id_of(user, name), _place_of(user), name, contents=contents), CONVERSATIONS)


def _delete(user: str, name: str) -> None:
    contents = document_of(Transcript())
    current_ledger().put(saved_row(_id_of(user, name), "", name, contents=contents), CONVERSATIONS)


def _place_of(user: str) -> str:
    return f"server {user}"


def _id_of(user: str, name: str) -> str:
    return conversation_id("server", user, name)
