"""Conversations of the user: list, get, delete."""

from __future__ import annotations

from ipyllm_server.base_handler import ApiHandler, for_users

__all__ = ["ConversationHandler", "ConversationsHandler"]


class ConversationsHandler(ApiHandler):
    """``GET /ipyllm/api/conversations``."""

    @for_users
    async def get(self) -> None:
        """Answer with names and times, the newest first."""
        self.send({"conversations": await self.state.conversations.names(self.user)})


class ConversationHandler(ApiHandler):
    """``/ipyllm/api/conversations/<name>``."""

    @for_users
    async def get(self, name: str) -> None:
        """Answer with the messages."""
        found = await self.state.conversations.get(self.user, name, must_exist=True)
        self.send({"name": name, "messages": found.history.to_messages()})

    @for_users
    async def delete(self, name: str) -> None:
        """Delete the conversation."""
        await self.state.conversations.delete(self.user, name)
        self.send({"deleted": name})
