"""A conversation of a user: its history, other versions of its turns, and its row in the ledger."""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from ipyllm.conversations.history import ConversationHistory
from ipyllm.conversations.saved_rows import conversation_id, last_change, read_row, saved_row
from ipyllm.conversations.transcript import Transcript, Turn, document_of, from_document
from ipyllm.ledger.columns import CONVERSATIONS
from ipyllm.ledger.current import current_ledger
from ipyllm.ledger.query import ConversationQuery
from ipyllm.pipeline.stored_responses import response_to, stored_responses
from ipyllm.rendering import footer_text
from ipyllm.settings import SettingsError, get_settings, read_once
from ipyllm_server.conversation_versions import ConversationVersions
from ipyllm_server.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipyllm.response import ChatResponse
    from ipyllm_server.answer_shapes import ConversationAnswer

__all__ = ["Conversation", "id_of", "place_of"]

_LOOK_WAIT_S: Final = 0.5  # for a database that is busy


def place_of(user: str) -> str:
    """Return where the ledger has the conversations of a user."""
    return f"server {user}"


def id_of(user: str, name: str) -> str:
    """Return the id of a conversation in the ledger."""
    return conversation_id("server", user, name)


class Conversation:
    """One conversation of a user. It answers one question at a time: use it in a ``with`` while one is answered."""

    def __init__(self, user: str, name: str) -> None:
        self.user, self.name = user, name
        self.history, self.versions = ConversationHistory(), ConversationVersions()
        self.is_busy = False
        self.changed_at: datetime | None = None  # of what is saved

    @classmethod
    def look_up(cls, user: str, name: str) -> Self:
        """Return the conversation as the ledger has it; an empty one if it has none."""
        found = cls(user, name)
        try:
            row = read_row(id_of(user, name), (place_of(user),))
            if row is not None and row.document is not None:
                found.history.__setstate__(from_document(row.document))
                found.versions = ConversationVersions.from_document(row.document)
                found.changed_at = row.changed_at
        except SettingsError:
            raise
        except ValueError:
            raise Refusal(500, f"The conversation {name!r} is damaged in the ledger.", "damaged") from None
        return found

    async def refresh(self) -> None:
        """Read it again if another server has changed it, unless it answers a question here."""
        name, changed_at = self.name, self.changed_at
        newer = await asyncio.to_thread(self._changed_elsewhere, self.user, name, changed_at)
        if newer is not None and not self.is_busy and (self.name, self.changed_at) == (name, changed_at):
            self.history, self.versions, self.changed_at = newer.history, newer.versions, newer.changed_at

    @classmethod
    def _changed_elsewhere(cls, user: str, name: str, changed_at: datetime | None) -> Self | None:
        """Return the conversation as the ledger has it, if it changed at another time; None if not, or not known."""
        only = frozenset({"place", "saved_at", "changed_at"})
        query = ConversationQuery(conversation_ids=(id_of(user, name),), only=only)
        with _right_settings():
            rows = current_ledger().read(query, timeout=_LOOK_WAIT_S)
            if not rows:  # it was never saved, or the database is busy
                return None
            row = dict(zip(query.columns, rows[-1], strict=True))
            if row["place"] != place_of(user):  # it was deleted
                return None if changed_at is None else cls(user, name)
            if last_change(row) == changed_at:
                return None
            found = cls.look_up(user, name)
            return found if found.exists else None

    @property
    def exists(self) -> bool:
        """Whether the user has it: it is saved, or has messages."""
        return self.changed_at is not None or len(self.history) > 0

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

    def options(self, question: str, replaces: str | None) -> dict[str, Any]:
        """Return the options of a call that asks a question here, or in the place of that of the call ``replaces``.

        Raises
        ------
        Refusal
            404: no answer that is shown is of that call.
        """
        if replaces is None:
            return {}
        turn = self.history.turns[self._position(replaces)]
        is_same = bool(turn.messages) and turn.messages[0].get("content") == question
        return {"before": turn.key, **({"cache": False} if is_same else {})}  # another answer is wanted

    @contextmanager
    def with_system(self, text: str | None) -> Iterator[None]:
        """Change the system message to ``text``, if that is not None; what is raised in the block undoes it."""
        if text is None:
            yield
            return
        former = self.history.__getstate__().system
        self.history.set_system(text)
        try:
            yield
        except BaseException:
            self.history.set_system(None if former is None else former["content"])
            raise

    def add(
        self, question: str, response: ChatResponse, question_id: str | None = None, replaces: str | None = None
    ) -> None:
        """Add a question with its answer, as far as it came; and the client's id of the question, if it has one.

        In the place of the answer of the call ``replaces``, which is kept as another version with all that followed.
        """
        if response.content:
            messages = [{"role": "user", "content": question}, response.as_message()]
            key = response.call_id if question_id is None else f"{response.call_id} {question_id}"
            turn = Turn.answered(messages, key, response)
            if replaces is None:
                self.history.put_turn(turn)
            else:
                shown = self.history.turns
                self.history.replace_turns(self.versions.replace(shown, self._position(replaces), turn))

    def show_version(self, call_id: str) -> None:
        """Show the version of a turn that a call answered, with what followed it, and save that; 404: there is none."""
        shown = self.history.turns
        if any(turn.call_id == call_id for turn in shown):
            return
        turns = self.versions.show(shown, call_id)
        if turns is None:
            raise Refusal(404, "That version is not among those of the answers that are shown.", "not_found")
        self.history.replace_turns(turns)
        self.save()

    def _position(self, call_id: str) -> int:
        for at, turn in enumerate(self.history.turns):
            if turn.call_id == call_id:
                return at
        raise Refusal(404, "The answer to replace is not among those that are shown.", "not_found")

    def answers(self) -> list[ConversationAnswer]:
        """Return for each answer its call, the index of its question's message, and the calls of all its versions."""
        contents = self.history.__getstate__()
        answers: list[ConversationAnswer] = []
        at = int(contents.system is not None)
        for turn, versions in zip(contents.turns, self.versions.of(contents.turns), strict=True):
            answers.append({"call_id": turn.call_id, "question": at, "versions": versions})
            at += len(turn.messages)
        return answers

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
        contents = self.history.__getstate__()
        stored = await asyncio.to_thread(stored_responses, contents.turns)
        summaries: list[str | None] = [None] * (contents.system is not None)
        for turn in contents.turns:
            summaries += [None] * len(turn.messages)
            summaries[-1] = footer_text(response_to(turn, stored))
        return summaries

    def save(self) -> None:
        """Save the contents in the ledger, unless it keeps no text, or the conversation has no name."""
        with _right_settings():
            if self.name and get_settings().store_text:
                self.changed_at = datetime.now(UTC)
                self._put()

    def clear(self) -> None:
        """Empty it, and delete it in the ledger."""
        self.history.clear()
        self.versions.clear()
        self.changed_at = None
        if self.name:
            self._delete(self.name)

    def rename(self, name: str) -> None:
        """Save it under another name from now on. It has not changed: its date stays."""
        former, self.name = self.name, name
        if self.changed_at is not None:
            self._put()
            self._delete(former)

    def _put(self) -> None:
        contents = document_of(self.history.__getstate__()) | self.versions.document()
        place, values = place_of(self.user), {"contents": contents, "changed_at": self.changed_at}
        _write(saved_row(id_of(self.user, self.name), place, self.name, **values))

    def _delete(self, name: str) -> None:
        _write(saved_row(id_of(self.user, name), "", name, contents=document_of(Transcript())))


@contextmanager
def _right_settings() -> Iterator[None]:
    """Use the settings that were right last: that they are wrong since then loses no answer, and no change."""
    with suppress(SettingsError):  # which the next call tells
        get_settings()
    with read_once(math.inf):
        yield


def _write(row: dict[str, Any]) -> None:
    with _right_settings():
        current_ledger().put(row, CONVERSATIONS)
