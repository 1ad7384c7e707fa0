"""Base class of the controllers: the state behind a chat or comparison, without its widget.

Events of the service thread go into growing answers; the render thread turns them into deltas; commands change the
state under the channel's lock and send the changes.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ipyllm.errors import bad_request
from ipyllm.events import Finished
from ipyllm.fork_safety import renewed_in_child
from ipyllm.registry.available import ask_endpoints, available_models
from ipyllm.settings import SettingsError, get_settings
from ipyllm_widgets.draft_estimate import DraftEstimator
from ipyllm_widgets.live_state import LiveState
from ipyllm_widgets.render_thread import RenderThread
from ipyllm_widgets.state_diff import StateDiff
from ipyllm_widgets.static_output import STREAMING_INTERVAL_S, StaticContent, StaticOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ipyllm.events import Event
    from ipyllm.response import ChatResponse
    from ipyllm_widgets.draft_estimate import NextCall
    from ipyllm_widgets.live_answer import LiveAnswer
    from ipyllm_widgets.message_channel import MessageChannel

__all__ = ["Controller"]

_WAITING_INTERVAL_S = 1.0  # how often to look what an answer waits for
RENDER_TIMEOUT_S = 30.0  # longest wait for the rendering of answers that have ended


_State = TypeVar("_State", bound=LiveState)


class Controller(ABC, Generic[_State]):
    """State of a widget that streams answers.

    Stages of an answer: :meth:`LiveState.begin` → :meth:`_receive` for each event, on the service thread →
    :meth:`render`, on the render thread, until the answer has ended → :meth:`_on_finished`. All other methods may be
    called from any thread. An answer that is not shown is rendered when it has ended, or is shown again.

    Parameters
    ----------
    shown : LiveState
        What is shown.
    channel : MessageChannel
        Sends the state to the browser, and has the lock.
    on_error : callable
        Receives an exception raised while rendering.
    """

    def __init__(self, shown: _State, channel: MessageChannel, on_error: Callable[[Exception], None]) -> None:
        self.static_output = StaticOutput(self.static_content)
        self._shown = shown
        self._channel = channel
        self._render_thread = RenderThread(self.render, on_error, self._renders_again_after_s)
        self._estimator = DraftEstimator(self._next_calls, self._tell_estimate, on_error)
        self._diff = StateDiff(channel)
        self._available: list[str] = []
        self._listing_thread = RenderThread(self._list_models, on_error)
        self._changed = renewed_in_child(threading.Event())

    @abstractmethod
    def static_content(self) -> StaticContent:
        """Return the state for readers without a kernel."""

    @abstractmethod
    def text(self) -> str:
        """Return the full text of a question; the browser has only its beginning."""

    @abstractmethod
    def _next_calls(self) -> Sequence[NextCall]:
        """Return the calls that a question would be sent by now."""

    @abstractmethod
    def _turns(self) -> list[dict[str, Any]]: ...

    @abstractmethod
    def _totals(self) -> str: ...

    @abstractmethod
    def _settings(self) -> dict[str, Any]: ...

    @abstractmethod
    def _on_finished(self, state: _State, /, answer: LiveAnswer, parts: dict[str, Any]) -> None:
        """Store an answer that has ended. The channel's lock is held."""

    def _on_idle(self, state: _State, response: ChatResponse) -> None:
        """Go on after the last answer has ended, with this response. The channel's lock is held."""

    def _states(self) -> Sequence[_State]:
        """Return all whose answers may run: what is shown, and what else there is. The channel's lock is held."""
        return [self._shown]

    @property
    def running(self) -> bool:
        """Whether an answer that is shown is streaming."""
        return bool(self._shown.live)

    def stop(self) -> None:
        """Stop the running answers that are shown, if any, and keep their text so far."""
        self._shown.stop()

    def close(self) -> None:
        """Stop all running answers."""
        with self._channel.lock:
            for state in self._states():
                state.stop()

    def refresh(self) -> None:
        """Send changes and update the static output soon, on the render thread."""
        self._changed.set()
        self._render_thread.wake()

    def snapshot(self) -> dict[str, Any]:
        """Return the complete state, with the number of the last message that it includes, and the draft."""
        with self._channel.lock:
            self._available = available_models()
            if get_settings().endpoints:
                self._listing_thread.wake()
            # Of a number that grows no update is sent: a page has a clock, and needs to know when it began.
            more = {"draft": self._shown.draft, "running_s": self._shown.seconds}
            return self._diff.snapshot(*self._state(), self._live_parts()) | more

    def _live_parts(self) -> dict[str, dict[str, Any]]:
        return {name: answer.as_json() for name, answer in self._shown.live.items()}

    def _list_models(self) -> int:
        """Ask the endpoints which models they have, and offer them too."""
        with suppress(SettingsError):  # the next call says what is wrong
            ask_endpoints()
            available = available_models()
            with self._channel.lock:
                if available != self._available:
                    self._available = available
                    self._publish()
        return 0

    def draft(self, text: str, **counts: Any) -> None:
        """Keep what is typed and not sent: a reloaded page shows it again.

        The page, the ``view`` among ``counts``, is told what it would send and cost; the others are fields of
        :class:`~ipyllm_widgets.draft_estimate.Draft`.
        """
        with self._channel.lock:
            self._shown.draft = text
        if "view" in counts:
            self._estimator.ask(text, counts.pop("view"), counts)

    def render(self) -> int:
        """Render and send the changes, and return the approximate number of bytes sent."""
        rendered: list[tuple[_State, LiveAnswer, Sequence[Any]]] = []
        failure: Exception | None = None
        for state, answer in self._to_render():
            try:
                rendered.append((state, answer, answer.render()))
            except Exception as exc:  # noqa: BLE001 - raised below, after this and all other answers were handled
                rendered.append((state, answer, []))
                failure = exc
        with self._channel.lock:
            rendered = [item for item in rendered if item[0].live.get(item[1].name) is item[1]]
            changes = [(state, answer.commit(list(parts))) for state, answer, parts in rendered]
            deltas = [delta for state, of_answer in changes if state is self._shown for delta in of_answer]
            sent = self._diff.send_deltas(deltas) if deltas else 0
            finished = [(state, answer) for state, answer, _ in rendered if answer.response is not None]
            for state, answer in finished:
                self._finish(state, answer)
            if changed := bool(finished) or self._changed.is_set():
                self._changed.clear()
                self._publish()
            elif sum(answer.update_waiting() for answer in self._shown.live.values()):  # `any` would not ask all
                self._publish()
        if changed:
            self.static_output.update()
        elif sent:
            self.static_output.update(self._static_interval_s())
        if failure is not None:
            raise failure
        return sent

    def _to_render(self) -> list[tuple[_State, LiveAnswer]]:
        """Return the answers that are shown, and those that have ended."""
        with self._channel.lock:
            answers = [(state, answer) for state in self._states() for answer in state.live.values()]
            return [(state, answer) for state, answer in answers if state is self._shown or answer.has_ended]

    def _finish(self, state: _State, answer: LiveAnswer) -> None:
        parts = answer.as_json()
        state.remove(answer)
        self._on_finished(state, answer, parts)
        self._diff.mark_sent(answer.name, parts)
        if not state.live:
            state.end()
            assert answer.response is not None
            self._on_idle(state, answer.response)

    def _tell_estimate(self, view: str, sentence: str) -> None:
        self._channel.send("estimate", view=view, text=sentence)

    def _renders_again_after_s(self) -> float | None:
        return None if all(answer.has_begun for answer in self._shown.live.values()) else _WAITING_INTERVAL_S

    def _static_interval_s(self) -> float:
        return STREAMING_INTERVAL_S

    def _receive(self, state: _State, answer: LiveAnswer, event: Event) -> None:
        answer.on_event(event)
        if state is self._shown or answer.has_ended:
            self._render_thread.wake(urgent=isinstance(event, Finished))

    def _wait_until_rendered(self) -> None:
        """Wait until the answers of a call that has ended are rendered: its caller may ask again before that."""
        shown = self._shown
        if (call := shown.call) is not None and call.done.is_set():
            shown.idle.wait(RENDER_TIMEOUT_S)

    def _require_idle(self) -> None:
        if self.running:
            raise bad_request("An answer is still streaming: stop it first, or wait until it ends.")

    def _publish(self) -> None:
        """Send the changes since the last message. The channel's lock is held."""
        self._diff.send_update(*self._state(), self._live_parts())

    def _state(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        turns = self._turns()
        fields = {
            "order": [turn["id"] for turn in turns],
            "running": self._shown.running_name,
            "totals": self._totals(),
            "settings": self._settings(),
        }
        return turns, fields
