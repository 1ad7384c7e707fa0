"""A chat without its widget: what a person does, what is running, and what the browser is told of it.

The conversation is the shared :class:`~ipyllm.conversations.history.ConversationHistory`; magics and other widgets see every turn
as soon as it is kept, and theirs appear here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.events import Finished
from ipyllm.messages import text_of
from ipyllm.registry.models import create_llm_service
from ipyllm.request import Provenance
from ipyllm.response import ChatResponse
from ipyllm.text.surrogates import replace_surrogates
from ipyllm_widgets.available_models import offered
from ipyllm_widgets.chat.branches import Branches
from ipyllm_widgets.chat.images import MAX_IMAGE, MAX_IMAGES, question, with_text
from ipyllm_widgets.chat.totals import Totals
from ipyllm_widgets.chat.turn_payload import exchange_of
from ipyllm_widgets.live_answer import LiveAnswer
from ipyllm_widgets.parameters import checked_params
from ipyllm_widgets.state_diff import Told
from ipyllm_widgets.static_output import WHILE_IT_COMES_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ipyllm.conversations.history import ConversationHistory
    from ipyllm.events import Event
    from ipyllm.messages import Message
    from ipyllm.pipeline.call import Call
    from ipyllm_widgets.chat.tree import Node
    from ipyllm_widgets.message_channel import Outbox

__all__ = ["ChatSession", "Settings"]

_LONG_CHAT = 20  # turns, all of which are kept again each time
_DRAWING_S = 30.0  # longest wait for the drawing of an answer that is there


@dataclass
class Settings:
    """What the next question is asked with."""

    model: str | None = None
    models: list[str] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    tools: list[Any] = field(default_factory=list)


class ChatSession:
    """One chat over one conversation.

    Methods that change it may be called from any thread; :meth:`draw` is the drawing thread's.

    Parameters
    ----------
    name : str
        The conversation's name, for the ledger.
    history : ConversationHistory
        What is shared.
    outbox : Outbox
        Where the browser is told, and the lock.
    settings : Settings
        What to ask with.
    wake : callable
        Has :meth:`draw` called soon; with True, at once.
    keep : callable
        Called on the drawing thread to have what is kept beside the widget brought up to date, if that is older than
        so many seconds: 0 when the chat has changed for good, some while an answer comes.
    """

    def __init__(
        self,
        name: str,
        history: ConversationHistory,
        outbox: Outbox,
        settings: Settings,
        *,
        wake: Callable[[bool], None],
        keep: Callable[[float], object],
    ) -> None:
        self.name = name
        self.history = history
        self.settings = settings
        self.totals = Totals()
        self._outbox = outbox
        self._wake = wake
        self._keep_beside = keep
        self._told = Told(outbox)
        self._branches = Branches(history)
        self._live: LiveAnswer | None = None
        self._call: Call | None = None
        self._offers: list[str] = []
        self._changed = threading.Event()
        self._at_rest = threading.Event()
        self._at_rest.set()
        self._stop_observing = history.observe(self._on_change)
        self._branches.follow()

    def close(self) -> None:
        """Stop what runs, and follow the conversation no more."""
        self._stop_observing()
        self.stop()

    def _on_change(self) -> None:
        self._changed.set()
        self._wake(False)

    # ---- what a person does ----------------------------------------------------------------------

    def send(self, text: str, images: Iterable[Any] = ()) -> Call:
        """Ask; the answer comes by and by.

        Raises
        ------
        LLMError
            It cannot be asked. Where that is the model's or a parameter's fault, the question stays, to be tried again.
        """
        message = question(replace_surrogates(text), images)
        self._settle()
        with self._outbox.lock:
            self._must_rest()
            self._branches.follow()
            return self._ask(message)

    def stop(self) -> None:
        """Stop the answer that is coming, if any; what came is kept."""
        call = self._call
        if call is not None:
            call.cancel()

    def again(self, name: str) -> Call:
        """Ask the same question again, beside the answer it has; one that came to nothing is replaced."""
        return self._anew(name, None)

    def edit(self, name: str, text: str) -> Call:
        """Ask another question in the place of an old one, on a branch of its own."""
        return self._anew(name, text)

    def _anew(self, name: str, text: str | None) -> Call:
        self._settle()
        with self._outbox.lock:
            self._must_rest()
            self._branches.follow()
            node = self._branches.shown(name)
            message = node.question if text is None else with_text(node.question, replace_surrogates(text))
            self._branches.go_before(node, instead=text is None)
            return self._ask(message)

    def select(self, name: str, to: int) -> None:
        """Show another branch: the ``to``-th of those that begin where this question stands, from 1."""
        self._settle()
        with self._outbox.lock:
            self._must_rest()
            self._branches.go_to(self._branches.shown(name), to)
            self._publish()

    def delete(self, name: str) -> None:
        """Take a question and its answer out; what follows stays."""
        with self._outbox.lock:
            node = self._branches.shown(name)
            self._abandon(node)
            self._branches.remove(node)
            self._publish()

    def clear(self) -> None:
        """Forget the conversation, branches too; the system prompt stays."""
        with self._outbox.lock:
            if self._branches.tail is not None:
                self._abandon(self._branches.tail)
            self._branches.clear()
            self._publish()

    def set(self, changes: Mapping[str, Any]) -> None:
        """Change the model, the system prompt or the parameters.

        Raises
        ------
        LLMError
            For a parameter that cannot be right, which is not taken; for a model that does not exist, which is taken
            all the same, because it is what the person sees.
        """
        changes = replace_surrogates(dict(changes))
        params = changes.get("params")
        if params is not None:
            params = checked_params(params, self.settings.model or "")
        with self._outbox.lock:
            if params is not None:
                self.settings.params = params
            if "system" in changes:
                self.history.set_system(changes["system"])
            if "model" in changes:
                self.settings.model = changes["model"] or None
            self._publish()
        if "model" in changes:
            create_llm_service(self.settings.model)

    def offer(self, models: list[str] | None) -> None:
        """Have the picker offer these models; None: what is configured."""
        with self._outbox.lock:
            self.settings.models = models
            self._publish()

    def text(self, name: str) -> str:
        """Return a whole question, of which the browser has only the beginning."""
        with self._outbox.lock:
            return text_of(self._branches.shown(name).question)

    def said(self) -> list[Message]:
        """Return the conversation as it is kept beside the widget, with a question that has no answer, or none yet."""
        with self._outbox.lock:
            turns, tail, live = self.history.turns, self._branches.tail, self._live
            messages = self.history.to_messages()
            if tail is None or any(turn.key == tail.key for turn in turns):
                return messages
            messages.append(tail.question)
            if live is not None and live.name == tail.name:
                text, note = live.written("text"), "The answer had not ended when this was kept."
            else:
                failed = tail.response.error_message if tail.response is not None else None
                text, note = "", failed or "Stopped before anything came."
            if text:
                messages.append({"role": "assistant", "content": text})
            return [*messages, {"role": "note", "content": note}]

    @property
    def running(self) -> bool:
        """Whether an answer is coming."""
        return self._live is not None

    @property
    def path(self) -> list[Node]:
        """What is shown, the oldest first."""
        with self._outbox.lock:
            return list(self._branches.path)

    def _settle(self) -> None:
        """Have an answer drawn to its end if that has come: who waited for the call may go on."""
        call = self._call
        if call is not None and call.done.is_set():
            self._at_rest.wait(_DRAWING_S)

    def _must_rest(self) -> None:
        if self._live is not None:
            raise LLMError("An answer is still coming: stop it first, or wait for its end.", category="bad_request")

    def _abandon(self, node: Node) -> None:
        if self._live is not None and self._live.name == node.name:
            self.stop()
            self._rest()

    def _rest(self) -> None:
        self._live = self._call = None
        self._at_rest.set()

    # ---- asking ----------------------------------------------------------------------------------

    def _ask(self, message: Message) -> Call:
        node = self._branches.append(message)
        live = LiveAnswer(node.name)

        def on_event(event: Event) -> None:
            if isinstance(event, Finished):
                self._keep(node, live, event.response)
            live.on_event(event)
            self._wake(isinstance(event, Finished))

        try:
            service = create_llm_service(self.settings.model)
            before, left_out = self.history.preceding(
                [message],
                service.context_window,
                max_tokens=self.settings.params.get("max_tokens"),
                model=service.full_name,
            )
            node.note = left_out or ""
            request = service.request(
                [message],
                conversation_history=before,
                tools=self.settings.tools,
                provenance=Provenance(origin="widget", conversation=self.name),
                **self.settings.params,
            )
            node.asked = service.full_name
            self._at_rest.clear()
            self._live = live
            self._call = service.call(request, on_event)
            self._on_change()  # a notebook that is saved now has the question
        except LLMError as exc:
            self._offers = offered()  # the model may be one that was there when they were last looked up
            node.response = ChatResponse(
                status="error", model=exc.model, error_category=exc.category, error_message=str(exc)
            )
            raise
        except BaseException:  # an interrupt: nobody has the call, so nothing may wait for it
            node.response = ChatResponse(status="cancelled", model=node.asked)
            raise
        finally:
            if node.response is not None:
                self._rest()
                node.parts = {}
            self._branches.follow()
            self._publish()
        return self._call

    def _keep(self, node: Node, live: LiveAnswer, response: ChatResponse) -> None:
        """Put what came into the conversation, on the service thread: who waits for the call finds it there."""
        if self._live is not live:  # interrupted while it was asked: shown from what is kept
            node.response, node.parts = response, None
        # Stopped while a tool ran, there is no last step; what was said before the tool was called is what came.
        text = response.content or "\n\n".join(step.content for step in response.steps if step.content)
        if self._branches.holds(node) and (text or response.status == "ok"):
            answer = {"role": "assistant", "content": text}
            self._branches.keep(node, answer, model=response.model, status=response.status)

    # ---- on the drawing thread -------------------------------------------------------------------

    def draw(self) -> int:
        """Send what is new, and return about how many bytes that took."""
        live, sent, over = self._live, 0, False
        failed: Exception | None = None
        if live is not None:
            drawn: list[Any] = []
            try:
                drawn = live.draw()
            except Exception as exc:  # noqa: BLE001 - raised below: an answer that cannot be drawn ends all the same
                failed = exc
            with self._outbox.lock:
                if self._live is live:
                    if drawn:
                        sent = self._told.grow(live.advance(drawn))
                    if live.response is not None:
                        self._finish(live, live.response)
                        over = True
        if self._changed.is_set() or over:
            self._changed.clear()
            with self._outbox.lock:
                self._branches.follow()
                self._publish()
            self._keep_beside(0.0)
        elif sent:
            self._keep_beside(WHILE_IT_COMES_S * (1 + len(self._branches.path) / _LONG_CHAT))
        if failed is not None:
            raise failed
        return sent

    def _finish(self, live: LiveAnswer, response: ChatResponse) -> None:
        self._rest()
        self.totals = self.totals.plus(response)
        node = self._branches.get(live.name)
        if node is not None:
            node.response = response
            node.parts = live.as_json()
            self._told.has_all(node.name, node.parts)

    # ---- what the browser knows ------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return everything that is shown, with the number of the last message that is part of it."""
        with self._outbox.lock:
            self._offers = offered()
            live = {} if self._live is None else {self._live.name: self._live.as_json()}
            return self._told.whole(self._exchanges(), self._surroundings(), live)

    def _publish(self) -> None:
        """Tell the browser what differs from what it knows."""
        self._told.change(self._exchanges(), self._surroundings())

    def _exchanges(self) -> list[dict[str, Any]]:
        running = self._live.name if self._live is not None else None
        return [
            exchange_of(node, self._branches.place(node), running=node.name == running) for node in self._branches.path
        ]

    def _surroundings(self) -> dict[str, Any]:
        settings = self.settings
        models = settings.models if settings.models is not None else self._offers
        return {
            "order": [node.name for node in self._branches.path],
            "running": self._live.name if self._live is not None else None,
            "totals": str(self.totals),
            "settings": {
                "model": settings.model or (models[0] if models else ""),
                "models": models,
                "system": self.history.system or "",
                "params": settings.params,
                "conversation": self.name,
                "limits": {"image": MAX_IMAGE, "images": MAX_IMAGES},
            },
        }
