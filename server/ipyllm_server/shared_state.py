"""What all handlers of a server share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipyllm_server.running_calls import RunningCalls
    from ipyllm_server.sessions import ChatSessions
    from ipyllm_server.user_conversations import UserConversations
    from ipyllm_server.user_limits import UserLimits

__all__ = ["STATE", "SharedState"]

STATE: Final = "ipyllm_server_state"
"""Its name in the settings of the web application."""


@dataclass(frozen=True, slots=True)
class SharedState:
    """The options that handlers need, and the objects that they share.

    Attributes
    ----------
    calls : RunningCalls
        Starts calls.
    conversations : UserConversations
        Those of all users, by name.
    sessions : ChatSessions
        Chats over sockets.
    limits : UserLimits
        What each user may ask.
    models : tuple of str
        The models that users may ask; empty: all that are configured.
    max_body_bytes : int
        Largest body.
    body_timeout_s : float
        Seconds in which a request must send its body.
    """

    calls: RunningCalls
    conversations: UserConversations
    sessions: ChatSessions
    limits: UserLimits
    models: tuple[str, ...]
    max_body_bytes: int
    body_timeout_s: float
