"""What one conversation or comparison has that is not stored: the answers that stream, and what is typed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

from ipyllm.fork_safety import renewed_in_child

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm_widgets.live_answer import LiveAnswer

__all__ = ["LiveState"]


class _Running(Protocol):
    """Interface of a call or a comparison that is running."""

    @property
    def done(self) -> threading.Event: ...

    def cancel(self) -> None: ...


class LiveState:
    """The running answers of a conversation or comparison, and its draft. Callers hold the channel's lock.

    Attributes
    ----------
    live : dict of str to LiveAnswer
        Unfinished answers by name; replaced, never changed.
    call : object or None
        The call or comparison that answers.
    idle : threading.Event
        Set while nothing is running.
    draft : str
        What is typed and not sent.

    Examples
    --------
    >>> from ipyllm_widgets.live_answer import LiveAnswer
    >>> state = LiveState()
    >>> state.begin([LiveAnswer("t1")])
    >>> state.running_name
    't1'
    >>> state.end()
    >>> state.running_name is None, state.seconds
    (True, 0.0)
    """

    def __init__(self, draft: str = "") -> None:
        self.live: dict[str, LiveAnswer] = {}
        self.call: _Running | None = None
        self.idle = renewed_in_child(threading.Event())
        self.idle.set()
        self.draft = draft
        self._first_name = ""
        self._began = 0.0  # on the monotonic clock

    def begin(self, answers: Sequence[LiveAnswer]) -> None:
        """Let these answers run."""
        self.idle.clear()
        self._began = time.monotonic()
        self._first_name = answers[0].name
        self.live = {answer.name: answer for answer in answers}

    def end(self) -> None:
        """Forget the running answers: they have ended, or what they say is of no use."""
        self.live, self.call = {}, None
        self.idle.set()

    def remove(self, answer: LiveAnswer) -> None:
        """Forget one of them, which has ended."""
        self.live = {name: other for name, other in self.live.items() if other is not answer}

    def stop(self) -> None:
        """Stop the running answers, if any, and keep their text so far."""
        if (call := self.call) is not None:
            call.cancel()

    @property
    def running_name(self) -> str | None:
        """Name of the first of the answers that run; None if none does."""
        return self._first_name if self.live else None

    @property
    def seconds(self) -> float:
        """For how long they run; 0 if none does."""
        return round(time.monotonic() - self._began, 1) if self.live else 0.0
