"""The conversations that a chat has shown: their answers go on while another is shown."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from ipyllm.errors import LLMError
from ipyllm.pipeline.stored_responses import response_to, stored_responses
from ipyllm.pipeline.stored_tool_calls import stored_tool_calls
from ipyllm_widgets.chat.feedback import feedback_on
from ipyllm_widgets.chat.open_conversation import OpenConversation
from ipyllm_widgets.controller import RENDER_TIMEOUT_S, Controller

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.messages import Message
    from ipyllm_widgets.chat.branches import Branches
    from ipyllm_widgets.message_channel import MessageChannel

__all__ = ["ConversationSwitching"]

_STOP_TIMEOUT_S = 10.0  # longest wait for an answer that is stopped
_KEPT = 5  # of the conversations that were left or deleted, and where nothing runs: the others are read again


class ConversationSwitching(Controller[OpenConversation]):
    """The part of a chat's controller that shows one conversation after the other.

    Parameters
    ----------
    history : ConversationHistory
        The shared conversation, which has a name.
    channel, on_error
        As for :class:`Controller`.
    """

    def __init__(
        self, history: ConversationHistory, channel: MessageChannel, on_error: Callable[[Exception], None]
    ) -> None:
        self._numbers = count(1)
        super().__init__(OpenConversation(history, self._numbers), channel, on_error)
        self._open = {id(history): self._shown}  # what is shown, and what was before
        self._put_away: dict[int, OpenConversation] = {}  # what was deleted
        self._feedback = feedback_on(history)
        self._stop_observing = history.observe(self.refresh)
        self._read_responses()

    @property
    def history(self) -> ConversationHistory:
        """The conversation that is shown."""
        return self._shown.history

    @property
    def name(self) -> str:
        """Name of the conversation."""
        return self._shown.name

    @property
    def _branches(self) -> Branches:
        return self._shown.branches

    def _states(self) -> Sequence[OpenConversation]:
        return list(self._open.values())

    def refresh(self) -> None:
        """Do as every widget, and save the branches."""
        self._shown.is_unsaved = True
        super().refresh()

    def render(self) -> int:
        """Do as every widget, after reading the responses of answers that came from elsewhere."""
        if self._changed.is_set():
            self._read_responses()
        sent = super().render()
        self._save_branches()
        return sent

    def _save_branches(self) -> None:
        """Save what the conversations do not have: questions without an answer, other branches."""
        with self._channel.lock:
            for opened in self._open.values():
                opened.save_branches()

    def _read_responses(self) -> None:
        """Read from the ledger how the answers of magics, and of an earlier kernel, ended."""
        with self._channel.lock:
            shown, branches = self._shown, self._branches
            branches.refresh_path()
            turns = [
                node.turn
                for node in branches.path
                if node.turn is not None and node.turn.call_id and node.response is None and node.name not in shown.live
            ]
        if not turns:
            return
        # Without the lock: they read the database.
        found, tool_calls = stored_responses(turns), stored_tool_calls(turns)
        with self._channel.lock:
            branches.stored_tool_calls |= tool_calls
            branches.stored |= {turn.call_id: response_to(turn, found) for turn in turns if turn.call_id}
            for response in found.values():
                shown.totals = shown.totals.plus(response)

    def _elsewhere(self) -> dict[str, str]:
        """Return what goes on in conversations that are not shown, by name. The channel's lock is held."""
        others = (opened for opened in self._open.values() if opened is not self._shown)
        return {opened.name: opened.mark for opened in others if opened.mark}

    def show(self, history: ConversationHistory) -> None:
        """Show another conversation. An answer of the one that is left goes on, and what waits there is asked."""
        known, feedback = self._open.get(id(history)), feedback_on(history)
        opened = known or OpenConversation(history, self._numbers)  # it reads the ledger: without the lock
        self._wait_until_rendered()
        with self._channel.lock:
            if history is self.history:
                return
            opened = self._open.pop(id(history), opened)
            if opened.is_released:  # by another thread, since it was found
                opened.take_unsent()
            self._stop_observing()
            self._shown.is_unsaved = True
            self._open[id(self.history)] = self._open.pop(id(self.history))  # the latest comes last
            self._open[id(history)] = self._shown = opened
            opened.news = ""
            self._feedback |= feedback
            self._stop_observing = history.observe(self.refresh)
            for answer in opened.live.values():
                answer.update_waiting()
            self._publish()
        self._save_branches()
        self._forget_earlier()
        self.refresh()  # the static output, and what has come since it was left

    def _forget_earlier(self) -> None:
        """Forget the conversations that were left long ago, if nothing of them is lost."""
        with self._channel.lock:
            idle = [opened for opened in self._open.values() if opened is not self._shown and opened.can_be_read_again]
            for opened in idle[:-_KEPT]:
                del self._open[id(opened.history)]
                opened.release()

    def open_messages(self) -> dict[str, list[Message]]:
        """Return the messages of conversations that are shown or were left with some, by name."""
        with self._channel.lock:
            messages = {opened.name: opened.messages for opened in self._open.values()}
            return {name: found for name, found in messages.items() if found or name == self.name}

    def end_answer(self, history: ConversationHistory) -> None:
        """Stop the answer of a conversation, which may be another than is shown, and wait until its text is stored.

        Raises
        ------
        LLMError
            It does not stop.
        """
        known = self._open.get(id(history)) or OpenConversation(history, self._numbers)
        with self._channel.lock:
            opened = self._open.setdefault(id(history), known)
        while (call := opened.call) is not None:  # the next of its queue, if it has just ended
            call.cancel()
            if not (call.done.wait(_STOP_TIMEOUT_S) and opened.idle.wait(RENDER_TIMEOUT_S)):
                raise LLMError("The answer that runs there does not stop: try again.", category="timeout")
        self._save_branches()

    def put_away(self, history: ConversationHistory) -> None:
        """Forget a conversation that was deleted and is not shown."""
        with self._channel.lock:
            self._put_away[id(history)] = opened = self._open.pop(id(history))
            opened.record.put_unsent(opened, (), "")
            opened.record.restore(None)
            for earlier in list(self._put_away)[:-_KEPT]:
                self._put_away.pop(earlier).release()
            self._publish()

    def bring_back(self, history: ConversationHistory) -> None:
        """Take up a conversation again that was deleted, with its branches, its queue and its draft."""
        with self._channel.lock:
            opened = self._put_away.pop(id(history), None)
            if opened is not None and id(history) not in self._open:
                self._open[id(history)] = opened
                opened.save_unsent()
