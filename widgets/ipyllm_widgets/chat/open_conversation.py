"""A conversation as one chat has it, whether it is shown or was left: an answer goes on in either."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm.conversations import saved
from ipyllm_widgets.chat.branches import Branches
from ipyllm_widgets.chat.chat_totals import ChatTotals
from ipyllm_widgets.chat.conversation_record import record_of
from ipyllm_widgets.live_state import LiveState
from ipyllm_widgets.question_queue import QuestionQueue

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
    record : ConversationRecord
        What the ledger keeps of it, from all chats of this kernel.
    is_unsaved : bool
        Whether the branches may have changed since they were saved.
    is_released : bool
        Whether the chat has left it.
    """

    def __init__(self, history: ConversationHistory, numbers: Iterator[int]) -> None:
        self.record = record_of(history)
        super().__init__()
        self.history = history
        running = history.running_turns()  # before the branches, which may be saved anew when a call ends
        self.branches = Branches(history, numbers, self.record.branches(), running)
        self.take_unsent()
        self.totals = ChatTotals()
        for node in self.branches.tree:  # those that the conversation does not have; it has others read
            if node.response is not None and node.response.call_id:
                self.totals = self.totals.plus(node.response)
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
    def can_be_read_again(self) -> bool:
        """Whether nothing is lost if it is forgotten, and read from the ledger when it is shown again."""
        if self.live or self.news or self.is_unsaved:
            return False
        return saved.keeps() or not (self.draft or len(self.branches.queue) or self.record.has_branches)

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

    def save_branches(self) -> None:
        """Save what the conversation does not have: questions without an answer, other branches."""
        if self.is_unsaved:
            self.record.put_branches(self, *self.branches.document())
        self.is_unsaved = False

    def save_unsent(self) -> None:
        """Save the questions that wait, and what is typed: they are there again after a restart of the kernel."""
        self.record.put_unsent(self, self.branches.queue.messages(), self.draft)

    def release(self) -> None:
        """Leave what is not asked yet to the next chat that opens the conversation."""
        self.record.release(self)
        self.branches.queue = QuestionQueue()
        self.is_released = True

    def take_unsent(self) -> None:
        """Take what an earlier kernel, or a chat that released it, left."""
        unsent = self.record.take_unsent(self)
        self.branches.queue, self.draft = QuestionQueue(unsent.questions), unsent.draft
        self.is_released = False
