"""Controller of a chat: the commands, the running answer and the state that views show.

The conversation is the shared :class:`~ipyllm.conversations.history.ConversationHistory`. Magics and other widgets see
each turn as soon as it is stored, and their turns appear in the chat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ipyllm.errors import LLMError
from ipyllm.ledger.feedback import give_feedback
from ipyllm.pipeline.stored_responses import response_to
from ipyllm.registry.models import common_efforts
from ipyllm.response import ChatResponse
from ipyllm.text.surrogates import replace_surrogates
from ipyllm_widgets.attachments.files import file_text, question_text, with_text
from ipyllm_widgets.attachments.images import MAX_IMAGE_BYTES, MAX_MESSAGE_IMAGE_BYTES
from ipyllm_widgets.chat.answer_footer import answer_footer
from ipyllm_widgets.chat.answer_tokens import answer_tokens_html
from ipyllm_widgets.chat.chat_calls import ChatCalls
from ipyllm_widgets.chat.static_transcript import transcript, unanswered_messages
from ipyllm_widgets.chat.turn_payload import turn_payload
from ipyllm_widgets.widget_parameters import validate_params

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.ledger.feedback import Feedback
    from ipyllm.messages import Message
    from ipyllm.pipeline.call import Call
    from ipyllm.services.base import BaseLLMService
    from ipyllm_widgets.chat.turn_tree import TurnNode
    from ipyllm_widgets.static_output import StaticContent

__all__ = ["ChatController"]

_NO_RESPONSE = ChatResponse()
_LONG_CHAT = 20  # turns; each update of the static output contains all turns


class ChatController(ChatCalls):
    """A chat over one conversation.

    Parameters as for :class:`ChatCalls`.
    """

    _is_closed = False

    def close(self) -> None:
        """Stop the running answers, and stop observing the conversation."""
        if self._is_closed:  # Python closes a widget again that it frees: others may have gone on since
            return
        self._is_closed = True
        self._stop_observing()
        self._shown.is_unsaved = True
        self._save_branches()
        super().close()
        with self._channel.lock:
            for opened in self._states():
                opened.release()

    # ---- commands ---------------------------------------------------------------------

    def draft(self, text: str, **counts: Any) -> None:
        """Keep what is typed and not sent, as every widget does: a restarted kernel shows it again, too."""
        has_changed = text != self._shown.draft
        super().draft(text, **counts)
        if has_changed:
            with self._channel.lock:
                self._shown.save_unsent()

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
            message = node.question if text is None else with_text(node.question, replace_surrogates(text))
            self._branches.show_before(node, replace=text is None)
            return self._ask(self._shown, message)

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
            if node.name in self._shown.live:
                self._shown.drop_running()
            self._branches.remove(node)
            self._publish()

    def clear(self) -> None:
        """Delete the conversation and its branches; the system prompt stays."""
        with self._channel.lock:
            self._shown.drop_running()
            self._branches.clear()
            self._publish()

    def set(self, **changes: Any) -> None:
        """Change ``model``, ``system`` (the system prompt), ``params`` or the ``services`` that were given.

        Raises
        ------
        LLMError
            A parameter is invalid; nothing is changed. Or the model does not exist; it is set, because the page already
            shows it.
        """
        services = changes.pop("services", None)
        changes = replace_surrogates(changes)
        if services is not None:
            changes["services"] = services
        if "params" in changes:
            changes["params"] = validate_params(changes["params"], self.settings.model or "")
        with self._channel.lock:
            if "params" in changes:
                self.settings.params = changes["params"]
            if "system" in changes:
                self.history.set_system(changes["system"])
            if "model" in changes:
                self.settings.model = changes["model"] or None
            if "services" in changes:
                self.settings.services = changes["services"]
            self._publish()
        if "model" in changes:
            self.settings.service()

    def set_models(self, models: list[str] | None, services: Mapping[str, BaseLLMService]) -> None:
        """Set the models of the picker, None for all available models, and the services among them."""
        with self._channel.lock:
            self.settings.models, self.settings.services = models, services
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

    def undo_clear(self) -> None:
        """Show the conversation again that was cleared, with its branches.

        Raises
        ------
        LLMError
            It was not cleared, or something was asked since.
        """
        self._wait_until_rendered()
        with self._channel.lock:
            self._require_idle()
            self._branches.restore_all()
            self._publish()

    def rate(self, turn: str = "", feedback: str = "") -> None:
        """Keep in the ledger that an answer, by default the last, is ``"good"`` or ``"bad"``; ``""`` withdraws that.

        Raises
        ------
        LLMError
            The answer is not in the ledger, or there is no such feedback.
        """
        self._wait_until_rendered()
        with self._channel.lock:
            self._branches.refresh_path()
            call_id = self._branches.shown_turn(turn or self._last_answered()).call_id
        if call_id is None:
            raise LLMError("This answer has no call in the ledger, so nothing can be said of it.", category="not_found")
        give_feedback(
            call_id, cast("Feedback", feedback) if feedback else None
        )  # it reads the ledger: without the lock
        with self._channel.lock:
            self._feedback[call_id] = feedback
            self._publish()

    def _last_answered(self) -> str:
        for node in reversed(self._branches.path):
            if node.call_id is not None:
                return node.name
        raise LLMError("There is no answer yet that the ledger has.", category="not_found")

    def text(self, turn: str = "", part: str = "question", file: int = 0) -> str:
        """Return the full text of a question or of a file of it, the Markdown of an answer, or its tokens as HTML."""
        with self._channel.lock:
            node = self._branches.shown_turn(turn)
            if part == "tokens":
                return answer_tokens_html(node.response)
            if part == "file":
                return file_text(node.question, file)
            if part != "answer":
                return question_text(node.question)
            live = self._shown.live.get(turn)
            return live.source("text") if live is not None else node.answer or (node.response or _NO_RESPONSE).content

    # ---- output -----------------------------------------------------------------------------------

    def static_content(self) -> StaticContent:
        """Return the conversation for readers without a kernel."""
        messages, footers = self._messages_and_footers()
        return transcript(messages, f"Chat “{self.name}”", footers)

    def messages_so_far(self) -> list[Message]:
        """Return the conversation; a note follows each question without a complete answer."""
        return self._messages_and_footers()[0]

    def _messages_and_footers(self) -> tuple[list[Message], dict[int, str]]:
        """Return the conversation, and a line about each answer by its index."""
        footers: dict[int, str] = {}
        with self._channel.lock:
            self._branches.refresh_path()
            system = self.history.system
            messages: list[Message] = [] if system is None else [{"role": "system", "content": system}]
            for node in self._branches.path:
                live = self._shown.live.get(node.name)
                if node.turn is None:
                    messages += unanswered_messages(node, live)
                    continue
                messages += node.turn.messages
                if live is None:
                    footers[len(messages) - 1] = answer_footer(node.response or response_to(node.turn, {}))
        return messages, footers

    def _static_interval_s(self) -> float:
        return super()._static_interval_s() * (1 + len(self._branches.path) / _LONG_CHAT)

    def _turns(self) -> list[dict[str, Any]]:
        self._branches.refresh_path()
        return [self._turn_payload(node) for node in self._branches.path]

    def _turn_payload(self, node: TurnNode) -> dict[str, Any]:
        live = self._shown.live.get(node.name)
        waiting = live.waiting if live is not None else None
        return turn_payload(
            node,
            self._branches.tree.position(node),
            running=live is not None,
            waiting=waiting,
            resumable=self._is_resumable(node),
            feedback=self._feedback,
        )

    def _totals(self) -> str:
        return str(self._shown.totals)

    def _settings(self) -> dict[str, Any]:
        settings = self.settings
        available = [*settings.services, *(name for name in self._available if name not in settings.services)]
        models = settings.models if settings.models is not None else available
        return {
            "model": settings.model or (models[0] if models else ""),
            "models": models,
            "efforts": common_efforts([settings.full_name]),
            "system": self.history.system or "",
            "params": settings.params,
            "queue": self._branches.queue.as_json(),
            "conversation": self.name,
            "elsewhere": self._elsewhere(),
            "limits": {"image": MAX_IMAGE_BYTES, "images": MAX_MESSAGE_IMAGE_BYTES},
        }
