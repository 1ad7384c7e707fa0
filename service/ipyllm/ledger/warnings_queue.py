"""Warnings about the ledger that wait to be shown to the user."""

from __future__ import annotations

import logging
import threading

from ipyllm.fork_safety import renewed_in_child

__all__ = ["WarningsQueue"]


class WarningsQueue:
    """Warnings, each logged once, and returned once unless it is added again."""

    def __init__(self) -> None:
        self._lock = renewed_in_child(threading.Lock())
        self._known: set[str] = set()
        self._waiting: list[str] = []

    def add(self, sentence: str, *, again: bool = False) -> None:
        """Log ``sentence`` and queue it, unless it was added before; with ``again``, queue it in any case."""
        with self._lock:
            is_new = sentence not in self._known
            self._known.add(sentence)
            if (is_new or again) and sentence not in self._waiting:
                self._waiting.append(sentence)
        if is_new:
            logging.getLogger("ipyllm.ledger").warning("%s", sentence)

    def take(self) -> str | None:
        """Return the waiting sentences and empty the queue; None when there are none."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return " ".join(waiting) or None
