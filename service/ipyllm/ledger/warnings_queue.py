"""Warnings about the ledger that wait to be shown to the user."""

from __future__ import annotations

import logging
import threading

from ipyllm.fork_safety import renewed_in_child

__all__ = ["WarningsQueue"]


class WarningsQueue:
    """Warnings, each logged and returned once."""

    def __init__(self) -> None:
        self._lock = renewed_in_child(threading.Lock())
        self._known: set[str] = set()
        self._waiting: list[str] = []

    def add(self, sentence: str) -> None:
        """Log ``sentence`` and queue it, unless it was added before."""
        with self._lock:
            if sentence in self._known:
                return
            self._known.add(sentence)
            self._waiting.append(sentence)
        logging.getLogger("ipyllm.ledger").warning("%s", sentence)

    def take(self) -> str | None:
        """Return the waiting sentences and empty the queue; None when there are none."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return " ".join(waiting) or None
