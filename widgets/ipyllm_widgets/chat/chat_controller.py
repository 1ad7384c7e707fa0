"""Controller of a chat: the commands, the running answer and the state that views show.

The conversation is the shared :class:`~ipyllm.conversations.history.ConversationHistory`. Magics and other widgets see
each turn as soon as it is stored, and their turns appear in the chat.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from ipyllm.conversations import saved
from ipyllm.errors import LLMError
from ipyllm.events import Finished
from ipyllm.messages import text_of
from ipyllm.registry.models import common_efforts, create_llm_service
from ipyllm.request import Provenance
from ipyllm.response import ChatResponse
from ipyllm.text.surrogates import replace_surrogates
from ipyllm_widgets.available_models import available_models
from ipyllm_widgets.chat.branches import Branches
from ipyllm_widgets.chat.chat_totals import ChatTotals
from ipyllm_widgets.chat.images import MAX_IMAGE_BYTES, MAX_MESSAGE_IMAGE_BYTES, replace_text, user_message
from ipyllm_widgets.chat.static_transcript import transcript
from ipyllm_widgets.chat.turn_payload import turn_payload
from ipyllm_widgets.controller import Controller
from ipyllm_widgets.live_answer import LiveAnswer
from ipyllm_widgets.widget_parameters import validate_params

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.events import Event
    from ipyllm.messages import Message
    from ipyllm.pipeline.call import Call
    from ipyllm_widgets.chat.turn_tree import TurnNode
    from ipyllm_widgets.message_channel import MessageChannel
    from ipyllm_widgets.static_output import StaticContent

__all__ = ["ChatController", "ChatSettings"]

_NO_RESPONSE = ChatResponse()
_LONG_CHAT = 20  # turns; each update of the static output contains all turns


@dataclass
class ChatSettings:
    """Settings of the next question."""

    model: str | None = None
    models: list[str] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    tools: list[Any] = field(default_factory=list)


class ChatController(Controller):
    """A chat over one conversation.

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
        self._numbers = count(1)
        self._branches = Branches(history, self._numbers)
        self._left: dict[int, Branches] = {}  # of conversations that were shown before, by the id of their history
        self._draft = saved.look_up_draft(self.name)
        self._stop_observing = history.observe(self.refresh)

    @property
    def name(self) -> str:
        """Name of the conversation."""
        return self.history.name or ""

    def close(self) -> None:
        """Stop the running answer, and stop observing the conversation."""
        self._stop_observing()
        super().close()

    def show(self, history: ConversationHistory) -> None:
        """Show another conversation; branches and unanswered questions of the one that is left are kept.

        Raises
        ------
        LLMError
            An answer is still streaming.
        """
        draft = saved.look_up_draft(history.name or "")
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            if history is self.history:
                return
            self._stop_observing()
            self._left[id(self.history)] = self._branches
            self.history, self._draft = history, draft
            self._branches = self._left.get(id(history)) or Branches(history, self._numbers)
            self._stop_observing = history.observe(self.refresh)
            self._publish()
        self.refresh()  # the static output, too

    # ---- commands ---------------------------------------------------------------------

    def send(self, text: str, images: Iterable[Any] = ()) -> Call:
        """Ask a question, and return the call at once.

        Raises
        ------
        LLMError
            The question cannot be asked. If the model or a parameter is wrong, the question stays and can be retried.
        """
        message = user_message(replace_surrogates(text), images)
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            self._branches.refresh_path()
            return self._ask(message)

    def draft(self, text: str) -> None:
        """Keep what is typed and not sent: a reloaded page and a restarted kernel show it again."""
        with self._channel.lock:
            self._draft = text
        saved.save_draft(self.name, text)

    def regenerate(self, turn: str) -> Call:
        """Ask a question again, on a new branch; a turn without an answer is replaced."""
        return self._ask_again(turn, None)

    def edit(self, turn: str, text: str) -> Call:
        """Ask a changed question, on a new branch."""
        return self._ask_again(turn, text)

    def _ask_again(self, turn: str, text: str | None) -> Call:
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            self._branches.refresh_path()
            node = self._branches.shown_turn(turn)
            message = node.question if text is None else replace_text(node.question, replace_surrogates(text))
            self._branches.show_before(node, replace=text is None)
            return self._ask(message)

    def select(self, turn: str, branch: int) -> None:
        """Show another branch at this turn, counted from 1."""
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            self._branches.show_branch(self._branches.shown_turn(turn), branch)
            self._publish()

    def delete(self, turn: str) -> None:
        """Delete a question and its answer; later turns stay."""
        with self._channel.lock:
            node = self._branches.shown_turn(turn)
            self._stop_if_running(node)
            self._branches.remove(node)
            self._publish()

    def clear(self) -> None:
        """Delete the conversation and its branches; the system prompt stays."""
        with self._channel.lock:
            if self._branches.tail is not None:
                self._stop_if_running(self._branches.tail)
            self._branches.clear()
            self._publish()

    def set(self, **changes: Any) -> None:
        """Change ``model``, ``system`` (the system prompt) or ``params``.

        Raises
        ------
        LLMError
            A parameter is invalid; nothing is changed. Or the model does not exist; it is set, because the page already
            shows it.
        """
        changes = replace_surrogates(changes)
        if "params" in changes:
            changes["params"] = validate_params(changes["params"], self.settings.model or "")
        with self._channel.lock:
            if "params" in changes:
                self.settings.params = changes["params"]
            if "system" in changes:
                self.history.set_system(changes["system"])
            if "model" in changes:
                self.settings.model = changes["model"] or None
            self._publish()
        if "model" in changes:
            create_llm_service(self.settings.model)

    def set_models(self, models: list[str] | None) -> None:
        """Set the models of the picker; None for all available models."""
        with self._channel.lock:
            self.settings.models = models
            self._publish()

    def undo_delete(self, turn: str) -> None:
        """Show a deleted question again, with its answer and what followed it.

        Raises
        ------
        LLMError
            It was not deleted, or the conversation was cleared since.
        """
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            self._branches.restore(turn)
            self._publish()

    def text(self, turn: str = "", part: str = "question") -> str:
        """Return the full text of a question, which the page has in part, or the Markdown of an answer."""
        with self._channel.lock:
            node = self._branches.shown_turn(turn)
            if part != "answer":
                return text_of(node.question)
            live = self._live.get(turn)
            return live.source("text") if live is not None else node.answer or (node.response or _NO_RESPONSE).content

    @property
    def path(self) -> list[TurnNode]:
        """The shown turns, the oldest first."""
        with self._channel.lock:
            return list(self._branches.path)

    def _stop_if_running(self, node: TurnNode) -> None:
        if node.name in self._live:
            self.stop()
            self._end()

    # ---- asking ----------------------------------------------------------------------------------

    def _ask(self, message: Message) -> Call:
        node = self._branches.append(message)
        live = LiveAnswer(node.name)

        def on_event(event: Event) -> None:
            if isinstance(event, Finished):
                self._store(node, live, event.response)
            self._receive(live, event)

        try:
            service = create_llm_service(self.settings.model)
            before, left_out = self.history.preceding(
                [message],
                service.context_window,
                max_tokens=self.settings.params.get("max_tokens"),
                model=service.full_name,
            )
            node.note = " ".join(note for note in (service.retirement_note(), left_out) if note)
            request = service.request(
                [message],
                conversation_history=before,
                tools=self.settings.tools,
                provenance=Provenance(origin="widget", conversation=self.name),
                **self.settings.params,
            )
            node.requested_model = service.full_name
            self._begin([live])
            self._call = call = service.call(request, on_event)
            live.waits_for = call.waiting
            self.refresh()  # a notebook that is saved now contains the question
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
            if node.response is not None:
                self._end()
                node.parts = {}
            self._publish()
        return call

    def _store(self, node: TurnNode, live: LiveAnswer, response: ChatResponse) -> None:
        """Store the answer in the conversation, on the service thread, before the call's ``wait`` returns."""
        if self._live.get(node.name) is not live:  # interrupted in `_ask`: rendered from the history
            node.response, node.parts = response, None
        # A call that was stopped while a tool ran has no final answer; its text is that of the steps before.
        text = response.content or "\n\n".join(step.content for step in response.steps if step.content)
        if self._branches.contains(node) and (text or response.status == "ok"):
            answer = response.as_message() | {"content": text}
            self._branches.store(node, answer, model=response.model, status=response.status)

    def _on_finished(self, answer: LiveAnswer, parts: dict[str, Any]) -> None:
        assert answer.response is not None
        self.totals = self.totals.plus(answer.response)
        node = self._branches.tree.get(answer.name)
        if node is not None:
            node.response, node.parts = answer.response, parts

    # ---- output -----------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the complete state, with the draft, which a view takes when it opens."""
        with self._channel.lock:
            return super().snapshot() | {"draft": self._draft}

    def static_content(self) -> StaticContent:
        """Return the conversation for readers without a kernel."""
        return transcript(self.messages_so_far(), f"Chat “{self.name}”")

    def messages_so_far(self) -> list[Message]:
        """Return the conversation; a note follows each question without a complete answer."""
        with self._channel.lock:
            self._branches.refresh_path()
            system = self.history.system
            messages: list[Message] = [] if system is None else [{"role": "system", "content": system}]
            for node in self._branches.path:
                messages += node.turn.messages if node.turn is not None else self._unanswered(node)
            return messages

    def _unanswered(self, node: TurnNode) -> list[Message]:
        live = self._live.get(node.name)
        if live is not None:
            text, note = live.source("text"), "The answer was incomplete when the notebook was saved."
        else:
            failed = node.response.error_message if node.response is not None else None
            reasoned = node.response is not None and node.response.reasoning
            text, note = "", failed or f"Stopped {'while it was reasoning' if reasoned else 'before the first word'}."
        answer: list[Message] = [{"role": "assistant", "content": text}] if text else []
        return [node.question, *answer, {"role": "note", "content": note}]

    def _static_interval_s(self) -> float:
        return super()._static_interval_s() * (1 + len(self._branches.path) / _LONG_CHAT)

    def _turns(self) -> list[dict[str, Any]]:
        self._branches.refresh_path()
        return [self._turn_payload(node) for node in self._branches.path]

    def _turn_payload(self, node: TurnNode) -> dict[str, Any]:
        live = self._live.get(node.name)
        waiting = live.waiting if live is not None else None
        return turn_payload(node, self._branches.tree.position(node), running=live is not None, waiting=waiting)

    def _totals(self) -> str:
        return str(self.totals)

    def _settings(self) -> dict[str, Any]:
        settings = self.settings
        models = settings.models if settings.models is not None else self._available
        return {
            "model": settings.model or (models[0] if models else ""),
            "models": models,
            "efforts": common_efforts([settings.model]),
            "system": self.history.system or "",
            "params": settings.params,
            "conversation": self.name,
            "limits": {"image": MAX_IMAGE_BYTES, "images": MAX_MESSAGE_IMAGE_BYTES},
        }
