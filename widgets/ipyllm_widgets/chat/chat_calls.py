"""Calls of a chat: asks questions, continues answers, lets questions wait, and stores what comes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.events import Finished
from ipyllm.pipeline.stored_responses import interrupted_by_exit
from ipyllm.registry.available import available_models
from ipyllm.request import Provenance
from ipyllm.response import ChatResponse
from ipyllm.text.surrogates import replace_surrogates
from ipyllm_widgets.attachments.files import as_sent, attached_files, check_window, question_with_files
from ipyllm_widgets.chat.continuation import can_continue, continued_answer, continuing_messages, with_beginning
from ipyllm_widgets.chat.conversation_switching import ConversationSwitching
from ipyllm_widgets.draft_estimate import NextCall
from ipyllm_widgets.live_answer import LiveAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.events import Event
    from ipyllm.messages import Message
    from ipyllm.pipeline.call import Call
    from ipyllm_widgets.chat.chat_settings import ChatSettings
    from ipyllm_widgets.chat.open_conversation import OpenConversation
    from ipyllm_widgets.chat.turn_tree import TurnNode
    from ipyllm_widgets.message_channel import MessageChannel

__all__ = ["ChatCalls"]


class ChatCalls(ConversationSwitching):
    """The part of a chat's controller that asks the model.

    Parameters
    ----------
    settings : ChatSettings
        Settings of the next question.
    history, channel, on_error
        As for :class:`ConversationSwitching`.
    """

    def __init__(
        self,
        history: ConversationHistory,
        settings: ChatSettings,
        channel: MessageChannel,
        on_error: Callable[[Exception], None],
    ) -> None:
        super().__init__(history, channel, on_error)
        self.settings = settings

    def _next_calls(self) -> list[NextCall]:
        history = self.history
        return [NextCall(self.settings.service(), history.system or "", [turn.messages for turn in history.turns])]

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
            return self._ask(self._shown, message)

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
                self._shown,
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
                self._shown.save_unsent()
                self._publish()
                return
            self._branches.refresh_path()
            self._ask(self._shown, message)

    def unqueue(self, question: str, give_back: Callable[[Message], None]) -> None:
        """Remove a question from the queue when it was given back; it waits on if that fails."""
        with self._channel.lock:
            give_back(self._branches.queue.find(question))
            self._branches.queue.remove(question)
            self._shown.save_unsent()
            self._publish()

    def send_next(self) -> None:
        """Ask the first question of the queue, which waits for the user."""
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            if len(self._branches.queue):
                self._ask_next(self._shown)

    def _on_idle(self, state: OpenConversation, response: ChatResponse) -> None:
        queue = state.branches.queue
        if not len(queue):
            return
        if response.status in {"ok", "truncated"}:
            with suppress(LLMError):  # its turn shows it
                self._ask_next(state)
        else:
            queue.held = True
            self._publish()

    def _ask_next(self, opened: OpenConversation) -> None:
        queue = opened.branches.queue
        opened.branches.refresh_path()
        try:
            self._ask(opened, queue.pop())
        except LLMError:
            queue.held = True
            self._publish()
            raise
        finally:
            opened.save_unsent()

    # ---- asking ----------------------------------------------------------------------------------

    def _ask(self, opened: OpenConversation, message: Message) -> Call:
        node = opened.branches.append(message)
        return self._call_model(opened, node, LiveAnswer(node.name), [message], lambda event: event)

    def _call_model(
        self,
        opened: OpenConversation,
        node: TurnNode,
        live: LiveAnswer,
        messages: Sequence[Message],
        as_shown: Callable[[Event], Event],
    ) -> Call:
        """Ask ``messages``, for the answer of a turn; ``as_shown`` changes each event before it is shown and stored."""

        def on_event(event: Event) -> None:
            event = as_shown(event)
            if isinstance(event, Finished):
                event = Finished(interrupted_by_exit(event.response))
                self._store(opened, node, live, event.response)
            self._receive(opened, live, event)

        assert node.key is not None
        asked = False
        opened.history.begin_turn(node.key)
        try:
            service = self.settings.service()
            before, left_out = opened.history.preceding(
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
                provenance=Provenance(origin="widget", conversation=opened.name),
                **self.settings.params,
            )
            node.requested_model = service.full_name
            opened.begin([live])
            opened.call = call = service.call(request, on_event)
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
                opened.end()
                assert node.response is not None
                opened.history.end_turn(node.key, node.response)
                node.parts = {} if node.turn is None else None
            opened.is_unsaved = True
            self._publish()
        return call

    def _store(self, opened: OpenConversation, node: TurnNode, live: LiveAnswer, response: ChatResponse) -> None:
        """Store the answer in the conversation, on the service thread, before the call's ``wait`` returns."""
        if opened.live.get(node.name) is not live:  # interrupted in `_ask`: rendered from the history
            node.response, node.parts = response, None
        assert node.key is not None
        # A call that was stopped while a tool ran has no final answer; its text is that of the steps before.
        text = response.content or "\n\n".join(step.content for step in response.steps if step.content)
        if text or response.status == "ok":
            opened.branches.store(node, response.as_message() | {"content": text}, response)
        opened.history.end_turn(node.key, response)

    def _on_finished(self, state: OpenConversation, /, answer: LiveAnswer, parts: dict[str, Any]) -> None:
        response = answer.response
        assert response is not None
        state.branches.refresh_path()  # the history may hold the turn since a moment ago
        state.totals = state.totals.plus(response)
        state.is_unsaved = True
        node = state.branches.tree.get(answer.name)
        if node is not None:
            node.response, node.parts = response, parts
        if state is not self._shown:
            state.tell(response)
