"""Renders a widget's changes on a separate thread, at a limited rate.

On the service thread, rendering would distort the timestamps; the main thread may be busy with a cell for hours.
"""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import TYPE_CHECKING

from ipyllm.fork_safety import renewed_in_child
from ipyllm.observability.logs import log_failure
from ipyllm.rendering.draw_budget import DrawBudget

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RenderThread"]

_logger = logging.getLogger("ipyllm.widgets")
_IDLE_S = 5.0  # without changes until the thread ends; the next `wake` starts another
_BYTES_PER_S = 26_000.0
_BURST = 16_000.0
_SHORTEST_S = 0.055  # fewer than 20 messages a second, including acknowledgements


class RenderThread:
    """Calls ``render`` after each :meth:`wake`, as often as the budget of bytes allows.

    Parameters
    ----------
    render : callable
        Renders the changes and returns the number of bytes sent. Calls never overlap.
    on_error : callable
        Receives an exception of ``render``, to show it in the widget.
    again_after_s : callable, optional
        Returns after how many seconds to render again without a :meth:`wake`, or None.
    """

    def __init__(
        self,
        render: Callable[[], int],
        on_error: Callable[[Exception], None],
        again_after_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._render = render
        self._on_error = on_error
        self._again_after_s = again_after_s
        self._requested = renewed_in_child(threading.Event())
        self._urgent = renewed_in_child(threading.Event())
        self._lock = renewed_in_child(threading.Lock())
        self._thread: threading.Thread | None = None

    def wake(self, *, urgent: bool = False) -> None:
        """Request rendering; ``urgent`` requests ignore the budget."""
        self._requested.set()
        if urgent:
            self._urgent.set()
        with self._lock:
            if self._thread is None or not self._thread.is_alive():  # not alive: it ended, or this is a fork's child
                self._thread = threading.Thread(target=self._run, name="ipyllm-render", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        budget = DrawBudget(monotonic(), bytes_per_s=_BYTES_PER_S, burst=_BURST, shortest_s=_SHORTEST_S)
        while True:
            again_after_s = self._again_after_s()
            if not self._requested.wait(_IDLE_S if again_after_s is None else again_after_s) and again_after_s is None:
                with self._lock:
                    # `wake` sets the event before it checks the thread, under this lock: no request is lost.
                    if not self._requested.is_set():
                        self._thread = None
                        return
            self._requested.clear()
            self._urgent.clear()
            try:
                sent = self._render()
            except Exception as exc:  # noqa: BLE001 - the thread must go on
                log_failure(_logger, "rendering failed", exc)
                self._on_error(exc)
                sent = 0
            if sent:
                budget.spend(sent, monotonic())
                self._urgent.wait(budget.wait_s(monotonic()))
