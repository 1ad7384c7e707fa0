"""Calls of a chat: asks questions, continues answers, lets questions wait, and stores what comes."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from ipyllm.conversations import saved
from ipyllm.errors import LLMError, bad_request
from ipyllm.events import Finished
from ipyllm.pipeline.stored_responses import interrupted_by_exit, response_to, stored_responses
from ipyllm.pipeline.stored_tool_calls import stored_tool_calls
from ipyllm.registry.available import available_models
from ipyllm.request import Provenance
from ipyllm.response import ChatResponse
from ipyllm.text.surrogates import replace_surrogates
from ipyllm_widgets.attachments.files import as_sent, attached_files, check_window, question_with_files
from ipyllm_widgets.chat.branches import Branches
from ipyllm_widgets.chat.chat_totals import ChatTotals
from ipyllm_widgets.chat.continuation import can_continue, continued_answer, continuing_messages, with_beginning
from ipyllm_widgets.chat.feedback import feedback_on
from ipyllm_widgets.chat.saved_branches import look_up_branches, save_branches
from ipyllm_widgets.controller import Controller
from ipyllm_widgets.draft_estimate import NextCall
from ipyllm_widgets.live_answer import LiveAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.events import Event
    from ipyllm.messages import Message
    from ipyllm.pipeline.call import Call
    from ipyllm_widgets.chat.chat_settings import ChatSettings
    from ipyllm_widgets.chat.turn_tree import TurnNode
    from ipyllm_widgets.message_channel import MessageChannel

__all__ = ["ChatCalls"]


class ChatCalls(Controller):
    """The part of a chat's controller that asks the model.

    Parameters
    ----------
    history : ConversationHistory
        The shared conversation, which has a name.
    settings : ChatSettings
        Settings of the next question.
    channel, on_error
        As for :class:`Controller`.
    """

    def __init__(
        self,
        history: ConversationHistory,
        settings: ChatSettings,
        channel: MessageChannel,
        on_error: Callable[[Exception], None],
    ) -> None:
        super().__init__(channel, on_error)
        self.history = history
        self.settings = settings
        self.totals = ChatTotals()
        self._has_ended = False  # an answer, since the branches were saved
        self._numbers = count(1)
        self._kept = look_up_branches(self.name)
        self._branches = Branches(history, self._numbers, self._kept)
        # Of conversations that were shown before, by the id of their history.
        self._left: dict[int, tuple[Branches, ChatTotals, str]] = {}
        self._draft = saved.look_up_draft(self.name)
        self._feedback = feedback_on(history)
        self._stop_observing = history.observe(self.refresh)
        self._read_responses()

    def render(self) -> int:
        """Do as every widget, after reading the responses of answers that came from elsewhere."""
        changed = self._changed.is_set()
        if changed:
            self._read_responses()
        sent = super().render()
        if changed or self._has_ended:
            self._save_branches()
        return sent

    def _save_branches(self) -> None:
        """Save what the conversation does not have: questions without an answer, other branches."""
        with self._channel.lock:
            self._has_ended = False
            name, document = self.name, self._branches.document()
            if document == self._kept:
                return
            self._kept = document
        save_branches(name, document)

    def _read_responses(self) -> None:
        """Read from the ledger how the answers of magics, and of an earlier kernel, ended."""
        with self._channel.lock:
            branches = self._branches
            branches.refresh_path()
            turns = [
                node.turn
                for node in branches.path
                if node.turn is not None and node.turn.call_id and node.response is None and node.name not in self._live
            ]
        if not turns:
            return
        # Without the lock: they read the database.
        found, tool_calls = stored_responses(turns), stored_tool_calls(turns)
        with self._channel.lock:
            if branches is self._branches:  # otherwise another conversation is shown since
                branches.stored_tool_calls |= tool_calls
                branches.stored |= {turn.call_id: response_to(turn, found) for turn in turns if turn.call_id}
                for response in found.values():
                    self.totals = self.totals.plus(response)

    def _next_calls(self) -> list[NextCall]:
        history = self.history
        return [NextCall(self.settings.service(), history.system or "", [turn.messages for turn in history.turns])]

    @property
    def name(self) -> str:
        """Name of the conversation."""
        return self.history.name or ""

    def show(self, history: ConversationHistory) -> None:
        """Show another conversation; branches and unanswered questions of the one that is left are kept.

        Raises
        ------
        LLMError
            An answer is still streaming.
        """
        known, feedback = self._left.get(id(history)), feedback_on(history)
        draft = saved.look_up_draft(history.name or "") if known is None else known[2]
        kept = look_up_branches(history.name or "") if known is None else known[0].document()
        self._wait_until_rendered()
        self._save_branches()
        with self._channel.lock:
            self._require_idle()
            if history is self.history:
                return
            self._stop_observing()
            self._left[id(self.history)] = self._branches, self.totals, self._draft
            self.history, self._draft = history, draft
            self._feedback |= feedback
            self._branches, self.totals, _ = known or (Branches(history, self._numbers, kept), ChatTotals(), "")
            self._kept = kept
            self._stop_observing = history.observe(self.refresh)
            self._publish()
        self.refresh()  # the static output, too

    def send(self, text: str, images: Iterable[Any] = (), files: Iterable[Any] = ()) -> Call:
        """Ask a question, and return the call at once.

        Raises
        ------
        LLMError
            The question cannot be asked. If the model or a parameter is wrong, the question stays and can be retried.
        """
        message = self._question(text, images, files)
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            self._branches.refresh_path()
            return self._ask(message)

    def _question(self, text: str, images: Iterable[Any], files: Iterable[Any]) -> Message:
        message = question_with_files(replace_surrogates(text), images, files)
        if attached_files(message):
            try:
                service = self.settings.service()
            except LLMError:  # there is no such model, which the turn will show
                return message
            check_window(message, service)
        return message

    def resume(self, turn: str) -> Call:
        """Let the model continue an answer that was cut off.

        Raises
        ------
        LLMError
            The answer is complete or empty, or another answer follows it.
        """
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            self._branches.refresh_path()
            node = self._branches.shown_turn(turn)
            if not self._is_resumable(node):
                raise bad_request("Only the last answer can be continued, and only if it was cut off after some text.")
            text, reasoning = node.answer, node.response.reasoning if node.response is not None else ""
            return self._call_model(
                node,
                continued_answer(node),
                continuing_messages(node),
                lambda event: with_beginning(event, text, reasoning),
            )

    def _is_resumable(self, node: TurnNode) -> bool:
        """Return whether it is the last answer, which failed questions may follow, and was cut off."""
        last = next((other for other in reversed(self._branches.path) if other.turn is not None), None)
        return node is last and can_continue(node)

    # ---- the queue ---------------------------------------------------------------------

    def queue(self, text: str, images: Iterable[Any] = (), files: Iterable[Any] = ()) -> None:
        """Ask a question as soon as the running answer has ended, after those that wait already."""
        message = self._question(text, images, files)
        self._wait_until_rendered()
        with self._channel.lock:
            if self.running:
                self._branches.queue.add(message)
                self._save_unsent()
                self._publish()
                return
            self._branches.refresh_path()
            self._ask(message)

    def unqueue(self, question: str, give_back: Callable[[Message], None]) -> None:
        """Remove a question from the queue when it was given back; it waits on if that fails."""
        with self._channel.lock:
            give_back(self._branches.queue.find(question))
            self._branches.queue.remove(question)
            self._save_unsent()
            self._publish()

    def send_next(self) -> None:
        """Ask the first question of the queue, which waits because an answer failed or was stopped."""
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            if len(self._branches.queue):
                self._ask_next()

    def _on_idle(self, response: ChatResponse) -> None:
        queue = self._branches.queue
        if not len(queue):
            return
        if response.status in {"ok", "truncated"}:
            with suppress(LLMError):  # its turn shows it
                self._ask_next()
        else:
            queue.held = True
            self._publish()

    def _ask_next(self) -> None:
        queue = self._branches.queue
        self._branches.refresh_path()
        try:
            self._ask(queue.pop())
        except LLMError:
            queue.held = True
            self._publish()
            raise
        finally:
            self._save_unsent()

    def _save_unsent(self) -> None:
        """Save the questions that wait, and what is typed: after a restart of the kernel they are in the text box."""
        saved.save_draft(self.name, "\n\n".join(filter(None, [*self._branches.queue.texts(), self._draft])))

    # ---- asking ----------------------------------------------------------------------------------

    def _ask(self, message: Message) -> Call:
        node = self._branches.append(message)
        return self._call_model(node, LiveAnswer(node.name), [message], lambda event: event)

    def _call_model(
        self, node: TurnNode, live: LiveAnswer, messages: Sequence[Message], as_shown: Callable[[Event], Event]
    ) -> Call:
        """Ask ``messages``, for the answer of a turn; ``as_shown`` changes each event before it is shown and stored."""

        def on_event(event: Event) -> None:
            event = as_shown(event)
            if isinstance(event, Finished):
                event = Finished(interrupted_by_exit(event.response))
                self._store(node, live, event.response)
            self._receive(live, event)

        asked = False
        try:
            service = self.settings.service()
            before, left_out = self.history.preceding(
                messages,
                service.context_window,
                before=node.key if node.turn is not None else None,
                max_tokens=self.settings.params.get("max_tokens"),
                model=service.full_name,
            )
            node.note = " ".join(note for note in (service.retirement_note(), left_out) if note)
            request = service.request(
                list(map(as_sent, messages)),
                conversation_history=map(as_sent, before),
                tools=self.settings.tools,
                provenance=Provenance(origin="widget", conversation=self.name),
                **self.settings.params,
            )
            node.requested_model = service.full_name
            self._begin([live])
            self._call = call = service.call(request, on_event)
            live.waits_for = call.waiting
            self.refresh()  # a notebook that is saved now contains the question
            asked = True
        except LLMError as exc:
            self._available = available_models()  # the model may have been removed since they were listed
            node.response = ChatResponse(
                status="error", model=exc.model, error_category=exc.category, error_message=str(exc)
            )
            raise
        except BaseException:  # an interrupt: the caller gets no call to wait for or to stop
            node.response = ChatResponse(status="cancelled", model=node.requested_model)
            raise
        finally:
            if not asked:
                self._end()
                node.parts = {} if node.turn is None else None
            self._publish()
        return call

    def _store(self, node: TurnNode, live: LiveAnswer, response: ChatResponse) -> None:
        """Store the answer in the conversation, on the service thread, before the call's ``wait`` returns."""
        if self._live.get(node.name) is not live:  # interrupted in `_ask`: rendered from the history
            node.response, node.parts = response, None
        # A call that was stopped while a tool ran has no final answer; its text is that of the steps before.
        text = response.content or "\n\n".join(step.content for step in response.steps if step.content)
        if text or response.status == "ok":
            self._branches.store(node, response.as_message() | {"content": text}, response)

    def _on_finished(self, answer: LiveAnswer, parts: dict[str, Any]) -> None:
        assert answer.response is not None
        self._branches.refresh_path()  # the history may hold the turn since a moment ago
        self.totals = self.totals.plus(answer.response)
        self._has_ended = True
        node = self._branches.tree.get(answer.name)
        if node is not None:
            node.response, node.parts = answer.response, parts
