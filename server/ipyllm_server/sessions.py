"""Sessions of chats: begun, resumed by another socket, and ended when nobody comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ipyllm_server.chat_session import ChatSession
from ipyllm_server.conversation import Conversation

if TYPE_CHECKING:
    from ipyllm_server.running_calls import RunningCalls
    from ipyllm_server.user_conversations import UserConversations

__all__ = ["ChatSessions"]


class ChatSessions:
    """The sessions of a server, on its loop.

    Parameters
    ----------
    calls : RunningCalls
        Makes the calls.
    conversations : UserConversations
        Those with a name.
    resume_s : float
        Seconds that a session waits for a client to come back, and its answer goes on.
    per_user : int
        Most sessions of a user that wait; the one that has waited longest ends first.
    """

    def __init__(
        self, calls: RunningCalls, conversations: UserConversations, *, resume_s: float, per_user: int
    ) -> None:
        self._calls = calls
        self._conversations = conversations
        self._resume_s = resume_s
        self._per_user = per_user
        self._waiting: dict[str, tuple[ChatSession, asyncio.TimerHandle]] = {}
        self._connected: dict[str, ChatSession] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._connected)

    async def begin(self, user: str, conversation: str | None) -> ChatSession:
        """Return a new session, in a conversation by name or one that ends with it."""
        if conversation is None:
            found = Conversation(user, "")
        else:
            found = await self._conversations.get(user, conversation)
        session = ChatSession(self._calls, found)
        self._connected[session.id] = session
        return session

    def resume(self, user: str, session_id: str) -> ChatSession | None:
        """Return a session of the user that is still there, to go on with; None if there is none."""
        waiting = self._waiting.get(session_id)
        session = waiting[0] if waiting is not None else self._connected.get(session_id)
        if session is None or session.user != user:
            return None
        if waiting is not None:
            waiting[1].cancel()
            del self._waiting[session_id]
            self._connected[session_id] = session
        return session

    def leave(self, session: ChatSession, *, at_once: bool) -> None:
        """Let a session wait for its client; or end it, if the client said good-bye."""
        self._connected.pop(session.id, None)
        if at_once or self._resume_s <= 0:
            session.close()
            return
        timer = asyncio.get_running_loop().call_later(self._resume_s, self._end, session.id)
        self._waiting[session.id] = (session, timer)
        of_user = [key for key, (each, _) in self._waiting.items() if each.user == session.user]
        for key in of_user[: max(0, len(of_user) - self._per_user)]:
            self._end(key)

    def _end(self, session_id: str) -> None:
        session, timer = self._waiting.pop(session_id)
        timer.cancel()
        session.close()
