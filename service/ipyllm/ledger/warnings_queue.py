"""What the user should be told about the ledger: each sentence once, to who asks first, and to the log."""

from __future__ import annotations

import logging
import threading

__all__ = ["Notices"]


class Notices:
    """Sentences that wait to be shown.

    Examples
    --------
    >>> notices = Notices()
    >>> notices.say("The disk is full.")
    >>> notices.say("The disk is full.")
    >>> notices.take()
    'The disk is full.'
    >>> notices.take() is None
    True
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: set[str] = set()
        self._waiting: list[str] = []

    def say(self, sentence: str) -> None:
        """Have ``sentence`` shown, unless it was before."""
        with self._lock:
            if sentence in self._said:
                return
            self._said.add(sentence)
            self._waiting.append(sentence)
        logging.getLogger("ipyllm.ledger").warning("%s", sentence)

    def take(self) -> str | None:
        """Return what was not yet shown; None when there is nothing."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return " ".join(waiting) or None
