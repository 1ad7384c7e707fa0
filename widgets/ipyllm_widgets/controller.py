"""Base class of the controllers: the state behind a chat or comparison, without its widget.

Events of the service thread go into growing answers; the render thread turns them into deltas; commands change the
state under the channel's lock and send the changes.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from ipyllm.errors import bad_request
from ipyllm.events import Finished
from ipyllm.fork_safety import renewed_in_child
from ipyllm.registry.available import ask_endpoints, available_models
from ipyllm.settings import SettingsError, get_settings
from ipyllm_widgets.draft_estimate import DraftEstimator
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
_RENDER_TIMEOUT_S = 30.0  # longest wait for the rendering of answers that have ended


class _Running(Protocol):
    """Interface of a call or a comparison that is running."""

    @property
    def done(self) -> threading.Event: ...

    def cancel(self) -> None: ...


class Controller(ABC):
    """State of a widget that streams answers.

    Stages of an answer: :meth:`_begin` → :meth:`_receive` for each event, on the service thread → :meth:`render`, on
    the render thread, until the answer has ended → :meth:`_on_finished`. All other methods may be called from any
    thread.

    Parameters
    ----------
    channel : MessageChannel
        Sends the state to the browser, and has the lock.
    on_error : callable
        Receives an exception raised while rendering.
    """

    def __init__(self, channel: MessageChannel, on_error: Callable[[Exception], None]) -> None:
        self.static_output = StaticOutput(self.static_content)
        self._channel = channel
        self._render_thread = RenderThread(self.render, on_error, self._renders_again_after_s)
        self._estimator = DraftEstimator(self._next_calls, self._tell_estimate, on_error)
        self._draft = ""
        self._diff = StateDiff(channel)
        self._available: list[str] = []
        self._listing_thread = RenderThread(self._list_models, on_error)
        self._live: dict[str, LiveAnswer] = {}  # unfinished answers by name; replaced, never changed
        self._running_name: str | None = None
        self._began = 0.0  # when the running answers began, on the monotonic clock
        self._call: _Running | None = None
        self._changed = renewed_in_child(threading.Event())
        self._idle = renewed_in_child(threading.Event())
        self._idle.set()

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
    def _on_finished(self, answer: LiveAnswer, parts: dict[str, Any]) -> None:
        """Store an answer that has ended. The channel's lock is held."""

    def _on_idle(self, response: ChatResponse) -> None:  # noqa: B027 - a hook
        """Go on after the last answer has ended, with this response. The channel's lock is held."""

    @property
    def running(self) -> bool:
        """Whether an answer is streaming."""
        return bool(self._live)

    def stop(self) -> None:
        """Stop the running answers, if any, and keep their text so far."""
        if (call := self._call) is not None:
            call.cancel()

    def close(self) -> None:
        """Stop running answers."""
        self.stop()

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
            live_parts = {name: answer.as_json() for name, answer in self._live.items()}
            # Of a number that grows no update is sent: a page has a clock, and needs to know when it began.
            running_s = round(time.monotonic() - self._began, 1) if self._live else 0.0
            return self._diff.snapshot(*self._state(), live_parts) | {"draft": self._draft, "running_s": running_s}

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
            self._draft = text
        if "view" in counts:
            self._estimator.ask(text, counts.pop("view"), counts)

    def render(self) -> int:
        """Render and send the changes, and return the approximate number of bytes sent."""
        rendered: list[tuple[LiveAnswer, Sequence[Any]]] = []
        failure: Exception | None = None
        for answer in self._live.values():
            try:
                rendered.append((answer, answer.render()))
            except Exception as exc:  # noqa: BLE001 - raised below, after this and all other answers were handled
                rendered.append((answer, []))
                failure = exc
        with self._channel.lock:
            rendered = [(answer, parts) for answer, parts in rendered if self._live.get(answer.name) is answer]
            deltas = [delta for answer, parts in rendered for delta in answer.commit(list(parts))]
            sent = self._diff.send_deltas(deltas) if deltas else 0
            finished = [answer for answer, _ in rendered if answer.response is not None]
            for answer in finished:
                final_parts = answer.as_json()
                self._live = {name: other for name, other in self._live.items() if other is not answer}
                self._on_finished(answer, final_parts)
                self._diff.mark_sent(answer.name, final_parts)
            if finished and not self._live:
                self._end()
                last = finished[-1].response
                assert last is not None
                self._on_idle(last)
            if changed := bool(finished) or self._changed.is_set():
                self._changed.clear()
                self._publish()
            elif sum(answer.update_waiting() for answer in self._live.values()):  # `any` would not ask all
                self._publish()
        if changed:
            self.static_output.update()
        elif sent:
            self.static_output.update(self._static_interval_s())
        if failure is not None:
            raise failure
        return sent

    def _tell_estimate(self, view: str, sentence: str) -> None:
        self._channel.send("estimate", view=view, text=sentence)

    def _renders_again_after_s(self) -> float | None:
        return None if all(answer.has_begun for answer in self._live.values()) else _WAITING_INTERVAL_S

    def _static_interval_s(self) -> float:
        return STREAMING_INTERVAL_S

    def _receive(self, answer: LiveAnswer, event: Event) -> None:
        answer.on_event(event)
        self._render_thread.wake(urgent=isinstance(event, Finished))

    def _begin(self, answers: Sequence[LiveAnswer]) -> None:
        self._idle.clear()
        self._began = time.monotonic()
        self._running_name = answers[0].name
        self._live = {answer.name: answer for answer in answers}

    def _end(self) -> None:
        self._live, self._call = {}, None
        self._idle.set()

    def _wait_until_rendered(self) -> None:
        """Wait until the answers of a call that has ended are rendered: its caller may ask again before that."""
        call = self._call
        if call is not None and call.done.is_set():
            self._idle.wait(_RENDER_TIMEOUT_S)

    def _require_idle(self) -> None:
        if self.running:
            raise bad_request("An answer is still streaming: stop it first, or wait until it ends.")

    def _publish(self) -> None:
        """Send the changes since the last message. The channel's lock is held."""
        self._diff.send_update(*self._state())

    def _state(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        turns = self._turns()
        fields = {
            "order": [turn["id"] for turn in turns],
            "running": self._running_name if self._live else None,
            "totals": self._totals(),
            "settings": self._settings(),
        }
        return turns, fields
