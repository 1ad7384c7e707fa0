"""A conversation as one chat has it, whether it is shown or was left: an answer goes on in either."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm.conversations import saved
from ipyllm_widgets.chat.branches import Branches
from ipyllm_widgets.chat.chat_totals import ChatTotals
from ipyllm_widgets.chat.saved_branches import look_up_branches
from ipyllm_widgets.live_state import LiveState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.messages import Message
    from ipyllm.response import ChatResponse

__all__ = ["OpenConversation"]


class OpenConversation(LiveState):
    """The branches of a conversation, what runs and waits in it, and its draft. Callers hold the channel's lock.

    Its answer goes on when another conversation is shown, and its queue is asked.

    Parameters
    ----------
    history : ConversationHistory
        The shared conversation, which has a name.
    numbers : iterator of int
        Numbers of the turns' names, which no other conversation of the page has.

    Attributes
    ----------
    branches : Branches
        Its turns, and the questions that wait.
    totals : ChatTotals
        Of what was asked in it here.
    news : str
        What has come while another was shown: ``"new"`` answer, ``"failed"``, or empty for nothing.
    kept : dict or None
        Its branches as they were saved last.
    is_unsaved : bool
        Whether they may have changed since.
    """

    def __init__(self, history: ConversationHistory, numbers: Iterator[int]) -> None:
        name = history.name or ""
        super().__init__(saved.look_up_draft(name))
        self.history = history
        running = history.running_turns()  # before the branches, which may be saved anew when a call ends
        self.kept = look_up_branches(name)
        self.branches = Branches(history, numbers, self.kept, running)
        self.totals = ChatTotals()
        self.news = ""
        self.is_unsaved = False

    @property
    def name(self) -> str:
        """Name of the conversation."""
        return self.history.name or ""

    @property
    def mark(self) -> str:
        """What the list of conversations says of it: ``"running"``, or its ``news``."""
        return "running" if self.live else self.news

    @property
    def messages(self) -> list[Message]:
        """Its messages, those without an answer too."""
        self.branches.refresh_path()
        return [
            message for node in self.branches.path for message in (node.turn.messages if node.turn else [node.question])
        ]

    def tell(self, response: ChatResponse) -> None:
        """Remember how an answer has ended that nobody saw; one that was stopped, as by a deletion, is no news."""
        if response.status != "cancelled":
            self.news = "new" if response.status in {"ok", "truncated"} else "failed"

    def drop_running(self) -> None:
        """Stop the running answer, and forget it: its turn is no longer wanted. Questions wait for the user then."""
        if self.live:
            self.stop()
            self.end()
            self.branches.queue.held = True

    def save_unsent(self) -> None:
        """Save the questions that wait, and what is typed: after a restart of the kernel they are in the text box."""
        saved.save_draft(self.name, "\n\n".join(filter(None, [*self.branches.queue.texts(), self.draft])))
