"""Conversations of the user: list and search, get, rename, show another version, delete."""

from __future__ import annotations

from ipyllm_server.base_handler import ApiHandler, for_users
from ipyllm_server.chat_body import ConversationChange
from ipyllm_server.json_body import read_body

__all__ = ["ConversationHandler", "ConversationsHandler"]


class ConversationsHandler(ApiHandler):
    """``GET /ipyllm/api/conversations``."""

    @for_users
    async def get(self) -> None:
        """Answer with names and times, the newest first; of those that contain a ``query``, if there is one."""
        query = self.get_query_argument("query", "")
        self.send({"conversations": await self.state.conversations.names(self.user, query)})


class ConversationHandler(ApiHandler):
    """``/ipyllm/api/conversations/<name>``."""

    @for_users
    async def get(self, name: str) -> None:
        """Answer with the messages."""
        found = await self.state.conversations.get(self.user, name, must_exist=True)
        self.send({"name": name, "messages": found.history.to_messages(), "answers": found.answers()})

    @for_users
    async def patch(self, name: str) -> None:
        """Give the conversation another name, or show another version of an answer."""
        body = read_body(self.body, ConversationChange)
        if body.name is not None:
            await self.state.conversations.rename(self.user, name, body.name)
        else:
            with await self.state.conversations.get(self.user, name, must_exist=True) as found:
                found.show_version(body.version or "")
        self.send({"name": body.name or name})

    @for_users
    async def delete(self, name: str) -> None:
        """Delete the conversation."""
        await self.state.conversations.delete(self.user, name)
        self.send({"deleted": name})
